"""The gate's network: what it is, and what it says of films, pictures and faults."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from cxr_core.domain import Gate, GateOutcome, Radiograph, View
from cxr_core.errors import ModelError, Rejected
from cxr_core.evaluation.gate_figures import PASSES, codes_of, figures
from cxr_core.imaging.gate import ANSWERS, INPUT, Kind, Look, LookLimits, judged
from cxr_core.imaging.phantom import make_phantom
from cxr_core.imaging.preprocess import network_input
from cxr_core.inference import gate_manifest, gate_network
from cxr_core.pipeline import analyse, load_kit
from cxr_core.settings import Settings

LIMITS = LookLimits(chest=0.5, upright=0.5, inverted=0.5, mirrored=0.6, cropped=0.6)
GOOD = Look((0.97, 0.01, 0.01, 0.01), (0.97, 0.01, 0.01, 0.01), 0.1, 0.1, 0.1)
FILM = Radiograph(np.zeros((64, 64), np.float32), "0", "DICOM")
ACCEPTED = Gate(GateOutcome.ACCEPTED)
NOW = datetime(2026, 11, 22, tzinfo=UTC)
FOLDER = Settings().gate


@pytest.fixture(scope="module")
def gate():
    return gate_network.load(FOLDER)


@pytest.fixture(scope="module")
def films():
    made = [make_phantom(seed, ("Effusion",) * (seed % 2), size=256) for seed in range(300, 312)]
    return np.stack([network_input(film.image, INPUT) for film in made])


def refusal(look: Look) -> str:
    with pytest.raises(Rejected) as raised:
        judged(FILM, ACCEPTED, look, LIMITS)
    return raised.value.code


def test_a_good_film_passes_with_what_was_said_before():
    said = Gate(GateOutcome.ACCEPTED)
    assert judged(FILM, said, GOOD, LIMITS) == said


@pytest.mark.parametrize(
    ("kinds", "code"),
    [
        ((0.49, 0.51, 0.0, 0.0), "not_radiograph"),
        ((0.1, 0.2, 0.4, 0.3), "cross_section"),
        ((0.4, 0.1, 0.1, 0.4), "other_radiograph"),
    ],
)
def test_what_is_no_chest_film_is_refused_as_what_it_is_likeliest(kinds, code):
    assert refusal(replace(GOOD, kinds=kinds, turns=(0.0, 1.0, 0.0, 0.0))) == code


@pytest.mark.parametrize(("turns", "code"), [(1, "turned_left"), (2, "upside_down"), (3, "turned_right")])
def test_a_turned_film_is_refused_as_it_lies(turns, code):
    assert refusal(replace(GOOD, turns=tuple(float(k == turns) for k in range(4)))) == code


def test_an_inverted_film_is_refused():
    assert refusal(replace(GOOD, inverted=0.51)) == "inverted"


def test_mirrored_and_cropped_are_warnings():
    verdict = judged(FILM, ACCEPTED, replace(GOOD, mirrored=0.61, cropped=0.61), LIMITS)
    assert verdict.outcome is GateOutcome.WARNED
    assert verdict.codes == ("mirrored", "cropped")


def test_tags_that_say_another_side_than_the_picture_are_warned_of():
    film = replace(FILM, orientation="LF")
    assert judged(film, ACCEPTED, replace(GOOD, mirrored=0.7), LIMITS).codes == ("mirrored", "tags_disagree")


def test_the_bundled_gate_passes_invented_films_and_names_each_fault_made_in_them(gate, films):
    limits = gate.manifest.limits
    assert codes_of(gate.look(films), limits) == [(PASSES,)] * len(films)
    for turns, code in ((1, "turned_left"), (2, "upside_down"), (3, "turned_right")):
        turned = np.ascontiguousarray(np.rot90(films, turns, (2, 3)))
        assert codes_of(gate.look(turned), limits) == [(code,)] * len(films)
    assert codes_of(gate.look(-films), limits) == [("inverted",)] * len(films)


def test_figures_count_what_was_said(gate, films):
    lines = {
        line.what: line
        for line in figures(
            gate.look, gate.manifest.limits, [("made", "adults", films, list("aabbccddeeff"))]
        )
    }
    assert lines["made: not refused"].count == lines["made: not refused"].of == 12
    assert lines["made, inverted: refused as such"].value == 1.0
    assert 0.4 < lines["made, inverted: refused as such"].low < 1.0


def png(pixels: np.ndarray) -> bytes:
    buffer = BytesIO()
    Image.fromarray(np.round(255 * pixels).astype(np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def test_a_refused_film_never_reaches_the_model():
    kit = load_kit(Settings())

    class Never:
        def run(self, *_: object) -> None:
            raise AssertionError("the model was asked")

    film = make_phantom(300, size=256).image
    asked = replace(kit, classifier=replace(kit.classifier, session=Never()))
    for pixels, code in ((film[::-1, ::-1], "upside_down"), (1 - film, "inverted")):
        analysis = analyse(png(pixels), asked, now=NOW)
        assert analysis.refusal is not None
        assert analysis.refusal.code == code
        assert analysis.predictions == ()
        assert analysis.timings_ms["gate"] > 0


def test_films_of_ap_view_pass_as_well(gate):
    film = make_phantom(301, ("Edema",), size=256, view=View.AP)
    assert codes_of(gate.look(network_input(film.image, INPUT)[None]), gate.manifest.limits) == [(PASSES,)]


@pytest.mark.parametrize("name", ["gate.onnx", "weights.safetensors", "card.md"])
def test_h5_an_altered_gate_is_not_loaded(tmp_path, name):
    folder = shutil.copytree(FOLDER, tmp_path / "gate")
    with (folder / name).open("ab") as handle:
        handle.write(b"\0")
    with pytest.raises(ModelError, match="altered"):
        gate_network.load(folder)


def test_h5_a_gate_that_answers_otherwise_is_not_loaded(tmp_path):
    folder = shutil.copytree(FOLDER, tmp_path / "gate")
    text = (folder / "gate.toml").read_text()
    first = repr(gate_manifest.read(folder).self_test.logits[0])
    (folder / "gate.toml").write_text(text.replace(first, "9.5"))
    with pytest.raises(ModelError, match="self-test"):
        gate_network.load(folder)


def test_a_gate_has_a_word_for_every_answer(gate):
    assert len(Kind) + 4 + 3 == ANSWERS == len(gate.manifest.self_test.logits)


@pytest.mark.real_data
def test_everything_in_the_folder_of_other_pictures_is_refused_but_what_the_card_names(data_dir):
    kit = load_kit(Settings())
    paths = sorted(path for path in (data_dir / "not_chest").iterdir() if path.suffix != ".csv")
    codes: dict[str, list[str]] = {}
    for path in paths:
        analysis = analyse(path.read_bytes(), kit, now=NOW)
        kind = path.name.rsplit("_", 1)[0]
        codes.setdefault(kind, []).append(analysis.refusal.code if analysis.refusal else "")
    lateral = codes.pop("lateral_chest", [])
    passed = sum(code == "" for said in codes.values() for code in said)
    assert len(lateral) == 1
    assert passed <= 0.01 * sum(map(len, codes.values()))
    assert set(codes["brain_mri"]) <= {"cross_section", "not_radiograph", ""}


def test_a_gate_is_named_by_its_version_its_network_and_its_limits(tmp_path, gate):
    folder = shutil.copytree(FOLDER, tmp_path / "gate")
    text = (folder / "gate.toml").read_text()
    name = gate.manifest.name
    assert re.fullmatch(re.escape(gate.manifest.gate.version) + r"\+[0-9a-f]{8}", name)
    said = {name}
    for there, instead in (
        (f'version = "{gate.manifest.gate.version}"', 'version = "9.0.0"'),
        ("upright = ", "upright = 0.0  # was "),
        (gate.manifest.files["gate.onnx"], "0" * 64),
    ):
        (folder / "gate.toml").write_text(text.replace(there, instead))
        said.add(gate_manifest.read(folder).name)
    assert len(said) == 4
    (folder / "gate.toml").write_text(text.replace(gate.manifest.files["card.md"], "0" * 64))
    assert gate_manifest.read(folder).name == name


@pytest.mark.parametrize(
    ("there", "instead", "why"),
    [
        ('"gate.onnx" = ', '"net.onnx" = ', "does not list gate.onnx"),
        ('\nversion = "', '\nversion = "one ', "up to 40 letters"),
        ("[limits]", "[limits", "readable TOML"),
    ],
)
def test_a_gate_that_cannot_be_named_is_not_read(tmp_path, there, instead, why):
    text = (FOLDER / "gate.toml").read_text()
    (tmp_path / "gate.toml").write_text(text.replace(there, instead))
    with pytest.raises(ModelError, match=why):
        gate_manifest.read(tmp_path)
