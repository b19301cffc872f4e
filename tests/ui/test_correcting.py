"""A film that was refused because it hangs wrong, on the triage page and on the desk, without a browser."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from sqlalchemy import select
from streamlit.testing.v1 import AppTest

from cxr_core.access import Actor, Role
from cxr_core.domain import AS_SENT, Correction, State
from cxr_core.imaging.gate import CORRECTIONS
from cxr_core.imaging.phantom import make_phantom
from cxr_core.imaging.phantom_dicom import phantom_dicom
from cxr_core.settings import ROOT
from cxr_core.ui import correcting
from cxr_core.worklist import queue
from cxr_core.worklist.schema import AuditRow, ImageRow
from cxr_core.worklist.values import Answer, FilmView, Incoming, Query, Source
from tests.films import photograph
from tests.ui.conftest import Home
from tests.ui.shown import html, labels, press
from tests.worklist.calls import refused

UPRIGHT = np.round(255 * make_phantom(4, size=256).image).astype(np.uint8)
SPOILT = {"upside_down": np.rot90(UPRIGHT, 2), "inverted": 255 - UPRIGHT}


def png(film: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(film)).save(buffer, "PNG")
    return buffer.getvalue()


def hanging(home: Home, code: str, raw: bytes = b"") -> str:
    """The study of a film that was refused for this."""
    film = Incoming("film", raw or png(SPOILT[code]))
    receipt = home.service.submit(home.actor, film, source=Source.PAGE, priority=0)
    (job,) = queue.claim(home.service, "w1", 9)
    answer = Answer(refused(home.service, receipt.sha256, code), None, (), None)
    assert queue.record(home.service, "w1", job, [answer])
    return receipt.study_id


def film_of(home: Home, study_id: str) -> FilmView:
    return home.service.study(home.actor, study_id, audited=False).films[0]


def opened(page: str, study_id: str) -> AppTest:
    app = AppTest.from_file(str(ROOT / "pages" / page), default_timeout=180)
    app.query_params["study"] = study_id
    app.run()
    assert not app.exception
    return app


def again(app: AppTest) -> AppTest:
    for _ in range(2):  # the first look finds the answer, the second shows it
        app.run()
        assert not app.exception
    return app


@pytest.mark.parametrize("page", ["triage.py", "study.py"])
@pytest.mark.parametrize(
    ("code", "button"),
    [("upside_down", "Turn it upright and assess it"), ("inverted", "Invert it and assess it")],
)
def test_a_film_that_hangs_wrong_is_shown_as_it_would_hang_and_assessed_so(tiny_app, page, code, button):
    study_id = hanging(tiny_app, code)
    app = opened(page, study_id)
    assert "CORRECT AND GO ON" in html(app)
    assert 'src="data:image/png;base64,' in html(app)
    press(app, button)
    assert "BEING ASSESSED" in html(app)
    assert button not in labels(app)
    tiny_app.answer()
    again(app)
    assert "FINDINGS" in html(app)
    assert "CORRECT AND GO ON" not in html(app)
    assert "Corrected by hand: " in html(app)
    film = film_of(tiny_app, study_id)
    assert film.analysis is not None
    assert film.analysis.correction == film.correction == CORRECTIONS[code]


def test_the_picture_is_the_film_as_it_would_hang(tiny_app):
    app = opened("triage.py", hanging(tiny_app, "upside_down"))
    address = html(app).split('src="data:image/png;base64,')[1].split('"')[0]
    import base64

    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(address))), dtype=float)
    assert np.abs(shown - UPRIGHT).max() <= 1


@pytest.mark.parametrize("page", ["triage.py", "study.py"])
def test_a_correction_can_be_taken_back(tiny_app, page):
    study_id = hanging(tiny_app, "upside_down")
    app = opened(page, study_id)
    press(app, "Turn it upright and assess it")
    tiny_app.answer()
    again(app)
    press(app, "Take the correction back")
    tiny_app.answer()
    again(app)
    film = film_of(tiny_app, study_id)
    assert film.correction == AS_SENT
    assert film.analysis is not None
    assert film.analysis.triage.state is State.REFUSED
    assert "CORRECT AND GO ON" in html(app)
    assert "Take the correction back" not in labels(app)


@pytest.mark.parametrize("dicom", [True, False])
def test_where_the_correction_stays_behind_the_page_says_so(tiny_app, monkeypatch, dicom):
    monkeypatch.setenv("CXR_LOCAL_ROLE", "lead")
    raw = phantom_dicom(make_phantom(4, size=256)) if dicom else b""
    app = opened("study.py", hanging(tiny_app, "upside_down", raw))
    said = "The DICOM file leaves as it was sent, without the correction."
    assert said not in [each.value for each in app.caption]
    press(app, "Turn it upright and assess it")
    tiny_app.answer()
    again(app)
    assert [each.proto.label[:13] for each in app.get("download_button")][-1] == "De-identified"
    assert (said in [each.value for each in app.caption]) == dicom


def test_the_history_says_who_had_it_turned(tiny_app):
    study_id = hanging(tiny_app, "upside_down")
    app = opened("study.py", study_id)
    press(app, "Turn it upright and assess it")
    app.session_state["desk-part"] = "History"
    app.run()
    assert "corrected a film: turned half round" in html(app)
    with tiny_app.service.database.read() as session:
        row = session.scalars(select(AuditRow).where(AuditRow.event == "correct")).one()
    assert row.actor == tiny_app.actor.name


def test_what_changed_meanwhile_is_said_and_nothing_is_turned(tiny_app):
    study_id = hanging(tiny_app, "upside_down")
    app = opened("triage.py", study_id)
    line = tiny_app.service.study(tiny_app.actor, study_id, audited=False).line
    tiny_app.service.note(Actor("Dr Other", Role.CLINICIAN), study_id, line.version, "seen")
    press(app, "Turn it upright and assess it")
    assert "the study changed meanwhile" in "\n".join(each.value for each in app.warning)
    assert film_of(tiny_app, study_id).correction == AS_SENT


def test_who_may_only_look_is_offered_nothing(tiny_app, monkeypatch):
    study_id = hanging(tiny_app, "upside_down")
    monkeypatch.setenv("CXR_LOCAL_ROLE", "viewer")
    app = opened("triage.py", study_id)
    assert "CORRECT AND GO ON" not in html(app)
    assert not [label for label in labels(app) if "assess it" in label]


def test_nothing_is_offered_where_the_film_is_none(tiny_app):
    """A refusal that no turning mends."""
    receipt = tiny_app.service.submit(tiny_app.actor, Incoming("a.png", png(UPRIGHT)), source=Source.PAGE)
    (job,) = queue.claim(tiny_app.service, "w1", 9)
    answer = Answer(refused(tiny_app.service, receipt.sha256, "not_radiograph"), None, (), None)
    assert queue.record(tiny_app.service, "w1", job, [answer])
    app = opened("triage.py", receipt.study_id)
    assert "CORRECT AND GO ON" not in html(app)


def test_a_photograph_that_is_refused_can_be_looked_at(tiny_app):
    receipt = tiny_app.service.submit(tiny_app.actor, Incoming("a.png", photograph(1)), source=Source.PAGE)
    tiny_app.answer()
    app = opened("triage.py", receipt.study_id)
    assert "Code: not_radiograph" in html(app)
    assert "FILE WITHOUT A PICTURE" not in html(app)
    (line,) = tiny_app.service.page(tiny_app.actor, Query()).lines
    assert line.thumbnail is not None


def test_every_offer_has_words_of_its_own():
    for code, more in CORRECTIONS.items():
        said = correcting.offer_html("data:", more)
        assert ("inverted" in said) == (code == "inverted")
    assert correcting.BUTTONS.keys() == {Correction(inverted=True)}


def given_up(home: Home) -> None:
    with home.service.database.write() as session:
        session.scalars(select(ImageRow)).one().status = "dead"


@pytest.mark.parametrize("page", ["triage.py", "study.py"])
def test_a_film_given_up_as_it_was_corrected_says_so_and_the_correction_can_be_taken_back(tiny_app, page):
    study_id = hanging(tiny_app, "upside_down")
    app = opened(page, study_id)
    press(app, "Turn it upright and assess it")
    given_up(tiny_app)
    again(app)
    assert "The film was given up" in html(app)
    assert "Given up as it was corrected by hand: turned half round." in html(app)
    assert "The film stands upside down" not in html(app)
    press(app, "Take the correction back")
    tiny_app.answer()
    again(app)
    assert "The film was given up" not in html(app)
    assert "CORRECT AND GO ON" in html(app)


def test_an_answer_that_another_was_to_replace_says_that_it_is_the_older_one(tiny_app):
    study_id = hanging(tiny_app, "upside_down")
    app = opened("triage.py", study_id)
    press(app, "Turn it upright and assess it")
    tiny_app.answer()
    given_up(tiny_app)
    again(app)
    assert "THE ANSWER BENEATH IS AN OLDER ONE" in html(app)
    assert "The film was given up" in html(app)
    assert "Corrected by hand: turned half round." in html(app)
    assert "Try again" in labels(app)
