"""The desk's part that explains a finding another way, with the real service and, once, a real worker."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from sqlalchemy import update
from streamlit.testing.v1 import AppTest

from cxr_core.domain import Radiograph
from cxr_core.inference.explain import NoRegion
from cxr_core.inference.explanation import MEANS, Explanation, Method, pack
from cxr_core.settings import ROOT
from cxr_core.ui import desk_explain
from cxr_core.worklist import explanations
from cxr_core.worklist.explanations import Progress
from cxr_core.worklist.schema import ExplanationRow
from cxr_core.worklist.values import Incoming, Source
from tests.films import blobs
from tests.ui.conftest import Home
from tests.ui.shown import html, labels, press
from tests.worklist.films import Films

PAGE = str(ROOT / "pages" / "study.py")


@pytest.fixture
def study(tiny_app: Home, films: Films) -> str:
    raw = films.dicom(1, patient_id="P-1")
    receipt = tiny_app.service.submit(tiny_app.actor, Incoming("a.dcm", raw), source=Source.PAGE)
    tiny_app.answer()
    return receipt.study_id


def opened(study_id: str) -> AppTest:
    app = AppTest.from_file(PAGE, default_timeout=180)
    app.query_params["study"] = study_id
    app.session_state["desk-part"] = "Explain"
    return rerun(app)


def rerun(app: AppTest) -> AppTest:
    app.run()
    assert not app.exception
    return app


def film(home: Home, study_id: str) -> str:
    return home.service.study(home.actor, study_id, audited=False).films[0].sha256


def chosen(app: AppTest) -> str:
    (field,) = [each for each in app.selectbox if each.label == "Finding"]
    return str(field.value)


def end(home: Home, heatmap: np.ndarray | None = None, error: str = "") -> None:
    """Do a worker's part at once, with this map or error."""
    wanted = explanations.claim(home.service, "w1")
    assert wanted is not None
    if heatmap is None:
        explanations.failed(home.service, "w1", wanted, error)
    else:
        made = Explanation(wanted.label, wanted.method, heatmap, 1900.0, 82)
        assert explanations.done(home.service, "w1", wanted, pack(made))


def test_asking_waiting_and_the_picture_beside_grad_cam(tiny_app: Home, study: str) -> None:
    app = opened(study)
    assert "Not made yet" in html(app)
    assert MEANS[Method.GRAD_CAM_PLUS_PLUS] in html(app)
    assert "Grad-CAM</b><span>came with the answer, which took" in html(app)
    app.segmented_control(key="explain-method").set_value(Method.OCCLUSION).run()
    press(app, "Explain")
    (asked,) = tiny_app.service.explanations(tiny_app.actor, film(tiny_app, study))
    assert (asked.label, asked.method, asked.asked_by) == (chosen(app), Method.OCCLUSION, "local user")
    assert "BEING EXPLAINED" in html(app)
    assert "Waits until no film does; asked by local user" in html(app)
    assert "Explain" not in labels(app), "it is on its way"
    end(tiny_app, np.eye(16, dtype=np.float32))
    rerun(app)
    assert "1.9 s · 82 films shown to the network · asked by local user" in html(app)
    assert "BEING EXPLAINED" not in html(app)
    assert "by Occlusion." in html(app)
    assert "Explain" not in labels(app)


def test_a_real_worker_makes_what_the_page_asks_for(tiny_app: Home, study: str) -> None:
    app = press(opened(study), "Explain")
    tiny_app.answer()
    (made,) = tiny_app.service.explanations(tiny_app.actor, film(tiny_app, study))
    assert (made.progress, made.error) == (Progress.DONE, "")
    rerun(app)
    assert "one film shown to the network" in html(app)


def test_another_finding_is_another_question(tiny_app: Home, study: str) -> None:
    app = press(opened(study), "Explain")
    (field,) = [each for each in app.selectbox if each.label == "Finding"]
    other = field.options.index("Hernia") if "Hernia" in field.options else 1
    field.select_index(other).run()
    assert "Not made yet" in html(app)
    assert "Explain" in labels(app)


@pytest.mark.parametrize("code", [*desk_explain._WHY, "something new"])
def test_a_failure_is_said_plainly_and_can_be_tried_again(tiny_app: Home, study: str, code: str) -> None:
    app = press(opened(study), "Explain")
    end(tiny_app, error=code)
    rerun(app)
    assert app.warning[0].value == desk_explain._WHY.get(code, "It could not be made.")
    press(app, "Try again")
    assert "BEING EXPLAINED" in html(app)


def test_a_worker_that_is_missing_is_said(tiny_app: Home, study: str) -> None:
    app = press(opened(study), "Explain")
    with tiny_app.service.database.write() as session:
        long_ago = tiny_app.service.clock() - timedelta(minutes=5)
        session.execute(update(ExplanationRow).values(asked_utc=long_ago))
    assert "No worker is answering" in rerun(app).warning[0].value


def test_a_viewer_sees_what_is_there_and_is_told_who_can_ask(
    tiny_app: Home, study: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CXR_LOCAL_ROLE", "viewer")
    app = opened(study)
    assert "Explain" not in labels(app)
    assert "A clinician can ask for it." in html(app)


def test_a_film_without_answer_has_nothing_to_explain(tiny_app: Home) -> None:
    receipt = tiny_app.service.submit(tiny_app.actor, Incoming("a.png", b"no film"), source=Source.PAGE)
    assert "Nothing to explain here" in html(opened(receipt.study_id))
    tiny_app.answer()
    assert "Nothing to explain here" in html(opened(receipt.study_id))


def test_the_caption_is_the_methods_own_and_no_region_is_said(tiny_app: Home, study: str) -> None:
    view = tiny_app.service.study(tiny_app.actor, study, audited=False).films[0]
    analysis = view.analysis
    assert analysis is not None
    label = analysis.predictions[0].label
    pixels = blobs(1).astype(np.float32) / 255
    whole = replace(analysis, radiograph=Radiograph(pixels, analysis.sha256, "PNG"))
    policy = tiny_app.service.policy
    seen = desk_explain.drawn(whole, policy, label, Method.LIME, np.eye(8, dtype=np.float32))
    assert MEANS[Method.LIME] in seen["findings"][0]["caption"]
    assert "Grad-CAM" not in seen["findings"][0]["caption"]
    assert seen["opacity"] == 0.5
    blank = desk_explain.drawn(whole, policy, label, Method.LIME, np.zeros((8, 8), np.float32))
    assert blank["findings"][0]["note"] == NoRegion.NONE


def test_durations_are_said_in_one_unit() -> None:
    assert [desk_explain.seconds(ms) for ms in (38.2, 994, 996, 22960)] == [
        "38 ms",
        "994 ms",
        "1.0 s",
        "23.0 s",
    ]
