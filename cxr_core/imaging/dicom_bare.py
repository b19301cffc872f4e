"""A film's pixels in a new data set: their values alone, nothing of the bytes that they came in."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydicom import DataElement, Dataset, FileDataset
from pydicom.uid import (
    JPEG2000,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)

from cxr_core.domain import Radiograph
from cxr_core.imaging import dicom
from cxr_core.imaging.annotations import TextBox
from cxr_core.imaging.dicom_grey import PixelFormat, is_padding, modality_values, stored_values

_PIXEL_DATA = 0x7FE00010
_LOSSY = frozenset({JPEGBaseline8Bit, JPEGExtended12Bit, JPEGLSNearLossless, JPEG2000})


def full_range(stored: NDArray[np.integer], form: PixelFormat) -> NDArray[np.float32]:
    """Return the pixels in [0, 1] without any window, bright = dense."""
    values = stored_values(form)[_patterns(stored)].astype(np.float32)
    low, high = float(values.min()), float(values.max())
    shown: NDArray[np.float32] = (values - np.float32(low)) / np.float32(max(high - low, 1.0))
    return 1 - shown if form.inverted else shown


def set_pixels(
    made: Dataset,
    dataset: FileDataset,
    stored: NDArray[np.integer],
    form: PixelFormat,
    film: Radiograph,
    boxes: Sequence[TextBox],
) -> str:
    """Set the pixels and what describes them, uncompressed; return the transfer syntax.

    Every pixel keeps its value, but in the boxes, which become as dark as the darkest pixel. Bits that the
    pixels leave free are 0, or repeat the sign of a negative value.
    """
    values = stored_values(form)
    words = (values << form.shift).astype(f"u{form.allocated // 8}")[_patterns(stored)]
    if boxes:
        darkest = words.ravel()[int(film.pixels.argmin())]
        _keep_range(made, dataset, words, form, film)
        for box in boxes:
            words[box.top : box.bottom, box.left : box.right] = darkest
    _describe(made, words, form)
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax in _LOSSY and "LossyImageCompression" not in made:
        made.LossyImageCompression = "01"
    if syntax not in dicom.NATIVE:
        syntax = ExplicitVRLittleEndian
    raw = words.astype(words.dtype.newbyteorder(">" if syntax == ExplicitVRBigEndian else "<")).tobytes()
    vr = "OW" if form.allocated == 16 else "OB"
    made[_PIXEL_DATA] = DataElement(_PIXEL_DATA, vr, raw + b"\0" * (len(raw) % 2))
    return str(syntax)


def _describe(made: Dataset, words: NDArray[np.unsignedinteger], form: PixelFormat) -> None:
    made.Rows, made.Columns = words.shape
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME1" if form.inverted else "MONOCHROME2"
    made.BitsAllocated, made.BitsStored = form.allocated, form.stored
    made.HighBit = form.shift + form.stored - 1
    made.PixelRepresentation = int(form.signed)


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


def _patterns(stored: NDArray[np.integer]) -> NDArray[np.unsignedinteger]:
    """Return the pixels as the bits that are stored."""
    return stored.view(np.uint8 if stored.dtype.itemsize == 1 else np.uint16)
