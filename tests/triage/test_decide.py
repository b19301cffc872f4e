"""Every rule of the decision, worked by hand; by property in test_promise_c3.py."""

import math
from dataclasses import replace

import pytest

from cxr_core.domain import ABNORMAL, FINDINGS, Gate, GateOutcome, Notice, State, Urgency
from cxr_core.errors import ModelError
from cxr_core.triage.decide import decide, refuse
from tests.triage.builders import (
    ACCEPTED,
    AP_NOTE,
    BLURRED,
    POLICY,
    WARNED,
    abnormal,
    answer,
    answers,
    given_label,
)

TIER = {rule.label: rule.tier for rule in POLICY.findings}


def test_nothing_found_and_everything_assessed():
    triage = decide(POLICY, ACCEPTED, answers(), abnormal(0.12, 0.6))
    assert (triage.state, triage.urgency) == (State.NO_DISEASE_DETECTED, Urgency.ROUTINE)
    assert triage.findings == triage.not_assessed == ()
    assert triage.action == "No action suggested; routine reading."
    assert triage.reasons == ("No finding reaches its threshold; abnormal 0.12, threshold 0.60",)


@pytest.mark.parametrize("label", FINDINGS)
def test_one_positive_finding_has_its_own_tier_and_action(label):
    triage = decide(POLICY, ACCEPTED, answers(**{label: 0.7}), abnormal())
    rule = POLICY.rule(label)
    assert (triage.state, triage.urgency) == (State.FLAGGED, rule.tier)
    assert triage.findings == (label,)
    assert triage.action == f"{rule.name}: {rule.action}"
    assert triage.reasons == (f"{rule.name} 0.70, threshold 0.50",)


def test_at_the_threshold_is_positive_and_a_hair_below_is_not():
    below = math.nextafter(0.5, 0.0)
    assert decide(POLICY, ACCEPTED, answers(Mass=0.5), abnormal()).findings == ("Mass",)
    assert decide(POLICY, ACCEPTED, answers(Mass=below), abnormal()).findings == ()


def test_findings_in_clinical_order_and_the_most_urgent_action_first():
    predictions = answers(Hernia=0.99, Mass=0.9, Effusion=0.71, Pneumothorax=0.5)
    triage = decide(POLICY, ACCEPTED, predictions, abnormal(0.83))
    assert triage.urgency is Urgency.CRITICAL
    assert triage.findings == ("Pneumothorax", "Effusion", "Mass", "Hernia")
    assert [line.split(":")[0] for line in triage.action.splitlines()] == list(triage.findings)
    assert triage.action.startswith("Pneumothorax: Clinician to the patient now.")
    assert triage.reasons == (
        "Pneumothorax 0.50, threshold 0.50",
        "Effusion 0.71, threshold 0.50",
        "Mass 0.90, threshold 0.50",
        "Hernia 0.99, threshold 0.50",
        "Abnormal 0.83, threshold 0.50",
    )


def test_infiltration_with_pneumonia_is_dealt_with_before_a_mass():
    triage = decide(POLICY, ACCEPTED, answers(Mass=0.9, Infiltration=0.9, Pneumonia=0.9), abnormal())
    assert triage.urgency is Urgency.URGENT
    assert triage.findings == ("Pneumonia", "Mass", "Infiltration")
    assert [line.split(":")[0] for line in triage.action.splitlines()] == [
        "Pneumonia",
        "Infiltration",
        "Mass",
    ]
    alone = decide(POLICY, ACCEPTED, answers(Mass=0.9, Infiltration=0.9), abnormal())
    assert alone.urgency is Urgency.SIGNIFICANT


def test_abnormal_high_and_nothing_found_is_unable_to_classify():
    triage = decide(POLICY, ACCEPTED, answers(), abnormal(0.83, 0.6))
    assert (triage.state, triage.urgency) == (State.UNABLE_TO_CLASSIFY, Urgency.REVIEW)
    assert triage.reasons == ("Abnormal 0.83, threshold 0.60",)
    assert triage.action == "Radiologist to read now."


def test_a_warning_and_nothing_found_is_unable_to_classify_with_the_hint():
    triage = decide(POLICY, WARNED, answers(), abnormal())
    assert (triage.state, triage.urgency) == (State.UNABLE_TO_CLASSIFY, Urgency.REVIEW)
    assert triage.reasons == (BLURRED.message,)
    assert triage.action == "Radiologist to read now.\nRepeat the film if possible."


@pytest.mark.parametrize(
    "gate",
    [Gate(GateOutcome.WARNED), Gate(GateOutcome.ACCEPTED, warnings=(BLURRED,))],
    ids=["bare", "mislabelled"],
)
def test_a_gate_that_half_warned_has_warned(gate):
    triage = decide(POLICY, gate, answers(), abnormal())
    assert (triage.state, triage.urgency) == (State.UNABLE_TO_CLASSIFY, Urgency.REVIEW)
    assert triage.reasons


def test_doubt_lifts_a_significant_finding_to_review_and_asks_for_a_reader_first():
    triage = decide(POLICY, ACCEPTED, answers(Nodule=0.6), abnormal(0.9))
    assert (triage.state, triage.urgency) == (State.FLAGGED, Urgency.REVIEW)
    assert triage.findings == ("Nodule",)
    assert triage.action.splitlines()[0] == "Radiologist to read now."
    assert triage.action.splitlines()[1].startswith("Nodule: Compare with priors")


def test_doubt_adds_a_reason_to_an_urgent_finding_and_changes_nothing_else():
    sure = decide(POLICY, ACCEPTED, answers(Edema=0.6), abnormal())
    doubtful = decide(
        POLICY, Gate(GateOutcome.WARNED, (Notice("child", "A child"),)), answers(Edema=0.6), abnormal()
    )
    assert doubtful == replace(sure, reasons=(*sure.reasons, "A child"))


def test_a_note_informs_and_nothing_else():
    plain = decide(POLICY, ACCEPTED, answers(), abnormal())
    noted = decide(POLICY, AP_NOTE, answers(), abnormal())
    assert noted == replace(plain, reasons=(*plain.reasons, "AP view: the heart looks larger"))


# Disagreement


def test_enough_members_alone_over_the_threshold_are_a_disagreement():
    split = answer("Pneumothorax", 0.44, 0.5, members=(0.55, 0.5, 0.49, 0.2))
    predictions = (split, *answers()[1:])
    triage = decide(POLICY, ACCEPTED, predictions, abnormal())
    assert (triage.state, triage.urgency) == (State.UNABLE_TO_CLASSIFY, Urgency.REVIEW)
    assert triage.reasons == (
        "Models disagree on Pneumothorax: 2 of 4 alone reach the threshold 0.50, together 0.44",
    )


def test_fewer_members_over_the_threshold_are_no_disagreement():
    split = answer("Pneumothorax", 0.44, 0.5, members=(0.55, 0.49, 0.49, 0.2))
    assert decide(POLICY, ACCEPTED, (split, *answers()[1:]), abnormal()).state is State.NO_DISEASE_DETECTED


def test_spread_alone_is_a_disagreement():
    # Standard deviation of (0.49, 0.49, 0.05, 0.05) around 0.27 is 0.22.
    split = answer("Pneumothorax", 0.27, 0.5, members=(0.49, 0.49, 0.05, 0.05))
    triage = decide(POLICY, ACCEPTED, (split, *answers()[1:]), abnormal())
    assert triage.state is State.UNABLE_TO_CLASSIFY
    assert triage.reasons == ("Models disagree on Pneumothorax: spread 0.22, limit 0.20",)


@pytest.mark.parametrize("label", FINDINGS)
def test_disagreement_counts_for_the_tiers_that_the_policy_names(label):
    predictions = given_label(answers(), label, members=(0.9, 0.9, 0.9, 0.0))
    triage = decide(POLICY, ACCEPTED, predictions, abnormal())
    counts = TIER[label] in (Urgency.CRITICAL, Urgency.URGENT)
    assert (triage.state is State.UNABLE_TO_CLASSIFY) == counts


# Missing answers


@pytest.mark.parametrize("label", FINDINGS)
def test_a_missing_finding_never_reads_as_normal(label):
    predictions = tuple(p for p in answers() if p.label != label)
    triage = decide(POLICY, ACCEPTED, predictions, abnormal())
    assert (triage.state, triage.urgency) == (State.UNABLE_TO_CLASSIFY, Urgency.REVIEW)
    assert triage.not_assessed == (label,)
    name = POLICY.rule(label).name
    assert triage.reasons == (
        f"Not assessed by this model: {name}. So it cannot say that no disease was detected",
    )


def test_a_missing_abnormal_never_reads_as_normal():
    triage = decide(POLICY, ACCEPTED, answers(), None)
    assert (triage.state, triage.urgency) == (State.UNABLE_TO_CLASSIFY, Urgency.REVIEW)
    assert triage.not_assessed == (ABNORMAL,)


UNUSABLE = {
    "probability NaN": {"probability": math.nan},
    "probability above 1": {"probability": 1.5},
    "probability below 0": {"probability": -0.5},
    "logit NaN": {"logit": math.nan},
    "logit infinite": {"logit": -math.inf},
    "threshold NaN": {"threshold": math.nan},
    "threshold out of reach": {"threshold": 1.01},
    "threshold infinite": {"threshold": math.inf},
    "a member NaN": {"members": (0.1, math.nan, 0.1, 0.1)},
}


@pytest.mark.parametrize("why", UNUSABLE)
@pytest.mark.parametrize("label", ["Pneumothorax", "Hernia", ABNORMAL])
def test_an_unusable_answer_is_not_assessed(label, why):
    whole, changed = abnormal(), UNUSABLE[why]
    if label == ABNORMAL:
        triage = decide(POLICY, ACCEPTED, answers(), replace(whole, **changed))
    else:
        triage = decide(POLICY, ACCEPTED, given_label(answers(), label, **changed), whole)
    assert triage.not_assessed == (label,)
    assert (triage.state, triage.urgency) == (State.UNABLE_TO_CLASSIFY, Urgency.REVIEW)


def test_a_positive_finding_of_a_partial_model_is_shown_and_read_by_a_person():
    triage = decide(POLICY, ACCEPTED, (answer("Mass", 0.9),), None)
    assert (triage.state, triage.urgency, triage.findings) == (State.FLAGGED, Urgency.REVIEW, ("Mass",))
    assert len(triage.not_assessed) == 14
    only_pneumonia = decide(POLICY, ACCEPTED, (answer("Pneumonia", 0.9),), None)
    assert only_pneumonia.urgency is Urgency.URGENT


def test_no_answer_at_all():
    triage = decide(POLICY, ACCEPTED, (), None)
    assert (triage.state, triage.urgency) == (State.UNABLE_TO_CLASSIFY, Urgency.REVIEW)
    assert triage.not_assessed == (*POLICY.labels, ABNORMAL)


def test_a_finding_that_the_policy_does_not_know_goes_to_a_person():
    silent = decide(POLICY, ACCEPTED, (*answers(), answer("Rib_fracture", 0.2)), abnormal())
    assert silent.state is State.NO_DISEASE_DETECTED
    triage = decide(POLICY, ACCEPTED, (*answers(), answer("Rib_fracture", 0.8)), abnormal())
    assert (triage.state, triage.urgency, triage.findings) == (
        State.FLAGGED,
        Urgency.REVIEW,
        ("Rib_fracture",),
    )
    assert triage.reasons == ("Rib fracture 0.80, threshold 0.50: the policy has no tier for it",)
    assert triage.action == "Radiologist to read now."


def test_findings_that_the_policy_does_not_know_stand_in_one_order():
    strangers = (answer("Scoliosis", 0.8), answer("Fracture", 0.8))
    triages = [
        decide(POLICY, ACCEPTED, (*order, *answers()), abnormal()) for order in (strangers, strangers[::-1])
    ]
    assert triages[0] == triages[1]
    assert triages[0].findings == ("Fracture", "Scoliosis")


# Refusals and misuse


def test_a_refusal_is_for_a_person_with_the_reason_and_what_to_do():
    triage = refuse(POLICY, Notice("broken_file", "The file ends too early.", "Send it again."))
    assert (triage.state, triage.urgency) == (State.REFUSED, Urgency.REVIEW)
    assert triage.reasons == ("The file ends too early.",)
    assert triage.action == "Radiologist to read now: the model did not assess this film.\nSend it again."
    assert triage.not_assessed == (*POLICY.labels, ABNORMAL)


def test_a_gate_that_refuses_is_a_refusal_whatever_the_model_says():
    notice = Notice("not_chest", "Not a chest film", "Send a chest film.")
    gate = Gate(GateOutcome.REFUSED, warnings=(notice,))
    assert decide(POLICY, gate, answers(Pneumothorax=0.99), abnormal(0.99)) == refuse(POLICY, notice)
    assert decide(POLICY, Gate(GateOutcome.REFUSED), (), None).reasons == ("The gate refused this film",)


@pytest.mark.parametrize(
    ("predictions", "whole"),
    [
        ((*answers(), answer("Mass", 0.9)), abnormal()),
        ((*answers(), abnormal()), abnormal()),
        (answers(), answer("Mass")),
    ],
    ids=["finding twice", "abnormal among the findings", "another label as abnormal"],
)
def test_predictions_that_name_a_label_wrongly_are_a_model_error(predictions, whole):
    with pytest.raises(ModelError):
        decide(POLICY, ACCEPTED, predictions, whole)


@pytest.mark.parametrize(
    ("probability", "threshold", "shown"),
    [
        (0.714, 0.42, "0.71, threshold 0.42"),
        (0.4241, 0.4219, "0.424, threshold 0.422"),
        (0.00423, 0.00381, "0.0042, threshold 0.0038"),
        (0.5, 0.5, "0.50, threshold 0.50"),
    ],
)
def test_figures_show_as_many_decimals_as_it_takes(probability, threshold, shown):
    predictions = given_label(answers(), "Hernia", probability=probability, threshold=threshold)
    reason = decide(POLICY, ACCEPTED, predictions, abnormal()).reasons[0]
    assert reason == f"Hernia {shown}"
