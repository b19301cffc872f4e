"""`cxr users …`: who signs in to the web pages, and in which role; done by the person at this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from cxr_core.access import MARK, Role
from cxr_core.cli_models import failures
from cxr_core.cli_service import opened
from cxr_core.errors import StoreError
from cxr_core.files import printable

if TYPE_CHECKING:
    from cxr_core.access import Actor
    from cxr_core.worklist.accounts import Account
    from cxr_core.worklist.service import Service

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Who signs in to the web pages, and in which role. Needs the role admin: CXR_LOCAL_ROLE=admin.",
)


NONE = "none"
"""Said for a role, it takes away the one there is."""
GIVEN = "|".join((*Role, NONE))

Who = Annotated[
    str, typer.Argument(metavar="WHO", help="Name as `cxr users list` shows it, or its part after the #.")
]


@app.command("list")
def list_users() -> None:
    """List everybody: name, role, sign-ins that hold, when last seen, issuer, subject and address."""
    with failures(), opened() as (service, actor):
        for each in service.accounts(actor):
            _tell(each)


@app.command("add")
def add(
    issuer: Annotated[
        str, typer.Argument(metavar="ISSUER", help="Address of the identity provider, as its tokens say it.")
    ],
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="The person's `sub` there.")],
    role: Annotated[str, typer.Option("--role", metavar=f"<{GIVEN}>", help="What they may do.")],
    name: Annotated[str, typer.Option("--name", help="As it is to stand beside what they do, for ever.")],
) -> None:
    """Name a person before they first sign in. So the first admin comes to be."""
    with failures(), opened() as (service, actor):
        _tell(service.name_account(actor, issuer, subject, name, _role(role)))


@app.command("role")
def role(
    who: Who, role: Annotated[str, typer.Argument(metavar="ROLE", help=f"Their new role: {GIVEN}.")]
) -> None:
    """Give a person another role, at once; `none` ends their sign-ins too."""
    with failures(), opened() as (service, actor):
        account = _named(service, actor, who)
        service.set_role(actor, account.id, _role(role))
        _tell(_named(service, actor, account.handle))


@app.command("sign-out")
def sign_out(who: Who) -> None:
    """End all sign-ins of a person, at once; the role stays."""
    with failures(), opened() as (service, actor):
        account = _named(service, actor, who)
        ended = service.sign_out_account(actor, account.id)
    typer.echo(f"{printable(account.handle)}: {ended} sign-ins ended")


def _named(service: Service, actor: Actor, who: str) -> Account:
    """Return whom the words mean.

    Raises:
        StoreError: nobody.
    """
    tag = who.rpartition(MARK)[2]
    for each in service.accounts(actor):
        if who == each.handle or (who in (tag, MARK + tag) and each.handle.endswith(f" {MARK}{tag}")):
            return each
    raise StoreError("there is nobody of this name; see `cxr users list`")


def _role(given: str) -> Role | None:
    """Return the role to give, None for none.

    Raises:
        BadParameter: there is no such role.
    """
    if given not in (*Role, NONE):
        raise typer.BadParameter(f"{printable(given)} is no role; expected one of {GIVEN}")
    return None if given == NONE else Role(given)


def _tell(account: Account) -> None:
    seen = account.last_seen.isoformat(timespec="minutes") if account.last_seen else "never"
    cells = (account.handle, account.role or "no role", f"{account.signed_in} signed in", f"seen {seen}")
    typer.echo(
        "\t".join(printable(each) for each in (*cells, account.issuer, account.subject, account.email))
    )
