"""What a site brings to fit a model to it: local films as the model answers them, and what is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxr_core.data.splits import share_of
from cxr_core.domain import ABNORMAL, FINDINGS, Analysis
from cxr_core.errors import DataError
from cxr_core.inference.calibration import Method
from cxr_core.inference.manifest import NETWORK, Manifest

if TYPE_CHECKING:
    from cxr_core.inference.runtime import Classifier  # ONNX Runtime: opinions are fitted without it

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

PURPOSE = "site"
"""Which half a patient is in depends on this word and the patient alone; see `data.splits.share_of`."""

_EDGE = 1e-12


class Origin(StrEnum):
    """Where the truth of the cases comes from."""

    FILES = "a list of labelled films"
    OPINIONS = "readers' agreement and disagreement on the worklist"


class Aim(StrEnum):
    """By what thresholds are chosen."""

    SENSITIVITY = "sensitivity"
    BUDGET = "budget"


@dataclass(frozen=True, slots=True, eq=False)
class Cases:
    """Local films with truth, as one model answers them.

    Attributes:
        model: "id version" of that model.
        network: SHA-256 of its network: nothing fitted to these logits may be applied to another.
        labels: L names in manifest order.
        logits: (N, L) mean over the members, before calibration.
        members: (N, M, L) logits of each member.
        truth: (N, L) 1 present, 0 absent, NaN unknown.
        patients: (N,) which patient; any text, it goes no further than this process.
        origin: where the truth comes from.
    """

    model: str
    network: str
    labels: tuple[str, ...]
    logits: Floats = field(repr=False)
    members: Floats = field(repr=False)
    truth: Floats = field(repr=False)
    patients: NDArray[np.str_] = field(repr=False)
    origin: Origin = Origin.FILES

    def __len__(self) -> int:
        """Films."""
        return len(self.logits)

    def fitted_on(self) -> Flags:
        """Return (N,) which films are of the patients to fit by; all others are held out."""
        halves = {patient: share_of(patient, PURPOSE) < 0.5 for patient in set(self.patients.tolist())}
        return np.array([halves[patient] for patient in self.patients.tolist()], dtype=bool)

    def pick(self, mask: Flags) -> Cases:
        """Return the films of a mask."""
        return replace(
            self,
            logits=self.logits[mask],
            members=self.members[mask],
            truth=self.truth[mask],
            patients=self.patients[mask],
        )

    def number_of_patients(self, mask: Flags | None = None) -> int:
        """Return how many different patients the films, or those of a mask, are of."""
        return len(np.unique(self.patients if mask is None else self.patients[mask]))


@dataclass(frozen=True, slots=True)
class Choice:
    """What a lead asks for.

    Attributes:
        aim: by what thresholds are chosen.
        sensitivity: least share of the films with a finding that its threshold lets through, where it is set.
        only: labels that get a new threshold where there is enough data; empty is all.
        films_a_day: for expected flags.
        prevalence: label → share of films with it here, where the cases were chosen and their mix differs.
    """

    aim: Aim = Aim.SENSITIVITY
    sensitivity: float = 0.9
    only: tuple[str, ...] = ()
    films_a_day: float = 100.0
    prevalence: Mapping[str, float] = field(default_factory=dict)

    def checked(self, labels: Sequence[str]) -> Choice:
        """Return itself.

        Raises:
            DataError: a share is none, or a label is not the model's.
        """
        if not 0.5 <= self.sensitivity < 1.0:
            raise DataError(f"sensitivity: expected 0.5 or more and less than 1, got {self.sensitivity:g}")
        if not 0 < self.films_a_day <= 1e6:
            raise DataError(f"films a day: expected more than 0, got {self.films_a_day:g}")
        if strange := [label for label in (*self.only, *self.prevalence) if label not in labels]:
            raise DataError(f"the model has no label {', '.join(strange)}")
        if wrong := [label for label, share in self.prevalence.items() if not 0.0 < share < 1.0]:
            raise DataError(f"prevalence of {', '.join(wrong)}: expected a share between 0 and 1")
        return self


def all_answers(classifier: Classifier) -> Classifier:
    """Return `within_reach` of a model that can be fitted to a site.

    Raises:
        DataError: its labels share one whole, and cannot be fitted one by one.
    """
    fittable(classifier.manifest)
    return within_reach(classifier)


def within_reach(classifier: Classifier) -> Classifier:
    """Return the model with every threshold within reach, so that it answers for what it does not assess.

    Its logits and probabilities are of use then, what it calls is not.
    """
    manifest = classifier.manifest
    reachable = tuple(min(value, 1.0) for value in manifest.thresholds.values)
    within = replace(manifest, thresholds=replace(manifest.thresholds, values=reachable))
    return replace(classifier, manifest=within)


def fittable(manifest: Manifest) -> Manifest:
    """Return the manifest; raises DataError where the model's labels share one whole (softmax)."""
    if manifest.calibration.method is not Method.PLATT:
        raise DataError(
            f"{manifest.id}: its labels share one whole, so they cannot be fitted one by one; only models "
            "whose labels stand by themselves are fitted to a site"
        )
    return manifest


def cases_of(
    manifest: Manifest,
    analyses: Sequence[Analysis],
    truth: Sequence[Mapping[str, float]],
    patients: Sequence[str],
    origin: Origin,
) -> Cases:
    """Return the cases of a model's answers; calibration is taken off the members' probabilities again.

    Args:
        manifest: of the model that answered.
        analyses: N results, none of them refused.
        truth: for each the labels that are known: 1 or 0.
        patients: for each.
        origin: where the truth comes from.
    """
    labels = fittable(manifest).labels
    shape = len(analyses), manifest.model.members, len(labels)
    logits, known = np.full((shape[0], shape[2]), np.nan), np.full((shape[0], shape[2]), np.nan)
    members = np.full(shape, np.nan)
    slope, intercept = manifest.calibration.slope, manifest.calibration.intercept
    for n, (analysis, said) in enumerate(zip(analyses, truth, strict=True)):
        for each in (*analysis.predictions, *([analysis.abnormal] if analysis.abnormal else [])):
            k = labels.index(each.label)
            logits[n, k] = each.logit
            members[n, :, k] = (log_odds(np.array(each.members)) - intercept[k]) / slope[k]
        for label, value in said.items():
            if label in labels and not np.isnan(logits[n, labels.index(label)]):
                known[n, labels.index(label)] = value
    return Cases(
        model=f"{manifest.id} {manifest.version}",
        network=manifest.files.get(NETWORK, ""),
        labels=labels,
        logits=logits,
        members=members,
        truth=known,
        patients=np.array(list(patients), dtype=np.str_),
        origin=origin,
    )


def log_odds(probabilities: Floats) -> Floats:
    """Return log(p / (1 - p)), kept finite where a probability was rounded to 0 or 1."""
    inside = np.clip(np.asarray(probabilities, dtype=np.float64), _EDGE, 1.0 - _EDGE)
    odds: Floats = np.log(inside) - np.log1p(-inside)
    return odds


def with_abnormal(said: Mapping[str, float]) -> dict[str, float]:
    """Return the labels with `abnormal` where all findings are known.

    From some of them only films with a finding could be told, and none without: a biased sample.
    """
    if ABNORMAL in said or not all(label in said for label in FINDINGS):
        return dict(said)
    return {**said, ABNORMAL: float(any(said[label] == 1 for label in FINDINGS))}
