"""The worklist as a command has it, on behalf of the person at this machine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cxr_core import settings
from cxr_core.local import local_actor

if TYPE_CHECKING:
    from cxr_core.access import Actor
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
