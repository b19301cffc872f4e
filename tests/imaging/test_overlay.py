from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from cxr_core.imaging import overlay


def hot_cell(row: int, column: int) -> np.ndarray:
    heatmap = np.full((10, 10), -1.0, dtype=np.float32)
    heatmap[row, column] = 3.0
    return heatmap


def test_no_support_is_none_and_never_a_blank_picture() -> None:
    assert overlay.field_of(np.full((10, 10), -0.3, dtype=np.float32)) is None
    assert overlay.field_of(np.zeros((10, 10), dtype=np.float32)) is None


@pytest.mark.parametrize("bad", [np.zeros(4), np.full((2, 2), np.nan), np.full((2, 2), np.inf)])
def test_what_is_no_heatmap_is_an_error(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="heatmap"):
        overlay.field_of(bad)


def test_peak_stays_where_the_network_had_it() -> None:
    field = overlay.field_of(hot_cell(2, 7))
    assert field is not None
    assert field.max() == 1.0
    assert field.min() >= 0.0
    x, y = overlay.peak_of(field)
    assert x == pytest.approx(0.75, abs=0.01)
    assert y == pytest.approx(0.25, abs=0.01)


def test_contour_of_a_cone_is_a_circle_of_the_right_radius() -> None:
    side = 128
    rows, columns = np.mgrid[:side, :side] + 0.5
    distance = np.hypot(rows - 64, columns - 64) / side
    cone = np.clip(1.0 - 2.0 * distance, 0.0, 1.0).astype(np.float32)
    lines = overlay.contours(cone, 0.5)
    radii = np.hypot(lines[:, [0, 2]] - 0.5, lines[:, [1, 3]] - 0.5)
    assert radii == pytest.approx(np.full(radii.shape, 0.25), abs=0.002)
    length = np.hypot(lines[:, 2] - lines[:, 0], lines[:, 3] - lines[:, 1]).sum()
    assert length == pytest.approx(2 * np.pi * 0.25, rel=0.01)


def test_contours_close_even_at_the_edge_of_the_film() -> None:
    field = overlay.field_of(hot_cell(0, 0))
    assert field is not None
    lines = overlay.contours(field, 0.5)
    ends = np.concatenate([lines[:, :2], lines[:, 2:]]).round(4)
    _, count = np.unique(ends, axis=0, return_counts=True)
    assert (count % 2 == 0).all()
    assert lines.min() >= 0.0
    assert lines.max() <= 1.0


def test_no_contour_above_the_peak() -> None:
    assert overlay.contours(np.full((8, 8), 0.2, dtype=np.float32), 0.5).shape == (0, 4)


def test_blend_leaves_the_film_alone_far_from_the_peak_and_at_opacity_zero() -> None:
    picture = np.full((64, 32), 90, dtype=np.uint8)
    field = overlay.field_of(hot_cell(5, 5))
    assert field is not None
    shown = overlay.blend(picture, field, 0.8)
    assert shown.shape == (64, 32, 3)
    assert (shown[0, 0] == 90).all()
    assert shown[35, 17, 0] > 150
    assert (overlay.blend(picture, field, 0.0) == 90).all()


def test_palette_gets_lighter_with_the_value() -> None:
    lightness = overlay.PALETTE[:, :3] @ np.array([0.2126, 0.7152, 0.0722])
    assert (np.diff(lightness) > -0.5).all()
    assert overlay.PALETTE[0, 3] == 0
    assert overlay.PALETTE[255, 3] == 255


def test_png_carries_every_grey_value_and_never_enlarges() -> None:
    ramp = np.tile(np.linspace(0, 1, 256, dtype=np.float32), (20, 1))
    small = overlay.grey(ramp, 2048)
    assert np.array_equal(np.asarray(Image.open(BytesIO(overlay.png(small)))), small)
    assert (small[0] == np.arange(256)).all()
    assert overlay.grey(ramp, 128).shape == (10, 128)


def test_tiles_stack_in_order() -> None:
    fields = [field for at in (1, 8) if (field := overlay.field_of(hot_cell(at, at))) is not None]
    stacked = overlay.tiles(fields)
    assert stacked.shape == (256, 128)
    rows = np.argwhere(stacked == 255)[:, 0]
    assert (rows[rows < 128] < 64).all()
    assert (rows[rows >= 128] >= 192).all()
    assert overlay.tiles([]).shape == (1, 128)
