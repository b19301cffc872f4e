"""PNG and JPEG as their pixels alone: decoded, turned as EXIF says, and written anew without loss."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cxr_core.imaging.annotations import TextBox
from cxr_core.imaging.quiet import quiet
from cxr_core.imaging.raster import orientation, sixteen_bit_depth

_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_KEPT = ("L", "LA", "RGB", "RGBA")


def bare(raw: bytes, kind: str, boxes: Sequence[TextBox]) -> bytes:
    """Return a PNG of the same pixels, upright, with the boxes black.

    Args:
        raw: a file that `raster.decode_raster` has decoded.
        kind: "PNG" or "JPEG".
        boxes: in pixels of the upright film.
    """
    with quiet(), Image.open(BytesIO(raw), formats=(kind,)) as image:
        image.load()
        turn = _TURNS.get(orientation(image, []))
        upright = image if turn is None else image.transpose(turn)
        pixels = _pixels(upright)
    depth = sixteen_bit_depth(pixels) if pixels.dtype == np.uint16 else 0
    for box in boxes:
        pixels[box.top : box.bottom, box.left : box.right] = 0
    if depth and boxes and sixteen_bit_depth(pixels) != depth:
        pixels[boxes[0].top, boxes[0].left] = 2**depth - 1  # the brightest pixel tells how many bits are used
    out = BytesIO()
    Image.fromarray(pixels).save(out, format="PNG")
    return out.getvalue()


def _pixels(image: Image.Image) -> NDArray[np.unsignedinteger]:
    """Return the pixels in a form that PNG can hold and that decodes to the same film."""
    if image.mode.startswith("I"):
        words: NDArray[np.uint16] = np.clip(np.asarray(image), 0, 65535).astype(np.uint16)
        return words
    if image.mode == "P":
        image = image.convert("RGBA" if "transparency" in image.info else "RGB")
    pixels: NDArray[np.uint8] = np.array(image if image.mode in _KEPT else image.convert("L"))
    return pixels
