"""Films sorted at once get what `decide` gives each of them."""

import numpy as np
import pytest

from cxr_core.domain import ABNORMAL, State, Urgency
from cxr_core.triage.budget import share_report
from cxr_core.triage.sorting import TIERS, sort_films
from tests.triage.builders import LABELS, POLICY, films

SOME = tuple(label for label in LABELS if label not in ("Mass", ABNORMAL))


def asked(labels, count=1, seed=0, members=3):
    """Films near their thresholds, so that all states and tiers come up and members disagree."""
    scores, truth = films(count, seed)
    kept = [LABELS.index(label) for label in labels]
    scores, truth = scores[:, kept], truth[:, kept]
    noise = np.random.default_rng(seed).normal(0, 0.15, size=(count, members, len(kept)))
    return scores, np.clip(scores[:, None] + noise, 0, 1), truth


@pytest.mark.parametrize("labels", [LABELS, SOME, ("Pneumothorax",)], ids=len)
@pytest.mark.parametrize("members", [1, 4])
def test_films_are_sorted_as_decide_sorts_each(labels, members):
    scores, each, truth = asked(labels, 120, seed=members, members=members)
    rng = np.random.default_rng(3)
    thresholds = rng.uniform(0.4, 0.95, size=len(labels))
    if len(labels) == len(LABELS):
        thresholds[LABELS.index("Hernia")] = 0.5
    seen = set()
    for film in range(len(scores)):
        one = slice(film, film + 1)
        found = sort_films(POLICY, labels, scores[one], each[one], thresholds)
        report = share_report(
            POLICY, labels, scores[one], each[one] if members > 1 else None, thresholds, truth[one]
        )
        (tier,) = (urgency for urgency, rate in report.urgency.items() if rate.count)
        (state,) = (state for state, rate in report.state.items() if rate.count)
        assert TIERS[found.rank[0]] is tier
        assert (found.flagged[0], found.unable[0], found.cleared[0]) == (
            state is State.FLAGGED,
            state is State.UNABLE_TO_CLASSIFY,
            state is State.NO_DISEASE_DETECTED,
        )
        seen.add((tier, state))
    assert len(seen) >= (5 if labels is LABELS else 2)


def test_what_is_not_assessed_clears_no_film():
    scores, each, truth = asked(LABELS, 200)
    thresholds = [0.99] * (len(LABELS) - 1) + [0.999]
    thresholds[LABELS.index("Hernia")] = 1.01
    found = sort_films(POLICY, LABELS, scores, each, thresholds)
    report = share_report(POLICY, LABELS, scores, each, thresholds, truth)
    assert not found.cleared.any()
    assert found.unable.sum() == report.unable.count
    assert found.shares()[Urgency.REVIEW] == pytest.approx(report.urgency[Urgency.REVIEW].share)
