"""A made site whose truth follows the logits shifted and stretched by known amounts."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from functools import cache

import numpy as np
import pytest

from cxr_core.domain import ABNORMAL, FINDINGS, Urgency
from cxr_core.errors import DataError
from cxr_core.evaluation.site import fit
from cxr_core.evaluation.site_cases import Aim, Cases, Choice, Origin, with_abnormal
from cxr_core.evaluation.site_lines import How, carried_over
from cxr_core.evaluation.site_verdict import Enough
from cxr_core.imaging.preprocess import Recipe
from cxr_core.inference import manifest as m
from cxr_core.settings import Settings
from cxr_core.triage.policy import load_policy

LABELS = ("Effusion", "Mass", "Hernia", "Fibrosis", "Pneumothorax", ABNORMAL)
SHIFT, SLOPE = -1.2, 0.7
"""At the made site the log-odds of a finding are SLOPE × logit + SHIFT; the model says 1 × logit + 0."""
NETWORK = "a" * 64
POLICY = load_policy(Settings().policy)


@cache
def manifest() -> m.Manifest:
    """Of a model with the identity for calibration and thresholds of 0.5; Pneumothorax is not assessed."""
    size = len(LABELS)
    return m.Manifest(
        model=m.Model(
            "base", "1.0.0", m.Task.MULTILABEL, "none", 2, LABELS, "none", date(2026, 1, 1), "none"
        ),
        input=m.Input("film", 1, 64, 64, -1.0, 1.0),
        preprocessing=Recipe(film_px=48, network_px=64, low_percentile=0.5, high_percentile=99.5),
        output=m.Output("logits", "features", 8, "heads"),
        calibration=m.CalibrationTable(m.Method.PLATT, (1.0,) * size, (0.0,) * size, "elsewhere", NETWORK),
        thresholds=m.ThresholdTable("one", "none", (0.5, 0.5, 0.5, 0.5, 1.01, 0.5), (), NETWORK),
        data=m.Data("none", "", "none", "none", {}),
        self_test=m.SelfTest((0.0,) * size, 1e-3),
        files={m.NETWORK: NETWORK},
        evaluation={},
    )


def made(films: int = 2400, seed: int = 0, rare: float = -5.5) -> Cases:
    """Films of patients who have one to three; Mass is known of every third, Hernia rare, Fibrosis none."""
    rng = np.random.default_rng(seed)
    patients = np.repeat(np.arange(films), rng.integers(1, 4, films))[:films]
    own = rng.normal(0, 1.0, (films, 6))[patients]  # what a patient's films have in common
    logits = np.array([0.0, -0.5, rare, -9.0, -0.5, 0.5]) + 0.8 * own + rng.normal(0, 1.2, (films, 6))
    odds = SLOPE * logits + SHIFT
    truth = (rng.random((films, 6)) < 1 / (1 + np.exp(-odds))).astype(float)
    truth[:, 3] = 0.0
    truth[np.arange(films) % 3 > 0, 1] = np.nan
    members = logits[:, None, :] + np.array([-0.2, 0.2])[None, :, None]
    names = np.array([f"patient {number}" for number in patients])
    return Cases("base 1.0.0", NETWORK, LABELS, logits, members, truth, names, Origin.FILES)


@cache
def fitted(aim: Aim = Aim.SENSITIVITY):
    return fit(made(), manifest(), POLICY, Choice(aim=aim), resamples=50)


def test_whole_patients_are_divided_and_a_patient_s_half_never_depends_on_the_others():
    cases = made(600)
    mask = cases.fitted_on()
    assert 0.4 < mask.mean() < 0.6
    assert not set(cases.patients[mask]) & set(cases.patients[~mask])
    alone = cases.pick(np.arange(len(cases)) % 5 == 0)
    assert np.array_equal(alone.fitted_on(), mask[::5])


@pytest.mark.parametrize("label", ["Effusion", "Mass", "Pneumothorax", ABNORMAL])
def test_recalibration_finds_the_shift_and_the_slope_of_the_site(label):
    found, k = fitted(), LABELS.index(label)
    assert found[label].how is How.LINE
    assert found.calibration.slope[k] == pytest.approx(SLOPE, abs=0.12)
    assert found.calibration.intercept[k] == pytest.approx(SHIFT, abs=0.3)


@pytest.mark.parametrize("label", ["Effusion", "Mass", "Pneumothorax", ABNORMAL])
def test_on_held_out_patients_the_errors_of_the_probabilities_fall_and_the_order_of_films_stays(label):
    each = fitted()[label]
    assert each.after.ece < 0.06 < each.before.ece
    assert each.after.brier < each.before.brier
    held = made().pick(~made().fitted_on())
    k = LABELS.index(label)
    known = ~np.isnan(held.truth[:, k])
    scores, truth = held.logits[known, k], held.truth[known, k]
    pairs = np.subtract.outer(scores[truth == 1], scores[truth == 0])
    assert each.auc.value == pytest.approx(((pairs > 0) + (pairs == 0) / 2).mean(), abs=1e-9)


def test_the_sensitivity_asked_for_is_reached_where_it_was_set_and_within_its_limits_elsewhere():
    for label in ("Effusion", "Mass", "Pneumothorax", ABNORMAL):
        each = fitted()[label]
        assert each.renewed
        assert 0.9 <= each.reached.value < 0.92
        assert each.after.sensitivity.low < each.reached.high
        assert each.reached.low < each.after.sensitivity.high
        assert each.after.threshold < 0.5
    reached = [each.after.sensitivity.value for each in fitted().labels if each.renewed]
    assert np.mean(reached) == pytest.approx(0.9, abs=0.03)
    assert fitted()["Effusion"].before.sensitivity.high < 0.85
    assert np.isnan(fitted()["Pneumothorax"].before.sensitivity.value)
    assert fitted()["Effusion"].verdict.enough is Enough.YES


def test_flags_and_ppv_are_of_the_prevalence_at_hand():
    """Counted by hand on the held-out films."""
    cases, found = made(), fitted()
    held, each = cases.pick(~cases.fitted_on()), fitted()["Effusion"]
    line = found.calibration
    called = line.probability(held.logits)[:, 0] >= each.after.threshold
    ill = held.truth[:, 0] == 1
    share = cases.truth[:, 0].mean()
    caught, spared = called[ill].mean(), 1 - called[~ill].mean()
    assert each.after.sensitivity.value == pytest.approx(caught, abs=1e-12)
    assert each.after.specificity.value == pytest.approx(spared, abs=1e-12)
    assert each.after.flags == pytest.approx(100 * (share * caught + (1 - share) * (1 - spared)))
    ppv = share * caught / (share * caught + (1 - share) * (1 - spared))
    assert each.after.ppv.value == pytest.approx(ppv)
    assert each.after.ppv.low < ppv < each.after.ppv.high
    assert sum(found.tiers_after.values()) == pytest.approx(100)


def test_a_budget_is_kept_by_the_films_that_it_was_spent_on():
    cases, found = made(), fitted(Aim.BUDGET)
    ours = cases.pick(cases.fitted_on())
    called = found.calibration.probability(ours.logits)[:, LABELS.index("Pneumothorax")]
    share = (called >= found["Pneumothorax"].after.threshold).mean()
    allowed = POLICY.tiers[Urgency.CRITICAL].budget
    assert 0 < share <= allowed
    assert share > 0.8 * allowed


def test_a_rare_label_is_shifted_at_most_and_calls_the_films_that_it_called_before():
    cases = made(1200, rare=-4.2)
    few = fit(cases, manifest(), POLICY, Choice(), resamples=20)
    hernia = few["Hernia"]
    assert 5 <= hernia.counts.with_fit < 20
    assert (hernia.how, hernia.renewed, hernia.verdict.enough) == (How.SHIFT, False, Enough.FEW)
    assert hernia.verdict.more == 2 * (20 - hernia.counts.with_fit)
    k = LABELS.index("Hernia")
    before = 1 / (1 + np.exp(-cases.logits[:, k])) >= 0.5
    after = few.calibration.probability(cases.logits)[:, k] >= few.thresholds[k]
    assert before.any()
    assert np.array_equal(before, after)
    none = few["Fibrosis"]
    assert (none.how, none.renewed, none.verdict.enough) == (How.SAME, False, Enough.NOBODY)
    assert none.after.threshold == pytest.approx(0.5)
    assert few.thresholds[LABELS.index("Fibrosis")] == pytest.approx(0.5)


def test_a_threshold_out_of_reach_stays_so_where_nobody_has_the_finding():
    assert carried_over(1.01, (1.0, 0.0), (2.0, 1.0)) > 1
    assert carried_over(0.5, (1.0, 0.0), (2.0, 1.0)) == pytest.approx(1 / (1 + np.exp(-1.0)))


def test_chosen_films_are_moved_to_the_prevalence_that_is_given():
    """Half of the made films have an effusion; where 5 % have it, its probabilities must average 5 %."""
    cases = made(3000)
    ill = cases.truth[:, 0] == 1
    thinned = cases.pick(ill | (np.random.default_rng(1).random(len(cases)) < 0.35))
    choice = Choice(prevalence={"Effusion": ill.mean(), ABNORMAL: 0.2})
    found = fit(thinned, manifest(), POLICY, choice, resamples=20)
    assert found.calibration.probability(cases.logits)[:, 0].mean() == pytest.approx(ill.mean(), abs=0.03)
    assert found["Effusion"].prevalence == ill.mean()
    assert found["Effusion"].after.ece < 0.06  # in the mix of the cases, not in the one given
    assert sum(found.tiers_after.values()) == pytest.approx(100)
    with pytest.raises(DataError, match="films as they come"):
        fit(thinned, manifest(), POLICY, replace(choice, aim=Aim.BUDGET))


def test_a_model_that_was_right_at_the_prevalence_given_gains_nothing_from_films_chosen_otherwise():
    cases = made(6000)
    ill = cases.truth[:, 0] == 1
    every = fit(cases, manifest(), POLICY, Choice(), resamples=2).calibration
    right = manifest()
    right = replace(
        right,
        calibration=replace(right.calibration, slope=tuple(every.slope), intercept=tuple(every.intercept)),
    )
    chosen = cases.pick(ill | (np.random.default_rng(1).random(len(cases)) < 0.2))
    found = fit(chosen, right, POLICY, Choice(prevalence={"Effusion": ill.mean()}), resamples=2)["Effusion"]
    assert found.before.brier == pytest.approx(found.after.brier, abs=0.005)
    assert found.before.ece == pytest.approx(found.after.ece, abs=0.03)


def test_abnormal_is_told_only_where_all_findings_are_known():
    assert with_abnormal({"Mass": 1.0}) == {"Mass": 1.0}
    every = dict.fromkeys(FINDINGS, 0.0)
    assert with_abnormal(every)[ABNORMAL] == 0.0
    assert with_abnormal({**every, "Mass": 1.0})[ABNORMAL] == 1.0
    assert with_abnormal({**every, ABNORMAL: 1.0})[ABNORMAL] == 1.0


def test_too_few_cases_are_refused_and_few_patients_are_said_to_be():
    with pytest.raises(DataError, match="99 films of .* 1 more are needed"):
        fit(made(99), manifest(), POLICY, Choice())
    small = fit(made(150), manifest(), POLICY, Choice(), resamples=20)
    assert small.verdict.enough in (Enough.WIDE, Enough.FEW)
    assert small["Mass"].verdict.enough is Enough.FEW
    assert "more patients with it" in small["Mass"].verdict.why


def test_only_the_labels_asked_for_get_a_threshold():
    found = fit(made(1500), manifest(), POLICY, Choice(only=("Effusion",)), resamples=20)
    assert [each.label for each in found.labels if each.renewed] == ["Effusion"]
    assert found[ABNORMAL].verdict.enough is Enough.NOT_ASKED
    assert found.verdict.enough is Enough.YES


def of_one_patient(cases: Cases, films: np.ndarray) -> Cases:
    patients = cases.patients.copy()
    patients[films] = patients[np.flatnonzero(films)[0]]
    return replace(cases, patients=patients)


def test_films_of_one_patient_say_nothing_certain():
    """Neither where they are all that is held out, nor where nobody else has the finding."""
    cases = made(600)
    held = ~cases.fitted_on()
    alone = fit(of_one_patient(cases, held), manifest(), POLICY, Choice(), resamples=20)
    assert alone.patients[1] == 1
    for each in alone.labels:
        for side in (each.before, each.after):
            for said in (side.sensitivity, side.specificity, side.ppv):
                assert np.isnan(said.value) or (said.low, said.high) == (0.0, 1.0)
        assert np.isnan(each.auc.value)
        assert each.verdict.enough is not Enough.YES
    ill = held & (cases.truth[:, 0] == 1)
    rare = fit(of_one_patient(cases, ill), manifest(), POLICY, Choice(), resamples=20)["Effusion"]
    assert rare.counts.with_held == 1
    assert np.isnan(rare.auc.value)
    assert (rare.after.sensitivity.low, rare.after.sensitivity.high) == (0.0, 1.0)


@pytest.mark.parametrize("present", [0.0, 1.0])
def test_films_by_urgency_are_not_known_at_a_prevalence_that_no_film_stands_for(present):
    cases = made(600)
    k = LABELS.index(ABNORMAL)
    truth = cases.truth.copy()
    truth[~cases.fitted_on(), k] = present
    choice = Choice(prevalence={ABNORMAL: 0.2})
    found = fit(replace(cases, truth=truth), manifest(), POLICY, choice, resamples=20)
    assert all(np.isnan(each) for each in found.tiers_after.values())
    assert all(np.isnan(each) for each in found.tiers_before.values())


def test_answers_of_another_network_are_never_fitted():
    with pytest.raises(DataError, match="another model"):
        fit(replace(made(200), network="b" * 64), manifest(), POLICY, Choice())


@pytest.mark.parametrize(
    ("choice", "why"),
    [
        (Choice(sensitivity=0.4), "sensitivity"),
        (Choice(films_a_day=0), "films a day"),
        (Choice(only=("Nodule",)), "no label Nodule"),
        (Choice(prevalence={"Mass": 1.0}), "prevalence of Mass"),
    ],
)
def test_a_choice_that_is_none_is_refused(choice, why):
    with pytest.raises(DataError, match=why):
        fit(made(200), manifest(), POLICY, choice)
