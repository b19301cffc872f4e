from dataclasses import replace

import pytest

from cxr_core.domain import GateOutcome, State, Study, Urgency, View
from cxr_core.imaging.limits import Limits
from cxr_core.pipeline import Kit
from cxr_core.ui.amend import amended
from tests.reports import analyses


@pytest.fixture
def small_kit(kit: Kit) -> Kit:
    return Kit(Limits(), kit.classifier, analyses.POLICY)


def test_names_change_nothing_but_who(small_kit: Kit) -> None:
    before = analyses.clear()
    after = amended(before, replace(before.study, patient_name="OTHER"), small_kit)
    assert after.study.patient_name == "OTHER"
    assert (after.triage, after.gate, after.predictions) == (before.triage, before.gate, before.predictions)


def test_a_typed_age_of_a_child_is_warned_about_and_no_longer_reads_as_clear(small_kit: Kit) -> None:
    before = analyses.clear()
    after = amended(before, replace(before.study, age_years=6.0), small_kit)
    assert after.gate.outcome is GateOutcome.WARNED
    assert after.gate.codes == ("child",)
    assert after.triage.state is State.UNABLE_TO_CLASSIFY
    assert after.triage.urgency is Urgency.REVIEW


def test_a_typed_lateral_view_is_refused(small_kit: Kit) -> None:
    before = analyses.flagged()
    after = amended(before, replace(before.study, view=View.LATERAL), small_kit)
    assert after.triage.state is State.REFUSED
    assert after.refusal is not None
    assert after.refusal.code == "lateral_view"
    assert after.predictions == ()


def test_what_the_film_itself_said_is_never_taken_back(small_kit: Kit) -> None:
    child = amended(analyses.clear(), replace(analyses.STUDY, age_years=6.0), small_kit)
    again = amended(child, replace(analyses.STUDY, age_years=60.0), small_kit)
    assert again.gate.codes == ("child",)
    refused = amended(analyses.refused(), Study(patient_name="A", view=View.PA), small_kit)
    assert refused.triage.state is State.REFUSED
    assert refused.study.patient_name == "A"
