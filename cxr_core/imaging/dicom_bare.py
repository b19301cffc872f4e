"""A film's pixels in a new data set: as they were stored, or with places blacked out; nothing beside them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, FileDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, RLELossless

from cxr_core.domain import Radiograph
from cxr_core.imaging import dicom
from cxr_core.imaging.annotations import TextBox
from cxr_core.imaging.codestreams import bare
from cxr_core.imaging.dicom_grey import PixelFormat, is_padding, modality_values, stored_values

_PIXEL_DATA = 0x7FE00010
_OVERLAYS = range(0x6000, 0x6020, 2)
_BIT_POSITION = 0x0102


def full_range(stored: NDArray[np.integer], form: PixelFormat) -> NDArray[np.float32]:
    """Return the pixels in [0, 1] without any window, bright = dense."""
    values = stored_values(form)[_patterns(stored)].astype(np.float32)
    low, high = float(values.min()), float(values.max())
    shown: NDArray[np.float32] = (values - np.float32(low)) / np.float32(max(high - low, 1.0))
    return 1 - shown if form.inverted else shown


def copy_pixels(made: Dataset, dataset: FileDataset, stored: NDArray[np.integer], form: PixelFormat) -> str:
    """Set the pixels bit for bit as they are stored; return their transfer syntax.

    Comments in a compressed stream, what follows the last pixel, and overlays in bits that the pixels leave
    free stay behind. A stream that cannot be taken apart is stored uncompressed.
    """
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    if syntax not in dicom.NATIVE:
        frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
        clean = frame if syntax == RLELossless else bare(frame)
        if clean is None:
            return _set_stored(made, dataset, stored, form)
        _set(made, encapsulate([clean]), "OB")
        made[_PIXEL_DATA].is_undefined_length = True
        return syntax
    if form.allocated == 16 and _overlays_in_free_bits(dataset):
        used = np.uint16(((1 << form.stored) - 1) << form.shift)
        return _set_stored(made, dataset, _patterns(stored) & used, form)
    pixels = dataset.PixelData[: stored.nbytes]
    _set(made, pixels + b"\0" * (len(pixels) % 2), dataset[_PIXEL_DATA].VR)
    return syntax


def blank(
    made: Dataset,
    dataset: FileDataset,
    stored: NDArray[np.integer],
    form: PixelFormat,
    film: Radiograph,
    boxes: Sequence[TextBox],
) -> str:
    """Set the pixels, uncompressed, the boxes as dark as the darkest pixel; return the transfer syntax."""
    patterns = _patterns(stored).copy()
    darkest = patterns.ravel()[int(film.pixels.argmin())]
    _keep_range(made, dataset, patterns, form, film)
    for box in boxes:
        patterns[box.top : box.bottom, box.left : box.right] = darkest
    return _set_stored(made, dataset, patterns, form)


def _keep_range(
    made: Dataset,
    dataset: FileDataset,
    patterns: NDArray[np.unsignedinteger],
    form: PixelFormat,
    film: Radiograph,
) -> None:
    """Where the picture's own range is shown, state it as a window: text may have been its brightest part."""
    if form.stored <= 8 or not {"no_window", "window_ignored"} & {each.code for each in film.notes}:
        return
    stored = stored_values(form)
    present = np.bincount(patterns.ravel(), minlength=stored.size).astype(bool) & ~is_padding(stored, dataset)
    if not present.any():
        return
    shown = modality_values(stored, dataset, signed=form.signed)[present]
    low, width = float(shown.min()), float(np.ptp(shown))
    for keyword in ("VOILUTSequence", "VOILUTFunction"):
        made.pop(keyword, None)
    made.WindowCenter, made.WindowWidth = f"{low + width / 2 + 0.5:.10g}", f"{width + 1:.10g}"


def _set_stored(made: Dataset, dataset: FileDataset, stored: NDArray[np.integer], form: PixelFormat) -> str:
    """Set the pixels as words or bytes; return the transfer syntax, which is the file's own if that fits."""
    syntax = str(dataset.file_meta.TransferSyntaxUID)
    if syntax not in dicom.NATIVE:
        syntax = str(ExplicitVRLittleEndian)
        made.HighBit = form.stored - 1  # a stream holds values, whatever the tags say of words
    big = syntax == ExplicitVRBigEndian
    pixels = stored.astype(stored.dtype.newbyteorder(">" if big else "<")).tobytes()
    _set(made, pixels + b"\0" * (len(pixels) % 2), "OW" if form.allocated == 16 else "OB")
    return syntax


def _set(made: Dataset, pixels: bytes, vr: str) -> None:
    made[_PIXEL_DATA] = DataElement(_PIXEL_DATA, vr, pixels)


def _patterns(stored: NDArray[np.integer]) -> NDArray[np.unsignedinteger]:
    """Return the pixels as the bits that are stored."""
    return stored.view(np.uint8 if stored.dtype.itemsize == 1 else np.uint16)


def _overlays_in_free_bits(dataset: Dataset) -> bool:
    """Return whether an overlay lies in bits that the pixels leave free (retired; PS3.3 2004, C.9.2)."""
    positions = (dataset.get((group, _BIT_POSITION)) for group in _OVERLAYS)
    return any(position is not None and position.value for position in positions)
