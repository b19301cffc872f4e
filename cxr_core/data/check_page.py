"""The result of a check as one HTML file that needs no network: verdict, counts, plots, films."""

from __future__ import annotations

import base64
import html
import io
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from plotly.graph_objects import Figure
from plotly.offline import get_plotlyjs

from cxr_core.data.check import Check, Copy
from cxr_core.data.index import SPLITS, Index, Problem
from cxr_core.data.splits import share_of
from cxr_core.data.ties import FACTS, STRONG
from cxr_core.errors import Rejected
from cxr_core.imaging.decode import decode
from cxr_core.imaging.limits import Limits

_COLOURS = {"train": "#56B4E9", "val": "#E0A100", "test": "#CC79A7"}
_PATTERNS = {"train": "", "val": "/", "test": "."}
_EACH = 6
"""Example films of a label."""
_MOST = 12
"""Problems of one kind, and pairs of copies, that are shown; the rest is counted."""
_THUMB = 176

_STYLE = """
body{background:#0D1014;color:#E6E9ED;font:16px/1.5 "Source Sans 3","Source Sans Pro",system-ui,sans-serif;
 margin:0 auto;max-width:1180px;padding:24px 24px 64px}
h1{font-size:26px;margin:0 0 4px}h2{font-size:19px;margin:40px 0 8px;border-bottom:1px solid #222B34}
h3{font-size:15px;margin:20px 0 6px}p{margin:4px 0 12px;max-width:82ch}.quiet{color:#A3ADB8}
.verdict{border-left:6px solid;padding:8px 16px;background:#151B21;margin:16px 0}
.sound{border-color:#56B4E9}.faulty{border-color:#E8702A}
table{border-collapse:collapse;font-variant-numeric:tabular-nums}th{font-weight:600;text-align:right}
th,td{padding:3px 12px;border-bottom:1px solid #222B34}td{text-align:right}
th:first-child,td:first-child{text-align:left;padding-left:0}
td.strong{background:#5A2B12;font-weight:600}.problems td{text-align:left;vertical-align:top}
.problems td:first-child{white-space:nowrap}.plots{display:grid;grid-template-columns:repeat(2,1fr);gap:16px}
.wide{grid-column:1/-1}.films{display:flex;flex-wrap:wrap;gap:12px}
figure{margin:0;width:176px}img{width:176px;height:176px;object-fit:contain;background:#000;display:block}
figcaption{font-size:13px;line-height:1.35;margin-top:4px;overflow-wrap:anywhere}
.pair{display:flex;gap:4px;background:#151B21;padding:8px}code{font-size:14px}
"""


def page(result: Check) -> str:
    """Return the HTML; it holds example films and file names, so it is to be kept as they are."""
    index = result.index
    plots = [_label_plot(result), *(_group_plot(name, table) for name, table in result.groups.items())]
    drawn = "".join(_drawn(n, figure) for n, figure in enumerate(plots) if figure is not None)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{_text(index.name)}: data check</title>"
        f"<meta name=viewport content='width=device-width'><style>{_STYLE}</style>"
        f"<script>{get_plotlyjs()}</script><h1>{_text(index.name)}</h1>{_about(index)}{_verdict(result)}"
        f"<h2>Films of each label</h2>{_label_table(result)}<h2>Who and what is on the films</h2>"
        f"<div class=plots>{drawn}</div>{_tie_table(result)}{_copies(result)}{_examples(index)}</html>"
    )


def _text(words: object) -> str:
    return html.escape(str(words))


def _about(index: Index) -> str:
    counts = ", ".join(
        f"{split} {len(part):,} films of {part.patients:,} patients"
        for split, part in ((split, index.of(split)) for split in SPLITS)
    )
    licence = f"Licence: {_text(index.licence)}. " if index.licence else ""
    return (
        f"<p>{len(index):,} films of {index.patients:,} patients: {counts}.</p>"
        f"<p class=quiet>{licence}{_text(index.attribution)}</p>"
    )


def _verdict(result: Check) -> str:
    faults, notes = result.faults, result.notes
    opened = "" if result.looked else " The films themselves were not opened."
    if not faults:
        words = f"<div class='verdict sound'><b>Sound.</b> No fault was found.{opened}</div>"
    else:
        count = "One fault was found" if len(faults) == 1 else f"{len(faults):,} faults were found"
        words = f"<div class='verdict faulty'><b>Not sound.</b> {count}; put them right first.{opened}</div>"
    listed = f"<h2>Faults</h2>{_problems(faults)}" if faults else ""
    return words + listed + (f"<h2>Worth knowing</h2>{_problems(notes)}" if notes else "")


def _problems(problems: Iterable[Problem]) -> str:
    by_code: dict[str, list[Problem]] = defaultdict(list)
    for problem in problems:
        by_code[problem.code].append(problem)
    rows = []
    for code, each in by_code.items():
        rows += [
            f"<tr><td><code>{_text(p.code)}</code><td>{_text(p.where)}<td>{_text(p.message)}"
            for p in each[:_MOST]
        ]
        if len(each) > _MOST:
            rows.append(f"<tr><td><code>{_text(code)}</code><td colspan=2>and {len(each) - _MOST:,} more")
    return f"<table class=problems>{''.join(rows)}</table>"


def _label_table(result: Check) -> str:
    head = "".join(f"<th>{split}<th>share" for split in SPLITS)
    rows = []
    for label, row in result.labels.iterrows():
        cells = []
        for split in SPLITS:
            positive, known = int(row[split, "positive"]), int(row[split, "known"])
            cells.append(f"<td>{positive:,}<td>{f'{positive / known:.1%}' if known else 'unknown'}")
        rows.append(f"<tr><td>{_text(label)}{''.join(cells)}")
    return (
        "<p class=quiet>Positive films, and their share of the films of which the label is known.</p>"
        f"<table><tr><th>label{head}</tr>{''.join(rows)}</table>"
    )


def _tie_table(result: Check) -> str:
    if not result.ties:
        return ""
    by_label: dict[str, dict[str, str]] = defaultdict(dict)
    for tie in result.ties:
        v = "" if np.isnan(tie.cramers_v) else f" <span class=quiet>V {tie.cramers_v:.2f}</span>"
        mark = " class=strong" if tie.strong else ""
        by_label[tie.label][tie.fact] = f"<td{mark}>{tie.auc:.2f}{v}"
    facts = [fact for fact in FACTS if any(fact in row for row in by_label.values())]
    rows = [
        f"<tr><td>{_text(label)}{''.join(row.get(fact, '<td>') for fact in facts)}"
        for label, row in by_label.items()
    ]
    return (
        "<h2>What gives a label away</h2><p class=quiet>AUC with which one fact alone tells the label, the "
        "lung unseen: about 0.5 and less tells nothing. V is Cramér's. Marked: "
        f"{STRONG} and more, and hardly by chance. Size and source have nothing to do with the patient: "
        "marked there it is a fault.</p>"
        f"<table><tr><th>label{''.join(f'<th>{fact}' for fact in facts)}</tr>{''.join(rows)}</table>"
    )


def _label_plot(result: Check) -> Figure:
    counts = pd.DataFrame({split: result.labels[split, "positive"] for split in SPLITS})
    return _bars("Positive films of each label", counts, wide=True)


def _group_plot(name: str, table: pd.DataFrame) -> Figure | None:
    """Return bars, or nothing where the data set says nothing of it."""
    if list(table.index) == ["unknown"]:
        return None
    titles = {"age": "Age in decades", "size": "Size in pixels, width × height"}
    return _bars(titles.get(name, name.capitalize()), table)


def _bars(title: str, counts: pd.DataFrame, *, wide: bool = False) -> Figure:
    figure = Figure(
        layout={
            "title": {"text": title, "font": {"size": 15}, "x": 0, "xref": "paper"},
            "paper_bgcolor": "#0D1014",
            "plot_bgcolor": "#0D1014",
            "font": {"color": "#E6E9ED"},
            "xaxis": {"type": "category", "automargin": True},
            "yaxis": {"gridcolor": "#222B34", "title": {"text": "films"}, "rangemode": "tozero"},
            "margin": {"l": 60, "r": 10, "t": 50, "b": 40},
            "legend": {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 1, "xanchor": "right"},
            "height": 380 if wide else 300,
            "meta": "wide" if wide else "",
        }
    )
    for split in SPLITS:
        figure.add_bar(
            x=[str(value) for value in counts.index],
            y=[int(count) for count in counts[split]],
            name=split,
            marker={"color": _COLOURS[split], "pattern": {"shape": _PATTERNS[split]}},
        )
    return figure


def _drawn(number: int, figure: Figure) -> str:
    wide = " class=wide" if figure.layout.meta == "wide" else ""
    drawn = figure.to_html(
        full_html=False, include_plotlyjs=False, div_id=f"plot{number}", config={"displayModeBar": False}
    )
    return f"<div{wide}>{drawn}</div>"


def _copies(result: Check) -> str:
    if not result.copies:
        return ""
    pairs = "".join(_pair(result.index, copy) for copy in result.copies[:_MOST])
    more = len(result.copies) - _MOST
    return (
        "<h2>Near-duplicates across splits</h2><p class=quiet>Pairs that look like one film, the most alike "
        f"first{f'; {more:,} more are not shown' if more > 0 else ''}. Look at them: two films of one "
        "patient a minute apart look like this too, and are a leak all the same.</p>"
        f"<div class=films>{pairs}</div>"
    )


def _pair(index: Index, copy: Copy) -> str:
    films = "".join(_film(index, row, f"likeness {copy.likeness:.2f}") for row in (copy.one, copy.other))
    return f"<div class=pair>{films}</div>"


def _examples(index: Index) -> str:
    """Return some films of each label, and of none, picked by a hash of the patient."""
    truth, parts = index.truth(), []
    named = [(label, truth[:, k] == 1) for k, label in enumerate(index.labels)]
    for label, rows in [*named, ("no label", (truth == 0).all(axis=1))]:
        numbers = np.flatnonzero(rows).tolist()
        if not numbers:
            continue
        patients = index.table["patient"]
        order = sorted(numbers, key=lambda row: share_of(f"{patients.iloc[row]} {row}", "examples"))
        films = "".join(_film(index, row) for row in order[:_EACH])
        parts.append(f"<h3>{_text(label)}, {len(numbers):,} films</h3><div class=films>{films}</div>")
    return f"<h2>Example films</h2>{''.join(parts)}"


def _film(index: Index, row: int, note: str = "") -> str:
    film = index.table.iloc[row]
    found = [label for label in index.labels if film[label] == 1 and label != "abnormal"]
    facts = [film["split"], film["view"], film["sex"]]
    facts.append("" if np.isnan(film["age"]) else f"{film['age']:.0f} y")
    facts += [film["source"], note]
    words = _text(", ".join(found) or "no finding")
    rest = _text(", ".join(str(fact) for fact in facts if fact))
    picture = _picture(Path(film["path"]))
    return (
        f"<figure>{picture}<figcaption><b>{words}</b><br>{rest}<br>"
        f"<span class=quiet>{_text(film['file'])}</span></figcaption></figure>"
    )


def _picture(path: Path) -> str:
    """Return the film as the app decodes it, small, within the page."""
    try:
        pixels = decode(path.read_bytes(), Limits()).pixels
    except (Rejected, OSError) as exc:
        return f"<p>cannot be shown: {_text(type(exc).__name__)}</p>"
    image = Image.fromarray(np.round(np.clip(pixels, 0, 1) * 255).astype(np.uint8))
    image.thumbnail((_THUMB, _THUMB))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    encoded = base64.b64encode(buffer.getvalue()).decode("ascii")
    return f"<img alt='film' src='data:image/jpeg;base64,{encoded}'>"
