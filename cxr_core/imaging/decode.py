"""Bytes to film, whatever the format. This is the only door: nothing but Rejected leaves it."""

from __future__ import annotations

import hashlib

from cxr_core.domain import Radiograph
from cxr_core.imaging.dicom import decode_dicom, has_preamble
from cxr_core.imaging.limits import Limits, check_bytes
from cxr_core.imaging.raster import decode_raster
from cxr_core.imaging.refusals import reject

_RASTERS = ((b"\x89PNG\r\n\x1a\n", "PNG"), (b"\xff\xd8\xff", "JPEG"))
_OTHERS = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"GIF8", "a GIF picture"),
    (b"BM", "a BMP picture"),
    (b"II*\x00", "a TIFF picture"),
    (b"MM\x00*", "a TIFF picture"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
)
_BARE_DICOM = (b"\x02\x00", b"\x08\x00", b"\x00\x08")
"""First tag group 0002 or 0008, little or big endian: how a file without preamble begins."""


def decode(raw: bytes, limits: Limits) -> Radiograph:
    """Return the film in `raw`.

    Args:
        raw: a PNG, JPEG or DICOM file.
        limits: on size, checked before any pixel is decoded.

    Raises:
        Rejected: the file cannot be assessed; the codes are in docs/refusals.md.
    """
    check_bytes(raw, limits)
    kind = sniff(raw)
    sha256 = hashlib.sha256(raw).hexdigest()
    if kind == "DICOM":
        return decode_dicom(raw, limits, sha256)
    return decode_raster(raw, kind, limits, sha256)


def sniff(raw: bytes) -> str:
    """Return "PNG", "JPEG" or "DICOM" by the first bytes, never by a name.

    Raises:
        Rejected: unknown_format, unsupported_format, or ambiguous_format if two formats fit.
    """
    raster = next((kind for magic, kind in _RASTERS if raw.startswith(magic)), None)
    if has_preamble(raw):
        if raster:
            raise reject("ambiguous_format", found=raster)
        return "DICOM"
    if raster:
        return raster
    if raw[:4] == b"RIFF" and raw[8:12] == b"WEBP":
        raise reject("unsupported_format", found="a WebP picture")
    for magic, name in _OTHERS:
        if raw.startswith(magic):
            raise reject("unsupported_format", found=name)
    if raw.startswith(_BARE_DICOM):
        return "DICOM"
    raise reject("unknown_format")
