"""Four ways to ask a model where it looked; all explain the mean of the members' logits of one label.

Two read the feature maps of one forward pass, two show the network the film with parts of it hidden. All
go forward through ONNX Runtime only, so they explain the very network that answered.
"""

from __future__ import annotations

from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from cxr_core.errors import ModelError
from cxr_core.inference import explain
from cxr_core.inference.explanation import NAMES, Explanation, Method
from cxr_core.inference.heads import Heads, Pooling
from cxr_core.inference.runtime import Classifier

Floats = NDArray[np.float32]


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
