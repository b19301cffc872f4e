"""`cxr models list` and `cxr models activate` on an empty worklist."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from cxr_core.access import Actor, Role
from cxr_core.cli import app
from cxr_core.settings import Settings
from cxr_core.worklist.database import SQLITE_FILE
from cxr_core.worklist.service import open_service
from tests.evaluation.tabled import with_tables
from tests.training.made_run import make_run
from tests.worklist.test_models import made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of an empty worklist with three models, one of them altered."""
    models = tmp_path / "models"
    made(models, "one")
    made(models, "two", "2.0.0")
    (made(models, "three") / "manifest.toml").write_text("altered", encoding="utf-8")
    return Settings(home=tmp_path / "home", model="one", models_dir=models)


@pytest.fixture
def cxr(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CXR_HOME", str(settings.home))
    monkeypatch.setenv("CXR_MODEL", settings.model)
    monkeypatch.setenv("CXR_MODELS_DIR", str(settings.models_dir))

    def run(*arguments: object) -> Result:
        return CliRunner().invoke(app, ["models", *(str(each) for each in arguments)])

    return run


def test_a_model_is_activated_and_marked(cxr, settings):
    listed = cxr("list")
    assert listed.exit_code == 0
    assert listed.stdout.splitlines()[0] == "* one 1.0.0  Random filters, for tests"
    assert listed.stdout.splitlines()[1].startswith("  three  NOT SOUND: ")
    assert not (settings.home / SQLITE_FILE).exists(), "to look makes no worklist"
    done = cxr("activate", "two", "--note", "sees more")
    assert (done.exit_code, done.stdout) == (0, "one 1.0.0 → two 2.0.0: in force\n")
    assert cxr("list").stdout.splitlines()[2] == "* two 2.0.0  Random filters, for tests"
    with closing(open_service(settings)) as service:
        (change,) = service.models(Actor("Lea", Role.LEAD)).changes
    assert (change.model, change.actor, change.note) == ("two 2.0.0", settings.local_user, "sees more")


def test_what_cannot_be_activated_says_why(cxr, monkeypatch):
    for model_id, said in (
        ("one", "in force already"),
        ("three", "manifest.toml"),
        ("four", "no such model"),
    ):
        refused = cxr("activate", model_id, "--note", "why")
        assert refused.exit_code == 1
        assert said in refused.output
    assert cxr("activate", "two").exit_code == 2, "a note is asked for"
    monkeypatch.setenv("CXR_LOCAL_ROLE", "clinician")
    assert "needs the role lead" in cxr("activate", "two", "--note", "why").output


def test_no_network_is_moved_out_where_nobody_can_tell_which_model_is_in_force(cxr, settings, tmp_path):
    settings.home.mkdir(mode=0o700)
    (settings.home / SQLITE_FILE).write_bytes(b"no database at all" * 100)
    refused = cxr("strip", "two", "--to", tmp_path / "away")
    assert refused.exit_code == 1
    assert "database" in refused.output
    assert (settings.models_dir / "two" / "model.onnx").is_file()
    assert cxr("list").exit_code == 0, "to look is still allowed"


def test_a_network_is_moved_out_and_the_folder_stays_sound(cxr, settings, tmp_path):
    shutil.rmtree(settings.models_dir / "three")
    refused = cxr("strip", "one", "--to", tmp_path / "away")
    assert (refused.exit_code, "in force" in refused.output) == (1, True)
    done = cxr("strip", "two", "--to", tmp_path / "away", "--where", "on the shelf")
    assert (done.exit_code, done.stdout) == (
        0,
        f"two 2.0.0: figures only; its network is in {tmp_path / 'away' / 'two'}\n",
    )
    assert cxr("list").stdout.splitlines()[1] == "  two 2.0.0 [figures only]  Random filters, for tests"
    assert cxr("show", "two").stdout.splitlines()[-1] == "figures only  on the shelf"
    verified = cxr("verify")
    assert verified.exit_code == 0
    assert verified.stdout.splitlines()[1] == (
        "two 2.0.0: sound, 1 files; figures only, its network is not in this copy (on the shelf)"
    )
    refused = cxr("strip", "two", "--to", tmp_path / "away")
    assert (refused.exit_code, "figures only" in refused.output) == (1, True)


def test_figures_are_not_written_under_a_model_that_was_activated(cxr, settings):
    def evaluate(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["evaluate", *arguments])

    with_tables(settings.models_dir / "two")
    assert cxr("activate", "two", "--note", "why").exit_code == 0
    before = (settings.models_dir / "two" / "manifest.toml").read_bytes()
    for refused in (
        evaluate("two", "--split", "test", "--write"),
        evaluate("two", "--noise", "--data", str(settings.home), "--write"),
        cxr("figures", "two", "--write"),
    ):
        assert refused.exit_code == 1
        assert "two 2.0.0 is in force" in refused.output
        assert "Leave out --write" in refused.output
    assert (settings.models_dir / "two" / "manifest.toml").read_bytes() == before
    assert evaluate("two", "--split", "test", "--resamples", "5").exit_code == 0
    assert cxr("activate", "one", "--note", "back").exit_code == 0
    assert evaluate("two", "--split", "test", "--write", "--resamples", "5").exit_code == 0
    for told in (("--version", "2.0.1"), ("--recipe", "two.toml")):
        assert "say what --write writes" in cxr("figures", "two", *told).output


def test_a_run_is_not_exported_in_the_place_of_a_model_that_was_activated_or_without_a_version(
    cxr, settings, tmp_path
):
    def export(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["export", str(run), "--data", str(tmp_path), *arguments])

    run = make_run(tmp_path / "runs", name="two")
    before = (settings.models_dir / "two" / "manifest.toml").read_bytes()
    unsaid = export()
    assert (unsaid.exit_code, "already: say the new one's version with --version" in unsaid.output) == (
        1,
        True,
    )
    assert cxr("activate", "two", "--note", "why").exit_code == 0
    refused = export("--version", "3.0.0")
    assert refused.exit_code == 1
    assert "two 2.0.0 is in force" in refused.output
    assert "--out" in refused.output
    assert (settings.models_dir / "two" / "manifest.toml").read_bytes() == before
    assert "in force" not in export("--version", "3.0.0", "--out", str(tmp_path / "elsewhere")).output
