"""Zips as they come from hospitals, and from attackers: real files, written by hand where need be."""

from __future__ import annotations

import stat
import struct
import tracemalloc
import zipfile
from pathlib import Path

import pytest

from cxr_core.errors import Rejected
from cxr_core.worklist.unpack import Archive, Turned, ZipLimits, is_zip
from cxr_core.worklist.values import Incoming
from tests.films import png
from tests.worklist.zips import MIB, changed, linked, overlapping, pack


def unpacked(source: bytes | Path, limits: ZipLimits | None = None) -> tuple[dict[str, bytes], list[tuple]]:
    """Return films by name, and (name, code) of what was refused."""
    with Archive(source, limits) as archive:
        found = list(archive)
        assert len(found) == archive.films
    films = {each.name: each.raw for each in found if isinstance(each, Incoming)}
    return films, [(each.name, each.notice.code) for each in found if isinstance(each, Turned)]


def code_of(source: bytes | Path, limits: ZipLimits | None = None) -> str:
    with pytest.raises(Rejected) as refused:
        Archive(source, limits)
    return refused.value.code


def test_films_come_out_whole_and_in_order_from_bytes_and_from_disk(tmp_path):
    dicom = bytes(128) + b"DICM" + b"tags"
    raw = pack(("a/b/1.png", png(1)), ("IM0001", dicom), ("z.JPG", b"\xff\xd8"))
    (tmp_path / "films.zip").write_bytes(raw)
    expected = {"a/b/1.png": png(1), "IM0001": dicom, "z.JPG": b"\xff\xd8"}
    for source in (raw, tmp_path / "films.zip"):
        assert unpacked(source) == (expected, [])
    assert list(unpacked(raw)[0]) == list(expected)


def test_what_is_no_film_is_counted_and_not_refused():
    raw = pack(
        ("folder/", b""),
        ("DICOMDIR", b"x"),
        ("__MACOSX/._1.png", b"x"),
        ("notes.txt", b"x"),
        ("report", b"PK"),
    )
    with Archive(raw) as archive:
        assert (archive.films, archive.others, list(archive)) == (0, 4, [])


def test_an_empty_zip_holds_no_film():
    with Archive(pack()) as archive:
        assert (archive.films, archive.others) == (0, 0)


@pytest.mark.parametrize(
    "name",
    ["../../etc/cron.d/film.png", "/etc/film.png", "a/../../film.png", "C:\\films\\film.png", "..\\film.png"]
    + ["\\\\server\\film.png", "a/..", "../passwd"],
)
def test_zip_slip_is_refused_and_writes_nothing(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert unpacked(pack((name, png(1)), ("good.png", png(2)))) == (
        {"good.png": png(2)},
        [(name, "zip_name")],
    )
    assert list(tmp_path.rglob("*")) == []


def test_a_name_that_goes_on_after_a_zero_byte_is_refused():
    raw = pack(("film.pngXX..", png(1))).replace(b"film.pngXX..", b"film.png\0X..")
    assert unpacked(raw) == ({}, [("film.png", "zip_name")])


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_links_and_devices_are_refused(kind):
    raw = pack((linked("film.png", kind), b"/etc/passwd"), ("good.png", png(2)))
    assert unpacked(raw) == ({"good.png": png(2)}, [("film.png", "zip_link")])


def test_a_file_that_unpacks_to_hundreds_of_times_its_size_is_refused_unread():
    bomb = pack(("bomb.png", bytes(32 * MIB)), ("good.png", png(2)))
    tracemalloc.start()
    assert unpacked(bomb) == ({"good.png": png(2)}, [("bomb.png", "zip_ratio")])
    assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    tracemalloc.stop()


def test_a_bomb_that_lies_about_its_size_is_cut_off_where_it_said_it_ends():
    raw = pack(("bomb.png", bytes(64 * MIB)))
    for size in (10, 40_000):
        lie = changed(raw, b"bomb.png", 24, struct.pack("<I", size))
        tracemalloc.start()
        assert unpacked(lie) == ({}, [("bomb.png", "broken_zip")])
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
        tracemalloc.stop()


def test_entries_that_share_their_packed_bytes_are_refused_at_once():
    assert code_of(overlapping()) == "broken_zip"


def test_a_zip_in_a_zip_is_refused():
    inner = pack(("1.png", png(1)))
    assert unpacked(pack(("more.ZIP", inner))) == ({}, [("more.ZIP", "zip_nested")])


def test_bounds_on_number_and_bytes():
    raw = pack(*((f"{number}.png", png(number)) for number in range(5)))
    assert code_of(raw, ZipLimits(entries=4)) == "zip_entries"
    assert len(unpacked(raw, ZipLimits(entries=5))[0]) == 5
    total = sum(len(png(number)) for number in range(5))
    assert code_of(raw, ZipLimits(total_bytes=total - 1)) == "zip_bytes"
    assert len(unpacked(raw, ZipLimits(total_bytes=total))[0]) == 5
    films, refused = unpacked(raw, ZipLimits(entry_bytes=len(png(0))))
    too_long = [f"{number}.png" for number in range(5) if len(png(number)) > len(png(0))]
    assert refused == [(name, "too_many_bytes") for name in too_long]
    assert len(films) == 5 - len(too_long)


def test_a_directory_of_a_million_files_is_refused_before_it_is_read():
    entry = (
        struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 33, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0) + b"a"
    )
    count = 1_000_000
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, count * len(entry), 4, 0)
    raw = b"PK\x03\x04" + count * entry + end
    tracemalloc.start()
    assert code_of(raw) == "zip_entries"
    assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    tracemalloc.stop()


def test_an_encrypted_file_is_refused():
    raw = pack(("film.png", png(1)), ("good.png", png(2)))
    secret = changed(raw, b"film.png", 8, b"\x01\x00", local=6)
    assert unpacked(secret) == ({"good.png": png(2)}, [("film.png", "zip_encrypted")])


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_packing_that_can_explode_in_one_step_is_not_unpacked(method):
    assert unpacked(pack(("film.png", png(1)), method=method)) == ({}, [("film.png", "zip_method")])


def test_of_two_films_of_one_name_the_second_is_refused_and_seen():
    raw = pack(("film.png", png(1)), ("film.png", png(2)), ("notes.txt", b"x"), ("notes.txt", b"y"))
    assert unpacked(raw) == ({"film.png": png(1)}, [("film.png", "zip_twice")])


def test_a_damaged_entry_costs_only_itself():
    raw = bytearray(pack(("bad.png", png(1)), ("good.png", png(2)), method=zipfile.ZIP_STORED))
    raw[30 + len("bad.png") + 100] ^= 0xFF
    assert unpacked(bytes(raw)) == ({"good.png": png(2)}, [("bad.png", "broken_zip")])


def test_every_truncation_is_refused_with_a_code_and_no_film_is_ever_half():
    raw = pack(("1.png", png(1, 64)), ("2.png", png(2, 64)))
    for end in range(0, len(raw), 7):
        assert code_of(raw[:end]) == "broken_zip"


def test_every_flipped_byte_gives_the_film_or_a_code():
    raw = pack(("1.png", png(1, 64)), ("2.png", png(2, 64)))
    true = {png(1, 64), png(2, 64)}
    for place in [*range(0, 40), *range(40, len(raw) - 200, 31), *range(len(raw) - 200, len(raw))]:
        data = bytearray(raw)
        data[place] ^= 0x81
        try:
            films, refused = unpacked(bytes(data))
        except Rejected as exc:
            films, refused = {}, [("", exc.code)]
        assert set(films.values()) <= true
        assert all(code.startswith(("zip_", "broken_zip", "too_many")) for _, code in refused)


def test_a_picture_with_a_zip_behind_it_is_no_zip():
    both = png(1) + pack(("2.png", png(2)))
    assert not is_zip("film.png", both[:4])
    assert code_of(both) == "broken_zip"


def test_what_is_opened_as_a_zip():
    assert is_zip("films", pack(("1.png", b"x"))[:4])
    assert is_zip("films", pack()[:4])
    assert is_zip("FILMS.ZIP", b"")
    assert not is_zip("film.png", b"\x89PNG")


def test_a_zip_that_cannot_be_read_is_refused(tmp_path):
    assert code_of(tmp_path / "none.zip") == "unreadable_file"


def test_names_stay_out_of_messages_and_of_repr():
    raw = pack(("../DOE^JANE.png", png(1)), ("ROE^JOHN.png", png(2)))
    with Archive(raw) as archive:
        said = "".join(repr(each) + str(getattr(each, "notice", "")) for each in archive)
    assert "JANE" not in said
    assert "JOHN" not in said
