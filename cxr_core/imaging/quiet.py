"""Silence for the decoders: their warnings and log lines quote the file, and so the patient."""

from __future__ import annotations

import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pydicom
from PIL import Image

_lock = threading.Lock()
_inside = 0
_saved = warnings.catch_warnings()

for _name in (pydicom.__name__, "PIL"):  # pydicom, once imported, does not set its level again
    logging.getLogger(_name).setLevel(logging.CRITICAL)


@contextmanager
def quiet() -> Iterator[None]:
    """Ignore warnings inside the block, in all threads; Pillow's bomb warning becomes an error.

    `warnings.catch_warnings` alone is not safe when several threads decode at once: one of them
    would restore the filters that another had set. So the first to enter sets them and the last
    to leave restores them.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


def _enter() -> None:
    global _inside, _saved
    with _lock:
        if _inside == 0:
            _saved = warnings.catch_warnings()
            _saved.__enter__()
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
        _inside += 1


def _leave() -> None:
    global _inside
    with _lock:
        _inside -= 1
        if _inside == 0:
            _saved.__exit__(None, None, None)
