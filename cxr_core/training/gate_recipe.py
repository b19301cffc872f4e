"""`recipes/gate.toml`: everything that training the gate's network needs beside the pictures."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from cxr_core.errors import RecipeError
from cxr_core.strict import build


@dataclass(frozen=True, slots=True)
class Amounts:
    """How many pictures of each kind there are to learn from; `…_times` says how often each is shown."""

    kermany: int
    covid_times: int
    phantoms: int
    phantom_times: int
    drawn: int
    pieces: int


@dataclass(frozen=True, slots=True)
class Changes:
    """Share of the pictures that are changed so, each in [0, 1]."""

    cropped: float
    mirrored: float
    inverted: float
    turned: float
    blurred: float
    noisy: float
    written: float


@dataclass(frozen=True, slots=True)
class GateRecipe:
    """The whole file; `width` is the number of maps of the first layer."""

    seed: int
    epochs: int
    batch: int
    rate: float
    weight_decay: float
    width: int
    pictures: Amounts
    changes: Changes


def read_gate_recipe(path: Path) -> GateRecipe:
    """Return the recipe of a file.

    Raises:
        RecipeError: not readable, or a key unknown or missing.
    """
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise RecipeError(f"{path.name}: expected a readable TOML file ({exc})") from exc
    return build(GateRecipe, document, path.name, RecipeError)
