"""`cxr deidentify`: films without identity, for whoever may have the pictures but not the patients."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_core.cli_models import REFUSED_EXIT, failures, progress
from cxr_core.errors import Conflict, Invalid, Rejected, StoreError

if TYPE_CHECKING:
    from cxr_core.imaging.deidentify import Text


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
    """Write films without identity: DICOM by PS3.15's Basic Profile, PNG and JPEG as their pixels alone.

    One line a film: its file and the new one. A film into which text is, or seems to be, burnt is left out
    unless --blank-text or --text-checked says what to do. Look at what you give away: nothing finds all text.
    Exit status: 0, or 3 if any film was left out.
    """
    from secrets import token_bytes

    from cxr_core.files import find, name, printable
    from cxr_core.imaging.deidentify import KEY_BYTES
    from cxr_core.worklist.deidentifying import key_at

    with failures():
        text = _choice(blank_text, text_checked)
        secret = token_bytes(KEY_BYTES) if key is None else key_at(key)
        files = find(paths).films
        left_out = 0
        with progress() as bar:
            task = bar.add_task("deidentify", total=len(files))
            for file in files:
                shown = printable(name(file))
                try:
                    typer.echo(f"{shown}\t{_one(file, out, secret, text)}")
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


def _one(file: Path, out: Path, key: bytes, text: Text) -> str:
    """Return the name of the file that was written."""
    from cxr_core.imaging.deidentify import deidentified
    from cxr_core.imaging.limits import Limits
    from cxr_core.imaging.refusals import reject

    try:
        raw = file.read_bytes()
    except OSError as exc:
        raise reject("unreadable_file") from exc
    made = deidentified(raw, key, Limits(), text=text)
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / made.name).write_bytes(made.raw)
    except OSError as exc:
        raise StoreError(f"{out}: cannot be written to ({exc.strerror})") from exc
    return made.name
