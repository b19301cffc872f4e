"""PNG and JPEG to grey: 8 and 16 bit, palette, colour, transparency, EXIF turn."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_core.domain import Notice, Radiograph
from cxr_core.errors import Rejected
from cxr_core.imaging.headers import jpeg_parts, png_parts
from cxr_core.imaging.limits import Limits, check_frames, check_parts, check_size
from cxr_core.imaging.quiet import quiet
from cxr_core.imaging.refusals import note, refusal, reject

_SAMPLE = 256
"""Side of the grid on which colour is looked for."""

_CHROMA = 32
"""Spread of R, G and B, of 255, from which a pixel counts as coloured; JPEG blurs chroma by less."""

_COLOURED_SHARE = 0.02

_OTHER_HUE = 24
"""Spread of R, G and B, of 255, once the usual colour of the pixel's brightness is taken off: no tint."""

_MANY_HUES_SHARE = 0.1
"""Share of such pixels from which a picture is no film.

Of train films tinted in five ways and saved as JPEG at most 0.02 are such; of 24 colour photographs the
greyest has 0.08, and 21 have more than 0.1.
"""

_ORIENTATION = 0x0112

_TURNS: dict[int, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    2: np.fliplr,
    3: lambda grey: np.rot90(grey, 2),
    4: np.flipud,
    5: np.transpose,
    6: lambda grey: np.rot90(grey, -1),
    7: lambda grey: np.rot90(np.transpose(grey), 2),
    8: lambda grey: np.rot90(grey, 1),
}
"""EXIF 2.32, tag 274: what brings the stored picture upright; 1 is upright already."""


_NO_FILM = refusal("not_radiograph")


class NoFilm(Rejected):
    """A picture that was read and is no radiograph; what it shows is kept for a person to look at."""

    def __init__(self, radiograph: Radiograph) -> None:
        """Keep the picture."""
        super().__init__(_NO_FILM.code, _NO_FILM.message, _NO_FILM.hint)
        self.radiograph = radiograph


def decode_raster(raw: bytes, kind: str, limits: Limits, sha256: str) -> Radiograph:
    """Return the film of a PNG or JPEG file.

    Args:
        raw: the file.
        kind: "PNG" or "JPEG", as its first bytes say.
        limits: checked against the header before a pixel is decoded.
        sha256: of `raw`, kept in the result.

    Raises:
        NoFilm: it has many colours.
        Rejected: broken_image, or the size or number of frames or parts is out of bounds.
    """
    counted = png_parts if kind == "PNG" else jpeg_parts
    check_parts(counted(raw, limits.max_elements), limits)
    with quiet():
        try:
            with Image.open(BytesIO(raw), formats=(kind,)) as image:
                check_size(image.height, image.width, limits)
                if kind == "PNG":
                    check_frames(getattr(image, "n_frames", 1), limits)
                pixels, notes = _film(image)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as exc:
            raise reject("too_many_pixels", found="too many", limit=f"{limits.max_megapixels:g}") from exc
        except Rejected:
            raise
        except Exception as exc:  # Pillow raises OSError, SyntaxError, ValueError, struct.error, zlib.error …
            raise reject("broken_image", found=kind) from exc
    if _NO_FILM in notes:
        raise NoFilm(Radiograph(pixels=pixels, sha256=sha256, source=kind))
    return Radiograph(pixels=pixels, sha256=sha256, source=kind, notes=notes)


def _film(image: Image.Image) -> tuple[NDArray[np.float32], tuple[Notice, ...]]:
    """Return (H, W) float32 in [0, 1] and what was assumed."""
    notes: list[Notice] = []
    image.load()
    grey = _grey(image, notes)
    turn = _TURNS.get(orientation(image, notes))
    if turn is not None:
        grey = np.ascontiguousarray(turn(grey))
        notes.append(note("turned_by_exif"))
    return grey, tuple(notes)


def orientation(image: Image.Image, notes: list[Notice]) -> int:
    """Return the EXIF orientation, 1 if there is none; a damaged EXIF block does not cost the film."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:  # the EXIF reader raises whatever the bytes lead it to
        notes.append(note("exif_unreadable"))
        return 1


def _grey(image: Image.Image, notes: list[Notice]) -> NDArray[np.float32]:
    """Return the brightness of `image` as float32 in [0, 1], transparent parts black."""
    if image.mode.startswith("I"):
        return _sixteen_bit(np.asarray(image))
    if image.mode == "L":
        return _unit(np.asarray(image))
    alpha: NDArray[np.float32] | None = None
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    if image.mode in ("LA", "RGBA"):
        opacity = image.getchannel("A")
        alpha = None if opacity.getextrema() == (255, 255) else _unit(np.asarray(opacity))
    if image.mode in ("RGB", "RGBA", "CMYK"):
        colours = _colours(image)
        if _is_coloured(colours):
            notes.append(_NO_FILM if _has_many_hues(colours) else note("colour_picture"))
    grey = _unit(np.asarray(image.convert("L")))
    return grey if alpha is None else grey * alpha


def _unit(values: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return 0 … 255 as float32 0 … 1."""
    return np.multiply(values, np.float32(1 / 255), dtype=np.float32)


def _sixteen_bit(values: NDArray[np.integer]) -> NDArray[np.float32]:
    """Return 16-bit grey in [0, 1].

    Films of 10, 12 or 14 bits are often stored in 16 without being stretched; the brightest pixels
    tell how many bits are in use.
    """
    top = 2 ** sixteen_bit_depth(values) - 1
    clipped: NDArray[np.integer] = np.clip(values, 0, top)
    grey: NDArray[np.float32] = np.multiply(clipped, np.float32(1 / top), dtype=np.float32)
    return grey


def sixteen_bit_depth(values: NDArray[np.integer]) -> int:
    """Return how many bits of 16 are in use, `hot_pixels` left out."""
    hot = hot_pixels(values.size)
    return next((bits for bits in (8, 10, 12, 14) if np.count_nonzero(values >= 2**bits) <= hot), 16)


def hot_pixels(number: int) -> int:
    """Return how many of a film's pixels may be brighter than its depth holds: defects of a detector."""
    return max(8, number // 10_000)


def _colours(image: Image.Image) -> NDArray[np.int16]:
    """Return (N, 3) R, G and B of a grid of pixels."""
    step_x, step_y = (max(1, side // _SAMPLE) for side in image.size)
    grid = np.asarray(image.convert("RGB"))[::step_y, ::step_x]
    return grid.reshape(-1, 3).astype(np.int16)


def _is_coloured(colours: NDArray[np.int16]) -> bool:
    """Return whether more than _COLOURED_SHARE of the pixels differ clearly between channels."""
    return float(np.mean(np.ptp(colours, axis=1) > _CHROMA)) > _COLOURED_SHARE


def _has_many_hues(colours: NDArray[np.int16]) -> bool:
    """Return whether pixels of one brightness differ in colour, which no tint makes them, however strong."""
    level = (colours @ np.array([0.299, 0.587, 0.114])).astype(np.intp) // 16
    tint = colours - colours[:, 1:2]
    for each in np.unique(level):
        alike = level == each
        tint[alike] -= np.median(tint[alike], axis=0).astype(np.int16)
    return float(np.mean(np.ptp(tint, axis=1) > _OTHER_HUE)) > _MANY_HUES_SHARE
