"""Fixtures for all tests, and the rule that what CXR_REQUIRE names must not be skipped."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cxr_core import settings

if TYPE_CHECKING:
    from cxr_core.pipeline import Kit


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real films named by CXR_DATA."""
    folder = settings.load().data
    if folder is None:
        pytest.skip("CXR_DATA names no folder of real films")
    if not folder.is_dir():
        pytest.fail(f"CXR_DATA names {folder}, which is no folder")
    return folder


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sound model folder of a few kilobytes; read it, do not write into it."""
    from tests.inference.tiny import make_tiny_model

    return make_tiny_model(tmp_path_factory.mktemp("models"))


@pytest.fixture(scope="session")
def kit(tiny_model: Path) -> Kit:
    """Everything `analyse` needs, with the tiny model and the policy of the checkout."""
    from cxr_core.pipeline import load_kit

    return load_kit(settings.Settings(model=tiny_model.name, models_dir=tiny_model.parent))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip into a failure if CXR_REQUIRE names one of the test's markers."""
    report = yield
    missed = settings.load().require & {mark.name for mark in item.iter_markers()}
    if report.skipped and missed and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"CXR_REQUIRE names {', '.join(sorted(missed))}, but: {call.excinfo}"
    return report


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever asks for real films is marked so."""
    for item in items:
        if "data_dir" in getattr(item, "fixturenames", ()):
            item.add_marker("real_data")
