"""A3: with insecure settings the app refuses to start, and says why; the real command is run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cxr_core.settings import ROOT, Settings
from cxr_core.ui.startup import REFUSED_EXIT, REQUIRED, loopback, objections

SOUND = {server: value for server, (value, _) in REQUIRED.items()} | {
    "server.address": "127.0.0.1",
    "server.baseUrlPath": "",
    "server.allowedHosts": ["localhost", "127.0.0.1", "xray.hospital.org"],
}
AUTH = {
    "redirect_uri": "https://xray.hospital.org/oauth2callback",
    "cookie_secret": "f3b1c7a09d5e8246f3b1c7a09d5e8246",
    "client_id": "neuraray",
    "client_secret": "9d5e8246",
    "server_metadata_url": "https://login.hospital.org/.well-known/openid-configuration",
    "client_kwargs": {"prompt": "login"},
}
ALONE = SOUND | {"server.allowedHosts": ["localhost", "127.0.0.1", "::1"]}
OIDC = {"CXR_SIGN_IN": "oidc"}
EVERY = "0.0.0.0"  # noqa: S104 -- which is the point


def secrets(place: Path, **changed: object) -> Path:
    """A secrets.toml with a sound table [auth], or one that is changed; None leaves a key out."""
    values = {key: value for key, value in (AUTH | changed).items() if value is not None}
    lines = [
        f'{key} = {{ prompt = "{value["prompt"]}" }}' if isinstance(value, dict) else f'{key} = "{value}"'
        for key, value in values.items()
    ]
    file = place / "secrets.toml"
    file.write_text("\n".join(["[auth]", *lines, ""]), encoding="utf-8")
    return file


def refused(home: Path, *flags: str, cwd: Path = ROOT, **environ: str) -> str:
    """Return what `streamlit run` said when it refused; fail if it did not."""
    command = [sys.executable, "-m", "streamlit", "run", "streamlit_app.py", "--server.headless", "true"]
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("CXR_", "STREAMLIT_"))}
    done = subprocess.run(
        [*command, "--server.port", "0", *flags],
        cwd=cwd,
        env=kept | {"CXR_HOME": str(home)} | environ,
        capture_output=True,
        text=True,
        timeout=120,
    )
    said = done.stdout + done.stderr
    assert done.returncode == REFUSED_EXIT, said
    assert "NeuraRay does not start:" in done.stderr
    assert "Traceback" not in said
    return done.stderr


COMMANDS = {
    "open bind by a flag": (["--server.address", EVERY], {}, "0.0.0.0, which other machines reach"),
    "open bind by the environment": ([], {"STREAMLIT_SERVER_ADDRESS": "::"}, "server.address is ::, which"),
    "CORS off": (["--server.enableCORS", "false"], {}, "server.enableCORS must be true"),
    "XSRF off": ([], {"STREAMLIT_SERVER_ENABLE_XSRF_PROTECTION": "false"}, "enableXsrfProtection must"),
    "static serving on": (["--server.enableStaticServing", "true"], {}, "enableStaticServing must be false"),
    "errors with their words": (["--client.showErrorDetails", "full"], {}, "may quote the patient"),
    "a header that says who it is": (
        ["--server.trustedUserHeaders", '{"X-User": "email"}'],
        {},
        "server.trustedUserHeaders must be empty",
    ),
    "the agent API": (["--server.enableAgentApi", "true"], {}, "server.enableAgentApi must be false"),
    "an unknown setting": ([], {"CXR_SING_IN": "oidc"}, "did you mean CXR_SIGN_IN?"),
    "a setting out of range": ([], {"CXR_IDLE_MINUTES": "0"}, "CXR_IDLE_MINUTES: expected"),
    "sign-in without a provider": ([], OIDC, "there is no table [auth]"),
}


@pytest.mark.parametrize(("flags", "environ", "words"), COMMANDS.values(), ids=COMMANDS)
def test_promise_a3_the_command_refuses_and_says_why(
    tmp_path: Path, flags: list[str], environ: dict[str, str], words: str
) -> None:
    assert words in refused(tmp_path, *flags, **environ)
    assert not any(tmp_path.iterdir())


def test_promise_a3_a_default_cookie_secret_refuses_to_start(tmp_path: Path) -> None:
    file = secrets(tmp_path, cookie_secret="xxx")  # noqa: S106
    said = refused(tmp_path, "--secrets.files", str(file), **OIDC)
    assert "cookie_secret in [auth] is still a placeholder" in said


def test_promise_a3_a_provider_that_nobody_is_sent_to_refuses_to_start(tmp_path: Path) -> None:
    said = refused(tmp_path, STREAMLIT_SECRETS_FILES=str(secrets(tmp_path)))
    assert "CXR_SIGN_IN is off" in said


def test_promise_a3_a_config_file_of_ones_own_counts_too(tmp_path: Path) -> None:
    """Beside the script Streamlit finds a config.toml that says nothing of the address and the like."""
    (tmp_path / "streamlit_app.py").symlink_to(ROOT / "streamlit_app.py")
    (tmp_path / ".streamlit").mkdir()
    (tmp_path / ".streamlit" / "config.toml").write_text("[server]\nenableCORS = false\n")
    said = refused(tmp_path / "home", cwd=tmp_path, HOME=str(tmp_path))
    assert "server.enableCORS must be true" in said
    assert "server.address is not set, so every address" in said
    assert "client.showErrorDetails must be" in said


@pytest.mark.parametrize("name", REQUIRED)
def test_every_option_that_opens_a_way_is_refused(name: str) -> None:
    value, reason = REQUIRED[name]
    wrong = (not value) if isinstance(value, bool) else "something"
    (said,) = objections(ALONE | {name: wrong}, Settings(), {})
    assert said.startswith(f"{name} must be ")
    assert reason in said


@pytest.mark.parametrize("address", [None, "", EVERY, "::", "192.0.2.7", "xray.hospital.org", "unix:///x"])
def test_whatever_is_not_loopback_needs_sign_in(address: str | None) -> None:
    assert not loopback(address)
    (said,) = objections(ALONE | {"server.address": address}, Settings(), {})
    assert "nobody signs in" in said
    assert not list(objections(SOUND | {"server.address": address}, Settings(sign_in="oidc"), AUTH))


@pytest.mark.parametrize("address", ["127.0.0.1", "localhost", "::1", "127.8.0.1"])
def test_loopback_needs_none(address: str) -> None:
    assert not list(objections(ALONE | {"server.address": address}, Settings(), {}))


@pytest.mark.parametrize("hosts", [[], ["*"], ["localhost", "xray.hospital.org"], ["*.localhost"]])
def test_without_sign_in_no_other_name_may_lead_here(hosts: list[str]) -> None:
    (said,) = objections(ALONE | {"server.allowedHosts": hosts}, Settings(), {})
    assert "server.allowedHosts must name this machine alone" in said


@pytest.mark.parametrize(
    ("hosts", "fits"),
    [([], True), (["*"], True), (["*.hospital.org"], True), (["hospital.org"], False), (["*.org.uk"], False)],
)
def test_with_sign_in_the_name_that_people_come_back_to_must_be_let_in(hosts: list[str], fits: bool) -> None:
    said = list(objections(SOUND | {"server.allowedHosts": hosts}, Settings(sign_in="oidc"), AUTH))
    assert (said == []) is fits
    assert fits or "STREAMLIT_SERVER_ALLOWED_HOSTS to xray.hospital.org" in said[0]


WRONG = {
    "no secret": ({"cookie_secret": None}, "[auth] lacks cookie_secret"),
    "an empty secret": ({"cookie_secret": " "}, "[auth] lacks cookie_secret"),
    "a short secret": ({"cookie_secret": "f3b1c7a09d"}, "easily guessed"),
    "one letter": ({"cookie_secret": "a" * 64}, "easily guessed"),
    "a placeholder": ({"cookie_secret": "change-me-change-me-change-me-change-me"}, "placeholder"),
    "the manual's client": ({"client_id": "xxx"}, "client_id in [auth] is still a placeholder"),
    "no client": ({"client_id": None}, "lacks client_id"),
    "no client secret": ({"client_secret": None}, "lacks client_secret"),
    "no provider": ({"server_metadata_url": None}, "lacks server_metadata_url"),
    "a provider in the clear": (
        {"server_metadata_url": "http://login.hospital.org/x"},
        "server_metadata_url in [auth] must begin with https://",
    ),
    "back in the clear": (
        {"redirect_uri": "http://xray.hospital.org/oauth2callback"},
        "redirect_uri in [auth] must begin with https://",
    ),
    "back to nowhere": ({"redirect_uri": "https://xray.hospital.org/"}, "must end in /oauth2callback"),
    "a lock that opens by itself": ({"client_kwargs": {"prompt": "select_account"}}, 'prompt = "login"'),
    "no word about the lock": ({"client_kwargs": None}, 'prompt = "login"'),
}


@pytest.mark.parametrize(("changed", "words"), WRONG.values(), ids=WRONG)
def test_a_sign_in_that_is_not_one_is_refused(changed: dict[str, object], words: str) -> None:
    said = list(objections(SOUND, Settings(sign_in="oidc"), AUTH | changed))
    assert len(said) == 1
    assert words in said[0]
    assert not any(str(value) in said[0] for value in AUTH.values())


def test_on_loopback_the_provider_and_the_way_back_may_be_in_the_clear() -> None:
    local = {
        "redirect_uri": "http://127.0.0.1:8501/oauth2callback",
        "server_metadata_url": "http://localhost:9400/.well-known/openid-configuration",
    }
    assert not list(objections(SOUND, Settings(sign_in="oidc"), AUTH | local))


def test_beneath_another_path_people_come_back_beneath_it() -> None:
    options = SOUND | {"server.baseUrlPath": "/xray/", "server.allowedHosts": ["hospital.org"]}
    assert list(objections(options, Settings(sign_in="oidc"), AUTH))
    beneath = AUTH | {"redirect_uri": "https://hospital.org/xray/oauth2callback"}
    assert not list(objections(options, Settings(sign_in="oidc"), beneath))
