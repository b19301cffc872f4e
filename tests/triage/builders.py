"""Values for the triage tests: the shipped policy, gates, predictions."""

from pathlib import Path

from cxr_core.domain import ABNORMAL, Gate, GateOutcome, Notice, Prediction
from cxr_core.triage.policy import load_policy

POLICY_PATH = Path(__file__).parents[2] / "config" / "policy.toml"
POLICY = load_policy(POLICY_PATH)
ACCEPTED = Gate(GateOutcome.ACCEPTED)
BLURRED = Notice("blurred", "The film is blurred", "Repeat the film if possible.")
WARNED = Gate(GateOutcome.WARNED, warnings=(BLURRED,))
AP_NOTE = Gate(GateOutcome.ACCEPTED, notes=(Notice("ap_view", "AP view: the heart looks larger"),))


def answer(label, probability=0.1, threshold=0.5, members=None, logit=0.0):
    members = (probability,) * 4 if members is None else members
    return Prediction(label, logit, probability, threshold, tuple(members))


def answers(**probabilities):
    """All 14 findings at 0.1, or as given; every threshold 0.5."""
    return tuple(answer(label, probabilities.get(label, 0.1)) for label in POLICY.labels)


def abnormal(probability=0.1, threshold=0.5):
    return answer(ABNORMAL, probability, threshold)
