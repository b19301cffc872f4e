"""The films that a recipe asks for; who is taken is told by a hash of the patient, never by a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from cxr_core.data.films import Films, Only
from cxr_core.data.index import Index, Problem
from cxr_core.data.splits import share_of
from cxr_core.domain import ABNORMAL, FINDINGS
from cxr_core.errors import DataError


def choose(index: Index, films: Films, labels: Sequence[str] | None = None) -> Index:
    """Return the films and labels of a recipe, what was left out among the problems.

    Val and test keep the proportions that they have: only training films are thinned. A finding that the
    index does not have is a rare label with no film at all.

    Args:
        index: all splits.
        films: the recipe's table; `small_films` is the reader's business.
        labels: the recipe's; what `only` and the thinning go by. All of the index if None.

    Raises:
        DataError: a label that is neither the index's nor a finding, a finding that no film has and that is
            not to be left out, or nothing left to train on.
    """
    asked = tuple(index.labels if labels is None else labels)
    absent = [label for label in asked if label in FINDINGS and label not in index.labels]
    wanted = [label for label in asked if label not in absent]
    index.truth(wanted)  # says which label is lacking
    if absent and not (films.drop_rare and films.min_count > 0):
        raise DataError(
            f"{index.name}: 0 training films of {', '.join(absent)}; drop_rare = true with a min_count of 1 "
            "or more leaves such labels out"
        )
    within = {label: source for label, source in films.known_within.items() if label not in absent}
    index = _known_within(index, within)
    index = _only(index, films.only, wanted)
    index = _thinned(index, films.negatives_per_positive, wanted)
    index = _at_most(index, films.most)
    index = without_rare(index, films.min_count, drop=films.drop_rare)
    index = index.noted(_rare(dict.fromkeys(absent, 0), films.min_count, drop=True))
    if not (index.table["split"] == "train").any():
        raise DataError(f"{index.name}: no training film is left for {', '.join(asked)}")
    return index


def rare_labels(index: Index, min_count: int) -> dict[str, int]:
    """Return the labels with fewer positive training films than that, and how many they have."""
    train = index.of("train")
    counts = (train.truth() == 1).sum(axis=0)
    return {label: int(count) for label, count in zip(index.labels, counts, strict=True) if count < min_count}


def without_rare(index: Index, min_count: int, *, drop: bool) -> Index:
    """Return the index with labels below the count reported, and left out if told so."""
    rare = rare_labels(index, min_count)
    if drop and rare:
        kept = tuple(label for label in index.labels if label not in rare)
        index = replace(index, labels=kept, table=index.table.drop(columns=list(rare)))
    return index.noted(_rare(rare, min_count, drop=drop))


def _rare(counts: dict[str, int], min_count: int, *, drop: bool) -> list[Problem]:
    done = "left out" if drop else "kept all the same"
    return [
        Problem("rare_label", label, f"{count} training films, below {min_count}: {done}")
        for label, count in counts.items()
    ]


def _known_within(index: Index, within: dict[str, str]) -> Index:
    """Return the index with each label unknown outside the source it is known in.

    Where the data set names no source at all (the whole of ChestX-ray14), there is nothing to
    confound the label with, and it stays.
    """
    if not within:
        return index
    index.truth(list(within))
    sources = index.table["source"]
    if (sources == "").all():
        text = f"names no source: {', '.join(within)} is taken as known on all films"
        return index.noted([Problem("no_sources", index.name, text)])
    table = index.table.copy()
    for label, source in within.items():
        if not (sources == source).any():
            raise DataError(f"{index.name}: {label} is to be known within {source!r}, which no film has")
        table[label] = table[label].where(sources == source).astype(np.float32)
    return replace(index, table=table)


def _only(index: Index, only: Only, wanted: Sequence[str]) -> Index:
    if only == Only.ALL:
        return index
    findings = [label for label in index.labels if label != ABNORMAL]
    found = (index.truth(findings) == 1).sum(axis=1)
    if only == Only.SINGLE_LABEL:
        named = (index.truth([label for label in wanted if label != ABNORMAL]) == 1).sum(axis=1)
        return index.where((found == 1) & (named == 1))
    return index.where((index.truth(wanted) == 1).any(axis=1) | _normal(index, findings))


def _normal(index: Index, findings: Sequence[str]) -> NDArray[np.bool_]:
    """Return (N,) whether a film is known to show nothing: not abnormal where that is said."""
    if ABNORMAL in index.labels:
        normal: NDArray[np.bool_] = index.truth([ABNORMAL])[:, 0] == 0
        return normal
    clear: NDArray[np.bool_] = (index.truth(findings) == 0).all(axis=1)
    return clear


def _thinned(index: Index, negatives_per_positive: float, wanted: Sequence[str]) -> Index:
    """Return the index with so many training negatives a positive, or fewer if there are not as many."""
    if not negatives_per_positive:
        return index
    train = (index.table["split"] == "train").to_numpy()
    truth = index.truth(wanted)
    positive = (truth == 1).any(axis=1)
    negative = (truth == 0).any(axis=1) & ~positive
    room = round(negatives_per_positive * int((train & positive).sum()))
    return index.where(_first(index, train & negative, room) | ~train | positive)


def _at_most(index: Index, most: int) -> Index:
    train = (index.table["split"] == "train").to_numpy()
    return index.where(_first(index, train, most) | ~train) if most else index


def _first(index: Index, among: NDArray[np.bool_], count: int) -> NDArray[np.bool_]:
    """Return the mask of the first `count` of some films, in the order of their patients' hashes."""
    of_patient = {patient: share_of(patient, "choose") for patient in index.table["patient"].unique()}
    order = pd.DataFrame({"share": index.table["patient"].map(of_patient), "file": index.table["file"]})
    taken = order[among].sort_values(["share", "file"]).index[:count]
    mask = np.zeros(len(index), dtype=np.bool_)
    mask[taken] = True
    return mask
