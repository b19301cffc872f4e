"""What a model has seen, told by its features: fitted on its training films, tried on others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from cxr_core.data.readers import read
from cxr_core.data.selection import choose
from cxr_core.domain import FINDINGS, View
from cxr_core.errors import DataError, ModelError, Rejected
from cxr_core.evaluation import outside
from cxr_core.evaluation.external import films_of, sampled
from cxr_core.evaluation.keep import aside, put
from cxr_core.evaluation.populations import POPULATIONS
from cxr_core.imaging.decode import decode
from cxr_core.imaging.gate import ADULT_YEARS
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.phantom import make_phantom
from cxr_core.imaging.preprocess import network_input
from cxr_core.inference import distance, registry
from cxr_core.inference.distance import Group
from cxr_core.inference.manifest import DISTANCE, NETWORK, DistanceTable, Manifest
from cxr_core.inference.runtime import Classifier
from cxr_core.training.describe import rewrite
from cxr_core.training.recipes import TrainingRecipe
from cxr_core.triage.policy import Policy

Floats = NDArray[np.float32]
Told = Callable[[str, int, int], None]
"""Called with what is under way, how many films are done, and of how many."""

FILMS, PHANTOMS = "films", "phantoms"
AXES = {FILMS: 32, PHANTOMS: 16}
TRAIN = 4000
"""Films of train that are looked at."""
HELD = 0.3
"""Share of their patients whose films are not fitted on: with val they set the limits."""
DRAWN, HELD_DRAWN = 400, 100
"""Phantoms, and how many of them are not fitted on but set their limit."""
TRIED_DRAWN = 100
"""Others that had no say."""
ROOM = 1.3
"""The warning begins so many times farther than the farthest phantom that was not fitted on."""
WARN, REFUSE = 0.99, 0.999
"""Quantiles of the films that set the limits."""
METHOD = "Mahalanobis distance under probabilistic PCA of the pooled features, by the root of their number"
NOT_CHEST = "not_chest"
_BATCH = 16


class Asked:
    """A model asked for the features of films."""

    def __init__(self, classifier: Classifier, told: Told) -> None:
        self.classifier, self._told, self._limits = classifier, told, Limits()

    def files(self, what: str, paths: Sequence[Path]) -> tuple[Floats, NDArray[np.bool_]]:
        """Return (K, D) pooled features of the films that could be decoded, and (N,) which those are."""
        return self._features(what, self._decoded, paths)

    def phantoms(self, seeds: Sequence[int], what: str = "phantoms") -> Floats:
        """Return (N, D) of invented films, each with none to four findings."""
        return self._features(what, self._drawn, seeds)[0]

    def _features(
        self, what: str, make: Callable[..., Floats | None], items: Sequence[object]
    ) -> tuple[Floats, NDArray[np.bool_]]:
        found, there = [], []
        with ThreadPoolExecutor(2) as pool:
            for batch in _batches(items):
                films = list(pool.map(make, batch))
                there += [film is not None for film in films]
                if known := [film for film in films if film is not None]:
                    maps = self.classifier.run(np.stack(known)).features
                    found += [distance.pooled(each) for each in maps]
                self._told(what, len(there), len(items))
        if not found:
            raise DataError(f"{what}: no film could be read")
        return np.stack(found), np.array(there)

    def _decoded(self, path: Path) -> Floats | None:
        try:
            return network_input(
                decode(path.read_bytes(), self._limits).pixels, self.classifier.manifest.recipe
            )
        except (Rejected, OSError):
            return None

    def _drawn(self, seed: int) -> Floats:
        rng = np.random.default_rng([seed, 1])
        names = rng.choice(FINDINGS, size=int(rng.integers(0, 5)), replace=False)
        phantom = make_phantom(
            1_000_000 + seed,
            {str(name): float(rng.uniform(0.2, 1)) for name in names},
            size=int(rng.choice([128, 256, 512])),
            view=View.AP if rng.random() < 0.3 else View.PA,
        )
        return network_input(phantom.image, self.classifier.manifest.recipe)


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """What was fitted, and what came of it.

    Attributes:
        table: for the manifest.
        groups: by name.
        distances: `outside.COLUMNS` of films that were not fitted on.
    """

    table: DistanceTable
    groups: dict[str, Group]
    distances: pd.DataFrame


def fit(classifier: Classifier, recipe: TrainingRecipe, root: Path, told: Told, *, most: int = 500) -> Fitted:
    """Return limits, what counts as seen, and the distances of films that were not fitted on.

    Args:
        classifier: the model.
        recipe: by which it was trained: says which films those are.
        root: holds the data set of the recipe as `nih`, and maybe `not_chest`, `kermany`, `covid`.
        told: told how far it is.
        most: films of each other population.

    Raises:
        DataError: the films are not there.
    """
    asked = Asked(classifier, told)
    nih = root / "nih"
    whole = choose(read(nih, small_films=recipe.films.small_films), recipe.films, recipe.labels).table
    train, val, test = (whole[whole["split"] == split] for split in ("train", "val", "test"))
    train = train.iloc[np.random.default_rng(0).permutation(len(train))[:TRAIN]]
    features, there = asked.files("train", [Path(path) for path in train["path"]])
    train, held = train[there], _held(train["patient"][there])
    drawn = asked.phantoms(range(DRAWN))
    films = group(features[~held], AXES[FILMS])
    phantoms = group(drawn[HELD_DRAWN:], AXES[PHANTOMS])
    parts = [_part("limits", "train, patients not fitted on", train["patient"][held], films, features[held])]
    features, there = asked.files("val", [Path(path) for path in val["path"]])
    parts.append(_part("limits", "val", val["patient"][there], films, features))
    limits = np.concatenate([part["distance"] for part in parts])
    warn, refuse = (float(np.quantile(limits, share)) for share in (WARN, REFUSE))
    farthest = max(phantoms.distance(each) for each in drawn[:HELD_DRAWN])
    groups = {FILMS: films, PHANTOMS: replace(phantoms, scale=warn / (ROOM * farthest))}
    count = int((~held).sum())
    table = DistanceTable(
        method=METHOD,
        components=tuple(len(each.variance) for each in groups.values()),
        groups=tuple(groups),
        warn=warn,
        refuse=refuse,
        fitted_on=f"{count:,} films of train and {DRAWN - HELD_DRAWN} phantoms; limits by {len(limits):,} "
        f"films of val and of other patients of train, of which {WARN:.1%} and {REFUSE:.1%} lie nearer",
        network=classifier.manifest.files[NETWORK],
    )
    seen = distance.Distance(table, groups)
    tried = [*_tried(asked, seen, test, root, most)]
    others = range(DRAWN, DRAWN + TRIED_DRAWN)
    tried.append(_rows("phantoms", "drawn anew", others, seen, asked.phantoms(others, "other phantoms")))
    return Fitted(table, groups, pd.concat([*parts, *tried], ignore_index=True))


def keep(folder: Path, fitted: Fitted, policy: Policy, version: str) -> None:
    """Write limits, figures and card into a sound model folder, under another version.

    Args:
        folder: of the model.
        fitted: what `fit` returned.
        policy: for the card.
        version: of the model from now on.

    Raises:
        ModelError: the folder is not sound, is of another network, or the version is its own.
    """
    before = registry.verify(folder)
    check_version(before, version)
    if before.files[NETWORK] != fitted.table.network:
        raise ModelError(f"{before.id}: the distance of another network ({fitted.table.network[:12]}…)")
    after = replace(before, model=replace(before.model, version=version), distance=fitted.table)
    with aside(folder) as made:
        distance.write(made / DISTANCE, fitted.groups)
        outside.write(made, fitted.distances)
        put(made, folder, rewrite(made, after, policy))


def check_version(before: Manifest, version: str) -> None:
    """Return where the version is another than the model's; raises ModelError."""
    if before.version == version:
        raise ModelError(f"{before.id}: it answers otherwise, so it needs another version than {version}")


def group(features: Floats, axes: int) -> Group:
    """Return what (N, D) features of a group look like, by maximum likelihood of probabilistic PCA.

    At most half as many axes as films or numbers.
    """
    count = max(1, min(axes, len(features) // 2, features.shape[1] // 2))
    pca = PCA(n_components=count, svd_solver="randomized", iterated_power=7, random_state=0).fit(features)
    whole = float(features.var(axis=0, ddof=1, dtype=np.float64).sum())
    rest = (whole - float(pca.explained_variance_.sum())) / (features.shape[1] - count)
    return Group(
        mean=features.mean(axis=0, dtype=np.float64).astype(np.float32),
        axes=pca.components_.astype(np.float32),
        variance=pca.explained_variance_.astype(np.float32),
        rest=rest,
    )


def second_half(kinds: pd.DataFrame) -> pd.DataFrame:
    """Return of each kind the second half of its files by name: the first was there to choose by."""
    parts = []
    for _, part in kinds.groupby("kind"):
        ordered = part.sort_values("file")
        parts.append(ordered.iloc[(len(ordered) + 1) // 2 :])
    return pd.concat(parts, ignore_index=True)


def _tried(
    asked: Asked, seen: distance.Distance, test: pd.DataFrame, root: Path, most: int
) -> Iterator[pd.DataFrame]:
    if len(test):
        features, there = asked.files("test", [Path(path) for path in test["path"]])
        kept = test[there]
        child = (kept["age"] < ADULT_YEARS).to_numpy()
        for kind, mask in (("adults, or of unknown age", ~child), (f"under {ADULT_YEARS}", child)):
            yield _rows("test", kind, kept["patient"][mask], seen, features[mask])
    for population in POPULATIONS.values():
        if not (root / population.id / "labels.csv").is_file():
            continue
        films = sampled(films_of(root / population.id, population), most)
        paths = [root / population.id / "images" / file for file in films["file"]]
        features, there = asked.files(population.id, paths)
        yield from _by_kind(population.id, films[there], seen, features)
    if (root / NOT_CHEST / "kinds.csv").is_file():
        others = second_half(pd.read_csv(root / NOT_CHEST / "kinds.csv"))
        features, there = asked.files(NOT_CHEST, [root / NOT_CHEST / file for file in others["file"]])
        others = others[there].assign(kind=others["kind"].str.rpartition("|")[2], patient=others["file"])
        yield from _by_kind("no chest film", others, seen, features)


def _by_kind(
    name: str, films: pd.DataFrame, seen: distance.Distance, features: Floats
) -> Iterator[pd.DataFrame]:
    for kind in sorted(set(films["kind"])):
        mask = (films["kind"] == kind).to_numpy()
        yield _rows(name, kind.replace("_", " "), films["patient"][mask], seen, features[mask])


def _part(name: str, kind: str, patients: Iterable[object], films: Group, features: Floats) -> pd.DataFrame:
    """Return rows of films measured from one group alone."""
    far = [films.distance(each) for each in features]
    return pd.DataFrame({"set": name, "kind": kind, "patient": list(map(str, patients)), "distance": far})


def _rows(
    name: str, kind: str, patients: Iterable[object], seen: distance.Distance, features: Floats
) -> pd.DataFrame:
    far = [seen.nearest(each) for each in features]
    return pd.DataFrame({"set": name, "kind": kind, "patient": list(map(str, patients)), "distance": far})


def _held(patients: pd.Series) -> NDArray[np.bool_]:
    """Return (N,) which films are of the patients that are not fitted on."""
    names = np.unique(patients)
    left = np.random.default_rng(1).permutation(names)[: round(HELD * len(names))]
    return patients.isin(left).to_numpy()


def _batches(items: Sequence[object]) -> Iterator[list[object]]:
    rest = iter(items)
    while batch := list(islice(rest, _BATCH)):
        yield batch
