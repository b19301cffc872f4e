"""`cxr policy …`: the policy in force, its versions, and what another one would change."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cxr_core.cli_models import failures
from cxr_core.cli_service import opened
from cxr_core.errors import StoreError
from cxr_core.files import printable

if TYPE_CHECKING:
    from cxr_core.access import Actor
    from cxr_core.worklist.policies import PolicyHistory
    from cxr_core.worklist.preview import Preview
    from cxr_core.worklist.service import Service

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The clinical policy: what is in force, its versions, what another would change. For a lead.",
)

FILE = "file"
"""How the policy of the file that the settings name is activated."""

SHOWN = 20
"""Studies that change, listed by `try`."""

File = Annotated[Path, typer.Argument(metavar="FILE", help="The policy as TOML.")]


@app.command("show")
def show(
    version: Annotated[
        str | None, typer.Argument(metavar="VERSION", help="Default: the one in force.", show_default=False)
    ] = None,
    toml: Annotated[bool, typer.Option("--toml", help="The whole policy as it was written.")] = False,
) -> None:
    """Show a policy: its version, date and approver, its waits, and its findings by tier."""
    from cxr_core.domain import Urgency
    from cxr_core.triage.policy import parse_policy

    with failures(), opened() as (service, actor):
        history = service.policies(actor)
        if history.in_force.fault:
            typer.echo(printable(history.in_force.fault), err=True)
        chosen = history.in_force.policy_id if version is None else _named(history, version)
        text = service.policy_text(actor, chosen)
        if toml:
            typer.echo(text, nl=False)
            return
        policy = parse_policy(text)
        standing = "in force" if chosen == history.in_force.policy_id else "not in force"
        typer.echo(printable(f"{policy.version}, {policy.date}, {policy.approver}: {standing}"))
        _table(
            ("tier", "longest wait", "findings"),
            [
                (
                    urgency,
                    f"{policy.tiers[urgency].max_wait_minutes} min",
                    ", ".join(policy.labels_of(urgency)),
                )
                for urgency in Urgency
            ],
        )


@app.command("history")
def history() -> None:
    """List the versions, then what came into force when; the newest first."""
    with failures(), opened() as (service, actor):
        found = service.policies(actor)
        _table(
            ("version", "standing", "date", "approver", "written by", "note"),
            [
                (
                    each.version,
                    found.standing(each),
                    str(each.dated or "cannot be read"),
                    each.approver,
                    each.author or "policy file",
                    each.note,
                )
                for each in found.versions
            ],
        )
        _table(
            ("since", "policy", "by"),
            [
                (f"{each.at.astimezone():%Y-%m-%d %H:%M}", each.version or "the policy file's", each.actor)
                for each in found.changes
            ],
        )


@app.command("try")
def try_(file: File) -> None:
    """Say what a policy would change on the last 500 studies; nothing is written."""
    from cxr_core.triage.policy import read_policy

    with failures(), opened() as (service, actor):
        _tell(service.try_policy(actor, read_policy(file)))


@app.command("write")
def write(
    file: File,
    note: Annotated[str, typer.Option("--note", help="What changes and why; kept with the version.")],
) -> None:
    """Keep a policy as a new version, by the version and approver that it names; not in force yet."""
    from cxr_core.triage.policy import parse_policy, read_policy

    with failures(), opened() as (service, actor):
        text = read_policy(file)
        service.write_policy(actor, text, note)
        typer.echo(f"kept as {parse_policy(text).version}; not in force before it is activated")


@app.command("activate")
def activate(
    version: Annotated[
        str, typer.Argument(metavar="VERSION", help=f"As `cxr policy history` lists it, or `{FILE}`.")
    ],
) -> None:
    """Bring a version into force in every process at once. Answers that are there stay."""
    with failures(), opened() as (service, actor):
        found = service.policies(actor)
        _activate(service, actor, found, _named(found, version))


@app.command("revert")
def revert() -> None:
    """Bring back the policy that was in force before the last change."""
    with failures(), opened() as (service, actor):
        found = service.policies(actor)
        if not found.changes:
            raise StoreError("nobody has activated a policy yet: the policy file's is in force")
        _activate(service, actor, found, found.before)


def _activate(service: Service, actor: Actor, found: PolicyHistory, policy_id: int | None) -> None:
    service.activate_policy(actor, policy_id, seen=found.in_force.change)
    typer.echo(f"{found.in_force.policy.version} → {service.policy.version}: in force")
    if otherwise := service.policies(actor).otherwise:
        typer.echo(
            f"open studies answered otherwise: {otherwise}; a lead has them analysed again on the page"
        )


def _tell(tried: Preview) -> None:
    from cxr_core.domain import Urgency
    from cxr_core.worklist.preview_words import remarks, summary

    typer.echo(summary(tried))
    rows = [
        (before, *(str(tried.urgencies.get((before, after), 0) or "·") for after in Urgency))
        for before in Urgency
    ]
    _table(("now \\ would be", *Urgency), rows)
    for line in remarks(tried):
        typer.echo(line)
    _table(("place", "in force", "this policy"), [(d.where, d.before, d.after) for d in tried.differences])
    shown = tried.changed[:SHOWN]
    _table(
        ("study", "now", "would be", "why"),
        [
            (each.study_id, each.before.urgency, each.after.urgency, " · ".join(each.after.reasons))
            for each in shown
        ],
    )
    if more := len(tried.changed) - len(shown):
        typer.echo(f"and {more} more")


def _named(found: PolicyHistory, version: str) -> int | None:
    """Return the id of a version; None is the file's policy.

    Raises:
        StoreError: there is no such version.
    """
    if version in (FILE, found.file.version):
        return None
    for each in found.versions:
        if each.version == version:
            return each.id
    raise StoreError(f"there is no version {printable(version)}; see `cxr policy history`")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows as a table; nothing where there are none."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    table = Table(*head)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console()
    if not console.is_terminal:
        console.width = 160
    console.print(table)
