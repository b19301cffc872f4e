"""The page with the real pipeline and the small model, without a browser."""

import io
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable

import pytest
import streamlit as st
from sqlalchemy import select
from streamlit.testing.v1 import AppTest

from cxr_core.domain import View
from cxr_core.errors import DecoderDied
from cxr_core.imaging.phantom import make_phantom, phantom_png
from cxr_core.imaging.phantom_dicom import phantom_dicom
from cxr_core.settings import ROOT
from cxr_core.worklist.decoder import DecoderPool
from cxr_core.worklist.schema import AuditRow
from cxr_core.worklist.values import Query
from tests.ui.conftest import Home
from tests.ui.shown import html, press
from tests.worklist.films import Films

PAGE = str(ROOT / "pages" / "triage.py")
PHANTOM = make_phantom(4, size=256)
Drop = Callable[..., AppTest]


@pytest.fixture
def app(tiny_app: Home) -> AppTest:
    started = AppTest.from_file(PAGE, default_timeout=120).run()
    assert not started.exception
    return started


@pytest.fixture
def drop(app: AppTest, tiny_app: Home) -> Drop:
    """Drop files, have them answered, and look again."""

    def dropped(*files: tuple[str, bytes]) -> AppTest:
        for name, raw in files:
            app.file_uploader[0].upload(name, raw, "application/octet-stream")
        app.run()
        assert not app.exception
        return answered(app, tiny_app)

    return dropped


def answered(app: AppTest, home: Home) -> AppTest:
    home.answer()
    app.run()
    app.run()  # the first look finds the answers, the second shows them
    assert not app.exception
    return app


def texts(app: AppTest) -> list[str]:
    return [element.value for element in app.text]


def test_the_empty_page_says_what_to_do(app: AppTest) -> None:
    assert "Drop a chest X-ray" in html(app)
    assert [button.label for button in app.button][:1] == ["Film with findings"]


def test_a_dropped_dicom_becomes_a_card_with_who_and_when_first(app: AppTest, drop: Drop) -> None:
    drop(("film.dcm", phantom_dicom(PHANTOM, patient_id="P-77", patient_name="Doe^Jane", age_years=61)))
    shown = texts(app)
    assert shown[0] == "Doe, Jane"
    assert shown[1].startswith("ID P-77 · ")
    assert "61 · PA · 5 Jan 2026 09:30" in shown[1]
    assert "read within" in html(app)
    assert "SUGGESTED ACTION" in html(app)
    assert "tiny 0.1.0" in html(app)


def study_shown(app: AppTest) -> str:
    value = app.query_params["study"]
    return value if isinstance(value, str) else value[0]


def picks(app: AppTest) -> list[str]:
    return [button.label for button in app.button if (button.key or "").startswith("pick-")]


def test_several_films_are_listed_by_urgency_and_any_can_be_picked(app: AppTest, drop: Drop) -> None:
    broken = ("broken.dcm", phantom_dicom(make_phantom(5, size=256))[:2000])
    lateral = ("c.dcm", phantom_dicom(make_phantom(6, size=256), view=View.LATERAL))
    drop(broken, ("a.png", phantom_png(PHANTOM)), lateral)
    lines = picks(app)
    order = ["Critical", "Urgent", "Review", "Significant", "Routine"]
    ranks = [order.index(line.split()[1]) for line in lines]
    assert len(lines) == 3
    assert ranks == sorted(ranks)
    refused = [button for button in app.button if "not assessed" in button.label]
    assert len(refused) == 2
    refused[0].click().run()
    assert not app.exception
    assert "Not assessed – a person must look" in html(app)
    assert "WHAT TO DO" in html(app)


def test_until_the_answer_comes_the_page_says_that_the_film_is_stored(app: AppTest, tiny_app: Home) -> None:
    app.file_uploader[0].upload("a.png", phantom_png(PHANTOM), "application/octet-stream")
    app.run()
    assert "BEING ASSESSED" in html(app)
    assert picks(app) == ["Being assessed"]
    answered(app, tiny_app)
    assert "BEING ASSESSED" not in html(app)
    assert "read within" in html(app)


def test_a_reload_keeps_the_study_that_was_shown(app: AppTest, drop: Drop, tiny_app: Home) -> None:
    drop(("film.dcm", phantom_dicom(PHANTOM, patient_id="P-77", patient_name="Doe^Jane")))
    again = AppTest.from_file(PAGE, default_timeout=120)
    again.query_params["study"] = study_shown(app)
    again.run()
    assert not again.exception
    assert texts(again)[0] == "Doe, Jane"
    assert "FINDINGS" in html(again)


def test_an_address_that_names_no_study_is_said(tiny_app: Home) -> None:
    app = AppTest.from_file(PAGE, default_timeout=120)
    app.query_params["study"] = "0" * 16
    app.run()
    assert not app.exception
    assert app.warning[0].value == "There is no such study."
    press(app, "Back")
    assert "Drop a chest X-ray" in html(app)


def test_a_study_is_audited_when_it_is_opened_and_not_at_every_rerun(
    app: AppTest, drop: Drop, tiny_app: Home
) -> None:
    drop(("a.png", phantom_png(PHANTOM)))
    for _ in range(3):
        app.run()
    with tiny_app.service.database.read() as session:
        views = session.scalars(select(AuditRow).where(AuditRow.event == "view")).all()
    assert len(views) == 1


def test_the_same_file_twice_is_one_film(app: AppTest, tiny_app: Home) -> None:
    film = phantom_png(PHANTOM)
    for name in ("a.png", "b.png"):
        app.file_uploader[0].upload(name, film, "application/octet-stream")
    app.run()
    assert len(picks(app)) == 1
    assert "already in the list" in app.toast[0].value
    assert tiny_app.service.page(tiny_app.actor, Query()).total == 1


def test_another_film_of_a_study_that_was_answered_is_no_film_twice(
    app: AppTest, drop: Drop, films: Films
) -> None:
    drop(("one.dcm", films.dicom(1, study=7)))
    app.file_uploader[0].upload("two.dcm", films.dicom(2, study=7), "application/octet-stream")
    app.run()
    assert len(picks(app)) == 1
    assert not app.toast
    assert len(app.get("button_group")[0].options) == 2


def test_a_film_that_cannot_be_drawn_just_now_is_tried_again_by_the_next_visit(
    app: AppTest, drop: Drop, tiny_app: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(("one.dcm", phantom_dicom(PHANTOM)))
    st.cache_resource.clear()
    view, asked = DecoderPool.view, []

    def dies(*given: object) -> None:
        asked.append(given)
        raise DecoderDied("decode_timeout")

    monkeypatch.setattr(DecoderPool, "view", dies)
    for _ in range(2):
        app.run()
        assert "Reload the page to try again" in html(app)
        assert "FINDINGS" in html(app), "the answer is there all the same"
    assert len(asked) == 1, "not with every rerun"
    monkeypatch.setattr(DecoderPool, "view", view)
    other = AppTest.from_file(PAGE, default_timeout=120)
    other.query_params["study"] = app.query_params["study"]
    other.run()
    assert "to try again" not in html(other)
    assert other.get("bidi_component")


def test_a_zip_is_opened_and_what_it_must_not_hold_gets_a_card_of_its_own(app: AppTest, drop: Drop) -> None:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("one.png", phantom_png(PHANTOM))
        archive.writestr("../two.png", phantom_png(make_phantom(5, size=256)))
    drop(("films.zip", packed.getvalue()), ("empty.png", b""))
    lines = picks(app)
    assert len(lines) == 3
    refused = [button for button in app.button if "not stored" in button.label]
    assert len(refused) == 2
    refused[0].click().run()
    assert not app.exception
    assert "Not assessed – a person must look" in html(app)
    assert texts(app)[0] == "films.zip/../two.png"


@pytest.mark.parametrize(
    "hostile",
    ["![x](http://evil.example/a.png)", "<img src onerror>", ":red[x] **b**", "'; DROP TABLE"],
)
def test_hostile_names_stay_plain_text(app: AppTest, drop: Drop, hostile: str) -> None:
    drop((f"{hostile}.dcm", phantom_dicom(PHANTOM, patient_id=hostile[:60], patient_name=hostile[:60])))
    assert texts(app)[0] == hostile
    assert hostile not in html(app)
    labels = [button.label for button in app.button] + [element.value for element in app.markdown]
    assert not [label for label in labels if hostile in label]


def test_the_study_form_is_prefilled_and_a_childs_age_changes_the_card(app: AppTest, drop: Drop) -> None:
    drop(("film.dcm", phantom_dicom(PHANTOM, patient_id="P-77", patient_name="Doe^Jane")))
    fields = {field.label: field for field in app.text_input}
    assert fields["Patient ID"].value == "P-77"
    assert fields["Name"].value == "Doe, Jane"
    fields["Referrer"].input("Dr Low")
    fields["Referrer's phone"].input("020 1234")
    app.text_area[0].input("Pneumothorax?")
    app.number_input[0].set_value(7.0)
    press(app, "Save")
    assert "Referrer: Dr Low · 020 1234" in texts(app)
    assert "Question: Pneumothorax?" in texts(app)
    assert "Gate: warned" in html(app)


def test_what_another_person_changed_meanwhile_is_not_overwritten(
    app: AppTest, drop: Drop, tiny_app: Home
) -> None:
    drop(("film.dcm", phantom_dicom(PHANTOM, patient_id="P-77")))
    study_id = study_shown(app)
    line = tiny_app.service.study(tiny_app.actor, study_id).line
    tiny_app.service.claim(tiny_app.actor, study_id, line.version)
    next(field for field in app.text_input if field.label == "Patient ID").input("P-78")
    press(app, "Save")
    assert "changed meanwhile" in app.warning[0].value
    assert tiny_app.service.study(tiny_app.actor, study_id).line.patient_id == "P-77"
    press(app, "Save")
    assert tiny_app.service.study(tiny_app.actor, study_id).line.patient_id == "P-78"


def test_examples_run_the_very_same_way(app: AppTest, tiny_app: Home) -> None:
    app.button(key="example-0").click().run()
    answered(app, tiny_app)
    assert texts(app)[0] == "Phantom, Synthetic"
    assert "FINDINGS" in html(app)


def test_putting_a_study_away_leaves_it_on_the_worklist(app: AppTest, drop: Drop, tiny_app: Home) -> None:
    drop(("a.png", phantom_png(PHANTOM)))
    press(app, "Put away")
    assert "Drop a chest X-ray" in html(app)
    assert tiny_app.service.page(tiny_app.actor, Query()).total == 1


def test_downloads_are_named_by_study_and_never_by_patient(app: AppTest, drop: Drop) -> None:
    drop(("film.dcm", phantom_dicom(PHANTOM, patient_name="Doe^Jane")))
    buttons = app.get("download_button")
    assert [button.proto.label for button in buttons] == ["PDF", "JSON", "PNG", "De-identified DICOM"]


def test_several_films_of_one_study_share_a_page_and_each_keeps_its_card(
    app: AppTest, drop: Drop, films: Films
) -> None:
    drop(("pa.dcm", films.dicom(1, study=7)), ("ll.dcm", films.dicom(2, study=7, ViewPosition="LL")))
    assert len(picks(app)) == 1
    assert "THE WHOLE STUDY" in html(app)
    assert "FINDINGS" in html(app)
    chooser = app.get("button_group")[0]
    assert len(chooser.options) == 2


def test_a_viewer_sees_studies_and_hands_in_none(
    drop: Drop, app: AppTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    drop(("film.dcm", phantom_dicom(PHANTOM, patient_name="Doe^Jane")))
    monkeypatch.setenv("CXR_LOCAL_ROLE", "viewer")
    viewer = AppTest.from_file(PAGE, default_timeout=120)
    viewer.query_params["study"] = study_shown(app)
    viewer.run()
    assert not viewer.exception
    assert texts(viewer)[0] == "Doe, Jane"
    assert not viewer.get("file_uploader")
    assert not viewer.get("form_submit_button")
    assert "Save" not in [button.label for button in viewer.button]


def test_a_model_that_cannot_be_used_is_said(tiny_app: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXR_MODEL", "no-such-model")
    app = AppTest.from_file(PAGE, default_timeout=60).run()
    assert not app.exception
    assert "No film can be assessed" in app.error[0].value
    assert not app.get("file_uploader")


def test_the_page_loads_no_network(tiny_app: Home) -> None:
    """The worker answers; the web process stays small and starts fast."""
    code = (
        "import sys\nfrom streamlit.testing.v1 import AppTest\n"
        f"app = AppTest.from_file({PAGE!r}, default_timeout=120).run()\n"
        "assert not app.exception\n"
        "print([name in sys.modules for name in ('torch', 'onnxruntime', 'matplotlib')])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == "[False, False, False]", done.stderr


def test_the_server_is_closed_to_others_and_silent() -> None:
    config = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text(encoding="utf-8"))
    server = config["server"]
    assert server["address"] == "127.0.0.1"
    assert server["enableCORS"] is True
    assert server["enableXsrfProtection"] is True
    assert server["enableStaticServing"] is False
    assert config["client"]["showErrorDetails"] == "none"
    assert config["browser"]["gatherUsageStats"] is False


def test_the_entry_stays_small() -> None:
    assert len((ROOT / "streamlit_app.py").read_text(encoding="utf-8").splitlines()) < 60
