"""`cxr deidentify`: films without identity, for whoever may have the pictures but not the patients."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from secrets import token_bytes
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_core import settings
from cxr_core.cli_models import REFUSED_EXIT, failures, progress
from cxr_core.errors import Conflict, DecoderDied, Invalid, Rejected, StoreError

if TYPE_CHECKING:
    from cxr_core.imaging.deidentify import Anonymous, Text


def deidentify(
    paths: Annotated[
        list[Path],
        typer.Argument(
            help="Files, or folders to walk for image and DICOM files.", show_default=False, metavar="PATH"
        ),
    ],
    out: Annotated[Path, typer.Option("--out", metavar="DIR", help="Folder for the films without identity.")],
    blank_text: Annotated[
        bool, typer.Option("--blank-text", help="Black out what looks like text in the picture.")
    ] = False,
    text_checked: Annotated[
        bool,
        typer.Option("--text-checked", help="You have looked: what is written in the pictures names nobody."),
    ] = False,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key", metavar="FILE", help="Secret that keeps new UIDs alike from run to run; made if missing."
        ),
    ] = None,
) -> None:
    """Write films without identity: DICOM by PS3.15's Basic Profile, PNG and JPEG as their grey alone.

    One line a film: its file and the new one. A film into which text is, or seems to be, burnt is left out
    unless --blank-text or --text-checked says what to do; so is a film of whose new name DIR holds another.
    Look at what you give away: nothing finds all text. Exit status: 0, or 3 if any film was left out.
    """
    from cxr_core.files import find, name, printable
    from cxr_core.imaging.deidentify import KEY_BYTES
    from cxr_core.worklist.deidentifying import key_at

    with failures():
        text = _choice(blank_text, text_checked)
        chosen = settings.load()
        secret = token_bytes(KEY_BYTES) if key is None else key_at(key)
        files = find(paths).films
        at_once = chosen.threads or os.cpu_count() or 1
        left_out = 0
        with ThreadPoolExecutor(at_once) as pool, progress() as bar:
            task = bar.add_task("deidentify", total=len(files))
            for start in range(0, len(files), at_once):
                group = files[start : start + at_once]
                under_way = [
                    pool.submit(_made, each, secret, text, chosen.decode_memory_mb) for each in group
                ]
                for file, made in zip(group, under_way, strict=True):
                    shown = printable(name(file))
                    try:
                        typer.echo(f"{shown}\t{_written(made.result(), out)}")
                    except (Conflict, Rejected) as exc:
                        left_out += 1
                        typer.echo(f"{shown}: left out: {exc}", err=True)
                    bar.advance(task)
    raise typer.Exit(REFUSED_EXIT if left_out else 0)


def _choice(blank_text: bool, text_checked: bool) -> Text:
    from cxr_core.imaging.deidentify import Text

    if blank_text and text_checked:
        raise Invalid("choose one of --blank-text and --text-checked")
    return Text.BLANK if blank_text else Text.CHECKED if text_checked else Text.REFUSE


def _made(file: Path, key: bytes, text: Text, memory_mb: int) -> Anonymous:
    """Return a film without identity, made in a child."""
    from cxr_core.cli_decode import WHY
    from cxr_core.files import read
    from cxr_core.imaging.limits import Limits
    from cxr_core.imaging.refusals import reject
    from cxr_core.worklist.deidentifying import in_a_child

    try:
        return in_a_child(read(file, Limits().max_bytes + 1), key, text, memory_mb)
    except OSError as exc:
        raise reject("unreadable_file") from exc
    except DecoderDied as exc:
        raise reject("decoder_failed", found=WHY[exc.code]) from exc


def _written(made: Anonymous, out: Path) -> str:
    """Return the name of the film once it is in the folder, where no other is ever written over."""
    from cxr_core.imaging.refusals import reject

    file, part = out / made.name, out / f".{made.name}.part"
    try:
        out.mkdir(parents=True, exist_ok=True)
        if file.exists():
            if file.read_bytes() != made.raw:
                raise reject("name_taken")
            return made.name
        try:
            part.write_bytes(made.raw)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
    except OSError as exc:
        raise StoreError(f"{out}: cannot be written to ({exc.strerror})") from exc
    return made.name
