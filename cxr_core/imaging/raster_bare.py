"""PNG and JPEG as the grey picture that the decoder makes of them, written anew as PNG."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from PIL import Image

from cxr_core.domain import Radiograph
from cxr_core.imaging.annotations import TextBox
from cxr_core.imaging.quiet import quiet
from cxr_core.imaging.raster import hot_pixels, sixteen_bit_depth


def bare(raw: bytes, film: Radiograph, boxes: Sequence[TextBox]) -> bytes:
    """Return a PNG of the film as it hangs, with the boxes black: grey, without colour or transparency.

    Args:
        raw: the file that the film was decoded from; it says how many bits a pixel has.
        film: as `decode` gives it, or hung anew.
        boxes: in pixels of the film.
    """
    depth = _depth(raw, film.source)
    top = 2**depth - 1
    pixels = np.rint(film.pixels * np.float32(top)).astype(np.uint8 if depth == 8 else np.uint16)
    for box in boxes:
        pixels[box.top : box.bottom, box.left : box.right] = 0
    if depth > 8 and sixteen_bit_depth(pixels) != depth:  # the brightest pixels tell how many bits are used
        free = np.full(pixels.shape, not boxes)
        for box in boxes:
            free[box.top : box.bottom, box.left : box.right] = True
        pixels.flat[np.flatnonzero(free)[: hot_pixels(pixels.size) + 1]] = top
    out = BytesIO()
    Image.fromarray(pixels).save(out, format="PNG")
    return out.getvalue()


def _depth(raw: bytes, kind: str) -> int:
    """Return how many bits of a pixel are in use."""
    with quiet(), Image.open(BytesIO(raw), formats=(kind,)) as image:
        if not image.mode.startswith("I"):
            return 8
        return sixteen_bit_depth(np.clip(np.asarray(image), 0, 65535))
