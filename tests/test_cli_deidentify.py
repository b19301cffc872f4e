"""`cxr deidentify`: what it writes, what it leaves out, what it says of both."""

from __future__ import annotations

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
