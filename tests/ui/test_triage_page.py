"""The page with the real pipeline and the small model, without a browser."""

import subprocess
import sys
import tomllib

import pytest
from streamlit.testing.v1 import AppTest

from cxr_core.domain import View
from cxr_core.imaging.phantom import make_phantom, phantom_png
from cxr_core.imaging.phantom_dicom import phantom_dicom
from cxr_core.settings import ROOT

PAGE = str(ROOT / "pages" / "triage.py")
PHANTOM = make_phantom(4, size=256)
pytestmark = pytest.mark.usefixtures("tiny_app")


@pytest.fixture
def app() -> AppTest:
    started = AppTest.from_file(PAGE, default_timeout=60).run()
    assert not started.exception
    return started


def dropped(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    for name, raw in files:
        app.file_uploader[0].upload(name, raw, "application/octet-stream")
    app.run()
    assert not app.exception
    return app


def html(app: AppTest) -> str:
    return "\n".join(element.proto.body for element in app.get("html"))


def texts(app: AppTest) -> list[str]:
    return [element.value for element in app.text]


def test_the_empty_page_says_what_to_do(app: AppTest) -> None:
    assert "Drop a chest X-ray" in html(app)
    assert [button.label for button in app.button][:1] == ["Film with findings"]


def test_a_dropped_dicom_becomes_a_card_with_who_and_when_first(app: AppTest) -> None:
    dropped(
        app, ("film.dcm", phantom_dicom(PHANTOM, patient_id="P-77", patient_name="Doe^Jane", age_years=61))
    )
    shown = texts(app)
    assert shown[0] == "Doe, Jane"
    assert shown[1].startswith("ID P-77 · ")
    assert "61 · PA · 5 Jan 2026 09:30" in shown[1]
    assert "read within" in html(app)
    assert "SUGGESTED ACTION" in html(app)
    assert "tiny 0.1.0" in html(app)


def test_several_films_are_listed_by_urgency_and_any_can_be_picked(app: AppTest) -> None:
    broken = ("broken.dcm", phantom_dicom(PHANTOM)[:2000])
    dropped(
        app, broken, ("a.png", phantom_png(PHANTOM)), ("c.dcm", phantom_dicom(PHANTOM, view=View.LATERAL))
    )
    lines = [button.label for button in app.button if (button.key or "").startswith("pick-")]
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


def test_the_same_file_twice_is_one_film(app: AppTest) -> None:
    film = phantom_png(PHANTOM)
    dropped(app, ("a.png", film), ("b.png", film))
    assert len([button for button in app.button if (button.key or "").startswith("pick-")]) == 1
    assert "already in the list" in app.warning[0].value


@pytest.mark.parametrize(
    "hostile",
    ["![x](http://evil.example/a.png)", "<img src onerror>", ":red[x] **b**", "'; DROP TABLE"],
)
def test_hostile_names_stay_plain_text(app: AppTest, hostile: str) -> None:
    dropped(
        app, (f"{hostile}.dcm", phantom_dicom(PHANTOM, patient_id=hostile[:60], patient_name=hostile[:60]))
    )
    assert texts(app)[0] == hostile
    assert hostile not in html(app)
    labels = [button.label for button in app.button] + [element.value for element in app.markdown]
    assert not [label for label in labels if hostile in label]


def test_the_study_form_is_prefilled_and_a_childs_age_changes_the_card(app: AppTest) -> None:
    dropped(app, ("film.dcm", phantom_dicom(PHANTOM, patient_id="P-77", patient_name="Doe^Jane")))
    fields = {field.label: field for field in app.text_input}
    assert fields["Patient ID"].value == "P-77"
    assert fields["Name"].value == "Doe, Jane"
    fields["Referrer"].input("Dr Low")
    fields["Referrer's phone"].input("020 1234")
    app.text_area[0].input("Pneumothorax?")
    app.number_input[0].set_value(7.0)
    next(button for button in app.button if button.label == "Save").click().run()
    assert not app.exception
    assert "Referrer: Dr Low · 020 1234" in texts(app)
    assert "Question: Pneumothorax?" in texts(app)
    assert "Gate: warned" in html(app)


def test_examples_run_the_very_same_way(app: AppTest) -> None:
    app.button(key="example-0").click().run()
    assert not app.exception
    assert texts(app)[0] == "Phantom, Synthetic"
    assert "FINDINGS" in html(app)


def test_removing_the_last_film_brings_the_empty_page_back(app: AppTest) -> None:
    dropped(app, ("a.png", phantom_png(PHANTOM)))
    next(button for button in app.button if button.label == "Remove").click().run()
    assert "Drop a chest X-ray" in html(app)


def test_downloads_are_named_by_study_and_never_by_patient(app: AppTest) -> None:
    dropped(app, ("film.dcm", phantom_dicom(PHANTOM, patient_name="Doe^Jane")))
    buttons = app.get("download_button")
    assert [button.proto.label for button in buttons] == ["PDF", "JSON", "PNG"]


def test_a_model_that_cannot_be_used_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXR_MODEL", "no-such-model")
    app = AppTest.from_file(PAGE, default_timeout=60).run()
    assert not app.exception
    assert "No film can be assessed" in app.error[0].value
    assert not app.get("file_uploader")


def test_the_page_imports_no_torch() -> None:
    code = (
        "import sys\nfrom streamlit.testing.v1 import AppTest\n"
        f"app = AppTest.from_file({PAGE!r}, default_timeout=60).run()\n"
        "assert not app.exception\nprint('torch' in sys.modules, 'matplotlib' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["False", "False"], done.stderr


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
