"""A model fitted to this site from the worklist's side: by which cases and whom, and where it is saved."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import select
from sqlalchemy.orm import Session

from cxr_core.access import Actor
from cxr_core.errors import Conflict, ModelError
from cxr_core.worklist import audit, model_check, model_folders, models, stored_policy
from cxr_core.worklist.model_folders import Folder
from cxr_core.worklist.schema import AuditRow, ModelChangeRow
from cxr_core.worklist.site_readings import Background

if TYPE_CHECKING:
    from cxr_core.evaluation.site import SiteFit
    from cxr_core.evaluation.site_card import Made
    from cxr_core.evaluation.site_cases import Cases, Choice
    from cxr_core.evaluation.site_listing import Listing
    from cxr_core.inference.manifest import Manifest
    from cxr_core.worklist.handing import Handed
    from cxr_core.worklist.service import Service
    from cxr_core.worklist.site_films import Reading
    from cxr_core.worklist.site_opinions import Opined


def read(service: Service, model_id: str, listing: Listing, handed: Iterator[Handed]) -> Reading:
    """Return the reading of a list's films by a model, which has passed every check in a process of its own.

    Raises:
        ModelError: there is no such model, or it may not be trusted.
        DataError: its labels cannot be fitted one by one.
        Busy: no process to decode in can be started.
    """
    from cxr_core.worklist import site_films

    models.tried(service, model_id)
    return site_films.Reading(service, site_films.load(service, model_id), listing, handed)


def begin_reading(
    service: Service, actor: Actor, model_id: str, listing: Listing, handed: Iterator[Handed], films: int
) -> Background:
    """Return the actor's reading as it goes on by itself; raises as `read`."""
    found = models.sound(service, model_id)
    made = Background(
        found.sha256, found.name, read(service, model_id, listing, handed), films, listing.remarks
    )
    service.site_readings.begin(actor.name, made, service.clock)
    return made


def opinions(service: Service) -> Opined:
    """Return what readers agreed and disagreed with as cases; raises as `site_opinions.opined`."""
    from cxr_core.worklist import site_opinions

    return site_opinions.opined(service)


def fitted(service: Service, model_id: str, cases: Cases, choice: Choice) -> SiteFit:
    """Return a model fitted to the cases by the policy in force; nothing is written.

    Raises:
        DataError: too few cases, another model's, or a choice that is none.
        ModelError: there is no such model, or it is not sound.
    """
    from cxr_core.evaluation.site import fit

    return fit(cases, manifest_of(service, model_id), service.policy, choice)


def save(service: Service, actor: Actor, model_id: str, fit: SiteFit, name: str) -> Folder:
    """Return the new model folder, which nobody has activated yet; the audit trail has it before anybody.

    Raises:
        Invalid: the name is none or taken, nothing changes, or CXR_MODELS_DIR cannot be written.
        Conflict: another fit was saved meanwhile and has this one's number.
        ModelError: the model has changed since, or the new one did not pass every check.
    """
    from cxr_core.evaluation import site_folder
    from cxr_core.evaluation.site_card import Made

    manifest_of(service, model_id)
    root, now = service.settings.models_dir, service.clock()
    sha256 = model_folders.folder(root / model_id).sha256
    made = Made(fit.model, sha256, actor.name, now)

    with service.database.read() as session:
        given_out = _given_out(session)

    def record(folder: Path) -> None:
        _record(service, made, fit, model_folders.folder(folder), given_out)

    folder = site_folder.save(
        root, root / model_id, fit, name, made, model_check.check, record=record, given_out=given_out
    )
    return model_folders.folder(folder)


def _record(service: Service, made: Made, fit: SiteFit, folder: Folder, given_out: set[str]) -> None:
    """Write a model that is about to be put in place into the audit trail.

    Raises:
        Conflict: another one of its number was written there since `given_out` was read.
    """
    detail: audit.Detail = {
        "from": fit.model,
        "manifest": folder.sha256,
        "films": sum(fit.films),
        "patients": sum(fit.patients),
        "enough": fit.verdict.enough.value,
    }
    with service.database.write() as session:
        stored_policy.hold(session)
        number = folder.name.partition(" ")[2]
        if any(each.endswith(f" {number}") for each in _given_out(session) - given_out):
            raise Conflict("another fit was saved meanwhile; save this one again")
        audit.append(
            session, at=made.at, actor=made.by, event="model_fit", subject=folder.name, detail=detail
        )


def _given_out(session: Session) -> set[str]:
    """Return "id version" of every model that was ever fitted here, or in force."""
    fits = session.scalars(select(AuditRow.subject).where(AuditRow.event == "model_fit"))
    return {*fits, *session.scalars(select(ModelChangeRow.model).distinct())}


def free_name(service: Service, model_id: str) -> str:
    """Return a name that the next fit of a model may bear; raises ModelError where there is no such model."""
    from cxr_core.evaluation import site_folder

    root: Path = service.settings.models_dir
    return site_folder.free_name(root, site_folder.root_id(root / model_id, manifest_of(service, model_id)))


def manifest_of(service: Service, model_id: str) -> Manifest:
    """Return the manifest of a sound model; raises ModelError where there is none."""
    found = models.shelf(service).folder(model_id)
    if found is None or found.manifest is None or found.fault:
        raise ModelError(found.fault if found and found.fault else "there is no such model")
    return found.manifest
