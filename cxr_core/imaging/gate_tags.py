"""Where the tags and the picture contradict each other, once the gate's network has looked at the picture."""

from __future__ import annotations

from cxr_core.domain import Notice
from cxr_core.imaging.refusals import warning


def disagreement(orientation: str, *, mirrored: bool) -> tuple[Notice, ...]:
    """Return a warning of what PatientOrientation says against the picture of an upright film, or ().

    Args:
        orientation: where rows and columns run to, "" unknown.
        mirrored: the heart looks to be on the patient's right.
    """
    said = _said(orientation, mirrored=mirrored)
    return (warning("tags_disagree", found=said),) if said else ()


def _said(orientation: str, *, mirrored: bool) -> str:
    """Return what the tags say that is not so, "" for nothing."""
    if set(orientation) & {"A", "P"}:
        return "that it is a lateral film"
    match orientation:
        case "LF":
            return "that the patient's left is on the right, as usual" if mirrored else ""
        case "RF":
            return "" if mirrored else "that it is mirrored"
        case "LH" | "RH" | "HL" | "HR" | "FL" | "FR":
            return "that the patient's head does not point up"
        case _:
            return ""
