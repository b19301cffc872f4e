"""The models side by side, and what another one would change, in words. Pure; every text is escaped."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING

import pandas as pd

from cxr_core.domain import ABNORMAL, FINDINGS
from cxr_core.evaluation.metrics import NAIVE_AUC
from cxr_core.inference.manifest import Manifest
from cxr_core.triage.policy import Policy
from cxr_core.ui.moments import moment
from cxr_core.ui.operations_lights import size
from cxr_core.worklist.model_folders import KINDS, SPLITS, Figure, Folder
from cxr_core.worklist.models import Shelf

if TYPE_CHECKING:
    from cxr_core.evaluation.record import Evaluation

NONE = '<span class="muted">–</span>'
NAMED = 3
"""Labels that are named in the table; of more there is only the number."""

NaiveAp = Callable[[Folder, str], float | None]
"""Returns the naive model's mean average precision on a model's split; None where nobody knows it."""

TASKS = {"binary": "one label", "multilabel": "several labels", "multiclass": "one of several"}


def table_html(shelf: Shelf, naive: NaiveAp) -> str:
    """Return a row a model: the one in force first, those that must not be used last."""
    order = sorted(
        shelf.folders,
        key=lambda each: (not shelf.answers(each), bool(each.fault), bool(each.elsewhere), each.id),
    )
    heads = "".join(f'<th colspan="2" class="group">{escape(_SPLITS[split])}</th>' for split in SPLITS)
    kinds = "".join("<th>AUC</th><th>AP</th>" for _ in SPLITS)
    rows = "".join(_row(shelf, each, naive) for each in order)
    return (
        '<div class="panel mod-models"><table class="ops-table"><thead>'
        '<tr><th rowspan="2">model</th><th rowspan="2" class="text">says</th>'
        f'<th rowspan="2" class="text">learned from</th><th rowspan="2">training</th>{heads}'
        f'<th rowspan="2">size</th></tr><tr>{kinds}</tr></thead><tbody>{rows}</tbody></table>'
        '<p class="muted">Mean over its labels, with 95 % interval by patient. Figures of models with other '
        "labels, or measured on other films, do not compare. Naive: the model that says of every film what "
        "most films are; its AP is the share of films with a label, in the mean over the same labels."
        "</p></div>"
    )


_SPLITS = {"val": "held back (val)", "test": "official test"}


def naive_ap(figure: Figure | None, evaluation: Evaluation | None) -> float | None:
    """Return the share of films with a finding, the mean over the findings that a mean precision is of.

    That is the average precision of a model that says the same of every film. None where there is no figure,
    or the evaluation is another than it comes from: then nobody knows which findings it is of.
    """
    if figure is None or evaluation is None or evaluation.macro.ap is None:
        return None
    if abs(evaluation.macro.ap.value - figure.value) > 1e-6:
        return None
    return evaluation.naive_macro_ap(evaluation.macro)


def _row(shelf: Shelf, folder: Folder, naive: NaiveAp) -> str:
    state = ""
    if shelf.answers(folder):
        state = '<span class="mod-force">● in force</span>'
    if folder.fault:
        state += '<span class="act">✕ not sound</span>'
    elif folder.elsewhere:
        state += '<span class="muted">○ figures only, weights not in this copy</span>'
    manifest = folder.manifest
    version = f" <small>{escape(manifest.version)}</small>" if manifest else ""
    title = escape(manifest.model.summary if manifest else folder.fault, quote=True)
    name = f'<td title="{title}"><b>{escape(folder.id)}</b>{version}<br>{state}</td>'
    if folder.fault:
        why = f'<td class="text why" colspan="7">{escape(folder.fault)}</td>'
        return f'<tr class="unsound">{name}{why}{_end(folder)}'
    cells = [_says(manifest), _data(manifest), _training(folder)]
    for split in SPLITS:
        beside = {"auc": NAIVE_AUC, "ap": naive(folder, split)}
        cells += [_figure(folder.figure(split, kind), beside[kind]) for kind in KINDS]
    classes = ("text", "text data", "", "", "", "", "")
    tds = "".join(f'<td class="{css}">{cell}</td>' for css, cell in zip(classes, cells, strict=True))
    row = "force" if shelf.answers(folder) else ""
    return f'<tr class="{row}">{name}{tds}{_end(folder)}'


def _end(folder: Folder) -> str:
    if folder.elsewhere:
        return f"<td>{NONE}</td></tr>"
    megabytes = "under 1 MB" if folder.size_bytes < 1e6 else size(folder.size_bytes)
    return f"<td>{megabytes}</td></tr>"


def _says(manifest: Manifest | None) -> str:
    if manifest is None:
        return NONE
    labels, task = manifest.labels, str(manifest.model.task)
    named = ", ".join(label.replace("_", " ") for label in labels)
    shown = named if len(labels) <= NAMED else f"{len(labels)} labels"
    members = f" · {manifest.model.members} networks" if manifest.model.members > 1 else ""
    return (
        f'<span title="{escape(named, quote=True)}">{escape(shown)}</span><br>'
        f"<small>{escape(TASKS.get(task, task))}{members}</small>"
    )


def _data(manifest: Manifest | None) -> str:
    if manifest is None:
        return NONE
    train = manifest.data.split.get("train")
    films = f"{train.films:,} films of {train.patients:,} patients" if train else "not said"
    name = escape(manifest.data.name)
    return f'<span title="{escape(manifest.data.name, quote=True)}">{name}</span><br><small>{films}</small>'


def _training(folder: Folder) -> str:
    if not folder.epochs:
        return NONE
    minutes = "" if folder.minutes is None else f"<br><small>{_minutes(folder.minutes)}</small>"
    return f"{folder.epochs} epoch{'s' if folder.epochs > 1 else ''}{minutes}"


def _minutes(minutes: float) -> str:
    if minutes < 1:
        return "under 1 min"
    return f"{minutes:.0f} min" if minutes < 120 else f"{minutes / 60:.1f} h"


def _figure(figure: Figure | None, naive: float | None) -> str:
    if figure is None:
        return NONE
    between = f"<br><small>{between_words(figure)}</small>" if figure.low is not None else ""
    beside = f"<br><small>naive {naive:.3f}</small>" if naive is not None else ""
    return f"{figure.value:.3f}{between}{beside}"


def between_words(figure: Figure) -> str:
    """Return the interval: `0.733–0.795`; empty where there is none."""
    if figure.low is None or figure.high is None:
        return ""
    return f"{figure.low:.3f}–{figure.high:.3f}"


def in_force_html(shelf: Shelf, now: datetime) -> str:
    """Return which model answers, since when, by whom and why."""
    last = shelf.changes[0] if shelf.changes else None
    if last is None:
        since = "the one that the settings name; nobody has activated another"
    else:
        since = f"in force since {moment(last.at, now)}, by {last.actor}"
    note = f'<p class="muted">{escape(last.note)}</p>' if last and last.note else ""
    answering = shelf.answering
    summary = f"<p>{escape(answering.manifest.model.summary)}</p>" if answering and answering.manifest else ""
    return (
        f'<div class="panel"><h3>IN FORCE</h3><p><b>{escape(shelf.in_force.model)}</b> · {escape(since)}</p>'
        f"{summary}{note}</div>"
    )


def facts_html(folder: Folder) -> str:
    """Return what the manifest says of data and licence, on one line each."""
    if folder.manifest is None:
        return ""
    model, data = folder.manifest.model, folder.manifest.data
    recipe = folder.manifest.recipe
    seen = f"sees films at {recipe.film_px} px, brought to {recipe.network_px} px"
    split = (f"{name} {its.films:,} films of {its.patients:,} patients" for name, its in data.split.items())
    facts = (
        ("Licence", f"{model.licence}; made {model.created:%d %b %Y}"),
        ("Network", f"{model.architecture}; {seen}"),
        ("Data", f"{data.attribution} ({data.licence})"),
        ("Split", "; ".join(split)),
        ("Thresholds", folder.manifest.thresholds.rule),
    )
    rows = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in facts)
    return f'<dl class="mod-facts">{rows}</dl>'


def changes_table(shelf: Shelf, now: datetime) -> pd.DataFrame:
    """Return what was in force when, the newest first, in plain columns."""
    rows = [(moment(each.at, now), each.model, each.actor, each.note) for each in shelf.changes]
    return pd.DataFrame(rows, columns=["Since", "Model", "By", "Why"])


def assessed(manifest: Manifest) -> frozenset[str]:
    """Return the labels that a model can find: those whose threshold can be reached."""
    values = zip(manifest.labels, manifest.thresholds.values, strict=True)
    return frozenset(label for label, threshold in values if threshold <= 1)


def would_change(before: Manifest | None, after: Manifest, policy: Policy) -> tuple[str, ...]:
    """Return in sentences what another model means for who reads its answers."""
    sentences = []
    ours, its = assessed(before) if before else frozenset[str](), assessed(after)
    if before is not None and (lost := ours - its):
        sentences.append(f"No longer assessed: {_listed(lost)}.")
    if before is not None and (new := its - ours):
        sentences.append(f"Newly assessed: {_listed(new)}.")
    missing = frozenset((*FINDINGS, ABNORMAL)) - its
    if missing:
        sentences.append(
            f"It does not assess {len(missing)} of {len(FINDINGS) + 1} labels, so no film of it reads "
            "“No disease detected”: where it finds nothing, a person must look."
        )
    if before is not None and before.recipe.film_px != after.recipe.film_px:
        sentences.append(f"It sees films at {after.recipe.film_px} px instead of {before.recipe.film_px} px.")
    chosen = after.thresholds.budget_policy
    if chosen not in ("", "none", policy.version):
        sentences.append(
            f"Its thresholds keep the alert budgets of policy {chosen}; {policy.version} is in force."
        )
    return tuple(sentences)


def _listed(labels: frozenset[str]) -> str:
    return ", ".join(label.replace("_", " ") for label in (*FINDINGS, ABNORMAL) if label in labels)
