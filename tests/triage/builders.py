"""Values for the triage tests: the shipped policy, gates, predictions."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from cxr_core.domain import ABNORMAL, FINDINGS, Gate, GateOutcome, Notice, Prediction
from cxr_core.triage.policy import load_policy

POLICY_PATH = Path(__file__).parents[2] / "config" / "policy.toml"
POLICY = load_policy(POLICY_PATH)
LABELS = (*FINDINGS, ABNORMAL)
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


def given_label(predictions, label, **changes):
    """The same predictions with one label's answer changed."""
    return tuple(replace(p, **changes) if p.label == label else p for p in predictions)


def films(count, seed=0):
    """Correlated findings with made-up truth: probabilities (N, 15), truth (N, 15)."""
    rng = np.random.default_rng(seed)
    prevalence = np.array([0.1, 0.03, 0.12, 0.18, 0.05, 0.06, 0.02, 0.05, 0.04, 0.02, 0.02, 0.02, 0.03, 0.01])
    logit = np.log(prevalence / (1 - prevalence)) + rng.normal(size=(count, 1)) + rng.normal(size=(count, 14))
    truth = (rng.random((count, 14)) < 1 / (1 + np.exp(-logit))).astype(float)
    seen = logit + rng.normal(size=(count, 14))
    seen = np.column_stack([seen, seen.max(axis=1)])
    return 1 / (1 + np.exp(-seen)), np.column_stack([truth, truth.any(axis=1)])
