"""Reading ahead and grouping: small groups, never more than one ahead, as many as were counted."""

from __future__ import annotations

import threading
import zipfile

import pytest

from cxr_core.imaging.limits import Limits
from cxr_core.worklist import handing
from cxr_core.worklist.unpack import Turned
from cxr_core.worklist.values import Incoming


@pytest.fixture
def paths(tmp_path, films):
    (tmp_path / "1.png").write_bytes(films.png(1))
    with zipfile.ZipFile(tmp_path / "two.zip", "w") as archive:
        archive.writestr("a.png", films.png(2))
        archive.writestr("notes.txt", "no film")
        archive.writestr("/b.png", films.png(3))
    (tmp_path / "broken.zip").write_bytes(b"PK\x05\x06")
    return [tmp_path / name for name in ("1.png", "two.zip", "gone.png", "broken.zip")]


def test_as_many_are_read_as_were_counted(paths, films):
    found = list(handing.read(paths, Limits()))
    assert handing.count(paths) == len(found) == 5
    names = [each.name.rpartition("two.zip")[2].rpartition(str(paths[0].parent))[2] for each in found]
    assert names == ["/1.png", "/a.png", "//b.png", "/gone.png", "/broken.zip"]
    assert [each.notice.code for each in found if isinstance(each, Turned)] == [
        "zip_name", "unreadable_file", "broken_zip"
    ]  # fmt: skip
    assert [each.raw for each in found if isinstance(each, Incoming)] == [films.png(1), films.png(2)]


def test_of_a_file_that_is_too_large_one_byte_more_than_allowed_is_read(tmp_path):
    (tmp_path / "1.png").write_bytes(bytes(5000))
    (film,) = handing.read([tmp_path / "1.png"], Limits(max_bytes=1000))
    assert len(film.raw) == 1001


def test_groups_end_by_number_and_by_bytes():
    small = [Incoming(str(number), b"x") for number in range(handing.GROUP_FILES + 1)]
    assert [len(group) for group in handing.groups(small)] == [handing.GROUP_FILES, 1]
    large = bytes(handing.GROUP_BYTES // 2)
    films = [Incoming("", large) for _ in range(5)]
    assert [len(group) for group in handing.groups(films)] == [2, 2, 1]
    assert list(handing.groups([])) == []


def test_only_one_is_fetched_ahead_by_another_thread():
    fetched, threads = [], set()

    def items():
        for number in range(5):
            fetched.append(number)
            threads.add(threading.current_thread())
            yield number

    for number in handing.ahead(items()):
        assert len(fetched) <= number + 2
    assert fetched == [0, 1, 2, 3, 4]
    assert threading.main_thread() not in threads


def test_what_goes_wrong_while_reading_ahead_is_raised():
    def items():
        yield 1
        raise OSError("gone")

    ahead = handing.ahead(items())
    assert next(ahead) == 1
    with pytest.raises(OSError, match="gone"):
        next(ahead)
