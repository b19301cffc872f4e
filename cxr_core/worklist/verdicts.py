"""What readers held of the findings, of all studies together, and where they differ from the model.

A bounded number of queries whatever there is to read: of the newest MOST entries, then of the answers of the
studies of one page. What was undone does not count, and each person has one opinion of a finding of a study.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from cxr_core.domain import Prediction
from cxr_core.worklist import judge, reviews
from cxr_core.worklist.schema import ImageRow, ResultRow, ReviewRow
from cxr_core.worklist.values import Opinion, Review

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

MOST = 20_000
"""Entries that are read, the newest; who opined before that is left out, and that is said."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """An opinion that stands, and the study it is of."""

    study_id: str
    opinion: Opinion


@dataclass(frozen=True, slots=True)
class Verdicts:
    """All opinions that stand, the oldest first; `older` says that there are more that were not read."""

    each: tuple[Verdict, ...]
    older: bool


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """A reader disagrees with the model.

    Attributes:
        study_id: of which.
        opinion: who, when, of which finding, and whether the model had called it.
        said: that model's answer, the highest among the study's films; None where it is lost.
    """

    study_id: str
    opinion: Opinion
    said: Prediction | None


@dataclass(frozen=True, slots=True)
class Discrepancies:
    """Some of `total` discrepancies, the newest first."""

    shown: tuple[Discrepancy, ...]
    total: int


def verdicts(service: Service) -> Verdicts:
    """Return every opinion that stands."""
    with service.database.read() as session:
        return _verdicts(session)


def discrepancies(service: Service, *, finding: str, model: str, offset: int, limit: int) -> Discrepancies:
    """Return where readers disagree, the newest first.

    Args:
        service: the worklist.
        finding: only of this one; empty is any.
        model: only with this one, as results name it; empty is any.
        offset: how many are passed over.
        limit: how many are shown.
    """
    with service.database.read() as session:
        found = [
            each
            for each in reversed(_verdicts(session).each)
            if not each.opinion.agrees and finding in ("", each.opinion.finding) and of_model(each, model)
        ]
        shown = found[offset : offset + limit]
        answers = _answers(session, shown)
    return Discrepancies(
        tuple(Discrepancy(each.study_id, each.opinion, _highest(each, answers)) for each in shown), len(found)
    )


def of_model(verdict: Verdict, model: str) -> bool:
    """Return whether the opinion is of an answer of this model; of any where it is empty."""
    return not model or model in models_of(verdict)


def models_of(verdict: Verdict) -> tuple[str, ...]:
    """Return whose answers the opinion is of: several where a study's films were answered by several."""
    return tuple(verdict.opinion.model.split(", "))


def _verdicts(session: Session) -> Verdicts:
    columns = (ReviewRow.study_id, ReviewRow.at_utc, ReviewRow.actor, ReviewRow.kind, ReviewRow.data)
    query = (
        select(*columns, ReviewRow.id)
        .where(ReviewRow.kind.in_((reviews.AGREE, reviews.DISAGREE, reviews.UNDO)))
        .order_by(ReviewRow.id.desc())
        .limit(MOST + 1)
    )
    rows = session.execute(query).all()
    by_study: dict[str, list[Review]] = {}
    for study_id, at, actor, kind, data, id_ in reversed(rows[:MOST]):
        entry = Review(at, actor, kind, {name: str(value) for name, value in data.items()}, id_)
        by_study.setdefault(study_id, []).append(entry)
    found = [
        Verdict(study_id, opinion)
        for study_id, entries in by_study.items()
        for opinion in reviews.standing(entries).opinions
    ]
    found.sort(key=lambda each: (each.opinion.at, each.opinion.review))
    return Verdicts(tuple(found), older=len(rows) > MOST)


def _answers(session: Session, shown: Sequence[Verdict]) -> dict[tuple[str, str], list[Prediction]]:
    """Return what the opinions' models said of the opinions' studies, by study and model."""
    if not shown:
        return {}
    query = (
        select(ImageRow.study_id, ResultRow.model, ResultRow.id)
        .join(ResultRow, ResultRow.sha256 == ImageRow.sha256)
        .where(
            ImageRow.study_id.in_({each.study_id for each in shown}),
            ResultRow.model.in_({model for each in shown for model in models_of(each)}),
            ImageRow.conflicts_with.is_(None),
        )
    )
    rows = session.execute(query).all()
    results = judge.results_of(session, (id_ for _, _, id_ in rows), {})
    found: dict[tuple[str, str], list[Prediction]] = {}
    for study_id, model, id_ in rows:
        if id_ in results:
            found.setdefault((study_id, model), []).extend(results[id_].predictions)
    return found


def _highest(verdict: Verdict, answers: dict[tuple[str, str], list[Prediction]]) -> Prediction | None:
    said = [
        prediction
        for model in models_of(verdict)
        for prediction in answers.get((verdict.study_id, model), ())
        if prediction.label == verdict.opinion.finding
    ]
    return max(said, key=lambda each: each.probability, default=None)
