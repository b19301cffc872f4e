"""What an explanation is, its methods in words, and how it is kept; knows nothing of any network."""

from __future__ import annotations

import io
import json
import zlib
from dataclasses import dataclass, field
from enum import StrEnum
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from cxr_core.errors import ModelError

Floats = NDArray[np.float32]

FORM = 1
"""Of a packed explanation; a reader of another form refuses it."""

LARGEST = 1024
"""Fields a side of a map that `unpack` takes."""


_DAMAGED = (ValueError, KeyError, TypeError, OSError, EOFError, NotImplementedError, BadZipFile, zlib.error)
"""What reading damaged bytes as an archive of arrays may raise."""


class Method(StrEnum):
    """How a map is made."""

    GRAD_CAM = "grad_cam"
    GRAD_CAM_PLUS_PLUS = "grad_cam_plus_plus"
    OCCLUSION = "occlusion"
    LIME = "lime"


NAMES = {
    Method.GRAD_CAM: "Grad-CAM",
    Method.GRAD_CAM_PLUS_PLUS: "Grad-CAM++",
    Method.OCCLUSION: "Occlusion",
    Method.LIME: "LIME",
}
"""Method → what people call it."""

MEANS = {
    Method.GRAD_CAM: "the last feature maps, each weighed by how much it raises the finding",
    Method.GRAD_CAM_PLUS_PLUS: "as Grad-CAM, but only maps that raise it count, faint ones fully",
    Method.OCCLUSION: "how much the finding falls when a grey square hides this place",
    Method.LIME: "how much each patch of alike brightness adds, by a linear fit to films with patches hidden",
}
"""Method → what a bright place of its map says."""


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """Where one label's logit came from, by one method.

    Attributes:
        label, method: of which finding, by which method.
        heatmap: (h, w) float32, never below 0, over the whole film; only places of one map compare.
        ms: wall time of the method, the model being loaded.
        films: how many films the network was shown for it.
    """

    label: str
    method: Method
    heatmap: Floats = field(repr=False)
    ms: float
    films: int


def pack(explanation: Explanation) -> bytes:
    """Return the explanation as a compressed npz file: the map as shares of its peak, and what is known."""
    peak = float(explanation.heatmap.max())
    facts = {
        "form": FORM,
        "label": explanation.label,
        "method": explanation.method.value,
        "ms": round(explanation.ms, 2),
        "films": explanation.films,
        "peak": peak,
    }
    shares = (explanation.heatmap / peak if peak > 0 else explanation.heatmap).astype(np.float16)
    told = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    buffer = io.BytesIO()
    np.savez_compressed(buffer, heatmap=shares, facts=told)
    return buffer.getvalue()


def unpack(packed: bytes) -> Explanation:
    """Return what was packed, the map as exactly as float16 shares hold it.

    Raises:
        ModelError: it is no packed explanation, or not whole.
    """
    try:
        with np.load(io.BytesIO(packed), allow_pickle=False) as parts:
            facts, shares = json.loads(parts["facts"].tobytes()), parts["heatmap"]
        if facts["form"] != FORM or shares.ndim != 2 or not 0 < max(shares.shape) <= LARGEST:
            raise ValueError("another form")
        heatmap = shares.astype(np.float32) * np.float32(facts["peak"])
        if not np.isfinite(heatmap).all() or heatmap.min() < 0:
            raise ValueError("no heatmap")
        method, ms, films = Method(facts["method"]), float(facts["ms"]), int(facts["films"])
        return Explanation(str(facts["label"]), method, heatmap, ms, films)
    except _DAMAGED as exc:
        raise ModelError(f"an explanation is not whole ({type(exc).__name__})") from exc
