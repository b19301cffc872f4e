"""What the folder of the gate says of itself: `gate.toml`, read strictly; its network is not opened."""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import asdict, dataclass
from datetime import date
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path

from cxr_core.errors import ModelError
from cxr_core.imaging.gate import LookLimits
from cxr_core.strict import build

GATE, NETWORK, WEIGHTS = "gate.toml", "gate.onnx", "weights.safetensors"


@dataclass(frozen=True, slots=True)
class About:
    """Which gate this is, and what it learned from."""

    version: str
    created: date
    licence: str
    summary: str
    data: str


@dataclass(frozen=True, slots=True)
class SelfTest:
    """Logits for the input sin(row / 7) * cos(column / 5)."""

    logits: tuple[float, ...]
    tolerance: float


@dataclass(frozen=True)
class GateManifest:
    """The whole of `gate.toml`."""

    gate: About
    limits: LookLimits
    self_test: SelfTest
    files: dict[str, str]

    @cached_property
    def name(self) -> str:
        """The gate as results name it: `1.0.0+82c0f0f5`, another for every network and every limit.

        Behind the version stand the first digits of the SHA-256 of what decides, as JSON: the hash of the
        network, then the limits by name.
        """
        decides = json.dumps([self.files[NETWORK], asdict(self.limits)], sort_keys=True)
        return f"{self.gate.version}+{sha256(decides.encode()).hexdigest()[:8]}"


def read(folder: Path) -> GateManifest:
    """Return `gate.toml` of a folder.

    Raises:
        ModelError: missing, not TOML, a key unknown or missing, or a file of the gate not listed.
    """
    where = f"{folder.name}/{GATE}"
    try:
        return _parsed(where, (folder / GATE).read_bytes())
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as exc:
        raise ModelError(f"{where}: expected a readable TOML file ({exc})") from exc


@lru_cache(maxsize=4)
def _parsed(where: str, body: bytes) -> GateManifest:
    manifest = build(GateManifest, tomllib.loads(body.decode()), where, ModelError)
    for name in (NETWORK, WEIGHTS):
        if name not in manifest.files:
            raise ModelError(f"{where}: does not list {name}")
    if not re.fullmatch(r"[0-9A-Za-z.+_-]{1,40}", manifest.gate.version):
        raise ModelError(f"{where}: version holds up to 40 letters, digits and . + _ - only")
    return manifest
