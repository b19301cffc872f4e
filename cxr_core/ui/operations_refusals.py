"""What was refused lately and why, most frequent first."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st
from plotly.graph_objects import Figure

from cxr_core.access import Actor
from cxr_core.imaging.refusals import REFUSALS
from cxr_core.ui import plots
from cxr_core.worklist.operations import Refused
from cxr_core.worklist.service import Service

PERIODS = {"24 hours": 1, "7 days": 7, "30 days": 30}
DOOR, GATE = "at the door", "by the gate"


def show(service: Service, actor: Actor) -> None:
    """Show a bar a code, and what each code says."""
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        period = st.selectbox(
            "Period", list(PERIODS), 1, key="ops-refused-days", width=160, label_visibility="collapsed"
        )
        head = st.container()
    found = service.refusals(actor, PERIODS[period])
    total = sum(each.door + each.gate for each in found)
    if not total:
        st.html('<div class="empty"><b>Nothing was refused in this time.</b></div>')
        return
    door = sum(each.door for each in found)
    said = f"{total:,} refused: {door:,} at the door, {total - door:,} by the model's gate"
    head.html(f'<div class="ops-said"><strong>{total:,}</strong> {said.split(" ", 1)[1]}</div>')
    plots.show(refusals_figure(found), "ops-refusals", said, 90 + 34 * len(found))
    st.dataframe(
        refusals_table(found), hide_index=True, key="ops-refused", height=44 + 36 * min(len(found), 12)
    )


def refusals_figure(found: Sequence[Refused]) -> Figure:
    """Return a bar a code, the most frequent above; the door's part and the gate's differ in pattern too."""
    figure = plots.blank("")
    codes = [each.code for each in found]
    for name, colour, pattern, values in (
        (DOOR, "#E0A100", "/", [each.door for each in found]),
        (GATE, "#56B4E9", "", [each.gate for each in found]),
    ):
        figure.add_bar(
            name=name,
            x=values,
            y=codes,
            orientation="h",
            marker={"color": colour, "pattern": {"shape": pattern}},
            hovertemplate=f"%{{y}}<br>{name} %{{x}}<extra></extra>",
        )
    figure.update_yaxes(autorange="reversed", type="category", ticksuffix="  ", automargin=True)
    figure.update_xaxes(rangemode="tozero", tickformat=",d")
    figure.update_layout(
        barmode="stack", title=None, margin={"t": 34}, legend={"y": 1.0, "yanchor": "bottom"}
    )
    return figure


def refusals_table(found: Sequence[Refused]) -> pd.DataFrame:
    """Return number, sentence and what to do of each code; `…` stands for what differs from film to film."""
    rows = []
    for each in found:
        message, hint = REFUSALS.get(each.code, ("", ""))
        rows.append((each.code, each.door, each.gate, message.format(found="…", limit="…"), hint))
    return pd.DataFrame(rows, columns=["Code", "At the door", "By the gate", "Says", "What to do"])
