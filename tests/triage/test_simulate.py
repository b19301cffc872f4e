"""The simulated reading room: against formulas, against what must hold, and against the published pattern."""

from dataclasses import replace

import numpy as np
import pytest

from cxr_core.domain import Urgency
from cxr_core.triage.reading_room import (
    HOSPITAL_DAYS,
    HOSPITAL_HOURS,
    WEEK,
    Room,
    Shift,
    arrivals,
    reading_times,
)
from cxr_core.triage.simulate import Discipline, Films, draw, read_all, simulate
from cxr_core.triage.simulated import By, pooled, spread, waits
from tests.triage.builders import POLICY

ALWAYS = (Shift(1, 0, 24),)
WARD = Room(
    films_a_day=200,
    shifts=(
        Shift(2, 8, 18, (0, 1, 2, 3, 4)),
        Shift(1, 18, 32, (0, 1, 2, 3, 4)),
        Shift(1, 8, 32, (5, 6)),
    ),
    mean_min=8,
    weekdays=HOSPITAL_DAYS,
    hours=HOSPITAL_HOURS,
    days=28,
)
LIMITS = [15.0, 120.0, 120.0, 480.0, 720.0]
STRICT = replace(
    POLICY,
    tiers=replace(
        POLICY.tiers,
        significant=replace(POLICY.tiers.significant, max_wait_minutes=300),
        routine=replace(POLICY.tiers.routine, max_wait_minutes=420),
    ),
)


def a_models_films(seed=0, sensitivity=0.8):
    """Films of which the model takes some for routine, and some routine ones for more than they are."""
    rng = np.random.default_rng(seed)
    true = rng.choice(5, 3000, p=[0.05, 0.15, 0, 0.2, 0.6])
    said = np.where(rng.random(3000) < 1 - sensitivity, 4, true)
    alarmed = (true == 4) & (rng.random(3000) < 0.25)
    said[alarmed] = rng.choice(4, int(alarmed.sum()), p=[0.1, 0.4, 0.3, 0.2])
    return Films(said, true, np.arange(3000) // 3)


def times(found, discipline, urgency=Urgency.CRITICAL):
    return next(each for each in found if (each.urgency, each.discipline) == (urgency, discipline))


def test_urgency_order_shortens_the_critical_mean_lengthens_the_worst_and_a_limit_mends_that():
    """Baltruschat 2021: mean 80 → 36 min, worst 890 → 1,293 → 979 with a longest wait. The pattern."""
    passages = simulate(replace(WARD, mean_min=8.5), a_models_films(), STRICT, replications=3)
    first, urgent, limited = (
        [each.waited[discipline][each.true == 0] for each in passages] for discipline in Discipline
    )
    for one, other, last in zip(first, urgent, limited, strict=True):  # in every replication
        assert other.mean() < 0.65 * one.mean()
        assert last.mean() < 0.65 * one.mean()
        assert other.max() > 1.05 * one.max()
    worst = [float(np.mean([minutes.max() for minutes in each])) for each in (first, urgent, limited)]
    assert worst[1] > 1.2 * worst[0]
    assert worst[0] < worst[2] < 0.9 * worst[1]


def test_one_reader_with_exponential_times_waits_as_the_formula_says():
    """M/M/1: mean time in the room 1 / (mu - lambda)."""
    means = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        at = np.cumsum(rng.exponential(10.0, 8000))
        minutes = rng.exponential(7.0, 8000)
        ended = read_all(at, minutes, np.zeros(8000, int), ALWAYS, Discipline.FIRST_COME, LIMITS)
        means.append((ended - at)[1000:].mean())
    found = spread(means)
    assert found.low < 1 / (1 / 7 - 1 / 10) < found.high
    assert found.high - found.low < 6


def test_the_whole_room_waits_as_pollaczek_and_khinchine_say():
    """M/G/1 with log-normal times: E[W] = lambda E[S²] / 2 (1 - rho), plus the reading itself."""
    room = Room(120, ALWAYS, mean_min=8, sigma=0.6, days=40, before=5)
    films = a_models_films().blind()
    found = waits(simulate(room, films, POLICY, replications=10), films, POLICY, By.SAID)
    rate, rho = 120 / 1440, 120 * 8 / 1440
    expected = rate * 64 * np.exp(0.36) / (2 * (1 - rho)) + 8
    mean = times(found, Discipline.FIRST_COME, Urgency.ROUTINE).mean
    assert mean.low < expected < mean.high


@pytest.mark.parametrize("discipline", list(Discipline))
def test_every_film_is_read_once_by_a_reader_who_is_there(discipline):
    rng = np.random.default_rng(3)
    at, minutes = np.sort(rng.random(600)) * WEEK, rng.exponential(6.0, 600)
    said = rng.integers(0, 5, 600)
    shifts = (Shift(1, 8, 17, (0, 1, 2, 3, 4)), Shift(1, 22, 30, (2, 5)))
    ended = read_all(at, minutes, said, shifts, discipline, LIMITS)
    begun = ended - minutes
    assert not np.isnan(ended).any()
    assert (begun >= at - 1e-6).all()
    day, hour = begun // 1440 % 7, begun % 1440 / 60
    day_shift = (day < 5) & (hour >= 8) & (hour < 17)
    night = np.isin(day, (2, 5)) & (hour >= 22) | np.isin(day, (3, 6)) & (hour < 6)
    assert (day_shift | night).all()
    at_once = [((begun <= moment + 1e-9) & (moment + 1e-9 < ended)).sum() for moment in begun]
    assert max(at_once) <= 2
    idle_reader_waits_for_nothing = at.max() < begun.max()
    assert idle_reader_waits_for_nothing


def test_each_discipline_in_a_case_by_hand():
    # One reader, ten minutes a film; all but the first come while it is being read.
    at = np.array([0.0, 1.0, 2.0, 3.0, 4.0])
    said = np.array([4, 4, 3, 1, 0])
    limits = [5.0, 100.0, 100.0, 100.0, 15.0]
    order = {
        each: np.argsort(read_all(at, np.full(5, 10.0), said, ALWAYS, each, limits)).tolist()
        for each in Discipline
    }
    assert order[Discipline.FIRST_COME] == [0, 1, 2, 3, 4]
    assert order[Discipline.URGENCY] == [0, 4, 3, 2, 1]
    # At 20 minutes the routine film of minute 1 has waited 19 of its 15 and goes ahead of the urgent one.
    assert order[Discipline.LIMITED] == [0, 4, 1, 3, 2]


def test_a_model_without_errors_helps_most_and_a_blind_one_changes_nothing():
    films = a_models_films()
    means = {}
    for name, each in (("real", films), ("perfect", films.perfect()), ("blind", films.blind())):
        found = waits(simulate(WARD, each, POLICY, replications=2), each, POLICY)
        means[name] = [times(found, discipline).mean.value for discipline in Discipline]
    assert means["blind"][0] == pytest.approx(means["blind"][1])
    assert means["blind"][0] == means["real"][0] == means["perfect"][0]  # the same films at the same minutes
    assert means["perfect"][1] < means["real"][1] < means["blind"][1]


def test_the_same_seed_gives_the_same_answer_and_disciplines_share_their_films():
    one, other = (simulate(WARD, a_models_films(), POLICY, replications=1, seed=5)[0] for _ in range(2))
    assert all((one.waited[each] == other.waited[each]).all() for each in Discipline)
    work = [pooled([one], Urgency.ROUTINE, each) for each in Discipline]
    assert len({len(each) for each in work}) == 1
    assert len(one.true) == pytest.approx(200 * 28, rel=0.05)


def test_films_come_as_often_and_when_the_room_says():
    room = replace(WARD, days=364, before=0, monday=40)
    at = arrivals(room, np.random.default_rng(0))
    assert (np.diff(at) >= 0).all()
    assert len(at) == pytest.approx(364 * 200 + 52 * 40, rel=0.02)
    by_day = np.bincount((at // 1440 % 7).astype(int), minlength=7) / 52
    assert by_day[6] / (by_day[1]) == pytest.approx(0.7 / 1.1, rel=0.05)
    assert (at == 7 * 60).sum() == 40
    minutes = reading_times(room, 100_000, np.random.default_rng(0))
    assert (minutes.mean(), np.log(minutes).std()) == pytest.approx((8, 0.5), rel=0.02)
    assert WARD.load == pytest.approx(200 * 7 * 8 / (60 * (5 * (20 + 14) + 2 * 24)))


def test_shares_of_tiers_are_what_was_asked_for_and_patients_are_drawn_whole():
    films = a_models_films()
    which = draw(films, 50_000, np.random.default_rng(0), {Urgency.CRITICAL: 0.2, Urgency.URGENT: 0.0})
    true = np.bincount(films.true[which], minlength=5) / 50_000
    assert true[0] == pytest.approx(0.2, abs=0.01)
    assert true[1] == 0
    assert true[4] / true[3] == pytest.approx(0.6 / 0.2, rel=0.15)
    plain = draw(films, 200_000, np.random.default_rng(1))
    assert len(np.unique(films.patients[plain])) == pytest.approx(1000 * (1 - np.exp(-1)), rel=0.05)


def test_what_cannot_be_simulated_says_so():
    with pytest.raises(ValueError, match="somebody must read"):
        simulate(replace(WARD, shifts=()), a_models_films(), POLICY)
    with pytest.raises(ValueError, match="no film is of a tier"):
        draw(a_models_films(), 5, np.random.default_rng(0), {Urgency.REVIEW: 0.1})
    with pytest.raises(ValueError, match="shift"):
        Shift(1, 8, 8)
    films = a_models_films()
    few = waits(simulate(replace(WARD, days=1, before=0), films, POLICY, replications=2), films, POLICY)
    assert times(few, Discipline.FIRST_COME).few


def test_films_that_come_again_and_again_are_no_more_data_than_the_real_ones():
    rare = a_models_films()
    critical = np.flatnonzero(rare.true == 0)[12:]
    few = replace(rare, true=np.where(np.isin(np.arange(3000), critical), 4, rare.true))
    shares = {Urgency.CRITICAL: 0.05}
    for films, enough in ((rare, True), (few, False)):
        passages = simulate(WARD, films, POLICY, replications=2, shares=shares)
        found = times(waits(passages, films, POLICY), Discipline.URGENCY)
        assert found.films > 200
        assert found.few is not enough
    assert found.real == 12
