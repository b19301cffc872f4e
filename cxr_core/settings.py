"""What can be set: one table, read once. Environment `CXR_*`, then a TOML file, then the default."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

from cxr_core.errors import SettingsError

PREFIX = "CXR_"
HIDDEN = "(hidden)"
ROOT = Path(__file__).resolve().parent.parent
"""The checkout, where the bundled model and policy lie."""

Table = TypeVar("Table")


def setting(
    default: Any,  # noqa: ANN401 -- the field's own annotation says the type
    help_: str,
    *,
    shown: str = "",
    choices: tuple[str, ...] = (),
    low: int = 0,
    high: int = 2**31,
    secret: bool = False,
    environment_only: bool = False,
) -> Any:  # noqa: ANN401
    """Return one row of the table.

    Args:
        default: value when neither environment nor file sets it.
        help_: one sentence for people.
        shown: how documentation writes the default where it depends on the machine.
        choices: allowed words, for text and sets of words.
        low: smallest whole number allowed.
        high: largest whole number allowed.
        secret: keep the value out of `repr` and of messages.
        environment_only: not allowed in the TOML file.
    """
    row = {
        "help": help_,
        "shown": shown,
        "choices": choices,
        "low": low,
        "high": high,
        "secret": secret,
        "environment_only": environment_only,
    }
    return field(default=default, repr=not secret, metadata=row)


@dataclass(frozen=True, slots=True)
class Settings:
    """The table. The environment name is `CXR_` and the field's name in capitals."""

    config: Path | None = setting(
        None, "TOML file of settings; unset: `cxr.toml` in CXR_HOME if it is there", environment_only=True
    )
    home: Path = setting(
        Path.home() / ".neuraray",
        "Folder for everything the app writes",
        shown="~/.neuraray",
        environment_only=True,
    )
    model: str = setting("cxr14-mobilenetv2", "Id of the model that answers until a lead activates another")
    models_dir: Path = setting(ROOT / "models", "Folder of model folders", shown="models/ of the checkout")
    gate: Path = setting(
        ROOT / "models" / "gate",
        "Folder of the network that decides which films a model may judge",
        shown="models/gate/ of the checkout",
    )
    policy: Path = setting(
        ROOT / "config" / "policy.toml", "Clinical policy", shown="config/policy.toml of the checkout"
    )
    threads: int = setting(0, "Threads for decoding and for the network; 0: one per processor", high=256)
    local_user: str = setting("local user", "Name of the person at this machine when nobody signs in")
    local_role: str = setting(
        "lead",
        "Role of that person: whoever runs it alone also keeps the list",
        choices=("viewer", "clinician", "lead", "admin"),
    )
    sign_in: str = setting(
        "off",
        "How people sign in; off: nobody does, and the app runs on this machine's loopback only",
        choices=("off", "oidc"),
    )
    idle_minutes: int = setting(
        15, "Minutes without a person's action after which a sign-in is locked", low=1
    )
    session_hours: int = setting(12, "Hours after which a sign-in ends whatever happens", low=1)
    database_url: str = setting(
        "",
        "PostgreSQL that several machines share, as postgresql://user:password@host/name; "
        "unset: neuraray.sqlite3 in CXR_HOME",
        secret=True,
    )
    queue_limit: int = setting(
        10_000, "Films that may wait for an answer; more are refused until some are answered", low=1
    )
    min_free_mb: int = setting(
        500, "Megabytes of CXR_HOME's disk that are kept free: no film is taken in below"
    )
    lease_s: int = setting(30, "Seconds after which the studies of a silent worker go to another", low=1)
    attempts: int = setting(3, "Times a film may kill or stall its decoder before it is given up", low=1)
    lost_leases_cap: int = setting(
        10, "Times a study may lose its worker before its waiting films are given up", low=1
    )
    decode_timeout_s: int = setting(20, "Seconds that decoding one film may take", low=1)
    decode_memory_mb: int = setting(2048, "Megabytes of address space of a decoding process", low=256)
    worker_processes: int = setting(0, "Decoding processes of a worker; 0: one per processor", high=256)
    data: Path | None = setting(None, "Folder of real films for tests, training and benchmarks")
    require: frozenset[str] = setting(
        frozenset(),
        "Kinds of tests, comma-separated, that must run: skipping one is then a failure",
        choices=("browser", "postgres", "real_data"),
    )


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Return the settings of this process.

    Raises:
        SettingsError: an unknown `CXR_*` name or TOML key, or a value that cannot be used.
    """
    environ = os.environ if environ is None else environ
    places = read(Settings, {k: v for k, v in environ.items() if k in ("CXR_CONFIG", "CXR_HOME")}, {})
    path = places.config or places.home / "cxr.toml"
    if places.config is None and not path.is_file():
        return read(Settings, environ, {})
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise SettingsError(f"{path}: expected a readable TOML file ({exc})") from exc
    return read(Settings, environ, document)


def read(table: type[Table], environ: Mapping[str, str], document: Mapping[str, Any]) -> Table:
    """Return `table` filled from the environment, then from a parsed TOML document, then its defaults.

    Raises:
        SettingsError: an unknown name, or a value that cannot be used.
    """
    rows = {row.name: row for row in fields(table)}  # type: ignore[arg-type]
    in_environment = {k: v for k, v in environ.items() if k.startswith(PREFIX)}
    _only_known(in_environment, [environment_name(name) for name in rows], "environment")
    _only_known(
        document,
        [name for name, row in rows.items() if not row.metadata["environment_only"]],
        "settings file",
    )
    values: dict[str, Any] = {}
    for name, row in rows.items():
        variable = environment_name(name)
        if variable in in_environment:
            values[name] = _parse(row, variable, _from_text(row, in_environment[variable]))
        elif name in document:
            values[name] = _parse(row, name, document[name])
    return table(**values)


def environment_name(name: str) -> str:
    """Return the environment variable of a setting: `CXR_MODEL` for `model`."""
    return PREFIX + name.upper()


def field_name(variable: str) -> str:
    """Return the field of an environment variable: `model` for `CXR_MODEL`."""
    return variable.removeprefix(PREFIX).lower()


def rows(table: type[Any] = Settings) -> list[tuple[str, str, str, str]]:
    """Return (environment name, type, default, help) of every setting, for people."""
    out = []
    for row in fields(table):
        default = "" if row.default in (None, frozenset(), MISSING) else str(row.default)
        notes = [row.metadata["help"]]
        if row.metadata["choices"]:
            notes.append("one of " + ", ".join(row.metadata["choices"]))
        if row.metadata["environment_only"]:
            notes.append("environment only")
        shown = HIDDEN if row.metadata["secret"] else row.metadata["shown"] or default
        out.append((environment_name(row.name), _kind(row), shown, "; ".join(notes)))
    return out


def _only_known(given: Mapping[str, Any], known: list[str], where: str) -> None:
    for name in given:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f"; did you mean {near[0]}?" if near else f"; known: {', '.join(known)}"
            raise SettingsError(f"unknown setting {name} in the {where}{hint}")


def _kind(row: Field[Any]) -> str:
    words = {"str": "text", "int": "whole number", "frozenset[str]": "set of words"}
    annotation = str(row.type).removesuffix(" | None")
    return words.get(annotation, annotation.lower())


def _from_text(row: Field[Any], text: str) -> Any:  # noqa: ANN401 -- still to be checked by `_parse`
    """Return an environment value in the form that TOML would have given it."""
    kind = _kind(row)
    if kind == "whole number":
        return int(text) if text.strip().removeprefix("-").isdecimal() else text
    if kind == "set of words":
        return [word.strip() for word in text.split(",") if word.strip()]
    return text


def _parse(row: Field[Any], name: str, value: Any) -> Any:  # noqa: ANN401 -- the field's annotation says the type
    """Return the checked value of one row.

    Raises:
        SettingsError: wrong type, outside the range, not one of the choices.
    """
    kind, rule = _kind(row), row.metadata
    got = "a hidden value" if rule["secret"] else repr(value)
    if kind == "whole number":
        if not isinstance(value, int) or isinstance(value, bool) or not rule["low"] <= value <= rule["high"]:
            raise SettingsError(
                f"{name}: expected a whole number from {rule['low']} to {rule['high']}, got {got}"
            )
        return value
    if kind == "set of words":
        if not isinstance(value, list) or not all(word in rule["choices"] for word in value):
            raise SettingsError(f"{name}: expected words out of {', '.join(rule['choices'])}, got {got}")
        return frozenset(value)
    if not isinstance(value, str) or not (value.strip() or str(row.type).endswith("None")):
        raise SettingsError(f"{name}: expected {kind}, not empty, got {got}")
    if rule["choices"] and value not in rule["choices"]:
        raise SettingsError(f"{name}: expected one of {', '.join(rule['choices'])}, got {got}")
    if kind == "path":
        return Path(value).expanduser() if value.strip() else None
    return value
