"""A model folder whose tables were added to: the manifest names them again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from cxr_core.evaluation import localise
from cxr_core.inference import registry
from cxr_core.inference.manifest import read_manifest


def rebind(folder: Path) -> None:
    """Write the manifest anew: the hashes of all files, and what `evaluation/` says of the heatmaps.

    Network, weights, calibration and thresholds are left as they are; so is every other figure. A model in
    force is told by its manifest, so it must be activated again under a new version.

    Raises:
        ModelError: there is no sound manifest, or a table of another form.
    """
    manifest = read_manifest(folder)
    figures = {name: value for name, value in manifest.evaluation.items() if not localise.is_stated(name)}
    registry.seal(folder, replace(manifest, evaluation=figures | localise.stated(folder)))
