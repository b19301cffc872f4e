"""DICOM to film. Read downwards: transfer syntax, tags, what was filmed, sizes, and only then pixels."""

from __future__ import annotations

from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, FileDataset
from pydicom.encaps import get_frame
from pydicom.filereader import read_dataset, read_partial
from pydicom.pixels.utils import pixel_array
from pydicom.tag import Tag
from pydicom.uid import (
    JPEG2000,
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from cxr_core.domain import Notice, Radiograph, Study
from cxr_core.errors import Rejected
from cxr_core.imaging import rle
from cxr_core.imaging.dicom_grey import PixelFormat, film, pixel_format
from cxr_core.imaging.dicom_study import has_square_pixels, read_study, spacing_mm
from cxr_core.imaging.dicom_subject import check_subject, orientation
from cxr_core.imaging.dicom_values import code_string, integer, raw_value
from cxr_core.imaging.headers import jpeg_parts, stream_size
from cxr_core.imaging.limits import Limits, check_frames, check_parts, check_size
from cxr_core.imaging.quiet import quiet
from cxr_core.imaging.refusals import note, reject, warning

_PREAMBLE = 132
NATIVE = frozenset({ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian})
TRANSFER_SYNTAXES = NATIVE | {
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    JPEG2000Lossless,
    JPEG2000,
    RLELossless,
}
"""The allow-list. Deflated is not on it: 1 MB of it grows to gigabytes while the tags are parsed."""

_PIXEL_DATA = Tag("PixelData")
_READS_PER_ELEMENT = 3
"""pydicom reads tag, length and value of an element one after the other."""


def has_preamble(raw: bytes) -> bool:
    """Return whether `raw` is a DICOM file by PS3.10 7.1: 128 bytes, then DICM."""
    return raw[128:_PREAMBLE] == b"DICM"


def decode_dicom(raw: bytes, limits: Limits, sha256: str) -> Radiograph:
    """Return the film of a DICOM file, with or without preamble.

    Args:
        raw: the file.
        limits: checked against the tags before a pixel is decoded.
        sha256: of `raw`, kept in the result.

    Raises:
        Rejected: anything that is no readable plain chest radiograph; see docs/refusals.md.
    """
    with quiet():
        dataset = read_tags(raw, limits)
        warnings, notes = check_subject(dataset)
        study, study_notes = read_study(dataset)
        form = check_pixels(dataset, limits)
        grey, grey_notes = film(stored_pixels(dataset, form), dataset, form)
        burned_in = code_string(dataset, "BurnedInAnnotation") == "YES"
        return Radiograph(
            pixels=grey,
            sha256=sha256,
            source="DICOM",
            study=study,
            spacing_mm=spacing_mm(dataset),
            burned_in=burned_in,
            notes=(*notes, *study_notes, *_polarity(dataset), *grey_notes),
            warnings=warnings if has_square_pixels(dataset) else (*warnings, warning("pixels_not_square")),
            orientation=orientation(dataset),
        )


def read_header(raw: bytes, limits: Limits) -> Study:
    """Return what the tags before the pixels say: enough to file the film, long before it is decoded.

    Raises:
        Rejected: unsupported_transfer_syntax, broken_dicom, unknown_format or bad_uid.
    """
    with quiet():
        return read_study(read_tags(raw, limits, pixels=False))[0]


def transfer_syntax(raw: bytes, limits: Limits) -> str:
    """Return TransferSyntaxUID of the file meta information, "" if there is none.

    Raises:
        Rejected: broken_dicom.
    """
    stream = _FusedBytes(raw, limits)
    stream.seek(_PREAMBLE if has_preamble(raw) else 0)
    try:
        meta = read_dataset(stream, False, True, stop_when=lambda tag, vr, length: tag >> 16 != 2)
        return str(meta.get("TransferSyntaxUID") or "")
    except Rejected:
        raise
    except Exception as exc:  # pydicom raises seven kinds of error for broken files
        raise reject("broken_dicom", found="file meta information") from exc


def read_tags(raw: bytes, limits: Limits, *, pixels: bool = True) -> FileDataset:
    """Return the data set up to and with PixelData, which stays compressed, or up to it only.

    Raises:
        Rejected: unsupported_transfer_syntax, broken_dicom, or unknown_format if nothing says DICOM.
    """
    syntax = transfer_syntax(raw, limits)
    if syntax and syntax not in TRANSFER_SYNTAXES:
        raise reject("unsupported_transfer_syntax", found=_syntax_name(syntax))
    last = _PIXEL_DATA if pixels else _PIXEL_DATA - 1
    try:
        dataset = read_partial(
            _FusedBytes(raw, limits), stop_when=lambda tag, vr, length: tag > last, force=True
        )
    except Rejected:
        raise
    except Exception as exc:  # as above; RecursionError for sequences nested too deep
        raise reject("broken_dicom" if has_preamble(raw) else "unknown_format", found="data set") from exc
    if not has_preamble(raw) and not ("SOPClassUID" in dataset or "Rows" in dataset):
        raise reject("unknown_format")
    if not syntax:
        dataset.file_meta.TransferSyntaxUID = _guessed_syntax(dataset)
    return dataset


def check_pixels(dataset: FileDataset, limits: Limits) -> PixelFormat:
    """Return how pixels are stored, once tags and compressed header agree on an allowed size.

    Raises:
        Rejected: no_pixels, unsupported_photometric, unsupported_bits, broken_pixels, or out of bounds.
    """
    if _PIXEL_DATA not in dataset:
        raise reject("no_pixels")
    encapsulated = dataset.file_meta.TransferSyntaxUID not in NATIVE
    form = pixel_format(dataset, encapsulated=encapsulated)
    rows, columns = integer(dataset, "Rows", 0), integer(dataset, "Columns", 0)
    check_size(rows, columns, limits)
    check_frames(integer(dataset, "NumberOfFrames", 1), limits)
    if encapsulated and dataset.file_meta.TransferSyntaxUID != RLELossless:
        _check_stream(_frame(dataset), rows, columns, limits)
    return form


class _FusedBytes(BytesIO):
    """A file in memory that refuses to be read in endless small pieces.

    A few megabytes of empty elements or sequence items keep pydicom busy for minutes.
    """

    def __init__(self, raw: bytes, limits: Limits) -> None:
        super().__init__(raw)
        self.reads_left = limits.max_elements * _READS_PER_ELEMENT

    def read(self, size: int | None = -1, /) -> bytes:
        """Return up to `size` bytes.

        Raises:
            Rejected: broken_dicom, once the file has been read in too many pieces.
        """
        self.reads_left -= 1
        if self.reads_left < 0:
            raise reject("broken_dicom", found="too many data elements")
        return super().read(size)


def _guessed_syntax(dataset: FileDataset) -> UID:
    """Return the uncompressed transfer syntax that the parser recognised from the first element."""
    implicit, little = dataset.original_encoding
    if implicit:
        return ImplicitVRLittleEndian
    return ExplicitVRLittleEndian if little else ExplicitVRBigEndian


def _syntax_name(syntax: str) -> str:
    """Return the standard's name of a transfer syntax, for a message; other text stays out of it."""
    name = UID(syntax).name
    return name if name != syntax and syntax.startswith("1.2.840.10008.") else "of this file"


def _frame(dataset: FileDataset) -> bytes:
    """Return the compressed frame, its fragments joined."""
    try:
        return get_frame(dataset.PixelData, 0, number_of_frames=1)
    except Exception as exc:  # see transfer_syntax
        raise reject("broken_pixels", found="no compressed frame") from exc


def _check_stream(stream: bytes, rows: int, columns: int, limits: Limits) -> None:
    """Raise Rejected(broken_pixels, too_many_parts) unless the compressed header says what the tags say."""
    check_parts(jpeg_parts(stream, limits.max_elements), limits)
    size = stream_size(stream)
    if size is None:
        raise reject("broken_pixels", found="no header in the compressed frame")
    if (size.rows, size.columns, size.components) != (rows, columns, 1):
        raise reject("broken_pixels", found="the compressed frame is not of the size that the tags state")


def stored_pixels(dataset: FileDataset, form: PixelFormat) -> NDArray[np.integer]:
    """Return (rows, columns) stored values.

    Raises:
        Rejected: broken_pixels, if no decoder can read them.
    """
    rows, columns = integer(dataset, "Rows", 0), integer(dataset, "Columns", 0)
    if form.allocated == 16 and dataset.file_meta.TransferSyntaxUID in NATIVE:
        return _native_words(dataset, rows, columns)
    if dataset.file_meta.TransferSyntaxUID == RLELossless:
        return rle.unpack(_frame(dataset), rows, columns, form.allocated)
    try:
        pixels: NDArray[np.integer] = pixel_array(dataset, index=0)
    except Exception as exc:  # each decoder has errors of its own
        raise reject("broken_pixels", found="no decoder can read the frame") from exc
    if pixels.shape != (rows, columns) or pixels.dtype.itemsize * 8 != form.allocated:
        raise reject("broken_pixels", found="the decoded frame is not of the size that the tags state")
    return np.ascontiguousarray(pixels)


def _native_words(dataset: FileDataset, rows: int, columns: int) -> NDArray[np.integer]:
    """Return uncompressed 16-bit words as they are stored; pydicom would mask them as if HighBit were low."""
    words = raw_value(dataset, "PixelData")
    if not isinstance(words, bytes) or len(words) < 2 * rows * columns:
        raise reject("broken_pixels", found="fewer pixels than the tags state")
    order = ">" if dataset.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<"
    stored = np.frombuffer(words, dtype=f"{order}u2", count=rows * columns)
    return stored.astype(np.uint16, copy=False).reshape(rows, columns)


def _polarity(dataset: Dataset) -> tuple[Notice, ...]:
    """Return a note if PresentationLUTShape contradicts PhotometricInterpretation (PS3.3 C.8.11.3.1.2)."""
    shapes = {"MONOCHROME1": "INVERSE", "MONOCHROME2": "IDENTITY"}
    shape = code_string(dataset, "PresentationLUTShape")
    expected = shapes[code_string(dataset, "PhotometricInterpretation")]
    return (note("polarity_unclear"),) if shape in shapes.values() and shape != expected else ()
