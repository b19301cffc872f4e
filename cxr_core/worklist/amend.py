"""What a person adds to the film's own tags, and what that changes in the decision."""

from __future__ import annotations

from dataclasses import replace

from cxr_core.domain import Analysis, Gate, GateOutcome, Notice, Study
from cxr_core.errors import Rejected
from cxr_core.imaging import gate
from cxr_core.triage.decide import decide, refuse
from cxr_core.triage.policy import Policy


def amended(analysis: Analysis, study: Study, policy: Policy) -> Analysis:
    """Return the analysis with the study as a person completed it, decided anew.

    The network's answer stays. Age and view count as if the film's tags had said them: a child is
    warned about, a lateral view is refused. What the film's own tags led to is never taken back,
    so a correction can only add reasons to look.
    """
    if analysis.refusal is not None:
        return replace(analysis, study=study)
    try:
        said = gate.by_tags(study)
    except Rejected as refusal:
        notice = Notice(refusal.code, refusal.message, refusal.hint)
        return replace(
            analysis,
            study=study,
            gate=Gate(GateOutcome.REFUSED, (notice,), analysis.gate.notes),
            predictions=(),
            abnormal=None,
            triage=refuse(policy, notice),
            refusal=notice,
            features=None,
        )
    verdict = _joined(analysis.gate, said)
    triage = decide(policy, verdict, analysis.predictions, analysis.abnormal)
    return replace(analysis, study=study, gate=verdict, triage=triage)


def _joined(first: Gate, second: Gate) -> Gate:
    """Return both gates' warnings and notes, each once."""
    warnings = tuple(dict.fromkeys((*first.warnings, *second.warnings)))
    notes = tuple(dict.fromkeys((*first.notes, *second.notes)))
    return Gate(GateOutcome.WARNED if warnings else GateOutcome.ACCEPTED, warnings, notes)
