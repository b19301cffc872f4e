"""A study's row brought up to date with its films, and whether a person must see it again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from cxr_core.domain import Analysis, Sex, State, Study, Urgency, View
from cxr_core.errors import PolicyError, StoreError
from cxr_core.logs import Log
from cxr_core.triage.order import tier_of
from cxr_core.triage.policy import Policy
from cxr_core.worklist import codec, stored_policy
from cxr_core.worklist.aggregate import Outcome, Verdict, aggregate
from cxr_core.worklist.amend import amended
from cxr_core.worklist.overrides import Override, counting
from cxr_core.worklist.schema import ImageRow, ResultRow, StudyRow
from cxr_core.worklist.values import ImageStatus, Status

_log = Log(__name__)

HELD = "It was critical before and nobody has acknowledged that, so it stays critical until somebody does."


@dataclass(frozen=True, slots=True)
class Film:
    """A film of a study, as far as it decides."""

    sha256: str
    status: ImageStatus
    result_id: int | None


def judge(
    session: Session, policy: Policy, rows: Sequence[StudyRow], known: Mapping[int, Analysis] | None = None
) -> None:
    """Write into the rows, which the caller has locked, what their films say; their versions rise.

    Args:
        session: the caller's transaction; what it changed in images must be flushed.
        policy: in force.
        rows: the studies.
        known: results by id that need not be read again.
    """
    said = outcomes(session, policy, rows, known, strict=False)
    for row in rows:
        weigh(row, said[row.id], policy)
        row.version += 1


def outcomes(
    session: Session,
    policy: Policy,
    rows: Sequence[StudyRow],
    known: Mapping[int, Analysis] | None = None,
    *,
    strict: bool = True,
) -> dict[str, list[Outcome]]:
    """Return what is known of each study's films, in order of arrival; arguments as of `judge`.

    Raises:
        PolicyError: the policy that made an answer cannot be read, and `strict`; else that answer counts as
            lost, for films must come in and be answered.
    """
    films = films_of(session, rows)
    results = results_of(session, (image.result_id for each in films.values() for image in each), known or {})
    return {
        row.id: [
            as_recorded(session, image, results.get(image.result_id or 0), row.typed, policy, strict=strict)
            for image in films[row.id]
        ]
        for row in rows
    }


def assessed(session: Session, policy: Policy, rows: Sequence[StudyRow]) -> dict[str, list[Analysis]]:
    """Return per study the analyses that count, of the films that the model assessed, in order of arrival."""
    films = films_of(session, rows)
    results = results_of(session, (image.result_id for each in films.values() for image in each), {})
    return {
        row.id: [
            analysis
            for image in films[row.id]
            if image.status is not ImageStatus.CONFLICT and image.result_id in results
            if (analysis := counted(session, results[image.result_id], row.typed, policy)).refusal is None
        ]
        for row in rows
    }


def weigh(
    row: StudyRow,
    films: Sequence[Outcome],
    policy: Policy,
    *,
    by_person: bool = False,
    was_critical: bool = False,
) -> None:
    """Write into the row what its films say, and how urgent it is with what a person said of that.

    What is graver than a person has seen must be seen again; so must whatever is found in a study that was
    read while it waited, or was refused. What was critical stays so until a person has acknowledged it or
    said otherwise, whatever a typed view or another model makes of it.

    Args:
        row: of the study.
        films: what is known of them.
        policy: in force.
        by_person: a person says now that it is not critical.
        was_critical: it was before a person said otherwise, who takes that back now.
    """
    verdict = aggregate(films, policy)
    urgency = counting(overridden(row), films, policy)
    before, seen = Urgency(row.urgency), {label for label in row.findings.split("|") if label}
    held = (
        (before is Urgency.CRITICAL or was_critical)
        and urgency is not Urgency.CRITICAL
        and row.acknowledged_utc is None
        and not by_person
    )
    urgency = Urgency.CRITICAL if held else urgency
    graver, more = urgency.rank < before.rank, not seen.issuperset(verdict.findings)
    critical, unanswered = urgency is Urgency.CRITICAL, row.state in (None, State.REFUSED)
    if critical and (graver or more):
        forget_acknowledgement(row)
    if graver or (more and (critical or unanswered)):
        reopen(row)
    for column, value in columns(verdict).items():
        setattr(row, column, value)
    row.urgency, row.tier = urgency.value, tier_of(urgency)
    row.reasons = [*row.reasons, HELD] if held else row.reasons
    row.films_urgency = None if row.override is None else verdict.urgency.value


def overridden(row: StudyRow) -> Override | None:
    """Return the override that stands."""
    return Override.from_json(row.override) if row.override else None


def columns(verdict: Verdict) -> dict[str, Any]:
    """Return the verdict as columns of `study`."""
    return {
        "state": verdict.state.value if verdict.state else None,
        "urgency": verdict.urgency.value,
        "tier": verdict.tier,
        "findings": "".join(f"|{label}" for label in verdict.findings) + "|" * bool(verdict.findings),
        "action": verdict.action,
        "reasons": list(verdict.reasons),
        "cover": verdict.cover,
    }


def reopen(row: StudyRow) -> None:
    """Put a study that was read back on the list; what was done with it stays in its reviews."""
    if row.is_open:
        return
    row.is_open = True
    row.status = Status.NEW if row.acknowledged_utc is None else Status.ACKNOWLEDGED
    row.claimed_by = row.claimed_utc = row.read_by = row.read_utc = None


def forget_acknowledgement(row: StudyRow) -> None:
    """Let the alert stand again; who had acknowledged what stays in the study's reviews."""
    if row.status == Status.ACKNOWLEDGED:
        row.status = Status.CLAIMED if row.claimed_by else Status.NEW
    row.acknowledged_by = row.acknowledged_utc = None


def completed(film: Study, typed: Mapping[str, Any] | None) -> Study:
    """Return what a film says of its study, overlaid with what a person typed of age, sex and view."""
    if not typed:
        return film
    age, sex, view = typed["age_years"], Sex(typed["sex"]), View(typed["view"])
    return replace(
        film,
        age_years=film.age_years if age is None else age,
        sex=film.sex if sex is Sex.UNKNOWN else sex,
        view=film.view if view is View.UNKNOWN else view,
    )


def laid_over(film: Study, typed: Mapping[str, Any] | None) -> Study:
    """Return `completed`, but a film whose own tags say PA or AP is never made a lateral one.

    What is typed is said of the whole study: its lateral film must not take away what the frontal one shows.
    """
    said = completed(film, typed)
    frontal = film.view in (View.PA, View.AP)
    return replace(said, view=film.view) if frontal and said.view is View.LATERAL else said


def as_typed(study: Study, tags: Study = Study()) -> dict[str, Any]:  # noqa: B008 -- frozen
    """Return what `StudyRow.typed` keeps of a study as a person completed it: what its tags do not say."""
    return {
        "age_years": None if study.age_years == tags.age_years else study.age_years,
        "sex": (Sex.UNKNOWN if study.sex is tags.sex else study.sex).value,
        "view": (View.UNKNOWN if study.view is tags.view else study.view).value,
    }


OPEN = as_typed(Study())
"""Nothing typed."""


def counted(
    session: Session, analysis: Analysis, typed: Mapping[str, Any] | None, policy: Policy
) -> Analysis:
    """Return the analysis as it counts, by the policy that made it: another one must be asked for first.

    Where that policy is not kept here, the one given decides.

    Raises:
        PolicyError: it is kept, but this program cannot read it.
    """
    if not typed:
        return analysis
    return decided(analysis, typed, stored_policy.of_version(session, analysis.versions.policy, policy))


def decided(analysis: Analysis, typed: Mapping[str, Any] | None, policy: Policy) -> Analysis:
    """Return the analysis as it counts: as it was recorded, or decided anew with what a person typed."""
    if not typed:
        return analysis
    versions = replace(analysis.versions, policy=policy.version)
    return replace(amended(analysis, laid_over(analysis.study, typed), policy), versions=versions)


def films_of(session: Session, rows: Sequence[StudyRow]) -> dict[str, list[Film]]:
    """Return each study's films in order of arrival."""
    found: dict[str, list[Film]] = {row.id: [] for row in rows}
    query = (
        select(ImageRow.sha256, ImageRow.study_id, ImageRow.status, ImageRow.result_id)
        .where(ImageRow.study_id.in_(found))
        .order_by(ImageRow.received_utc, ImageRow.sha256)
    )
    for sha256, study_id, status, result_id in session.execute(query):
        found[study_id].append(Film(sha256, ImageStatus(status), result_id))
    return found


def results_of(
    session: Session, ids: Iterable[int | None], known: Mapping[int, Analysis]
) -> dict[int, Analysis]:
    """Return the results by id, as they were recorded; those that cannot be read are left out."""
    wanted = {id_ for id_ in ids if id_ is not None}
    query = select(ResultRow.id, ResultRow.sha256, ResultRow.body).where(
        ResultRow.id.in_(wanted - set(known))
    )
    read: dict[int, Analysis] = {}
    for id_, sha256, body in session.execute(query):
        try:
            read[id_] = codec.decode(sha256, body)
        except StoreError:  # as if it were not there: a person must look, and no other study must wait for it
            _log.error("result_unreadable", film=sha256)
    return {**known, **read}


def as_recorded(
    session: Session,
    image: Film,
    analysis: Analysis | None,
    typed: Mapping[str, Any] | None,
    policy: Policy,
    *,
    strict: bool,
) -> Outcome:
    """Return what a film says by its recorded answer; arguments and error as of `outcomes`."""
    if analysis is None:
        return Outcome(image.sha256, image.status)
    try:
        analysis = counted(session, analysis, typed, policy)
    except PolicyError:
        if strict:
            raise
        _log.error("policy_unreadable", film=image.sha256)
        return Outcome(image.sha256, image.status)
    return Outcome(image.sha256, image.status, analysis.triage, analysis.refusal, image.result_id)
