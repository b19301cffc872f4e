from dataclasses import replace

from cxr_core.domain import GateOutcome, State, Study, Urgency, View
from cxr_core.worklist.amend import amended
from tests.reports import analyses


def test_names_change_nothing_but_who() -> None:
    before = analyses.clear()
    after = amended(before, replace(before.study, patient_name="OTHER"), analyses.POLICY)
    assert after.study.patient_name == "OTHER"
    assert (after.triage, after.gate, after.predictions) == (before.triage, before.gate, before.predictions)


def test_a_typed_age_of_a_child_is_warned_about_and_no_longer_reads_as_clear() -> None:
    before = analyses.clear()
    after = amended(before, replace(before.study, age_years=6.0), analyses.POLICY)
    assert after.gate.outcome is GateOutcome.WARNED
    assert after.gate.codes == ("child",)
    assert after.triage.state is State.UNABLE_TO_CLASSIFY
    assert after.triage.urgency is Urgency.REVIEW


def test_a_typed_lateral_view_is_refused() -> None:
    before = analyses.flagged()
    after = amended(before, replace(before.study, view=View.LATERAL), analyses.POLICY)
    assert after.triage.state is State.REFUSED
    assert after.refusal is not None
    assert after.refusal.code == "lateral_view"
    assert after.predictions == ()


def test_what_the_film_itself_said_is_never_taken_back() -> None:
    child = amended(analyses.clear(), replace(analyses.STUDY, age_years=6.0), analyses.POLICY)
    again = amended(child, replace(analyses.STUDY, age_years=60.0), analyses.POLICY)
    assert again.gate.codes == ("child",)
    refused = amended(analyses.refused(), Study(patient_name="A", view=View.PA), analyses.POLICY)
    assert refused.triage.state is State.REFUSED
    assert refused.study.patient_name == "A"


def test_neither_pixels_nor_feature_maps_are_needed() -> None:
    kept = replace(analyses.clear(), radiograph=None, features=None)
    assert amended(kept, replace(kept.study, age_years=6.0), analyses.POLICY).gate.codes == ("child",)
    lateral = amended(kept, replace(kept.study, view=View.LATERAL), analyses.POLICY)
    assert lateral.triage.state is State.REFUSED
