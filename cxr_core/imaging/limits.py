"""What is checked before any pixel is decoded, so that no file can exhaust memory or time."""

from __future__ import annotations

from dataclasses import dataclass

from cxr_core.errors import SettingsError
from cxr_core.imaging.headers import Parts
from cxr_core.imaging.refusals import reject

_MIB = 1024 * 1024

PILLOW_MEGAPIXELS = 89
"""Above `PIL.Image.MAX_IMAGE_PIXELS` (89.5 million) Pillow itself protests."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one file; a bound that is reached exactly is still allowed.

    Attributes:
        max_bytes: size of the file.
        max_megapixels: rows × columns in millions; at most PILLOW_MEGAPIXELS.
        max_side, min_side: pixels of the long and of the short side.
        max_frames: NumberOfFrames, or frames of an animated PNG.
        max_elements: DICOM elements, items and fragments, PNG chunks or JPEG segments that are read; a film
            has a few hundred.
        max_scans: passes of a JPEG over the whole picture; encoders make about ten.

    Raises:
        SettingsError: a bound below 1, min_side above max_side, or too many megapixels.
    """

    max_bytes: int = 64 * _MIB
    max_megapixels: float = 64.0
    max_side: int = 20_000
    min_side: int = 64
    max_frames: int = 1
    max_elements: int = 20_000
    max_scans: int = 50

    def __post_init__(self) -> None:
        """Refuse bounds that contradict each other."""
        sizes = (self.max_bytes, self.max_side, self.min_side, self.max_frames)
        if min(*sizes, self.max_elements, self.max_scans) < 1:
            raise SettingsError("limits: every bound must be 1 or more")
        if self.min_side > self.max_side:
            raise SettingsError("limits: min_side must not exceed max_side")
        if not 0 < self.max_megapixels <= PILLOW_MEGAPIXELS:
            raise SettingsError(f"limits: max_megapixels must be above 0 and at most {PILLOW_MEGAPIXELS}")


def check_bytes(raw: bytes, limits: Limits) -> None:
    """Raise Rejected(empty_file, too_many_bytes) unless 1 to max_bytes bytes came."""
    if not raw:
        raise reject("empty_file")
    if len(raw) > limits.max_bytes:
        found, limit = (f"{size / _MIB:.1f}" for size in (len(raw), limits.max_bytes))
        raise reject("too_many_bytes", found=found, limit=limit)


def check_size(rows: int, columns: int, limits: Limits) -> None:
    """Raise Rejected(too_small, too_large_side, too_many_pixels) by the size a header states."""
    short, long = sorted((rows, columns))
    if short < limits.min_side:
        raise reject("too_small", found=short, limit=limits.min_side)
    if long > limits.max_side:
        raise reject("too_large_side", found=long, limit=limits.max_side)
    if rows * columns > limits.max_megapixels * 1e6:
        raise reject(
            "too_many_pixels", found=f"{rows * columns / 1e6:.1f}", limit=f"{limits.max_megapixels:g}"
        )


def check_frames(frames: int, limits: Limits) -> None:
    """Raise Rejected(too_many_frames) if the file holds more than max_frames."""
    if frames > limits.max_frames:
        raise reject("too_many_frames", found=frames, limit=limits.max_frames)


def check_parts(parts: Parts, limits: Limits) -> None:
    """Raise Rejected(too_many_parts) if a picture is of more pieces or scans than are read."""
    for found, limit in ((parts.pieces, limits.max_elements), (parts.scans, limits.max_scans)):
        if found > limit:
            raise reject("too_many_parts", limit=limit)
