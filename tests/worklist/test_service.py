"""The face: opening it needs no network. What calls it has, and who may make them: test_promise_a1."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxr_core.access import Actor, Role
from cxr_core.errors import ModelError
from cxr_core.local import local_actor
from cxr_core.settings import Settings
from cxr_core.worklist.service import open_service


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
