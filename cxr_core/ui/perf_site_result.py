"""What fitting a model to a site changes, on patients it was not fitted by: verdict, figures, reliability."""

from __future__ import annotations

import streamlit as st
from plotly.graph_objects import Figure, Scatter

from cxr_core.domain import Urgency
from cxr_core.evaluation.metrics import Bin
from cxr_core.evaluation.site import LabelFit, SiteFit
from cxr_core.evaluation.site_card import asked, comparison, number, plain
from cxr_core.evaluation.site_verdict import Enough
from cxr_core.ui import literal, plots
from cxr_core.ui.perf_tables import Table
from cxr_core.ui.perf_tables import show as show_table

LABEL = "site-label"
_MARKS = {Enough.YES: st.success, Enough.WIDE: st.warning, Enough.FEW: st.error}


def show(fit: SiteFit) -> None:
    """Show it."""
    st.subheader("3 · Before and after")
    st.caption(
        f"On {fit.films[1]:,} films of {fit.patients[1]:,} patients that it was not fitted by. Asked for: "
        f"{asked(fit.choice)}. AUC is the same before and after: the order of films stays."
    )
    word = "The cases suffice" if fit.verdict.enough is Enough.YES else "The cases do not suffice throughout"
    if fit.verdict.enough is Enough.FEW:
        word = "Not enough data"
    _MARKS.get(fit.verdict.enough, st.warning)(f"{word}. {fit.verdict.why}")
    having = [each for each in fit.labels if each.counts.positives]
    head, rows = comparison(fit)
    columns = tuple(f"{name} " if name == "after" else name for name in head)
    show_table(
        Table("Before and after", columns, tuple(map(tuple, rows))), "site-before-after", "site-figures"
    )
    verdicts = tuple(
        (
            plain(each.label),
            each.verdict.enough.value,
            each.how.value,
            "new" if each.renewed else "calls the same films",
            each.verdict.why,
        )
        for each in having
    )
    heads = ("finding", "cases", "calibration", "threshold", "why")
    show_table(Table("Verdict on each finding", heads, verdicts), "site-verdicts", "site-verdicts")
    left, right = st.columns(2)
    with left:
        _tiers(fit)
    with right:
        _reliability(having)


def _tiers(fit: SiteFit) -> None:
    rows = tuple(
        (urgency.value, number(fit.tiers_before[urgency]), number(fit.tiers_after[urgency]))
        for urgency in Urgency
    )
    show_table(
        Table("Expected films a day", ("urgency", "before", "after"), rows), "site-films-a-day", "site-tiers"
    )
    literal.caption(
        f"Of {fit.choice.films_a_day:,.0f} films a day, by what policy {fit.policy} makes of the held-out "
        "films, the members' disagreement included."
    )


def _reliability(having: list[LabelFit]) -> None:
    known = [each for each in having if each.after.bins]
    if not known:
        return
    names = [each.label for each in known]
    if st.session_state.get(LABEL) not in names:
        st.session_state[LABEL] = max(known, key=lambda each: each.counts.positives).label
    label = st.selectbox("Reliability of", names, key=LABEL, format_func=plain)
    each = next(one for one in known if one.label == label)
    said = (
        f"{plain(label)}: share of films with it against the predicted probability; "
        f"ECE {each.before.ece:.3f} before, {each.after.ece:.3f} after"
    )
    plots.with_downloads(_figure(each), "site-reliability", said, f"site-reliability-{label}", 360)
    st.caption(said)


def _figure(each: LabelFit) -> Figure:
    figure = plots.blank(plain(each.label))
    figure.add_trace(
        Scatter(x=[0, 1], y=[0, 1], mode="lines", line={"color": "#56616D", "dash": "dot"}, showlegend=False)
    )
    for name, bins, colour in (
        ("before", each.before.bins, "#E69F00"),
        ("after", each.after.bins, "#56B4E9"),
    ):
        figure.add_trace(_trace(name, bins, colour))
    figure.update_xaxes(title="predicted", range=[0, 1])
    figure.update_yaxes(title="observed", range=[0, 1])
    return figure


def _trace(name: str, bins: tuple[Bin, ...], colour: str) -> Scatter:
    above = [each.high95 - each.observed for each in bins]
    below = [each.observed - each.low95 for each in bins]
    return Scatter(
        x=[each.mean for each in bins],
        y=[each.observed for each in bins],
        error_y={"type": "data", "array": above, "arrayminus": below, "thickness": 1},
        mode="lines+markers",
        name=name,
        line={"color": colour},
        hovertext=[f"{each.n} films" for each in bins],
    )
