"""Pages on a worklist of their own; the worker that would answer in the background answers when asked."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from pathlib import Path
from threading import Event

import pytest
import streamlit as st

from cxr_core import settings
from cxr_core.access import Actor
from cxr_core.local import local_actor
from cxr_core.ui.worker_watch import LOCK
from cxr_core.worklist import worker
from cxr_core.worklist.service import Service, open_service
from tests.worklist.films import Films


class Home:
    """A CXR_HOME, and a service on it beside the page's own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = settings.load()
        self.service: Service = open_service(self.settings)
        self.actor: Actor = local_actor(self.settings)

    def answer(self) -> None:
        """Answer all films that wait."""
        worker.run(self.settings, once=True, stop=Event())


@pytest.fixture(scope="session")
def films() -> Films:
    return Films()


@pytest.fixture
def tiny_app(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """The app with the small model, on an empty worklist; nothing is cached from another test.

    This holds the lock of the app's own worker, as a second server on the same CXR_HOME would.
    """
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    monkeypatch.setenv("CXR_HOME", str(folder))
    monkeypatch.setenv("CXR_MODEL", tiny_model.name)
    monkeypatch.setenv("CXR_MODELS_DIR", str(tiny_model.parent))
    st.cache_data.clear()
    st.cache_resource.clear()
    with (folder / LOCK).open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        home = Home(folder)
        yield home
        home.service.close()
    st.cache_resource.clear()
