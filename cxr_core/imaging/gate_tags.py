"""Where the tags and the picture contradict each other, once the gate's network has looked at the picture."""

from __future__ import annotations

from cxr_core.domain import Hanging, Notice, Radiograph
from cxr_core.imaging.refusals import warning


def disagreements(
    radiograph: Radiograph, *, inverted: bool, turned: bool, mirrored: bool
) -> tuple[Notice, ...]:
    """Return one warning that names all that the tags say against the picture, () where they say nothing.

    Args:
        radiograph: with what its tags say; of a film that a person has turned they say no more how it hangs.
        inverted: bone looks dark and air bright.
        turned: the film lies on its side or stands upside down.
        mirrored: the heart looks to be on the patient's right.
    """
    said = [*_of_hanging(radiograph.said.hanging, turned=turned, mirrored=mirrored)]
    if inverted and radiograph.source == "DICOM":
        said.append("that bone is bright")
    if not radiograph.said.square_pixels:
        said.append("that its pixels are not square")
    return (warning("tags_disagree", found=", and ".join(said)),) if said else ()


def _of_hanging(hanging: Hanging, *, turned: bool, mirrored: bool) -> tuple[str, ...]:
    """Return what PatientOrientation says that does not fit the picture."""
    if hanging is Hanging.LATERAL:
        return ("that it is a lateral film",)
    if hanging is Hanging.TURNED:
        return () if turned else ("that it is turned or upside down",)
    if hanging in (Hanging.USUAL, Hanging.MIRRORED) and turned:
        return ("that it stands upright",)
    if hanging is Hanging.USUAL and mirrored:
        return ("that it hangs as usual, the patient's left on the right",)
    if hanging is Hanging.MIRRORED and not mirrored:
        return ("that it is mirrored",)
    return ()
