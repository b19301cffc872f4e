"""Stored DICOM pixel values to display values: one table for the whole grey-scale chain.

A pixel has at most 16 bits, so modality LUT, VOI LUT or window, and polarity are worked out once
for all 65,536 patterns and then looked up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset

from cxr_core.domain import Notice
from cxr_core.imaging.dicom_values import code_string, integer, items, numbers, raw_value
from cxr_core.imaging.refusals import note, reject

Values = NDArray[np.float64]

_STRIPE = 32
"""Rows looked up at a time: their intermediate indices stay in the processor's cache."""

_FLAT = 0.02
"""Part of [0, 1] below which a window shows nothing."""


@dataclass(frozen=True, slots=True)
class PixelFormat:
    """How one pixel is stored (PS3.3 C.7.6.3.1)."""

    allocated: int
    stored: int
    shift: int
    signed: bool
    inverted: bool


def film(
    pixels: NDArray[np.integer], dataset: Dataset, form: PixelFormat
) -> tuple[NDArray[np.float32], list[Notice]]:
    """Return (H, W) float32 in [0, 1], bright = dense, and notes; padding is black.

    Args:
        pixels: (H, W) as the decoder gives them, 8 or 16 bits wide, signed or not.
        dataset: source of modality LUT, VOI LUT, window and padding.
        form: of the pixels.

    Raises:
        Rejected: broken_dicom, a lookup table or rescale that cannot be used.
    """
    patterns: NDArray[np.unsignedinteger] = pixels.view(np.uint8 if form.allocated == 8 else np.uint16)
    stripes = [slice(start, start + _STRIPE) for start in range(0, patterns.shape[0], _STRIPE)]
    stored = stored_values(form)
    padding = is_padding(stored, dataset)
    used = _present(patterns, stripes, stored, plain=not padding.any()) & ~padding
    modality = modality_values(stored, dataset, signed=form.signed)
    shown, notes = display_values(modality, dataset, used, eight_bit=form.stored <= 8)
    if not np.isfinite(shown).all():
        raise reject("broken_dicom", found="rescale or window beyond all numbers")
    if form.inverted:
        shown = 1.0 - shown
    table = np.where(padding, 0.0, shown).astype(np.float32)
    grey = np.empty(patterns.shape, dtype=np.float32)
    for stripe in stripes:
        table.take(patterns[stripe], out=grey[stripe], mode="clip")
    return grey, notes


def _present(
    patterns: NDArray[np.unsignedinteger], stripes: list[slice], stored: NDArray[np.int64], *, plain: bool
) -> NDArray[np.bool_]:
    """Return which patterns occur; of plain numbers without padding all from the least to the greatest."""
    low, high = int(patterns.min()), int(patterns.max())
    if plain and stored[high] == high and stored[low] == low:
        return (stored >= low) & (stored <= high)
    present = np.zeros(stored.size, dtype=bool)
    for stripe in stripes:
        present[patterns[stripe]] = True
    return present


def stored_values(form: PixelFormat) -> NDArray[np.int64]:
    """Return the stored value of every bit pattern, 256 or 65,536 of them; bits outside are ignored."""
    patterns: NDArray[np.int64] = np.arange(2**form.allocated, dtype=np.int64) >> form.shift
    unsigned: NDArray[np.int64] = patterns & (2**form.stored - 1)
    half = 2 ** (form.stored - 1)
    return np.where(unsigned >= half, unsigned - 2 * half, unsigned) if form.signed else unsigned


def is_padding(stored: NDArray[np.int64], dataset: Dataset) -> NDArray[np.bool_]:
    """Return which stored values PixelPaddingValue and PixelPaddingRangeLimit mark (PS3.3 C.7.5.1.1.2)."""
    start = numbers(dataset, "PixelPaddingValue")
    if not start:
        return np.zeros(stored.shape, dtype=bool)
    end = (*numbers(dataset, "PixelPaddingRangeLimit"), start[0])[0]
    return (stored >= min(start[0], end)) & (stored <= max(start[0], end))


def modality_values(stored: NDArray[np.int64], dataset: Dataset, *, signed: bool) -> Values:
    """Return modality values of stored values, by lookup table or slope and intercept (PS3.3 C.11.1).

    Raises:
        Rejected: broken_dicom, a table without entries or a slope of 0.
    """
    for item in items(dataset, "ModalityLUTSequence"):
        entries, first, _ = read_lut(item, signed=signed)
        return look_up(stored, entries, first)
    slope = (*numbers(dataset, "RescaleSlope"), 1.0)[0]
    if slope == 0:
        raise reject("broken_dicom", found="RescaleSlope is 0")
    return stored.astype(np.float64) * slope + (*numbers(dataset, "RescaleIntercept"), 0.0)[0]


def display_values(
    modality: Values, dataset: Dataset, used: NDArray[np.bool_], *, eight_bit: bool
) -> tuple[Values, list[Notice]]:
    """Return display values in [0, 1] by VOI LUT, else the first window, else the full range.

    Args:
        modality: (N,) modality value of every pattern.
        dataset: source of VOILUTSequence, WindowCenter, WindowWidth and VOILUTFunction.
        used: (N,) patterns that the picture shows, padding left out.
        eight_bit: the full range is then that of the format, as in an 8-bit PNG, not of the picture.

    Source: DICOM PS3.3 C.11.2.
    """
    shown = _presented(modality, dataset)
    if shown is not None and _spread(shown[used]) >= min(_FLAT, _spread(modality[used])):
        return shown, []
    known = modality if eight_bit or not used.any() else modality[used]
    low, high = float(known.min()), float(known.max())
    full = np.clip((modality - low) / max(high - low, 1e-9), 0.0, 1.0)
    if shown is not None:
        return full, [note("window_ignored")]
    return full, ([] if eight_bit else [note("no_window")])


def _presented(modality: Values, dataset: Dataset) -> Values | None:
    """Return display values by the VOI LUT or window of the tags, None if there is none."""
    for item in items(dataset, "VOILUTSequence"):
        entries, first, bits = read_lut(item, signed=bool(modality.min() < 0))
        # Some devices declare 16 bits and fill 12: the largest entry tells.
        top = 2 ** min(bits, max(1, int(entries.max()).bit_length())) - 1
        shown: Values = look_up(modality, entries, first) / top
        return shown
    centre, width = numbers(dataset, "WindowCenter"), numbers(dataset, "WindowWidth")
    if not centre or not width:
        return None
    function = code_string(dataset, "VOILUTFunction") or "LINEAR"
    return apply_window(modality, centre[0], width[0], function)


def apply_window(values: Values, centre: float, width: float, function: str = "LINEAR") -> Values:
    """Return display values in [0, 1] by a VOI window; all 0 where the width is not allowed.

    Args:
        values: modality values, any shape.
        centre: WindowCenter, in the unit of `values`.
        width: WindowWidth in the same unit; at least 1, or above 0 unless LINEAR.
        function: LINEAR, LINEAR_EXACT or SIGMOID; anything else counts as LINEAR.

    Example:
        Centre 2048 and width 4096 map 0 to 0 and 4095 to 1.

    Source: DICOM PS3.3 C.11.2.1.2.1, C.11.2.1.3.2 and C.11.2.1.3.1.
    """
    if function == "SIGMOID" and width > 0:
        return 1.0 / (1.0 + np.exp(np.clip(-4.0 * (values - centre) / width, -700.0, 700.0)))
    if function == "LINEAR_EXACT" and width > 0:
        return np.clip((values - centre) / width + 0.5, 0.0, 1.0)
    if width == 1:
        return (values > centre - 0.5).astype(np.float64)
    if width < 1:
        return np.zeros(values.shape)
    return np.clip((values - (centre - 0.5)) / (width - 1.0) + 0.5, 0.0, 1.0)


def look_up(values: NDArray[np.generic], entries: Values, first: int) -> Values:
    """Return the entry of each value; those outside the table take its first or last entry."""
    index = np.clip(np.rint(values.astype(np.float64)) - first, 0, entries.size - 1)
    found: Values = entries[index.astype(np.intp)]
    return found


def read_lut(item: Dataset, *, signed: bool) -> tuple[Values, int, int]:
    """Return entries, first mapped value and bits of a lookup table (PS3.3 C.11.1.1.1).

    Raises:
        Rejected: broken_dicom, if descriptor and data do not match.
    """
    descriptor = numbers(item, "LUTDescriptor")
    data = raw_value(item, "LUTData")
    if len(descriptor) != 3 or data is None:
        raise reject("broken_dicom", found="a lookup table without LUTDescriptor or LUTData")
    count, first, bits = (int(value) for value in descriptor)
    count = count % 65536 or 65536
    if signed and first > 32767:
        first -= 65536
    entries = _lut_entries(data, count, "<" if item.is_little_endian is not False else ">")
    if entries.size < count or not 1 <= bits <= 16:
        raise reject("broken_dicom", found="a lookup table shorter than its LUTDescriptor says")
    return entries[:count], first, bits


def _lut_entries(data: object, count: int, order: str) -> Values:
    """Return LUTData as numbers: bytes (OW), of 16 or packed 8 bits, or values (US)."""
    if isinstance(data, bytes):
        packed = len(data) < 2 * count
        whole = data if packed else data[: 2 * count]
        return np.frombuffer(whole, dtype=np.uint8 if packed else f"{order}u2").astype(np.float64)
    try:
        return np.atleast_1d(np.asarray(data, dtype=np.float64))
    except (TypeError, ValueError) as exc:
        raise reject("broken_dicom", found="LUTData is not numeric") from exc


def _spread(values: Values) -> float:
    """Return the range of `values`, 0 if there are none."""
    return float(np.ptp(values)) if values.size else 0.0


def pixel_format(dataset: Dataset, *, encapsulated: bool) -> PixelFormat:
    """Return how pixels are stored.

    Raises:
        Rejected: unsupported_photometric, unsupported_bits.
    """
    photometric = code_string(dataset, "PhotometricInterpretation")
    if integer(dataset, "SamplesPerPixel", 1) != 1 or photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise reject("unsupported_photometric")
    allocated = integer(dataset, "BitsAllocated", 0)
    stored = integer(dataset, "BitsStored", allocated)
    high = integer(dataset, "HighBit", stored - 1)
    representation = integer(dataset, "PixelRepresentation", 0)
    if allocated not in (8, 16) or not 1 <= stored <= allocated or representation not in (0, 1):
        raise reject("unsupported_bits", found=f"{stored} bits of {allocated} allocated")
    # A compressed stream holds values, not words: there HighBit says nothing.
    shift = 0 if encapsulated else high + 1 - stored
    if not 0 <= shift <= allocated - stored:
        raise reject("unsupported_bits", found=f"{stored} bits with HighBit {high}")
    return PixelFormat(allocated, stored, shift, representation == 1, photometric == "MONOCHROME1")
