"""A real model folder of 40 kB, made in milliseconds: three small members, every file as documented."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper
from safetensors.numpy import save_file

from cxr_core.domain import ABNORMAL, FINDINGS
from cxr_core.imaging.preprocess import Recipe
from cxr_core.inference import manifest as m
from cxr_core.inference.registry import LABELS, NETWORK, WEIGHTS, labels_text, sha256_of
from cxr_core.inference.runtime import self_test_film

ALL = (*FINDINGS, ABNORMAL)
SIDE, STRIDE, MEMBERS, CHANNELS = 64, 8, 3, 24
TYPICAL_LOGIT, SPREAD = -1.5, 1.0
"""Mean and standard deviation of logits over random films: most findings absent, some present."""


def make_tiny_model(
    folder: Path, *, labels: Sequence[str] = ALL, task: str = "", pooling: str = "mean", hidden: int = 0
) -> Path:
    """Write the model folder `folder/tiny` and return its path; `folder` serves as `models_dir`.

    Its answers follow the film (they are random filters' sums, so they mean nothing) and differ
    between members. The same arguments give the same bytes every time.
    """
    made = folder / "tiny"
    made.mkdir(parents=True)
    weights = _weights(len(labels), pooling, hidden)
    (made / NETWORK).write_bytes(_network(weights, tuple(labels), pooling))
    tensors = {f"members.{i}.{key}": member[key] for i, member in enumerate(weights) for key in member}
    heads = {
        f"heads.{key.removeprefix('head.')}": np.stack([member[key] for member in weights])
        for key in weights[0]
        if key.startswith("head.")
    }
    save_file(tensors | heads, made / WEIGHTS, metadata={LABELS: labels_text(labels)})
    (made / "card.md").write_text(
        "# tiny\n\nRandom filters, for tests. Its answers mean nothing.\n", encoding="utf-8"
    )
    task = task or ("binary" if len(labels) == 1 else "multilabel")
    rewrite(made, _manifest(made, tuple(labels), m.Task(task), m.Pooling(pooling), hidden))
    return made


def rewrite(folder: Path, manifest: m.Manifest) -> None:
    """Write the manifest with the SHA-256 that the folder's files have now, its figures bound to them."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != m.MANIFEST)
    manifest.files.clear()
    manifest.files.update({path.relative_to(folder).as_posix(): sha256_of(path) for path in files})
    network = manifest.files.get(NETWORK, "")
    bound = replace(
        manifest,
        calibration=replace(manifest.calibration, network=network),
        thresholds=replace(manifest.thresholds, network=network),
    )
    m.write_manifest(bound, folder / m.MANIFEST)


def random_films(number: int, *, seed: int = 0) -> np.ndarray:
    """Return (number, 1, SIDE, SIDE) float32 films of soft blobs in [-1, 1], none like another."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:SIDE, :SIDE] / SIDE
    films = np.zeros((number, 1, SIDE, SIDE), np.float32)
    for film in films:
        for _ in range(6):
            row, column, width = rng.random(), rng.random(), rng.uniform(0.05, 0.3)
            film[0] += np.exp(-((rows - row) ** 2 + (columns - column) ** 2) / width**2)
        film[0] += 0.05 * rng.standard_normal((SIDE, SIDE))
    low, high = films.min(axis=(2, 3), keepdims=True), films.max(axis=(2, 3), keepdims=True)
    return (2 * (films - low) / (high - low) - 1).astype(np.float32)


def _manifest(
    folder: Path, labels: tuple[str, ...], task: m.Task, pooling: m.Pooling, hidden: int
) -> m.Manifest:
    session = ort.InferenceSession(folder / NETWORK, providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"film": self_test_film(SIDE)})[0][0].mean(axis=0)
    method = m.Method.SOFTMAX if task is m.Task.MULTICLASS else m.Method.PLATT
    return m.Manifest(
        model=m.Model(
            id="tiny", version="0.1.0", task=task, architecture="two convolutions", members=MEMBERS,
            labels=labels, licence="Apache-2.0", created=date(2026, 1, 1),
            summary="Random filters, for tests",
        ),
        input=m.Input("film", 1, SIDE, SIDE, -1.0, 1.0),
        preprocessing=Recipe(film_px=48, network_px=SIDE, low_percentile=0.5, high_percentile=99.5),
        output=m.Output("logits", "features", STRIDE, "heads", pooling, hidden),
        calibration=m.CalibrationTable(method, (1.0,) * len(labels), (0.0,) * len(labels), "nothing"),
        thresholds=m.ThresholdTable("one for all", "none", (0.35,) * len(labels)),
        data=m.Data("none", "https://example.org", "none", "none", {"train": m.SplitSize(0, 0)}),
        self_test=m.SelfTest(tuple(map(float, logits)), 1e-3),
        files={},
        evaluation={"val_mean_auc": 0.5},
    )  # fmt: skip


@cache
def _weights(labels: int, pooling: str, hidden: int) -> tuple[dict[str, np.ndarray], ...]:
    """Return each member's weights; the heads are scaled so that logits over random films spread."""
    rng = np.random.default_rng(7)
    members = []
    for _ in range(MEMBERS):
        member = {
            "conv1.weight": rng.normal(0, 0.25, (12, 1, 5, 5)).astype(np.float32),
            "conv1.bias": rng.normal(0, 0.1, 12).astype(np.float32),
            "conv2.weight": rng.normal(0, 0.15, (CHANNELS, 12, 3, 3)).astype(np.float32),
            "conv2.bias": rng.normal(0, 0.1, CHANNELS).astype(np.float32),
        }
        if hidden:
            member["head.hidden.weight"] = rng.normal(0, 1, (hidden, CHANNELS)).astype(np.float32)
            member["head.hidden.bias"] = rng.normal(0, 0.1, hidden).astype(np.float32)
        member["head.weight"] = rng.normal(0, 1, (labels, hidden or CHANNELS)).astype(np.float32)
        member["head.bias"] = np.zeros(labels, np.float32)
        members.append(member)
    network = _network(tuple(members), (), pooling)
    session = ort.InferenceSession(network, providers=["CPUExecutionProvider"])
    logits = session.run(["logits"], {"film": random_films(64, seed=99)})[0]
    for i, member in enumerate(members):
        scale = SPREAD / logits[:, i].std(axis=0)
        member["head.weight"] = (member["head.weight"] * scale[:, None]).astype(np.float32)
        member["head.bias"] = (TYPICAL_LOGIT - scale * logits[:, i].mean(axis=0)).astype(np.float32)
    return tuple(members)


def _network(members: tuple[dict[str, np.ndarray], ...], labels: tuple[str, ...], pooling: str) -> bytes:
    """Return the ONNX graph: film → two convolutions, pooling, head for each member → stacked."""
    count = len(members[0]["head.bias"])
    nodes, constants = (
        [],
        [numpy_helper.from_array(np.array([1]), "axis"), _scalar("zero", 0), _scalar("six", 6)],
    )
    pool = {"mean": "GlobalAveragePool", "max": "GlobalMaxPool"}[pooling]
    for i, member in enumerate(members):
        constants += [numpy_helper.from_array(value, f"{i}.{key}") for key, value in member.items()]
        nodes += [
            _layer("Conv", f"film {i}.conv1.weight {i}.conv1.bias", f"{i}.a", strides=[4, 4], pads=[2] * 4),
            _layer("Relu", f"{i}.a", f"{i}.b"),
            _layer("Conv", f"{i}.b {i}.conv2.weight {i}.conv2.bias", f"{i}.c", strides=[2, 2], pads=[1] * 4),
            _layer("Clip", f"{i}.c zero six", f"{i}.maps"),
            _layer(pool, f"{i}.maps", f"{i}.pooled"),
            _layer("Flatten", f"{i}.pooled", f"{i}.flat"),
        ]
        last = f"{i}.flat"
        if "head.hidden.weight" in member:
            inner = f"{last} {i}.head.hidden.weight {i}.head.hidden.bias"
            nodes += [_layer("Gemm", inner, f"{i}.inner", transB=1), _layer("Relu", f"{i}.inner", f"{i}.act")]
            last = f"{i}.act"
        nodes += [
            _layer("Gemm", f"{last} {i}.head.weight {i}.head.bias", f"{i}.logits", transB=1),
            _layer("Unsqueeze", f"{i}.logits axis", f"{i}.logits1"),
            _layer("Unsqueeze", f"{i}.maps axis", f"{i}.maps1"),
        ]
    numbers = range(len(members))
    nodes.append(_layer("Concat", " ".join(f"{i}.logits1" for i in numbers), "logits", axis=1))
    nodes.append(_layer("Concat", " ".join(f"{i}.maps1" for i in numbers), "features", axis=1))
    field = SIDE // STRIDE
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["films", *shape])
        for name, shape in (
            ("film", (1, SIDE, SIDE)),
            ("logits", (len(members), count)),
            ("features", (len(members), CHANNELS, field, field)),
        )
    ]
    graph = helper.make_graph(nodes, "tiny", ports[:1], ports[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    if labels:
        helper.set_model_props(model, {LABELS: labels_text(labels)})
    onnx.checker.check_model(model)
    return model.SerializeToString(deterministic=True)


def _layer(kind: str, inputs: str, output: str, **settings: object) -> onnx.NodeProto:
    return helper.make_node(kind, inputs.split(), [output], **settings)


def _scalar(name: str, value: float) -> TensorProto:
    return numpy_helper.from_array(np.array(value, np.float32), name)
