"""What docs/operate.md, the Dockerfile and the compose file name is there. No container is run."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from itertools import takewhile
from pathlib import Path

import psycopg
import pytest
import typer
import yaml

from cxr_core import __version__
from cxr_core.cli import app
from cxr_core.settings import Settings, rows
from cxr_core.worklist.database import open_database
from tests.worklist.cluster import Cluster, find_programs

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operate.md").read_text(encoding="utf-8")
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
EXACT = re.compile(r"^[a-z]+:\d+\.\d+(\.\d+)?-[a-z0-9-]+$")
SETTINGS = {name for name, *_ in rows()}


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions: name and the rest, continued lines joined."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word, rest) for word, rest in (line.split(" ", 1) for line in joined.splitlines())]


DOCKER = instructions()


def of(name: str) -> list[str]:
    return [rest for word, rest in DOCKER if word == name]


def copied() -> list[str]:
    return [source for each in of("COPY") for source in each.split()[:-1]]


def shell_blocks() -> list[str]:
    """The lines of the page's shell blocks."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, flags=re.S)
    return [line for block in blocks for line in block.splitlines() if line]


def check_cxr(words: list[str]) -> None:
    """Fail unless the words are a command of `cxr` with options that it has."""
    command = typer.main.get_command(app)
    while words and words[0] in getattr(command, "commands", {}):
        command = command.commands[words.pop(0)]
    assert not getattr(command, "commands", {}), f"cxr has no command {words}"
    known = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    assert {word.split("=")[0] for word in words if word.startswith("--")} <= known
    if not any(each.param_type_name == "argument" for each in command.params):
        values = [word for word in words if not word.startswith("--")]
        assert all(value.isdecimal() for value in values)


def cxr_calls(line: str) -> list[list[str]]:
    """The words after each `cxr` that stands where a command may stand."""
    words = shlex.split(line.replace("$(", "( ").replace(")", " )"))
    starts = [
        place
        for place, word in enumerate(words)
        if word in ("cxr", ".venv/bin/cxr") and (place == 0 or words[place - 1] != "install")
    ]
    stop = ("|", "&&", ";", ")")
    return [list(takewhile(lambda word: word not in stop, words[start + 1 :])) for start in starts]


def test_every_command_of_ours_on_the_page_exists():
    written = re.findall(r"`(cxr [^`]+)`", PAGE) + shell_blocks()
    calls = [call for line in written for call in cxr_calls(line)]
    assert {call[0] for call in calls} >= {"worker", "backup", "restore", "audit", "models", "worklist"}
    for call in calls:
        check_cxr(call)


@pytest.mark.parametrize("words", [["workers"], ["audit"], ["worker", "--proceses", "2"], ["worker", "now"]])
def test_a_command_that_does_not_exist_would_be_found(words):
    with pytest.raises(AssertionError):
        check_cxr(words)


def test_every_setting_that_is_named_exists():
    texts = [PAGE, *((ROOT / name).read_text(encoding="utf-8") for name in ("compose.yaml", "Dockerfile"))]
    assert {name for text in texts for name in re.findall(r"\bCXR_[A-Z_]+", text)} <= SETTINGS


def test_every_file_service_and_volume_that_the_page_names_exists():
    names = re.findall(r"`([\w./-]+\.(?:md|py|toml|yaml))`|\]\(([\w./-]+)\)", PAGE)
    for code, link in names:
        assert (ROOT / code).is_file() if code else (ROOT / "docs" / link).is_file()
    for volume in re.findall(r"volume `(\w+)`", PAGE):
        assert volume in COMPOSE["volumes"]
    for line in shell_blocks():
        if line.startswith("docker compose"):
            rest = [word for word in shlex.split(line)[3:] if word.isalpha() or "=" in word]
            named = [word.split("=")[0] for word in rest if not word.startswith("--")]
            assert all(name in SERVICES for name in named[:1]), line
    assert {"make app"} <= set(shell_blocks())
    assert re.search(r"^app:", (ROOT / "Makefile").read_text(), flags=re.M)


def test_the_image_is_of_an_exact_version_that_the_program_allows():
    (base,) = of("FROM")
    assert EXACT.match(base)
    version = re.search(r":(\d+)\.(\d+)\.\d+-", base)
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    least = re.fullmatch(r">=(\d+)\.(\d+)", wanted)
    assert version is not None
    assert least is not None
    assert tuple(map(int, version.groups())) >= tuple(map(int, least.groups()))


def test_nothing_runs_as_root_once_the_image_is_made():
    (user,) = of("USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)
    assert all(word not in ("RUN", "COPY", "ADD") for word, _ in DOCKER[DOCKER.index(("USER", user)) :])
    uid = user.split(":")[0]
    assert f"--uid {uid} " in of("RUN")[0]
    assert uid in PAGE
    assert not any("user" in each for each in SERVICES.values())


def test_what_is_copied_is_in_the_repository_and_not_kept_from_the_builder():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    for source in copied():
        assert (ROOT / source).exists(), source
        assert f"!{source}" in rules
    assert {rule[1:] for rule in rules if rule.startswith("!")} == set(copied())


def test_all_that_the_program_reads_is_copied():
    folders = {each for each in copied() if (ROOT / each).is_dir()}
    assert {Settings().models_dir.name, Settings().policy.parent.name} <= folders
    script = (ROOT / "streamlit_app.py").read_text()
    assert set(re.findall(r'st\.Page\("(\w+)/', script)) <= folders
    assert {"cxr_core", ".streamlit"} <= folders
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["dynamic"]
    assert asked["dependencies"]["file"][0] in copied()


def left_out() -> set[str]:
    (pattern,) = re.findall(r"grep -vE '\^\(([^)]*)\)=='", "".join(of("RUN")))
    return set(pattern.split("|"))


def test_the_packages_left_out_of_the_image_are_pinned_ones_and_all_others_are_exact():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+(\[\w+\])?==[\w.]+", line) for line in pinned)
    assert left_out() <= {line.split("==")[0] for line in pinned}


def test_app_worker_and_commands_run_without_the_packages_left_out(tmp_path):
    modules = {each.replace("grad-cam", "pytorch_grad_cam") for each in left_out()}
    code = (
        "import sys\nclass Away:\n    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {sorted(modules)!r}:\n"
        "            raise ModuleNotFoundError(name)\nsys.meta_path.insert(0, Away())\n"
        "import importlib, pathlib\n"
        "folders = ('ui', 'worklist', 'reports', 'imaging', 'triage')\n"
        "names = [f'cxr_core.{each}.{path.stem}' for each in folders"
        " for path in pathlib.Path('cxr_core', each).glob('*.py') if path.stem != '__init__']\n"
        "assert len(names) > 60\n"
        "[importlib.import_module(name) for name in names]\n"
        "from cxr_core.cli import app\napp(['models', 'verify'])\n"
    )
    environment = {"CXR_HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "sound" in done.stdout


def test_the_composed_images_are_exact_and_ours_is_of_this_version():
    assert SERVICES["app"]["image"] == SERVICES["worker"]["image"] == f"neuraray:{__version__}"
    assert EXACT.match(SERVICES["database"]["image"])
    assert (ROOT / SERVICES["app"]["build"] / "Dockerfile").is_file()


def test_the_composed_commands_are_commands():
    program, *words = SERVICES["worker"]["command"]
    assert program == "cxr"
    check_cxr(words)
    program, *words = DOCKER[-1][1].strip("[]").replace('"', "").split(", ")
    assert (DOCKER[-1][0], program) == ("CMD", "cxr")
    check_cxr(words)
    program, verb, script, *options = SERVICES["app"]["command"]
    assert (program, verb) == ("streamlit", "run")
    assert (ROOT / script).is_file()
    from streamlit import config

    assert all(config.get_option(each.removeprefix("--").split("=")[0]) is not None for each in options)
    checked = SERVICES["app"]["healthcheck"]["test"]
    assert checked[:3] == ["CMD", "python", "-c"]
    compile(checked[3], "healthcheck", "exec")
    port = next(each for each in options if each.startswith("--server.port=")).split("=")[1]
    assert f"http://127.0.0.1:{port}/readyz'" in checked[3]
    assert all(f"http://127.0.0.1:{port}{path}" in PAGE for path in ("/healthz", "/readyz"))
    from cxr_core.ui.server import ROUTES

    assert [route.path for route in ROUTES] == ["/healthz", "/readyz"]


def test_nothing_listens_to_other_machines():
    assert [each.get("network_mode") for each in SERVICES.values()] == ["host", "none", "none"]
    assert not any({"ports", "expose", "networks"} & each.keys() for each in SERVICES.values())
    shown = tomllib.loads((ROOT / ".streamlit" / "config.toml").read_text())["server"]
    assert (shown["address"], shown["enableCORS"], shown["enableXsrfProtection"]) == ("127.0.0.1", True, True)
    assert not any("server.address" in word for word in SERVICES["app"]["command"])
    assert f"client_max_body_size {shown['maxUploadSize'] + 1}m" in PAGE
    for name in ("app", "worker"):
        assert SERVICES[name]["cap_drop"] == ["ALL"]
        assert SERVICES[name]["security_opt"] == ["no-new-privileges:true"]


def test_people_sign_in_by_the_file_on_the_page_once_it_is_filled_in():
    from cxr_core.ui.startup import REQUIRED, objections

    (text,) = re.findall(r"```toml\n(.*?)```", PAGE, flags=re.S)
    auth = tomllib.loads(text)["auth"]
    options = {name: value for name, (value, _) in REQUIRED.items()}
    hosts = re.findall(r"STREAMLIT_SERVER_ALLOWED_HOSTS=(\S+)", PAGE)
    options |= {"server.address": "127.0.0.1", "server.baseUrlPath": "", "server.allowedHosts": hosts}
    empty = [key for key, value in auth.items() if value == ""]
    said = list(objections(options, Settings(sign_in="oidc"), auth))
    assert said == [f"[auth] lacks {key}." for key in empty]
    filled = auth | dict.fromkeys(empty, "f3b1c7a09d5e8246f3b1c7a09d5e8246")
    assert not list(objections(options, Settings(sign_in="oidc"), filled))


def test_the_composed_app_asks_people_who_they_are_by_a_file_that_is_mounted():
    environment = SERVICES["app"]["environment"]
    assert environment["CXR_SIGN_IN"] == "oidc"
    (name,) = SERVICES["app"]["secrets"]
    assert environment["STREAMLIT_SECRETS_FILES"] == f"/run/secrets/{name}"
    assert name.endswith(".toml")
    file = COMPOSE["secrets"][name]["file"]
    asked = subprocess.run(["git", "check-ignore", file], cwd=ROOT, capture_output=True, text=True)
    assert asked.stdout.strip() == file
    assert file.removeprefix("./") in PAGE
    assert re.match(r"\$\{\w+:\?", environment["STREAMLIT_SERVER_ALLOWED_HOSTS"])
    shared = SERVICES["worker"]["environment"]
    assert shared.items() <= environment.items()
    assert not any("secrets" in SERVICES[other] for other in ("worker", "database"))


def test_app_and_worker_go_by_the_sites_clock_and_do_not_start_without_it():
    for name in ("app", "worker"):
        asked = re.fullmatch(r"\$\{(\w+):\?[^}]+\}", SERVICES[name]["environment"]["TZ"])
        assert asked is not None
        assert any(f'echo "{asked[1]}=' in line for line in shell_blocks())
    assert "docker compose run --rm --no-deps worker date" in shell_blocks()


def test_volumes_are_declared_and_lie_where_the_program_looks():
    mounts = {name: dict(each.split(":") for each in one["volumes"]) for name, one in SERVICES.items()}
    assert {volume for each in mounts.values() for volume in each} == set(COMPOSE["volumes"])
    (home,) = [each.split("=")[1] for each in of("ENV") if each.startswith("CXR_HOME=")]
    for name in ("app", "worker"):
        one = SERVICES[name]
        assert mounts[name]["films"] == one["environment"]["CXR_HOME"] == home
        assert mounts[name]["socket"] == mounts["database"]["socket"]
        assert f"?host={mounts[name]['socket']}" in one["environment"]["CXR_DATABASE_URL"]
        assert one["depends_on"] == {"database": {"condition": "service_healthy"}}


def test_no_secret_is_written_down():
    secret = SERVICES["database"]["environment"]["POSTGRES_PASSWORD"]
    assert secret.startswith("${POSTGRES_PASSWORD:?")
    assert secret in SERVICES["app"]["environment"]["CXR_DATABASE_URL"]
    asked = subprocess.run(["git", "ls-files", ".env"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert asked.stdout == ""
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert any(fnmatch(".env", rule.strip("/")) for rule in ignored)
    assert "/.streamlit/secrets.toml" in ignored
    assert ".streamlit/secrets.toml" in (ROOT / ".dockerignore").read_text().splitlines()


@pytest.mark.postgres
def test_postgresql_is_of_the_tested_version_and_knows_the_options_it_is_given(tmp_path):
    programs = find_programs()
    if programs is None:
        pytest.skip("no PostgreSQL server: /usr/lib/postgresql/*/bin is not there")
    assert SERVICES["database"]["image"].split(":")[1].split(".")[0] == programs.parent.name
    asked = subprocess.run([programs / "initdb", "--help"], capture_output=True, text=True, check=True)
    for each in shlex.split(SERVICES["database"]["environment"]["POSTGRES_INITDB_ARGS"]):
        assert f"{each.split('=')[0]}=" in asked.stdout
    ready = subprocess.run([programs / "pg_isready", "--help"], capture_output=True, text=True, check=True)
    for each in SERVICES["database"]["healthcheck"]["test"][2:]:
        assert f"{each.split('=')[0]}=" in ready.stdout


def test_the_composed_address_opens_a_database_and_its_options_take_effect(postgres: Cluster, tmp_path):
    environment = SERVICES["worker"]["environment"]
    url = re.sub(r"\$\{[^}]*\}", "5ec7e7", environment["CXR_DATABASE_URL"])
    name = "composed"
    postgres.create(name)
    url = url.replace("/var/run/postgresql", str(postgres.folder)).replace("@/neuraray?", f"@/{name}?")
    try:
        open_database(Settings(home=tmp_path / "home", database_url=url)).close()
        with psycopg.connect(url) as connection:
            for option in SERVICES["database"]["command"][2::2]:
                asked, value = option.split("=")
                found = connection.execute(
                    "SELECT context FROM pg_settings WHERE name = %s", [asked]
                ).fetchone()
                assert found is not None, asked
                if found[0] != "postmaster":
                    connection.execute("SELECT set_config(%s, %s, true)", [asked, value])
    finally:
        postgres.drop(name)
