"""Decoding children: the same films as in one's own process, and none that can end its asker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cxr_core.errors import DecoderDied, Rejected
from cxr_core.imaging.decode import decode
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.preprocess import Recipe
from cxr_core.pipeline import Film, Unfit, film_from
from cxr_core.worklist import wire
from cxr_core.worklist.decoder import DecoderPool
from tests.films import blobs, photograph, png
from tests.imaging.dicom_files import as_bytes, dataset
from tests.worklist.hooks import ABORT, KILL, STALL
from tests.worklist.hostile import large_png
from tests.worklist.processes import alive, children, wait_for

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
RECIPE = Recipe(film_px=48, network_px=64, low_percentile=0.5, high_percentile=99.5)
SCRIPT = (
    "import sys, time\n"
    "from cxr_core.imaging.limits import Limits\n"
    "from cxr_core.worklist.decoder import DecoderPool\n"
    "hook = 'tests.worklist.hooks:fail'\n"
    "pool = DecoderPool(Limits(), None, processes=1, timeout_s=60, memory_mb=1024, hook=hook)\n"
    "pool.view(open(sys.argv[1], 'rb').read())\n"
)


@pytest.fixture(scope="module")
def pool():
    with DecoderPool(
        Limits(), RECIPE, processes=2, timeout_s=30, memory_mb=256, hook="tests.worklist.hooks:fail"
    ) as made:
        yield made


@contextmanager
def new_pool(timeout_s: float = 30.0, memory_mb: int = 1024, processes: int = 1):
    """Yield a pool that has answered once, and the process that forks its children."""
    before = set(children(os.getpid()))
    bounds = {"processes": processes, "timeout_s": timeout_s, "memory_mb": memory_mb}
    with DecoderPool(Limits(), RECIPE, **bounds, hook="tests.worklist.hooks:fail") as pool:
        pool.prepare(png(1), now=NOW)
        (nursery,) = set(children(os.getpid())) - before
        yield pool, nursery


def lateral() -> bytes:
    return as_bytes(dataset(blobs(2), ViewPosition="LL", PatientID="P-9", AcquisitionDate="20260102"))


@pytest.mark.parametrize(
    "raw",
    [
        png(1),
        as_bytes(dataset(blobs(3), PatientID="P-1", PatientAge="071Y", ViewPosition="AP")),
        as_bytes(dataset(blobs(3), PatientName="Ä^Ö", StudyDate="20990101", StudyTime="101112.5")),
        as_bytes(dataset(blobs(3), PixelSpacing=[0.14, 0.15], BurnedInAnnotation="YES")),
        as_bytes(dataset(blobs(3), PixelAspectRatio=[1, 2], PatientOrientation=["R", "F"])),
        lateral(),
        photograph(1),
        png(1)[:-60],
        b"hello",
        b"",
    ],
    ids=["png", "dicom", "dates", "spacing", "hanging", "lateral", "photo", "broken", "no film", "empty"],
)
def test_a_child_answers_what_decoding_in_this_process_answers(pool, raw):
    here, there = film_from(raw, Limits(), RECIPE, now=NOW), pool.prepare(raw, now=NOW)
    film = there.film
    assert type(film) is type(here)
    assert set(film.timings_ms) == set(here.timings_ms)
    if isinstance(here, Film):
        np.testing.assert_array_equal(film.array, here.array)
        assert film.gate == here.gate
    else:
        assert (film.notice, film.sha256) == (here.notice, here.sha256)
    assert (film.radiograph is None) == (here.radiograph is None) == (there.thumbnail is None)
    if here.radiograph is not None:
        for field in (
            "sha256",
            "source",
            "study",
            "spacing_mm",
            "burned_in",
            "notes",
            "warnings",
            "orientation",
        ):
            assert getattr(film.radiograph, field) == getattr(here.radiograph, field)
        assert film.radiograph.pixels.size == 0


def test_the_thumbnail_is_the_film_made_small(pool):
    raw = BytesIO()
    picture = Image.fromarray(blobs(4)).resize((1500, 900))
    picture.save(raw, "PNG")
    thumbnail = Image.open(BytesIO(pool.prepare(raw.getvalue(), now=NOW).thumbnail))
    assert (thumbnail.format, thumbnail.mode, thumbnail.size) == ("PNG", "L", (96, 58))
    expected = np.asarray(picture.resize((96, 58), Image.Resampling.BILINEAR), dtype=float)
    assert np.abs(np.asarray(thumbnail, dtype=float) - expected).max() < 12


def test_a_film_is_shown_as_it_is_but_no_finer_than_2048(pool):
    np.testing.assert_array_equal(pool.view(png(5)).pixels, decode(png(5), Limits()).pixels)
    raw = BytesIO()
    Image.fromarray(blobs(6)).resize((2600, 1300)).save(raw, "PNG")
    shown = pool.view(raw.getvalue())
    assert shown.pixels.shape == (1024, 2048)
    assert shown.pixels.dtype == np.float32
    assert pool.view(lateral()).study.patient_id == "P-9"
    photo = pool.view(photograph(1))
    assert (photo.pixels.shape, len(photo.sha256)) == ((96, 120), 64)
    with pytest.raises(Rejected, match="broken_image"):
        pool.view(png(1)[:-60])


def test_a_film_that_crashes_its_decoder_is_named_and_the_next_is_answered(pool):
    with pytest.raises(DecoderDied) as died:
        pool.prepare(png(1) + ABORT, now=NOW)
    assert died.value.code == "decoder_crashed"
    assert isinstance(pool.prepare(png(1), now=NOW).film, Film)


def test_a_film_that_eats_memory_is_named_and_never_called_broken(pool):
    with pytest.raises(DecoderDied) as died:
        pool.prepare(large_png(), now=NOW)
    assert died.value.code == "decoder_memory"
    with pytest.raises(DecoderDied):
        pool.view(large_png())
    assert isinstance(pool.prepare(png(1), now=NOW).film, Film)


def test_a_film_that_stalls_its_decoder_is_stopped_in_time():
    with new_pool(timeout_s=1.5) as (pool, nursery):
        start = time.monotonic()
        with pytest.raises(DecoderDied) as died:
            pool.prepare(png(1) + STALL, now=NOW)
        assert died.value.code == "decoder_timeout"
        assert time.monotonic() - start < 4
        assert isinstance(pool.prepare(png(1), now=NOW).film, Film)
        assert len(children(nursery)) == 1, "the stalled child must be gone"


def test_the_largest_film_allowed_fits_into_the_memory_that_a_child_gets_by_default():
    from cxr_core.settings import Settings

    chosen = Settings()
    with DecoderPool(Limits(), RECIPE, processes=1, timeout_s=120, memory_mb=chosen.decode_memory_mb) as pool:
        film = pool.prepare(large_png(8000), now=NOW).film
    assert isinstance(film, Unfit)
    assert film.notice.code == "blank_image"


def test_children_that_others_kill_cost_no_film_its_answer():
    with new_pool(processes=2) as (pool, nursery):
        raws = [png(seed) for seed in range(12)]
        with ThreadPoolExecutor(2) as threads:
            os.kill(children(nursery)[0], signal.SIGKILL)
            assert isinstance(pool.prepare(raws[1], now=NOW).film, Film)
            os.kill(nursery, signal.SIGKILL)
            films = threads.map(lambda raw: pool.prepare(raw, now=NOW).film, raws)
            assert all(isinstance(film, Film) for film in films)


def test_a_film_whose_decoder_is_killed_again_and_again_is_named(pool):
    with pytest.raises(DecoderDied) as died:
        pool.prepare(png(1) + KILL, now=NOW)
    assert died.value.code == "decoder_killed"
    assert isinstance(pool.prepare(png(1), now=NOW).film, Film)


def test_children_end_with_whoever_asked_them_however_it_ends(tmp_path):
    film = tmp_path / "film.png"
    film.write_bytes(png(1) + STALL)
    asker = subprocess.Popen([sys.executable, "-c", SCRIPT, str(film)])
    wait_for(lambda: any(children(pid) for pid in children(asker.pid)), 60, "a child at work")
    (nursery,) = children(asker.pid)
    (child,) = children(nursery)
    asker.kill()
    asker.wait()
    wait_for(lambda: not alive(nursery) and not alive(child), 5, "nursery and child gone")


def test_a_child_knows_no_settings_holds_no_other_file_and_leaves_no_core_dump(monkeypatch, tmp_path):
    monkeypatch.setenv("CXR_DATABASE_URL", "postgresql://someone:secret@nowhere/x")
    with (tmp_path / "open").open("wb"), new_pool() as (_, nursery):
        (child,) = children(nursery)
        assert b"CXR_" not in Path(f"/proc/{nursery}/environ").read_bytes()
        files = [str(link.readlink()) for link in Path(f"/proc/{child}/fd").iterdir()]
        assert sum(file.startswith("socket:") for file in files) == 1
        assert not [file for file in files if str(tmp_path) in file]
        limits = Path(f"/proc/{child}/limits").read_text().splitlines()
        (core,) = [line.split()[4:6] for line in limits if line.startswith("Max core")]
        assert core == ["0", "0"]


@pytest.mark.parametrize(
    ("head", "parts"),
    [
        (b"{}", [b"", b"", b""]),
        (b"no json", [b"", b"", b""]),
        (b'{"sha256": "0", "timings_ms": {}}', [b"", b"", b""]),
        (b'{"sha256": "0", "timings_ms": {}, "run": "me"}', [b"", b"", b""]),
        (b'{"sha256": "0", "timings_ms": {}, "orientation": 3}', [b"", b"", b""]),
        (b'{"sha256": "0", "timings_ms": {}, "source": "PNG", "study": {}, "gate": {"outcome": "accepted"},'
         b' "shape": [0, 0]}', [b"1234", b"", b""]),
    ],
)  # fmt: skip
def test_an_answer_of_another_form_is_no_answer(head, parts):
    from cxr_core.errors import StoreError

    with pytest.raises((StoreError, ValueError)):
        wire.read_answer(head, parts, 64)
