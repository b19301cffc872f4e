"""The parts of `cxr evaluate` that look at films: boxes, adjudicated labels, other populations, changes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from cxr_core.cli_models import progress
from cxr_core.errors import DataError

if TYPE_CHECKING:
    from cxr_core.evaluation.asking import Told
    from cxr_core.pipeline import Kit
    from cxr_core.settings import Settings


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be looked at.

    Attributes:
        boxes, noise, external, robustness: which parts.
        most: films of another population; 0: all.
        films: of val to be changed; 0: all.
    """

    boxes: bool = False
    noise: bool = False
    external: bool = False
    robustness: bool = False
    most: int = 0
    films: int = 0

    def __bool__(self) -> bool:
        """Whether anything was asked for."""
        return self.boxes or self.noise or self.external or self.robustness


def root_of(data: Path | None) -> Path:
    """Return the folder of films.

    Raises:
        DataError: nobody named one.
    """
    if data is None:
        raise DataError("no films: name their folder with --data DIR or set CXR_DATA")
    return data


def look(folder: Path, data: Path, asked: Asked, chosen: Settings, *, write: bool) -> list[str]:
    """Ask the model of a folder about films and return the lines that say what came of it.

    With `write` the tables go into the folder's `evaluation/` once all are made, and the manifest is bound
    to them; without they are thrown away.

    Args:
        folder: of the model.
        data: the folder that holds `nih`, `kermany`, `covid`, or that of ChestX-ray14 itself; for changed
            films any data set.
        asked: what to look at.
        chosen: for the policy.
        write: whether to keep it.

    Raises:
        CxrError: the model, or the films, are not what they should be.
    """
    from cxr_core.evaluation import keep

    with keep.aside(folder) as made:
        lines = [*_lines(folder, made, data, asked, chosen)]
        if write:
            keep.put(made, folder)
    return lines


def _lines(folder: Path, to: Path, data: Path, asked: Asked, chosen: Settings) -> Iterator[str]:
    kit = _kit(folder, chosen) if asked.boxes or asked.external or asked.robustness else None
    if asked.boxes and kit:
        yield from _boxes(to, _nih(data), kit)
    if asked.noise:
        yield from _noise(to, _nih(data))
    if asked.external and kit:
        yield from _external(to, data, kit, asked.most)
    if asked.robustness and kit:
        yield from _robustness(to, _nih(data), kit, asked.films, _kept(kit, chosen.home))


def _boxes(to: Path, root: Path, kit: Kit) -> Iterator[str]:
    from cxr_core.data import readers
    from cxr_core.evaluation import boxes, localise, pointing

    drawn = boxes.boxes(root / boxes.BOXES)
    index = readers.read(root, small_films=True)
    with _bar("boxes") as told:
        pointing.write(to, pointing.point(index, drawn, kit, now=datetime.now(UTC), told=told))
    yield "Heatmaps: the peak fell inside the radiologist's box"
    for name, rate in localise.hit_rates(to).items():
        yield f"  {name:20}{rate}"


def _noise(to: Path, root: Path) -> Iterator[str]:
    from cxr_core.data import readers
    from cxr_core.evaluation import noise

    noise.write(to, noise.gather(readers.read(root, small_films=True), root))
    yield "Text-mined labels beside adjudicated ones"
    for each in noise.label_noise(to).values():
        yield f"  {each}"
    yield f"  {', '.join(noise.WITHOUT)}: no label of ours"


def _external(to: Path, data: Path, kit: Kit, most: int) -> Iterator[str]:
    from cxr_core.evaluation import external
    from cxr_core.evaluation.elsewhere import elsewhere
    from cxr_core.evaluation.populations import POPULATIONS

    root = data if (data / "nih").is_dir() else data.parent
    there = [each for each in POPULATIONS.values() if (root / each.id / "labels.csv").is_file()]
    if not there:
        raise DataError(f"{root}: holds none of the sets {', '.join(POPULATIONS)}")
    for population in there:
        with _bar(population.id) as told:
            now = datetime.now(UTC)
            table = external.ask(root, population, kit, now=now, most=most, on_progress=told)
        external.write(to, population.id, table)
        yield from str(elsewhere(to, population.id)).splitlines()


def _robustness(to: Path, root: Path, kit: Kit, films: int, kept: Path) -> Iterator[str]:
    from cxr_core.data import readers
    from cxr_core.evaluation import robustness, robustness_asking

    whole = readers.read(root)
    index = robustness_asking.films_of(whole, films)
    with _bar("changed films") as told:
        now = datetime.now(UTC)
        asked = robustness_asking.ask(index, whole, kit, kept, now=now, on_progress=told)
    found = robustness.effects(asked, kit.classifier.manifest)
    robustness.write(to, found)
    yield f"{len(index):,} films of {robustness_asking.SPLIT}, {index.patients:,} patients, one change each"
    yield from robustness.said(found)


def _kept(kit: Kit, home: Path) -> Path:
    """Return where answers on changed films are kept, by what makes them, so that a run goes on."""
    from hashlib import sha256

    from cxr_core.inference.manifest import NETWORK

    model = kit.classifier.manifest
    says = (model.files[NETWORK], model.recipe, model.calibration, model.thresholds, model.distance)
    made = repr((*says, kit.gate.manifest, kit.versions.policy, kit.versions.code))
    place = home / "robustness"
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    return place / f"{model.id}-{sha256(made.encode()).hexdigest()[:12]}.csv"


def _kit(folder: Path, chosen: Settings) -> Kit:
    from cxr_core.pipeline import load_kit

    return load_kit(replace(chosen, model=folder.name, models_dir=folder.parent))


def _nih(data: Path) -> Path:
    """Return the folder of ChestX-ray14: the one named, or the one in it."""
    return data / "nih" if (data / "nih").is_dir() else data


@contextmanager
def _bar(what: str) -> Iterator[Told]:
    with progress() as bar:
        task = bar.add_task(what, total=None)

        def told(done: int, of: int) -> None:
            bar.update(task, completed=done, total=of)

        yield told
