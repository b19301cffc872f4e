"""What a model fitted to a site says of that: its card, and the same as JSON. Nothing in it names a film."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cxr_core.domain import Urgency
from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.site import LabelFit, SiteFit
from cxr_core.evaluation.site_cases import Aim, Choice, Origin
from cxr_core.evaluation.site_sides import Side
from cxr_core.evaluation.site_verdict import RULE

BIASED = (
    "The truth of these cases is what readers thought of what the model had said, mostly of findings that it "
    "showed. What it missed and nobody looked for is not among them, so sensitivities come out too high and "
    "the cases are no sample of the list: go by them with reserve."
)


@dataclass(frozen=True, slots=True)
class Made:
    """Of what, by whom and when a model was fitted."""

    base: str
    base_sha256: str
    by: str
    at: datetime


def asked(choice: Choice) -> str:
    """Return what was asked for in one line."""
    if choice.aim is Aim.BUDGET:
        what = "the policy's alert budget"
    else:
        what = f"a sensitivity of {choice.sensitivity:.0%}"
    only = f" for {', '.join(map(plain, choice.only))}" if choice.only else ""
    return f"{what}{only}, at {choice.films_a_day:,.0f} films a day"


def rule_of(fit: SiteFit) -> str:
    """Return how the thresholds came to be, for the manifest."""
    renewed = [each.label for each in fit.labels if each.renewed]
    if not renewed:
        return "those of the model that this one was fitted from, carried over to its new calibration"
    how = (
        f"highest mean sensitivity within the budgets of policy {fit.policy}"
        if fit.choice.aim is Aim.BUDGET
        else f"the highest that let {fit.choice.sensitivity:.0%} of the films with the finding through"
    )
    return (
        f"{how}, on {fit.films[0]} local films: {', '.join(renewed)}; the others call the same films as in "
        "the model that this one was fitted from"
    )


def card(fit: SiteFit, made: Made, model_id: str, version: str) -> str:
    """Return the card as Markdown."""
    return "\n".join(_lines(fit, made, model_id, version)) + "\n"


def _lines(fit: SiteFit, made: Made, model_id: str, version: str) -> Iterator[str]:
    yield f"# {model_id} {version}"
    yield ""
    yield (
        f"{made.base} fitted to one site: its calibration and thresholds were set anew by local films. The "
        f"network is the very same (SHA-256 {fit.network[:12]}…), so what the card of {made.base} says of "
        "the network, of what it learned from and of where it fails still holds; it lies beside this one as "
        "`base-card.md`. Not a medical device."
    )
    yield ""
    yield f"Made {made.at:%Y-%m-%d} by {made.by}. Asked for: {asked(fit.choice)}. Truth: {fit.origin}."
    yield ""
    yield f"**Verdict: {fit.verdict.enough}.** {fit.verdict.why}"
    if fit.origin == Origin.OPINIONS.value:
        yield ""
        yield BIASED
    yield ""
    yield "## Cases"
    yield ""
    yield f"{fit.films[0]} films of {fit.patients[0]} patients to fit by,"
    yield f"{fit.films[1]} films of {fit.patients[1]} other patients to judge by; which half a patient is in"
    yield "is told by a hash. What is saved was fitted by the first half alone."
    yield ""
    head = (
        "label",
        "films with / without",
        "patients with it, to fit / held out",
        "calibration",
        "threshold",
        "",
    )
    rows = [
        (
            plain(each.label),
            f"{each.counts.positives} / {each.counts.negatives}",
            f"{each.counts.with_fit} / {each.counts.with_held}",
            each.how.value,
            "new" if each.renewed else "calls the same films",
            each.verdict.enough.value,
        )
        for each in fit.labels
    ]
    yield from _table(head, rows)
    yield ""
    yield "## Before and after, on held-out local patients"
    yield ""
    yield "AUC is the same before and after. PPV and flags are at the cases' prevalence or the one given."
    yield ""
    yield from _table(*comparison(fit))
    yield ""
    yield "## Expected films a day"
    yield ""
    yield from _table(
        ("urgency", "before", "after"),
        [
            (urgency.value, number(fit.tiers_before[urgency]), number(fit.tiers_after[urgency]))
            for urgency in Urgency
        ],
    )
    yield ""
    yield "## Limits"
    yield ""
    yield f"* {RULE}"
    yield "* Fitted to the patients, devices and habits of one place and time; when these change, fit again."
    yield "* The tables under `evaluation/` are those of the model that it was fitted from, on its films,"
    yield "  with probabilities as this one calibrates them: no local film is in this folder."


HEAD = (
    "label",
    "AUC",
    "sensitivity before",
    "after",
    "specificity before",
    "after",
    "PPV before",
    "after",
    "ECE before",
    "after",
    "Brier before",
    "after",
    "films a day before",
    "after",
    "prevalence",
)


def comparison(fit: SiteFit) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Return the heading and a row for each label that the cases have."""
    rows = []
    for each in fit.labels:
        if not each.counts.positives:
            continue
        pairs: list[str] = []
        for name in ("sensitivity", "specificity", "ppv"):
            pairs += [percent(getattr(side, name)) for side in (each.before, each.after)]
        for name in ("ece", "brier"):
            pairs += [number(getattr(side, name), 3) for side in (each.before, each.after)]
        pairs += [number(side.flags) for side in (each.before, each.after)]
        auc = "not enough data" if math.isnan(each.auc.value) else str(each.auc)
        rows.append((plain(each.label), auc, *pairs, f"{each.prevalence:.1%}"))
    return HEAD, rows


def as_json(fit: SiteFit, made: Made) -> dict[str, Any]:
    """Return the same for a script, numbers that are none as null."""
    return {
        "base": {"model": made.base, "manifest": made.base_sha256, "network": fit.network},
        "by": made.by,
        "at": made.at.isoformat(),
        "asked": {
            "aim": fit.choice.aim.value,
            "sensitivity": fit.choice.sensitivity,
            "only": list(fit.choice.only),
            "films_a_day": fit.choice.films_a_day,
            "prevalence": dict(fit.choice.prevalence),
        },
        "truth": fit.origin,
        "policy": fit.policy,
        "films": list(fit.films),
        "patients": list(fit.patients),
        "verdict": {"enough": fit.verdict.enough.value, "why": fit.verdict.why},
        "tiers": {
            urgency.value: [_null(fit.tiers_before[urgency]), _null(fit.tiers_after[urgency])]
            for urgency in Urgency
        },
        "labels": {each.label: _label(each) for each in fit.labels},
    }


def _label(each: LabelFit) -> dict[str, Any]:
    return {
        "positives": each.counts.positives,
        "negatives": each.counts.negatives,
        "patients_with": [each.counts.with_fit, each.counts.with_held],
        "prevalence": _null(each.prevalence),
        "calibration": each.how.value,
        "new_threshold": each.renewed,
        "auc": _three(each.auc),
        "before": _sides(each.before),
        "after": _sides(each.after),
        "enough": each.verdict.enough.value,
        "why": each.verdict.why,
        "more_patients": each.verdict.more,
    }


def _sides(side: Side) -> dict[str, Any]:
    return {
        "threshold": side.threshold,
        "sensitivity": _three(side.sensitivity),
        "specificity": _three(side.specificity),
        "ppv": _three(side.ppv),
        "films_a_day": _null(side.flags),
        "ece": _null(side.ece),
        "brier": _null(side.brier),
    }


def _three(interval: Interval) -> list[float | None]:
    return [_null(each) for each in (interval.value, interval.low, interval.high)]


def _null(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def plain(label: str) -> str:
    """Return a label as people write it."""
    return label.replace("_", " ")


def percent(interval: Interval) -> str:
    """Return `90 % (85 to 94)`, or a dash where it is not known."""
    if math.isnan(interval.value):
        return "–"
    return f"{100 * interval.value:.0f} % ({100 * interval.low:.0f} to {100 * interval.high:.0f})"


def number(value: float, digits: int = 1) -> str:
    """Return the number, or a dash where it is not known."""
    return "–" if math.isnan(value) else f"{value:,.{digits}f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield "| " + " | ".join(head) + " |"
    yield "|" + " --- |" * len(head)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
