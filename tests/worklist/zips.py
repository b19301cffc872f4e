"""Zips as attackers make them: what `zipfile` does not write is written over it."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
import zlib

MIB = 1024 * 1024


def pack(*entries: tuple[str | zipfile.ZipInfo, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", method) as archive:
        warnings.simplefilter("ignore")  # of duplicate names
        for name, content in entries:
            info = zipfile.ZipInfo(name) if isinstance(name, str) else name  # no date: bytes do not change
            archive.writestr(info, content, compress_type=method)
    return buffer.getvalue()


def linked(name: str, kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system = 3
    info.external_attr = (kind | 0o777) << 16
    return info


def changed(raw: bytes, name: bytes, at: int, value: bytes, local: int | None = None) -> bytes:
    """Return the zip with bytes of one directory entry (and of its local header) replaced."""
    data = bytearray(raw)
    where = data.rindex(name) - 46
    assert data[where : where + 4] == b"PK\x01\x02"
    data[where + at : where + at + len(value)] = value
    if local is not None:
        where = data.index(name) - 30
        data[where + local : where + local + len(value)] = value
    return bytes(data)


def overlapping() -> bytes:
    """The bomb of overlapping files (Fifield 2019): one kernel, named many times in the directory."""
    kernel = zlib.compress(bytes(MIB), 9)[2:-4]
    local = struct.pack(
        "<4s5H3L2H", b"PK\x03\x04", 20, 0, 8, 0, 33, zlib.crc32(bytes(MIB)), len(kernel), MIB, 5, 0
    )
    body = local + b"1.png" + kernel
    fields = (20, 20, 0, 8, 0, 33, zlib.crc32(bytes(MIB)), len(kernel), MIB, 5, 0, 0, 0, 0, 0, 0)
    entry = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", *fields) + b"1.png"
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 900, 900, 900 * len(entry), len(body), 0)
    return body + 900 * entry + end
