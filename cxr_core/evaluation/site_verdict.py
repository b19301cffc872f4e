"""Whether the cases of a site suffice to fit a model by, and how many more it would take. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.site_cases import Aim, Cases, Choice
from cxr_core.triage.budget import FEW_POSITIVES

LEAST_FILMS = 100
"""Films in all; below that nothing is fitted."""
LEAST_TO_SHIFT = 5
"""Patients with and without a label, to fit by, below which its calibration is left alone."""
WIDEST = 0.10
"""Half of the 95 % interval of a sensitivity on held-out patients that is still good enough to go by."""

RULE = (
    f"{LEAST_FILMS} films in all, or nothing is fitted. A label gets a threshold of its own from "
    f"{FEW_POSITIVES} patients who have it among those fitted by, and its calibration a new line from as "
    f"many who have it and who lack it; from {LEAST_TO_SHIFT} on the line is shifted only. The cases suffice "
    f"for a label whose sensitivity on held-out patients is known to ± {100 * WIDEST:.0f} points (95 %)."
)


class Enough(StrEnum):
    """Whether the cases suffice."""

    YES = "enough"
    WIDE = "not sure"
    FEW = "not enough data"
    NOBODY = "not in these cases"
    NOT_ASKED = "left as it was"


class Verdict(NamedTuple):
    """A judgement.

    Attributes:
        enough: in a word.
        why: one plain sentence.
        more: patients with the finding who are still needed, about; 0 where none are or nobody can say.
    """

    enough: Enough
    why: str
    more: int = 0


@dataclass(frozen=True, slots=True)
class Counts:
    """Of one label: films with and without it in all; patients with and without it in each half."""

    label: str
    positives: int
    negatives: int
    with_fit: int
    without_fit: int
    with_held: int
    without_held: int
    share_to_fit: float
    """Share of films with it among those fitted by."""

    @staticmethod
    def of(label: str, k: int, ours: Cases, held: Cases) -> Counts:
        """Return the counts of the k-th label in the two halves."""

        def patients(cases: Cases, value: int) -> int:
            return cases.number_of_patients(cases.truth[:, k] == value)

        films = [int(sum((each.truth[:, k] == value).sum() for each in (ours, held))) for value in (1, 0)]
        sides = [patients(cases, value) for cases in (ours, held) for value in (1, 0)]
        to_fit = int((ours.truth[:, k] == 1).sum()), int((ours.truth[:, k] == 0).sum())
        return Counts(
            label,
            films[0],
            films[1],
            sides[0],
            sides[1],
            sides[2],
            sides[3],
            to_fit[0] / sum(to_fit) if sum(to_fit) else math.nan,
        )

    @property
    def least_to_fit(self) -> int:
        """The fewer of the patients with and without it among those fitted by."""
        return min(self.with_fit, self.without_fit)

    @property
    def prevalence(self) -> float:
        """Share of films with it; NaN where no film tells."""
        films = self.positives + self.negatives
        return self.positives / films if films else math.nan


def too_few(films: int, patients: int) -> str:
    """Return why so few films are refused."""
    return (
        f"{films} films of {patients} patients with a known label; a model is fitted to a site by at least "
        f"{LEAST_FILMS}. {LEAST_FILMS - films} more are needed"
    )


def judged(label: str, counts: Counts, sensitivity: Interval, *, renewed: bool, choice: Choice) -> Verdict:
    """Return whether the cases suffice for a label.

    Args:
        label: its name.
        counts: of the cases.
        sensitivity: on held-out patients, at the threshold that would be saved.
        renewed: whether that threshold is new.
        choice: what was asked for.
    """
    if not counts.positives:
        return Verdict(Enough.NOBODY, "No film of these is known to have it: calibration and threshold stay.")
    if choice.only and label not in choice.only:
        return Verdict(Enough.NOT_ASKED, "No new threshold was asked for: it calls the same films as before.")
    if not renewed:
        more = 2 * max(FEW_POSITIVES - counts.with_fit, 1)
        why = (
            f"{counts.with_fit} patients with it to fit by, {FEW_POSITIVES} are needed: it calls the same "
            f"films as before. About {more} more patients with it would do."
            if counts.with_fit < FEW_POSITIVES
            else f"Only {counts.without_fit} patients lack it among those fitted by: it calls the same films."
        )
        return Verdict(Enough.FEW, why, more if counts.with_fit < FEW_POSITIVES else 0)
    if choice.aim is Aim.SENSITIVITY and sensitivity.high < choice.sensitivity:
        held = f"{sensitivity.value:.0%}, at most {sensitivity.high:.0%}"
        why = f"Asked for {choice.sensitivity:.0%}; held-out patients show {held}: too few to fit by."
        return Verdict(Enough.WIDE, why, needed(sensitivity.value, counts.with_held))
    half = (sensitivity.high - sensitivity.low) / 2
    if not np.isnan(half) and half <= WIDEST:
        return Verdict(Enough.YES, f"Sensitivity on held-out patients is known to ± {100 * half:.0f} points.")
    more = needed(sensitivity.value, counts.with_held)
    known = "is not known" if np.isnan(half) else f"is known to ± {100 * half:.0f} points only"
    why = f"Sensitivity on held-out patients {known}; about {more} more patients with it would do."
    return Verdict(Enough.WIDE, why, more)


def worse(verdict: Verdict) -> Verdict:
    """Return the verdict on a label whose probabilities came out worse on held-out patients."""
    enough = Enough.WIDE if verdict.enough is Enough.YES else verdict.enough
    return verdict._replace(
        enough=enough, why=f"{verdict.why} On them its probabilities are worse than before (Brier)."
    )


def needed(sensitivity: float, held: int) -> int:
    """Return how many more patients with the finding, in both halves, would make the interval narrow enough.

    Shares near 1 are taken for 0.95 and one that is unknown for 0.5, its widest.
    """
    p = 0.5 if math.isnan(sensitivity) else min(max(sensitivity, 0.05), 0.95)
    wanted = math.ceil(p * (1 - p) * (float(norm.ppf(0.975)) / WIDEST) ** 2)
    return 2 * max(wanted - held, 1)


def overall(verdicts: Sequence[Verdict], films: int) -> Verdict:
    """Return whether the cases suffice in all."""
    having = {word: sum(each.enough is word for each in verdicts) for word in Enough}
    asked = having[Enough.YES] + having[Enough.WIDE] + having[Enough.FEW]
    if not having[Enough.YES] + having[Enough.WIDE]:
        why = f"No label has enough patients for a threshold of its own among {films} films."
        return Verdict(Enough.FEW, why)
    if having[Enough.YES] == asked:
        return Verdict(Enough.YES, f"For all {asked} labels that were asked for and that these cases have.")
    why = (
        f"Of {asked} labels that these cases have, {having[Enough.YES]} are known well enough, "
        f"{having[Enough.WIDE]} are set anew but not known well, {having[Enough.FEW]} stay as they were."
    )
    return Verdict(Enough.WIDE, why)
