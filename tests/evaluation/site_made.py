"""Local films as some model would have answered them, made without any film."""

from __future__ import annotations

import numpy as np

from cxr_core.evaluation.site_cases import Cases, Origin
from cxr_core.inference.manifest import NETWORK, Manifest


def site_cases(manifest: Manifest, films: int, *, shift: float = 1.0, seed: int = 0) -> Cases:
    """Return films of half as many patients; a finding's log-odds are the mean logit and `shift`."""
    rng = np.random.default_rng(seed)
    shape = films, len(manifest.labels)
    logits = rng.normal(-1.0, 1.5, shape)
    truth = (rng.random(shape) < 1 / (1 + np.exp(-(logits + shift)))).astype(np.float64)
    apart = np.linspace(-0.1, 0.1, manifest.model.members)
    return Cases(
        model=f"{manifest.id} {manifest.version}",
        network=manifest.files[NETWORK],
        labels=manifest.labels,
        logits=logits,
        members=logits[:, None, :] + apart[None, :, None],
        truth=truth,
        patients=np.array([f"patient {number // 2}" for number in range(films)]),
        origin=Origin.FILES,
    )
