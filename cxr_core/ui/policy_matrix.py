"""What a policy would change, as people compare it: a table of before and after, and the studies. Pure."""

from __future__ import annotations

from datetime import datetime
from html import escape

import pandas as pd

from cxr_core.domain import State, Urgency
from cxr_core.reports.words import MARKS
from cxr_core.triage.compare import Difference
from cxr_core.ui.listed import tier_word
from cxr_core.ui.moments import moment
from cxr_core.worklist.policies import PolicyHistory
from cxr_core.worklist.preview import Preview, Standing

SHOWN = 500
COLUMNS = ("Study", "Received", "Now", "Would be", "Findings", "Why")


def matrix_html(preview: Preview) -> str:
    """Return the table of urgencies: a row for each now, a column for each that would be."""
    head = "".join(f'<th scope="col">{_word(urgency)}</th>' for urgency in Urgency)
    rows = "".join(
        f'<tr><th scope="row">{_word(before)}</th>'
        + "".join(_cell(before, after, preview.urgencies.get((before, after), 0)) for after in Urgency)
        + "</tr>"
        for before in Urgency
    )
    return (
        '<table class="pol-matrix"><caption>Rows: now. Columns: under this policy. ▲ more urgent, ▼ less '
        f"urgent.</caption><thead><tr><td></td>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _word(urgency: Urgency) -> str:
    mark = MARKS[urgency]
    return f'<span style="--tier:{mark.colour}"><i>{mark.shape}</i> {urgency.value.capitalize()}</span>'


def _cell(before: Urgency, after: Urgency, count: int) -> str:
    if not count:
        return '<td class="none">·</td>'
    if before is after:
        return f'<td class="same">{count}</td>'
    raised = after.rank < before.rank
    return f'<td class="{"up" if raised else "down"}">{"▲" if raised else "▼"} {count}</td>'


def states(preview: Preview) -> pd.DataFrame:
    """Return how many studies would be in another state."""
    rows = [
        (_state(before), _state(after), count)
        for (before, after), count in sorted(preview.states.items(), key=lambda each: -each[1])
        if before is not after
    ]
    return pd.DataFrame(rows, columns=["State now", "Would be", "Studies"])


def studies(preview: Preview, now: datetime) -> pd.DataFrame:
    """Return one row for each study that would stand otherwise; its address is what the link column shows."""
    rows = [
        (
            f"study?study={each.study_id}",
            moment(each.received, now),
            _stands(each.before),
            _stands(each.after),
            ", ".join(each.after.findings or each.before.findings).replace("_", " "),
            " · ".join(each.after.reasons),
        )
        for each in preview.changed[:SHOWN]
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def differences(found: tuple[Difference, ...]) -> pd.DataFrame:
    """Return the places that differ from the policy in force."""
    rows = [(each.where.replace("_", " "), each.before, each.after) for each in found]
    return pd.DataFrame(rows, columns=["Place", "In force", "This policy"])


def versions(history: PolicyHistory, now: datetime) -> pd.DataFrame:
    """Return one row for each version, the newest first."""
    rows = [
        (
            each.version,
            history.standing(each),
            each.dated.isoformat() if each.dated else "cannot be read",
            each.approver,
            each.author or "policy file",
            moment(each.created, now),
            each.note,
        )
        for each in history.versions
    ]
    return pd.DataFrame(
        rows, columns=["Version", "Standing", "Date", "Approver", "Written by", "Kept since", "Note"]
    )


def changes(history: PolicyHistory, now: datetime) -> pd.DataFrame:
    """Return one row for each time that a policy came into force, the newest first."""
    rows = [
        (moment(each.at, now), each.version or "the policy file's", each.actor) for each in history.changes
    ]
    return pd.DataFrame(rows, columns=["Since", "Policy", "By"])


def policy_html(version: str, dated: str, approver: str, rest: str, *, signed: bool) -> str:
    """Return the head of the panel: which policy is in force, of when, approved by whom."""
    who = f"approved by {escape(approver)}" if signed else f"<em>{escape(approver)}</em>"
    return (
        '<div class="panel"><h3>POLICY IN FORCE</h3>'
        f"<p><b>{escape(version)}</b> · {escape(dated)} · {who}</p>"
        f'<p class="muted">{escape(rest)}</p></div>'
    )


def _state(state: State | None) -> str:
    return state.value.replace("_", " ") if state else "no answer yet"


def _stands(standing: Standing) -> str:
    return f"{tier_word(standing.urgency)} · {_state(standing.state)}{'' if standing.is_open else ' · read'}"
