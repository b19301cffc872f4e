"""A model in ONNX Runtime: films in, logits and feature maps out, predictions from logits."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from cxr_core.domain import ABNORMAL, Prediction
from cxr_core.errors import ModelError
from cxr_core.inference.calibration import Calibration
from cxr_core.inference.distance import Distance
from cxr_core.inference.heads import Heads
from cxr_core.inference.manifest import Manifest

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Output:
    """What the network answers.

    Attributes:
        logits: (N, M, L) float32, of each member.
        features: (N, M, C, h, w) float32, of each member's last convolution.
    """

    logits: Floats
    features: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Classifier:
    """A loaded and checked model.

    Attributes:
        manifest: what the model says of itself.
        calibration: from logits to probabilities.
        heads: from feature maps to logits, for heatmaps.
        session: ONNX Runtime session; safe to call from several threads.
        distance: what tells films that the model has not seen the like of, or None: it was not measured.
    """

    manifest: Manifest
    calibration: Calibration
    heads: Heads = field(repr=False)
    session: ort.InferenceSession = field(repr=False)
    distance: Distance | None = field(default=None, repr=False)

    def run(self, films: Floats) -> Output:
        """Return logits and feature maps of films (N, 1, S, S) float32.

        Raises:
            ModelError: the films are not finite float32 of the network's input shape, or the network fails.
        """
        wanted = (self.manifest.input.channels, self.manifest.input.height, self.manifest.input.width)
        if films.ndim != 4 or films.shape[1:] != wanted or films.dtype != np.float32 or not len(films):
            raise ModelError(
                f"{self.manifest.id}: expected float32 films × {wanted}, got {films.dtype} {films.shape}"
            )
        # ReLU6 may turn a NaN into a number: an answer would come out that nothing stands behind.
        if not np.isfinite(films).all():
            raise ModelError(f"{self.manifest.id}: a film holds a number that is none")
        names = [self.manifest.output.logits, self.manifest.output.features]
        try:
            logits, features = self.session.run(names, {self.manifest.input.name: films})
        except Exception as exc:  # ONNX Runtime's errors share no base but Exception
            raise ModelError(f"{self.manifest.id}: the network failed ({type(exc).__name__})") from exc
        return Output(logits, features)

    def predictions(self, logits: Floats) -> tuple[tuple[Prediction, ...], Prediction | None]:
        """Return the findings in manifest order, and `abnormal` if the model has it.

        A finding's logit is the mean over the members; each member's probability comes from its own. Each
        is compared with its own threshold, whatever the task: no label wins by being the largest. A label
        whose threshold cannot be reached (see `ThresholdTable`) is not assessed and left out.

        Args:
            logits: (M, L) of one film.

        Raises:
            ModelError: a logit is not finite, or there are more or fewer than the model has.
        """
        if logits.shape != (self.manifest.model.members, len(self.manifest.labels)):
            raise ModelError(f"{self.manifest.id}: expected logits members × labels, got {logits.shape}")
        if not np.isfinite(logits).all():
            raise ModelError(f"{self.manifest.id}: the network answered with a number that is none")
        mean = np.asarray(logits, np.float64).mean(axis=0)
        probability = self.calibration.probability(mean)
        members = self.calibration.probability(logits)
        made = [
            Prediction(
                label, float(mean[k]), float(probability[k]), threshold, tuple(map(float, members[:, k]))
            )
            for k, (label, threshold) in enumerate(
                zip(self.manifest.labels, self.manifest.thresholds.values, strict=True)
            )
            if threshold <= 1.0
        ]
        findings = tuple(prediction for prediction in made if prediction.label != ABNORMAL)
        return findings, next((p for p in made if p.label == ABNORMAL), None)


def open_session(path: Path, threads: int) -> ort.InferenceSession:
    """Return an ONNX Runtime session on the CPU; `threads` 0 leaves the number to it.

    Raises:
        ModelError: the file is not a model that ONNX Runtime reads.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # ONNX Runtime's errors share no base but Exception
        raise ModelError(f"{path.name}: ONNX Runtime cannot read it ({type(exc).__name__})") from exc


def self_test_film(side: int) -> Floats:
    """Return the (1, 1, side, side) float32 pattern whose logits the manifest holds.

    sin(row / 7) * cos(column / 5), computed in float64.
    """
    steps = np.arange(side, dtype=np.float64)
    film = np.sin(steps / 7)[:, None] * np.cos(steps / 5)[None, :]
    return film.astype(np.float32)[None, None]


def check_self_test(classifier: Classifier) -> None:
    """Run the self-test pattern and compare with the manifest and with the heads of the weights.

    Args:
        classifier: still to be trusted.

    Raises:
        ModelError: shapes or logits differ, or the heads do not make the logits from the features, so
            that heatmaps would explain another network.
    """
    manifest, heads, test = classifier.manifest, classifier.heads, classifier.manifest.self_test
    members, labels, width = heads.weight.shape
    hidden = 0 if heads.hidden_weight is None else width
    expected = (manifest.model.members, len(manifest.labels), manifest.output.hidden)
    if (members, labels, hidden) != expected or not heads.sound:
        raise ModelError(
            f"{manifest.id}: expected heads of {manifest.model.members} members × {len(manifest.labels)} "
            f"labels, {manifest.output.hidden} hidden, got {members} × {labels}, {hidden} hidden, "
            f"bias {heads.bias.shape}"
        )
    output = classifier.run(self_test_film(manifest.input.height))
    field = manifest.input.height // manifest.output.stride_px
    wanted = (1, members, labels), (1, members, heads.channels, field, field)
    if (output.logits.shape, output.features.shape) != wanted:
        raise ModelError(
            f"{manifest.id}: expected logits and features {wanted}, "
            f"got {output.logits.shape}, {output.features.shape}"
        )
    _compare(manifest, "logits", output.logits[0].mean(axis=0), np.array(test.logits))
    _compare(manifest, "logits from the heads", heads.logits(output.features[0]), output.logits[0])


def _compare(manifest: Manifest, what: str, got: Floats, wanted: NDArray[np.floating]) -> None:
    worst, allowed = float(np.abs(got - wanted).max()), manifest.self_test.tolerance
    if not worst <= allowed:
        raise ModelError(
            f"{manifest.id}: self-test {what} differ by {worst:.4g}, allowed {allowed:g}; "
            "labels swapped or weights changed"
        )
