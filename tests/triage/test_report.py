"""The report counts what `decide` says of every film."""

import math

import numpy as np

from cxr_core.domain import State, Urgency
from cxr_core.triage.budget import Rate, share_report
from tests.triage.builders import LABELS, POLICY, films


def test_the_report_by_hand():
    low, high = 0.1, 0.9
    scores = np.full((6, 15), low)
    members = np.full((6, 3, 15), low)
    truth = np.zeros((6, 15))
    column = LABELS.index
    scores[0, column("Pneumothorax")] = high  # found: critical
    truth[0, [column("Pneumothorax"), -1]] = 1
    truth[1, [column("Pneumothorax"), column("Mass"), -1]] = 1  # missed altogether
    scores[2, column("Mass")] = high  # found, and lifted to review by abnormal
    scores[2, -1] = high
    truth[2, [column("Mass"), -1]] = 1
    scores[3, -1] = high  # unable to classify: abnormal
    members[4, :, column("Edema")] = high  # unable to classify: every member alone, not together
    truth[4, [column("Edema"), -1]] = 1
    truth[5] = math.nan  # unknown: counts as neither
    report = share_report(POLICY, LABELS, scores, members, [0.5] * 15, truth)

    assert {u.value: r.count for u, r in report.urgency.items()} == {
        "critical": 1,
        "urgent": 0,
        "review": 3,
        "significant": 0,
        "routine": 2,
    }
    assert {s.value: r.count for s, r in report.state.items()} == {
        "flagged": 2,
        "no_disease_detected": 2,
        "unable_to_classify": 2,
        "refused": 0,
    }
    assert report.films == 6
    assert report.unable == Rate(2, 6)
    assert report.lifted == Rate(1, 6)
    assert report.critical == report.sensitivity["Pneumothorax"] == Rate(1, 2)
    assert report.sensitivity["Mass"] == Rate(1, 2)
    assert report.sensitivity["Edema"] == Rate(0, 1)
    assert report.missed == Rate(1, 4)
    assert report.missed.share == 0.25
    assert report.missed_by_finding["Pneumothorax"] == Rate(1, 2)
    assert report.missed_by_finding["Edema"] == Rate(0, 1)
    assert math.isnan(report.sensitivity["Hernia"].share)


def test_a_model_without_all_findings_clears_nobody():
    scores, truth = films(200)
    report = share_report(POLICY, LABELS[:13], scores[:, :13], None, [0.5] * 13, truth[:, :13])
    assert report.state[State.NO_DISEASE_DETECTED].count == 0
    assert report.urgency[Urgency.ROUTINE].count == 0
