"""DICOM files whose tags lie about sizes, nest without end or hold streams that are not what they say."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from pydicom import Dataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    JPEG2000,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from tests.corpus.rasters import MIB, behind_start, segment, sized
from tests.corpus.seeds import SIDE, WINDOW, Hostile, grey, saved, seeds, twelve_bit
from tests.imaging.dicom_files import as_bytes, compressed_file, dataset, insert_element
from tests.worklist.hostile import endless_jpeg

ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0)
OPEN_ITEM = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
CLOSE_ITEM = struct.pack("<HHI", 0xFFFE, 0xE00D, 0)
CLOSE = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
SEQUENCE = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
EMPTY = struct.pack("<HH2sH", 0x0008, 0x0060, b"CS", 0)


def meta(syntax: str) -> bytes:
    """Preamble and file meta information that says no more than the transfer syntax."""
    value = syntax.encode() + b"\0" * (len(syntax) % 2)
    return bytes(128) + b"DICM" + struct.pack("<HH2sH", 2, 0x10, b"UI", len(value)) + value


def film(**tags: object) -> bytes:
    """A film with these tags; bytes are written as they are."""
    plain = {keyword: value for keyword, value in tags.items() if not isinstance(value, bytes)}
    raw = as_bytes(dataset(twelve_bit(), **({"BitsStored": 12} | WINDOW | plain)))
    for keyword, value in tags.items():
        if isinstance(value, bytes):
            raw = insert_element(raw, keyword, value)
    return raw


def raw_tag(group: int, element: int, vr: bytes, value: bytes, length: int | None = None) -> bytes:
    """An element in explicit little endian, whatever length it claims."""
    size = len(value) if length is None else length
    long = vr in (b"OB", b"OW", b"SQ", b"UN", b"UT", b"UC")
    return (
        struct.pack("<HH2s", group, element, vr)
        + struct.pack("<HI" if long else "<H", *([0] * long), size)
        + value
    )


def tags() -> Iterator[Hostile]:
    """Yield films whose tags state impossible sizes and formats."""
    for rows, columns in ((65535, 65535), (65535, 1), (0, 0), (1, 65535), (8001, 8001), (20_001, 64)):
        yield Hostile(f"rows-{rows}-columns-{columns}.dcm", film(Rows=rows, Columns=columns))
    for frames in (2, 1000, 2**31 - 1):
        yield Hostile(f"frames-{frames}.dcm", film(NumberOfFrames=str(frames)))
    for frames in (b"2147483648", b"9" * 400, b"1e9", b"-1", b"nan"):
        name = f"frames-{frames[:12].decode()}.dcm"
        yield Hostile(name, film(NumberOfFrames=frames), passes=frames not in (b"2147483648", b"1e9"))
    for samples in (0, 2, 3, 65535):
        yield Hostile(f"samples-{samples}.dcm", film(SamplesPerPixel=samples))
    for bits in (0, 1, 12, 32, 64, 65535):
        yield Hostile(f"allocated-{bits}.dcm", film(BitsAllocated=bits))
    for stored, high in ((0, 0), (17, 16), (65535, 11), (12, 65535), (12, 3), (1, 0)):
        yield Hostile(
            f"stored-{stored}-high-{high}.dcm", film(BitsStored=stored, HighBit=high), passes=stored == 1
        )
    for kind in ("RGB", "PALETTE COLOR", "YBR_FULL", "", "MONOCHROME3", "\x1bMONOCHROME2", "M" * 900):
        name = kind.encode().hex()[:12] or "empty"
        yield Hostile(f"photometric-{name}.dcm", film(PhotometricInterpretation=kind), passes="2" in kind)
    plain = twelve_bit().tobytes()
    for name, value in (
        ("none", None),
        ("empty", b""),
        ("short", plain[:-2]),
        ("half", plain[: len(plain) // 2]),
    ):
        made = dataset(twelve_bit(), BitsStored=12, **WINDOW | {"PixelData": value})
        yield Hostile(f"pixels-{name}.dcm", as_bytes(made), passes=name == "long")
    numbers = {
        "slope-nil": {"RescaleSlope": 0, "RescaleIntercept": 0},
        "slope-huge": {"RescaleSlope": "1e308", "RescaleIntercept": "1e308"},
        "slope-text": {"RescaleSlope": b"many", "RescaleIntercept": b"few"},
        "window-nil": {"WindowCenter": 0, "WindowWidth": 0},
        "window-huge": {"WindowCenter": "1e308", "WindowWidth": "-1e308"},
        "window-tiny": {"WindowWidth": "1e-308"},
        "padding-all": {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 4095},
        "spacing": {"PixelSpacing": ["0", "1e300"]},
        "age": {"PatientAge": b"999Y", "PatientBirthDate": b"99999999", "StudyDate": b"00000000"},
        "dates": {"AcquisitionDateTime": b"20261332256199.999999+9999", "StudyTime": b"999999"},
        "offset": {"TimezoneOffsetFromUTC": "+9999", "StudyDate": "20260101", "StudyTime": "10"},
        "uid-path": {"SOPInstanceUID": "../../etc/passwd"},
        "uid-long": {"StudyInstanceUID": "1." * 400},
        "uid-text": {"SeriesInstanceUID": "<script>"},
        "uids-many": {"SOPInstanceUID": ["1.2", "3.4", "5.6"]},
        "name-long": {"PatientName": "A" * 60_000, "PatientID": "B" * 60_000},
        "name-of-signs": {"PatientName": "\x1b[2J\xad=1+1^<b>", "PatientID": "../../x\n\r"},
        "name-of-parts": {"PatientName": "=" * 5000 + "^" * 5000},
        "charset-unknown": {"SpecificCharacterSet": b"ISO_IR 999"},
        "charset-many": {"SpecificCharacterSet": b"ISO 2022 IR 87\\" * 500},
        "charset-wrong": {
            "SpecificCharacterSet": "ISO_IR 192",
            "PatientID": b"\xff\xfe\x80",
        },
        "charset-path": {"SpecificCharacterSet": b"../../../etc/passwd"},
        "view": {"ViewPosition": b"X" * 5000, "PatientOrientation": b"L\\" * 5000},
        "modality": {"Modality": "CT"},
        "animal": {"PatientSpeciesDescription": "CANINE"},
    }
    refused = {
        "slope-nil",
        "slope-huge",
        "uid-path",
        "uid-long",
        "uid-text",
        "modality",
        "animal",
    }
    for name, said in numbers.items():
        yield Hostile(f"tags-{name}.dcm", film(**said), passes=name not in refused)


def tables() -> Iterator[Hostile]:
    """Yield films with lookup tables that do not hold what they say."""
    whole = np.arange(4096, dtype=np.uint16).tobytes()
    for number, (said, data) in enumerate(
        [([0, 0, 16], b""), ([4096, 0, 16], whole[:100]), ([65535, 65535, 255], whole), ([4096, 0, 0], whole),
         ([4096], whole), ([1, 0, 16], b"\0\0"), ([4096, 0, 16], bytes(2 * MIB))]
    ):  # fmt: skip
        item = Dataset()
        item.add_new("LUTDescriptor", "US", said)
        item.add_new("LUTData", "OW", data)
        for keyword in ("ModalityLUTSequence", "VOILUTSequence"):
            yield Hostile(f"table-{number}-{keyword[:3]}.dcm", film(**{keyword: [item]}), passes=True)


def structures() -> Iterator[Hostile]:
    """Yield data sets without end, without sense, or of another encoding than they say."""
    explicit = meta(ExplicitVRLittleEndian)
    deep = SEQUENCE + OPEN_ITEM
    sound = film()
    start = 144 + struct.unpack_from("<I", sound, 140)[0]
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    bomb = b"".join(packer.compress(bytes(MIB)) for _ in range(500)) + packer.flush()
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    deflated = packer.compress(sound[start:]) + packer.flush()
    whole = {
        "deep-10000": explicit + deep * 10_000,
        "deep-10000-closed": explicit + deep * 10_000 + (CLOSE_ITEM + CLOSE) * 10_000,
        "deep-500-then-film": sound[:start] + deep * 500 + (CLOSE_ITEM + CLOSE) * 500 + sound[start:],
        "deep-implicit": meta(ImplicitVRLittleEndian)
        + (struct.pack("<HHI", 8, 0x1140, 0xFFFFFFFF) + OPEN_ITEM) * 10_000,
        "items-endless": explicit + SEQUENCE + ITEM * 500_000,
        "items-open": explicit + SEQUENCE + OPEN_ITEM * 100_000,
        "elements-endless": explicit + EMPTY * 500_000,
        "elements-in-item": explicit + deep + EMPTY * 500_000,
        "sequence-never-closed": sound[:start] + SEQUENCE + ITEM + sound[start:],
        "closes-only": explicit + (CLOSE + CLOSE_ITEM) * 50_000,
        "undefined-text": explicit + raw_tag(8, 0x70, b"UN", b"x" * 500, 0xFFFFFFFF),
        "undefined-pixels": sound[:start] + raw_tag(0x7FE0, 0x10, b"OW", b"\1" * 5000, 0xFFFFFFFF),
        "length-1-gigabyte": sound[:start] + raw_tag(8, 0x70, b"UN", b"x", 2**30) + sound[start:],
        "length-4-gigabytes": sound[:start] + raw_tag(8, 0x70, b"OB", b"x", 2**32 - 2) + sound[start:],
        "length-odd": sound[:start] + raw_tag(8, 0x70, b"LO", b"abc") + sound[start:],
        "length-65535": sound[:start] + raw_tag(8, 0x70, b"LO", b"abc", 65535) + sound[start:],
        "kind-unknown": sound[:start] + raw_tag(8, 0x70, b"ZZ", b"abcd") + sound[start:],
        "kind-nil": sound[:start] + raw_tag(8, 0x70, b"\0\0", b"abcd") + sound[start:],
        "meta-only": sound[:start],
        "meta-length-lies": sound[:140] + struct.pack("<I", 2**31) + sound[144:],
        "meta-missing": sound[:132] + sound[start:],
        "meta-twice": sound[:start] + sound[132:],
        "preamble-only": bytes(128) + b"DICM",
        "preamble-twice": sound[:132] * 3,
        "pixels-twice": sound + sound[start:],
        "group-length-lies": sound[:start] + raw_tag(8, 0, b"UL", b"\xff" * 4) + sound[start:],
        "deflated-bomb": meta(DeflatedExplicitVRLittleEndian) + bomb,
        "deflated-film": meta(DeflatedExplicitVRLittleEndian) + deflated,
        "deflated-inside": explicit + bomb,
        "values-many": insert_element(sound, "WindowCenter", b"1\\" * 3_000_000, "UN"),
        "items-in-text": insert_element(sound, "RequestAttributesSequence", ITEM * 1_000_000, "UN"),
        "dates-many": insert_element(sound, "StudyDate", b"20260101\\" * 7000, "DA"),
        "private": sound[:start]
        + b"".join(raw_tag(9, 0x1000 + each, b"UN", b"\xff" * 40) for each in range(3000))
        + sound[start:],
    }  # fmt: skip
    passing = {
        "deep-500-then-film",
        "length-odd",
        "kind-unknown",
        "kind-nil",
        "meta-length-lies",
        "meta-twice",
    }
    passing |= {"pixels-twice", "group-length-lies", "values-many", "items-in-text", "dates-many", "private"}
    passing |= {"length-65535", "meta-missing"}
    for name, body in whole.items():
        yield Hostile(f"structure-{name}.dcm", body, passes=name in passing)
    syntaxes = (ImplicitVRLittleEndian, ExplicitVRBigEndian, JPEGBaseline8Bit, RLELossless, JPEG2000)
    texts = (b"1.2.840.113619.5.2", b"1.2.840.10008.1.2.4.100", b"\xff\xfe\0\x01", b"1" * 64, b"")
    said = sound[144:start].index(ExplicitVRLittleEndian.encode()) + 144
    for number, other in enumerate([*(each.encode() for each in syntaxes), *texts]):
        padded = other + b"\0" * (len(other) % 2)
        head = sound[: said - 2] + struct.pack("<H", len(padded)) + padded
        body = head + sound[said + 20 :]
        size = struct.unpack_from("<I", sound, 140)[0] + len(padded) - 20
        yield Hostile(
            f"syntax-{number}.dcm",
            body[:140] + struct.pack("<I", size) + body[144:],
            passes=number in (0, len(syntaxes) + 4),
        )


def streams() -> Iterator[Hostile]:
    """Yield compressed films whose stream, fragments or offsets are not what the tags say."""
    jpeg = saved(grey(), "JPEG")
    eight = {JPEGBaseline8Bit: "jpeg", JPEGLSLossless: "jpegls", JPEG2000Lossless: "j2k", RLELossless: "rle"}
    odd = {
        "nothing": b"\0\0",
        "noise": np.random.default_rng(3).bytes(5000),
        "png": seeds()["grey.png"],
        "jpeg": jpeg,
        "starts": b"\xff\xd8" * 3000,
        "fill": behind_start(jpeg, b"\xff" * 4 * MIB),
        "segments": behind_start(jpeg, segment(0xE1, b"x") * 300_000),
        "huge": sized(jpeg, 65535, 65535),
        "lossless": sized(jpeg, SIDE, SIDE, 0xC3),
        "jpegls": sized(jpeg, SIDE, SIDE, 0xF7),
    }
    for syntax, name in eight.items():
        for kind, stream in odd.items():
            sound = kind == "jpeg" and name != "rle"  # decoders look at the stream, not at its name
            yield Hostile(f"stream-{name}-{kind}.dcm", compressed_file(grey(), stream, syntax), passes=sound)
    for syntax in (JPEGExtended12Bit, JPEGBaseline8Bit, JPEGLosslessSV1):
        raw = compressed_file(np.zeros((1000, 1000), np.uint8), endless_jpeg(1000, 60_000), syntax)
        yield Hostile(f"stream-endless-{syntax[-2:]}.dcm", raw)
    j2k = seeds()["j2k.dcm"]
    at = j2k.index(b"\xff\x4f\xff\x51")
    for place, value in ((8, 2**31), (12, 2**32 - 1), (24, 1), (28, 1), (32, 2**31), (40, 16384 << 16)):
        data = bytearray(j2k)
        struct.pack_into(">I", data, at + place, value)
        yield Hostile(f"j2k-size-{place}.dcm", bytes(data), passes=True)
    for number, frames in enumerate(
        ([], [b"\0\0"], [jpeg] * 500, [b"\0\0"] * 30_000, [jpeg[:200], jpeg[200:]])
    ):
        made = dataset(grey(), syntax=JPEGBaseline8Bit)
        made.PixelData = encapsulate(frames) if frames else ITEM
        made["PixelData"].VR = "OB"
        made["PixelData"].is_undefined_length = True
        yield Hostile(f"fragments-{number}.dcm", as_bytes(made), passes=number >= 2)
    raw = compressed_file(grey(), jpeg, JPEGBaseline8Bit)
    first = raw.rindex(ITEM[:4])
    table = raw.rindex(ITEM[:4], 0, first)
    for number, size in enumerate((2**30, 2**32 - 1, 0, 7, len(jpeg) + 10_000)):
        lie = raw[: first + 4] + struct.pack("<I", size) + raw[first + 8 :]
        yield Hostile(f"fragment-length-{number}.dcm", lie, passes=True)
        entry = raw[:table] + struct.pack("<HHII", 0xFFFE, 0xE000, 4, size & 0xFFFFFFFF) + raw[first:]
        yield Hostile(f"offset-{number}.dcm", entry, passes=True)
    yield from run_lengths()


def run_lengths() -> Iterator[Hostile]:
    """Yield RLE films: segments that never end, overlap, lie outside, or say nothing again and again."""
    size = SIDE * SIDE
    sound = b"".join(struct.pack("BB", 129, each % 251) for each in range(size // 128))
    bodies = {
        "sound": ([64], sound, True),
        "no-segment": ([], sound, False),
        "segments-15": ([64] * 15, sound, False),
        "segments-2": ([64, 64], sound, False),
        "outside": ([2**31], sound, False),
        "inside-header": ([4], sound, True),
        "short": ([64], sound[:100], False),
        "says-nothing": ([64], b"\x80" * 16 * MIB, False),
        "single-bytes": ([64], b"\0\1" * 8 * MIB, True),
        "last-run-cut": ([64], sound[:-2] + b"\x7f\1", False),
    }
    for name, (offsets, body, passes) in bodies.items():
        head = struct.pack("<16I", len(offsets), *offsets, *[0] * (15 - len(offsets)))
        yield Hostile(f"rle-{name}.dcm", compressed_file(grey(), head + body, RLELossless), passes=passes)
    yield Hostile("rle-count-huge.dcm", compressed_file(grey(), b"\xff" * 64 + sound, RLELossless))
