"""A patient's other studies beside this one, and what changed in the model's answers between them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from cxr_core.access import Actor
from cxr_core.domain import Analysis, Sex
from cxr_core.errors import StoreError, Unknown
from cxr_core.worklist import audit, films, judge, listing
from cxr_core.worklist.schema import IdentityRow, StudyRow
from cxr_core.worklist.values import Beside, Change, Comparison, Line, Prior, Priors

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

YEAR_S = 365.25 * 86_400
AGE_FITS_YEARS = 2.0
"""Ages are whole years, rounded or typed: closer than this to what the dates say is no contradiction."""


def priors(service: Service, study_id: str, *, limit: int) -> Priors:
    """Return up to `limit` other studies under the same patient id, earlier ones before later ones.

    A study without patient id has none: nobody knows whose it is.

    Raises:
        StoreError: there is no such study.
    """
    now = service.clock()
    with service.database.read() as session:
        row = session.get(StudyRow, study_id)
        if row is None:
            raise Unknown("there is no such study")
        who = session.get(IdentityRow, study_id)
        if who is None or not who.patient_id.strip():
            return Priors((), 0)
        query = (
            select(StudyRow.id)
            .join(IdentityRow, IdentityRow.study_id == StudyRow.id)
            .where(IdentityRow.patient_id == who.patient_id, StudyRow.id != study_id)
        )
        total = session.scalar(select(func.count()).select_from(query.subquery())) or 0
        preferred = query.order_by(
            (StudyRow.since_utc < row.since_utc).desc(), StudyRow.since_utc.desc(), StudyRow.id.desc()
        )
        ids = session.scalars(preferred.limit(max(limit, 0))).all()
        (this,) = listing.lines(session, service.policy, [study_id], now, thumbnails=False)
        others = listing.lines(session, service.policy, ids, now)
    newest = sorted(others, key=lambda line: (line.since, line.study_id), reverse=True)
    return Priors(tuple(Prior(line, earlier(line, this)) for line in newest), total)


def beside(service: Service, actor: Actor, study_id: str, other_id: str, *, audited: bool) -> Beside:
    """Return one of the patient's other studies, with what changed between the two.

    Raises:
        StoreError: there is no such study, or the two are not under one patient id.
    """
    other = films.study(service, actor, other_id, audited=False)
    with service.database.read() as session:
        row, who = session.get(StudyRow, study_id), session.get(IdentityRow, study_id)
        if row is None:
            raise Unknown("there is no such study")
        if study_id == other_id or who is None or not who.patient_id.strip():
            raise StoreError("that study is not another one under the same patient ID")
        if who.patient_id != other.study.patient_id:
            raise StoreError("the two studies are no longer under one patient ID")
        (this,) = listing.lines(session, service.policy, [study_id], service.clock(), thumbnails=False)
        answers = judge.assessed(session, service.policy, [row, session.get_one(StudyRow, other_id)])
        name = who.patient_name
    if audited:
        with service.database.write() as session:
            audit.append(
                session,
                at=service.clock(),
                actor=actor.name,
                event="view",
                subject=other_id,
                detail={"beside": study_id},
            )
    first = earlier(other.line, this)
    reasons = tuple(doubts((this, other.line), (name, other.study.patient_name)))
    if reasons:
        return Beside(other, first, reasons, Comparison(why_not="That study may be another person's."))
    found = compare(answers[study_id], answers[other_id])
    return Beside(other, first, (), _turned(found) if first is False else found)


def earlier(other: Line, this: Line) -> bool | None:
    """Return whether the other study was taken first; None where it cannot be told.

    A film was taken no later than it came in, so that one time and one receipt can be enough.
    """
    if other.acquired and this.acquired:
        return None if other.since == this.since else other.since < this.since
    if this.acquired and other.received < this.since:
        return True
    if other.acquired and this.received < other.since:
        return False
    return None


def doubts(lines: tuple[Line, Line], names: tuple[str, str]) -> Iterator[str]:
    """Yield what speaks against both studies being of one person; what either does not say does not.

    Args:
        lines: of the two studies.
        names: of their patients.
    """
    one, two = (_words(name) for name in names)
    if one and two and one != two:
        yield "the name differs"
    if len({line.sex for line in lines} - {Sex.UNKNOWN}) > 1:
        yield "the sex differs"
    here, there = lines
    if here.age_years is not None and there.age_years is not None:
        years_between = (here.since - there.since).total_seconds() / YEAR_S
        if abs(here.age_years - there.age_years - years_between) > AGE_FITS_YEARS:
            yield "the age does not fit the dates"


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
    is_positive, was_positive = _positive(now), _positive(before)
    return Comparison(
        tuple(
            Change(finding, former[finding], probability, finding in was_positive, finding in is_positive)
            for finding, probability in highest.items()
            if finding in former
        )
    )


def _turned(comparison: Comparison) -> Comparison:
    """Return the comparison the other way round."""
    turned = tuple(
        Change(each.finding, each.now, each.before, each.is_positive, each.was_positive)
        for each in comparison.changes
    )
    return Comparison(turned, comparison.why_not)


def _positive(analyses: Sequence[Analysis]) -> set[str]:
    return {each.label for analysis in analyses for each in analysis.predictions if each.positive}


def _words(name: str) -> list[str]:
    """Return a name's words in one order, without case, accents and signs: `Ana Silva` is `SILVA^ANA`."""
    plain = "".join(
        sign for sign in unicodedata.normalize("NFKD", name.casefold()) if not unicodedata.combining(sign)
    )
    return sorted(re.findall(r"[^\W_]+", plain))


def _highest(analyses: Sequence[Analysis]) -> dict[str, float]:
    """Return each finding's highest probability, in the order in which the model names them."""
    found: dict[str, float] = {}
    for analysis in analyses:
        for prediction in analysis.predictions:
            found[prediction.label] = max(prediction.probability, found.get(prediction.label, 0.0))
    return found
