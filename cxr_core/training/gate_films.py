"""What the gate's network learns from: chest films, other pictures, invented ones, all 64 pixels a side."""

from __future__ import annotations

import csv
import string
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from cxr_core.data.readers import read
from cxr_core.data.splits import every_second
from cxr_core.domain import FINDINGS, View
from cxr_core.errors import DataError
from cxr_core.imaging.gate import ADULT_YEARS, INPUT, Kind
from cxr_core.imaging.phantom import make_phantom
from cxr_core.imaging.preprocess import network_input

KINDS = {
    "photo": Kind.PHOTO,
    "brain_mri": Kind.SECTION,
    "ood|HeadCT": Kind.SECTION,
    "ood|ChestCT": Kind.SECTION,
    "ood|AbdomenCT": Kind.SECTION,
    "ood|BreastMRI": Kind.SECTION,
    "ood|Hand": Kind.OTHER,
}
"""What the kinds of `not_chest/kinds.csv` are to the gate; a lateral film is none of them."""

TWINS = 0.99
"""Correlation at 64 pixels above which two pictures count as one."""

_LETTERS = string.ascii_letters + string.digits + "      .,;:-()"


@dataclass(frozen=True, slots=True, eq=False)
class Pictures:
    """Pictures as the gate's network sees them, before any change.

    Attributes:
        inputs: (N, 1, 64, 64) float32 in [-1, 1].
        kinds: of each.
        sources: where each comes from, for the figures: "nih", "kermany", a kind of `kinds.csv`, "phantom", …
        names: of the files, or the seed that drew it.
        patients: of each; where nobody says, each picture is one of its own.
    """

    inputs: NDArray[np.float32] = field(repr=False)
    kinds: tuple[Kind, ...]
    sources: tuple[str, ...]
    names: tuple[str, ...]
    patients: tuple[str, ...]

    def __len__(self) -> int:
        """Return how many."""
        return len(self.kinds)

    def where(self, picked: NDArray[np.bool_]) -> Pictures:
        """Return the picked ones."""
        places = np.flatnonzero(picked)
        told = (self.kinds, self.sources, self.names, self.patients)
        kinds, sources, names, patients = (tuple(each[k] for k in places) for each in told)
        return Pictures(self.inputs[places], kinds, sources, names, patients)  # type: ignore[arg-type]


def joined(parts: Sequence[Pictures]) -> Pictures:
    """Return all of them, in order."""
    return Pictures(
        np.concatenate([part.inputs for part in parts]),
        tuple(kind for part in parts for kind in part.kinds),
        tuple(source for part in parts for source in part.sources),
        tuple(name for part in parts for name in part.names),
        tuple(patient for part in parts for patient in part.patients),
    )


def chest_films(folder: Path, split: str, source: str, *, adults: bool = False) -> Pictures:
    """Return the films of a list in one of the layouts of docs/data.md, those of 64 pixels among them.

    Args:
        folder: of the films.
        split: train, val or test.
        source: what to call them.
        adults: only films of patients who are 18 or older.
    """
    table = read(folder, small_films=split == "train").of(split).table
    return _of_table(table[table["age"] >= ADULT_YEARS] if adults else table, source)


def other_pictures(data: Path, *, held_out: bool) -> Pictures:
    """Return one half of `not_chest`, by file name within each kind: the first is learned from.

    Neighbours in name may show one patient; halves keep them together. Of the second half pictures with a
    twin in the first are left out.

    Raises:
        DataError: there is no such folder.
    """
    folder = data / "not_chest"
    try:
        with (folder / "kinds.csv").open(encoding="utf-8", newline="") as handle:
            rows = [(row["file"], row["kind"]) for row in csv.DictReader(handle)]
    except OSError as exc:
        raise DataError(f"{folder}: expected kinds.csv and the pictures it names ({exc.strerror})") from exc
    parts = []
    for kind in sorted(KINDS):
        files = [folder / file for file in sorted(file for file, said in rows if said == kind)]
        half, source = len(files) // 2, kind.rpartition("|")[2]
        learned = seen(files[:half], KINDS[kind], source)
        parts.append(without_twins(seen(files[half:], KINDS[kind], source), learned) if held_out else learned)
    return joined(parts)


def collection(folder: Path, *, held_out: bool) -> Pictures:
    """Return every second patient of another collection of films: of each two the first is learned from.

    Such a collection comes from several places, one after the other; halves would part them. Of what is
    held out films with a twin among the others are left out: some are there twice, under two patients.

    Raises:
        DataError: there is no such collection.
    """
    table = read(folder).table.sort_values("path")
    first = table["patient"].isin(every_second(table["patient"]))
    learned = _of_table(table[first], folder.name)
    return without_twins(_of_table(table[~first], folder.name), learned) if held_out else learned


def without_twins(kept: Pictures, learned: Pictures) -> Pictures:
    """Return the pictures that are not nearly the same as one learned from: correlation up to TWINS."""
    ours, theirs = (_standardised(pictures.inputs) for pictures in (kept, learned))
    alike = [float((theirs @ one).max(initial=-1.0)) for one in ours]
    return kept.where(np.array(alike, dtype=np.float64) <= TWINS)


def _standardised(inputs: NDArray[np.float32]) -> NDArray[np.float32]:
    flat = inputs.reshape(len(inputs), INPUT.network_px**2)
    flat = flat - flat.mean(axis=1, keepdims=True)
    return np.asarray(flat / np.maximum(np.linalg.norm(flat, axis=1, keepdims=True), 1e-6), dtype=np.float32)


def _of_table(table: pd.DataFrame, source: str) -> Pictures:
    films = seen([Path(path) for path in table["path"]], Kind.CHEST, source)
    patient = dict(zip((Path(path).name for path in table["path"]), table["patient"], strict=True))
    return replace(films, patients=tuple(f"{source} {patient[name]}" for name in films.names))


def pieces(data: Path, number: int) -> Pictures:
    """Return so many pieces of each photograph that is learned from, as a photograph of a part would look."""
    photographs = sorted((data / "not_chest").glob("photo*"))
    rng = np.random.default_rng(3)
    inputs = []
    for path in photographs[: len(photographs) // 2]:
        with Image.open(path) as picture:
            whole = picture.convert("L")
        for _ in range(number):
            share = rng.uniform(0.25, 1.0)
            wide = int(whole.width * share)
            high = int(whole.height * rng.uniform(max(0.25, share - 0.3), min(1.0, share + 0.3)))
            left, top = (
                int(rng.integers(0, whole.width - wide + 1)),
                int(rng.integers(0, whole.height - high + 1)),
            )
            inputs.append(network_input(_unit(whole.crop((left, top, left + wide, top + high))), INPUT))
    names = tuple(str(k) for k in range(len(inputs)))
    return Pictures(np.stack(inputs), (Kind.PHOTO,) * len(names), ("photo",) * len(names), names, names)


def seen(paths: Sequence[Path], kind: Kind, source: str) -> Pictures:
    """Return the pictures of files, brightness alone: colour must not be what tells a photograph.

    What Pillow cannot read is left out.
    """
    inputs, names = [], []
    for path in paths:
        try:
            with Image.open(path) as picture:
                pixels = _unit(picture.convert("L"))
        except OSError:
            continue
        inputs.append(network_input(pixels, INPUT))
        names.append(path.name)
    shape = (0, 1, INPUT.network_px, INPUT.network_px)
    stacked = np.stack(inputs) if inputs else np.empty(shape, np.float32)
    return Pictures(stacked, (kind,) * len(names), (source,) * len(names), tuple(names), tuple(names))


def phantoms(seeds: Sequence[int]) -> Pictures:
    """Return invented chest films: the product's own examples must pass as chest films."""
    inputs = []
    for seed in seeds:
        rng = np.random.default_rng([seed, 7])
        findings = [name for name in FINDINGS if rng.random() < 0.12]
        view = View.AP if rng.random() < 0.3 else View.PA
        film = make_phantom(seed, findings, size=256, view=view)
        inputs.append(network_input(film.image, INPUT))
    names = tuple(str(seed) for seed in seeds)
    return Pictures(np.stack(inputs), (Kind.CHEST,) * len(seeds), ("phantom",) * len(seeds), names, names)


def drawn(seeds: Sequence[int]) -> Pictures:
    """Return invented pictures that are no radiographs: pages of text, windows of a screen, plots, noise."""
    makers = (_page, _screen, _plot, _noise)
    made = [
        network_input(makers[seed % len(makers)](np.random.default_rng([seed, 11])), INPUT) for seed in seeds
    ]
    names = tuple(str(seed) for seed in seeds)
    return Pictures(np.stack(made), (Kind.PHOTO,) * len(seeds), ("drawn",) * len(seeds), names, names)


def _page(rng: np.random.Generator) -> NDArray[np.float32]:
    width, height = int(rng.integers(250, 500)), int(rng.integers(250, 600))
    ground, ink = (255, int(rng.integers(0, 90))) if rng.random() < 0.8 else (int(rng.integers(0, 60)), 255)
    page = Image.new("L", (width, height), ground)
    pen = ImageDraw.Draw(page)
    size = int(rng.integers(8, 26))
    font = ImageFont.load_default(size)
    for top in range(int(rng.integers(5, 60)), height - size, int(size * rng.uniform(1.1, 2.2))):
        if rng.random() < 0.12:
            continue
        words = "".join(rng.choice(list(_LETTERS), int(rng.integers(10, 70))))
        pen.text((int(rng.integers(5, 40)), top), words, fill=ink, font=font)
    if rng.random() < 0.4:
        left, top = int(rng.integers(0, width // 2)), int(rng.integers(0, height // 2))
        pen.rectangle((left, top, left + width // 3, top + height // 4), fill=int(rng.integers(40, 220)))
    return _unit(page)


def _screen(rng: np.random.Generator) -> NDArray[np.float32]:
    screen = Image.new("L", (480, int(rng.integers(270, 480))), int(rng.integers(0, 255)))
    pen = ImageDraw.Draw(screen)
    for _ in range(int(rng.integers(6, 30))):
        left, top = int(rng.integers(0, 440)), int(rng.integers(0, screen.height - 20))
        box = (left, top, left + int(rng.integers(20, 300)), top + int(rng.integers(6, 160)))
        pen.rounded_rectangle(box, radius=int(rng.integers(0, 12)), fill=int(rng.integers(0, 255)))
        words = "".join(rng.choice(list(_LETTERS), 12))
        pen.text((left + 4, top + 2), words, fill=int(rng.integers(0, 255)), font=ImageFont.load_default(12))
    return _unit(screen)


def _plot(rng: np.random.Generator) -> NDArray[np.float32]:
    ground, ink = (255, 0) if rng.random() < 0.6 else (0, 255)
    plot = Image.new("L", (400, 300), ground)
    pen = ImageDraw.Draw(plot)
    pen.line([(40, 10), (40, 260), (390, 260)], fill=ink, width=2)
    for _ in range(int(rng.integers(1, 6))):
        heights = np.cumsum(rng.normal(0, 18, 36)) + rng.uniform(60, 220)
        line = [(40 + 10 * k, float(np.clip(height, 5, 258))) for k, height in enumerate(heights)]
        if rng.random() < 0.5:
            pen.line(line, fill=int(rng.integers(60, 200)), width=int(rng.integers(1, 5)))
        else:
            for x, y in line[::3]:
                pen.rectangle((x, y, x + 16, 258), fill=int(rng.integers(60, 200)))
    return _unit(plot)


def _noise(rng: np.random.Generator) -> NDArray[np.float32]:
    """Return noise of one grain, or soft shapes."""
    cells = int(rng.integers(2, 64))
    coarse = Image.fromarray(rng.integers(0, 255, (cells, cells), dtype=np.uint8))
    way = Image.Resampling.NEAREST if rng.random() < 0.3 else Image.Resampling.BICUBIC
    return _unit(coarse.resize((160, 160), way))


def _unit(picture: Image.Image) -> NDArray[np.float32]:
    return np.asarray(picture, dtype=np.float32) / np.float32(255)
