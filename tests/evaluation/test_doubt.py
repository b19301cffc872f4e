"""What the states hold, counted by hand and against `decide`."""

from dataclasses import replace

import numpy as np
import pytest

from cxr_core.domain import State
from cxr_core.evaluation.doubt import doubt_from, doubt_of, nearness
from cxr_core.evaluation.metrics import wilson
from cxr_core.evaluation.scored import read_scored, reports
from cxr_core.settings import ROOT, Settings
from cxr_core.triage.policy import load_policy
from cxr_core.triage.sorting import Reason, Sorted

FOLDER = ROOT / "models" / Settings().model
POLICY = load_policy(ROOT / "config" / "policy.toml")


@pytest.fixture(scope="module", params=["val", "test"])
def scored(request):
    return read_scored(FOLDER, request.param)


def made(flagged, unable, reasons):
    cleared = ~flagged & ~unable
    return Sorted(np.where(flagged, 1, 2), flagged, unable, cleared, reasons)


def test_by_hand():
    """100 quiet films of as many patients: 40 sent, with 30 of the 50 diseased ones; 20 more are flagged."""
    flagged, unable = np.zeros((2, 120), dtype=bool)
    flagged[100:], unable[:40] = True, True
    diseased = np.zeros(120)
    diseased[:30], diseased[40:60], diseased[100:110] = 1, 1, 1
    disagree = np.arange(120) < 25
    sorted_films = made(flagged, unable, {Reason.ABNORMAL: unable, Reason.DISAGREEMENT: disagree})
    near = -np.arange(120.0)
    found = doubt_from(sorted_films, near, diseased, np.arange(120), budget=0.25)
    unsure = found.states[State.UNABLE_TO_CLASSIFY]
    assert (unsure.films.count, unsure.films.of, unsure.diseased.count) == (40, 120, 30)
    limits = wilson(30, 40)
    assert unsure.risk.value == 0.75
    assert (unsure.risk.low, unsure.risk.high) == pytest.approx((limits.low, limits.high), abs=0.01)
    assert found.reasons[Reason.DISAGREEMENT].diseased == type(unsure.films)(25, 25)
    caught = found.caught
    assert (caught.films.share, caught.errors.share) == (0.4, 0.6)
    assert caught.gain.value == pytest.approx(0.2)
    assert 0 < caught.gain.low < 0.2 < caught.gain.high
    assert "more than 40.0 % by chance" in found.said[0]
    nearest = found.nearest
    assert (nearest.films.count, nearest.errors.count) == (30, 30), "the first thirty are the nearest"


def test_a_rule_as_good_as_chance_is_not_called_better():
    rng = np.random.default_rng(0)
    unable, diseased = rng.random(400) < 0.3, (rng.random(400) < 0.4).astype(float)
    nobody = np.zeros(400, dtype=bool)
    found = doubt_from(made(nobody, unable, {}), rng.random(400), diseased, np.arange(400), 0.1)
    assert found.caught.gain.low < 0 < found.caught.gain.high
    assert "not shown to be more" in found.said[0]


def test_what_is_unknown_and_what_is_few_is_said_so():
    nobody = np.zeros(30, dtype=bool)
    found = doubt_from(made(nobody, ~nobody, {}), np.zeros(30), np.full(30, np.nan), np.arange(30), 0.1)
    held = found.states[State.UNABLE_TO_CLASSIFY]
    assert (held.films.count, held.diseased.of, held.risk) == (30, 0, None)
    assert (found.caught.share, found.caught.gain) == (None, None)
    assert "not enough data" in found.said[0]


def test_states_are_those_of_decide_and_every_unclassified_film_has_a_reason(scored):
    found, report = doubt_of(scored, POLICY), reports(scored, POLICY)
    assert {name: each.films for name, each in found.states.items()} == {
        state: report.state[state] for state in State if state is not State.REFUSED
    }
    assert found.states[State.NO_DISEASE_DETECTED].diseased.count == report.missed.count
    unable = found.states[State.UNABLE_TO_CLASSIFY].films.count
    assert sum(each.films.count for each in found.reasons.values()) >= unable
    assert Reason.WARNED not in found.reasons, "tables hold no gate"
    names = [name for name, _ in found.rows()]
    assert names[1] == "unable to classify"
    assert names[-1] == "no disease detected"


def test_a_warning_of_the_gate_is_a_reason(scored):
    warned = np.arange(len(scored.table)) % 10 == 0
    asked = replace(scored, warned=warned)
    found, report = doubt_of(asked, POLICY), reports(asked, POLICY)
    by_gate = found.reasons[Reason.WARNED].films.count
    assert 0 < by_gate <= warned.sum()
    assert found.states[State.UNABLE_TO_CLASSIFY].films == report.unable
    assert asked.pick(warned).warned.all()


def test_nearness_of_what_cannot_be_reached_is_nothing(scored):
    points = (0.5, *[1.01] * (len(scored.labels) - 1))
    rules = replace(scored.rules, thresholds=points)
    near = nearness(replace(scored, rules=rules))
    assert near == pytest.approx(scored.probabilities[:, 0] / 0.5)
