"""From a run folder to a model folder: score, calibrate, set thresholds, export, measure, describe."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from cxr_core.data.index import Index, Problem
from cxr_core.data.read_nih import ABOUT as NIH
from cxr_core.data.readers import read
from cxr_core.data.selection import choose
from cxr_core.errors import ModelError, RecipeError
from cxr_core.evaluation import report, tables
from cxr_core.evaluation.calibrate import (
    NIH_PREVALENCE,
    Points,
    between,
    choose_points,
    fit_platt,
    fit_softmax,
)
from cxr_core.evaluation.measure import known_truth
from cxr_core.inference import manifest as m
from cxr_core.inference import registry
from cxr_core.inference.calibration import Calibration, Method
from cxr_core.inference.runtime import open_session, self_test_film
from cxr_core.training import served
from cxr_core.training.describe import figures_of, recipe_of, written_card
from cxr_core.training.members import load_members
from cxr_core.training.networks import Classifier
from cxr_core.training.prepare import learned_from, with_starts
from cxr_core.training.progress import read_facts
from cxr_core.training.recipes import COPY, TrainingRecipe, read_recipe
from cxr_core.training.scoring import (
    Scored,
    held_out,
    make_all_blind,
    score,
    score_held_out,
    telling,
)
from cxr_core.triage.budget import choose_thresholds
from cxr_core.triage.policy import Policy

Floats = NDArray[np.float64]
FIRST = "1.0.0"
"""Version of a model that has none before it."""
COMPARED = 16
"""Films on which torch and ONNX Runtime must agree, beside the self-test's pattern."""


@dataclass(frozen=True, slots=True)
class Job:
    """What is asked for.

    Attributes:
        run: folder that training left.
        data: of the films.
        models: folder of model folders.
        cache: folder of decoded films.
        policy: whose alert budget the thresholds of a multilabel model spend.
        version: of the model.
        test: also look at the test list.
        baseline: another model's answers on val, to compare with on the card.
        licence: of the weights.
        tell: is given the films of val and test that cannot be read.
    """

    run: Path
    data: Path
    models: Path
    cache: Path
    policy: Policy
    version: str = FIRST
    test: bool = True
    baseline: Path | None = None
    licence: str = "Apache-2.0"
    tell: Callable[[Sequence[Problem]], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Fitted:
    """Calibration and thresholds, and which films set them."""

    calibration: Calibration
    points: Points
    films: str


def export_run(job: Job) -> Path:
    """Return the model folder `models/<id>` of a finished run; id is its name with - for _.

    Another version of the model is replaced in one step, after the new one has been loaded and has passed
    its self-test.

    Raises:
        ModelError: a member is unfinished, the run learned from other films, torch and ONNX Runtime differ,
            or a model of the same version that answers otherwise is in its place; nothing is left behind.
        DataError, RecipeError: films or recipe do not fit the run, or its labels are none of the product's.
    """
    recipe = read_recipe(job.run / COPY)
    if recipe.not_for_export:
        raise RecipeError(f"{recipe.name}: {recipe.not_for_export}")
    members = load_members(job.run, recipe)
    index = chosen(job.data, recipe)
    if not learned_from(job.run, recipe, index):
        raise ModelError(
            f"{job.run.name}: it learned from other films, labels or splits than those of {job.data}"
        )
    scored, unseen = _scored(members, recipe, index, job)
    within = within_of(recipe, index)
    fitted = _fitted(recipe, scored, unseen, within, job.policy)
    job.models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=job.models) as space:
        folder = Path(space) / model_id(recipe)
        (folder / tables.FOLDER).mkdir(parents=True)
        answering = served.Served([members[number] for number in recipe.served])
        _write(folder, job, recipe, answering, index, scored, fitted)
        check_version(registry.load(folder).manifest, job.models / folder.name)
        return put_in_place(folder, job.models / folder.name, Path(space))


def model_id(recipe: TrainingRecipe) -> str:
    """Return the id of the recipe's model."""
    return recipe.name.replace("_", "-")


def chosen(data: Path, recipe: TrainingRecipe) -> Index:
    """Return the films of the recipe; its labels must all be left.

    Raises:
        RecipeError: a label of the run is too rare in these films.
    """
    index = choose(read(data, small_films=recipe.films.small_films), recipe.films, recipe.labels)
    if lost := [label for label in recipe.labels if label not in index.labels]:
        raise RecipeError(f"{index.name}: too few films of {', '.join(lost)}, which the run has learned")
    return index


def within_of(recipe: TrainingRecipe, index: Index) -> dict[str, str]:
    """Return label → source where the data set names sources; else a label is known on all films."""
    return dict(recipe.films.known_within) if (index.table["source"] != "").any() else {}


def version_of(target: Path, given: str) -> str:
    """Return the version of the model to come: what was given, or for a new model 1.0.0.

    Raises:
        ModelError: none was given, and there is a model in its place.
    """
    if not given and target.exists():
        raise ModelError(f"there is a model {target.name} already: say the new one's version with --version")
    return given or FIRST


def check_version(made: m.Manifest, target: Path) -> None:
    """Return unless a model of the same version that answers otherwise is in its place.

    Raises:
        ModelError: one is: two models would go by one name.
    """
    if not (target / m.MANIFEST).is_file():
        return
    there = m.read_manifest(target)
    if there.version == made.version and _answering(there) != _answering(made):
        raise ModelError(
            f"{made.id} {made.version} is there already and answers otherwise (network, calibration, "
            "thresholds or distance): say another version with --version"
        )


def _answering(manifest: m.Manifest) -> tuple[object, ...]:
    network = manifest.files.get(registry.NETWORK)
    return network, manifest.calibration, manifest.thresholds, manifest.distance


def put_in_place(folder: Path, target: Path, space: Path) -> Path:
    """Move a finished model folder to its place; what stood there goes with `space`."""
    if target.exists():
        target.rename(space / "before")
    folder.rename(target)
    return target


def _scored(
    members: list[Classifier], recipe: TrainingRecipe, index: Index, job: Job
) -> tuple[dict[str, Scored], Scored | None]:
    """Return val and maybe test by the served members, and the films of train that some member has not seen.

    Members that saw all of train are made blind by films of train, so that val stays untouched by them.
    """
    train, unseen = index.of("train"), None
    if (mask := held_out(recipe, train)).any():
        unseen = score_held_out(members, recipe, train.where(mask), job.cache)
    answering = [members[number] for number in recipe.served]
    if recipe.blind and recipe.members[recipe.served[0]].fold < 0:
        make_all_blind(answering, recipe, train.where(telling(recipe, train)), job.cache)
    val = score(answering, recipe, index.of("val"), job.cache, "val")
    found = {"val": val}
    if job.test:
        found["test"] = score(answering, recipe, index.of("test"), job.cache, "test")
    job.tell([problem for each in found.values() for problem in each.left_out])
    return found, unseen


def _fitted(
    recipe: TrainingRecipe,
    scored: dict[str, Scored],
    unseen: Scored | None,
    within: dict[str, str],
    policy: Policy,
) -> Fitted:
    """Return calibration and thresholds by films that the answering members have not learned from."""
    parts = [scored["val"], *([unseen] if unseen is not None else [])]
    logits = np.concatenate([part.logits.mean(axis=1) for part in parts])
    truth = np.concatenate([known_truth(part.index.table, recipe.labels, within) for part in parts])
    patients = np.concatenate([part.index.table["patient"].to_numpy() for part in parts])
    films = "val" if unseen is None else "val and the out-of-fold films of train, those by one network each"
    if recipe.task is m.Task.MULTICLASS:
        sure = (truth == 1).sum(axis=1) == 1
        logits, truth, patients = logits[sure], truth[sure], patients[sure]
        calibration = fit_softmax(logits, truth)
    else:
        known = NIH_PREVALENCE if parts[0].index.url == NIH.url else {}
        moved = {label: known[label] for label in within if label in known}
        calibration = fit_platt(recipe.labels, logits, truth, moved)
        films += "".join(
            f"; {label} moved to {moved[label]:.2%}"
            if label in moved
            else f"; {label} as often as in {source}"
            for label, source in within.items()
        )
    probabilities = calibration.probability(logits)
    if recipe.task is m.Task.MULTILABEL:
        spent = choose_thresholds(policy, recipe.labels, probabilities, truth, groups=patients)
        points = Points(spent.values, spent.few_positives, spent.rule)
    else:
        points = choose_points(recipe.labels, probabilities, truth, patients, films)
    return Fitted(calibration, between(points, probabilities), films)


def _write(
    folder: Path,
    job: Job,
    recipe: TrainingRecipe,
    network: served.Served,
    index: Index,
    scored: dict[str, Scored],
    fitted: Fitted,
) -> None:
    """Write the whole folder: network, weights, recipe, tables, card, manifest."""
    served.save_onnx(network, recipe.labels, recipe.preprocessing.network_px, folder / registry.NETWORK)
    films = [scored["val"].inputs[:COMPARED], self_test_film(recipe.preprocessing.network_px)]
    served.check_same(network, folder / registry.NETWORK, np.concatenate(films))
    served.save_weights(network, recipe.labels, folder / registry.WEIGHTS)
    runs = [job.run / f"member-{number}" for number in range(len(recipe.members))]
    facts = [read_facts(run) for run in runs]
    starts = [facts[number]["init"] for number in recipe.served]
    text = with_starts((job.run / COPY).read_text(encoding="utf-8"), recipe, starts)
    (folder / f"{recipe.name}.toml").write_text(text, encoding="utf-8")
    tables.write_history(folder, [runs[number] for number in recipe.served])
    within = set(within_of(recipe, index).values())
    for split, each in scored.items():
        together = fitted.calibration.probability(each.logits.mean(axis=1))
        answers = tables.Answers(
            tables.facts_of(each.index, index, told=within),
            together,
            fitted.calibration.probability(each.logits),
        )
        tables.write(folder, split, recipe.labels, answers)
    parts = {"train": index.of("train")} | {split: each.index for split, each in scored.items()}
    sizes = {split: m.SplitSize(len(films), films.patients) for split, films in parts.items()}
    manifest = _manifest(folder, job, recipe, network, index, fitted, sizes)
    figures = figures_of(folder, manifest, job.policy, baseline=job.baseline)
    evaluation = figures.evaluation | {
        "epochs": float(max(each["epochs"] for each in facts)),
        "minutes": round(float(sum(each["minutes"] for each in facts)), 1),
    }
    (folder / "card.md").write_text(written_card(manifest, recipe_of(folder), figures), encoding="utf-8")
    report.write_all(folder, manifest, job.policy)
    registry.seal(folder, replace(manifest, evaluation=evaluation))


def self_test(folder: Path, side: int) -> m.SelfTest:
    """Return the self-test of the network as written."""
    session = open_session(folder / registry.NETWORK, 0)
    logits = session.run(["logits"], {"film": self_test_film(side)})[0][0].mean(axis=0)
    return m.SelfTest(tuple(map(float, logits)), 1e-3)


def _manifest(
    folder: Path,
    job: Job,
    recipe: TrainingRecipe,
    network: served.Served,
    index: Index,
    fitted: Fitted,
    sizes: dict[str, m.SplitSize],
) -> m.Manifest:
    """Return the manifest, its files and figures still to come."""
    side, own = recipe.preprocessing.network_px, registry.sha256_of(folder / registry.NETWORK)
    return m.Manifest(
        model=m.Model(
            id=folder.name,
            version=job.version,
            task=recipe.task,
            architecture=recipe.network.architecture.value,
            members=len(recipe.served),
            labels=recipe.labels,
            licence=job.licence,
            created=date.today(),
            summary=recipe.card.summary,
        ),
        input=m.Input("film", 1, side, side, -1.0, 1.0),
        preprocessing=recipe.preprocessing,
        output=m.Output(
            logits="logits",
            features="features",
            stride_px=network.members[0].stride_px,
            head="heads",
            pooling=recipe.network.pooling,
            hidden=served.hidden_width(network),
        ),
        calibration=m.CalibrationTable(
            method=Method(fitted.calibration.method),
            slope=tuple(map(float, fitted.calibration.slope)),
            intercept=tuple(map(float, fitted.calibration.intercept)),
            fitted_on=fitted.films,
            network=own,
        ),
        thresholds=m.ThresholdTable(
            rule=fitted.points.rule,
            budget_policy=job.policy.version if recipe.task is m.Task.MULTILABEL else "none",
            values=fitted.points.values,
            few_positives=fitted.points.few_positives,
            network=own,
        ),
        data=m.Data(
            name=f"{index.name}, {len(index):,} films",
            url=index.url,
            attribution=index.attribution,
            licence=index.licence,
            split=sizes,
            known_within=within_of(recipe, index),
        ),
        self_test=self_test(folder, side),
        files={},
        evaluation={},
    )
