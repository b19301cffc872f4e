"""Policy, gate and predictions to one decision: state, urgency, findings, action, reasons. Pure.

Every label is compared with its own threshold; labels never compete (no arg-max). What was not assessed is
never taken for normal, and whatever asks for a person (a warning, disagreement, a high `abnormal`, a missing
answer) can only raise the urgency.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from cxr_core.domain import ABNORMAL, Gate, GateOutcome, Notice, Prediction, State, Triage, Urgency
from cxr_core.errors import ModelError
from cxr_core.triage.policy import Policy


@dataclass(frozen=True, slots=True)
class _Evidence:
    """The usable answers, positives in clinical order, and what is missing."""

    predictions: dict[str, Prediction]
    abnormal: Prediction | None
    positive: tuple[str, ...]
    not_assessed: tuple[str, ...]


def decide(
    policy: Policy, gate: Gate, predictions: Sequence[Prediction], abnormal: Prediction | None
) -> Triage:
    """Return what the card says; the order of `predictions` does not matter.

    Any positive finding: flagged, as urgent as its most urgent finding. A high `abnormal`, disagreement, a
    warning or a missing answer: at least `review`, and `unable_to_classify` where nothing is positive. Only a
    film with every policy finding and `abnormal` assessed, and none of that, is `no_disease_detected`. A
    positive finding that the policy does not know counts as `review`.

    Raises:
        ModelError: a label stands twice, or `abnormal` is among the findings or is another label.
    """
    if gate.outcome is GateOutcome.REFUSED:
        return _refused(policy, gate.warnings, gate.notes)
    evidence = _evidence(policy, predictions, abnormal)
    doubts = _doubts(policy, gate, evidence)
    state, urgency = _state(policy, evidence, bool(doubts))
    reasons = (
        *(_finding_reason(policy, evidence.predictions[label]) for label in evidence.positive),
        *doubts,
        *(_nothing_reason(policy, evidence) if state is State.NO_DISEASE_DETECTED else ()),
        *(note.message for note in gate.notes),
    )
    return Triage(
        state=state,
        urgency=urgency,
        findings=evidence.positive,
        action=_action(policy, gate, evidence, state, urgency),
        reasons=reasons,
        not_assessed=evidence.not_assessed,
    )


def refuse(policy: Policy, notice: Notice) -> Triage:
    """Return the decision for a film that could not be decoded or judged: a person must look."""
    return _refused(policy, (notice,), ())


def assessed(prediction: Prediction | None) -> bool:
    """Return whether an answer can be used: finite figures, and a threshold that a probability can reach."""
    if prediction is None:
        return False
    figures = (prediction.logit, prediction.probability, prediction.threshold, *prediction.members)
    in_range = 0.0 <= prediction.probability <= 1.0 and prediction.threshold <= 1.0
    return in_range and all(math.isfinite(figure) for figure in figures)


def _evidence(policy: Policy, predictions: Sequence[Prediction], abnormal: Prediction | None) -> _Evidence:
    given = [prediction.label for prediction in predictions]
    if len(set(given)) < len(given) or ABNORMAL in given:
        raise ModelError("predictions must name each finding once, and never abnormal")
    if abnormal is not None and abnormal.label != ABNORMAL:
        raise ModelError(f"expected the label {ABNORMAL}, got {abnormal.label}")
    labels = (*policy.labels, *sorted(set(given) - set(policy.labels)))
    usable = {prediction.label: prediction for prediction in predictions if assessed(prediction)}
    missing = [label for label in labels if label not in usable]
    if not assessed(abnormal):
        abnormal = None
        missing.append(ABNORMAL)
    return _Evidence(
        predictions=usable,
        abnormal=abnormal,
        positive=tuple(label for label in labels if label in usable and usable[label].positive),
        not_assessed=tuple(missing),
    )


def _doubts(policy: Policy, gate: Gate, evidence: _Evidence) -> tuple[str, ...]:
    """Return one sentence for each thing that asks for a person, so empty means none does."""
    texts = policy.texts
    doubts: list[str] = []
    if evidence.abnormal is not None and evidence.abnormal.positive:
        value, threshold = _figures(evidence.abnormal.probability, evidence.abnormal.threshold)
        doubts.append(texts.reason_abnormal.format(value=value, threshold=threshold))
    for label in policy.labels:
        doubts.extend(_disagreements(policy, label, evidence.predictions.get(label)))
    doubts.extend(warning.message for warning in gate.warnings)
    if gate.outcome is GateOutcome.WARNED and not gate.warnings:
        doubts.append(texts.reason_warned)
    if evidence.not_assessed:
        names = ", ".join(_name(policy, label) for label in evidence.not_assessed)
        doubts.append(texts.reason_not_assessed.format(names=names))
    return tuple(doubts)


def _disagreements(policy: Policy, label: str, prediction: Prediction | None) -> list[str]:
    rule = policy.rule(label)
    if prediction is None or rule is None or rule.tier not in policy.disagreement.tiers:
        return []
    sentences = []
    if not prediction.positive and prediction.votes >= policy.disagreement.votes:
        value, threshold = _figures(prediction.probability, prediction.threshold)
        sentences.append(
            policy.texts.reason_votes.format(
                name=rule.name,
                votes=prediction.votes,
                members=len(prediction.members),
                value=value,
                threshold=threshold,
            )
        )
    if prediction.spread >= policy.disagreement.spread:
        value, limit = _figures(prediction.spread, policy.disagreement.spread)
        sentences.append(policy.texts.reason_spread.format(name=rule.name, value=value, limit=limit))
    return sentences


def _state(policy: Policy, evidence: _Evidence, doubt: bool) -> tuple[State, Urgency]:
    positive = frozenset(evidence.positive)
    candidates = [policy.tier_of(label, positive) for label in evidence.positive]
    if doubt:
        candidates.append(Urgency.REVIEW)
    if positive:
        return State.FLAGGED, min(candidates, key=lambda urgency: urgency.rank)
    if doubt:
        return State.UNABLE_TO_CLASSIFY, Urgency.REVIEW
    return State.NO_DISEASE_DETECTED, Urgency.ROUTINE


def _action(policy: Policy, gate: Gate, evidence: _Evidence, state: State, urgency: Urgency) -> str:
    """Return one line per action, the most urgent finding's first, then what the gate's warnings ask for."""
    lines = []
    if state is State.NO_DISEASE_DETECTED:
        lines.append(policy.states[state].action)
    elif urgency is Urgency.REVIEW:
        lines.append(policy.states.unable_to_classify.action)
    positive = frozenset(evidence.positive)
    for label in sorted(evidence.positive, key=lambda name: policy.tier_of(name, positive).rank):
        if rule := policy.rule(label):
            lines.append(f"{rule.name}: {rule.action}")
    lines.extend(warning.hint for warning in gate.warnings if warning.hint)
    return "\n".join(dict.fromkeys(lines))


def _refused(policy: Policy, notices: Sequence[Notice], notes: Sequence[Notice]) -> Triage:
    reasons = tuple(notice.message for notice in notices) or (policy.texts.reason_refused,)
    hints = (notice.hint for notice in notices if notice.hint)
    return Triage(
        state=State.REFUSED,
        urgency=Urgency.REVIEW,
        findings=(),
        action="\n".join(dict.fromkeys((policy.states.refused.action, *hints))),
        reasons=(*reasons, *(note.message for note in notes)),
        not_assessed=(*policy.labels, ABNORMAL),
    )


def _finding_reason(policy: Policy, prediction: Prediction) -> str:
    known = policy.rule(prediction.label)
    template = policy.texts.reason_finding if known else policy.texts.reason_unknown
    value, threshold = _figures(prediction.probability, prediction.threshold)
    return template.format(name=_name(policy, prediction.label), value=value, threshold=threshold)


def _nothing_reason(policy: Policy, evidence: _Evidence) -> tuple[str, ...]:
    if evidence.abnormal is None:
        return ()
    value, threshold = _figures(evidence.abnormal.probability, evidence.abnormal.threshold)
    return (policy.texts.reason_nothing.format(value=value, threshold=threshold),)


def _name(policy: Policy, label: str) -> str:
    rule = policy.rule(label)
    return rule.name if rule else label.replace("_", " ")


def _figures(value: float, limit: float) -> tuple[str, str]:
    """Return both with as many decimals (2 to 4) as it takes to tell them apart and from nothing."""
    for digits in (2, 3, 4):
        shown = (f"{value:.{digits}f}", f"{limit:.{digits}f}")
        told_apart = value == limit or shown[0] != shown[1]
        if told_apart and (limit == 0.0 or float(shown[1]) > 0.0):
            break
    return shown
