"""Four ways to ask a model where it looked; all explain the mean of the members' logits of one label.

Two read the feature maps of one forward pass, two show the network the film with parts of it hidden. All
go forward through ONNX Runtime only, so they explain the very network that answered.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from enum import StrEnum
from time import perf_counter
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from cxr_core.errors import ModelError
from cxr_core.inference import explain
from cxr_core.inference.heads import Heads, Pooling
from cxr_core.inference.runtime import Classifier

Floats = NDArray[np.float32]

FORM = 1
"""Of a packed explanation; a reader of another form refuses it."""

LARGEST = 1024
"""Fields a side of a map that `unpack` takes."""


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


class Asked:
    """A label's logit as a function of films, the members' mean; counts the films.

    Attributes:
        films: shown to the network so far.
    """

    def __init__(self, classifier: Classifier, label: str) -> None:
        """Ask nothing yet."""
        self._classifier, self._place = classifier, place_of(classifier, label)
        self.films = 0

    def __call__(self, films: Floats) -> Floats:
        """Return (N,) float32 logits of films (N, 1, S, S)."""
        self.films += len(films)
        logits: Floats = self._classifier.run(films).logits[:, :, self._place].mean(axis=1)
        return logits


def place_of(classifier: Classifier, label: str) -> int:
    """Return the label's place among the model's.

    Raises:
        ModelError: the model does not know it.
    """
    labels = classifier.manifest.labels
    if label not in labels:
        raise ModelError(f"{classifier.manifest.id} knows no {label!r}; it knows {', '.join(labels)}")
    return labels.index(label)


def explained(classifier: Classifier, film: Floats, label: str, method: Method) -> Explanation:
    """Return what a method says; the same for the same arguments, but for the time.

    Args:
        classifier: whose answer is explained.
        film: (1, S, S) float32 as preprocessing makes it.
        label: of the model.
        method: by which.

    Raises:
        ModelError: the model does not know the label, or answers with a number that is none.
    """
    if method in (Method.OCCLUSION, Method.LIME):
        from cxr_core.inference import explainers_torch  # not before somebody waits for it
    begun = perf_counter()
    place, asked = place_of(classifier, label), Asked(classifier, label)
    if method is Method.OCCLUSION:
        heatmap = explainers_torch.occlusion(asked, film)
    elif method is Method.LIME:
        heatmap = explainers_torch.lime(asked, film)
    else:
        features, asked.films = classifier.run(film[None]).features[0], 1
        plain = method is Method.GRAD_CAM
        maps = (
            explain.heatmaps(features, classifier.heads) if plain else plus_plus(features, classifier.heads)
        )
        heatmap = maps[place]
    ms = (perf_counter() - begun) * 1e3
    if not np.isfinite(heatmap).all():
        raise ModelError(f"{classifier.manifest.id}: {NAMES[method]} came to a number that is none")
    return Explanation(label, method, np.maximum(heatmap, 0.0, dtype=np.float32), ms, asked.films)


def plus_plus(features: Floats, heads: Heads) -> Floats:
    """Return (L, h, w) float32 maps of Grad-CAM++, in closed form like `explain.heatmaps`.

    The weight of a map A is the sum over its fields of α · ReLU(g), with g the logit's gradient by the
    field and α = g² / (2 g² + ΣA · g³). Where g is not 0 that is ReLU(g) / (2 + ΣA · g). A head of mean
    pooling has g = s / (h · w) in every field, one of max pooling g = s in one field, with s the logit's
    slope by the pooled map; both give ReLU(s) / (2 + P · s), with P the mean of A, or its sum.

    Args:
        features: (M, C, h, w) of one film; what is below 0 counts as 0 in P, as after a ReLU.
        heads: of the network that made them.

    Source: Chattopadhay 2018 (Grad-CAM++), equations 10 and 19, with pytorch-grad-cam's use of the logit.
    """
    slopes = np.maximum(heads.slopes(features), 0.0)
    positive = np.maximum(features, 0.0)
    mass = positive.sum(axis=(2, 3)) if heads.pooling is Pooling.MAX else positive.mean(axis=(2, 3))
    weights = slopes / (2.0 + mass[:, None] * slopes)
    maps: Floats = np.einsum("mlc,mchw->lhw", weights, features, optimize=True) / np.float32(len(features))
    return np.maximum(maps, 0.0)


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
    except (ValueError, KeyError, TypeError, OSError, EOFError, BadZipFile) as exc:
        raise ModelError(f"an explanation is not whole ({type(exc).__name__})") from exc
