"""What a preview says, in the sentences of the page and of the command line. Pure."""

from __future__ import annotations

from cxr_core.worklist.preview import Preview


def summary(preview: Preview) -> str:
    """Return in one line how many studies would stand otherwise."""
    raised = sum(each.raised for each in preview.changed)
    lowered = sum(each.before.urgency.rank < each.after.urgency.rank for each in preview.changed)
    if not preview.studies:
        return "There is no answered study yet to try it on."
    words = [f"{raised} would be more urgent", f"{lowered} less urgent"]
    if other := len(preview.changed) - raised - lowered:
        words.append(f"{other} in another state")
    if preview.reworded:
        words.append(f"{preview.reworded} only worded otherwise")
    of = "the one study" if preview.studies == 1 else f"the last {preview.studies} studies"
    return f"Of {of}: {', '.join(words)}."


def remarks(preview: Preview) -> list[str]:
    """Return what must be known to read the table."""
    before, after = preview.overdue
    said = [f"Open studies beyond their longest wait: {before} now, {after} under this policy."]
    if preview.read:
        said.append(
            f"Read already: {preview.read} of them. Such studies keep their answers unless analysed again "
            "one by one."
        )
    if preview.other_model:
        said.append(
            f"Answered by another model or behind another gate than in force: {preview.other_model} of them. "
            "Analysed again, they may be told something else."
        )
    if overridden := sum(each.overridden for each in preview.changed):
        said.append(
            f"Overridden by a person: {overridden} of those that change. An answer that they have not seen "
            "counts beside what they said, and can only raise it."
        )
    return [*said, *preview.without_effect]
