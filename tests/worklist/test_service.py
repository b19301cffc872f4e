"""The face: every call is checked against the table, and opening it needs no network."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from cxr_core.access import NEEDS, Action, Actor, Role
from cxr_core.domain import Notice, Study, Urgency
from cxr_core.errors import CxrError, Forbidden, ModelError
from cxr_core.local import local_actor
from cxr_core.settings import Settings
from cxr_core.worklist.operations import Search
from cxr_core.worklist.service import Service, open_service
from cxr_core.worklist.values import Incoming, Query, Source
from tests.worklist.rows import THEN

FILE = Incoming("film", b"no film")
CALLS = {
    "submit": (Action.SUBMIT, lambda s, a: s.submit(a, FILE, source=Source.CLI)),
    "submit_many": (Action.SUBMIT, lambda s, a: s.submit_many(a, [FILE], source=Source.CLI)),
    "start_batch": (Action.SUBMIT, lambda s, a: s.start_batch(a, 1, Source.CLI)),
    "add_to_batch": (Action.SUBMIT, lambda s, a: s.add_to_batch(a, "none", [FILE])),
    "refuse_in_batch": (Action.SUBMIT, lambda s, a: s.refuse_in_batch(a, "none", "x", Notice("a", "b"))),
    "finish_batch": (Action.SUBMIT, lambda s, a: s.finish_batch(a, "none")),
    "batch": (Action.SUBMIT, lambda s, a: s.batch(a, "none")),
    "batches": (Action.SUBMIT, lambda s, a: s.batches(a)),
    "page": (Action.VIEW_LIST, lambda s, a: s.page(a, Query())),
    "tiers": (Action.VIEW_LIST, lambda s, a: s.tiers(a)),
    "alerts": (Action.VIEW_LIST, lambda s, a: s.alerts(a)),
    "workers": (Action.VIEW_LIST, lambda s, a: s.workers(a)),
    "export_csv": (Action.EXPORT, lambda s, a: s.export_csv(a, Query())),
    "turnaround": (Action.TURNAROUND, lambda s, a: s.turnaround(a, THEN, THEN)),
    "health": (Action.HEALTH, lambda s, a: s.health(a)),
    "search_audit": (Action.AUDIT, lambda s, a: s.search_audit(a, Search())),
    "study": (Action.VIEW_STUDY, lambda s, a: s.study(a, "none")),
    "version": (Action.VIEW_LIST, lambda s, a: s.version(a, "none")),
    "film_bytes": (Action.VIEW_STUDY, lambda s, a: s.film_bytes(a, "ab" * 32)),
    "complete": (Action.COMPLETE, lambda s, a: s.complete(a, "none", Study(), 1)),
    "claim": (Action.CLAIM, lambda s, a: s.claim(a, "none", 1)),
    "release": (Action.CLAIM, lambda s, a: s.release(a, "none", 1)),
    "acknowledge": (Action.ACKNOWLEDGE, lambda s, a: s.acknowledge(a, "none", 1)),
    "mark_read": (Action.READ, lambda s, a: s.mark_read(a, "none", 1)),
    "priors": (Action.VIEW_STUDY, lambda s, a: s.priors(a, "none")),
    "opine": (Action.OPINE, lambda s, a: s.opine(a, "none", 1, "Mass", agrees=True)),
    "override": (Action.OVERRIDE, lambda s, a: s.override(a, "none", 1, Urgency.URGENT, "why")),
    "note": (Action.NOTE, lambda s, a: s.note(a, "none", 1, "text")),
    "undo": (Action.UNDO, lambda s, a: s.undo(a, "none", 1, 1)),
    "reanalyse": (Action.REANALYSE, lambda s, a: s.reanalyse(a, None, None)),
    "retry": (Action.RETRY, lambda s, a: s.retry(a, "ab" * 32)),
}


def test_every_call_in_somebodys_name_is_listed_here():
    methods = inspect.getmembers(Service, inspect.isfunction)
    assert set(CALLS) == {name for name, each in methods if "actor" in inspect.signature(each).parameters}


@pytest.mark.parametrize("name", CALLS)
def test_a_call_is_refused_to_every_role_below_the_table_and_to_no_other(home, name):
    service = open_service(home)
    action, call = CALLS[name]
    for role in Role:
        actor = Actor(f"a {role}", role)
        if role.covers(NEEDS[action]):
            try:
                call(service, actor)
            except Forbidden:
                pytest.fail(f"{role} may {action}")
            except CxrError:
                pass  # there is no such study, film or batch: it was let through
        else:
            with pytest.raises(Forbidden):
                call(service, actor)
    service.close()


def test_the_model_is_named_as_results_name_it(home):
    service = open_service(home)
    assert service.model == service.model_named(None) == service.model_named("tiny") == "tiny 0.1.0"
    with pytest.raises(ModelError):
        service.model_named("another")
    service.close()


def test_nothing_is_made_on_disk_where_the_model_is_not_sound(tmp_path: Path):
    with pytest.raises(ModelError):
        open_service(Settings(home=tmp_path / "home", model="none", models_dir=tmp_path))
    assert not (tmp_path / "home").exists()


def test_the_person_at_this_machine_is_whom_the_settings_name():
    assert local_actor(Settings()) == Actor("local user", Role.LEAD)
    assert local_actor(Settings(local_user="Ann", local_role="lead")) == Actor("Ann", Role.LEAD)
