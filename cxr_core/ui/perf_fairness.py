"""Whether some are served worse: groups by sex, age and view, with intervals, counts and what they hide."""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape

import streamlit as st

from cxr_core.access import Actor
from cxr_core.evaluation import fairness
from cxr_core.evaluation.bootstrap import Interval
from cxr_core.evaluation.fairness import Looked, Missed, Row, Told
from cxr_core.evaluation.rates import Difference, Share
from cxr_core.evaluation.subgroups import SINGLE, By
from cxr_core.triage.budget import FEW_POSITIVES
from cxr_core.ui import plots
from cxr_core.ui.perf_choice import Chosen, kept
from cxr_core.ui.perf_fairness_plots import LOOKS, NOT_ENOUGH, Cell, Panel, forest, heat_map, said
from cxr_core.ui.perf_numbers import named
from cxr_core.ui.perf_tables import Table, with_csv
from cxr_core.worklist.service import Service

FIRST = "Effusion"
GAP = "Sensitivity gap"
MEASURES = ("AUC", "Sensitivity", GAP, "Underdiagnosis", "False alarms")


@dataclass(frozen=True, slots=True)
class Found:
    """What a grouping shows at one finding; all of it in the order of the groups."""

    by: By
    label: str
    rows: tuple[Row, ...]
    areas: tuple[Interval, ...]
    missed: tuple[Missed, ...]
    left: tuple[bool, ...]
    missed_left: tuple[bool, ...]
    looked: Looked

    @property
    def names(self) -> tuple[str, ...]:
        """Of the groups."""
        return tuple(row.group.name for row in self.rows)


def draw(service: Service, actor: Actor, chosen: Chosen) -> None:
    """Show the figures of the grouping and the finding chosen."""
    scored = chosen.scored
    labels = [label for label, at in zip(scored.labels, scored.rules.thresholds, strict=True) if at <= 1]
    if not labels:
        st.html('<div class="empty">This model has no threshold that can be reached: it calls nothing.</div>')
        return
    with st.container(horizontal=True, gap="small", vertical_alignment="bottom", key="fair-bar"):
        by = By(st.selectbox("Group by", list(By), key="fair-by", width=190) or By.SEX)
        first = labels.index(FIRST) if FIRST in labels else 0
        label = str(st.selectbox("Finding", labels, first, format_func=named, key="fair-label", width=220))
        if by not in SINGLE:
            st.segmented_control("In the map", MEASURES, default=GAP, required=True, key="fair-measure")
    with st.spinner("Drawing patients again for the intervals"):
        found = _found(service, chosen, by, label)
    st.html(f'<p class="perf-about">{escape(sentence(found))}</p>')
    if by not in SINGLE:
        _map(chosen, found, st.session_state["fair-measure"])
    plots.with_downloads(
        forest(found.names, panels(found)),
        f"fair-forest-{by.name}",
        f"Figures by {by} for {named(label)}: {sentence(found)}",
        f"fairness-{chosen.model.id}-{chosen.split}-{by.name.lower()}-{label}",
        190 + 30 * len(found.names),
    )
    with_csv(table(found), f"{chosen.model.id}-{chosen.split}-{by.name.lower()}-{label}", "fair")
    st.caption(note(found, scored.table["patient"].nunique()))


def _found(service: Service, chosen: Chosen, by: By, label: str) -> Found:
    scored, policy = chosen.scored, service.policy
    each = kept(chosen, f"fair {by}", lambda: fairness.by_finding(scored, by))
    missed = kept(
        chosen,
        f"fair missed {by} {policy.version}",
        lambda: fairness.missed(scored, fairness.cleared(scored, policy), by),
    )
    said_missed = [row.missed or row.silent for row in missed]
    gaps = [*fairness.gaps_of(each), *(told.gap for told in said_missed)]
    left = fairness.left(gaps)
    start = [len(rows) for rows in each.values()]
    before = sum(start[: list(each).index(label)])
    return Found(
        by=by,
        label=label,
        rows=each[label],
        areas=kept(chosen, f"fair areas {by} {label}", lambda: fairness.areas(scored, by, label)),
        missed=missed,
        left=left[before : before + len(each[label])],
        missed_left=left[-len(missed) :],
        looked=fairness.looked(gaps),
    )


def panels(found: Found) -> tuple[Panel, ...]:
    """Return areas, gaps in sensitivity and underdiagnosis of each group."""
    return (
        Panel("AUC", _cells(found, "AUC"), percent=False),
        Panel("Sensitivity gap to all others", _cells(found, GAP), zero=0.0),
        Panel(_missed_title(found), _cells(found, "Underdiagnosis"), percent=True),
    )


def _cells(found: Found, measure: str) -> list[Cell]:
    rows = zip(found.rows, found.areas, found.missed, found.left, found.missed_left, strict=True)
    return [_cell(measure, *each) for each in rows]


def _cell(measure: str, row: Row, area: Interval, missed: Missed, left: bool, missed_left: bool) -> Cell:
    if measure == "AUC":
        of = f"n+ = {row.positives} of {row.positive_patients} patients, n− = {row.films - row.positives}"
        return Cell(None if math.isnan(area.value) else area, of)
    if measure == "Sensitivity":
        return Cell(None if row.few_found else row.found.interval, f"n+ = {row.positives}")
    if measure == GAP:
        gap = row.gap.interval if row.gap else None
        return Cell(gap, f"n+ = {row.positives}", _look(row.gap, left))
    if measure == "Underdiagnosis":
        told = missed.missed or missed.silent
        return Cell(*_share(told), _look(told.gap, missed_left))
    return Cell(*_share(missed.alarmed or missed.called))


def _share(told: Told) -> tuple[Interval | None, str]:
    return (None if told.few else told.share.interval), f"n = {told.share.of}"


def _look(gap: Difference | None, left: bool) -> str:
    plain, marked, kept_ = LOOKS
    if gap is None or not gap.marked:
        return plain
    return kept_ if left else marked


def _map(chosen: Chosen, found: Found, measure: str) -> None:
    cells = _cells(found, measure)
    pairs = zip(found.rows, cells, strict=True)
    rows = [(row.group.names[0], row.group.names[1], cell) for row, cell in pairs]
    percent = measure in ("Underdiagnosis", "False alarms")
    what = measure if percent else f"{measure} of {named(found.label)}"
    plots.with_downloads(
        heat_map(what, rows, percent=percent, about_zero=measure == GAP),
        f"fair-map-{found.by.name}-{measure}",
        f"{what} by {found.by}: "
        + "; ".join(
            f"{name} {said(cell.value, percent=percent) if cell.value else NOT_ENOUGH}"
            for name, cell in zip(found.names, cells, strict=True)
        ),
        f"fairness-map-{chosen.model.id}-{chosen.split}-{found.by.name.lower()}-{found.label}",
        130 + 46 * len({row[0] for row in rows}),
    )


def sentence(found: Found) -> str:
    """Return what was found: the marked gaps in words; never that a group is well served."""
    marked = [
        f"{row.group.name}: {named(found.label)} sensitivity gap {said(row.gap.interval, signed=True)}"
        for row in found.rows
        if row.gap and row.gap.marked
    ]
    marked += [
        f"{row.group.name}: underdiagnosis {said(told.share.interval, percent=True)}, "
        f"gap {said(told.gap.interval, percent=True, signed=True)}"
        for row in found.missed
        if (told := row.missed or row.silent).gap and told.gap and told.gap.marked
    ]
    few = sum(row.gap is None for row in found.rows)
    parts = ["; ".join(marked) + "." if marked else f"No interval of a gap leaves out 0 here by {found.by}."]
    if few:
        parts.append(f"Not enough data for a gap in {few} of {len(found.rows)} groups.")
    looked = found.looked
    parts.append(
        f"Of {looked.gaps} gaps by {found.by}, all findings together, {looked.marked} leave out 0 (about "
        f"{looked.by_chance:.1f} would by chance); {looked.left} are left at a false discovery rate of 5 %."
    )
    return " ".join(parts)


def note(found: Found, patients: int) -> str:
    """Return what the figures are and are not."""
    product = found.missed[0].missed is not None if found.missed else False
    missed = (
        'diseased films of which the product would say "No disease detected"'
        if product
        else "diseased films without any finding at its threshold (this model never says that there is none)"
    )
    return (
        f"{patients:,} patients. Gap: sensitivity at the operating point minus that of all other films. "
        f"Underdiagnosis: {missed} (Seyyed-Kalantari 2021). Limits are of 95 % and know that several films "
        f'are of one patient. Below {FEW_POSITIVES} films it reads "{NOT_ENOUGH}". Where an interval holds '
        "0, a gap as wide as the interval may be there all the same. Groups differ in how ill they are and "
        "in how their films were taken; a gap does not say why. Labels were mined from reports, perhaps less "
        "well for some."
    )


def table(found: Found) -> Table:
    """Return everything as rows: a group each."""
    three = ("", "_low", "_high")
    heads = ["group", "films", "positives", "patients_with", "patients"]
    for name in ("auc", "tpr", "fpr", "tpr_gap", "missed", "missed_gap", "silent", "false_alarm", "called"):
        heads += [name + end for end in three]
    heads += ["tpr_gap_level", "tpr_gap_left", "tpr_minus_median", "diseased", "healthy"]
    rows = []
    each = zip(found.rows, found.areas, found.missed, found.left, strict=True)
    for row, area, missed, left in each:
        cells: list[object] = [row.group.name, row.films, row.positives, row.positive_patients, row.patients]
        for interval in (
            area,
            _enough(row.found),
            _enough(row.wrong),
            _of(row.gap),
            _told(missed.missed),
            _of(missed.missed.gap if missed.missed else None),
            _told(missed.silent),
            _told(missed.alarmed),
            _told(missed.called),
        ):
            cells += [interval.value, interval.low, interval.high]
        level = row.gap.level if row.gap else math.nan
        cells += [level, "yes" if left else "no", row.from_median]
        cells += [missed.silent.share.of, missed.called.share.of]
        rows.append(tuple(cells))
    return Table(f"Figures by {found.by}", tuple(heads), tuple(rows))


def _missed_title(found: Found) -> str:
    product = any(row.missed is not None for row in found.missed)
    return "Underdiagnosis, any finding" if product else "Diseased, nothing called"


def _enough(share: Share) -> Interval:
    return fairness.NONE if share.of < FEW_POSITIVES else share.interval


def _told(told: Told | None) -> Interval:
    return fairness.NONE if told is None else _enough(told.share)


def _of(gap: Difference | None) -> Interval:
    return gap.interval if gap else fairness.NONE
