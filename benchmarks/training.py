"""Images a second of training: reading, learning, both, and a plain torchvision loop beside them.

`python benchmarks/training.py [RECIPE]` on made films; nothing is downloaded and nothing is kept. Reading
is timed on decoded films in the memory map, as every epoch but the first finds them; decoding has its line.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from cxr_core.data.cache import network_inputs
from cxr_core.data.index import Index
from cxr_core.data.readers import read
from cxr_core.imaging.phantom import make_phantom, phantom_png
from cxr_core.training.architectures import StridedDepthwise
from cxr_core.training.augment import augmented
from cxr_core.training.losses import loss_of
from cxr_core.training.module import optimiser_of
from cxr_core.training.networks import build
from cxr_core.training.prepare import of_index
from cxr_core.training.recipes import TrainingRecipe, read_recipe
from cxr_core.training.run import faster_precision
from cxr_core.training.sampling import Batch, FilmSet, training_loader

ROOT = Path(__file__).resolve().parent.parent
FILMS = 256
SHAPES = 16
"""Different phantoms; each is written so often that there are FILMS files."""
SIDE_PX = 128
EPOCHS = 3
PRECISION_STEPS = 6
"""Few: without instructions for bfloat16 a step takes minutes."""


def main() -> None:
    """Measure and print one table."""
    recipe = read_recipe(
        Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT / "recipes" / "effusion_balanced.toml"
    )
    with tempfile.TemporaryDirectory() as folder:
        write_films(Path(folder) / "films")
        began = time.perf_counter()
        index = read(Path(folder) / "films")
        whole, store = network_inputs(index, recipe.preprocessing, Path(folder) / "cache")
        decoding = len(whole) / (time.perf_counter() - began)
        films = films_of(recipe, whole, store)
        alone, step = pipeline_alone(recipe, films), step_alone(recipe, films)
        both = together(recipe, films)
        rows = [
            ("decoding into the cache, once", decoding, ""),
            ("input pipeline alone: memory map, augmentation", alone, ""),
            ("step alone: the same batch again and again", step, ""),
            *precisions(recipe, films),
            ("both together", both, f"{both / min(alone, step):.0%} of the slower; aim ≥ 90 %"),
            ("torchvision ImageFolder, input alone", plain_input(recipe, Path(folder) / "films"), ""),
            ("torchvision ImageFolder, with the same step", plain(recipe, films, Path(folder) / "films"), ""),
        ]
    table = Table(
        "what", "images/s", "", title=f"{recipe.name}, {torch.get_num_threads()} threads, {FILMS} films"
    )
    for what, rate, note in rows:
        table.add_row(what, f"{rate:,.0f}", note)
    Console(width=120).print(table)


def write_films(folder: Path) -> None:
    """Write films in a folder for each class, as ImageFolder wants them."""
    from PIL import Image

    for shape in range(SHAPES):
        name = ("effusion", "normal")[shape % 2]
        phantom = make_phantom(shape, ("Effusion",) if name == "effusion" else (), size=256)
        (folder / name).mkdir(parents=True, exist_ok=True)
        first = folder / name / f"{shape:02}-00.png"
        first.write_bytes(phantom_png(phantom))
        with Image.open(first) as film:
            small = film.convert("L").resize((SIDE_PX, SIDE_PX))
        pixels = np.asarray(small)
        for copy in range(FILMS // SHAPES):
            noise = np.random.default_rng((shape, copy)).integers(0, 8, pixels.shape)
            changed = np.clip(pixels + noise, 0, 255).astype(np.uint8)
            Image.fromarray(changed).save(folder / name / f"{shape:02}-{copy:02}.png")


def films_of(recipe: TrainingRecipe, index: Index, store: np.ndarray) -> FilmSet:
    """Return the films, those with effusion with every label of the recipe."""
    films = of_index(replace(recipe, labels=("Effusion",)), index, store)
    return replace(films, truth=np.repeat(films.truth, len(recipe.labels), axis=1))


def batches(recipe: TrainingRecipe, films: FilmSet) -> Iterable[Batch]:
    """Yield augmented batches of a few epochs."""
    loader = training_loader(films, recipe.fit, seed=0, rank=0, ranks=1, workers=0)
    for _ in range(EPOCHS):
        for inputs, truth, side_px in loader:
            yield augmented(inputs, side_px, recipe.augmentation), truth, side_px


def rate_of(batches: Iterable[Batch], step: Callable[[torch.Tensor, torch.Tensor], None] | None) -> float:
    """Return images a second over all batches but the first."""
    count, began = 0, 0.0
    for number, (inputs, truth, _) in enumerate(batches):
        if step is not None:
            step(inputs, truth)
        if number == 0:
            began = time.perf_counter()
        else:
            count += len(inputs)
    return count / (time.perf_counter() - began)


def precisions(recipe: TrainingRecipe, films: FilmSet) -> list[tuple[str, float, str]]:
    """Return lines with the images a second of the step in either precision, and in bfloat16 throughout."""
    batch = next(iter(batches(recipe, films)))
    again = [batch] * PRECISION_STEPS
    plain = rate_of(again, step_of(recipe, films, "32-true"))
    lines = [("step alone in float32", plain, "")]
    for what, everywhere in (("", False), (", strided depthwise convolutions too", True)):
        rate = rate_of(again, step_of(recipe, films, "bf16-mixed", everywhere=everywhere))
        lines.append((f"step alone in bfloat16{what}", rate, f"{rate / plain:.2f} of float32"))
    return lines


def films_a_line(films: FilmSet) -> int:
    """Return how many films a line of the table is timed over."""
    return EPOCHS * len(films)


def step_of(
    recipe: TrainingRecipe, films: FilmSet, precision: str = "", *, everywhere: bool = False
) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """Return a whole training step of the recipe's network in a precision, by default the faster.

    With `everywhere` strided depthwise convolutions follow it too, as torch would have them.
    """
    network = build(recipe.network, recipe.outputs).to(memory_format=torch.channels_last)
    for module in network.modules():
        if everywhere and isinstance(module, StridedDepthwise):
            module.__class__ = torch.nn.Conv2d
    mixed = (precision or faster_precision(network, films, recipe)) != "32-true"
    optimiser = optimiser_of(network, recipe.fit, recipe.fit.phases[-1].rate)
    loss = loss_of(recipe, torch.from_numpy(films.truth))

    def step(inputs: torch.Tensor, truth: torch.Tensor) -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=mixed):
            logits = network(inputs.to(memory_format=torch.channels_last))
        loss(logits.float(), truth).backward()
        optimiser.step()

    return step


def pipeline_alone(recipe: TrainingRecipe, films: FilmSet) -> float:
    """Return images a second read and augmented."""
    return rate_of(batches(recipe, films), None)


def step_alone(recipe: TrainingRecipe, films: FilmSet) -> float:
    """Return images a second learned from one batch that is there already."""
    batch = next(iter(batches(recipe, films)))
    return rate_of([batch] * (films_a_line(films) // len(batch[0])), step_of(recipe, films))


def together(recipe: TrainingRecipe, films: FilmSet) -> float:
    """Return images a second read, augmented and learned from."""
    return rate_of(batches(recipe, films), step_of(recipe, films))


def image_folder(recipe: TrainingRecipe, folder: Path) -> Iterable[Batch]:
    """Yield what the usual loop yields: PIL, resize, rotation, tensor, default collation."""
    side = recipe.preprocessing.network_px
    changes = [transforms.Grayscale(), transforms.Resize((side, side)), transforms.RandomRotation(10)]
    changes += [transforms.RandomHorizontalFlip(), transforms.ColorJitter(0.2, 0.2), transforms.ToTensor()]
    data = datasets.ImageFolder(str(folder), transforms.Compose([*changes, transforms.Normalize(0.5, 0.5)]))
    for _ in range(EPOCHS):
        for inputs, classes in DataLoader(data, batch_size=recipe.fit.batch, shuffle=True, drop_last=True):
            truth = (classes == 0).float()[:, None].expand(-1, len(recipe.labels))
            yield inputs, truth, torch.zeros(len(inputs))


def plain_input(recipe: TrainingRecipe, folder: Path) -> float:
    """Return images a second of the usual loop without learning."""
    return rate_of(image_folder(recipe, folder), None)


def plain(recipe: TrainingRecipe, films: FilmSet, folder: Path) -> float:
    """Return images a second of the usual loop with the same step."""
    return rate_of(image_folder(recipe, folder), step_of(recipe, films))


if __name__ == "__main__":
    main()
