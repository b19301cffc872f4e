"""Promise A1: viewer, clinician, lead, admin × every action, on the service itself, made from the table."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from cxr_core.access import NEEDS, Action, Actor, Role
from cxr_core.errors import CxrError, Forbidden, SignedOut
from cxr_core.worklist.schema import AuditHeadRow
from cxr_core.worklist.service import Service, open_service
from tests.worklist.calls import CALLS, OWN, PROGRAMS, ROOT, Nothing, World, claims, signed_in


@pytest.fixture
def another(service, store_settings, clock):
    """A second opening of the same worklist, as another process has it."""
    opened = open_service(store_settings, clock=clock)
    yield opened
    opened.close()


def events(service: Service) -> int:
    with service.database.read() as session:
        return session.scalars(select(AuditHeadRow.seq)).one()


def refused(call, service: Service, actor: Actor, error: type[CxrError]) -> None:
    before = events(service)
    with pytest.raises(error):
        call.make(service, actor, Nothing())
    assert events(service) == before


def test_a1_every_action_has_a_role_and_a_call_and_every_call_an_action():
    assert set(NEEDS) == set(Action) == {call.action for call in CALLS.values()}
    methods = {name for name, _ in inspect.getmembers(Service, inspect.isfunction) if name[0] != "_"}
    assert methods == CALLS.keys() | OWN | PROGRAMS, "a method without a line in tests/worklist/calls.py"
    takes = {name for name in methods if "actor" in inspect.signature(getattr(Service, name)).parameters}
    assert takes == CALLS.keys() | OWN - {"arrive"}


@pytest.mark.parametrize("role", Role)
def test_a1_whoever_signed_in_may_do_what_the_table_says_and_nothing_else(service, role):
    actor, world = signed_in(service, role, "ana"), World(service)
    for name, call in CALLS.items():
        if role.covers(NEEDS[call.action]):
            try:
                call.make(service, actor, world)
            except CxrError as exc:
                pytest.fail(f"{role} may {call.action} by {name}: {exc!r}")
        else:
            refused(call, service, actor, Forbidden)


@pytest.mark.parametrize("role", Role)
def test_a1_the_person_at_the_machine_may_do_what_the_table_says_and_nothing_else(service, role):
    actor = Actor(f"a {role}", role)
    for call in CALLS.values():
        if role.covers(NEEDS[call.action]):
            try:
                call.make(service, actor, Nothing())
            except (Forbidden, SignedOut):
                pytest.fail(f"{role} may {call.action}")
            except CxrError:
                pass  # there is no such study, film or account: it was let through
        else:
            refused(call, service, actor, Forbidden)


def test_a1_a_role_taken_away_elsewhere_counts_at_the_very_next_call(service, another):
    signed_in(service, Role.ADMIN, "ben")
    actor = signed_in(service, Role.ADMIN, "ana")
    account = next(each for each in another.accounts(ROOT) if each.handle == actor.name)
    for role in (Role.LEAD, Role.CLINICIAN, Role.VIEWER):
        another.set_role(ROOT, account.id, role)
        for call in CALLS.values():
            if role.covers(NEEDS[call.action]):
                assert service.check(actor, call.action).role is role
            else:
                refused(call, service, actor, Forbidden)
    another.set_role(ROOT, account.id, None)
    for call in CALLS.values():
        refused(call, service, actor, SignedOut)


@pytest.mark.parametrize("how", ["signs out", "is signed out", "does nothing"])
def test_a1_a_sign_in_that_ended_elsewhere_is_refused_at_every_call(service, another, clock, how):
    actor = signed_in(service, Role.ADMIN, "ana")
    if how == "signs out":
        another.sign_out(another.arrive(claims("ana", 2)))
    elif how == "is signed out":
        another.sign_out_account(ROOT, another.accounts(ROOT)[0].id)
    else:
        clock.advance(15 * 60)
        with pytest.raises(SignedOut):
            another.check(actor, Action.VIEW_LIST)
    for call in CALLS.values():
        refused(call, service, actor, SignedOut)


def test_a1_a_role_taken_away_by_another_process_counts_at_the_very_next_call(store_settings):
    service = open_service(store_settings)
    actor = signed_in(service, Role.LEAD, "ana")
    service.check(actor, Action.EXPORT)
    environment = {
        "CXR_HOME": store_settings.home,
        "CXR_DATABASE_URL": store_settings.database_url,
        "CXR_LOCAL_ROLE": "admin",
        "CXR_MODEL": store_settings.model,
        "CXR_MODELS_DIR": store_settings.models_dir,
        "PATH": os.environ["PATH"],
    }
    command = [sys.executable, "-m", "cxr_core.cli", "users", "role", actor.name, "viewer"]
    said = {name: str(value) for name, value in environment.items() if value}
    subprocess.run(command, env=said, check=True, capture_output=True)
    with pytest.raises(Forbidden, match="you are viewer"):
        service.check(actor, Action.EXPORT)
    service.close()


def test_a1_rules_behind_the_table_go_by_the_role_of_now(service, another):
    """A lead may release what another has, and undo what another said; not once the role is gone."""
    actor, world = signed_in(service, Role.LEAD, "ana"), World(service)
    had, (study_id, version, entry) = world.had(), world.note(ROOT)
    another.set_role(ROOT, another.accounts(ROOT)[0].id, Role.CLINICIAN)
    with pytest.raises(Forbidden, match="needs the role lead"):
        service.release(actor, had, 2)
    with pytest.raises(Forbidden, match="needs the role lead"):
        service.undo(actor, study_id, version, entry)


def test_a1_the_documentation_says_what_the_table_says():
    page = (Path(__file__).parents[2] / "docs" / "accounts.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+?) \| (viewer|clinician|lead|admin) \|$", page, re.MULTILINE)
    assert rows == [(str(action), str(role)) for action, role in NEEDS.items()]
