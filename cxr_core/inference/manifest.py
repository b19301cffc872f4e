"""What a model folder says of itself: `manifest.toml`, read strictly. Explained in docs/models.md."""

from __future__ import annotations

import math
import re
import tomllib
from dataclasses import asdict, dataclass, field
from datetime import date
from enum import StrEnum
from pathlib import Path

from cxr_core.domain import ABNORMAL, FINDINGS
from cxr_core.errors import ModelError
from cxr_core.imaging.preprocess import Recipe
from cxr_core.inference.calibration import Method
from cxr_core.inference.heads import Pooling
from cxr_core.strict import build, table_lines

MANIFEST = "manifest.toml"
NETWORK, WEIGHTS = "model.onnx", "weights.safetensors"
DISTANCE = "distance.safetensors"
"""What the features of films that count as seen look like; see `distance`."""
ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._-]{0,59}")
"""What a model's id looks like: it names a folder, stands in every result and on every page."""
LOOSEST = 0.01
"""Largest self-test tolerance in logits; more would let changed weights through."""


class Task(StrEnum):
    """What the labels are to one another."""

    BINARY = "binary"
    """One label, present or not."""
    MULTILABEL = "multilabel"
    """Each label by itself; any number of them may be present."""
    MULTICLASS = "multiclass"
    """Exactly one of the labels is present, so their probabilities sum to 1."""


@dataclass(frozen=True, slots=True)
class Model:
    """Which model this is; `labels` in the order of the network's output."""

    id: str
    version: str
    task: Task
    architecture: str
    members: int
    labels: tuple[str, ...]
    licence: str
    created: date
    summary: str


@dataclass(frozen=True, slots=True)
class Input:
    """The network's input: (N, channels, height, width) float32 in [low, high]."""

    name: str
    channels: int
    height: int
    width: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Output:
    """Names of the outputs, and which tensors of the weights make the heads; `hidden` 0 is no such layer."""

    logits: str
    features: str
    stride_px: int
    head: str
    pooling: Pooling = Pooling.MEAN
    hidden: int = 0


@dataclass(frozen=True, slots=True)
class CalibrationTable:
    """probability = sigmoid or softmax of (slope * logit + intercept), one pair a label.

    `network` is the SHA-256 of the network whose logits the lines were fitted to.
    """

    method: Method
    slope: tuple[float, ...]
    intercept: tuple[float, ...]
    fitted_on: str
    network: str = ""


@dataclass(frozen=True, slots=True)
class ThresholdTable:
    """Operating points on calibrated probabilities, and how they were chosen.

    A value above 1 cannot be reached: that label is not assessed. `network` is the SHA-256 of the network
    that they were chosen for.
    """

    rule: str
    budget_policy: str
    values: tuple[float, ...]
    few_positives: tuple[str, ...] = ()
    network: str = ""


@dataclass(frozen=True, slots=True)
class SplitSize:
    """How much data one split held."""

    films: int
    patients: int


@dataclass(frozen=True, slots=True)
class Data:
    """What the model learned from.

    `known_within` names for a label the only source of films in which it is known; elsewhere it is neither
    present nor absent.
    """

    name: str
    url: str
    attribution: str
    licence: str
    split: dict[str, SplitSize]
    known_within: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Mean logits over the members for the input sin(row / 7) * cos(column / 5)."""

    logits: tuple[float, ...]
    tolerance: float


@dataclass(frozen=True, slots=True)
class DistanceTable:
    """When a film is unlike what the model has seen: by the distance of its features to the nearest group.

    `components` are the axes of each group. A film beyond `warn` is sent to a person, one beyond `refuse` is
    not answered. `network` is the SHA-256 of the network whose features they are.
    """

    method: str
    components: tuple[int, ...]
    groups: tuple[str, ...]
    warn: float
    refuse: float
    fitted_on: str
    network: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """The whole of `manifest.toml`."""

    model: Model
    input: Input
    preprocessing: Recipe
    output: Output
    calibration: CalibrationTable
    thresholds: ThresholdTable
    data: Data
    self_test: SelfTest
    files: dict[str, str]
    evaluation: dict[str, float]
    distance: DistanceTable | None = None

    @property
    def id(self) -> str:
        """Folder name and id."""
        return self.model.id

    @property
    def version(self) -> str:
        """Version of the weights, calibration and thresholds together."""
        return self.model.version

    @property
    def labels(self) -> tuple[str, ...]:
        """Labels in the order of the network's output."""
        return self.model.labels

    @property
    def recipe(self) -> Recipe:
        """How a film becomes a network input."""
        return self.preprocessing


def read_manifest(folder: Path) -> Manifest:
    """Return the checked manifest of a model folder.

    Raises:
        ModelError: missing, not TOML, a key unknown or missing, or figures that contradict each other.
    """
    path = folder / MANIFEST
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as exc:
        raise ModelError(f"{folder.name}: no {MANIFEST} in the model folder") from exc
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ModelError(f"{folder.name}/{MANIFEST}: expected a readable TOML file ({exc})") from exc
    manifest = build(Manifest, document, f"{folder.name}/{MANIFEST}", ModelError)
    _check(manifest, folder.name)
    return manifest


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write `manifest.toml` in the form that `read_manifest` reads; equal manifests give equal bytes."""
    lines: list[str] = []
    for name, table in asdict(manifest).items():
        lines += [] if table is None else table_lines(name, table)
    path.write_text("\n".join(lines).lstrip("\n") + "\n", encoding="utf-8")


def _check(manifest: Manifest, folder: str) -> None:
    """Refuse figures that contradict each other."""
    _check_model(manifest, folder)
    _check_input(manifest, folder)
    _check_figures(manifest, folder)
    for name, sha256 in manifest.files.items():
        if not re.fullmatch(r"[0-9a-f]{64}", sha256) or ".." in Path(name).parts or Path(name).is_absolute():
            raise ModelError(f"{folder}: files: {name!r} must be a path in the folder with its SHA-256")


def _check_model(manifest: Manifest, folder: str) -> None:
    labels = manifest.labels
    if manifest.id != folder:
        raise ModelError(f"{folder}: the manifest is of the model {manifest.id}")
    if not ID.fullmatch(manifest.id):
        raise ModelError(
            f"{folder}: an id has up to 60 letters, digits and . _ -, and begins with a letter or a digit"
        )
    known = (*FINDINGS, ABNORMAL)
    wrong = [label for label in labels if label not in known]
    if wrong or len(set(labels)) < len(labels) or not labels:
        raise ModelError(
            f"{folder}: labels must be distinct and among {', '.join(known)}; got {wrong or labels}"
        )
    task = manifest.model.task
    if (task is Task.BINARY) != (len(labels) == 1) or task is Task.MULTICLASS and ABNORMAL in labels:
        raise ModelError(
            f"{folder}: binary has one label, multilabel several, multiclass several findings; "
            f"got {task} of {len(labels)}{' with abnormal' if ABNORMAL in labels else ''}"
        )
    if not re.fullmatch(r"[0-9A-Za-z.+_-]{1,40}", manifest.model.version):
        raise ModelError(f"{folder}: version holds up to 40 letters, digits and . + _ - only")
    if manifest.model.members < 1:
        raise ModelError(f"{folder}: a model has at least one member, got {manifest.model.members}")


def _check_input(manifest: Manifest, folder: str) -> None:
    seen, recipe = manifest.input, manifest.recipe
    if not recipe.network_px == seen.height == seen.width:
        raise ModelError(
            f"{folder}: preprocessing makes {recipe.network_px} px, the input is {seen.height} × {seen.width}"
        )
    if (seen.channels, seen.low, seen.high) != (1, -1.0, 1.0):
        raise ModelError(f"{folder}: preprocessing makes one channel in [-1, 1], the input is another")
    if recipe.film_px < 1 or not 0 <= recipe.low_percentile < recipe.high_percentile <= 100:
        raise ModelError(
            f"{folder}: preprocessing must have film_px >= 1 and 0 <= low < high percentile <= 100"
        )
    if manifest.output.hidden < 0:
        raise ModelError(f"{folder}: output.hidden must be 0 or the width of the hidden layer")
    if manifest.output.stride_px < 1 or seen.height % manifest.output.stride_px:
        raise ModelError(f"{folder}: output.stride_px must divide the input's {seen.height} px")


def _check_figures(manifest: Manifest, folder: str) -> None:
    labels = manifest.labels
    for what, values in (
        ("calibration.slope", manifest.calibration.slope),
        ("calibration.intercept", manifest.calibration.intercept),
        ("thresholds.values", manifest.thresholds.values),
        ("self_test.logits", manifest.self_test.logits),
    ):
        if len(values) != len(labels) or not all(math.isfinite(value) for value in values):
            raise ModelError(f"{folder}: {what} must hold {len(labels)} finite numbers, got {len(values)}")
    calibration = manifest.calibration
    if min(calibration.slope) <= 0:
        raise ModelError(f"{folder}: calibration must have slopes above 0")
    if (calibration.method is Method.SOFTMAX) != (manifest.model.task is Task.MULTICLASS):
        raise ModelError(f"{folder}: calibration is softmax for multiclass models and for no others")
    if calibration.method is Method.SOFTMAX and len(set(calibration.slope)) > 1:
        raise ModelError(f"{folder}: calibration by softmax has one slope, the same for all labels")
    if not all(0 < value <= 1.01 for value in manifest.thresholds.values):
        raise ModelError(f"{folder}: thresholds must lie above 0 and at most at 1")
    if (far := manifest.distance) is not None:
        if not 0 < far.warn <= far.refuse < math.inf or not 0 < len(far.groups) == len(far.components):
            raise ModelError(f"{folder}: distance must have groups, their axes and 0 < warn <= refuse")
        if DISTANCE not in manifest.files:
            raise ModelError(f"{folder}: distance without {DISTANCE}")
    if not 0 < manifest.self_test.tolerance <= LOOSEST:
        raise ModelError(f"{folder}: self_test.tolerance must lie above 0 and at most at {LOOSEST}")
