import time
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from cxr_core.domain import Prediction, Sex, Study, Urgency, View
from cxr_core.evaluation.localise import LEAST_BOXES
from cxr_core.reports import words
from cxr_core.triage.decide import decide
from tests.reports import analyses


def test_who_and_when_in_one_line() -> None:
    assert words.who(analyses.STUDY) == "ID 004-812 · F 38 · PA · 21 Nov 2026 02:41"
    assert words.patient(analyses.STUDY) == "PATIENT, Example"


def test_what_is_unknown_is_said() -> None:
    assert words.who(Study()) == "no patient ID · age and sex unknown · view unknown · time unknown"
    assert words.patient(Study(patient_name="  ")) == "No name given"


def test_supine_infant() -> None:
    study = Study(sex=Sex.MALE, age_years=0.5, view=View.AP, supine=True, acquired=datetime(2026, 1, 2, 3, 4))
    assert words.who(study) == "no patient ID · M 6 months · AP supine · 2 Jan 2026 03:04"


def test_a_time_with_a_zone_is_said_on_this_machines_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    try:
        summer = datetime(2026, 7, 1, 0, 41, tzinfo=UTC)
        assert words.when(Study(acquired=summer)) == "1 Jul 2026 02:41"
        assert words.when(Study(acquired=summer.replace(tzinfo=None))) == "1 Jul 2026 00:41"
        last = datetime(9999, 12, 31, 23, 30, tzinfo=UTC)
        assert words.when(Study(acquired=last)) == "31 Dec 9999 23:30"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(("minutes", "text"), [(15, "15 min"), (120, "2 h"), (90, "90 min"), (4320, "72 h")])
def test_wait(minutes: int, text: str) -> None:
    assert words.wait(minutes) == text


def test_every_tier_has_its_own_shape_colour_and_word() -> None:
    assert set(words.MARKS) == set(Urgency)
    assert len({mark.shape for mark in words.MARKS.values()}) == 5
    assert len({mark.colour for mark in words.MARKS.values()}) == 5
    assert words.banner(Urgency.CRITICAL, analyses.POLICY) == "CRITICAL · read within 15 min"


def test_positive_findings_come_first_in_clinical_order_then_the_nearest() -> None:
    labels = [prediction.label for prediction in words.ordered(analyses.flagged())]
    assert labels[:3] == ["Effusion", "Consolidation", "Hernia"]
    assert len(labels) == 14


def test_figures_show_a_difference_where_there_is_one() -> None:
    assert words.figures(Prediction("Mass", 0.0, 0.4, 0.3, ())) == ("0.40", "0.30")
    assert words.figures(Prediction("Mass", 0.0, 0.4012, 0.4049, ())) == ("0.401", "0.405")
    assert words.figures(Prediction("Hernia", 0.0, 0.001, 0.004, ())) == ("0.001", "0.004")


def test_localisation_is_a_count_or_not_measured() -> None:
    table = {"localisation_Effusion_inside": 5.0, "localisation_Effusion_films": 12.0}
    assert words.localisation(table, "Effusion").endswith("box: 5 of 12 test films")
    limits = {"low": 0.17, "high": 0.45, "chance": 0.08, "swapped": 0.21, "learned": 0.0}
    whole = table | {f"localisation_Effusion_{name}": value for name, value in limits.items()}
    said = "5 of 12 test films (17% to 45%; 8% for a point at random, 21% for other films' peaks)"
    assert words.localisation(whole, "Effusion").endswith(said)
    seen = whole | {"localisation_Effusion_learned": 1.0}
    assert "5 of 12 films, some of train (" in words.localisation(seen, "Effusion")
    assert words.localisation(table, "Mass").endswith("not measured")
    assert words.localisation({}, "Mass").endswith("not measured")
    few = {"localisation_Mass_inside": 9.0, "localisation_Mass_films": 9.0}
    assert words.localisation(few, "Mass").endswith("not measured (9 films with a box, 10 needed)")
    assert words.FEWEST_BOXES == LEAST_BOXES


def test_file_names_come_from_a_true_uid_or_the_hash_and_never_from_free_text() -> None:
    analysis = analyses.flagged()
    assert words.study_id(analysis) == "abababababab"
    with_uid = replace(analysis, study=replace(analysis.study, StudyInstanceUID="1.2.840.99"))
    assert words.study_id(with_uid) == "1.2.840.99"
    assert words.study_id(analyses.named(analysis, "../../etc/passwd")) == "abababababab"


def test_headlines_are_exactly_as_agreed() -> None:
    clear, unable = analyses.clear(), analyses.unable()
    assert words.headline(clear, analyses.POLICY) == "No disease detected"
    assert (
        words.beneath(clear, analyses.POLICY) == "by the model; not a rule-out: this study stays in the queue"
    )
    assert words.headline(unable, analyses.POLICY) == "Anomalies found – unable to classify"
    assert words.beneath(unable, analyses.POLICY) == "Abnormal 0.90, threshold 0.50"


def test_anomalies_are_found_by_the_model_and_never_by_the_gate() -> None:
    warned = analyses.only_warned()
    assert words.headline(warned, analyses.POLICY) == "Unable to classify – a person must look"
    missing = replace(warned, triage=decide(analyses.POLICY, warned.gate, warned.predictions[1:], None))
    assert words.headline(missing, analyses.POLICY) == words.ONLY_WARNED
    both = analyses.assessed({}, abnormal=0.9, gate=warned.gate)
    apart = replace(warned.predictions[7], members=(0.9, 0.9, 0.0, 0.0))
    predictions = (*warned.predictions[:7], apart, *warned.predictions[8:])
    at_odds = decide(analyses.POLICY, warned.gate, predictions, warned.abnormal)
    for each in (both, replace(warned, predictions=predictions, triage=at_odds)):
        assert words.headline(each, analyses.POLICY) == "Anomalies found – unable to classify"


def test_a_refused_film_never_reads_as_assessed() -> None:
    assert words.not_assessed(analyses.refused(), analyses.POLICY) == "No finding was assessed."
    assert words.not_assessed(analyses.clear(), analyses.POLICY) == ""
