"""Do maps rest on what the model learned? Each method beside networks of random weights, on films of val.

`CXR_DATA=… python benchmarks/explainers.py [ID]` takes films of val with Effusion or Cardiomegaly, one a
patient and the same in every run, more for the fast methods, and prints the table of docs/explaining.md:
rank correlation and structural similarity with the maps of random networks, time, and likeness to Grad-CAM
where neither map is flat.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from statistics import fmean

import numpy as np

from cxr_core import settings
from cxr_core.data.readers import read
from cxr_core.inference import explainers, explainers_sanity, registry
from cxr_core.inference.explanation import NAMES, Method
from cxr_core.pipeline import Film, Kit, load_kit, prepare

LABELS = ("Effusion", "Cardiomegaly")
FILMS = {Method.GRAD_CAM: 12, Method.GRAD_CAM_PLUS_PLUS: 12, Method.OCCLUSION: 4, Method.LIME: 2}
NETWORKS = {Method.GRAD_CAM: 5, Method.GRAD_CAM_PLUS_PLUS: 5, Method.OCCLUSION: 2, Method.LIME: 1}


def main(model: str) -> None:
    """Print a line a method."""
    chosen = settings.load()
    if chosen.data is None:
        raise SystemExit("set CXR_DATA to the folder of films")
    kit, folder = load_kit(chosen), chosen.models_dir / model
    classifier = registry.load(folder)
    films = list(films_of(kit, chosen.data / "nih", max(FILMS.values())))
    sys.stdout.write(f"{classifier.manifest.id} {classifier.manifest.version}\n")
    sys.stdout.write(
        "| method | films | random networks | rank correlation | SSIM | time of one | like Grad-CAM |\n"
    )
    sys.stdout.write("|---|---|---|---|---|---|---|\n")
    for method in Method:
        checked, seconds, alike = [], [], []
        for film, label in films[: FILMS[method]]:
            made = explainers.explained(classifier, film.array, label, method)
            plain = explainers.explained(classifier, film.array, label, Method.GRAD_CAM)
            seconds.append(made.ms / 1000)
            maps = [explainers_sanity.drawn(each.heatmap) for each in (plain, made)]
            if all(each.any() for each in maps):
                alike.append(explainers_sanity.correlation(*maps))
            checked.append(
                explainers_sanity.check(classifier, folder, film.array, made, networks=NETWORKS[method])
            )
        found = [each for each in checked if each is not None]
        flat = f", {len(checked) - len(found)} of them flat" if len(found) < len(checked) else ""
        unchanged = sum(not each.changed for each in found)
        correlation = fmean(each.correlation for each in found)
        sys.stdout.write(
            f"| {NAMES[method]} | {len(checked)}{flat} | {NETWORKS[method]} "
            f"| {correlation:.2f} ({unchanged or 'none'} at {explainers_sanity.ALIKE} or above) "
            f"| {fmean(each.similarity for each in found):.2f} | {np.median(seconds):.2g} s "
            f"| {fmean(alike):.2f} |\n"
        )


def films_of(kit: Kit, root: Path, count: int) -> Iterator[tuple[Film, str]]:
    """Yield those of so many films of val that the gate lets through, each with the label to explain."""
    table = read(root).of("val").table
    table = table[(table[list(LABELS)] == 1).any(axis=1)].drop_duplicates("patient")
    for row in table.sort_values("file").head(count).itertuples():
        film = prepare(Path(str(row.path)).read_bytes(), kit, now=datetime.now(UTC))
        if isinstance(film, Film):
            yield film, next(label for label in LABELS if getattr(row, label) == 1)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else settings.load().model)
