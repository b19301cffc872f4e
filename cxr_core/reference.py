"""The reference pages docs/settings.md and docs/cli.md, made by `python -m cxr_core.reference`."""

from __future__ import annotations

from pathlib import Path

import typer
from typer.cli import get_docs_for_click

from cxr_core import cli, settings

_MADE_BY = "Made by `python -m cxr_core.reference`; edit the code instead.\n"


def pages() -> dict[str, str]:
    """Return the text of each page by its file name."""
    return {"settings.md": settings_page(), "cli.md": cli_page()}


def settings_page() -> str:
    """Return docs/settings.md from the table in settings.py."""
    lines = [
        "# Settings\n",
        _MADE_BY,
        "The environment goes before the settings file, the file before the default. The file is TOML with",
        "the names below in small letters and without `CXR_`; an unknown name in either is an error.",
        "`cxr settings` shows what holds now.\n",
        "| environment | type | default | meaning |",
        "|---|---|---|---|",
    ]
    for name, kind, default, help_ in settings.rows():
        lines.append(f"| `{name}` | {kind} | {f'`{default}`' if default else 'unset'} | {help_} |")
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """Return docs/cli.md from the commands' own help."""
    command = typer.main.get_command(cli.app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="cxr")
    head, rest = text.split("\n", 1)
    return f"{head}\n\n{_MADE_BY}{rest.rstrip()}\n"


def main() -> None:
    """Write the pages into docs/."""
    for name, text in pages().items():
        (Path(__file__).resolve().parent.parent / "docs" / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
