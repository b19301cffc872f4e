"""NIH ChestX-ray14 as it lies on disk: labels, official lists, patients, sources, decoded films."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from rich.progress import track

from cxr_core.domain import ABNORMAL, FINDINGS
from cxr_core.imaging.decode import decode
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.preprocess import Recipe, network_input
from cxr_core.training.measure import known_truth

FOLDS = 4
MEMBERS = 4
"""Networks of the ensemble; member k never sees the patients of fold k % FOLDS."""


@dataclass(frozen=True, slots=True)
class Split:
    """Films of one official list, both resolutions.

    Attributes:
        table: one row a film: `file`, `patient`, `age`, `sex`, `view`, `source`, `side_px`, labels.
        truth: (N, 15) float32, 1, 0, or NaN where the label must not be learned or scored.
    """

    table: pd.DataFrame
    truth: NDArray[np.float32]

    @property
    def folds(self) -> NDArray[np.int64]:
        """(N,) fold of each film's patient, from a hash of the patient number: no seed, no drift."""
        return np.array([fold_of(patient) for patient in self.table["patient"]])


def fold_of(patient: int) -> int:
    """Return the fold in which this patient's films are held out."""
    return hashlib.sha256(str(patient).encode()).digest()[0] % FOLDS


def read_split(nih: Path, name: str, *, small_films: bool) -> Split:
    """Return the films of the official list `name` (train, val, test).

    Pneumonia is known only within the enriched source: it holds 98 % of the Pneumonia films, so
    anywhere else the label would teach the network to tell the sources apart. Outside it the label
    is NaN: never learned, never scored.

    Args:
        nih: folder in the dataset's own layout.
        name: "train", "val" or "test".
        small_films: also the list of films that exist at 64 pixels only.
    """
    entries = pd.read_csv(nih / "Data_Entry_2017_v2020.csv").set_index("Image Index")
    sources = pd.read_csv(nih / "sources.csv").set_index("Image Index")["source"]
    lists = [(f"{name}_list.txt", "images", 128)]
    if small_films:
        lists.append((f"{name}_list_64.txt", "images_64", 64))
    rows = [
        (file, str(nih / folder / file), side)
        for listing, folder, side in lists
        for file in (nih / listing).read_text().split()
    ]
    table = pd.DataFrame(rows, columns=["file", "path", "side_px"])
    entry = entries.loc[table["file"]].reset_index(drop=True)
    table["patient"] = entry["Patient ID"].astype(int)
    table["age"] = entry["Patient Age"].astype(int)
    table["sex"] = entry["Patient Gender"]
    table["view"] = entry["View Position"]
    table["source"] = sources.reindex(table["file"]).fillna("block").to_numpy()
    present = entry["Finding Labels"].str.split("|")
    for label in FINDINGS:
        table[label] = [int(label in found) for found in present]
    table[ABNORMAL] = [int(found != ["No Finding"]) for found in present]
    return Split(table, known_truth(table).astype(np.float32))


def network_inputs(split: Split, recipe: Recipe, cache: Path) -> NDArray[np.float32]:
    """Return the (N, 1, S, S) float32 inputs of all films, memory-mapped from `cache`.

    Each film goes through the very functions that serving calls; the cache is rebuilt when the
    list of films or the recipe changes.
    """
    key = hashlib.sha256(repr((list(split.table["path"]), recipe)).encode()).hexdigest()[:16]
    path = cache / f"inputs-{key}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        shape = (len(split.table), 1, recipe.network_px, recipe.network_px)
        unfinished = path.with_suffix(".part.npy")
        films = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.float32, shape=shape)
        limits = Limits()
        for index, file in enumerate(track(split.table["path"], description="decoding films")):
            films[index] = network_input(decode(Path(file).read_bytes(), limits).pixels, recipe)
        films.flush()
        unfinished.rename(path)
    loaded: NDArray[np.float32] = np.load(path, mmap_mode="r")
    return loaded
