"""A patient's other studies beside this one, and what changed in the model's answers between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from cxr_core.access import Actor
from cxr_core.domain import Analysis
from cxr_core.errors import StoreError
from cxr_core.worklist import audit, judge, listing
from cxr_core.worklist.schema import IdentityRow, StudyRow
from cxr_core.worklist.values import Change, Comparison, Prior, Priors

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service


def priors(service: Service, actor: Actor, study_id: str, *, limit: int, audited: bool) -> Priors:
    """Return up to `limit` other studies under the same patient id, the newest first.

    A study without patient id has none: nobody knows whose it is. Each study shown leaves an audit row of its
    own, as if it had been opened.

    Raises:
        StoreError: there is no such study.
    """
    now = service.clock()
    with service.database.read() as session:
        row = session.get(StudyRow, study_id)
        if row is None:
            raise StoreError("there is no such study")
        who = session.get(IdentityRow, study_id)
        if who is None or not who.patient_id.strip():
            return Priors((), 0)
        query = (
            select(StudyRow)
            .join(IdentityRow, IdentityRow.study_id == StudyRow.id)
            .where(IdentityRow.patient_id == who.patient_id, StudyRow.id != study_id)
        )
        total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
        others = session.scalars(
            query.order_by(StudyRow.since_utc.desc(), StudyRow.id.desc()).limit(max(limit, 0))
        ).all()
        answers = judge.assessed(session, service.policy, [row, *others])
        lines = listing.lines(session, service.policy, [other.id for other in others], now)
        found = tuple(
            Prior(line, line.since < row.since_utc, compare(answers[study_id], answers[line.study_id]))
            for line in lines
        )
    if audited and found:
        events = [
            audit.Event(now, actor.name, "view", prior.line.study_id, {"beside": study_id}) for prior in found
        ]
        with service.database.write() as session:
            audit.append_many(session, events)
    return Priors(found, total)


def compare(now: Sequence[Analysis], before: Sequence[Analysis]) -> Comparison:
    """Return the change in each finding's probability between two studies.

    Of several films the highest counts, as it does for the study. Calibrated probabilities of two models, or
    of two versions of one, do not mean the same: then nothing is compared.

    Args:
        now: the analyses that count of this study's assessed films; none is a refusal.
        before: those of the other.
    """
    if not now or not before:
        which = "Neither study" if not (now or before) else "Only that study" if before else "Only this study"
        return Comparison(why_not=f"{which} has an answer of the model.")
    models = [sorted({each.versions.model for each in analyses}) for analyses in (now, before)]
    if any(len(each) > 1 for each in models) or models[0] != models[1]:
        here, there = (" and ".join(each) for each in models)
        return Comparison(why_not=f"Answered by different models: this study by {here}, that one by {there}.")
    highest, former = _highest(now), _highest(before)
    return Comparison(
        tuple(
            Change(finding, former[finding], probability)
            for finding, probability in highest.items()
            if finding in former
        )
    )


def _highest(analyses: Sequence[Analysis]) -> dict[str, float]:
    """Return each finding's highest probability, in the order in which the model names them."""
    found: dict[str, float] = {}
    for analysis in analyses:
        for prediction in analysis.predictions:
            found[prediction.label] = max(prediction.probability, found.get(prediction.label, 0.0))
    return found
