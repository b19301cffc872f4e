"""Which gate decides what a model may judge: the one in the folder that the settings name, as it is now."""

from __future__ import annotations

from dataclasses import dataclass

from cxr_core.errors import ModelError
from cxr_core.inference import gate_manifest
from cxr_core.settings import Settings


@dataclass(frozen=True, slots=True)
class GateInForce:
    """The gate that this process answers and shows by.

    Attributes:
        name: as results name it; where there is a fault the last one seen, empty if there was none.
        fault: why its folder does not say which gate it holds; else empty.
    """

    name: str = ""
    fault: str = ""


def refreshed(settings: Settings, seen: GateInForce) -> GateInForce:
    """Return what is in force now."""
    try:
        return GateInForce(gate_manifest.read(settings.gate).name)
    except ModelError as exc:
        return GateInForce(seen.name, str(exc))
