"""The one table of everything the way of a film can say: refusals, warnings, notes.

`docs/refusals.md` is made from it by `python -m cxr_core.imaging.refusals`; a test compares the two.
"""

from __future__ import annotations

import sys

from cxr_core.domain import Notice
from cxr_core.errors import Rejected

_DAMAGED = "Export the film again from its source; the file may have been cut off on its way."
_EXPORT = "Export the film as PNG, JPEG or DICOM and send it again."
_ORIGINAL = "Send the original film from the archive."
_PACK = "Pack the files again, in the usual way, or send them unpacked."
_PARTS = "Send the files unpacked, or in several zip files."
_UNPACKED = "Send the files unpacked."
_HANG = "Send the film again as it should hang."
READ = "Have the study read in the usual way."
"""Where nothing mends the refusal."""

REFUSALS: dict[str, tuple[str, str]] = {
    "empty_file": ("The file is empty.", _DAMAGED),
    "too_many_bytes": ("The file has {found} MB; at most {limit} MB are read.", _ORIGINAL),
    "unknown_format": ("The file is none of PNG, JPEG and DICOM.", _EXPORT),
    "unsupported_format": ("The file is {found}; PNG, JPEG and DICOM are read.", _EXPORT),
    "ambiguous_format": ("The file is {found} and DICOM at once.", "Send the two as separate files."),
    "broken_image": ("The {found} file is damaged or incomplete.", _DAMAGED),
    "broken_dicom": ("The DICOM tags cannot be read: {found}.", _DAMAGED),
    "broken_pixels": ("The pixel data of the DICOM file cannot be decoded: {found}.", _DAMAGED),
    "no_pixels": (
        "The DICOM object holds no picture.",
        "Send the image object, not the report, the directory or the presentation state.",
    ),
    "too_many_pixels": ("The picture has {found} megapixels; at most {limit} are decoded.", _ORIGINAL),
    "too_large_side": ("The picture is {found} pixels long; at most {limit} are decoded.", _ORIGINAL),
    "too_small": (
        "The picture is {found} pixels on its short side; at least {limit} are needed.",
        "Send the film itself, not a preview of it.",
    ),
    "too_many_frames": (
        "The file holds {found} frames; at most {limit} can be read.",
        "Send single films, not a cine loop.",
    ),
    "too_many_parts": ("The picture comes in more than {limit} parts; no film does.", _EXPORT),
    "unsupported_transfer_syntax": (
        "The DICOM transfer syntax {found} is not accepted.",
        "Store the film uncompressed or as JPEG, JPEG-LS, JPEG 2000 or RLE.",
    ),
    "unsupported_photometric": (
        "The DICOM picture is not grey (SamplesPerPixel 1, MONOCHROME1 or MONOCHROME2).",
        "Send the original film, not a colour capture of a screen.",
    ),
    "unsupported_bits": (
        "The DICOM pixel format is not read: {found}.",
        "Store with 8 to 16 bits per pixel.",
    ),
    "bad_uid": (
        "{found} is not a DICOM UID (digits and points, at most 64).",
        "Have the sending system corrected: the film cannot be filed safely.",
    ),
    "wrong_modality": ("The tags say that this is no plain radiograph ({found}).", READ),
    "wrong_body_part": ("The tags say that the film shows another body part than the chest.", READ),
    "raw_detector_data": (
        "The tags say FOR PROCESSING: raw detector data, not a film made for reading.",
        "Send the FOR PRESENTATION object of the same exposure.",
    ),
    "animal": ("The tags say that the film shows an animal.", "This model knows human films only."),
    "lateral_view": (
        "The tags say that this is a lateral film.",
        "Send the frontal film as well.",
    ),
    "unsupported_view": ("The tags say that the view is oblique, lordotic, decubitus or axial.", READ),
    "not_radiograph": (
        "The picture is no radiograph: it looks like a photograph, a drawing or a document.",
        "Send the film itself, not a picture of it or of something else.",
    ),
    "cross_section": ("The picture looks like a slice of CT or MRI, not like a chest film.", READ),
    "other_radiograph": ("The picture looks like a radiograph of another body part than the chest.", READ),
    "unlike_chest_films": (
        "The picture is unlike any film that the model has learned from.",
        "Check that it is a frontal chest film.",
    ),
    "turned_left": ("The film lies on its side: its top points to the left.", _HANG),
    "turned_right": ("The film lies on its side: its top points to the right.", _HANG),
    "upside_down": ("The film stands upside down.", _HANG),
    "inverted": (
        "The film is inverted: bone is dark and air is bright.",
        "Send the film again with bright bone.",
    ),
    "saturated": (
        "Most of the picture is pure black or pure white.",
        "Check the exposure and the window of the export.",
    ),
    "blank_image": (
        "The picture is blank: all its pixels are nearly equal.",
        "Check the exposure and the export.",
    ),
    "unreadable_file": (
        "The file cannot be read from disk.",
        "Check that it is there and may be read.",
    ),
    "broken_zip": ("The zip file, or this file in it, is damaged or incomplete.", _PACK),
    "zip_entries": ("The zip file holds {found} files; at most {limit} are unpacked.", _PARTS),
    "zip_bytes": ("The zip file unpacks to {found} MB; at most {limit} MB are unpacked.", _PARTS),
    "zip_ratio": ("The file in the zip is packed far more tightly than a film can be.", _UNPACKED),
    "zip_nested": ("A zip within a zip is not unpacked.", _UNPACKED),
    "zip_encrypted": ("The file in the zip is encrypted.", "Pack the files again without a password."),
    "zip_method": ("The file in the zip is packed by a method that is not read.", _PACK),
    "zip_link": ("The entry of the zip is a link or a device, not a file.", _PACK),
    "zip_name": ("The name of the file in the zip points outside of it.", _PACK),
    "zip_twice": ("The zip file held a film of this name before; only the first was taken.", _UNPACKED),
    "decoder_failed": ("Decoding the film was given up: its decoder {found}.", READ),
    "given_up": (
        "The film was given up: decoding it failed, or its worker was lost, too often.",
        "A lead can have it tried again.",
    ),
    "uid_conflict": (
        "Another film had the same SOPInstanceUID first, with other pixels; this one is kept but not judged.",
        "Check which of the two is right.",
    ),
    "name_taken": (
        "The folder holds another film of this SOPInstanceUID already, or this one made in another way.",
        "Write it to a folder of its own.",
    ),
    "internal": (
        "The film could not be assessed because of a fault in this software.",
        "Report the fault with its time.",
    ),
}
"""Code → message with `{found}` and `{limit}`, and what to do."""

WARNINGS: dict[str, tuple[str, str]] = {
    "child": ("The patient is under {limit}.", "The model learned almost only from films of adults."),
    "low_resolution": (
        "The film is only {found} pixels on its short side.",
        "Small findings cannot be seen; send the original film.",
    ),
    "unusual_shape": (
        "The picture is {found} times as long on one side as on the other.",
        "Check that it was neither cut nor squeezed.",
    ),
    "pixels_not_square": (
        "The tags say that the pixels are not square: the film is shown squeezed.",
        "Export the film with square pixels and send it again.",
    ),
    "modality_unclear": (
        "The tags do not say that this is a plain radiograph.",
        "Check that it is one.",
    ),
    "more_than_chest": (
        "The tags say that the film shows more than the chest.",
        "What lies outside the chest is not assessed; read the film itself.",
    ),
    "view_unclear": (
        "The tags do not say clearly that this is a frontal film.",
        "Check the view; the model knows frontal films only.",
    ),
    "too_dark": ("The film is very dark.", "Check the exposure and the window; the lungs may hide findings."),
    "low_contrast": ("The film has hardly any contrast.", "Check the exposure and the window."),
    "blurred": (
        "The film is blurred.",
        "Small findings cannot be seen; check for motion, or repeat the export.",
    ),
    "cropped": ("Part of the lungs seems to be cut off.", "Findings outside the picture cannot be seen."),
    "mirrored": (
        "The heart seems to lie on the patient's right.",
        "Check the side marker: a mirrored export, or situs inversus.",
    ),
    "looks_lateral": (
        "The film may not be a frontal one: no spine between two lungs can be made out.",
        "Check the view; the model knows frontal films only.",
    ),
    "corrected_unseen": (
        "The film was corrected without anyone looking at it.",
        "Look at the film: does it hang as it should?",
    ),
    "unlike_training": (
        "The film is unlike most films that the model has learned from.",
        "Its answer may not hold here; read the film itself.",
    ),
    "tags_disagree": (
        "The tags and the picture disagree: the tags say {found}.",
        "Check that the tags belong to this picture.",
    ),
}
"""Warnings send an accepted film to a person."""

NOTES: dict[str, tuple[str, str]] = {
    "ap_view": ("Anteroposterior film{found}.", "Heart and mediastinum look larger than on a PA film."),
    "burned_in": ("The tags say that text is burnt into the picture.", "It may name the patient."),
    "burned_in_text": (
        "Text seems to be burnt into the picture.",
        "It may name the patient: check before the film leaves the house.",
    ),
    "corrected": ("The film was corrected before it was assessed: {found}.", ""),
    "colour_picture": ("The picture is coloured; only its brightness was read.", "Check that it is a film."),
    "turned_by_exif": ("The picture was turned as its EXIF tag says.", ""),
    "exif_unreadable": ("The EXIF tag of the picture cannot be read.", "Check that the film stands upright."),
    "modality_unknown": ("The tags do not say what made the picture.", ""),
    "body_part_unknown": ("The tags do not say that the film shows the chest.", ""),
    "orientation_unusual": (
        "PatientOrientation is not that of a frontal film hung in the usual way.",
        "Check the side marker.",
    ),
    "polarity_unclear": (
        "PhotometricInterpretation and PresentationLUTShape contradict each other; the first was used.",
        "Check that bone is bright.",
    ),
    "no_window": ("The tags give no window; the full range of the pixels is shown.", ""),
    "window_ignored": ("The window of the tags cannot be used; the full range is shown.", ""),
    "age_unit_assumed": ("PatientAge has no unit; years were assumed.", "Check the age."),
    "age_ignored": ("The age in the tags is impossible and was left out.", ""),
    "date_in_future": (
        "The film's date lies in the future.",
        "Check the clock of the modality and of this machine.",
    ),
    "date_ignored": ("A date in the tags is impossible and was left out.", ""),
}
"""Notes only inform."""


def reject(code: str, *, found: object = "", limit: object = "") -> Rejected:
    """Return the refusal `code`, to be raised; `found` is a size or a format, never a tag's own text."""
    message, hint = REFUSALS[code]
    return Rejected(code, message.format(found=found, limit=limit), hint)


def refusal(code: str, *, found: str = "") -> Notice:
    """Return the refusal `code` as what a card shows, for a fault that no exception carries."""
    message, hint = REFUSALS[code]
    return Notice(code, message.format(found=found, limit=""), hint)


def warning(code: str, *, found: object = "", limit: object = "") -> Notice:
    """Return the warning `code`."""
    message, hint = WARNINGS[code]
    return Notice(code, message.format(found=found, limit=limit), hint)


def note(code: str, *, found: object = "") -> Notice:
    """Return the note `code`."""
    message, hint = NOTES[code]
    return Notice(code, message.format(found=found), hint)


def as_markdown() -> str:
    """Return the text of `docs/refusals.md`."""
    parts = [
        "# What can be said of a film that is not simply accepted\n",
        "Made from the tables in `cxr_core/imaging/refusals.py` by `python -m cxr_core.imaging.refusals`.\n"
        "`…` stands for a size, a format or a name out of a fixed list; no message carries patient data.\n",
    ]
    for title, lead, table in (
        ("Refusals", "The film is not assessed and is sorted for review.", REFUSALS),
        ("Warnings", "The film is assessed; a person must look.", WARNINGS),
        ("Notes", "They inform and change nothing.", NOTES),
    ):
        rows = [
            f"| `{code}` | {message.format(found='…', limit='…')} | {hint} |"
            for code, (message, hint) in table.items()
        ]
        parts.append(
            "\n".join(
                [f"## {title}\n", f"{lead}\n", "| code | message | what to do |", "|---|---|---|", *rows, ""]
            )
        )
    return "\n".join(parts)


if __name__ == "__main__":
    sys.stdout.write(as_markdown())
