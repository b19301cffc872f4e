"""Readers' opinions on the worklist as the truth of cases to fit a model by; reads only.

Agreement with a positive finding, or disagreement with a negative one, says that it is there; the opposite
that it is not. Who opined saw what the model said, and mostly where it said something: a biased sample, which
is said wherever figures of it are shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cxr_core.domain import Analysis
from cxr_core.errors import DataError, ModelError
from cxr_core.inference.manifest import read_manifest
from cxr_core.worklist import judge, reviews
from cxr_core.worklist.schema import IdentityRow, ImageRow, ResultRow, ReviewRow
from cxr_core.worklist.values import Opinion

if TYPE_CHECKING:
    from cxr_core.evaluation.site_cases import Cases
    from cxr_core.worklist.service import Service

MOST = 5_000
"""Studies taken, those of the newest opinions; older ones are left out."""

_AT_ONCE = 500
"""Answers read at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Opined:
    """What readers have said, as cases.

    Attributes:
        cases: films that the model in force answered and somebody holds an opinion of.
        studies: with an opinion that stands, at most MOST.
        unanswered: of these, studies without an answer of the model in force.
        torn: findings of a study on which readers disagree with each other: unknown there.
        older: studies with older opinions that were left out.
    """

    cases: Cases
    studies: int
    unanswered: int
    torn: int
    older: int = 0


def opined(service: Service) -> Opined:
    """Return the opinions that stand, with the answers of the model in force on the same films.

    Raises:
        DataError: nobody has said anything of a film that this model answered, or its labels share one whole.
        ModelError: the model in force is not what it was when it came into force.
    """
    from cxr_core.evaluation.site_cases import Origin, cases_of

    if service.model_in_force.fault:
        raise ModelError(service.model_in_force.fault)
    manifest = read_manifest(service.settings.models_dir / service.model_in_force.id)
    if f"{manifest.id} {manifest.version}" != service.model:
        raise ModelError(f"{service.model} is in force, but its folder holds version {manifest.version}")
    analyses: list[Analysis] = []
    truth: list[dict[str, float]] = []
    patients: list[str] = []
    studies = unanswered = torn = 0
    with service.database.read() as session:
        ids, older = _newest(session)
        answers = _answers(session, ids, service.model)
        names = _patients(session, ids)
        for study_id, done in reviews.read_all(session, ids).items():
            said, split = _truth(reviews.standing(done).opinions)
            torn += split
            if not said:
                continue
            studies += 1
            unanswered += study_id not in answers
            for analysis in answers.get(study_id, ()):
                analyses.append(analysis)
                truth.append(said)
                patients.append(names.get(study_id) or f"study:{study_id}")
    if not analyses:
        raise DataError("no reader has agreed or disagreed with what the model in force said of a film")
    cases = cases_of(manifest, analyses, truth, patients, Origin.OPINIONS)
    return Opined(cases, studies, unanswered, torn, older)


def _newest(session: Session) -> tuple[list[str], int]:
    """Return the studies of the newest opinions, in the order of their ids, and how many more there are."""
    opinions = ReviewRow.kind.in_((reviews.AGREE, reviews.DISAGREE))
    newest = select(ReviewRow.study_id).where(opinions).group_by(ReviewRow.study_id)
    found = session.scalars(newest.order_by(func.max(ReviewRow.id).desc()).limit(MOST)).all()
    number = session.scalar(select(func.count(ReviewRow.study_id.distinct())).where(opinions)) or 0
    return sorted(found), number - len(found)


def _truth(opinions: Sequence[Opinion]) -> tuple[dict[str, float], int]:
    """Return which findings are there by all who said so, and on how many they do not agree."""
    said: dict[str, set[float]] = {}
    for each in opinions:
        said.setdefault(each.finding, set()).add(float(each.positive == each.agrees))
    known = {finding: min(values) for finding, values in said.items() if len(values) == 1}
    return known, len(said) - len(known)


def _answers(session: Session, studies: Sequence[str], model: str) -> dict[str, list[Analysis]]:
    """Return by study the newest answer of the model to each film, refusals left out."""
    query = (
        select(ImageRow.study_id, ResultRow.sha256, ResultRow.id)
        .join(
            ResultRow, (ResultRow.sha256 == ImageRow.sha256) & (ResultRow.correction == ImageRow.correction)
        )
        .where(ImageRow.study_id.in_(studies), ResultRow.model == model, ImageRow.conflicts_with.is_(None))
        .order_by(ResultRow.id)
    )
    newest = {(study_id, sha256): result_id for study_id, sha256, result_id in session.execute(query)}
    found: dict[str, list[Analysis]] = {}
    pairs = iter(newest.items())
    while part := dict(islice(pairs, _AT_ONCE)):
        results = judge.results_of(session, part.values(), {})
        for (study_id, _), result_id in part.items():
            analysis = results.get(result_id)
            if analysis is not None and analysis.refusal is None:
                found.setdefault(study_id, []).append(analysis)
    return found


def _patients(session: Session, studies: Sequence[str]) -> dict[str, str]:
    query = select(IdentityRow.study_id, IdentityRow.patient_id).where(IdentityRow.study_id.in_(studies))
    return {study_id: patient.strip() for study_id, patient in session.execute(query)}
