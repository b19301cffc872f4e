"""Tables of figures, each with a button that takes it away as CSV."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import dataclass
from html import escape

import streamlit as st

from cxr_core.evaluation.bootstrap import Interval
from cxr_core.files import is_formula

NONE = "–"


@dataclass(frozen=True, slots=True)
class Table:
    """Heads and rows; a cell is text, a number, or NaN for none."""

    title: str
    heads: tuple[str, ...]
    rows: tuple[tuple[object, ...], ...]


def with_csv(table: Table, name: str, key: str) -> None:
    """Show the button alone: for what a plot shows already.

    Args:
        table: to take away.
        name: of the file, without its ending.
        key: unique on the page.
    """
    st.download_button(
        f"{table.title} (CSV)",
        as_csv(table),
        f"{name}.csv",
        "text/csv",
        key=f"{key}-csv",
        on_click="ignore",
        icon=":material/download:",
    )


def show(table: Table, name: str, key: str, *, digits: int = 3) -> None:
    """Show the table, and the button beneath it."""
    st.html(f'<div class="panel perf-table">{html(table, digits)}</div>')
    with_csv(table, name, key)


def html(table: Table, digits: int = 3) -> str:
    """Return the table; text is escaped."""
    heads = "".join(f"<th>{escape(each)}</th>" for each in table.heads)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(_shown(cell, digits))}</td>" for cell in row) + "</tr>"
        for row in table.rows
    )
    return f'<table class="ops-table"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>'


def as_csv(table: Table) -> bytes:
    """Return the table as CSV that no spreadsheet takes for formulas."""
    out = io.StringIO(newline="")
    writer = csv.writer(out)
    writer.writerow(_plain(each) for each in table.heads)
    for row in table.rows:
        writer.writerow(_plain(cell) for cell in row)
    return out.getvalue().encode("utf-8")


def between(interval: Interval, digits: int = 2) -> str:
    """Return an estimate with its limits, where there are any: `0.74 (0.72 to 0.76)`."""
    if math.isnan(interval.value):
        return NONE
    value = f"{interval.value:.{digits}f}"
    return value if math.isnan(interval.low) else f"{value} ({limits(interval, digits)})"


def limits(interval: Interval, digits: int = 2) -> str:
    """Return the limits alone, empty where there are none."""
    if math.isnan(interval.low):
        return ""
    return f"{interval.low:.{digits}f} to {interval.high:.{digits}f}"


def percent(interval: Interval) -> str:
    """Return a share with its limits: `9 % (6 to 13)`."""
    value, limits = percents(interval)
    return f"{value} ({limits})" if limits else value


def percents(interval: Interval) -> tuple[str, str]:
    """Return a share and its limits: `9 %`, `6 to 13`; with a decimal where it would read as none or all.

    >>> percents(Interval(0.0006, 0.0001, 0.004))
    ('0.1 %', '< 0.1 to 0.4')
    """
    if math.isnan(interval.value):
        return NONE, ""
    digits = 1 if 0 < min(interval.value, 1 - interval.value) < 0.01 else 0

    def one(share: float) -> str:
        shown = f"{100 * share:.{digits}f}"
        return f"< {10**-digits:g}" if share > 0 and float(shown) == 0 else shown

    value = f"{one(interval.value)} %"
    return value, "" if math.isnan(interval.low) else f"{one(interval.low)} to {one(interval.high)}"


def _shown(cell: object, digits: int) -> str:
    if isinstance(cell, Interval):
        return between(cell, digits)
    if isinstance(cell, float):
        return NONE if math.isnan(cell) else f"{cell:.{digits}f}"
    return f"{cell:,}" if isinstance(cell, int) else str(cell)


def _plain(cell: object) -> object:
    if isinstance(cell, float):
        return "" if math.isnan(cell) else f"{cell:.6g}"
    text = str(cell)
    return f"'{text}" if isinstance(cell, str) and is_formula(text) else text
