"""The tables of the model card, as Markdown."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import chain

from cxr_core.domain import ABNORMAL, State, Urgency
from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.measure import Group, Measured, One
from cxr_core.evaluation.metrics import NAIVE_AUC
from cxr_core.triage.budget import FEW_POSITIVES, Rate, Report


def areas(measured: Measured) -> str:
    """Return AUC and average precision of each label."""
    head = ("finding", "films with it", "AUC", "average precision", "naive AP")
    rows = [
        (name(label), f"{one.positives} of {one.films}", *_areas(one), _naive_ap(one))
        for label, one in measured.each.items()
    ]
    return table(head, rows)


def at_thresholds(measured: Measured) -> str:
    """Return what each threshold does: found, cleared, right among the called, error beside the naive one."""
    head = ("at the threshold", "found of those with it", "passed of those without", "right of those called")
    rows = []
    for label, one in measured.each.items():
        if math.isnan(one.error.value):
            rows.append((name(label), "no threshold: not assessed", "", "", "", ""))
            continue
        found = rate(one.sensitivity) if one.positives >= FEW_POSITIVES else few(one.sensitivity)
        if one.positives in (0, one.films):  # one class alone: nothing can be passed or wrongly called
            rows.append((name(label), found, "not enough data", "", "", ""))
            continue
        cells = (found, rate(one.specificity), rate(one.precision), percent(one.error))
        rows.append((name(label), *cells, f"{one.naive_error:.1%}"))
    return table((*head, "error", "naive error"), rows)


def means(measured: Measured) -> str:
    """Return the sentence of the mean figures, and of the largest class where there are classes."""
    text = ""
    if len(measured.each) > 1:
        count = len(measured.averaged)
        left = [name(label) for label in measured.each if label not in measured.averaged]
        without = f" (without {', '.join(left)})" if left else ""
        text = (
            f"**Mean of {count}{without}: AUC {measured.auc}, average precision {measured.ap}.** The naive "
            f"model has {NAIVE_AUC:.3f} and {measured.naive_ap:.3f}.\n"
        )
    if not math.isnan(measured.top.value):
        text += (
            f"\nThe largest probability is that of the true class on {percent(measured.top)} of films; the "
            f"naive model, always the class most frequent on val, is right on {measured.top_naive:.1%}.\n"
        )
    return text


def groups(measured: Measured) -> str:
    """Return the AUC by sex and by decade; errors too where there is one label."""
    if len(measured.each) == 1:
        (label,) = measured.each
        with_it = f"with {name(label)}"
        head = ("films of", with_it, "AUC", "average precision", "naive AP", "error", "naive error")
        rows = []
        for group in measured.groups:
            one = group.each[label]
            first = (group.name, f"{one.positives} of {one.films}", *_areas(one), _naive_ap(one))
            rows.append((*first, percent(one.error), f"{one.naive_error:.1%}"))
        return table(head, rows)
    parts = []
    for kind in ("sex", "age"):
        those = [group for group in measured.groups if group.kind == kind]
        shown = [group for group in those if any(not one.few for one in group.each.values())]
        if shown:
            parts.append(_by(shown, tuple(measured.each)))
        if scarce := [f"{group.name} ({group.films} films)" for group in those if group not in shown]:
            parts.append(f"Not enough data for any finding: {', '.join(scarce)}.\n")
    return "\n".join(parts)


def worklist(reports: Mapping[str, Report], naive: Mapping[str, Report]) -> str:
    """Return shares per tier and state, sensitivities and misses, the naive model's beside each split's."""
    each = [report for split, ours in reports.items() for report in (ours, naive[split])]
    heads = ((f"{split}, {ours.films} films", f"{split}, naive model") for split, ours in reports.items())
    head = ("", *chain.from_iterable(heads))
    rows = [(f"urgency {tier}", *(rate(report.urgency[tier]) for report in each)) for tier in Urgency]
    quiet = State.NO_DISEASE_DETECTED
    rows += [
        ('"No disease detected"', *(rate(report.state[quiet]) for report in each)),
        ("unable to classify", *(rate(report.unable) for report in each)),
        ("films with a critical finding that became critical", *(rate(r.critical) for r in each)),
        ('**diseased films called "No disease detected"**', *(rate(report.missed) for report in each)),
    ]
    return table(head, rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def name(label: str) -> str:
    """Return a label for people."""
    return f"*{label}*" if label == ABNORMAL else label.replace("_", " ")


def rate(value: Rate) -> str:
    """Return a share with its counts."""
    return f"{value.share:.1%} ({value.count} of {value.of})" if value.of else "none"


def few(value: Rate) -> str:
    """Return the counts of a share that too few films stand behind."""
    return f"not enough data, {value.count} of {value.of}"


def percent(value: Interval) -> str:
    """Return a share with its limits."""
    if math.isnan(value.value):
        return "none"
    return f"{value.value:.1%} ({value.low:.1%} to {value.high:.1%})"


def _areas(one: One) -> tuple[str, str]:
    if one.few or math.isnan(one.auc.value):
        return "not enough data", "not enough data"
    return str(one.auc), str(one.ap)


def _naive_ap(one: One) -> str:
    return f"{one.naive_ap:.3f}" if one.films else "none"


def _by(shown: Sequence[Group], labels: Sequence[str]) -> str:
    """Return a row for each label with enough films in any of the groups, and name the others."""
    head = ("AUC", *(f"{group.name}, {group.films} films" for group in shown))
    rows, scarce = [], []
    for label in labels:
        ones = [group.each[label] for group in shown]
        if all(one.few for one in ones):
            scarce.append(name(label))
            continue
        cells = [
            f"not enough data, n+ {one.positives}" if one.few else f"{one.auc}, n+ {one.positives}"
            for one in ones
        ]
        rows.append((name(label), *cells))
    rows.append(("naive model", *[f"{NAIVE_AUC:.3f}"] * len(shown)))
    text = table(head, rows)
    return f"{text}\nNot enough data in any of these: {', '.join(scarce)}.\n" if scarce else text
