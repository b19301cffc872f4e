"""How the card, the annotated picture and the PDF say the same things in the same words."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from cxr_core.domain import ABNORMAL, Analysis, Prediction, State, Study, Urgency, View
from cxr_core.imaging.correct import in_words
from cxr_core.imaging.refusals import READ
from cxr_core.triage.policy import Policy

_UID = re.compile(r"[0-9.]{1,64}")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True)
class Mark:
    """A tier's shape and colour (Okabe–Ito); the word is the tier's own name."""

    shape: str
    colour: str


MARKS: dict[Urgency, Mark] = {
    Urgency.CRITICAL: Mark("▲", "#D55E00"),
    Urgency.URGENT: Mark("◆", "#E69F00"),
    Urgency.REVIEW: Mark("?", "#56B4E9"),
    Urgency.SIGNIFICANT: Mark("●", "#F0E442"),
    Urgency.ROUTINE: Mark("○", "#93A1AD"),
}


def name_of(label: str, policy: Policy) -> str:
    """Return a label as the policy writes it: `Pleural thickening`."""
    rule = policy.rule(label)
    return rule.name if rule else label.replace("_", " ").capitalize()


def wait(minutes: int) -> str:
    """Return a maximum wait in its largest whole unit: 15 min, 2 h, 90 min."""
    return f"{minutes // 60} h" if minutes % 60 == 0 else f"{minutes} min"


def banner(urgency: Urgency, policy: Policy) -> str:
    """Return the banner's first line: `URGENT · read within 2 h`."""
    return f"{urgency.value.upper()} · read within {wait(policy.tiers[urgency].max_wait_minutes)}"


@dataclass(frozen=True, slots=True)
class Whole:
    """What stands beside one film's answer: its study.

    Attributes:
        film, films: number of the film, of how many.
        urgency: of the study.
        apart: the study is not as urgent as the film, or a person said how urgent it is.
        said: why the study is so urgent, who set it, that the film's answer is an older one.
    """

    film: int
    films: int
    urgency: Urgency
    apart: bool
    said: str


def alone(whole: Whole | None) -> str:
    """Return what stands before a film's own urgency where its study says something else."""
    return "This film alone: " if whole is not None and whole.apart else ""


def whole_lines(whole: Whole | None, policy: Policy) -> tuple[str, ...]:
    """Return what a file of one film says of its study, in up to two lines."""
    if whole is None:
        return ()
    number = f"Film {whole.film} of {whole.films}. " if whole.films > 1 else ""
    due = f"{MARKS[whole.urgency].shape} {banner(whole.urgency, policy)}"
    return tuple(line for line in (f"{number}The whole study: {due}", whole.said) if line)


ONLY_WARNED = "Unable to classify – a person must look"
"""Headline of a film in which the model found nothing, and that only the gate leaves to a person."""


def headline(analysis: Analysis, policy: Policy) -> str:
    """Return the state's headline; that anomalies were found only where an answer of the model says so."""
    state = analysis.triage.state
    if state is State.UNABLE_TO_CLASSIFY and not _model_doubts(analysis):
        return ONLY_WARNED
    return policy.states[state].headline


def _model_doubts(analysis: Analysis) -> bool:
    """Return whether a reason is neither the gate's nor that something was not assessed."""
    gate = analysis.gate
    said = {notice.message for notice in (*gate.warnings, *gate.notes)}
    others = [reason for reason in analysis.triage.reasons if reason not in said]
    return len(others) > bool(analysis.triage.not_assessed)


def reasons(analysis: Analysis) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return why the card says what it says: what the gate warned of, and all else."""
    warned = {notice.message for notice in analysis.gate.warnings}
    said = analysis.triage.reasons
    return tuple(each for each in said if each in warned), tuple(each for each in said if each not in warned)


def advice(analysis: Analysis) -> tuple[str, ...]:
    """Return what to do, a line each; who reads a refused film, and when, is said once, by the policy."""
    lines = analysis.triage.action.splitlines()
    return tuple(line for place, line in enumerate(lines) if line != READ or place == 0)


def beneath(analysis: Analysis, policy: Policy) -> str:
    """Return what stands beneath the state's headline: the policy's words, or else the reasons."""
    words = policy.states[analysis.triage.state].beneath
    warned, others = reasons(analysis)
    return words or " · ".join((*warned, *others))


def patient(study: Study) -> str:
    """Return the patient's name, or that none is given."""
    return study.patient_name.strip() or "No name given"


def when(study: Study) -> str:
    """Return the time of exposure on this machine's clock: `21 Nov 2026 02:41`, whatever its locale."""
    taken = study.acquired
    if taken is None:
        return "time unknown"
    return when_short(local(taken), with_year=True)


def local(moment: datetime) -> datetime:
    """Return a time on this machine's clock; one without zone is the modality's own and stays as it is."""
    try:
        return moment.astimezone() if moment.tzinfo else moment
    except OverflowError:  # the last hours of the year 9999
        return moment


def when_short(taken: datetime, *, with_year: bool) -> str:
    """Return a time for a narrow column: `21 Nov 02:41`, or `21 Nov 2025 02:41`."""
    year = f" {taken.year}" if with_year else ""
    return f"{taken.day} {_MONTHS[taken.month - 1]}{year} {taken:%H:%M}"


def age(years: float) -> str:
    """Return an age in whole years, below two in months."""
    return f"{int(years)}" if years >= 2 else f"{round(years * 12)} months"


def who(study: Study) -> str:
    """Return id, sex, age, view and time in one line; what is unknown is said or left out."""
    sex = study.sex.value if study.sex.value != "unknown" else ""
    person = " ".join(
        part for part in (sex, age(study.age_years) if study.age_years is not None else "") if part
    )
    view = "view unknown" if study.view is View.UNKNOWN else study.view.value
    parts = (
        f"ID {study.patient_id}" if study.patient_id.strip() else "no patient ID",
        person or "age and sex unknown",
        f"{view} supine" if study.supine else view,
        when(study),
    )
    return " · ".join(parts)


def study_id(analysis: Analysis) -> str:
    """Return the name of a study's files: its UID where that is one, else the start of the film's hash."""
    uid = analysis.study.StudyInstanceUID
    return uid if _UID.fullmatch(uid) else analysis.sha256[:12]


def ordered(analysis: Analysis) -> tuple[Prediction, ...]:
    """Return positive findings in clinical order, then the others, nearest to their threshold first."""
    by_label = {prediction.label: prediction for prediction in analysis.predictions}
    first = [by_label[label] for label in analysis.triage.findings if label in by_label]
    rest = [prediction for prediction in analysis.predictions if prediction not in first]
    rest.sort(key=lambda prediction: prediction.probability / max(prediction.threshold, 1e-6), reverse=True)
    return (*first, *rest)


def figures(prediction: Prediction) -> tuple[str, str]:
    """Return probability and threshold with two decimals, or as many more (to 4) as tell them apart."""
    for digits in (2, 3, 4):
        shown = f"{prediction.probability:.{digits}f}", f"{prediction.threshold:.{digits}f}"
        if shown[0] != shown[1] and float(shown[1]) > 0.0:
            break
    return shown


def along(probability: float) -> float:
    """Return where a probability stands on a bar, 0 to 1: its square root.

    Thresholds of rare findings lie between 0.01 and 0.3; on an even scale they could not be told apart.
    """
    return math.sqrt(min(1.0, max(0.0, probability)))


def spread_ends(prediction: Prediction) -> tuple[float, float]:
    """Return probability minus and plus the ensemble's standard deviation, within [0, 1]."""
    low, high = prediction.probability - prediction.spread, prediction.probability + prediction.spread
    return max(0.0, low), min(1.0, high)


SCALE = "square-root scale"


FEWEST_BOXES = 10
"""Below this many boxes a share is chance; as `evaluation.localise` says of its rates."""


def localisation(evaluation: Mapping[str, float], label: str) -> str:
    """Return how often this finding's heatmap peaked inside the radiologist's box, if that was measured.

    Args:
        evaluation: the manifest's table; docs/models.md names the figures that begin with `localisation_`.
        label: a finding.
    """
    start = f"localisation_{label}_"
    said = {name.removeprefix(start): value for name, value in evaluation.items() if name.startswith(start)}
    films, inside = int(said.get("films", 0)), int(said.get("inside", 0))
    return f"peak fell inside the radiologist's box: {_share(films, inside, said)}"


def _share(films: int, inside: int, said: Mapping[str, float]) -> str:
    if films < FEWEST_BOXES:
        return f"not measured ({films} films with a box, {FEWEST_BOXES} needed)" if films else "not measured"
    which = "films, some of train" if said.get("learned") else "test films"
    text = f"{inside} of {films} {which}"
    if {"low", "high", "chance"} <= set(said):
        text += (
            f" ({said['low']:.0%} to {said['high']:.0%}; {said['chance']:.0%} for a point at random"
            f"{_swapped(said)})"
        )
    return text


def _swapped(said: Mapping[str, float]) -> str:
    return f", {said['swapped']:.0%} for other films' peaks" if "swapped" in said else ""


def not_assessed(analysis: Analysis, policy: Policy) -> str:
    """Return the sentence that lists what the model did not assess, or empty text."""
    if analysis.triage.state is State.REFUSED:
        return "No finding was assessed."
    names = [name_of(label, policy) if label != ABNORMAL else label for label in analysis.triage.not_assessed]
    return f"Not assessed: {', '.join(names)}." if names else ""


def not_looked_at(analysis: Analysis) -> str:
    """Return what stands beneath a film that was refused."""
    how = in_words(analysis.correction)
    return (
        f"The film {f'as it was corrected ({how})' if how else 'as it came'}; the model did not look at it."
    )


def corrected(analysis: Analysis) -> str:
    """Return that a person had the film hung anew, or empty text."""
    how = in_words(analysis.correction)
    return f"Corrected: {how}." if how else ""


def made_by(analysis: Analysis) -> str:
    """Return the versions that made the result."""
    versions = analysis.versions
    gate = f" · gate {versions.gate}" if versions.gate else ""
    return f"model {versions.model} · policy {versions.policy}{gate} · code {versions.code}"
