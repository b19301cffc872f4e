"""What a reader holds of a study: of a finding, of its urgency, in a note; and how it is taken back.

Each is one transaction, as in `actions`: the study, a review row and an audit row. Nothing is ever removed;
an undo is an entry of its own. What the model said is never touched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.orm import Session

from cxr_core.access import Action, Actor, Role
from cxr_core.domain import Urgency
from cxr_core.errors import Conflict, Forbidden, Invalid, StoreError
from cxr_core.files import printable
from cxr_core.worklist import judge, reviews
from cxr_core.worklist.actions import change
from cxr_core.worklist.overrides import Override, marks
from cxr_core.worklist.schema import StudyRow
from cxr_core.worklist.values import Review

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

LONGEST_TEXT = 2000
"""Characters of a reason or a note; a longer one is refused, never cut."""


def opine(service: Service, actor: Actor, study_id: str, version: int, finding: str, *, agrees: bool) -> None:
    """Note whether the actor agrees with what the model said of a finding, present or not.

    Each person has one opinion of a finding: another one replaces it until it is undone.

    Raises:
        Conflict: the study is no longer at `version`, or the actor said just that before.
        Invalid: no film of the study has an answer for this finding.
        StoreError: there is no such study.
    """
    said = {"finding": finding}
    detail: dict[str, str | int | bool | None] = {}
    kind = reviews.AGREE if agrees else reviews.DISAGREE
    with change(service, actor, kind, study_id, version, said, detail) as (study, _, session):
        answered = [
            (each.versions.model, prediction.positive)
            for each in judge.assessed(session, service.policy, [study])[study.id]
            for prediction in each.predictions
            if prediction.label == finding
        ]
        if not answered:
            raise Invalid("the model has said nothing of this finding on this study")
        positive = any(positive for _, positive in answered)
        model = ", ".join(sorted({model for model, _ in answered}))
        for held in reviews.standing(reviews.read(session, study.id)).opinions:
            same = (held.by, held.finding, held.agrees) == (actor.name, finding, agrees)
            if same and (held.positive, held.model) == (positive, model):
                raise Conflict("you said so of this finding before")
        said |= {"said": "positive" if positive else "negative", "model": model}
        detail["finding"] = finding


def override(
    service: Service, actor: Actor, study_id: str, version: int, urgency: Urgency, reason: str
) -> None:
    """Give the study another urgency, which the list then goes by; see `overrides` for what still raises it.

    Anybody may raise. What another person has is lowered only once it is released. A study made critical
    raises the alert, one that was read comes back when it is raised.

    Raises:
        Conflict: the study is no longer at `version`, has this urgency already, or another person has it.
        Invalid: there is no reason, or it is too long.
        StoreError: there is no such study.
    """
    said = {"to": urgency.value, "reason": text(reason, "the reason")}
    detail: dict[str, str | int | bool | None] = {"to": urgency.value}
    with change(service, actor, reviews.OVERRIDE, study_id, version, said, detail) as (study, _, session):
        before = study.urgency
        if urgency == before:
            raise Conflict("the study has this urgency already")
        films = judge.outcomes(session, service.policy, [study])[study.id]
        given = Override(urgency, actor.name, marks(films))
        _settle(service, session, actor, study, given, by_person=True)
        said |= {"from": before, reviews.SEEN: " ".join(sorted(given.seen))}
        detail["from"] = before


def note(service: Service, actor: Actor, study_id: str, version: int, said: str) -> None:
    """Put a note to the study.

    Raises:
        Conflict: the study is no longer at `version`.
        Invalid: the note is empty or too long.
        StoreError: there is no such study.
    """
    with change(service, actor, reviews.NOTE, study_id, version, {"text": text(said, "the note")}):
        pass


def undo(service: Service, actor: Actor, study_id: str, version: int, review_id: int) -> None:
    """Take back an opinion, an override, a note or a reading by an entry that says so; what was, holds again.

    Opinions, notes and readings are their author's, or a lead's, to undo. An override is undone by whoever
    may override; the urgency is then the override's before it, or what the films say. That ends no alert
    but one that this override raised: a critical study that nobody acknowledged is critical, also where the
    override had lowered it. A study whose reading is undone is on the list as it was before: who had it,
    has it.

    Raises:
        Conflict: the study is no longer at `version`, the entry cannot be undone or was before, the study
            is back on the list already, or the urgency would fall and another person has the study.
        Forbidden: it is another person's opinion, note or reading.
        StoreError: there is no such study or entry.
    """
    said = {reviews.OF: str(review_id)}
    detail: dict[str, str | int | bool | None] = {"review": review_id}
    with change(service, actor, reviews.UNDO, study_id, version, said, detail) as (study, now, session):
        done = reviews.read(session, study.id)
        entry = _undoable(actor, done, review_id)
        said["what"] = detail["what"] = entry.kind
        if entry.kind == reviews.READ:
            if entry.id in reviews.lapsed(done, is_open=study.is_open):
                raise Conflict("the study came back to the list since; there is nothing to undo")
            study.is_open, study.read_by, study.read_utc = True, None, None
        if entry.kind == reviews.OVERRIDE:
            before, stood = study.urgency, reviews.override(done) == entry
            left = reviews.override((*done, Review(now, actor.name, reviews.UNDO, said)))
            lowered = stood and reviews.lowered_critical(done, entry)
            _settle(
                *(service, session, actor, study, _given(left) if left else None),
                by_person=stood and not lowered and entry.data["to"] == Urgency.CRITICAL,
                was_critical=lowered,
            )
            said |= {"from": before, "to": study.urgency}
            detail |= {"from": before, "to": study.urgency}


def text(typed: str, what: str) -> str:
    """Return what a person typed on one line without control characters.

    Raises:
        Invalid: nothing is left, or more than LONGEST_TEXT characters.
    """
    line = printable(" ".join(typed.split()))
    if not line:
        raise Invalid(f"{what} is empty; say in a few words what you mean")
    if len(line) > LONGEST_TEXT:
        raise Invalid(f"{what} has {len(line)} characters; at most {LONGEST_TEXT} are kept")
    return line


def _undoable(actor: Actor, done: tuple[Review, ...], review_id: int) -> Review:
    entry = next((each for each in done if each.id == review_id), None)
    if entry is None:
        raise StoreError("there is no such entry")
    if entry.kind not in reviews.UNDOABLE:
        raise Conflict(f"an entry that says {entry.kind!r} cannot be undone")
    if entry.id in reviews.undone(done):
        raise Conflict("this was undone before")
    if entry.kind == reviews.OVERRIDE:
        actor.check(Action.OVERRIDE)
    elif entry.actor != actor.name and not actor.role.covers(Role.LEAD):
        did = "read this" if entry.kind == reviews.READ else "said this"
        raise Forbidden(f"another person {did}; to undo it needs the role {Role.LEAD}")
    return entry


def _given(review: Review) -> Override:
    """Return the override that an entry tells of."""
    seen = frozenset(review.data[reviews.SEEN].split())
    return Override(Urgency(review.data["to"]), review.actor, seen)


def _settle(
    service: Service,
    session: Session,
    actor: Actor,
    study: StudyRow,
    given: Override | None,
    *,
    by_person: bool,
    was_critical: bool = False,
) -> None:
    """Let the override, or none, stand; not where that lowers what another person has.

    The last two are `judge.weigh`'s.
    """
    before = Urgency(study.urgency)
    study.override = given.as_json() if given else None
    films = judge.outcomes(session, service.policy, [study])[study.id]
    judge.weigh(study, films, service.policy, by_person=by_person, was_critical=was_critical)
    lowered = Urgency(study.urgency).rank > before.rank
    if lowered and study.is_open and study.claimed_by not in (None, actor.name):
        raise Conflict("another person has this study; to lower its urgency it must be released first")
