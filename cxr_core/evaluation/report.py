"""A split of a model measured once, kept beside its tables as long as they are the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from cxr_core.domain import ABNORMAL
from cxr_core.evaluation import metrics, tables
from cxr_core.evaluation.bootstrap import Areas, Floats, areas, drawn
from cxr_core.evaluation.doubt import doubt_of
from cxr_core.evaluation.measure import (
    NOT_AVERAGED,
    RESAMPLES,
    averaged,
    is_enough,
    mean_of,
    naive_error,
    top_of,
    with_hernia,
)
from cxr_core.evaluation.operating import Rates, at_points
from cxr_core.evaluation.record import FEW, NO_THRESHOLD, Average, Evaluation, Finding, Worklist, said
from cxr_core.evaluation.scored import Scored, reports, scored_of
from cxr_core.inference import registry
from cxr_core.inference.manifest import Manifest
from cxr_core.triage.budget import FEW_POSITIVES
from cxr_core.triage.policy import Policy

Progress = Callable[[float], object]
"""Told the share that is done, in [0, 1]."""

BOUND = ("labels", "predictions", "members")
CURVE_POINTS = 60


def evaluate(
    scored: Scored,
    *,
    resamples: int = RESAMPLES,
    policy: Policy | None = None,
    on_progress: Progress | None = None,
) -> Evaluation:
    """Return every figure of a split; the means and areas are those of the card.

    Args:
        scored: the films.
        resamples: of the bootstrap by patient.
        policy: for what a worklist would see; None leaves that out.
        on_progress: told how far it is.
    """
    tell = on_progress or float
    again = drawn(scored.patients, resamples=resamples)
    tell(0.05)
    found = areas(scored.probabilities, scored.truth, again)
    tell(0.45)
    rates = at_points(scored.probabilities, scored.truth, scored.rules.thresholds, again.index)
    tell(0.5)
    each = _findings(scored, found, rates)
    micro = _micro(scored, resamples)
    tell(0.9)
    worklist = None if policy is None else reports(scored, policy)
    names = averaged(scored.rules, scored.truth)
    hernia = with_hernia(scored.rules, scored.truth)
    evaluation = Evaluation(
        model=scored.model,
        data=scored.data,
        split=scored.split,
        n=len(scored.table),
        patients=len(again.counts),
        resamples=resamples,
        findings={label: one for label, one in each.items() if label != ABNORMAL},
        abnormal=each.get(ABNORMAL),
        micro=micro,
        macro=_macro(scored, found, names),
        macro_with_hernia=_macro(scored, found, hernia) if set(NOT_AVERAGED) <= set(hernia) else None,
        top=said(top_of(scored.truth, scored.probabilities, scored.rules, again)[0]),
        worklist=None
        if policy is None or worklist is None
        else Worklist(policy.version, worklist, doubt_of(scored, policy)),
        risk_coverage=_risk_coverage(scored),
    )
    tell(1.0)
    return evaluation


def path_of(folder: Path, split: str) -> Path:
    """Return where a model folder keeps the evaluation of a split."""
    return folder / tables.FOLDER / f"evaluation-{split}.json"


def stored(folder: Path, split: str, scored: Scored) -> Evaluation | None:
    """Return the evaluation that lies in a model folder; None if there is none of these very tables."""
    try:
        record = json.loads(path_of(folder, split).read_text(encoding="utf-8"))
        found = Evaluation.from_json(record)
        same = found.model == scored.model and found.tables == hashes_of(folder, split)
        kept = {label: found.of(label).threshold for label in scored.labels}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return found if same and all(_alike(at, kept[label]) for label, at in _points(scored).items()) else None


def write_all(
    folder: Path,
    manifest: Manifest,
    policy: Policy,
    *,
    resamples: int = RESAMPLES,
    on_progress: Progress | None = None,
) -> dict[str, Evaluation]:
    """Write the evaluation of every split that has tables; the manifest must then be sealed anew.

    Raises:
        ModelError: the folder holds no tables, or they do not fit the manifest.
    """
    tell, found = on_progress or float, {}
    splits = tables.splits_in(folder)
    for number, split in enumerate(splits):
        usual = tables.read_labels(folder, splits[0])
        answers = tables.read(folder, split, manifest.labels)
        scored = scored_of(manifest, manifest.data.name, split, answers, usual)
        done = evaluate(
            scored,
            resamples=resamples,
            policy=policy,
            on_progress=_part(tell, number, len(splits)),
        )
        found[split] = replace(done, tables=hashes_of(folder, split))
        text = json.dumps(found[split].to_json(), indent=1, allow_nan=False, ensure_ascii=False)
        path_of(folder, split).write_text(text + "\n", encoding="utf-8")
    return found


def hashes_of(folder: Path, split: str) -> dict[str, str]:
    """Return the SHA-256 of the tables that an evaluation depends on; `usual`: what the naive model knows."""
    first = next(iter(tables.splits_in(folder)), split)
    names = {kind: f"{kind}-{split}.csv" for kind in BOUND} | {"usual": f"labels-{first}.csv"}
    return {kind: registry.sha256_of(folder / tables.FOLDER / name) for kind, name in names.items()}


def _points(scored: Scored) -> dict[str, float]:
    return dict(zip(scored.labels, scored.rules.thresholds, strict=True))


def _part(tell: Progress, number: int, of: int) -> Progress:
    """Return what tells the progress of one of several parts as that of the whole."""
    return lambda share: tell((number + share) / of)


def _alike(threshold: float, kept: float | None) -> bool:
    return threshold > 1 if kept is None else abs(threshold - kept) < 1e-8


def _findings(scored: Scored, found: Areas, rates: Sequence[Rates]) -> dict[str, Finding]:
    flips = metrics.flip_rate(scored.members, scored.rules.thresholds)
    spread = metrics.seed_spread(scored.members)
    each = {}
    for k, (label, at) in enumerate(_points(scored).items()):
        scores, truth = scored.column(label)
        n, n_pos = len(truth), int((truth == 1).sum())
        reached = at <= 1
        if not is_enough(scored.truth[:, k], scored.patients):
            each[label] = Finding(n, n_pos, at if reached else None, reason=FEW)
            continue
        each[label] = Finding(
            n=n,
            n_pos=n_pos,
            threshold=at if reached else None,
            auc=said(found.auc[k]),
            ap=said(found.ap[k]),
            sensitivity=said(rates[k].sensitivity),
            specificity=said(rates[k].specificity),
            ppv=said(rates[k].ppv),
            npv=said(rates[k].npv),
            error=said(rates[k].error),
            f1=said(rates[k].f1),
            naive_error=naive_error(n, n_pos, scored.rules.usual[k]),
            ece=metrics.ece(scores, truth),
            brier=metrics.brier(scores, truth),
            seed_spread=_number(spread[k]),
            flip_rate=_number(flips[k]),
            reason="" if reached else NO_THRESHOLD,
        )
    return each


def _micro(scored: Scored, resamples: int) -> Average:
    """Return the areas over the cells of all findings; `abnormal` counts only where it is the only label."""
    columns = [k for k, label in enumerate(scored.labels) if label != ABNORMAL] or [0]
    scores, truth = scored.probabilities[:, columns], scored.truth[:, columns]
    known = ~np.isnan(truth)
    owners = np.repeat(scored.patients[:, None], len(columns), axis=1)[known]
    flat = areas(scores[known][:, None], truth[known][:, None], drawn(owners, resamples=resamples))
    names = tuple(scored.labels[k] for k in columns)
    return Average(said(flat.auc[0]), said(flat.ap[0]), names)


def _macro(scored: Scored, found: Areas, names: Sequence[str]) -> Average:
    picked = [scored.labels.index(label) for label in names]
    auc, ap = mean_of(found.auc, found.auc_draws, picked), mean_of(found.ap, found.ap_draws, picked)
    return Average(said(auc), said(ap), tuple(names))


def _risk_coverage(scored: Scored) -> tuple[tuple[float, float, float], ...]:
    """Return how many of the films without a positive finding may be cleared, and how many are diseased then.

    Doubt is how near a film comes to a threshold: the largest ratio of probability to threshold over all
    labels. From 1 it is `abnormal` that is reached, and the film is "unable to classify". Empty where
    fewer than `FEW_POSITIVES` of them are diseased.
    """
    points = np.array(scored.rules.thresholds)
    ratio: Floats = np.where(points > 1, 0.0, scored.probabilities / points)
    findings = [k for k, label in enumerate(scored.labels) if label != ABNORMAL]
    quiet = ~(ratio[:, findings] >= 1).any(axis=1)
    diseased = scored.diseased[quiet]
    if np.nansum(diseased) < FEW_POSITIVES:
        return ()
    curve = metrics.risk_coverage(ratio[quiet].max(axis=1), diseased).thinned(CURVE_POINTS)
    largest = float(ratio[quiet].max())
    return tuple(
        (float(x), float(y), min(float(at), largest))
        for x, y, at in zip(curve.x, curve.y, curve.thresholds, strict=True)
    )


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
