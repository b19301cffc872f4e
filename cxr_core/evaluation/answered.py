"""From what the pipeline answered on films of a data set to tables as an export writes them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from cxr_core.data.index import Index
from cxr_core.domain import Analysis, GateOutcome
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


def answered(
    whole: Index,
    split: str,
    manifest: Manifest,
    results: Iterable[Analysis],
    usual: pd.DataFrame | None = None,
) -> Answered:
    """Return the answers beside what the index says is true.

    A label that the data set does not have is unknown on every film; one that the model knows within one
    source only is judged within it where the data set has that source, else on all films.

    Args:
        whole: the data set.
        split: which of its films were answered.
        manifest: of the model.
        results: of the pipeline, in the order of the split.
        usual: the model's own table of val, by which the naive model goes; None goes by these films.

    Raises:
        DataError: the data set has none of the model's labels, or every film was refused.
    """
    labels, index = manifest.labels, whole.of(split)
    facts, known = facts_and_sources(index, whole, manifest)
    kept, rows, members, warned, digests = [], [], [], [], []
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
        warned.append(result.gate.outcome is GateOutcome.WARNED)
    if not kept:
        raise DataError(f"{index.name}: every film of {split} was refused, or there is none")
    table = facts.iloc[kept].reset_index(drop=True)
    answers = Answers(table, np.array(rows), np.array(members).transpose(0, 2, 1))
    if usual is None:
        manifest, usual = replace(manifest, data=replace(manifest.data, known_within=known)), table
    scored = scored_of(manifest, index.name, split, answers, usual, within=known)
    scored = replace(scored, warned=np.array(warned))
    return Answered(scored, len(digests) - len(kept), tuple(digests))


def facts_and_sources(index: Index, whole: Index, manifest: Manifest) -> tuple[pd.DataFrame, dict[str, str]]:
    """Return what may be said of films, labels that nobody knows as NaN, and label → its only source here.

    Raises:
        DataError: the data set has none of the model's labels.
    """
    labels, within = manifest.labels, manifest.data.known_within
    if not set(labels) & set(index.labels):
        raise DataError(f"{index.name}: has none of the labels of {manifest.id}: {', '.join(labels)}")
    table = facts_of(index, whole, told=set(within.values()))
    table = table.assign(**{label: np.nan for label in labels if label not in index.labels})
    sources = set(whole.table["source"])
    return table, {label: source for label, source in within.items() if source in sources}
