"""The gate before its network: what tags and picture say, in one verdict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from cxr_core.domain import Gate, GateOutcome, Radiograph, Study, View
from cxr_core.errors import Rejected
from cxr_core.imaging.gate import INPUT, by_tags, inspect
from cxr_core.imaging.phantom import make_phantom
from cxr_core.imaging.preprocess import coarser, network_input
from cxr_core.imaging.refusals import note, warning
from tests.films import blobs

PIXELS = blobs(1, 256).astype(np.float32) / 255
PIXELS[:31] = PIXELS[31]  # without its lettering


def radiograph(pixels: np.ndarray = PIXELS, *, burned_in: bool = False, notes=(), **study) -> Radiograph:
    made = Study(**study)
    return Radiograph(pixels=pixels, sha256="0", source="PNG", study=made, burned_in=burned_in, notes=notes)


def inspected(film: Radiograph) -> Gate:
    return inspect(film)[0]


@pytest.mark.parametrize("side", [1, 511, 512, 1023, 1024, 1600, 3000])
def test_a_film_is_made_coarser_by_means_of_whole_pixels(side):
    film = np.random.default_rng(side).random((side, side + 7), dtype=np.float32)
    coarse, step = coarser(film, 512), max(1, side // 512)
    assert coarse.shape == tuple(length // step for length in film.shape)
    assert coarse.dtype == np.float32
    assert coarse[0, 0] == pytest.approx(film[:step, :step].mean(), rel=1e-5)
    assert coarse[-1, -1] == pytest.approx(
        film[step * (coarse.shape[0] - 1) :, step * (coarse.shape[1] - 1) :][:step, :step].mean(), rel=1e-5
    )


def test_the_network_sees_of_a_fine_film_what_it_sees_of_a_coarse_one():
    fine = make_phantom(2, size=2048).image
    (_, seen), alone = inspect(radiograph(fine)), network_input(fine, INPUT)
    assert seen.shape == alone.shape == (1, 64, 64)
    assert np.abs(seen - alone).max() < 0.05


def test_an_ordinary_film_is_accepted_without_a_word():
    gate = inspected(radiograph(view=View.PA, age_years=50))
    assert gate.outcome is GateOutcome.ACCEPTED
    assert gate.warnings == gate.notes == ()


@pytest.mark.parametrize("grey", [0.0, 0.5, 1.0])
def test_a_blank_film_is_refused(grey):
    pixels = np.full((256, 300), grey, dtype=np.float32)
    pixels[0, 0] = 1 - grey
    with pytest.raises(Rejected, match="blank_image"):
        inspected(radiograph(pixels))


def test_what_the_picture_says_is_a_warning_after_those_of_the_tags():
    gate = inspected(radiograph(PIXELS * np.float32(0.05), age_years=3))
    assert gate.codes == ("child", "too_dark", "low_contrast")
    assert gate.outcome is GateOutcome.WARNED


def test_a_saturated_film_is_refused():
    with pytest.raises(Rejected, match="saturated"):
        inspected(radiograph(np.round(PIXELS)))


def test_a_lateral_film_is_refused():
    with pytest.raises(Rejected, match="lateral_view"):
        inspected(radiograph(view=View.LATERAL))


@pytest.mark.parametrize(("age", "codes"), [(0.0, ("child",)), (17.99, ("child",)), (18.0, ()), (None, ())])
def test_a_child_is_a_warning(age, codes):
    gate = inspected(radiograph(age_years=age))
    assert gate.codes == codes
    assert (gate.outcome is GateOutcome.WARNED) is bool(codes)


@pytest.mark.parametrize(("side", "codes"), [(127, ("low_resolution",)), (128, ())])
def test_a_small_film_is_a_warning(side, codes):
    assert inspected(radiograph(np.ascontiguousarray(PIXELS[::2, ::2][:side]))).codes == codes


@pytest.mark.parametrize(("shape", "codes"), [((256, 128), ()), ((128, 300), ("unusual_shape",))])
def test_a_film_squeezed_or_cut_to_a_band_is_a_warning(shape, codes):
    squeezed = np.asarray(Image.fromarray(PIXELS).resize(shape[::-1]))
    assert [one for one in inspected(radiograph(squeezed)).codes if one != "blurred"] == [*codes]


def test_what_the_tags_leave_in_doubt_comes_first():
    film = replace(radiograph(age_years=3), warnings=(warning("view_unclear"),))
    assert inspected(film).codes == ("view_unclear", "child")


def test_ap_and_supine_are_notes_not_warnings():
    ap = inspected(radiograph(view=View.AP))
    supine = inspected(radiograph(view=View.AP, supine=True))
    assert ap.outcome is supine.outcome is GateOutcome.ACCEPTED
    assert [one.code for one in ap.notes] == [one.code for one in supine.notes] == ["ap_view"]
    assert "supine" not in ap.notes[0].message
    assert "supine" in supine.notes[0].message


def test_notes_of_decoding_are_passed_on():
    gate = inspected(radiograph(notes=(note("no_window"),), burned_in=True))
    assert [one.code for one in gate.notes] == ["no_window", "burned_in"]
    assert gate.codes == ()


def test_text_in_the_picture_is_a_note_beside_that_of_the_tags():
    film = make_phantom(0, size=512).image
    assert [one.code for one in inspected(radiograph(film)).notes] == ["burned_in_text"]
    both = inspected(radiograph(film, burned_in=True))
    assert [one.code for one in both.notes] == ["burned_in", "burned_in_text"]
    assert both.outcome is GateOutcome.ACCEPTED


@pytest.mark.parametrize(
    "study", [{"age_years": 6.0}, {"age_years": 40.0, "view": View.AP}, {"view": View.PA, "supine": True}]
)
def test_tags_alone_say_what_they_say_beside_a_good_film(study):
    assert by_tags(Study(**study)) == inspected(radiograph(**study))


def test_tags_alone_refuse_a_lateral_film():
    with pytest.raises(Rejected, match="lateral_view"):
        by_tags(Study(view=View.LATERAL))
