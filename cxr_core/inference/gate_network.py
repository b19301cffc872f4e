"""The gate's network: what a picture shows and how it hangs, before any model sees it (docs/gate.md)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from scipy.special import expit, softmax

from cxr_core.errors import ModelError
from cxr_core.imaging.gate import ANSWERS, INPUT, Kind, Look
from cxr_core.inference.gate_manifest import NETWORK, GateManifest, read
from cxr_core.inference.runtime import open_session, self_test_film

_KINDS = len(Kind)


@dataclass(frozen=True, slots=True, eq=False)
class GateNetwork:
    """The gate ready to look."""

    manifest: GateManifest
    session: ort.InferenceSession = field(repr=False)

    def look(self, pictures: NDArray[np.float32]) -> list[Look]:
        """Return what is seen on each of (N, 1, 64, 64) pictures in [-1, 1].

        Raises:
            ModelError: a logit is not finite.
        """
        return looks(self.logits(pictures))

    def logits(self, pictures: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return (N, 11) logits."""
        (logits,) = self.session.run(["logits"], {"picture": pictures})
        said: NDArray[np.float32] = np.asarray(logits, np.float32)
        if said.shape != (len(pictures), ANSWERS) or not np.isfinite(said).all():
            raise ModelError("the gate's network answered with something that is no answer")
        return said


def looks(logits: NDArray[np.float32]) -> list[Look]:
    """Return what (N, 11) logits say."""
    kinds = softmax(logits[:, :_KINDS], axis=1)
    turns = softmax(logits[:, _KINDS : _KINDS + 4], axis=1)
    flags = expit(logits[:, _KINDS + 4 :])
    return [
        Look(tuple(map(float, kinds[k])), tuple(map(float, turns[k])), *map(float, flags[k]))
        for k in range(len(logits))
    ]


def load(folder: Path, *, threads: int = 0) -> GateNetwork:
    """Return the gate of a folder after checking its files and its self-test.

    Raises:
        ModelError: a file is missing or altered, or the network answers otherwise than the manifest says.
    """
    manifest = read(folder)
    for name, expected in manifest.files.items():
        try:
            got = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        except OSError as exc:
            raise ModelError(f"{folder.name}: {name} cannot be read ({type(exc).__name__})") from exc
        if got != expected:
            raise ModelError(f"{folder.name}: {name} was altered")
    network = GateNetwork(manifest, open_session(folder / NETWORK, threads or 1))
    test = manifest.self_test
    got_logits = network.logits(self_test_film(INPUT.network_px))[0]
    if (
        len(test.logits) != ANSWERS
        or float(np.abs(got_logits - np.array(test.logits)).max()) > test.tolerance
    ):
        raise ModelError(f"{folder.name}: the self-test's answers differ; the network was changed")
    return network
