"""A film on its way out of the house, without identity; made in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from secrets import token_bytes
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import select

from cxr_core.access import Actor
from cxr_core.domain import AS_SENT, Correction
from cxr_core.errors import Conflict, DecoderDied, Rejected, StoreError
from cxr_core.files import read
from cxr_core.imaging.deidentify import KEY_BYTES, Anonymous, Text
from cxr_core.settings import PREFIX, ROOT
from cxr_core.worklist import audit
from cxr_core.worklist.disk import refusals, sync_folder, write_new
from cxr_core.worklist.schema import ImageRow

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

KEY = "deidentify.key"
"""In CXR_HOME: whoever has it can tell which new UID stands for which old one."""

_LONGEST_S = 60.0


def deidentified(service: Service, actor: Actor, sha256: str, text: Text) -> Anonymous:
    """Return a film without identity; see `Service.deidentify`."""
    with service.database.read() as session:
        hung = session.scalar(select(ImageRow.correction).where(ImageRow.sha256 == sha256))
    if hung is None:
        raise StoreError("there is no such film")
    key = key_at(service.settings.home / KEY)
    memory_mb = service.settings.decode_memory_mb
    made = in_a_child(service.blobs.get(sha256), key, text, memory_mb, Correction.of(hung))
    detail: audit.Detail = {"film": sha256, "text": text.value, "blanked": made.blanked}
    with service.database.write() as session:
        audit.append(
            session, at=service.clock(), actor=actor.name, event="deidentify", subject=sha256, detail=detail
        )
    return made


def key_at(path: Path) -> bytes:
    """Return the secret in a file that only its owner reads; a new one where there is none.

    Raises:
        StoreError: the file holds something else.
        Busy: it cannot be read or written.
    """
    with refusals("the folder of the secret"):
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            made = path.with_name(f".{path.name}.{uuid4().hex}")
            write_new(made, token_bytes(KEY_BYTES))
            with suppress(FileExistsError):  # another process was first: its secret holds
                os.link(made, path)
            made.unlink()
            sync_folder(path.parent)
        key = read(path, KEY_BYTES + 1)
    if len(key) != KEY_BYTES:
        raise StoreError(f"{path.name} does not hold a secret of {KEY_BYTES} bytes; move it away")
    return key


def in_a_child(
    raw: bytes, key: bytes, text: Text, memory_mb: int, correction: Correction = AS_SENT
) -> Anonymous:
    """Return what `imaging.deidentify.deidentified` does; a film can end the child, never its asker.

    Raises:
        Conflict: as there.
        DecoderDied: the child crashed, took too long or needed more memory.
        Rejected: as there.
    """
    command = [sys.executable, "-m", "cxr_core.worklist.deidentify_child"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    try:
        done = subprocess.run(  # noqa: S603 -- our own interpreter and module
            [*command, str(os.getpid()), text.value, correction.key, str(memory_mb)],
            input=key + raw,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env=environment | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            timeout=_LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired as exc:
        raise DecoderDied("decoder_timeout") from exc
    head, _, made = done.stdout.partition(b"\n")
    try:
        said = json.loads(head)
        if "conflict" in said:
            raise Conflict(str(said["conflict"]))
        if "code" in said:
            raise Rejected(str(said["code"]), str(said["message"]), str(said["hint"]))
        return Anonymous(str(said["name"]), made, int(said["blanked"]))
    except (ValueError, KeyError, TypeError) as exc:
        raise DecoderDied("decoder_crashed") from exc
