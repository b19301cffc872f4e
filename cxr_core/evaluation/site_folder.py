"""A fitted model as a folder of its own beside the former one: made aside, put in place at once."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from cxr_core.errors import Invalid, ModelError
from cxr_core.evaluation.site import SiteFit
from cxr_core.evaluation.site_card import Made, as_json, card, rule_of
from cxr_core.evaluation.site_cases import Aim, log_odds
from cxr_core.inference import registry
from cxr_core.inference.manifest import MANIFEST, NETWORK, Manifest, SplitSize, read_manifest
from cxr_core.inference.stripped import refuse

SITE = "evaluation/site.json"
"""What was fitted and how, in a folder that was; its presence says so."""
CARD, BASE_CARD = "card.md", "base-card.md"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,23}")
LONGEST_NAME = 64
"""Of "id version", as the audit trail has room for."""

ASIDE = ".site-"
"""How folders of models being made begin; no list of models shows them."""
LEFTOVER_S = 3600.0
"""After so long without a change nobody is making one any more: whoever did was killed."""

_KEPT = re.compile(r"(val|test)_(auc|ap|labels|gain)(_.*)?|epochs|minutes")
"""Figures that depend on the order of films alone, which calibration leaves as it is."""
_STALE = ("evaluation-", "external-", "fairness-", "readers-", "robustness")
"""Tables under `evaluation/` of former probabilities; they are not carried over."""


def named(base: str, name: str) -> str:
    """Return the id of the model fitted from `base` under a name.

    Raises:
        Invalid: the name is none.
    """
    if not NAME.fullmatch(name):
        raise Invalid(
            "a name has 1 to 24 small letters, digits and hyphens, and begins with a letter or a digit"
        )
    return f"{base}-{name}"


def free_name(models: Path, base: str) -> str:
    """Return the first of site-1, site-2, … that no folder bears yet."""
    number = 1
    while (models / f"{base}-site-{number}").exists():
        number += 1
    return f"site-{number}"


def save(
    models: Path,
    base: Path,
    fit: SiteFit,
    name: str,
    made: Made,
    check: Callable[[Path], object] = registry.load,
    record: Callable[[Path], object] = lambda folder: None,
    given_out: Collection[str] = (),
) -> Path:
    """Return the folder of a new model; nothing is left behind where that fails.

    Who is killed before the end leaves a folder aside, which a later save removes.

    Args:
        models: the folder of model folders.
        base: of the model that `fit` was made by.
        fit: what is saved, exactly as it was judged.
        name: short, becomes part of the id.
        made: of what, by whom and when.
        check: raises ModelError where the finished folder may not be trusted.
        record: told the finished folder, which is still aside, so that no model is there that nobody wrote
            down; where it raises, there is none.
        given_out: "id version" of models that were saved before, also of those that were deleted since.

    Raises:
        Invalid: the name is none or taken, nothing would be another than before, or the folder of models
            cannot be written.
        ModelError: the model has changed since, or is another one.
    """
    before = registry.verify(base)
    refuse(base)
    if f"{before.id} {before.version}" != fit.model or before.files.get(NETWORK) != fit.network:
        raise ModelError(f"{base.name}: this was fitted for another model ({fit.model}, {fit.network[:12]}…)")
    if not fit.changed:
        raise Invalid("calibration and thresholds would be the same as before: there is nothing to save")
    model_id = named(root_id(base, before), name)
    version = _version(models, base, before, given_out)
    if len(f"{model_id} {version}") > LONGEST_NAME or len(version) > 40:
        raise Invalid(f"id and version have at most {LONGEST_NAME} characters together: {model_id} {version}")
    target = models / model_id
    if target.exists():
        raise Invalid(f"there is a model {model_id} already; choose another name")
    _sweep(models)
    with _writable(models), tempfile.TemporaryDirectory(prefix=ASIDE, dir=models) as space:
        folder = Path(space) / model_id
        _write(folder, base, before, fit, replace_model(before, model_id, version, fit, made), made)
        check(folder)
        record(folder)
        try:
            folder.rename(target)
        except OSError as exc:
            if target.exists():
                raise Invalid(f"there is a model {model_id} already; choose another name") from exc
            raise
        _sync(models)
    return target


def root_id(base: Path, before: Manifest) -> str:
    """Return the id by which fits of a model are called: that of the model first fitted from."""
    if SITE not in before.files:
        return base.name
    try:
        root = json.loads((base / SITE).read_text(encoding="utf-8"))["base"]["root"]
    except (OSError, ValueError, KeyError, TypeError) as exc:
        raise ModelError(f"{base.name}: {SITE} does not say which model was fitted") from exc
    return str(root)


def replace_model(before: Manifest, model_id: str, version: str, fit: SiteFit, made: Made) -> Manifest:
    """Return the manifest with the fitted figures, its files still to come."""
    few = tuple(each.label for each in fit.labels if not each.renewed)
    both = zip(("site_fit", "site_held_out"), fit.films, fit.patients, strict=True)
    return replace(
        before,
        model=replace(
            before.model,
            id=model_id,
            version=version,
            created=made.at.date(),
            summary=f"{made.base} fitted to one site by {sum(fit.films)} local films; {fit.verdict.enough}.",
        ),
        calibration=replace(
            before.calibration,
            slope=tuple(map(float, fit.calibration.slope)),
            intercept=tuple(map(float, fit.calibration.intercept)),
            fitted_on=f"{fit.films[0]} local films of {fit.patients[0]} patients where there were enough; "
            f"else {before.calibration.fitted_on}",
            network=fit.network,
        ),
        thresholds=replace(
            before.thresholds,
            rule=rule_of(fit),
            budget_policy=fit.policy if fit.choice.aim is Aim.BUDGET else "none",
            values=tuple(map(float, fit.thresholds)),
            few_positives=few,
            network=fit.network,
        ),
        data=replace(
            before.data,
            split=before.data.split | {split: SplitSize(films, patients) for split, films, patients in both},
        ),
        evaluation={key: value for key, value in before.evaluation.items() if _KEPT.fullmatch(key)},
        files={},
    )


def _write(folder: Path, base: Path, before: Manifest, fit: SiteFit, after: Manifest, made: Made) -> None:
    """Write the whole folder, each file on disk before the manifest names it."""
    for name in before.files:
        place = folder / name
        if name in (CARD, BASE_CARD, SITE) or Path(name).name.startswith(_STALE):
            continue
        place.parent.mkdir(parents=True, exist_ok=True)
        if re.fullmatch(r"evaluation/(predictions|members)-[^/]*\.csv", name):
            _recalibrated(base / name, place, before, after)
        else:
            shutil.copyfile(base / name, place)  # no hard link: who rewrites one model must not alter two
    was = base / (BASE_CARD if BASE_CARD in before.files else CARD)
    if was.is_file():
        shutil.copyfile(was, folder / BASE_CARD)
    (folder / SITE).parent.mkdir(parents=True, exist_ok=True)
    (folder / CARD).write_text(card(fit, made, after.id, after.version), encoding="utf-8")
    told = as_json(fit, made)
    told["base"]["root"] = root_id(base, before)
    said = json.dumps(told, indent=1, allow_nan=False) + "\n"
    (folder / SITE).write_text(said, encoding="utf-8")
    registry.seal(folder, after)
    read_manifest(folder)
    for path in sorted(folder.rglob("*"), reverse=True):
        _sync(path)
    _sync(folder)


def _recalibrated(source: Path, target: Path, before: Manifest, after: Manifest) -> None:
    """Write a table of probabilities as the new lines calibrate the same logits."""
    frame = pd.read_csv(source, keep_default_na=False, na_values=[""], dtype={"file": str})
    was, now = before.calibration, after.calibration
    for k, label in enumerate(before.labels):
        if label not in frame or (was.slope[k], was.intercept[k]) == (now.slope[k], now.intercept[k]):
            continue
        logits = (log_odds(frame[label].to_numpy(dtype=np.float64)) - was.intercept[k]) / was.slope[k]
        frame[label] = 0.5 * (1.0 + np.tanh(0.5 * (now.slope[k] * logits + now.intercept[k])))
    frame.to_csv(target, index=False, float_format="%.9g", lineterminator="\n")


def _version(models: Path, base: Path, before: Manifest, given_out: Collection[str]) -> str:
    """Return the version of the base with the number of the next fit of it, which no fit ever had."""
    root, _, _ = before.version.partition("+site.")
    family = root_id(base, before)
    named = [name.split(" ") for name in given_out if " " in name]
    known = [(parts[0], parts[-1]) for parts in named]
    for path in models.glob("*/" + MANIFEST):
        with suppress(ModelError):
            known.append((path.parent.name, read_manifest(path.parent).version))
    numbers = [0]
    for model_id, version in known:
        own, _, last = version.partition("+site.")
        if own == root and last.isdigit() and model_id.startswith(family):
            numbers.append(int(last))
    return f"{root}+site.{max(numbers) + 1}"


def _sweep(models: Path) -> None:
    """Remove what saves that were killed left aside more than an hour ago."""
    for path in models.glob(f"{ASIDE}*"):
        with suppress(OSError):
            changed = max(each.stat().st_mtime for each in (path, *path.rglob("*")))
            if path.is_dir() and time.time() - changed > LEFTOVER_S:
                shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _writable(models: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        why = exc.strerror or type(exc).__name__
        raise Invalid(
            f"the folder of models cannot be written here ({why}): {models}. Set CXR_MODELS_DIR to a folder "
            "that this program may write, with the models copied into it, and start again"
        ) from exc


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
