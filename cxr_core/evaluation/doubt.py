"""What each state of the card holds, and what "unable to classify" catches of what would be missed. Pure.

The policy's rule sends films without a positive finding to a person. It is worth its films where it finds
more of the diseased ones among them than as many films drawn at random would.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cxr_core.domain import State
from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.measure import FEW_PATIENTS
from cxr_core.evaluation.rates import Share, difference, share
from cxr_core.evaluation.scored import Scored
from cxr_core.inference.manifest import Task
from cxr_core.triage.budget import FEW_POSITIVES, Rate
from cxr_core.triage.policy import Policy
from cxr_core.triage.sorting import Reason, Sorted, sort_films

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]

NAMES: dict[str, str] = {
    State.FLAGGED: "flagged",
    State.UNABLE_TO_CLASSIFY: "unable to classify",
    State.NO_DISEASE_DETECTED: "no disease detected",
    Reason.ABNORMAL: "abnormal is high",
    Reason.DISAGREEMENT: "the models disagree",
    Reason.WARNED: "the gate warned",
    Reason.NOT_ASSESSED: "not all was assessed",
}
"""Of states, and of the reasons for the second of them, for people."""


@dataclass(frozen=True, slots=True)
class Held:
    """Films of a state, or of one reason for it.

    Attributes:
        films: so many of all.
        share: of all films; None of no films.
        diseased: so many of those where it is known.
        risk: share of the diseased among them; None below `FEW_POSITIVES` films of `FEW_PATIENTS` patients.
    """

    films: Rate
    share: Interval | None
    diseased: Rate
    risk: Interval | None


@dataclass(frozen=True, slots=True)
class Caught:
    """What a rule does among films without a positive finding, of which is known whether they are diseased.

    Attributes:
        films: sent to a person, of all of them.
        errors: diseased ones sent to a person, of all diseased ones: without the rule all would be missed.
        share: of these errors; None below `FEW_POSITIVES` of them, of `FEW_PATIENTS` patients.
        gain: that share minus the share of films sent, which is what a random rule of the same size catches;
            None also where fewer films than that are sent.
    """

    films: Rate
    errors: Rate
    share: Interval | None
    gain: Interval | None


@dataclass(frozen=True, slots=True)
class Doubt:
    """The states of a split's films.

    Attributes:
        states: state → its films.
        reasons: reason → the films that are unable to classify for it; several may hold of one film.
        caught: what the policy's rule catches.
        nearest: what another rule would catch: send the films that come nearest to a threshold, as many as
            the review tier's share of all films.
    """

    states: dict[str, Held]
    reasons: dict[str, Held]
    caught: Caught
    nearest: Caught

    def rows(self) -> Iterator[tuple[str, Held]]:
        """Yield states by their names for people, the reasons beneath theirs."""
        for state, each in self.states.items():
            yield NAMES[state], each
            if state == State.UNABLE_TO_CLASSIFY:
                yield from ((f"  {NAMES[reason]}", its) for reason, its in self.reasons.items())

    @property
    def said(self) -> tuple[str, str]:
        """What the policy's rule catches and what one by nearness would, beside chance."""
        return _said("The rule", self.caught), _said("The films nearest to a threshold", self.nearest)


def doubt_of(scored: Scored, policy: Policy) -> Doubt | None:
    """Return what the policy's states hold, limits by patient; None for other tasks, which sort nothing."""
    if scored.manifest.model.task is not Task.MULTILABEL:
        return None
    made = sort_films(
        policy,
        scored.labels,
        scored.probabilities,
        scored.members,
        scored.rules.thresholds,
        warned=scored.warned,
    )
    patients = np.unique(scored.patients, return_inverse=True)[1]
    return doubt_from(made, nearness(scored), scored.diseased, patients, policy.tiers.review.budget)


def nearness(scored: Scored) -> Floats:
    """Return (N,) how near each film comes to any threshold: the largest of probability / threshold."""
    points = np.array(scored.rules.thresholds)
    ratio: Floats = np.where(points > 1, 0.0, scored.probabilities / points).max(axis=1)
    return ratio


def doubt_from(
    made: Sorted, near: Floats, diseased: Floats, patients: NDArray[np.int64], budget: float
) -> Doubt:
    """Return the same of sorted films.

    Args:
        made: (N,) films as the policy sorts them.
        near: (N,) see `nearness`.
        diseased: (N,) 1, 0, or NaN where unknown.
        patients: (N,) number of each film's patient, from 0 without gaps.
        budget: share of all films that may be sent to a person.
    """
    ill, known = diseased == 1, ~np.isnan(diseased)
    quiet = ~made.flagged & known

    def held(flags: Flags) -> Held:
        of_all = share(flags, np.ones(len(flags), dtype=bool), patients)
        sick = share(ill, flags & known, patients)
        return Held(
            films=Rate(of_all.count, of_all.of),
            share=of_all.interval if of_all.of else None,
            diseased=Rate(sick.count, sick.of),
            risk=sick.interval if _enough(sick) else None,
        )

    def caught(flags: Flags) -> Caught:
        sent, found = share(flags, quiet, patients), share(flags, quiet & ill, patients)
        enough = _enough(found)
        return Caught(
            films=Rate(sent.count, sent.of),
            errors=Rate(found.count, found.of),
            share=found.interval if enough else None,
            gain=difference(found, sent).interval if enough and sent.count >= FEW_POSITIVES else None,
        )

    return Doubt(
        states={
            State.FLAGGED.value: held(made.flagged),
            State.UNABLE_TO_CLASSIFY.value: held(made.unable),
            State.NO_DISEASE_DETECTED.value: held(made.cleared),
        },
        reasons={reason.value: held(made.unable & flags) for reason, flags in made.reasons.items()},
        caught=caught(made.unable),
        nearest=caught(_highest(near, quiet, round(budget * len(quiet)))),
    )


def _enough(part: Share) -> bool:
    return part.of >= FEW_POSITIVES and part.patients >= FEW_PATIENTS


def _highest(near: Floats, among: Flags, count: int) -> Flags:
    """Return (N,) the `count` highest among some films; of equal ones the first."""
    order = np.argsort(np.where(among, -near, np.inf), kind="stable")[: min(count, int(among.sum()))]
    flags = np.zeros(len(near), dtype=bool)
    flags[order] = True
    return flags


def _said(rule: str, caught: Caught) -> str:
    errors = caught.errors
    chance = f"{100 * caught.films.share:.1f} % by chance" if caught.films.of else "no such film"
    text = (
        f"{rule}, {caught.films.count:,} of {caught.films.of:,} without a finding: {errors.count:,} of "
        f"{errors.of:,} diseased ones caught"
    )
    if caught.share is None:
        return f"{text}, not enough data"
    share = (
        f"{100 * caught.share.value:.1f} % ({100 * caught.share.low:.1f} to {100 * caught.share.high:.1f})"
    )
    if caught.gain is None:
        return f"{text}, {share}, {chance}; too few to tell from chance"
    better = "more than" if caught.gain.low > 0 else "not shown to be more than"
    return f"{text}, {share}, {better} {chance}"
