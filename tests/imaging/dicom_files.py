"""DICOM files in memory, made with pydicom's own writer: the tests' input."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from pydicom import Dataset, FileDataset
from pydicom.config import disable_value_validation
from pydicom.datadict import dictionary_VR
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag
from pydicom.uid import UID, ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from cxr_core.errors import Rejected
from cxr_core.imaging.decode import decode
from cxr_core.imaging.limits import Limits

CR_STORAGE = UID("1.2.840.10008.5.1.4.1.1.1")


def dataset(pixels: np.ndarray, *, syntax: UID = ExplicitVRLittleEndian, **tags: Any) -> FileDataset:
    """A CR of a chest; `tags` are added, also such as pydicom warns of, or removed where None."""
    with disable_value_validation():
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CR_STORAGE
        meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["film"])
        meta.TransferSyntaxUID = syntax
    made = FileDataset(
        None,
        {},
        file_meta=meta,
        preamble=b"\0" * 128,
        is_implicit_VR=syntax == ImplicitVRLittleEndian,
        is_little_endian=syntax != ExplicitVRBigEndian,
    )
    made.SOPClassUID, made.SOPInstanceUID = CR_STORAGE, meta.MediaStorageSOPInstanceUID
    made.Modality, made.BodyPartExamined, made.ViewPosition = "CR", "CHEST", "PA"
    made.Rows, made.Columns = pixels.shape[:2]
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.BitsAllocated = made.BitsStored = pixels.dtype.itemsize * 8
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    made.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    made["PixelData"].VR = "OW" if pixels.dtype.itemsize == 2 else "OB"
    with disable_value_validation():
        for keyword, value in tags.items():
            if keyword in made:
                delattr(made, keyword)
            if value is not None:
                setattr(made, keyword, value)
    if "BitsStored" in tags and "HighBit" not in tags:
        made.HighBit = made.BitsStored - 1
    return made


def as_bytes(made: FileDataset, *, preamble: bool = True) -> bytes:
    """The file; without preamble also without file meta information."""
    stream = BytesIO()
    syntax = made.file_meta.TransferSyntaxUID
    with disable_value_validation():
        if preamble:
            made.save_as(stream, enforce_file_format=True)
        else:
            bare = Dataset()
            bare.update({element.tag: element for element in made})
            bare.save_as(
                stream,
                implicit_vr=syntax == ImplicitVRLittleEndian,
                little_endian=syntax != ExplicitVRBigEndian,
            )
    return stream.getvalue()


def film_file(pixels: np.ndarray, **tags: Any) -> bytes:
    """A DICOM file of `pixels` with `tags`."""
    return as_bytes(dataset(pixels, **tags))


def compressed_file(pixels: np.ndarray, frame: bytes, syntax: UID, **tags: Any) -> bytes:
    """A DICOM file around an already compressed `frame`."""
    made = dataset(pixels, syntax=syntax, **tags)
    made.PixelData = encapsulate([frame])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True
    return as_bytes(made)


def insert_element(raw: bytes, keyword: str, value: bytes, vr: str = "") -> bytes:
    """The file (explicit, little-endian) with an element of any bytes before all others."""
    vr = vr or dictionary_VR(keyword)[:2]
    long = vr in ("OB", "OW", "SQ", "UN", "UT")
    tag = Tag(keyword)
    value += b"\0" * (len(value) % 2)
    head = struct.pack("<HH2s", tag.group, tag.element, vr.encode())
    size = struct.pack("<HI" if long else "<H", *((0, len(value)) if long else (len(value),)))
    start = 144 + struct.unpack_from("<I", raw, 140)[0]
    return raw[:start] + head + size + value + raw[start:]


def code(meaning: str, value: str = "1", scheme: str = "SCT") -> Dataset:
    """One item of a code sequence."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
    return item


def ramp(dtype: str = "uint16", bits: int = 12, side: int = 100, low: int = 0) -> np.ndarray:
    """(side, side) values from `low` over the whole range of `bits`, in no simple order."""
    values = np.linspace(low, low + 2**bits - 1, side * side).round().astype(dtype)
    return np.random.default_rng(1).permutation(values).reshape(side, side)


def pixels_of(raw: bytes) -> np.ndarray:
    """The decoded film."""
    return decode(raw, Limits()).pixels


def codes(raw: bytes) -> list[str]:
    """Codes of what decoding assumed."""
    return [note.code for note in decode(raw, Limits()).notes]


def refusal(raw: bytes) -> str:
    """The code of the refusal, which must come."""
    with pytest.raises(Rejected) as caught:
        decode(raw, Limits())
    return caught.value.code
