"""`cxr policy …` from the first look to the way back."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cxr_core.cli import app
from cxr_core.settings import Settings
from cxr_core.triage.edit import edited

TEXT = Settings().policy.read_text(encoding="utf-8")


@pytest.fixture
def cxr(home: Settings, monkeypatch: pytest.MonkeyPatch):
    """Run a command on an empty worklist."""
    monkeypatch.setenv("CXR_HOME", str(home.home))
    monkeypatch.setenv("CXR_MODEL", home.model)
    monkeypatch.setenv("CXR_MODELS_DIR", str(home.models_dir))

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["policy", *(str(each) for each in arguments)])

    return run


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """A file with a policy that somebody approved."""
    file = tmp_path / "newer.toml"
    values = {("version",): "1.1.0", ("approver",): "Dr. A. Silva", ("findings", "Mass", "tier"): "urgent"}
    file.write_text(edited(TEXT, values), encoding="utf-8")
    return file


def test_from_trying_to_reverting(cxr, newer):
    assert cxr("show").stdout.startswith("1.0.0, 2026-11-21, unsigned: a site must approve: in force\n")
    assert cxr("show", "--toml").stdout == TEXT
    tried = cxr("try", newer)
    assert tried.exit_code == 0
    assert "There is no answered study yet to try it on." in tried.stdout
    assert "Mass · tier" in tried.stdout
    assert cxr("write", newer, "--note", "mass is urgent").stdout.startswith("kept as 1.1.0")
    assert cxr("activate", "1.1.0").stdout == "1.0.0 → 1.1.0: in force\n"
    assert cxr("show").stdout.startswith("1.1.0, 2026-11-21, Dr. A. Silva: in force\n")
    assert "mass is urgent" in cxr("history").stdout
    assert cxr("revert").stdout == "1.1.0 → 1.0.0: in force\n"
    assert cxr("activate", "1.1.0").exit_code == 0
    assert cxr("activate", "file").stdout == "1.1.0 → 1.0.0: in force\n"


def test_what_cannot_be_done_says_so_and_exits_otherwise(cxr, newer, tmp_path, monkeypatch):
    nothing = cxr("revert")
    assert nothing.exit_code != 0
    assert "nobody has activated a policy yet" in nothing.output
    assert "no version 7" in cxr("activate", "7").output
    assert "in force already" in cxr("activate", "file").output
    broken = tmp_path / "broken.toml"
    broken.write_text("version = ", encoding="utf-8")
    for command in (("try", broken), ("write", broken, "--note", "x"), ("try", tmp_path / "none.toml")):
        assert cxr(*command).exit_code != 0
    monkeypatch.setenv("CXR_LOCAL_ROLE", "clinician")
    for command in (("show",), ("history",), ("try", newer), ("write", newer, "--note", "x"), ("revert",)):
        refused = cxr(*command)
        assert refused.exit_code != 0
        assert "needs the role lead" in refused.output
