"""Card and figures of a model folder, both from the tables under its `evaluation/`."""

from __future__ import annotations

import math
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxr_core.errors import ModelError
from cxr_core.evaluation import keep, localise, outside, report, tables
from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.measure import RESAMPLES, Measured, known_truth, measure, paired_difference, rules_of
from cxr_core.inference import registry
from cxr_core.inference.manifest import MANIFEST, Manifest, Task, read_manifest
from cxr_core.training.card import Content, write_card
from cxr_core.training.recipes import TrainingRecipe, read_recipe
from cxr_core.triage.budget import Report, share_report
from cxr_core.triage.policy import Policy

GAIN = "val_gain"
TRAINING = ("epochs", "minutes")
"""Figures of the manifest that no table holds."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured of a model.

    Attributes:
        measured: by split.
        worklist, naive: by split, for multilabel models: its own, and the naive model's.
        gain: over another model on val, or None.
        outside: how many films are taken for unlike those it has seen, as the card says it.
    """

    measured: dict[str, Measured]
    worklist: dict[str, Report]
    naive: dict[str, Report]
    gain: Interval | None = None
    outside: tuple[str, ...] = ()

    @property
    def evaluation(self) -> dict[str, float]:
        """The manifest's `[evaluation]`: see docs/models.md."""
        found: dict[str, float] = {}
        for split, measured in self.measured.items():
            for name, value in (("auc", measured.auc), ("ap", measured.ap)):
                found |= _limits(f"{split}_{name}", value)
            found[f"{split}_labels"] = float(len(measured.averaged))
            for label, one in measured.each.items():
                if not one.few:
                    found |= {f"{split}_auc_{label}": one.auc.value, f"{split}_ap_{label}": one.ap.value}
            if len(measured.each) == 1:
                found |= _limits(f"{split}_error", next(iter(measured.each.values())).error)
            found |= _limits(f"{split}_top", measured.top)
        if self.gain is not None:
            found |= _limits(GAIN, self.gain)
        return {name: value for name, value in found.items() if not math.isnan(value)}


def card_of(folder: Path, policy: Policy, *, baseline: Path | None = None) -> str:
    """Return the card of a model folder, its figures computed anew from the tables.

    Args:
        folder: of the model.
        policy: what makes urgencies of predictions.
        baseline: another model's val predictions (`file` and labels) to compare with.

    Raises:
        ModelError: the folder holds no tables or no recipe.
    """
    manifest = read_manifest(folder)
    return written_card(manifest, recipe_of(folder), figures_of(folder, manifest, policy, baseline=baseline))


def write_anew(
    folder: Path,
    policy: Policy,
    *,
    recipe: Path | None = None,
    baseline: Path | None = None,
    version: str = "",
) -> None:
    """Write card and figures of a sound model folder anew, and bind its figures to its network.

    Args:
        folder: of the model.
        policy: as for `card_of`.
        recipe: to lay into a folder that holds none.
        baseline: as for `card_of`.
        version: of the model from now on; empty: as before.

    Raises:
        ModelError: the folder is not sound, or the recipe is of another model.
    """
    manifest = registry.verify(folder)
    given = recipe_of(folder) if recipe is None else read_recipe(recipe)
    if given.labels != manifest.labels or len(given.served) != manifest.model.members:
        raise ModelError(
            f"{manifest.id} has {manifest.model.members} members and {len(manifest.labels)} labels, "
            f"the recipe {given.name} has {len(given.served)} and {len(given.labels)}, or others"
        )
    own = manifest.files[registry.NETWORK]
    bound = replace(
        manifest,
        model=replace(manifest.model, version=version or manifest.model.version),
        calibration=replace(manifest.calibration, network=own),
        thresholds=replace(manifest.thresholds, network=own),
        data=replace(manifest.data, known_within=_within(folder, given)),
    )
    with keep.aside(folder) as made:
        if recipe is not None:
            shutil.copyfile(recipe, made / f"{given.name}.toml")
        keep.put(made, folder, rewrite(made, bound, policy, baseline=baseline))


def rewrite(made: Path, manifest: Manifest, policy: Policy, *, baseline: Path | None = None) -> Manifest:
    """Write card and evaluations into a copy of a model's folder; return the manifest with their figures.

    Args:
        made: the copy, see `keep.aside`.
        manifest: of the model from now on.
        policy: as for `card_of`.
        baseline: as for `card_of`.

    Raises:
        ModelError: the folder holds no tables or no recipe.
    """
    figures = figures_of(made, manifest, policy, baseline=baseline)
    kept = {name: value for name, value in manifest.evaluation.items() if name in TRAINING}
    kept |= localise.stated(made)
    (made / "card.md").write_text(written_card(manifest, recipe_of(made), figures), encoding="utf-8")
    report.write_all(made, manifest, policy)
    return replace(manifest, evaluation=figures.evaluation | kept)


def written_card(manifest: Manifest, recipe: TrainingRecipe, figures: Figures) -> str:
    """Return the text of `card.md`."""
    return write_card(
        Content(
            manifest,
            recipe,
            figures.measured,
            figures.worklist,
            figures.naive,
            figures.gain,
            figures.outside,
        )
    )


def recipe_of(folder: Path) -> TrainingRecipe:
    """Return the recipe that lies in a model folder.

    Raises:
        ModelError: there is none, as in folders that were imported.
    """
    recipes = [path for path in folder.glob("*.toml") if path.name != MANIFEST]
    if len(recipes) != 1:
        raise ModelError(f"{folder.name}: holds no training recipe, so it was not made by cxr export")
    return read_recipe(recipes[0])


def figures_of(
    folder: Path,
    manifest: Manifest,
    policy: Policy,
    *,
    baseline: Path | None = None,
    resamples: int = RESAMPLES,
) -> Figures:
    """Return what the tables of a model folder say.

    Raises:
        ModelError: there are none.
    """
    splits = tables.splits_in(folder)
    if not splits:
        raise ModelError(f"{folder.name}: holds no tables under {tables.FOLDER}/")
    found = {split: tables.read(folder, split, manifest.labels) for split in splits}
    rules = rules_of(manifest, found[splits[0]].table)
    measured = {
        split: measure(each.table, each.probabilities, rules, resamples=resamples)
        for split, each in found.items()
    }
    worklist, naive = {}, {}
    if manifest.model.task is Task.MULTILABEL:
        for split, each in found.items():
            truth = known_truth(each.table, manifest.labels, rules.within)
            worklist[split] = share_report(
                policy,
                manifest.labels,
                each.probabilities,
                each.members if manifest.model.members > 1 else None,
                manifest.thresholds.values,
                truth,
            )
            always = np.tile(np.array(rules.usual) > 0.5, (len(truth), 1)).astype(np.float64)
            middle = [0.5] * len(rules.labels)
            naive[split] = share_report(policy, manifest.labels, always, None, middle, truth)
    gain = _stated_gain(manifest)
    if baseline is not None:
        val = found["val"]
        theirs = pd.read_csv(baseline).set_index("file").loc[val.table["file"], list(manifest.labels)]
        gain = paired_difference(
            val.table, val.probabilities, theirs.to_numpy(np.float64), rules, resamples=resamples
        )
    return Figures(measured, worklist, naive, gain, tuple(outside.lines(folder, manifest)))


def _within(folder: Path, recipe: TrainingRecipe) -> dict[str, str]:
    """Return what the recipe says of sources, where the tables name any."""
    split = tables.splits_in(folder)[0]
    sources = set(tables.read(folder, split, recipe.labels).table["source"])
    return {label: source for label, source in recipe.films.known_within.items() if source in sources}


def _stated_gain(manifest: Manifest) -> Interval | None:
    """Return the gain as it was measured when the other model's answers were at hand."""
    held = [manifest.evaluation.get(f"{GAIN}{end}") for end in ("", "_low", "_high")]
    value, low, high = held
    return None if value is None or low is None or high is None else Interval(value, low, high)


def _limits(name: str, value: Interval) -> dict[str, float]:
    return {name: value.value, f"{name}_low": value.low, f"{name}_high": value.high}
