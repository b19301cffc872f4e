"""The worklist as a command has it, on behalf of the person at this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from cxr_core import settings
from cxr_core.local import local_actor

if TYPE_CHECKING:
    from cxr_core.access import Actor
    from cxr_core.settings import Settings
    from cxr_core.worklist.model_in_force import ModelInForce
    from cxr_core.worklist.service import Service


@contextmanager
def opened() -> Iterator[tuple[Service, Actor]]:
    """Yield the service and who asks; raises as `open_service` and `local_actor`."""
    from cxr_core.worklist.service import open_service

    actor = local_actor(chosen := settings.load())
    service = open_service(chosen)
    try:
        yield service, actor
    finally:
        service.close()


def in_force(chosen: Settings) -> ModelInForce:
    """Return the model in force; no worklist is made by looking for it.

    Raises:
        CxrError: there is a worklist, and it cannot be read.
    """
    from cxr_core.worklist.database import SQLITE_FILE, connect
    from cxr_core.worklist.model_in_force import ModelInForce, newest_change

    if not chosen.database_url and not (chosen.home / SQLITE_FILE).exists():
        return ModelInForce(chosen.model)
    with closing(connect(chosen)) as database, database.read() as session:
        newest = newest_change(session)
    if newest is None:
        return ModelInForce(chosen.model)
    return ModelInForce(newest.model, newest.sha256, change=newest.id)


def refuse_in_force(chosen: Settings, model_id: str, instead: str = "") -> None:
    """Return unless writing into a model's folder would take it out of service.

    Args:
        chosen: names the worklist.
        model_id: of the folder.
        instead: what to do; by itself for commands with --write.

    Raises:
        ModelError: a lead activated it: it is told by its manifest, so no film would be answered any more.
        CxrError: which model is in force cannot be read.
    """
    from cxr_core.errors import ModelError

    ours = in_force(chosen)
    if ours.sha256 and ours.id == model_id:
        instead = instead or (
            "Leave out --write to look. To keep what is found, activate another model, write, give "
            f"{model_id}/manifest.toml a version of its own, and activate it again"
        )
        raise ModelError(
            f"{ours.model} is in force on this worklist by its manifest: with another one it would answer no "
            f"film. {instead}"
        )
