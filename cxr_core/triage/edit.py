"""Values of a policy changed in its text; comments, order and everything else stay as they were written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError

from cxr_core.errors import PolicyError

Place = tuple[str, ...]
"""Keys from the top of the file; a finding goes by its label: `("findings", "Mass", "tier")`."""


def edited(text: str, changes: Mapping[Place, str | int | float | date]) -> str:
    """Return the policy with these values; what says so already is not touched.

    Raises:
        PolicyError: the text is not TOML, or has no such place.
    """
    try:
        document = tomlkit.parse(text)
        for (*path, key), value in changes.items():
            table = _table(document, path)
            if table[key] != value:
                table[key] = value
    except (TOMLKitError, KeyError, TypeError, StopIteration, RecursionError) as exc:
        raise PolicyError(f"the policy cannot be edited by fields ({type(exc).__name__})") from exc
    return tomlkit.dumps(document)


def _table(document: Any, path: list[str]) -> Any:  # noqa: ANN401 -- tomlkit's tables behave like dicts
    table = document
    for key in path:
        if isinstance(table, list):
            table = next(each for each in table if each["label"] == key)
        else:
            table = table[key]
    return table
