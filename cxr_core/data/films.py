"""Which films of an index a training recipe asks for."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Only(StrEnum):
    """Films that take part, by the labels of the recipe."""

    ALL = "all"
    SINGLE_LABEL = "single_label"
    LABEL_OR_NORMAL = "label_or_normal"


@dataclass(frozen=True, slots=True)
class Films:
    """The table `[films]` of a recipe.

    Attributes:
        only: all; those with exactly one of the labels and nothing else; those with the label or none.
        negatives_per_positive: of the training films; 0: as they are.
        small_films: also the films that exist at 64 pixels only.
        known_within: label → source; elsewhere the label is unknown.
        min_count: films that a label needs in train.
        drop_rare: leave out labels below it; they are always reported.
        most: training films at most; 0: all.
    """

    only: Only = Only.ALL
    negatives_per_positive: float = 0.0
    small_films: bool = False
    known_within: dict[str, str] = field(default_factory=dict)
    min_count: int = 2
    drop_rare: bool = True
    most: int = 0
