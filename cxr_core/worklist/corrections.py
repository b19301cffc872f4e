"""A film that was refused because it hangs wrong: what would set it right, and a person who says do so."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from cxr_core.access import Actor
from cxr_core.domain import AS_SENT, Correction
from cxr_core.errors import Conflict, StoreError, Unknown
from cxr_core.imaging.correct import offered
from cxr_core.worklist import codec, queue
from cxr_core.worklist.actions import change
from cxr_core.worklist.judge import outcomes, weigh
from cxr_core.worklist.schema import ImageRow, ResultRow
from cxr_core.worklist.values import INTERACTIVE, ImageStatus

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

CORRECT = "correct"
"""Kind of the entry in a study's history, and word of the audit trail."""

FILM, NOW, BEFORE = "film", "correction", "before"
"""Members of both: SHA-256, and how the film was to hang from then on and until then (`Correction.key`)."""


def correct(service: Service, actor: Actor, sha256: str, correction: Correction, version: int) -> None:
    """Hang a film anew and queue it before all others; its old answer counts until the new one is there.

    A film that is to hang so already is left alone, whatever the version: to ask twice is to ask once.

    Args:
        service: whose list it is.
        actor: who has looked at the film.
        sha256: of the film.
        correction: whole, not in addition to one that was made before: what its refusal offers, or AS_SENT.
        version: of its study, that was on the screen.

    Raises:
        Conflict: its study is no longer at `version`, the film waits, contradicts another, or was given up
            and is not to hang as it was sent again, or nothing of the kind is offered.
        Unknown: there is no such film.
    """
    with service.database.read() as session:
        found = session.execute(
            select(ImageRow.study_id, ImageRow.correction).where(ImageRow.sha256 == sha256)
        ).one_or_none()
    if found is None:
        raise Unknown("there is no such film")
    study_id, before = found
    if before == correction.key:
        return
    said = {FILM: sha256, NOW: correction.key, BEFORE: before}
    with change(service, actor, CORRECT, study_id, version, said, said) as (study, now, session):
        image = session.get_one(ImageRow, sha256, with_for_update=True)
        _refuse(session, image, correction)
        given_up = image.status == ImageStatus.DEAD
        image.correction, image.status, image.attempts = correction.key, ImageStatus.WAITING, 0
        queue.put(study, now, INTERACTIVE)
        if given_up:
            session.flush()
            weigh(study, outcomes(session, service.policy, [study], strict=False)[study.id], service.policy)


def _refuse(session: Session, image: ImageRow, correction: Correction) -> None:
    """Return if the film may be hung so now.

    Raises:
        Conflict: it may not.
    """
    answered = image.status in (ImageStatus.ASSESSED, ImageStatus.REFUSED)
    if not answered and not (correction == AS_SENT and image.status == ImageStatus.DEAD):
        raise Conflict("this film has no answer just now, so there is nothing to correct")
    if correction == AS_SENT:
        return
    result = session.get(ResultRow, image.result_id) if image.result_id else None
    try:
        offer = offered(codec.decode(image.sha256, result.body)) if result else None
    except StoreError:
        offer = None
    if offer != correction:
        raise Conflict("this film was not refused for what that would correct; look again, then act")
