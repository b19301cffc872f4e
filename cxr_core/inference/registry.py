"""Model folders: which there are, whether each is what its manifest says, and loading one."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from cxr_core.errors import ModelError
from cxr_core.inference import distance
from cxr_core.inference.calibration import Calibration
from cxr_core.inference.heads import Heads
from cxr_core.inference.manifest import MANIFEST, Manifest, read_manifest, write_manifest
from cxr_core.inference.manifest import NETWORK as NETWORK
from cxr_core.inference.manifest import WEIGHTS as WEIGHTS
from cxr_core.inference.runtime import Classifier, check_self_test, open_session
from cxr_core.inference.stripped import ELSEWHERE, NETWORK_FILES, elsewhere, refuse

LABELS = "labels"
"""Key under which network and weights name their labels in their own metadata; see `labels_text`."""

UNSAFE = frozenset({".pkl", ".pickle", ".pt", ".pth", ".bin", ".ckpt", ".joblib", ".npy", ".npz", ".h5"})
"""Endings of files whose readers can run code, or that are none of ours: never in a model folder."""


def list_models(root: Path) -> list[str]:
    """Return the ids of the model folders under `root`, sorted; not yet checked."""
    if not root.is_dir():
        return []
    return sorted(folder.name for folder in root.iterdir() if (folder / MANIFEST).is_file())


def load(folder: Path, *, threads: int = 0) -> Classifier:
    """Return the model of a folder after checking every file of it and its self-test.

    Raises:
        ModelError: a file is missing, unlisted, altered or of a kind that can run code; the network is
            elsewhere; network or weights do not fit the manifest; the self-test answers otherwise.
    """
    manifest = verify(folder)
    refuse(folder)
    if not (manifest.calibration.network and manifest.thresholds.network):
        raise ModelError(
            f"{manifest.id}: calibration and thresholds do not say for which network they were fitted; "
            f"`cxr models figures {manifest.id} --write` binds them to {NETWORK}"
        )
    lines = manifest.calibration
    classifier = Classifier(
        manifest=manifest,
        calibration=Calibration(np.array(lines.slope), np.array(lines.intercept), lines.method),
        heads=_heads(folder / WEIGHTS, manifest),
        session=open_session(folder / NETWORK, threads),
    )
    if manifest.distance is not None:
        width = manifest.model.members * classifier.heads.channels
        classifier = replace(classifier, distance=distance.read(folder, manifest.distance, width))
    _check_ports(classifier)
    _check_labels(folder, classifier)
    check_self_test(classifier)
    return classifier


def verify(folder: Path) -> Manifest:
    """Return the manifest after comparing every file's SHA-256 with it; opens no file as a model.

    Of a folder of figures only, all but the network's files are compared, and their labels (`stripped`).

    Raises:
        ModelError: see `load`.
    """
    manifest = read_manifest(folder)
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    found -= {MANIFEST, ELSEWHERE}
    absent = set(NETWORK_FILES) if elsewhere(folder) else set[str]()
    if unsafe := sorted(name for name in found if Path(name).suffix.lower() in UNSAFE):
        raise ModelError(
            f"{folder.name}: {unsafe[0]} may run code when read; safetensors and ONNX are accepted"
        )
    if unlisted := sorted(found - set(manifest.files)):
        raise ModelError(f"{folder.name}: {unlisted[0]} is not listed in the manifest")
    if missing := sorted({NETWORK, WEIGHTS, *manifest.files} - found - absent):
        raise ModelError(f"{folder.name}: {missing[0]} is missing")
    if unnamed := sorted(absent - set(manifest.files)):
        raise ModelError(f"{folder.name}: the manifest does not say which {unnamed[0]} lies elsewhere")
    for name in sorted(set(manifest.files) - absent):
        expected = manifest.files[name]
        try:
            got = sha256_of(folder / name)
        except OSError as exc:
            raise ModelError(f"{folder.name}: {name} cannot be read ({type(exc).__name__})") from exc
        if got != expected:
            raise ModelError(
                f"{folder.name}: {name} was altered: SHA-256 {got[:12]}…, expected {expected[:12]}…"
            )
    for table, network in (
        ("calibration", manifest.calibration.network),
        ("thresholds", manifest.thresholds.network),
        ("distance", manifest.distance.network if manifest.distance else ""),
    ):
        if network and network != manifest.files[NETWORK]:
            raise ModelError(
                f"{folder.name}: the {table} of another network ({network[:12]}…) than {NETWORK}"
            )
    if absent:
        _compare_labels(manifest, dict(_labels_of_tables(folder, manifest)))
    return manifest


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file of a model folder but the manifest, as the manifest lists them.

    Of a folder of figures only, those of the network are as the manifest there has them.
    """
    files = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    found = {name: sha256_of(folder / name) for name in files if name not in (MANIFEST, ELSEWHERE)}
    if elsewhere(folder):
        listed = read_manifest(folder).files
        found |= {name: listed[name] for name in NETWORK_FILES if name in listed}
    return dict(sorted(found.items()))


def seal(folder: Path, manifest: Manifest) -> None:
    """Write the manifest into its folder with `hashes`; who reads it meanwhile meets the old or the new."""
    whole = replace(manifest, files=hashes(folder))
    with TemporaryDirectory(prefix=".seal-", dir=folder.parent) as space:
        made = Path(space) / "made.toml"  # no model folder, not for a moment
        write_manifest(whole, made)
        made.replace(folder / MANIFEST)


def labels_text(labels: Sequence[str]) -> str:
    """Return the text that stands under `LABELS` in the metadata of a network or of weights."""
    return json.dumps(list(labels))


def _heads(path: Path, manifest: Manifest) -> Heads:
    name = manifest.output.head
    weight, bias = _tensor(path, f"{name}.weight"), _tensor(path, f"{name}.bias")
    if not manifest.output.hidden:
        return Heads(weight, bias, manifest.output.pooling)
    hidden = _tensor(path, f"{name}.hidden.weight"), _tensor(path, f"{name}.hidden.bias")
    return Heads(weight, bias, manifest.output.pooling, *hidden)


def _tensor(path: Path, name: str) -> NDArray[np.float32]:
    try:
        with safe_open(path, framework="numpy") as tensors:
            tensor: NDArray[np.float32] = tensors.get_tensor(name)
    except (SafetensorError, OSError) as exc:
        raise ModelError(f"{path.name}: truncated, no safetensors, or without {name}") from exc
    if tensor.ndim != {"weight": 3, "bias": 2}[name.rpartition(".")[2]] or tensor.dtype != np.float32:
        raise ModelError(
            f"{path.name}: {name} must be float32 members × labels (× channels), got {tensor.shape}"
        )
    if not np.isfinite(tensor).all():
        raise ModelError(f"{path.name}: {name} holds a number that is none")
    return tensor


def _check_ports(classifier: Classifier) -> None:
    """Check names, type and shape of the network's input, and the names of its outputs."""
    manifest, session = classifier.manifest, classifier.session
    took = [(each.name, each.type, each.shape[1:]) for each in session.get_inputs()]
    wanted = manifest.input
    if took != [(wanted.name, "tensor(float)", [wanted.channels, wanted.height, wanted.width])]:
        raise ModelError(f"{manifest.id}: the network takes {took}, the manifest says {wanted}")
    if isinstance(session.get_inputs()[0].shape[0], int):
        raise ModelError(f"{manifest.id}: the network takes batches of one size only; export it for any")
    gives, named = [each.name for each in session.get_outputs()], manifest.output
    if gives != [named.logits, named.features]:
        raise ModelError(f"{manifest.id}: the network gives {gives}, the manifest says {named}")


def _check_labels(folder: Path, classifier: Classifier) -> None:
    """Compare the manifest's labels with every hashed file that names the model's own, in order."""
    manifest = classifier.manifest
    witnesses = dict(_named_labels(folder, classifier))
    if not witnesses:
        raise ModelError(f"{manifest.id}: no file names the labels in order; see docs/models.md, labels")
    _compare_labels(manifest, witnesses)


def _compare_labels(manifest: Manifest, witnesses: dict[str, list[str]]) -> None:
    for witness, labels in witnesses.items():
        if labels != list(manifest.labels):
            raise ModelError(
                f"{manifest.id}: the manifest names other labels, or in another order, than {witness}"
            )


def _named_labels(folder: Path, classifier: Classifier) -> Iterator[tuple[str, list[str]]]:
    with safe_open(folder / WEIGHTS, framework="numpy") as tensors:
        of_weights = tensors.metadata() or {}
    for name, metadata in (
        (NETWORK, classifier.session.get_modelmeta().custom_metadata_map),
        (WEIGHTS, of_weights),
    ):
        if LABELS in metadata:
            try:
                yield name, json.loads(metadata[LABELS])
            except ValueError as exc:
                raise ModelError(f"{folder.name}: {name} names its labels in another form than JSON") from exc
    yield from _labels_of_tables(folder, classifier.manifest)


def _labels_of_tables(folder: Path, manifest: Manifest) -> Iterator[tuple[str, list[str]]]:
    for name in manifest.files:
        if name.startswith("evaluation/predictions-") and name.endswith(".csv"):
            with (folder / name).open(encoding="utf-8", newline="") as file:
                yield name, next(csv.reader(file), [])[1:]
