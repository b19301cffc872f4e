"""What a policy would change: the last studies decided again from their recorded predictions. Reads only.

The same steps as a worker's answer takes, from `decide` to `weigh`, on copies: what people typed, overrode
and acknowledged counts as it would. The network is not asked: its answer does not depend on the policy.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from cxr_core.domain import Analysis, State, Urgency
from cxr_core.triage.compare import Difference, differences, without_effect
from cxr_core.triage.decide import decide, refuse
from cxr_core.triage.order import max_wait
from cxr_core.triage.policy import Policy, parse_policy
from cxr_core.worklist import judge, stored_policy
from cxr_core.worklist.aggregate import Outcome
from cxr_core.worklist.schema import ImageRow, PolicyRow, ResultRow, StudyRow
from cxr_core.worklist.values import ImageStatus

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

LAST = 500
"""Studies decided again: the last received."""
NEVER_AGAIN = (ImageStatus.DEAD, ImageStatus.CONFLICT)
"""A film given up, or of two patients, is not asked again; a study of such films alone stays as it is."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What the list says of a study; the findings in clinical order."""

    state: State | None
    urgency: Urgency
    findings: tuple[str, ...]
    reasons: tuple[str, ...]
    action: str
    is_open: bool
    acknowledged: bool


@dataclass(frozen=True, slots=True)
class Changed:
    """A study that would stand otherwise.

    Attributes:
        study_id, received: which it is.
        before: as the list has it now.
        after: as it would stand once asked anew under the policy that was tried.
        overridden: a person gave its urgency; an answer that they have not seen counts beside that.
    """

    study_id: str
    received: datetime
    before: Standing
    after: Standing
    overridden: bool

    @property
    def raised(self) -> bool:
        """Whether it would be more urgent."""
        return self.after.urgency.rank < self.before.urgency.rank


@dataclass(frozen=True, slots=True)
class Preview:
    """What would change on the last studies.

    Attributes:
        policy: that was tried.
        differences: to the policy in force, place by place.
        without_effect: sentences on changes that do less than they seem to.
        studies: how many were decided again; those without any answer yet are left out.
        read: of these, studies that were read; they keep their answers unless asked anew by name.
        other_model: of these, studies answered by another model, or behind another gate, than those in force,
            which would be asked.
        urgencies, states: how many studies by (before, after).
        changed: other urgency or state, the most urgent after first.
        reworded: how many others would only get another action or other reasons.
        overdue: open studies beyond their longest wait, now and under the policy that was tried.
    """

    policy: Policy = field(repr=False)
    differences: tuple[Difference, ...]
    without_effect: tuple[str, ...]
    studies: int
    read: int
    other_model: int
    urgencies: Mapping[tuple[Urgency, Urgency], int]
    states: Mapping[tuple[State | None, State | None], int]
    changed: tuple[Changed, ...]
    reworded: int
    overdue: tuple[int, int]


@dataclass(frozen=True, slots=True)
class _Study:
    row: StudyRow
    before: Standing
    after: Standing
    other_model: bool


def preview(service: Service, text: str) -> Preview:
    """Return what would change on the last LAST studies.

    Raises:
        PolicyError: the text is no sound policy.
    """
    policy = parse_policy(text)
    with service.database.read() as session:
        in_force = service.policy
        found = _decided_again(session, service, policy)
        now = service.clock()
    changed = [
        Changed(each.row.id, each.row.received_utc, each.before, each.after, each.row.override is not None)
        for each in found
        if (each.before.urgency, each.before.state) != (each.after.urgency, each.after.state)
    ]
    changed.sort(key=lambda each: (each.after.urgency.rank, each.before.urgency.rank))
    same = [
        each
        for each in found
        if (each.before.urgency, each.before.state) == (each.after.urgency, each.after.state)
    ]
    return Preview(
        policy=policy,
        differences=differences(in_force, policy),
        without_effect=without_effect(in_force, policy),
        studies=len(found),
        read=sum(not each.row.is_open for each in found),
        other_model=sum(each.other_model for each in found),
        urgencies=Counter((each.before.urgency, each.after.urgency) for each in found),
        states=Counter((each.before.state, each.after.state) for each in found),
        changed=tuple(changed),
        reworded=sum(_words(each.before) != _words(each.after) for each in same),
        overdue=(
            sum(_overdue(each.row, each.before, in_force, now) for each in found),
            sum(_overdue(each.row, each.after, policy, now) for each in found),
        ),
    )


def _decided_again(session: Session, service: Service, policy: Policy) -> list[_Study]:
    """Return the last studies that have an answer, before and after."""
    query = select(StudyRow).order_by(StudyRow.received_utc.desc(), StudyRow.id.desc()).limit(LAST)
    rows = session.scalars(query).all()
    films = judge.films_of(session, rows)
    results = judge.results_of(session, (film.result_id for each in films.values() for film in each), {})
    kept = _kept(session, service, policy, [analysis.sha256 for analysis in results.values()])
    ours = service.model, service.gate
    found = []
    for row in rows:
        known = [results[film.result_id] for film in films[row.id] if film.result_id in results]
        if known:
            after = before = _standing(row)
            if any(film.status not in NEVER_AGAIN for film in films[row.id]):
                outcomes = [_outcome(session, film, results, kept, row, policy) for film in films[row.id]]
                after = _weighed(row, outcomes, policy)
            other_model = any((each.versions.model, each.versions.gate) != ours for each in known)
            found.append(_Study(row, before, after, other_model))
    return found


def _kept(
    session: Session, service: Service, policy: Policy, films: Sequence[str]
) -> dict[str, tuple[int, Analysis]]:
    """Return what model and gate in force answered under this very policy: it would count again."""
    row = session.scalar(select(PolicyRow).where(PolicyRow.version == policy.version))
    if not stored_policy.same(row, policy):
        return {}
    query = select(ResultRow.sha256, ResultRow.id).join(ImageRow, ImageRow.sha256 == ResultRow.sha256)
    query = query.where(
        ResultRow.sha256.in_(films),
        ResultRow.model == service.model,
        ResultRow.policy == policy.version,
        ResultRow.gate == service.gate,
        ResultRow.correction == ImageRow.correction,
    )
    ids = {sha256: id_ for sha256, id_ in session.execute(query)}
    results = judge.results_of(session, ids.values(), {})
    return {sha256: (id_, results[id_]) for sha256, id_ in ids.items() if id_ in results}


def _outcome(
    session: Session,
    film: judge.Film,
    results: Mapping[int, Analysis],
    kept: Mapping[str, tuple[int, Analysis]],
    row: StudyRow,
    policy: Policy,
) -> Outcome:
    """Return what a film would say; another answer bears another number, as it would in the table."""
    recorded = results.get(film.result_id or 0)
    if recorded is None:
        return Outcome(film.sha256, film.status)
    again = ImageStatus.REFUSED if recorded.refusal is not None else ImageStatus.ASSESSED
    status = again if film.status is ImageStatus.WAITING else film.status
    number, analysis = kept.get(film.sha256, (-(film.result_id or 0), _again(recorded, policy)))
    analysis = judge.decided(analysis, row.typed, policy)
    return Outcome(film.sha256, status, analysis.triage, analysis.refusal, number)


def _again(analysis: Analysis, policy: Policy) -> Analysis:
    """Return the answer as the policy would have had it decided."""
    if analysis.refusal is not None:
        return replace(analysis, triage=refuse(policy, analysis.refusal))
    triage = decide(policy, analysis.gate, analysis.predictions, analysis.abnormal)
    return replace(analysis, triage=triage)


def _weighed(row: StudyRow, outcomes: Sequence[Outcome], policy: Policy) -> Standing:
    copy = StudyRow(**{column.key: getattr(row, column.key) for column in StudyRow.__mapper__.column_attrs})
    judge.weigh(copy, outcomes, policy)
    return _standing(copy)


def _standing(row: StudyRow) -> Standing:
    return Standing(
        state=State(row.state) if row.state else None,
        urgency=Urgency(row.urgency),
        findings=tuple(label for label in row.findings.split("|") if label),
        reasons=tuple(row.reasons),
        action=row.action,
        is_open=row.is_open,
        acknowledged=row.acknowledged_utc is not None,
    )


def _words(standing: Standing) -> tuple[tuple[str, ...], tuple[str, ...], str]:
    return standing.findings, standing.reasons, standing.action


def _overdue(row: StudyRow, standing: Standing, policy: Policy, now: datetime) -> bool:
    return standing.is_open and now - row.since_utc > max_wait(policy, standing.urgency)
