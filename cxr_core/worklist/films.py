"""A study as a reader opens it, and what a reader says of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from cxr_core.access import Actor
from cxr_core.domain import Correction, Sex, Study, View
from cxr_core.errors import Busy, PolicyError, StoreError, Unknown
from cxr_core.imaging.correct import offered
from cxr_core.worklist import audit, codec, listing, reviews
from cxr_core.worklist.actions import change
from cxr_core.worklist.aggregate import LOST, notice_of
from cxr_core.worklist.filing import identity
from cxr_core.worklist.intake import header_of
from cxr_core.worklist.judge import OPEN, as_typed, completed, counted, outcomes, weigh
from cxr_core.worklist.schema import IdentityRow, ImageRow, ResultRow, StudyRow
from cxr_core.worklist.values import FilmView, ImageStatus, StudyView

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

Kind = Literal["pdf", "json", "png"]
"""A file of a film's result."""

CHANGED = "changed"
"""Member of an entry and of its audit row: names of the identity's fields that changed, between commas."""


def study(service: Service, actor: Actor, study_id: str, *, audited: bool) -> StudyView:
    """Return the study with its films in order of arrival and what people did with it.

    Raises:
        StoreError: there is no such study.
    """
    now = service.clock()
    with service.database.read() as session:
        row = session.get(StudyRow, study_id)
        lines = listing.lines(session, service.policy, [study_id], now)
        if row is None or not lines:
            raise Unknown("there is no such study")
        said = _said(session, row)
        films = tuple(_films(service, session, row, said))
        done = reviews.read(session, study_id)
    if audited:
        _note(service, actor, "view", study_id)
    return StudyView(
        line=lines[0],
        study=said,
        films=films,
        reasons=tuple(row.reasons),
        action=row.action,
        reviews=tuple(reviews.shown(each) for each in done),
        standing=reviews.standing(done),
    )


def film_bytes(service: Service, actor: Actor, sha256: str, *, audited: bool) -> bytes:
    """Return the bytes of a film of the worklist.

    Raises:
        StoreError: unknown, missing or altered.
    """
    study_id = _study_of(service, sha256)
    raw = service.blobs.get(sha256)
    if audited:
        _note(service, actor, "view", study_id, {"film": sha256})
    return raw


def note_download(service: Service, actor: Actor, sha256: str, kind: Kind) -> None:
    """Note that a film's result leaves as a file.

    Raises:
        StoreError: there is no such film.
    """
    _note(service, actor, "export", _study_of(service, sha256), {"film": sha256, "form": kind})


def version(service: Service, study_id: str) -> int:
    """Return where the study stands, to be compared with what is on the screen.

    Raises:
        StoreError: there is no such study.
    """
    with service.database.read() as session:
        found = session.scalar(select(StudyRow.version).where(StudyRow.id == study_id))
    if found is None:
        raise Unknown("there is no such study")
    return found


def complete(service: Service, actor: Actor, study_id: str, typed: Study, version: int) -> None:
    """Keep who it is and what a person says of age, sex and view, and decide anew with it.

    What a person leaves open, or as the films' own tags say it, counts as those say, also where somebody had
    typed it before. Which fields of the identity changed stands in the history and in the audit trail; their
    values do not.

    Raises:
        Busy: a film cannot be read now; nothing was kept.
        Conflict: the study is no longer at `version`.
        StoreError: there is no such study.
    """
    tags = _tags(service, study_id)
    said = as_typed(typed, tags)
    told = {key: str(value) for key, value in said.items() if value != OPEN[key]}
    detail: dict[str, str] = {}
    with change(service, actor, "complete", study_id, version, told, detail) as (row, _, session):
        if changed := _identify(session, study_id, identity(typed)):
            told[CHANGED] = detail[CHANGED] = ",".join(changed)
        row.typed = said if said != OPEN else None
        shown = completed(tags, said)
        row.age_years, row.sex, row.view = shown.age_years, shown.sex.value, shown.view.value
        weigh(row, outcomes(session, service.policy, [row])[row.id], service.policy)


def _identify(session: Session, study_id: str, given: Mapping[str, str]) -> list[str]:
    """Keep who it is; return the names of the fields that changed."""
    before = session.get(IdentityRow, study_id)
    changed = [name for name, value in given.items() if value != (getattr(before, name) if before else "")]
    session.merge(IdentityRow(study_id=study_id, **given))
    return changed


def _note(
    service: Service, actor: Actor, event: str, study_id: str, detail: audit.Detail | None = None
) -> None:
    with service.database.write() as session:
        audit.append(
            session, at=service.clock(), actor=actor.name, event=event, subject=study_id, detail=detail
        )


def _study_of(service: Service, sha256: str) -> str:
    with service.database.read() as session:
        study_id = session.scalar(select(ImageRow.study_id).where(ImageRow.sha256 == sha256))
    if study_id is None:
        raise StoreError("there is no such film")
    return study_id


def _tags(service: Service, study_id: str) -> Study:
    """Return what the films' tags say together, as they came in.

    Raises:
        Busy: a film cannot be read now.
    """
    with service.database.read() as session:
        query = select(ImageRow.sha256).where(ImageRow.study_id == study_id)
        films = session.scalars(query.order_by(ImageRow.received_utc, ImageRow.sha256)).all()
    together = Study()
    for sha256 in films:
        try:
            header = header_of(service.blobs.get(sha256), service.limits)
        except Busy:
            raise
        except StoreError:  # a film that is gone says nothing any more
            continue
        together = replace(
            together,
            age_years=header.age_years if together.age_years is None else together.age_years,
            sex=header.sex if together.sex is Sex.UNKNOWN else together.sex,
            view=_frontal(together.view, header.view),
        )
    return together


def _frontal(view: View, other: View) -> View:
    """Return the view by which a study is listed: the frontal one, else the one that is known."""
    return other if view in (View.UNKNOWN, View.LATERAL) and other is not View.UNKNOWN else view


def _said(session: Session, row: StudyRow) -> Study:
    """Return who it is and what the list says of the examination."""
    who = session.get(IdentityRow, row.id)
    return Study(
        **{name: getattr(who, name) for name in codec.IDENTITY if who is not None},
        sex=Sex(row.sex),
        age_years=row.age_years,
        view=View(row.view),
        acquired=row.acquired_utc,
        StudyInstanceUID=row.study_uid,
    )


def _films(service: Service, session: Session, row: StudyRow, said: Study) -> Sequence[FilmView]:
    query = (
        select(ImageRow, ResultRow)
        .outerjoin(ResultRow, ResultRow.id == ImageRow.result_id)
        .where(ImageRow.study_id == row.id)
        .order_by(ImageRow.received_utc, ImageRow.sha256)
    )
    found = session.execute(query).all()
    counts = select(ResultRow.sha256, func.count()).group_by(ResultRow.sha256)
    counts = counts.where(ResultRow.sha256.in_([image.sha256 for image, _ in found]))
    results: dict[str, int] = {sha256: count for sha256, count in session.execute(counts)}
    return [
        _film(service, session, row, said, image, result, results.get(image.sha256, 0))
        for image, result in found
    ]


def _film(
    service: Service,
    session: Session,
    row: StudyRow,
    said: Study,
    image: ImageRow,
    result: ResultRow | None,
    results: int,
) -> FilmView:
    analysis, maps = None, {}
    status = ImageStatus(image.status)
    if result is not None and status is not ImageStatus.CONFLICT:
        with suppress(StoreError, PolicyError):  # the film itself can still be seen, and says so
            read = counted(session, codec.decode(image.sha256, result.body), row.typed, service.policy)
            who = {name: getattr(said, name) for name in codec.IDENTITY}
            maps = {} if read.refusal else codec.decode_heatmaps(result.body, result.heatmaps)
            analysis = replace(read, study=replace(read.study, **who))
    lost = analysis is None and status in (ImageStatus.ASSESSED, ImageStatus.REFUSED)
    return FilmView(
        sha256=image.sha256,
        file=image.file_name,
        status=status,
        received=image.received_utc,
        size_bytes=image.size_bytes,
        analysis=analysis,
        heatmaps=maps,
        notice=LOST if lost else notice_of(status),
        previous=results - (result is not None),
        correction=Correction.of(image.correction),
        offer=offered(analysis) if analysis and status is ImageStatus.REFUSED else None,
    )
