"""The models there are: which one answers, which others there are, and bringing one of them into force."""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from cxr_core.access import Actor
from cxr_core.errors import Conflict, Invalid, ModelError
from cxr_core.inference import stripped
from cxr_core.inference.manifest import MANIFEST
from cxr_core.worklist import actions, audit, model_check, model_folders, model_in_force, stored_policy
from cxr_core.worklist.model_folders import Curve, Folder, Stamp
from cxr_core.worklist.model_in_force import ModelInForce
from cxr_core.worklist.schema import ModelChangeRow

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

MOST = 200
"""Changes shown at most; the newest."""

LONGEST_NAME = 64
"""Of "id version", as the audit trail has room for."""

MOST_BYTES = 150_000_000
"""Of a model that is taken away through a browser: Streamlit keeps what it hands out in this process's
memory, beside the zip while that is made, so a larger one is copied as a folder."""

_THEN = (1980, 1, 1, 0, 0, 0)
"""Time of every entry of a bundle: the same model gives the same bytes."""


@dataclass(frozen=True, slots=True)
class ModelChange:
    """A model came into force."""

    id: int
    at: datetime
    actor: str
    model: str
    sha256: str
    note: str


@dataclass(frozen=True, slots=True)
class Shelf:
    """The models there are.

    Attributes:
        in_force: as this process sees it; its fault as its folder is now.
        folders: all, sound or not, by id.
        changes: what came into force, the newest first.
        otherwise: open studies with an answer of another policy, model or gate than those in force.
    """

    in_force: ModelInForce
    folders: tuple[Folder, ...]
    changes: tuple[ModelChange, ...]
    otherwise: int

    @property
    def answering(self) -> Folder | None:
        """The folder of the model in force; None where it is gone or holds another model."""
        return next((each for each in self.folders if self.answers(each)), None)

    def answers(self, folder: Folder) -> bool:
        """Return whether this is the very model in force."""
        ours = self.in_force
        return folder.name == ours.model and ours.sha256 in ("", folder.sha256)

    def folder(self, model_id: str) -> Folder | None:
        """Return the folder of an id."""
        return next((each for each in self.folders if each.id == model_id), None)


_failed: dict[Path, tuple[Stamp, str]] = {}
"""Models that did not pass every check, as their files were then, and why; this process's own memory."""


def shelf(service: Service) -> Shelf:
    """Return the models there are, and what is in force."""
    found = tuple(_with_fault(service, each) for each in model_folders.folders(service.settings.models_dir))
    ours = service.model_in_force
    with service.database.read() as session:
        rows = session.scalars(select(ModelChangeRow).order_by(ModelChangeRow.id.desc()).limit(MOST)).all()
        return Shelf(
            in_force=replace(ours, fault=ours.fault or model_in_force.fault_of(service.settings, ours)),
            folders=found,
            changes=tuple(
                ModelChange(row.id, row.at_utc, row.actor, row.model, row.sha256, row.note) for row in rows
            ),
            otherwise=actions.number_answered_otherwise(
                session, service.model, service.policy.version, service.gate
            ),
        )


def card(service: Service, model_id: str) -> str:
    """Return a model's card; raises ModelError where there is no such model."""
    return model_folders.read_card(_path(service, model_id))


def curves(service: Service, model_ids: Sequence[str]) -> tuple[Curve, ...]:
    """Return how these models were trained; raises ModelError where there is no such model."""
    return tuple(curve for each in model_ids for curve in model_folders.read_curves(_path(service, each)))


def export(service: Service, actor: Actor, model_id: str) -> bytes:
    """Return the files of a model as a zip file, each as the manifest lists it.

    A folder of figures only makes a bundle of figures only.

    Raises:
        ModelError: there is no such model, or a file of it is not what the manifest says.
        Invalid: it is too large.
    """
    found = sound(service, model_id)
    if found.size_bytes > MOST_BYTES:
        raise Invalid(
            f"{model_id} has {found.size_bytes / 1e6:.0f} MB; at most {MOST_BYTES / 1e6:.0f} MB are taken "
            "away here, so copy its folder"
        )
    path, out = _path(service, model_id), io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as bundle:
        for name, sha256 in sorted({MANIFEST: found.sha256, **_listed(found)}.items()):
            try:
                said = (path / name).read_bytes()
            except OSError as exc:
                raise ModelError(f"{model_id}: {name} cannot be read ({type(exc).__name__})") from exc
            if sha256 and hashlib.sha256(said).hexdigest() != sha256:
                raise ModelError(f"{model_id}: {name} has changed just now; look again")
            entry = zipfile.ZipInfo(f"{model_id}/{name}", _THEN)
            entry.compress_type = zipfile.ZIP_DEFLATED
            bundle.writestr(entry, said)
    now = service.clock()
    with service.database.write() as session:
        detail: audit.Detail = {"manifest": found.sha256, "bytes": found.size_bytes}
        subject = found.name[:LONGEST_NAME]
        audit.append(session, at=now, actor=actor.name, event="model_export", subject=subject, detail=detail)
    return out.getvalue()


def tried(service: Service, model_id: str) -> Folder:
    """Return a model that has passed every check just now.

    Raises:
        ModelError: there is no such model, or it has not.
    """
    path = _path(service, model_id)
    before = model_folders.stamp(path)
    _failed.pop(path, None)
    found = sound(service, model_id)
    stripped.refuse(path)
    try:
        model_check.check(path)
    except model_check.Unfinished:
        raise  # says nothing of the model: a busy machine is enough
    except ModelError as exc:
        _failed[path] = before, str(exc)
        raise
    if model_folders.stamp(path) != before:
        raise ModelError(f"{model_id}: a file of it changed while it was checked; try again")
    return found


def activate(service: Service, actor: Actor, model_id: str, note: str, seen: int | None) -> None:
    """Bring a model into force in every process of this worklist.

    Args:
        service: whose list it is.
        actor: who does it.
        model_id: of a model folder.
        note: why, in the actor's words.
        seen: `ModelInForce.change` as it was shown to the actor; None does not ask.

    Raises:
        Conflict: another change came since.
        Invalid: it is in force already, there is no note, or its name is too long or was another model's.
        ModelError: there is no such model, or it has not passed every check.
    """
    note = actions.one_line(note)
    if not note:
        raise Invalid("say in a note why this model is to answer")
    found = tried(service, model_id)
    if len(found.name) > LONGEST_NAME:
        raise Invalid(f"a model's id and version have at most {LONGEST_NAME} characters together")
    now = service.clock()
    with service.database.write() as session:
        stored_policy.hold(session)  # whoever records answers holds it too
        newest = model_in_force.newest_change(session)
        if seen is not None and seen != (newest.id if newest else 0):
            raise Conflict("another model came into force since this was shown; look again, then act")
        before = service.model if newest is None else newest.model
        if before == found.name and (newest is None or newest.sha256 == found.sha256):
            raise Invalid("this model is in force already")
        if _used_by_another(session, found):
            raise Invalid(
                f"another model was in force as {found.name}; results are told apart by that name, so "
                "this one needs a version of its own"
            )
        row = ModelChangeRow(at_utc=now, actor=actor.name, model=found.name, sha256=found.sha256, note=note)
        session.add(row)
        detail: audit.Detail = {"from": before, "to": found.name, "manifest": found.sha256}
        audit.append(
            session, at=now, actor=actor.name, event="model_activate", subject=found.name, detail=detail
        )
    service.refresh()


def _used_by_another(session: Session, found: Folder) -> bool:
    same_name = exists().where(ModelChangeRow.model == found.name, ModelChangeRow.sha256 != found.sha256)
    return bool(session.scalar(select(same_name)))


def _path(service: Service, model_id: str) -> Path:
    """Return a model's folder; a name that came from a browser leads nowhere else.

    Raises:
        ModelError: there is no such model.
    """
    path = service.settings.models_dir / model_id
    if (
        path.parent != service.settings.models_dir
        or model_id in ("", ".", "..")
        or not (path / MANIFEST).is_file()
    ):
        raise ModelError("there is no such model")
    return path


def sound(service: Service, model_id: str) -> Folder:
    """Return a model whose files are what its manifest says.

    Raises:
        ModelError: there is no such model, or they are not.
    """
    found = _with_fault(service, model_folders.folder(_path(service, model_id)))
    if found.fault:
        raise ModelError(found.fault)
    return found


def _with_fault(service: Service, found: Folder) -> Folder:
    """Return the folder with what a full check has found of its files as they are."""
    path = service.settings.models_dir / found.id
    known = _failed.get(path)
    if found.fault or known is None or known[0] != model_folders.stamp(path):
        return found
    return replace(found, fault=known[1])


def _listed(found: Folder) -> dict[str, str]:
    """Return the files that lie there with their SHA-256, empty for the one that no manifest lists."""
    files = found.manifest.files if found.manifest else {}
    if not found.elsewhere:
        return files
    kept = {name: sha256 for name, sha256 in files.items() if name not in stripped.NETWORK_FILES}
    return kept | {stripped.ELSEWHERE: ""}
