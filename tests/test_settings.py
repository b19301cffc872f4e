from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from cxr_core import settings
from cxr_core.errors import SettingsError
from cxr_core.settings import Settings, load, read, setting


def home(tmp_path: Path, text: str) -> dict[str, str]:
    (tmp_path / "cxr.toml").write_text(text)
    return {"CXR_HOME": str(tmp_path)}


def test_environment_goes_before_the_file_and_the_file_before_the_default(tmp_path):
    environ = home(tmp_path, 'model = "from-file"\nthreads = 3\n')
    read = load(environ | {"CXR_MODEL": "from-environment"})
    assert (read.model, read.threads, read.local_role) == ("from-environment", 3, "lead")


def test_a_named_file_replaces_the_one_in_home(tmp_path):
    environ = home(tmp_path, "threads = 3\n")
    other = tmp_path / "other.toml"
    other.write_text("threads = 5\n")
    assert load(environ | {"CXR_CONFIG": str(other)}).threads == 5


def test_a_named_file_must_exist(tmp_path):
    with pytest.raises(SettingsError, match=r"none\.toml: expected a readable TOML file"):
        load({"CXR_HOME": str(tmp_path), "CXR_CONFIG": str(tmp_path / "none.toml")})


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"CXR_MODLE": "x"}, "unknown setting CXR_MODLE in the environment; did you mean CXR_MODEL?"),
        ({"CXR_THREADS": "two"}, "CXR_THREADS: expected a whole number from 0 to 256, got 'two'"),
        ({"CXR_THREADS": "-1"}, "from 0 to 256, got -1"),
        ({"CXR_LOCAL_ROLE": "god"}, "expected one of viewer, clinician, lead, admin, got 'god'"),
        ({"CXR_REQUIRE": "browser,luck"}, "expected words out of browser, postgres, real_data"),
        ({"CXR_MODEL": " "}, "CXR_MODEL: expected text, not empty"),
        ({"CXR_MODELS_DIR": ""}, "CXR_MODELS_DIR: expected path, not empty"),
    ],
)
def test_what_the_environment_must_not_say(tmp_path, environ, message):
    with pytest.raises(SettingsError) as error:
        load({"CXR_HOME": str(tmp_path)} | environ)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('modle = "x"', "unknown setting modle in the settings file; did you mean model?"),
        ('home = "/tmp"', "unknown setting home in the settings file"),
        ("threads = true", "expected a whole number"),
        ('threads = "2"', "expected a whole number from 0 to 256, got '2'"),
        ("model = 3", "model: expected text"),
        ('require = "browser"', "expected words out of"),
        ("threads = ", "expected a readable TOML file"),
        ("[model]\nid = 1", "model: expected text"),
    ],
)
def test_what_the_file_must_not_say(tmp_path, text, message):
    with pytest.raises(SettingsError) as error:
        load(home(tmp_path, text))
    assert message in str(error.value)


def test_other_variables_do_not_matter(tmp_path):
    assert load({"CXR_HOME": str(tmp_path), "PATH": "/bin", "XCXR_MODEL": "x"}) == load(
        {"CXR_HOME": str(tmp_path)}
    )


def test_each_type_is_read_from_text(tmp_path):
    environ = {
        "CXR_HOME": str(tmp_path),
        "CXR_DATA": "~/films",
        "CXR_REQUIRE": "browser, real_data",
        "CXR_THREADS": "8",
    }
    values = load(environ)
    assert values.data == Path.home() / "films"
    assert values.require == {"browser", "real_data"}
    assert values.threads == 8
    assert load(environ | {"CXR_DATA": ""}).data is None


@dataclass(frozen=True, slots=True)
class WithSecret:
    password: str = setting("swordfish", "Opens the door", secret=True, choices=("swordfish", "trout"))


def test_secrets_are_hidden_in_repr_messages_and_tables():
    table = read(WithSecret, {"CXR_PASSWORD": "trout"}, {})
    assert table.password == "trout"  # noqa: S105
    with pytest.raises(SettingsError) as error:
        read(WithSecret, {"CXR_PASSWORD": "salmon"}, {})
    shown = repr(table) + str(error.value).split("got")[1] + repr(settings.rows(WithSecret))
    assert "salmon" not in str(error.value)
    assert "trout" not in repr(table)
    assert "(hidden)" in shown
    assert "hidden value" in shown


def test_every_setting_has_its_help_and_field():
    rows = settings.rows(Settings)
    assert len(rows) == len({name for name, *_ in rows}) >= 9
    for name, kind, _, help_ in rows:
        assert kind in {"text", "path", "whole number", "set of words"}
        assert help_
        assert hasattr(Settings(), name.removeprefix("CXR_").lower())
