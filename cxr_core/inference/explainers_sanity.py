"""Whether a map has anything to do with what the network learned: with random weights it must change.

A map that stays shows edges of the film, not where the model looked. Source: Adebayo 2018, Sanity Checks for
Saliency Maps, model parameter randomisation test.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper
from scipy.ndimage import gaussian_filter
from scipy.stats import spearmanr

from cxr_core.errors import ModelError
from cxr_core.imaging.overlay import FIELD_PX, field_of
from cxr_core.inference.explainers import explained
from cxr_core.inference.explanation import Explanation, Method
from cxr_core.inference.heads import Heads
from cxr_core.inference.manifest import NETWORK
from cxr_core.inference.runtime import Classifier, Output, open_session, self_test_film

Floats = NDArray[np.float32]

ALIKE = 0.5
"""Mean rank correlation from which the map of a random network counts as the same map."""

WEIGHTS = {
    "Conv": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (0, 1),
    "Add": (0, 1),
    "LayerNormalization": (1, 2),
    "BatchNormalization": (1, 2, 3, 4),
}
"""Operator → inputs that are learned, or measured while learning. Whatever else a graph holds (bounds, steps,
shapes, angles of positions) is how the network works, not what it learned."""

VARIANCE = "BatchNormalization", 4


@dataclass(frozen=True, slots=True)
class Sanity:
    """How much of a map is left with random weights, in the mean over several.

    Attributes:
        correlation: Spearman's, of the fields of both maps; 0 where a random network's map is flat.
        similarity: structural similarity (SSIM) of both maps as they are drawn, divided by their peaks.
        networks: random networks compared with.
    """

    correlation: float
    similarity: float
    networks: int

    @property
    def changed(self) -> bool:
        """Whether the map rests on the weights."""
        return self.correlation < ALIKE


def check(
    classifier: Classifier, folder: Path, film: Floats, true: Explanation, *, networks: int = 3
) -> Sanity | None:
    """Return how a map compares with those of random networks, or None where the map itself is flat.

    Args:
        classifier: made the map.
        folder: where it was loaded from.
        film: (1, S, S) that was explained.
        true: the map.
        networks: random ones to compare with.

    Raises:
        ModelError: as `randomised`, or a random network answers the film with a number that is none.
    """
    if np.ptp(true.heatmap) == 0:
        return None
    others = []
    for seed in range(networks):
        random = randomised(classifier, folder, seed=seed)
        _finite(random, film[None])
        others.append(_map(random, film, true.label, true.method))
    correlations = [correlation(true.heatmap, other) for other in others]
    similarities = [similarity(true.heatmap, other) for other in others]
    return Sanity(float(np.mean(correlations)), float(np.mean(similarities)), networks)


def randomised(classifier: Classifier, folder: Path, *, seed: int) -> Classifier:
    """Return the classifier with its weights in another order and of random sign, heads included.

    So every layer keeps the size of its weights, but nothing learned is left. With their signs kept, heads
    that learned mostly negative weights would leave every map flat, which says nothing about the method.
    Variances are only put in another order: below 0 they have no square root.

    Raises:
        ModelError: the network cannot be read, holds no weights, does not hold its heads as the weights file
            has them, or with random weights answers with a number that is none.
    """
    rng = np.random.default_rng(seed)
    network = onnx.load(folder / NETWORK)
    heads = {each.name: getattr(classifier.heads, each.name) for each in fields(Heads)}
    heads = {name: value.copy() for name, value in heads.items() if isinstance(value, np.ndarray)}
    signed = weights_of(network.graph)
    if not signed:
        raise ModelError(f"{classifier.manifest.id}: the network holds no weights where they are looked for")
    for tensor in network.graph.initializer:
        if tensor.name not in signed:
            continue
        values = numpy_helper.to_array(tensor)
        signs = rng.choice(np.array([-1, 1], np.float32), values.size) if signed[tensor.name] else 1
        shuffled = (rng.permutation(values.ravel()) * signs).reshape(values.shape)
        _follow(heads, classifier.heads, values, shuffled)
        tensor.CopyFrom(numpy_helper.from_array(shuffled, tensor.name))
    with TemporaryDirectory() as place:
        onnx.save(network, Path(place) / NETWORK)
        session = open_session(Path(place) / NETWORK, 0)
    other = replace(classifier, session=session, heads=replace(classifier.heads, **heads))
    answer = _finite(other, self_test_film(classifier.manifest.input.height))
    if not np.allclose(other.heads.logits(answer.features[0]), answer.logits[0], rtol=1e-3, atol=1e-3):
        raise ModelError(f"{classifier.manifest.id}: the network holds its heads in a form of its own")
    return other


def weights_of(graph: onnx.GraphProto) -> dict[str, bool]:
    """Return the float32 tensors that are weights by name, and whether each may change its sign.

    What an operator takes says what a tensor is, see `WEIGHTS`; a table that is added is no bias but says
    where a patch lies. An exporter keeps equal tensors once: what is a variance anywhere keeps its sign. One
    number alone has no other order and is left out.
    """
    held = {each.name: each for each in graph.initializer if each.data_type == onnx.TensorProto.FLOAT}
    signed: dict[str, bool] = {}
    for node in graph.node:
        for place, name in enumerate(node.input):
            if name not in held or place not in WEIGHTS.get(node.op_type, ()):
                continue
            shape = tuple(held[name].dims)
            if prod(shape) > 1 and not (node.op_type == "Add" and len(shape) > 1):
                signed[name] = signed.get(name, True) and (node.op_type, place) != VARIANCE
    return signed


def drawn(heatmap: Floats) -> Floats:
    """Return a map as it is drawn, at one size for all methods; zeros where nothing is."""
    field = field_of(heatmap)
    return np.zeros((FIELD_PX, FIELD_PX), np.float32) if field is None else field


def correlation(one: Floats, other: Floats) -> float:
    """Return Spearman's rank correlation of two maps' fields; 0 where one of them is flat."""
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        return 0.0
    return float(spearmanr(one.ravel(), other.ravel()).statistic)


def similarity(one: Floats, other: Floats) -> float:
    """Return the structural similarity of two maps as they are drawn, 1 for the same; 0 where one is blank.

    Source: Wang 2004, with its Gaussian window (1.5 px), in the drawn maps' [0, 1].
    """
    x, y = (np.asarray(drawn(each), np.float64) for each in (one, other))
    if not x.any() or not y.any():
        return 0.0
    mean_x, mean_y = _blurred(x), _blurred(y)
    spread_x, spread_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    together = _blurred(x * y) - mean_x * mean_y
    small, smaller = 0.01**2, 0.03**2
    alike = (2 * mean_x * mean_y + small) * (2 * together + smaller)
    return float((alike / ((mean_x**2 + mean_y**2 + small) * (spread_x + spread_y + smaller))).mean())


def _blurred(field: NDArray[np.float64]) -> NDArray[np.float64]:
    blurred: NDArray[np.float64] = gaussian_filter(field, sigma=1.5, truncate=3.5)
    return blurred


def _finite(classifier: Classifier, films: Floats) -> Output:
    """Return what a random network answers; raises ModelError where that is no number."""
    answer = classifier.run(films)
    if not (np.isfinite(answer.logits).all() and np.isfinite(answer.features).all()):
        raise ModelError(
            f"{classifier.manifest.id}: with random weights it answers with a number that is none, "
            "so there is nothing to compare its maps with"
        )
    return answer


def _map(classifier: Classifier, film: Floats, label: str, method: Method) -> Floats:
    return explained(classifier, film, label, method).heatmap


def _follow(heads: dict[str, Floats], learned: Heads, values: Floats, shuffled: Floats) -> None:
    """Put the shuffled values where a member's head holds these ones, also if the network turned them."""
    for name, into in heads.items():
        for member, held in enumerate(getattr(learned, name)):
            if held.shape == values.shape and np.array_equal(held, values):
                into[member] = shuffled
            elif held.ndim == 2 and held.T.shape == values.shape and np.array_equal(held.T, values):
                into[member] = shuffled.T
