"""`cxr users`: how the first admin comes to be, and what an admin does at the server's machine."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner, Result

from cxr_core.cli import app
from cxr_core.settings import Settings

ISSUER = "https://id.example"


@pytest.fixture
def cxr(tmp_path, tiny_model, monkeypatch):
    """Run a command of an admin in an empty CXR_HOME."""
    for name, value in (("HOME", tmp_path), ("MODEL", tiny_model.name), ("MODELS_DIR", tiny_model.parent)):
        monkeypatch.setenv(f"CXR_{name}", str(value))
    monkeypatch.setenv("CXR_LOCAL_ROLE", "admin")

    def run(*arguments: str) -> Result:
        return CliRunner().invoke(app, ["users", *arguments])

    return run


def test_the_first_admin_is_named_given_another_role_and_signed_out(cxr):
    done = cxr("add", ISSUER, "ana", "--role", "admin", "--name", "Ana Silva")
    assert done.exit_code == 0, done.stderr
    handle, *rest = done.stdout.rstrip("\n").split("\t")
    assert handle.startswith("Ana Silva #")
    assert rest == ["admin", "0 signed in", "seen never", ISSUER, "ana", ""]
    assert cxr("list").stdout == done.stdout
    refused = cxr("role", handle, "none")
    assert (refused.exit_code, "last account with the role admin" in refused.stderr) == (1, True)
    assert cxr("add", ISSUER, "ben", "--role", "admin", "--name", "Ben").exit_code == 0
    tag = handle.rpartition("#")[2]
    for who, role, said in (
        (f"#{tag}", "lead", "lead"),
        (tag, "none", "no role"),
        (handle, "viewer", "viewer"),
    ):
        assert cxr("role", who, role).stdout.split("\t")[1] == said
    assert cxr("sign-out", handle).stdout == f"{handle}: 0 sign-ins ended\n"


@pytest.mark.parametrize("who", ["nobody", "#", "", "Ana Silva"])
def test_who_is_meant_must_be_said_so_that_it_is_one_person(cxr, who):
    cxr("add", ISSUER, "ana", "--role", "viewer", "--name", "Ana Silva")
    done = cxr("role", who, "lead")
    assert (done.exit_code, "there is nobody of this name" in done.stderr) == (1, True)


def test_a_role_that_there_is_not_is_no_role(cxr):
    done = cxr("add", ISSUER, "ana", "--role", "emperor", "--name", "Ana Silva")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "emperor is no role" in done.stderr
    assert cxr("list").stdout == ""


def test_users_are_for_admins(cxr, monkeypatch):
    monkeypatch.setenv("CXR_LOCAL_ROLE", Settings().local_role)
    done = cxr("list")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "needs the role admin" in done.stderr
