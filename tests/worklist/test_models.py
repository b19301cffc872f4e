"""The model in force: activated by a lead, followed by every process, never replaced by another."""

from __future__ import annotations

import io
import shutil
import threading
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select

from cxr_core.access import Actor, Role
from cxr_core.errors import Conflict, Forbidden, Invalid, ModelError
from cxr_core.inference import registry, stripped
from cxr_core.inference.manifest import MANIFEST, read_manifest
from cxr_core.pipeline import load_kit
from cxr_core.ui import worklist_lead
from cxr_core.worklist import model_check, model_folders, models, queue, readiness, worker
from cxr_core.worklist.model_folders import Figure, figure
from cxr_core.worklist.schema import AuditRow, ImageRow, ModelChangeRow, ResultRow, StudyRow
from cxr_core.worklist.service import Service, open_service
from cxr_core.worklist.values import Incoming, Source
from cxr_core.worklist.worker import Worker, open_pool
from tests.films import png
from tests.inference.tiny import make_tiny_model, rewrite
from tests.worklist.processes import wait_for
from tests.worklist.work import answers, work

LEAD, ANN, VERA = Actor("Lea", Role.LEAD), Actor("Ann", Role.CLINICIAN), Actor("Vera", Role.VIEWER)

HISTORY = """member,epoch,train_loss,val_loss,val_mean_auc,rate,seconds
0,1,0.5,0.6,0.6,0.001,30
0,2,0.4,0.5,0.7,0.001,30
1,1,0.6,0.7,,0.001,60
"""


def made(
    root: Path, model_id: str, version: str = "1.0.0", labels: tuple[str, ...] = (), **files: str
) -> Path:
    """Write a sound model folder of this id and version into `root`."""
    tiny = make_tiny_model(root / f"make {model_id}", **({"labels": labels} if labels else {}))
    folder = root / model_id
    shutil.rmtree(folder, ignore_errors=True)
    shutil.move(tiny, folder)
    shutil.rmtree(root / f"make {model_id}")
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    manifest = read_manifest_of_tiny(folder)
    rewrite(folder, replace(manifest, model=replace(manifest.model, id=model_id, version=version)))
    return folder


def read_manifest_of_tiny(folder: Path):
    """The manifest as `make_tiny_model` wrote it, whatever its folder is called now."""
    tiny = folder.rename(folder.with_name("tiny"))
    manifest = read_manifest(tiny)
    tiny.rename(folder)
    return manifest


@pytest.fixture
def shelves(tmp_path: Path) -> Path:
    """A folder of models: `one` answers, `two` could, `three` was altered."""
    root = tmp_path / "shelves"
    made(root, "one")
    made(root, "two", "2.0.0", **{"evaluation/history.csv": HISTORY})
    (made(root, "three") / "card.md").write_text("altered", encoding="utf-8")
    return root


@pytest.fixture
def settings(store_settings, shelves):
    return replace(store_settings, models_dir=shelves, model="one", worker_processes=1)


@pytest.fixture
def worklist(settings, clock):
    opened = open_service(settings, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def another(worklist, settings, clock):
    """A second process on the same database."""
    opened = open_service(settings, clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def quick(monkeypatch):
    """Models are checked in this process: their own is a matter of `test_a_model_that_...process`."""

    def check(folder: Path) -> None:
        registry.load(folder, threads=1)

    monkeypatch.setattr(model_check, "check", check)


def rows(service: Service, table) -> list:
    with service.database.read() as session:
        found = list(session.scalars(select(table)))
        session.expunge_all()
    return found


def submit(service: Service, *raws: bytes) -> list[str]:
    files = [Incoming(f"{number}.png", raw) for number, raw in enumerate(raws)]
    return [receipt.study_id for receipt in service.submit_many(LEAD, files, source=Source.CLI)]


def kit_of(service: Service, model_id: str):
    settings = replace(service.settings, model=model_id)
    return replace(load_kit(settings), policy=service.policy)


# ---- in force


def test_the_model_that_is_set_answers_until_somebody_activates_another(worklist):
    shelf = worklist.models(VERA)
    assert (shelf.in_force.model, shelf.in_force.change, shelf.in_force.fault) == ("one 1.0.0", 0, "")
    assert [(each.name, bool(each.fault)) for each in shelf.folders] == [
        ("one 1.0.0", False),
        ("three 1.0.0", True),
        ("two 2.0.0", False),
    ]
    assert shelf.answering is shelf.folder("one")
    assert (shelf.changes, shelf.otherwise) == ((), 0)


def test_every_process_follows_at_its_next_call_and_it_is_noted_and_audited(
    worklist, another, clock, settings, quick
):
    worklist.activate_model(LEAD, "two", " sees\nmore ")
    sha256 = registry.sha256_of(settings.models_dir / "two" / MANIFEST)
    assert (worklist.model, another.model) == ("two 2.0.0", "one 1.0.0")
    another.tiers(VERA)
    assert (another.model, another.model_in_force.sha256) == ("two 2.0.0", sha256)
    later = open_service(settings)
    assert later.model == "two 2.0.0"
    later.close()
    (change,) = another.models(VERA).changes
    assert (change.at, change.actor, change.model) == (clock.now, "Lea", "two 2.0.0")
    assert (change.sha256, change.note) == (sha256, "sees more")
    (noted,) = rows(worklist, AuditRow)
    assert (noted.actor, noted.event, noted.subject) == ("Lea", "model_activate", "two 2.0.0")
    assert noted.detail == f'{{"from":"one 1.0.0","manifest":"{sha256}","to":"two 2.0.0"}}'
    another.activate_model(LEAD, "one", "back again")
    worklist.tiers(VERA)
    assert worklist.model == "one 1.0.0"
    assert [each.note for each in worklist.models(VERA).changes] == ["back again", "sees more"]


def test_a_model_that_is_set_and_gone_stops_no_start_once_another_was_activated(worklist, settings, quick):
    worklist.activate_model(LEAD, "two", "why")
    shutil.rmtree(settings.models_dir / "one")
    with open_(settings) as service:
        assert service.model == "two 2.0.0"


def test_a_model_that_is_set_and_gone_stops_the_start_where_nobody_activated_another(worklist, settings):
    with pytest.raises(ModelError, match="nothing"), open_(replace(settings, model="nothing")):
        pass


@contextmanager
def open_(settings):
    service = open_service(settings)
    try:
        yield service
    finally:
        service.close()


# ---- refused


def test_nobody_below_lead_activates_or_tries_one(worklist):
    for actor in (VERA, ANN):
        for call in (
            lambda a=actor: worklist.activate_model(a, "two", "why"),
            lambda a=actor: worklist.try_model(a, "two"),
        ):
            with pytest.raises(Forbidden):
                call()
    assert rows(worklist, ModelChangeRow) == []


def test_what_must_not_come_into_force_does_not(worklist, another, shelves, quick):
    for model_id, note, error, said in (
        ("two", " ", Invalid, "say in a note"),
        ("one", "why", Invalid, "in force already"),
        ("three", "why", ModelError, "card.md was altered"),
        ("four", "why", ModelError, "no such model"),
        ("../shelves/two", "why", ModelError, "no such model"),
        ("..", "why", ModelError, "no such model"),
    ):
        with pytest.raises(error, match=said):
            worklist.activate_model(LEAD, model_id, note)
    long = made(shelves, "l" * 60)
    with pytest.raises(Invalid, match="64 characters"):
        worklist.activate_model(LEAD, long.name, "why")
    assert worklist.model == "one 1.0.0"
    assert rows(worklist, ModelChangeRow) == rows(worklist, AuditRow) == []


def test_two_leads_at_once(worklist, another, quick):
    worklist.activate_model(LEAD, "two", "why", seen=0)
    with pytest.raises(Conflict, match="another model came into force"):
        another.activate_model(LEAD, "one", "why", seen=0)
    with pytest.raises(Invalid, match="in force already"):
        another.activate_model(LEAD, "two", "why")


def test_a_version_never_stands_for_two_models(worklist, shelves, quick):
    worklist.activate_model(LEAD, "two", "why")
    worklist.activate_model(LEAD, "one", "back")
    made(shelves, "two", "2.0.0")
    with pytest.raises(Invalid, match=r"was in force as two 2\.0\.0"):
        worklist.activate_model(LEAD, "two", "other weights, the same version")
    with pytest.raises(ModelError, match=r"was in force as two 2\.0\.0"):
        worklist.reanalyse(LEAD, submit(worklist, png(1)), "two")
    assert rows(worklist, StudyRow)[0].wanted_model is None


def test_figures_of_another_network_never_go_live(worklist, shelves, quick):
    """Thresholds are bound to the network that they were chosen for."""
    folder = shelves / "two"
    manifest = read_manifest(folder)
    said = (folder / MANIFEST).read_text(encoding="utf-8")
    network = manifest.files[registry.NETWORK]
    assert said.count(network) == 3, "listed; of calibration and thresholds"
    place = said.index("[thresholds]")
    other = said[:place] + said[place:].replace(network, "0" * 64, 1)
    (folder / MANIFEST).write_text(other, encoding="utf-8")
    with pytest.raises(ModelError, match="network"):
        worklist.activate_model(LEAD, "two", "why")
    assert worklist.models(VERA).folder("two").fault


def test_a_model_that_fails_its_self_test_is_found_in_a_process_of_its_own_and_no_longer_offered(
    worklist, shelves
):
    folder = shelves / "two"
    manifest = read_manifest(folder)
    wrong = tuple(value + 1 for value in manifest.self_test.logits)
    rewrite(folder, replace(manifest, self_test=replace(manifest.self_test, logits=wrong)))
    assert worklist.models(VERA).folder("two").fault == "", "its files are what it lists"
    with pytest.raises(ModelError, match="self-test"):
        worklist.try_model(LEAD, "two")
    assert "self-test" in worklist.models(VERA).folder("two").fault
    made(shelves, "two", "2.0.1")
    assert worklist.try_model(LEAD, "two").name == "two 2.0.1"
    assert worklist.models(VERA).folder("two").fault == ""
    assert worklist.model == "one 1.0.0", "to try is not to activate"


def test_a_network_that_ends_or_stalls_its_process_is_no_sound_model(shelves, monkeypatch):
    monkeypatch.setattr(model_check.sys, "executable", "/bin/false")
    with pytest.raises(ModelError, match="ended the process"):
        model_check.check(shelves / "two")
    monkeypatch.undo()
    monkeypatch.setattr(model_check, "LONGEST_S", 0.01)
    with pytest.raises(ModelError, match="not checked within"):
        model_check.check(shelves / "two")


def test_a_check_that_was_not_done_in_time_may_be_tried_again(worklist, monkeypatch):
    monkeypatch.setattr(model_check, "LONGEST_S", 0.01)
    with pytest.raises(ModelError, match="not checked within"):
        worklist.try_model(LEAD, "two")
    assert worklist.models(VERA).folder("two").fault == ""
    monkeypatch.undo()
    assert worklist.try_model(LEAD, "two").name == "two 2.0.0"


def test_a_file_that_could_not_be_read_is_read_again_once_its_rights_are_mended(shelves):
    before = model_folders.stamp(shelves / "two")
    network = shelves / "two" / "model.onnx"
    network.chmod(0o600 if network.stat().st_mode & 0o777 != 0o600 else 0o644)
    assert model_folders.stamp(shelves / "two") != before


def test_a_bundle_that_would_fill_the_memory_is_refused_with_the_way_out(worklist, monkeypatch):
    monkeypatch.setattr(models, "MOST_BYTES", 1000)
    with pytest.raises(Invalid, match="copy its folder"):
        worklist.export_model(LEAD, "two")


# ---- answers


def versions(service: Service) -> list[str]:
    return sorted(each.model for each in rows(service, ResultRow))


def test_an_answer_of_the_former_model_is_not_written_and_its_study_stays_queued(
    worklist, another, clock, quick
):
    submit(worklist, png(1))
    (job,) = queue.claim(worklist, "w1", 1)
    made_ = answers(worklist, kit_of(worklist, "one"), job.films)
    another.activate_model(LEAD, "two", "why")
    assert queue.record(worklist, "w1", job, made_) is False
    assert versions(worklist) == []
    assert all(each.queued_utc and each.lease_owner is None for each in rows(worklist, StudyRow))
    clock.advance(2)
    assert work(worklist, kit_of(worklist, "two")) == 1
    assert versions(worklist) == ["two 2.0.0"]


def test_old_answers_stay_until_a_lead_has_them_analysed_again(worklist, quick):
    submit(worklist, png(1), png(2))
    work(worklist, kit_of(worklist, "one"))
    worklist.activate_model(LEAD, "two", "why")
    assert versions(worklist) == ["one 1.0.0"] * 2
    assert worklist.models(VERA).otherwise == 2
    assert worklist.reanalyse(LEAD, None, None) == 2
    work(worklist, kit_of(worklist, "two"))
    assert versions(worklist) == ["one 1.0.0"] * 2 + ["two 2.0.0"] * 2
    assert worklist.models(VERA).otherwise == 0


def test_a_model_that_was_asked_for_answers_whatever_is_in_force(worklist, quick, clock):
    (study_id,) = submit(worklist, png(1))
    work(worklist, kit_of(worklist, "one"))
    worklist.activate_model(LEAD, "two", "why")
    assert worklist.reanalyse(LEAD, [study_id], "one") == 0, "it has that answer already"
    worklist.reanalyse(LEAD, [study_id], None)
    work(worklist, kit_of(worklist, "two"))
    worklist.reanalyse(LEAD, [study_id], "one")
    (job,) = queue.claim(worklist, "w1", 1)
    assert job.model == "one"
    assert queue.record(worklist, "w1", job, answers(worklist, kit_of(worklist, "one"), job.films))


@contextmanager
def at_work(service: Service):
    stop = threading.Event()
    with open_pool(service) as pool:
        one = Worker(service, pool, stop)
        thread = threading.Thread(target=one.work, kwargs={"once": False})
        thread.start()
        try:
            yield one
        finally:
            stop.set()
            thread.join(60)


def test_a_running_worker_switches_and_waits_while_the_model_in_force_cannot_be_loaded(
    settings, shelves, quick, tmp_path, monkeypatch
):
    monkeypatch.setattr("cxr_core.worklist.kits.RETRY_S", 0.1)
    with open_(settings) as pages, open_(settings) as works, at_work(works):
        submit(pages, png(1))
        wait_for(lambda: queue.waiting(pages) == 0, 60, "the first answer")
        pages.activate_model(LEAD, "two", "why")
        submit(pages, png(2))
        wait_for(lambda: queue.waiting(pages) == 0, 60, "the second answer")
        assert versions(pages) == ["one 1.0.0", "two 2.0.0"]

        made(shelves, "four")
        pages.activate_model(LEAD, "four", "why")
        (shelves / "four").rename(tmp_path / "away")
        submit(pages, png(3))
        wait_for(lambda: works.model == "four 1.0.0", 60, "the worker to see it")
        threading.Event().wait(1.0)
        assert queue.waiting(pages) == 1
        assert rows(pages, ImageRow)[-1].attempts == 0, "films wait; they are not given up"
        assert "four" in pages.models(VERA).in_force.fault
        assert "four" in pages.health(LEAD).model_fault
        assert readiness.parts(pages)["model"] == "unsound"

        (tmp_path / "away").rename(shelves / "four")
        wait_for(lambda: queue.waiting(pages) == 0, 60, "the third answer")
        assert versions(pages) == ["four 1.0.0", "one 1.0.0", "two 2.0.0"]
        assert readiness.parts(pages)["model"] == "ok"


def test_a_folder_that_holds_another_model_than_the_one_activated_answers_nothing(settings, shelves, quick):
    with open_(settings) as service:
        service.activate_model(LEAD, "two", "why")
        submit(service, png(1))
    made(shelves, "two", "2.0.1")
    with open_(settings) as service:
        assert "another model" in service.model_in_force.fault
        assert service.models(VERA).answering is None
    with pytest.raises(ModelError, match="another model"):
        worker.run(settings, once=True, stop=threading.Event())
    with open_(settings) as service:
        service.activate_model(LEAD, "two", "the folder was brought up to date")
        assert service.model_in_force.fault == ""
    worker.run(settings, once=True, stop=threading.Event())
    with open_(settings) as service:
        assert versions(service) == ["two 2.0.1"]


# ---- looked at


def test_a_folder_is_read_with_its_figures_and_its_training(shelves):
    folder = model_folders.folder(shelves / "two")
    assert (folder.epochs, folder.minutes, folder.name, folder.fault) == (2, 2.0, "two 2.0.0", "")
    assert folder.size_bytes == sum(path.stat().st_size for path in (shelves / "two").rglob("*.*"))
    assert folder.figure("val", "auc") == Figure(0.5)
    assert folder.figure("test", "auc") is None
    first, second = model_folders.read_curves(shelves / "two")
    assert (first.epochs, first.train_loss, first.judged) == ((1, 2), (0.5, 0.4), (0.6, 0.7))
    assert (first.judged_by, second.member, second.judged) == ("mean_auc", "1", (None,))


def test_what_an_exporter_wrote_of_the_training_counts_where_no_history_lies_there(shelves):
    manifest = read_manifest(shelves / "one")
    rewrite(shelves / "one", replace(manifest, evaluation={"epochs": 7.0, "minutes": 31.5}))
    folder = model_folders.folder(shelves / "one")
    assert (folder.epochs, folder.minutes, folder.fault) == (7, 31.5, "")
    assert model_folders.read_curves(shelves / "one") == ()


@pytest.mark.parametrize(
    "text",
    ["", "member,epoch\n", "\x00\x01", "a,b\n1,2\n", "epoch,train_loss\nnan,1\n", "member,epoch\n0,x\n"],
)
def test_a_history_in_another_form_is_none(shelves, text):
    (shelves / "two" / model_folders.HISTORY).write_text(text, encoding="utf-8")
    assert model_folders.read_curves(shelves / "two") == ()
    assert model_folders.folder(shelves / "two").epochs == 0


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ({"val_mean_auc_of_12": 0.8}, Figure(0.8)),
        ({"val_mean_auc": 0.8, "val_mean_auc_low": 0.7, "val_mean_auc_high": 0.9}, Figure(0.8, 0.7, 0.9)),
        ({"val_auc": 0.8, "val_auc_low": 0.7, "val_auc_high": 0.9}, Figure(0.8, 0.7, 0.9)),
        ({"val_auc_Mass": 0.8, "val_mean_ap": 0.3, "test_mean_auc": 0.1}, None),
    ],
)
def test_figures_are_found_under_their_names(said, found):
    assert figure(said, "val", "auc") == found


def test_a_bundle_is_the_folder_and_its_leaving_is_audited(worklist, settings, tmp_path):
    bundle = worklist.export_model(VERA, "two")
    assert worklist.export_model(VERA, "two") == bundle
    with zipfile.ZipFile(io.BytesIO(bundle)) as opened:
        opened.extractall(tmp_path / "out")
    assert registry.load(tmp_path / "out" / "two").manifest.version == "2.0.0"
    noted = rows(worklist, AuditRow)
    assert [(each.actor, each.event, each.subject) for each in noted] == [
        ("Vera", "model_export", "two 2.0.0")
    ] * 2


def test_no_bundle_is_made_of_what_is_not_sound_or_too_large(worklist, monkeypatch):
    with pytest.raises(ModelError, match="altered"):
        worklist.export_model(VERA, "three")
    monkeypatch.setattr(models, "MOST_BYTES", 1000)
    with pytest.raises(Invalid, match="copy its folder"):
        worklist.export_model(VERA, "two")
    assert rows(worklist, AuditRow) == []


def test_a_model_of_figures_only_is_shown_and_taken_away_but_answers_nothing(
    worklist, settings, shelves, quick, tmp_path
):
    worklist.activate_model(LEAD, "two", "why")
    stripped.strip(shelves / "two", registry.verify(shelves / "two"), tmp_path / "away", "on the shelf")
    folder = worklist.models(VERA).folder("two")
    assert (folder.fault, folder.elsewhere, folder.answers, folder.epochs) == ("", "on the shelf", False, 2)
    assert "figures only" in worklist.models(VERA).in_force.fault
    with pytest.raises(ModelError, match="figures only"):
        worklist.try_model(LEAD, "two")
    worklist.activate_model(LEAD, "one", "back")
    with pytest.raises(ModelError, match="figures only"):
        worklist.activate_model(LEAD, "two", "why not")
    with pytest.raises(ModelError, match="figures only"):
        worklist.reanalyse(LEAD, None, "two")
    assert worklist.model == "one 1.0.0"
    assert worklist_lead.models_in(worklist.settings.models_dir) == ["one", "three"]
    with zipfile.ZipFile(io.BytesIO(worklist.export_model(VERA, "two"))) as opened:
        opened.extractall(tmp_path / "out")
    assert registry.verify(tmp_path / "out" / "two").version == "2.0.0"
    assert stripped.elsewhere(tmp_path / "out" / "two") == "on the shelf"
    for name in stripped.NETWORK_FILES:
        shutil.copyfile(tmp_path / "away" / "two" / name, shelves / "two" / name)
    worklist.activate_model(LEAD, "two", "the very same is back")
    assert worklist.model == "two 2.0.0"


def test_a_card_is_given_as_it_is_written(worklist, shelves):
    assert worklist.model_card(VERA, "two").startswith("# tiny")
    (shelves / "two" / "card.md").unlink()
    assert worklist.model_card(VERA, "two") == ""
    with pytest.raises(ModelError):
        worklist.model_card(VERA, "../two")


def test_a_folder_that_cannot_be_read_is_listed_with_why(worklist, shelves):
    (shelves / "two" / MANIFEST).write_text("id = 3", encoding="utf-8")
    found = worklist.models(VERA).folder("two")
    assert (found.manifest, found.name) == (None, "two")
    assert "manifest.toml" in found.fault
