"""What the alert says; that it stands on every page is tried in test_worklist_page and in the browser."""

from datetime import timedelta

from cxr_core.ui import alert
from cxr_core.worklist.values import Alert
from tests.ui.lines import NOW


def alerts(number: int) -> list[Alert]:
    return [
        Alert(f"{place:016}", f"004-{place}", NOW - timedelta(minutes=12 + place), 1)
        for place in range(number)
    ]


def test_it_counts_and_names_patient_and_wait() -> None:
    assert alert.headline(alerts(1)) == "1 critical not acknowledged"
    assert alert.lines(alerts(1), NOW) == ["004-0 · 12 min"]


def test_more_than_a_few_are_counted_so_that_the_box_stays_in_sight() -> None:
    assert alert.lines(alerts(7), NOW)[-1] == "and 4 more"
    assert len(alert.lines(alerts(7), NOW)) == alert.SHOWN + 1


def test_a_study_without_patient_id_is_alerted_too() -> None:
    assert alert.lines([Alert("0" * 16, "", NOW, 1)], NOW) == ["no patient ID · under 1 min"]
