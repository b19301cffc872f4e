"""A command's films decoded in children, as a worker does it: one can end its decoder, never the command."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING

from cxr_core.domain import AS_SENT, Correction

if TYPE_CHECKING:
    from datetime import datetime

    from cxr_core.batch import Prepare
    from cxr_core.domain import Analysis
    from cxr_core.pipeline import Film, Kit
    from cxr_core.settings import Settings
    from cxr_core.worklist.decoder import DecoderPool

WHY = {
    "decoder_crashed": "crashed",
    "decoder_timeout": "took too long",
    "decoder_memory": "needed more memory than it may use",
    "decoder_killed": "was ended by another program",
}
"""By code of `DecoderDied` what a person reads."""


@contextmanager
def apart(chosen: Settings, *, pictures: bool = False) -> Iterator[Prepare]:
    """Yield what prepares films in children of bounded memory and time.

    Args:
        chosen: names the bounds, and by `threads` how many children.
        pictures: keep the pixels too, as fine as a display shows them.
    """
    from cxr_core.imaging.limits import Limits
    from cxr_core.worklist.decoder import VIEW_PX, DecoderPool

    with DecoderPool(
        Limits(),
        None,
        processes=chosen.threads or os.cpu_count() or 1,
        timeout_s=chosen.decode_timeout_s,
        memory_mb=chosen.decode_memory_mb,
    ) as pool:
        yield partial(_prepared, pool, VIEW_PX if pictures else None)


def _prepared(
    pool: DecoderPool,
    max_side: int | None,
    raw: bytes,
    kit: Kit,
    *,
    now: datetime,
    correction: Correction = AS_SENT,
) -> Film | Analysis:
    """Return what `pipeline.prepare` does; a film whose decoder died is refused."""
    from cxr_core.errors import DecoderDied
    from cxr_core.imaging.refusals import refusal
    from cxr_core.pipeline import Film, Unfit, refused
    from cxr_core.worklist.decoder import CRASHED

    sha256 = hashlib.sha256(raw).hexdigest()
    recipe = kit.classifier.manifest.recipe
    try:
        film = pool.prepare(raw, now=now, recipe=recipe, max_side=max_side, correction=correction).film
    except DecoderDied as exc:
        film = Unfit(refusal("decoder_failed", found=WHY[exc.code]), sha256, correction=correction)
    said = film.radiograph.sha256 if isinstance(film, Film) else film.sha256
    if said != sha256:  # as of a decoder that a film has taken over
        film = Unfit(refusal("decoder_failed", found=WHY[CRASHED]), sha256, correction=correction)
    return film if isinstance(film, Film) else refused(film, kit)
