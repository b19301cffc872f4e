"""Policies as versions: one in force everywhere, tried before, every result under its own."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import insert, select, update

from cxr_core.access import Actor, Role
from cxr_core.domain import Sex, Study, Urgency, View
from cxr_core.errors import Conflict, Forbidden, Invalid, PolicyError, StoreError
from cxr_core.settings import Settings
from cxr_core.triage.compare import BUDGETS, THRESHOLDS
from cxr_core.triage.edit import edited
from cxr_core.triage.policy import load_policy, parse_policy
from cxr_core.worklist import queue, stored_policy
from cxr_core.worklist.aggregate import LOST
from cxr_core.worklist.judge import HELD, judge
from cxr_core.worklist.preview import Standing
from cxr_core.worklist.schema import AuditRow, ImageRow, PolicyChangeRow, PolicyRow, ResultRow, StudyRow
from cxr_core.worklist.service import Service, open_service
from cxr_core.worklist.values import Incoming, Query, Source
from cxr_core.worklist.worker import Worker, open_pool, run
from tests.films import png
from tests.worklist.films import Films
from tests.worklist.processes import wait_for
from tests.worklist.rows import image, put, result, study
from tests.worklist.work import answers, work

LEAD, ANN = Actor("Lea", Role.LEAD), Actor("Ann", Role.CLINICIAN)
TEXT = Settings().policy.read_text(encoding="utf-8")
SIGNED = "Dr. A. Silva, chief of radiology"


def written(version: str, changes: dict | None = None, *, approver: str = SIGNED) -> str:
    """The shipped policy with these values changed."""
    return edited(TEXT, {("version",): version, ("approver",): approver} | (changes or {}))


URGENT_MASS = {("findings", "Mass", "tier"): "urgent"}
GRAVER = {
    ("findings", "Edema", "tier"): "critical",
    ("findings", "Nodule", "tier"): "urgent",
    ("disagreement", "spread"): 0.35,
}
MILDER = {
    ("findings", "Effusion", "tier"): "significant",
    ("findings", "Edema", "tier"): "routine",
    ("disagreement", "votes"): 3,
    ("disagreement", "spread"): 1.0,
}


@pytest.fixture
def worklist(store_settings, clock):
    """The service as a process opens it, on each database."""
    opened = open_service(replace(store_settings, worker_processes=2), clock=clock)
    yield opened
    opened.close()


@pytest.fixture
def another(worklist, store_settings, clock):
    """A second process on the same database."""
    opened = open_service(store_settings, clock=clock)
    yield opened
    opened.close()


def submit(service: Service, *raws: bytes) -> list[str]:
    files = [Incoming(f"{number}.png", raw) for number, raw in enumerate(raws)]
    return [receipt.study_id for receipt in service.submit_many(LEAD, files, source=Source.CLI)]


def activate(service: Service, text: str, note: str = "as agreed") -> int:
    policy_id = service.write_policy(LEAD, text, note)
    service.activate_policy(LEAD, policy_id)
    return policy_id


def rows(service: Service, table) -> list:
    with service.database.read() as session:
        found = list(session.scalars(select(table)))
        session.expunge_all()
    return found


def versions(service: Service, sha256: str) -> set[str]:
    return {each.policy for each in rows(service, ResultRow) if each.sha256 == sha256}


def events(service: Service) -> list[tuple[str, str, str, str]]:
    return [
        (each.actor, each.event, each.subject, each.detail)
        for each in rows(service, AuditRow)
        if each.event.startswith("policy")
    ]


# ---- in force


def test_the_file_is_in_force_until_somebody_activates_another(worklist):
    history = worklist.policies(LEAD)
    assert history.in_force.policy == parse_policy(TEXT)
    assert (history.file, history.of_file, history.before) == (history.versions[0], True, None)
    assert (history.in_force.policy_id, history.in_force.change, history.in_force.fault) == (None, 0, "")
    assert [(each.version, each.author, each.signed) for each in history.versions] == [("1.0.0", "", False)]
    assert (history.changes, history.otherwise) == ((), 0)
    assert worklist.policy_text(LEAD, None) == TEXT, "comments and all"


def test_another_process_sees_the_change_at_its_next_call(worklist, another):
    policy_id = activate(worklist, written("1.1.0", URGENT_MASS))
    assert worklist.policy.version == "1.1.0"
    assert another.policy.version == "1.0.0"
    another.tiers(ANN)
    assert another.policy == worklist.policy
    assert another.policy.rule("Mass").tier is Urgency.URGENT
    another.activate_policy(LEAD, None)
    worklist.page(ANN, Query())
    assert worklist.policy.version == "1.0.0"
    history = worklist.policies(LEAD)
    assert [(each.policy_id, each.version, each.actor) for each in history.changes] == [
        (history.file.id, "1.0.0", "Lea"),
        (policy_id, "1.1.0", "Lea"),
    ]
    assert history.before == policy_id


def test_a_process_that_starts_later_begins_with_the_policy_in_force(worklist, store_settings):
    activate(worklist, written("1.1.0"))
    later = open_service(store_settings)
    assert later.policy.version == "1.1.0"
    later.close()


@contextmanager
def at_work(service: Service):
    stop = threading.Event()
    with open_pool(service) as pool:
        thread = threading.Thread(target=Worker(service, pool, stop).work, kwargs={"once": False})
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(60)


def test_a_running_worker_answers_new_films_under_the_new_policy_and_keeps_the_old_answers(
    store_settings, kit
):
    pages, works = (open_service(replace(store_settings, worker_processes=2)) for _ in range(2))
    with at_work(works):
        (old,) = submit(pages, png(1))
        wait_for(lambda: queue.waiting(pages) == 0, 60, "the first answer")
        activate(pages, written("1.1.0", URGENT_MASS))
        (new,) = submit(pages, png(2))
        wait_for(lambda: queue.waiting(pages) == 0, 60, "the second answer")
        shas = {each.study_id: each.sha256 for each in rows(pages, ImageRow)}
        assert versions(pages, shas[old]) == {"1.0.0"}
        assert versions(pages, shas[new]) == {"1.1.0"}
        assert pages.policies(LEAD).otherwise == 1
        assert pages.reanalyse(LEAD, None, None) == 1
        wait_for(lambda: queue.waiting(pages) == 0, 60, "the answer asked anew")
        assert versions(pages, shas[old]) == {"1.0.0", "1.1.0"}, "both stay"
        assert pages.policies(LEAD).otherwise == 0
    for service in (pages, works):
        service.close()


# ---- written


def test_a_version_is_kept_as_written_and_audited(worklist, clock):
    text = written("1.1.0", URGENT_MASS)
    policy_id = worklist.write_policy(LEAD, text, " mass  is\nurgent ")
    assert worklist.policy.version == "1.0.0", "writing is not activating"
    kept = worklist.policies(LEAD).versions[0]
    assert (kept.id, kept.version, kept.approver, kept.author) == (policy_id, "1.1.0", SIGNED, "Lea")
    assert (kept.note, kept.signed, kept.created) == ("mass is urgent", True, clock.now)
    assert worklist.policy_text(LEAD, policy_id) == text
    assert events(worklist) == [
        ("Lea", "policy_write", "1.1.0", f'{{"policy":{policy_id},"signed":true}}'),
    ]


def test_what_came_into_force_is_audited_from_and_to(worklist):
    policy_id = activate(worklist, written("1.1.0"))
    worklist.activate_policy(LEAD, None)
    assert [each[1:] for each in events(worklist)[1:]] == [
        ("policy_activate", "1.1.0", f'{{"from":"1.0.0","policy":{policy_id},"to":"1.1.0"}}'),
        ("policy_activate", "1.0.0", '{"from":"1.1.0","policy":1,"to":"1.0.0"}'),
    ]


def test_a_version_never_stands_for_two_policies(worklist):
    worklist.write_policy(LEAD, written("1.1.0"), "first")
    for text in (written("1.1.0", URGENT_MASS), written("1.1.0"), written("1.0.0", URGENT_MASS)):
        with pytest.raises(Invalid, match="was used before"):
            worklist.write_policy(LEAD, text, "again")
    put(worklist.database, [study(1)], images=[image(1, 1)], results=[result(1, 1, "tiny 0.1.0", "0.9")])
    with pytest.raises(Invalid, match=r"0\.9 was used before"):
        worklist.write_policy(LEAD, written("0.9"), "a result from before versions were kept")
    assert [each.version for each in rows(worklist, PolicyRow)] == ["1.0.0", "1.1.0"]
    assert len(events(worklist)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "version = ",
        TEXT.replace("[tiers.critical]", "[tiers.crit]"),
        written("1.1.0", {("tiers", "critical", "max_wait_minutes"): 100_000}),
        TEXT.replace('version = "1.0.0"', 'version = "=1+1"'),
        TEXT.replace('version = "1.0.0"', f'version = "{"1" * 65}"'),
        written("1.1.0").replace(SIGNED, r"A\u0000B"),
        "#" * 300_000,
        "a = " + "[" * 100_000,
    ],
)
def test_what_is_no_policy_is_never_kept(worklist, text):
    for call in (lambda: worklist.write_policy(LEAD, text, "x"), lambda: worklist.try_policy(LEAD, text)):
        with pytest.raises(PolicyError):
            call()
    assert len(rows(worklist, PolicyRow)) == 1


def test_a_version_needs_a_note(worklist):
    with pytest.raises(Invalid, match="note"):
        worklist.write_policy(LEAD, written("1.1.0"), " \n ")


def test_roles(worklist):
    for role in (Role.VIEWER, Role.CLINICIAN):
        actor = Actor("somebody", role)
        for call in (
            lambda a=actor: worklist.policies(a),
            lambda a=actor: worklist.policy_text(a, None),
            lambda a=actor: worklist.try_policy(a, TEXT),
            lambda a=actor: worklist.write_policy(a, written("1.1.0"), "x"),
            lambda a=actor: worklist.activate_policy(a, None),
        ):
            with pytest.raises(Forbidden):
                call()
    assert activate(worklist, written("1.1.0"))


# ---- activated


def test_nobody_activates_what_nobody_has_approved(worklist):
    policy_id = worklist.write_policy(LEAD, written("1.1.0", approver="Unsigned: to be discussed"), "a draft")
    assert worklist.try_policy(LEAD, worklist.policy_text(LEAD, policy_id)).studies == 0
    with pytest.raises(Invalid, match="nobody has approved"):
        worklist.activate_policy(LEAD, policy_id)
    activate(worklist, written("1.2.0"))
    worklist.activate_policy(LEAD, None)
    assert not worklist.policy.signed, "the shipped file stays usable as it is"


def test_two_leads_at_once_and_what_is_in_force_already(worklist, another):
    first = worklist.write_policy(LEAD, written("1.1.0"), "one")
    second = worklist.write_policy(LEAD, written("1.2.0"), "two")
    seen = worklist.policies(LEAD).in_force.change
    worklist.activate_policy(LEAD, first, seen=seen)
    with pytest.raises(Conflict):
        another.activate_policy(LEAD, second, seen=seen)
    with pytest.raises(Invalid, match="in force already"):
        another.activate_policy(LEAD, first)
    with pytest.raises(StoreError, match="no such policy"):
        another.activate_policy(LEAD, 999)
    assert worklist.policies(LEAD).in_force.policy_id == first
    assert len(rows(worklist, PolicyChangeRow)) == 1


# ---- the file


@pytest.fixture
def started(store_settings, clock, tmp_path):
    """Open a process whose policy file says this."""
    file, processes = tmp_path / "policy.toml", []

    def start(text: str) -> Service:
        file.write_text(text, encoding="utf-8")
        processes.append(open_service(replace(store_settings, policy=file), clock=clock))
        return processes[-1]

    yield start
    for each in processes:
        each.close()


def test_the_files_version_may_not_be_used_twice(worklist, started):
    started("# another comment\n" + TEXT)
    assert worklist.policy_text(LEAD, None) == TEXT
    worklist.write_policy(LEAD, written("1.1.0"), "written here")
    for text, version in (
        (edited(TEXT, URGENT_MASS), r"1\.0\.0"),
        (written("1.1.0", URGENT_MASS), r"1\.1\.0"),
    ):
        with pytest.raises(PolicyError, match=rf"version {version}.* keeps another policy; raise"):
            started(text)
    assert [each.body for each in rows(worklist, PolicyRow)] == [TEXT, written("1.1.0")]
    assert started(written("1.1.0")).policy.version == "1.0.0", "written here: to be activated"


def test_a_file_with_a_version_of_its_own_comes_into_force_everywhere_and_is_audited(worklist, started):
    submit(worklist, png(1))
    newer = started(edited(TEXT, {("version",): "1.1.0"} | URGENT_MASS))
    assert newer.policy.version == "1.1.0"
    assert worklist.policies(LEAD).in_force.policy == newer.policy, "a process that runs follows"
    assert events(worklist) == [
        ("policy file", "policy_write", "1.1.0", '{"policy":2,"signed":false}'),
        ("policy file", "policy_activate", "1.1.0", '{"from":"1.0.0","policy":2,"to":"1.1.0"}'),
    ]
    history = worklist.policies(LEAD)
    assert [(each.actor, each.version) for each in history.changes] == [("policy file", "1.1.0")]
    assert (history.file.version, history.in_force.policy_id, history.of_file) == ("1.1.0", None, True)
    older = started(TEXT)
    assert older.policy.version == older.policies(LEAD).in_force.policy.version == "1.1.0", "it follows"
    assert len(events(worklist)) == 2, "nothing came of the older file"
    assert history.before == 1
    worklist.activate_policy(LEAD, history.before)
    assert {each.policies(LEAD).in_force.policy.version for each in (worklist, newer, older)} == {"1.0.0"}
    history = older.policies(LEAD)
    assert (history.in_force.policy_id, history.of_file, history.before) == (1, True, None)
    worklist.activate_policy(LEAD, None)
    assert newer.policies(LEAD).in_force.policy.version == "1.1.0"


def test_a_file_waits_while_a_version_that_was_written_here_is_in_force(worklist, started):
    policy_id = activate(worklist, written("1.1.0"))
    other = started(edited(TEXT, {("version",): "1.2.0"}))
    assert other.policy.version == worklist.policies(LEAD).in_force.policy.version == "1.1.0"
    assert worklist.policies(LEAD).file.version == "1.2.0"
    assert [each.policy_id for each in rows(worklist, PolicyChangeRow)] == [policy_id]
    worklist.activate_policy(LEAD, None)
    other.tiers(ANN)
    assert (worklist.policy.version, other.policy.version) == ("1.2.0", "1.2.0")


def test_two_processes_start_at_once_with_a_new_file(worklist, store_settings, tmp_path):
    """One of them keeps it and brings it into force."""
    submit(worklist, png(1))
    file = tmp_path / "policy.toml"
    file.write_text(written("1.1.0"), encoding="utf-8")
    settings = replace(store_settings, policy=file)
    with ThreadPoolExecutor(6) as threads:
        opened = list(threads.map(lambda _: open_service(settings), range(6)))
    assert {each.policy.version for each in opened} == {"1.1.0"}
    assert [each.policy_id for each in rows(worklist, PolicyChangeRow)] == [2]
    assert [each[1] for each in events(worklist)] == ["policy_write", "policy_activate"]
    for each in opened:
        each.close()


# ---- what is in flight when another comes into force


def test_an_answer_of_the_former_policy_is_not_written_and_its_study_stays_queued(
    worklist, another, kit, clock
):
    """ "Analyse again" leaves out what waits, so what waits must be answered by the policy in force."""
    (done, _) = submit(worklist, png(1), png(2))
    jobs = queue.claim(worklist, "w1", 2)
    made = [(job, answers(worklist, kit, job.films)) for job in jobs]
    assert queue.record_many(worklist, "w1", [each for each in made if each[0].study_id == done]) == 1
    activate(another, written("1.1.0", URGENT_MASS))
    assert another.reanalyse(LEAD, None, None) == 1, "the other waits already"
    late = [each for each in made if each[0].study_id != done]
    assert queue.record_many(worklist, "w1", late) == 0
    assert {each.policy for each in rows(worklist, ResultRow)} == {"1.0.0"}
    assert all(each.queued_utc and each.lease_owner is None for each in rows(worklist, StudyRow))
    worklist.refresh()
    assert work(worklist, kit) == 0, "a worker that does not see the new policy is not at it for ever"
    clock.advance(2)
    assert work(worklist, replace(kit, policy=worklist.policy)) == 2
    assert sorted(each.policy for each in rows(worklist, ResultRow)) == ["1.0.0", "1.1.0", "1.1.0"]
    assert another.policies(LEAD).otherwise == 0
    assert queue.waiting(worklist) == 0


def test_nobody_brings_a_policy_into_force_between_the_look_and_the_record(
    worklist, another, kit, monkeypatch
):
    """Whoever then has all open studies analysed again finds the answer that was under way."""
    submit(worklist, png(1))
    (job,) = queue.claim(worklist, "w1", 1)
    made = answers(worklist, kit, job.films)
    policy_id = another.write_policy(LEAD, written("1.1.0"), "x")
    looked, seen, found = stored_policy.version_in_force, threading.Event(), []

    def look(session):
        version = looked(session)
        seen.set()
        thread.join(0.3)
        assert thread.is_alive(), "activation waits until this is recorded"
        return version

    def activation():
        assert seen.wait(30)
        another.activate_policy(LEAD, policy_id)
        found.append(another.reanalyse(LEAD, None, None))

    thread = threading.Thread(target=activation)
    thread.start()
    monkeypatch.setattr(stored_policy, "version_in_force", look)
    assert queue.record(worklist, "w1", job, made)
    thread.join(60)
    assert found == [1]


# ---- one that this program cannot read


@pytest.fixture
def unreadable(worklist):
    """A policy in force that a newer program wrote."""
    with worklist.database.write() as session:
        row = {"version": "9.0.0", "body": written("9.0.0") + '\n[telepathy]\nrange = "far"\n'}
        row |= {"approver": SIGNED, "author": "Zoe", "note": "", "created_utc": worklist.clock()}
        made = session.execute(insert(PolicyRow).values(row).returning(PolicyRow.id)).scalar_one()
        session.add(PolicyChangeRow(at_utc=worklist.clock(), actor="Zoe", policy_id=made))
    return made


def test_a_policy_that_cannot_be_read_stops_answers_and_nothing_else(
    worklist, unreadable, store_settings, caplog
):
    (waiting,) = submit(worklist, png(1))
    opened = open_service(store_settings)
    for service in (worklist, opened):
        assert service.page(ANN, Query()).total == 1, "the list is shown"
        history = service.policies(LEAD)
        assert "cannot read policy 9.0.0" in history.in_force.fault
        assert history.in_force.policy.version == "1.0.0"
        assert history.versions[0].dated is None
        assert service.health(LEAD).policy_fault == history.in_force.fault
        with pytest.raises(PolicyError, match="9.0.0"):
            service.deciding()
    with pytest.raises(PolicyError, match="9.0.0"):
        run(store_settings, once=True, stop=threading.Event())
    with at_work(opened):
        wait_for(lambda: "policy_unreadable" in caplog.text, 60, "the worker says so")
        assert (queue.waiting(opened), rows(opened, ResultRow)) == (1, [])
        assert all(each.lease_owner is None for each in rows(opened, StudyRow))
        opened.activate_policy(LEAD, None)
        wait_for(lambda: queue.waiting(opened) == 0, 60, "an answer once it can be decided again")
    assert {each.policy for each in rows(opened, ResultRow)} == {"1.0.0"}
    assert worklist.study(ANN, waiting).line.state is not None
    opened.close()


def test_a_policy_that_becomes_unreadable_gives_back_what_was_just_claimed(
    worklist, unreadable, store_settings
):
    submit(worklist, png(1))
    opened = open_service(store_settings)
    with open_pool(opened) as pool:
        worker = Worker(opened, pool, threading.Event())
        opened.in_force = replace(opened.in_force, fault="", change=0)  # as it was a moment ago
        assert worker._leased() == []
    assert [each.lease_owner for each in rows(opened, StudyRow)] == [None]
    assert opened.in_force.fault
    opened.close()


def test_an_unreadable_policy_is_not_activated(worklist, unreadable):
    worklist.activate_policy(LEAD, None)
    with pytest.raises(PolicyError, match="telepathy"):
        worklist.activate_policy(LEAD, unreadable)
    assert (worklist.policy.version, worklist.in_force.fault) == ("1.0.0", "")


def test_while_the_policy_cannot_be_read_no_act_decides_and_all_others_go_on(worklist, kit, request):
    ids = submit(worklist, *(png(seed) for seed in range(3)))
    work(worklist, kit)
    worklist.override(ANN, ids[0], worklist.version(ANN, ids[0]), Urgency.CRITICAL, "seen at the bedside")
    request.getfixturevalue("unreadable")
    before = rows(worklist, AuditRow)[-1].seq
    version = worklist.version(ANN, ids[0])
    (sha256, *_) = (each.sha256 for each in rows(worklist, ImageRow))
    for act in (
        lambda: worklist.complete(ANN, ids[0], Study(age_years=5.0), version),
        lambda: worklist.override(ANN, ids[0], version, Urgency.ROUTINE, "x"),
        lambda: worklist.undo(ANN, ids[0], version, 1),
        lambda: worklist.reanalyse(LEAD, ids, None),
        lambda: worklist.retry(LEAD, sha256),
    ):
        with pytest.raises(PolicyError, match="cannot read policy 9.0.0"):
            act()
    assert (rows(worklist, AuditRow)[-1].seq, worklist.version(ANN, ids[0])) == (before, version)
    worklist.acknowledge(ANN, ids[0], version, told="Dr. Costa", how="in person", read_back=True)
    worklist.claim(ANN, ids[0], version + 1)
    worklist.note(ANN, ids[0], version + 2, "told")
    worklist.mark_read(ANN, ids[0], version + 3)


def test_an_answer_of_a_policy_that_cannot_be_read_is_never_decided_by_another(worklist, kit):
    """A newer program answered, then this one was started again."""
    films = Films()
    first = Incoming("a.dcm", films.dicom(1, study=7))
    study_id = worklist.submit(LEAD, first, source=Source.CLI).study_id
    policy_id = activate(worklist, written("9.0.0"))
    work(worklist, replace(kit, policy=worklist.policy))
    worklist.complete(ANN, study_id, Study(age_years=50.0), worklist.version(ANN, study_id))
    with worklist.database.write() as session:
        session.get_one(PolicyRow, policy_id).body += '\n[telepathy]\nrange = "far"\n'
    worklist.activate_policy(LEAD, None)
    version = worklist.version(ANN, study_id)
    for act in (
        lambda: worklist.complete(ANN, study_id, Study(age_years=5.0), version),
        lambda: worklist.override(ANN, study_id, version, Urgency.CRITICAL, "x"),
    ):
        with pytest.raises(PolicyError, match=r"^policy_unreadable: .*9\.0\.0"):
            act()
    assert worklist.version(ANN, study_id) == version
    (film,) = worklist.study(ANN, study_id).films
    assert (film.analysis, film.notice) == (None, LOST), "the page says so"
    second = Incoming("b.dcm", films.dicom(2, study=7))
    assert worklist.submit(LEAD, second, source=Source.CLI).study_id == study_id, "films come in"
    assert work(worklist, kit) == 1
    assert worklist.study(ANN, study_id).line.urgency.rank <= Urgency.REVIEW.rank, "a person must look"
    worklist.reanalyse(LEAD, [study_id], None)
    work(worklist, kit)
    worklist.complete(ANN, study_id, Study(age_years=5.0), worklist.version(ANN, study_id))


# ---- tried


def standing(row: StudyRow) -> Standing:
    return Standing(
        state=row.state,
        urgency=Urgency(row.urgency),
        findings=tuple(label for label in row.findings.split("|") if label),
        reasons=tuple(row.reasons),
        action=row.action,
        is_open=row.is_open,
        acknowledged=row.acknowledged_utc is not None,
    )


@pytest.fixture
def department(worklist, kit):
    """A list on which people have done everything that a new answer must respect."""
    films = Films()
    ids = submit(worklist, *(png(seed) for seed in range(20)))
    two = [Incoming(f"{n}.dcm", films.dicom(100 + n, study=77)) for n in range(2)]
    ids.append(worklist.submit_many(LEAD, two, source=Source.CLI)[0].study_id)
    submit(worklist, b"no film")
    work(worklist, kit)

    def version(study_id: str) -> int:
        return worklist.version(ANN, study_id)

    worklist.complete(ANN, ids[0], Study(age_years=5.0, sex=Sex.FEMALE), version(ids[0]))
    worklist.complete(ANN, ids[1], Study(view=View.LATERAL), version(ids[1]))
    worklist.complete(ANN, ids[2], Study(age_years=70.0), version(ids[2]))
    for number, urgency in ((13, Urgency.ROUTINE), (4, Urgency.CRITICAL), (15, Urgency.SIGNIFICANT)):
        worklist.override(ANN, ids[number], version(ids[number]), urgency, "seen at the bedside")
    for number in (5, 6, 8, 15):
        worklist.mark_read(ANN, ids[number], version(ids[number]))
    with worklist.database.write() as session:
        lost = select(ImageRow.sha256).where(ImageRow.study_id == ids[9])
        session.execute(update(ImageRow).where(ImageRow.sha256.in_(lost)).values(status="dead"))
        judge(session, worklist.policy, [session.get_one(StudyRow, ids[9])])
    return ids


def as_it_stands(service: Service) -> dict[str, Standing]:
    return {row.id: standing(row) for row in rows(service, StudyRow)}


def foretold(service: Service, text: str) -> dict[str, Standing]:
    """Where every study would stand: as it does, unless the preview says otherwise."""
    tried = service.try_policy(LEAD, text)
    now = as_it_stands(service)
    for each in tried.changed:
        assert each.before == now[each.study_id]
    return now | {each.study_id: each.after for each in tried.changed}


def test_the_preview_is_what_activation_and_new_answers_then_do(worklist, department, kit, clock):
    """Also on the way back: what was critical is held, an acknowledgement counts, old answers come again."""
    policies = [written("1.1.0", GRAVER), written("1.2.0", MILDER)]
    ids = {text: worklist.write_policy(LEAD, text, "x") for text in policies}
    kept = None
    for text in (policies[0], policies[1], policies[0], TEXT):
        promised, stood = foretold(worklist, text), as_it_stands(worklist)
        if text == policies[0]:
            assert promised != stood
        worklist.activate_policy(LEAD, ids.get(text))
        worklist.reanalyse(LEAD, list(promised), None)
        work(worklist, replace(kit, policy=worklist.policy))
        after = as_it_stands(worklist)
        assert {key: (each.state, each.urgency, each.is_open) for key, each in after.items()} == {
            key: (each.state, each.urgency, each.is_open) for key, each in promised.items()
        }
        told = {each.study_id for each in worklist.try_policy(LEAD, text).changed}
        assert told == set(), "tried again, nothing would change"
        if kept is None:
            kept = {each.id: each.body for each in rows(worklist, ResultRow)}
            raised = min(
                key
                for key, each in after.items()
                if each.urgency is Urgency.CRITICAL and stood[key].urgency is not Urgency.CRITICAL
            )
            now = worklist.version(ANN, raised)
            worklist.acknowledge(ANN, raised, now, told="ward", how="in person")
    assert any(HELD in each.reasons for each in as_it_stands(worklist).values())
    bodies = {each.id: each.body for each in rows(worklist, ResultRow)}
    assert kept.items() <= bodies.items(), "results of former policies stay as they were"


def test_the_preview_writes_nothing_and_counts_everything(worklist, department, clock):
    clock.advance(3 * 3600)
    before = {table: rows(worklist, table) for table in (StudyRow, ImageRow, ResultRow, AuditRow)}
    tried = worklist.try_policy(
        LEAD, written("1.1.0", GRAVER | {("tiers", "review", "max_wait_minutes"): 200})
    )
    for table, found in before.items():
        plain = [{key: value for key, value in vars(row).items() if key[0] != "_"} for row in found]
        now = [
            {key: value for key, value in vars(row).items() if key[0] != "_"} for row in rows(worklist, table)
        ]
        assert now == plain
    assert tried.studies == sum(tried.urgencies.values()) == sum(tried.states.values()) == 22
    assert (tried.read, tried.other_model) == (4, 0)
    moved = sum(count for (before, after), count in tried.urgencies.items() if before is not after)
    assert 0 < moved <= len(tried.changed)
    ranks = [each.after.urgency.rank for each in tried.changed]
    assert ranks == sorted(ranks)
    assert tried.overdue[0] > 0
    assert {each.where for each in tried.differences} == {
        "Edema · tier",
        "Nodule · tier",
        "disagreement · spread",
        "tiers · review · max wait minutes",
    }
    assert tried.without_effect == (THRESHOLDS,)


def test_a_budget_changes_nothing_and_that_is_said(worklist, department):
    tried = worklist.try_policy(LEAD, written("1.1.0", {("tiers", "urgent", "budget"): 0.2}))
    assert tried.reworded == 0
    assert {each.study_id for each in tried.changed} == {department[13], department[15]}
    assert all(each.overridden for each in tried.changed), (
        "another answer is news to who overrode, whatever it says"
    )
    assert tried.without_effect == (BUDGETS,)


def test_a_typed_study_keeps_its_answer_until_asked_anew(worklist, kit):
    """What a person typed is weighed by the policy that made the answer, not by one activated since."""
    films = Films()
    receipt = worklist.submit(LEAD, Incoming("a.dcm", films.dicom(1)), source=Source.CLI)
    work(worklist, kit)
    assert worklist.study(ANN, receipt.study_id).line.urgency is Urgency.URGENT
    activate(worklist, written("1.1.0", {("findings", "Edema", "tier"): "critical"}))
    worklist.complete(ANN, receipt.study_id, Study(age_years=50.0), worklist.version(ANN, receipt.study_id))
    seen = worklist.study(ANN, receipt.study_id)
    assert seen.line.urgency is Urgency.URGENT
    assert seen.films[0].analysis.versions.policy == "1.0.0"
    worklist.reanalyse(LEAD, None, None)
    work(worklist, replace(kit, policy=worklist.policy))
    seen = worklist.study(ANN, receipt.study_id)
    assert seen.line.urgency is Urgency.CRITICAL
    assert seen.films[0].analysis.versions.policy == "1.1.0"


def test_the_shipped_file_is_read_the_same_from_its_text():
    assert load_policy(Settings().policy) == parse_policy(TEXT)
