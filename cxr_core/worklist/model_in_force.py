"""Which model answers: the one that a lead activated last, else the one that the settings name.

It stands in the database alone, so that every process answers by the same. A row names the model by id,
version and the SHA-256 of its manifest, which names every other file by its own: what lies in the folder now
must be that very model, or no film is answered.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from cxr_core.errors import ModelError
from cxr_core.inference.manifest import MANIFEST, read_manifest
from cxr_core.inference.stripped import refuse
from cxr_core.settings import Settings
from cxr_core.worklist.schema import ModelChangeRow


@dataclass(frozen=True, slots=True)
class ModelInForce:
    """The model that this process answers and shows by.

    Attributes:
        model: as results name it, "id version".
        sha256: of its manifest; empty where nobody has activated a model yet: whatever its folder holds.
        fault: why no film may be answered now; else empty.
        change: number of the change that brought it into force; 0: the model that the settings name.
    """

    model: str
    sha256: str = ""
    fault: str = ""
    change: int = 0

    @property
    def id(self) -> str:
        """Id of the model, which is its folder's name."""
        return self.model.split(" ")[0]


def newest_change(session: Session) -> ModelChangeRow | None:
    """Return what brought the model in force into force; None: nobody has activated one yet."""
    return session.scalar(select(ModelChangeRow).order_by(ModelChangeRow.id.desc()).limit(1))


def refreshed(session: Session, settings: Settings, seen: ModelInForce) -> ModelInForce:
    """Return what is in force now; the very `seen` where nothing has changed and nothing was at fault."""
    newest = newest_change(session)
    if newest is None or (newest.id == seen.change and not seen.fault):
        return seen
    found = ModelInForce(newest.model, newest.sha256, change=newest.id)
    return ModelInForce(found.model, found.sha256, fault_of(settings, found), found.change)


def fault_of(settings: Settings, model: ModelInForce) -> str:
    """Return why the model in force cannot answer as far as its manifest says, or nothing."""
    folder = settings.models_dir / model.id
    try:
        manifest = read_manifest(folder)
        refuse(folder)
        sha256 = manifest_sha256(settings, model.id)
    except ModelError as exc:
        return str(exc)
    if model.sha256 and model.sha256 != sha256:
        return (
            f"{model.model} is in force, but its folder holds another model, which calls itself "
            f"{manifest.version}; restore the folder, or a lead activates what is there"
        )
    return ""


def known_sha256(session: Session, model: str) -> str:
    """Return the SHA-256 of the manifest of what was in force under a name ("id version").

    A result bears the name alone. A name never comes into force for two manifests, so the changes tell which
    one answered; empty for a model that nobody ever activated: it was asked for, or the settings name it.
    """
    query = select(ModelChangeRow.sha256).where(ModelChangeRow.model == model).limit(1)
    return session.scalar(query) or ""


def manifest_sha256(settings: Settings, model_id: str) -> str:
    """Return the SHA-256 of a model's manifest, by which a model is told from every other.

    Raises:
        ModelError: it cannot be read.
    """
    try:
        said = (settings.models_dir / model_id / MANIFEST).read_bytes()
    except OSError as exc:
        raise ModelError(f"{model_id}: {MANIFEST} cannot be read ({type(exc).__name__})") from exc
    return hashlib.sha256(said).hexdigest()
