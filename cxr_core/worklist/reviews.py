"""What people did with a study, read back, and what of it still stands.

Entries are never changed: one that says "undo" names another, which from then on does not stand; whatever it
had replaced stands again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from cxr_core.domain import Urgency
from cxr_core.worklist.schema import ReviewRow
from cxr_core.worklist.values import Opinion, Review, Standing

AGREE, DISAGREE, NOTE, OVERRIDE, READ = "agree", "disagree", "note", "override", "read"
UNDO = "undo"
UNDOABLE = frozenset({AGREE, DISAGREE, NOTE, OVERRIDE, READ})

SEEN, OF = "seen", "of"
"""Members of an entry: marks of the outcomes that an override was given on, and which entry is undone."""


def read(session: Session, study_id: str) -> tuple[Review, ...]:
    """Return everything that people did with the study, in order."""
    return read_all(session, [study_id])[study_id]


def read_all(session: Session, studies: Sequence[str]) -> dict[str, tuple[Review, ...]]:
    """Return the same of several studies in one query."""
    query = select(ReviewRow).where(ReviewRow.study_id.in_(studies)).order_by(ReviewRow.id)
    found: dict[str, list[Review]] = {study_id: [] for study_id in studies}
    for each in session.scalars(query):
        data = {k: str(v) for k, v in each.data.items()}
        found[each.study_id].append(Review(each.at_utc, each.actor, each.kind, data, each.id))
    return {study_id: tuple(done) for study_id, done in found.items()}


def shown(review: Review) -> Review:
    """Return the entry without what only this program reads."""
    return replace(review, data={name: value for name, value in review.data.items() if name != SEEN})


def undone(reviews: Sequence[Review]) -> frozenset[int]:
    """Return the ids of the entries that were undone."""
    return frozenset(int(each.data[OF]) for each in reviews if each.kind == UNDO)


def lapsed(reviews: Sequence[Review], *, is_open: bool) -> frozenset[int]:
    """Return the ids of the readings that no longer hold: the study came back, or was read again since."""
    readings = [each.id for each in reviews if each.kind == READ]
    return frozenset(readings if is_open else readings[:-1])


def override(reviews: Sequence[Review]) -> Review | None:
    """Return the last override that was not undone, with what had been seen."""
    gone = undone(reviews)
    found = [each for each in reviews if each.kind == OVERRIDE and each.id not in gone]
    return found[-1] if found else None


def lowered_critical(reviews: Sequence[Review], given: Review) -> bool:
    """Return whether an override took a study down from critical, which its films had made it.

    Also where it stands on another one that did so and was undone since.
    """
    before = override([each for each in reviews if each.id < given.id])
    by_films = before is None or before.data["to"] != Urgency.CRITICAL
    if given.data["from"] == Urgency.CRITICAL and by_films:
        return True
    return before is not None and before.id in undone(reviews) and lowered_critical(reviews, before)


def standing(reviews: Sequence[Review]) -> Standing:
    """Return what people said and nobody undid.

    Args:
        reviews: of one study, in order.
    """
    gone = undone(reviews)
    left = [shown(each) for each in reviews if each.id not in gone]
    opinions: dict[tuple[str, str], Opinion] = {}
    for each in left:
        if each.kind in (AGREE, DISAGREE):
            opinion = _opinion(each)
            opinions.pop((opinion.by, opinion.finding), None)
            opinions[opinion.by, opinion.finding] = opinion
    last = override(reviews)
    return Standing(
        opinions=tuple(opinions.values()),
        notes=tuple(each for each in left if each.kind == NOTE),
        override=shown(last) if last else None,
    )


def _opinion(review: Review) -> Opinion:
    return Opinion(
        finding=review.data["finding"],
        agrees=review.kind == AGREE,
        by=review.actor,
        at=review.at,
        positive=review.data["said"] == "positive",
        model=review.data["model"],
        review=review.id,
    )
