"""Tags to plain values: nothing here raises, and what cannot be read is absent."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any

from pydicom import Dataset
from pydicom.dataelem import RawDataElement
from pydicom.valuerep import PersonName

_LONGEST_TEXT = 256
"""Characters kept of any text; LO ends at 64, but files lie."""

_LONGEST_RAW = 64 * 1024
_LONGEST = dict.fromkeys(("LUTData", "ModalityLUTSequence", "VOILUTSequence"), 1024 * 1024) | {
    "PixelData": 2**32
}
"""Bytes of a value that is read at all; one lookup table has up to 128 KiB, and there may be several."""


def raw_value(dataset: Dataset, keyword: str) -> Any:  # noqa: ANN401 (pydicom's values have no common type)
    """Return the value of an element, None when absent, unreadable or absurdly long.

    pydicom converts a value when it is first asked for; millions of numbers or empty items in one
    element would take minutes.
    """
    try:
        stored = dataset.get_item(keyword)
        longest = _LONGEST.get(keyword, _LONGEST_RAW)
        if isinstance(stored, RawDataElement) and len(stored.value or b"") > longest:
            return None
        return dataset.get(keyword)
    except Exception:  # pydicom raises seven kinds of error when it converts a broken value
        return None


def values(dataset: Dataset, keyword: str) -> tuple[Any, ...]:
    """Return all values of an element, () when absent."""
    value = raw_value(dataset, keyword)
    if value is None or (isinstance(value, str | bytes) and not value):
        return ()
    many = isinstance(value, Sequence) and not isinstance(value, str | bytes | PersonName)
    return tuple(value) if many else (value,)


def text(dataset: Dataset, keyword: str) -> str:
    """Return the first value as clean text: no control or format characters, at most 256 long."""
    found = values(dataset, keyword)
    return clean(str(found[0])) if found and found[0] is not None else ""


def clean(value: str) -> str:
    """Return `value` with runs of blanks, control and format characters as one space."""
    printable = (
        char if unicodedata.category(char)[0] not in "CZ" else " " for char in value[: 4 * _LONGEST_TEXT]
    )
    return " ".join("".join(printable).split())[:_LONGEST_TEXT]


def code_string(dataset: Dataset, keyword: str) -> str:
    """Return the first value in capitals, for the closed sets of DICOM (VR CS)."""
    return text(dataset, keyword).upper()


def numbers(dataset: Dataset, keyword: str) -> tuple[float, ...]:
    """Return all values as finite floats, () when one of them is no number."""
    try:
        found = tuple(float(value) for value in values(dataset, keyword))
    except (TypeError, ValueError, OverflowError):
        return ()
    return found if all(math.isfinite(value) for value in found) else ()


def integer(dataset: Dataset, keyword: str, default: int) -> int:
    """Return the first value as int, `default` when absent or no number."""
    found = numbers(dataset, keyword)
    return int(found[0]) if found else default


def items(dataset: Dataset, keyword: str) -> Iterator[Dataset]:
    """Yield the items of a sequence."""
    yield from (item for item in values(dataset, keyword) if isinstance(item, Dataset))


def meanings(dataset: Dataset, keyword: str) -> Iterator[str]:
    """Yield CodeMeaning of the items of a code sequence, in small letters."""
    yield from (text(item, "CodeMeaning").lower() for item in items(dataset, keyword))


def person(dataset: Dataset, keyword: str) -> str:
    """Return "Family, Given Middle" of a PN element, in Latin letters where the file has them."""
    found = values(dataset, keyword)
    if not found:
        return ""
    groups = (clean(group) for group in str(found[0]).split("="))
    parts = next((group for group in groups if group.strip("^ ")), "").split("^")
    given = " ".join(part.strip() for part in parts[1:3] if part.strip())
    return ", ".join(part for part in (parts[0].strip(), given) if part)
