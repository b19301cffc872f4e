"""What the app refuses to start with, and why: ways in which others could come in, or names get out.

Streamlit's options count however they were set: config.toml, STREAMLIT_* or the command line.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from streamlit import config
from streamlit.auth_util import get_secrets_auth_section

from cxr_core import settings
from cxr_core.errors import SettingsError
from cxr_core.local import local_actor
from cxr_core.settings import Settings

REFUSED_EXIT = 2
CALLBACK = "/oauth2callback"
LEAST_SECRET = 32
"""Characters of a cookie secret; `openssl rand -hex 32` gives 64."""

Options = Mapping[str, Any]

REQUIRED: dict[str, tuple[Any, str]] = {
    "server.enableCORS": (True, "pages of any other site could speak for whoever has this one open"),
    "server.enableXsrfProtection": (True, "other sites could hand in films for whoever has this one open"),
    "server.corsAllowedOrigins": ([], "pages of other sites could speak for whoever has this one open"),
    "server.enableStaticServing": (False, "files would be given to whoever asks"),
    "server.enableAgentApi": (False, "programs could drive the app without signing in"),
    "server.trustedUserHeaders": ({}, "whoever sends such a header would be that person"),
    "client.showErrorDetails": ("none", "an error on the page may quote the patient"),
    "logger.enableRich": (False, "an error in the log may quote the patient"),
    "global.developmentMode": (False, "anybody could stop the app"),
    "browser.gatherUsageStats": (False, "browsers would report to a third party"),
}
"""Option → the one value it may have, and what would happen otherwise."""

ASKED = ("server.address", "server.baseUrlPath", "server.allowedHosts")
"""Options whose right value depends on whether people sign in, and where."""

AUTH = ("redirect_uri", "cookie_secret", "client_id", "client_secret", "server_metadata_url")


def insist() -> None:
    """Return if the app may start; else say why not, and end the process."""
    options = {name: config.get_option(name) for name in (*REQUIRED, *ASKED)}
    try:
        table = settings.load()
        local_actor(table)
        reasons = list(objections(options, table, get_secrets_auth_section().to_dict()))
    except SettingsError as exc:
        reasons = [str(exc)]
    if reasons:
        lines = "".join(f"\n  - {reason}" for reason in reasons)
        sys.stderr.write(f"NeuraRay does not start:{lines}\nSee docs/operate.md.\n")
        sys.exit(REFUSED_EXIT)


def objections(options: Options, table: Settings, auth: Mapping[str, Any]) -> Iterator[str]:
    """Yield what speaks against starting, one sentence each.

    Args:
        options: Streamlit's, by name.
        table: our own settings.
        auth: the table [auth] of secrets.toml; empty where there is none.
    """
    for name, (value, reason) in REQUIRED.items():
        if options[name] != value:
            yield f"{name} must be {_said(value)}: else {reason}."
    address = options["server.address"]
    if table.sign_in == "off":
        if not loopback(address):
            yield (
                f"server.address is {address or 'not set, so every address'}, which other machines reach, "
                "but nobody signs in. Set CXR_SIGN_IN to oidc, or server.address to 127.0.0.1."
            )
        hosts = options["server.allowedHosts"]
        if not hosts or not all(loopback(host) for host in hosts):
            yield (
                "server.allowedHosts must name this machine alone while nobody signs in: else a site whose "
                "name is made to lead here reads the list through the browser of whoever visits it."
            )
        if auth:
            yield (
                "secrets.toml has a table [auth], but CXR_SIGN_IN is off, so nobody would be asked who they "
                "are. Set CXR_SIGN_IN to oidc, or remove the table."
            )
        return
    yield from _sign_in(auth, f"{options['server.baseUrlPath'].strip('/')}{CALLBACK}")
    host = urlsplit(str(auth.get("redirect_uri") or "")).hostname
    if host and not _allowed(host, options["server.allowedHosts"]):
        yield (
            f"server.allowedHosts lacks {host}, to which redirect_uri in [auth] leads people back: "
            f"set STREAMLIT_SERVER_ALLOWED_HOSTS to {host}."
        )


def loopback(address: str | None) -> bool:
    """Return whether only this machine reaches the address."""
    if address == "localhost":
        return True
    try:
        return ip_address((address or "").strip("[]")).is_loopback
    except ValueError:
        return False


def _sign_in(auth: Mapping[str, Any], callback: str) -> Iterator[str]:
    """Yield what is wrong with the table [auth]; no value of it is repeated."""
    if not auth:
        yield "CXR_SIGN_IN is oidc, but there is no table [auth] in a secrets.toml that can be read."
        return
    for name in AUTH:
        value = auth.get(name)
        if not isinstance(value, str) or not value.strip():
            yield f"[auth] lacks {name}."
        elif _placeholder(value):
            yield f"{name} in [auth] is still a placeholder."
    secret = str(auth.get("cookie_secret") or "")
    if secret and not _placeholder(secret) and (len(secret) < LEAST_SECRET or len(set(secret)) < 10):
        yield (
            f"cookie_secret in [auth] is easily guessed, and who guesses it can be anybody: take at least "
            f"{LEAST_SECRET} random characters, as from `openssl rand -hex 32`."
        )
    for name in ("redirect_uri", "server_metadata_url"):
        if (value := str(auth.get(name) or "")) and not _private(value):
            yield f"{name} in [auth] must begin with https://, or be of this machine."
    back = str(auth.get("redirect_uri") or "")
    if back and urlsplit(back).path.strip("/") != callback.strip("/"):
        yield f"redirect_uri in [auth] must end in /{callback.strip('/')}."
    kwargs = auth.get("client_kwargs")
    if "login" not in str(kwargs.get("prompt", "") if isinstance(kwargs, Mapping) else "").split():
        yield (
            'client_kwargs in [auth] must hold prompt = "login": else the identity provider would open a '
            "locked screen to whoever sits down before it."
        )


def _allowed(host: str, hosts: Iterable[str]) -> bool:
    """Return whether pages under this name are let in, as Streamlit decides it; an empty list lets all in."""
    names = [name.strip().lower() for name in hosts]
    ends = tuple(name[1:] for name in names if name.startswith("*."))
    return not names or "*" in names or host in names or host.endswith(ends)


def _placeholder(value: str) -> bool:
    """Return whether a value was left as an example has it."""
    plain = value.strip().lower()
    words = ("change", "secret", "example", "placeholder", "your", "todo", "replace")
    return (
        plain in ("", "...", "none") or set(plain) <= set("x.*-_ ") or plain.strip("<>{}$ ").startswith(words)
    )


def _private(url: str) -> bool:
    """Return whether what is sent there cannot be read on the way."""
    try:
        parts = urlsplit(url)
        return parts.scheme == "https" or (parts.scheme == "http" and loopback(parts.hostname))
    except ValueError:
        return False


def _said(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else "empty"
