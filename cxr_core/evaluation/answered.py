"""From what the pipeline answered on films of a data set to tables as an export writes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from cxr_core.data.index import Index
from cxr_core.domain import Analysis
from cxr_core.errors import DataError
from cxr_core.evaluation.scored import Scored, scored_of
from cxr_core.evaluation.tables import Answers, facts_of
from cxr_core.inference.manifest import Manifest


@dataclass(frozen=True, slots=True, eq=False)
class Answered:
    """A model's answers on the films of an index.

    Attributes:
        scored: the films it answered.
        refused: how many it refused: they count for no figure.
        sha256: of each film's bytes, refused ones too, in the order of the index.
    """

    scored: Scored
    refused: int
    sha256: tuple[str, ...]


def answered(index: Index, split: str, manifest: Manifest, results: Iterable[Analysis]) -> Answered:
    """Return the answers beside what the index says is true.

    A label that the data set does not have is unknown on every film; one that the model knows within one
    source only is judged within it, or on all films where the data set names no sources.

    Args:
        index: films of one split.
        split: its name.
        manifest: of the model.
        results: of the pipeline, in the order of the index.

    Raises:
        DataError: the data set has none of the model's labels, or every film was refused.
    """
    labels = manifest.labels
    if not set(labels) & set(index.labels):
        raise DataError(f"{index.name}: has none of the labels of {manifest.id}: {', '.join(labels)}")
    kept, rows, members, digests = [], [], [], []
    for number, result in enumerate(results):
        digests.append(result.sha256)
        if result.refusal is not None:
            continue
        said = {each.label: each for each in result.predictions}
        if result.abnormal is not None:
            said[result.abnormal.label] = result.abnormal
        kept.append(number)
        rows.append([said[label].probability for label in labels])
        members.append([said[label].members for label in labels])
    if not kept:
        raise DataError(f"{index.name}: every film of {split} was refused, or there is none")
    table = facts_of(index).iloc[kept].reset_index(drop=True)
    table = table.assign(**{label: np.nan for label in labels if label not in index.labels})
    known = manifest.data.known_within if (table["source"] != "").any() else {}
    told = replace(manifest, data=replace(manifest.data, known_within=known))
    answers = Answers(table, np.array(rows), np.array(members).transpose(0, 2, 1))
    scored = scored_of(told, index.name, split, answers, table)
    return Answered(scored, len(digests) - len(kept), tuple(digests))
