"""A TOML table read into a frozen dataclass, nothing missing, unknown or coerced; and one written."""

from __future__ import annotations

import json
import types
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from datetime import date, datetime
from enum import StrEnum
from functools import cache
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from cxr_core.errors import CxrError

T = TypeVar("T")


def build(cls: type[T], table: object, where: str, error: type[CxrError]) -> T:
    """Return an instance of the dataclass `cls` with the table's values.

    Fields may be str, int, float, bool, date, a StrEnum, `X | None`, `tuple[X, ...]`, `dict[str, X]` or
    another dataclass.

    Raises:
        error: a key is unknown or missing, or a value has another type; names the place.
    """
    if not isinstance(table, Mapping):
        raise error(f"{where}: expected a table, got {type(table).__name__}")
    hints = _hints(cls)  # type: ignore[arg-type]  # a class is hashable
    known = fields(cls)  # type: ignore[arg-type]
    if unknown := sorted(set(map(str, table)) - {f.name for f in known}):
        raise error(f"{where}: unknown key {', '.join(unknown)}")
    needed = {f.name for f in known if f.default is MISSING and f.default_factory is MISSING}
    if missing := sorted(needed - set(table)):
        raise error(f"{where}: missing key {', '.join(missing)}")
    return cls(**{key: _value(hints[key], value, f"{where}.{key}", error) for key, value in table.items()})


@cache
def _hints(cls: type[Any]) -> dict[str, Any]:
    return get_type_hints(cls)


def _value(hint: Any, value: object, where: str, error: type[CxrError]) -> Any:  # noqa: ANN401 - the dataclass's annotations are the types
    if get_origin(hint) is types.UnionType:
        (hint,) = (arg for arg in get_args(hint) if arg is not types.NoneType)
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise error(f"{where}: expected a list, got {type(value).__name__}")
        return tuple(_value(get_args(hint)[0], item, f"{where}[{i}]", error) for i, item in enumerate(value))
    if get_origin(hint) is dict:
        if not isinstance(value, Mapping):
            raise error(f"{where}: expected a table, got {type(value).__name__}")
        return {str(k): _value(get_args(hint)[1], v, f"{where}.{k}", error) for k, v in value.items()}
    if is_dataclass(hint) and isinstance(hint, type):
        return build(hint, value, where, error)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        if value not in list(hint):
            raise error(f"{where}: unknown {value!r}, expected one of {', '.join(hint)}")
        return hint(str(value))
    return _plain(hint, value, where, error)


def _plain(hint: Any, value: object, where: str, error: type[CxrError]) -> Any:  # noqa: ANN401
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if hint is float and number:
        return float(value)  # type: ignore[arg-type]
    fits = isinstance(value, hint) and isinstance(value, bool) == (hint is bool)
    if hint is date and isinstance(value, datetime):
        fits = False
    if not fits:
        raise error(f"{where}: expected {hint.__name__}, got {type(value).__name__}")
    return value


def table_lines(name: str, table: dict[str, Any]) -> list[str]:
    """Return the lines of a TOML table that `build` reads again, its tables beneath it."""
    plain = {key: value for key, value in table.items() if not isinstance(value, dict)}
    heading = [] if table and not plain else ["", f"[{name}]"]  # tables of tables alone need none
    lines = [*heading, *(f"{_key(key)} = {_toml(value)}" for key, value in plain.items())]
    for key, value in table.items():
        if isinstance(value, dict):
            lines += table_lines(f"{name}.{_key(key)}", value)
    return lines


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else json.dumps(key)


def _toml(value: Any) -> str:  # noqa: ANN401 -- any value that TOML knows
    if isinstance(value, tuple):
        return "[" + ", ".join(_toml(item) for item in value) + "]"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        return repr(float(value))
    # TOML's escapes are JSON's, and it forbids one character more.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
