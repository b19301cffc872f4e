"""`cxr deidentify`: what it writes, what it leaves out, what it says of both."""

from __future__ import annotations

import os
import stat
from io import BytesIO

import pytest
from pydicom import dcmread
from typer.testing import CliRunner

from cxr_core.cli import app
from cxr_core.imaging.phantom import make_phantom
from cxr_core.imaging.phantom_dicom import phantom_dicom
from tests.films import png

RUNNER = CliRunner()
PHANTOM = make_phantom(5, size=256)


@pytest.fixture
def folder(tmp_path):
    """Two films of one study with text burnt in, a picture and a broken file."""
    place = tmp_path / "in"
    place.mkdir()
    for number in (1, 2):
        extra = {"StudyInstanceUID": "1.2.3", "SOPInstanceUID": f"1.2.3.{number}"}
        raw = phantom_dicom(PHANTOM, patient_name="Quaggamire^Ann", extra=extra)
        (place / f"quaggamire-{number}.dcm").write_bytes(raw)
    (place / "cut.png").write_bytes(png(1)[:500])
    return place


def run(*arguments: object) -> tuple[int, list[str], str]:
    done = RUNNER.invoke(app, ["deidentify", *map(str, arguments)])
    return done.exit_code, done.stdout.splitlines(), done.stderr


def test_films_with_text_are_left_out_until_somebody_says_what_to_do(folder, tmp_path):
    status, lines, said = run(folder, "--out", tmp_path / "out")
    assert (status, lines) == (3, [])
    assert said.count("left out") == 3
    assert "may name the patient" in said
    assert not (tmp_path / "out").exists()


def test_films_leave_under_names_of_their_own(folder, tmp_path):
    status, lines, said = run(folder, "--out", tmp_path / "out", "--blank-text")
    assert status == 3  # the broken one
    assert said.count("left out") == 1
    made = sorted((tmp_path / "out").iterdir())
    assert {line.split("\t")[1] for line in lines} == {each.name for each in made}
    assert len(made) == 2
    assert len({dcmread(each).StudyInstanceUID for each in made}) == 1
    for each in made:
        assert b"quaggamire" not in each.read_bytes().lower() + each.name.encode()


def test_a_kept_secret_gives_the_same_films_again_and_none_gives_others(folder, tmp_path):
    file = folder / "quaggamire-1.dcm"
    outs = [tmp_path / name for name in "abc"]
    for out in outs[:2]:
        assert run(file, "--out", out, "--text-checked", "--key", tmp_path / "key")[0] == 0
    assert run(file, "--out", outs[2], "--text-checked")[0] == 0
    first, second, third = (next(out.iterdir()) for out in outs)
    assert (first.name, first.read_bytes()) == (second.name, second.read_bytes())
    assert third.name != first.name
    assert dcmread(BytesIO(third.read_bytes())).BurnedInAnnotation == "NO"


def test_one_cannot_ask_for_both(folder, tmp_path):
    status, _, said = run(folder, "--out", tmp_path / "out", "--blank-text", "--text-checked")
    assert status == 1
    assert "choose one" in said


def test_where_it_cannot_write_it_says_so(folder, tmp_path):
    (tmp_path / "out").write_text("a file where the folder should be")
    status, _, said = run(folder, "--out", tmp_path / "out", "--text-checked")
    assert status == 1
    assert "cannot be written" in said


def test_a_pipe_and_what_never_ends_are_left_out(folder, tmp_path):
    os.mkfifo(folder / "pipe.png")
    (folder / "endless.png").symlink_to("/dev/zero")
    status, lines, said = run(folder, "--out", tmp_path / "out", "--text-checked")
    assert (status, len(lines)) == (3, 2)
    assert said.count("left out: unreadable_file") == 2


def test_a_film_that_ends_its_decoder_ends_no_other(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("cxr_core.worklist.deidentifying._LONGEST_S", 0.01)
    status, lines, said = run(folder / "quaggamire-1.dcm", "--out", tmp_path / "out", "--text-checked")
    assert (status, lines) == (3, [])
    assert "left out: decoder_failed: Decoding the film was given up: its decoder took too long." in said


def test_of_two_films_with_one_uid_the_second_is_left_out(tmp_path):
    place, out = tmp_path / "in", tmp_path / "out"
    place.mkdir()
    for name, seed in (("a", 1), ("b", 2), ("c", 1)):
        raw = phantom_dicom(make_phantom(seed, size=256), extra={"SOPInstanceUID": "1.2.3.4"})
        (place / f"{name}.dcm").write_bytes(raw)
    status, lines, said = run(place, "--out", out, "--text-checked", "--key", tmp_path / "key")
    assert status == 3
    assert [line.split("\t")[0][-5:] for line in lines] == ["a.dcm", "c.dcm"]
    assert "b.dcm: left out: name_taken: " in said
    (made,) = out.iterdir()
    alone = run(place / "a.dcm", "--out", tmp_path / "alone", "--text-checked", "--key", tmp_path / "key")
    assert alone[0] == 0
    assert made.read_bytes() == (tmp_path / "alone" / made.name).read_bytes()


def test_the_folder_of_a_kept_secret_stays_as_it_is(folder, tmp_path):
    place = tmp_path / "shared"
    place.mkdir()
    place.chmod(0o755)
    file, key = folder / "quaggamire-1.dcm", place / "key"
    assert run(file, "--out", tmp_path / "out", "--text-checked", "--key", key)[0] == 0
    assert stat.S_IMODE(place.stat().st_mode) == 0o755
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
