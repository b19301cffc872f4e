from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TESTS = """
import pytest

def test_films(data_dir):
    pass

@pytest.mark.browser
def test_page():
    pytest.skip("no browser here")

@pytest.mark.slow
def test_other():
    pytest.skip("not today")

@pytest.mark.browser
@pytest.mark.xfail(raises=ValueError)
def test_known():
    raise ValueError
"""


def outcomes(tmp_path: Path, **environ: str) -> tuple[dict[str, int], str]:
    """Return how many tests ended how (a skip in a fixture becomes an error), and all that was printed."""
    (tmp_path / "test_films.py").write_text(TESTS)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CXR_", "PYTEST"))}
    options = ["-q", "-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        cwd=ROOT,
        env=clean | {"CXR_HOME": str(tmp_path)} | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    counts = re.findall(r"(\d+) (failed|error|skipped|xfailed|passed)", done.stdout.splitlines()[-1])
    return {outcome: int(count) for count, outcome in counts}, done.stdout


def test_without_films_or_browser_tests_are_skipped_and_say_why(tmp_path):
    counts, shown = outcomes(tmp_path)
    assert counts == {"skipped": 3, "xfailed": 1}
    assert "CXR_DATA names no folder of real films" in shown


@pytest.mark.parametrize(
    ("required", "expected"),
    [
        ("real_data", {"error": 1, "skipped": 2, "xfailed": 1}),
        ("browser,real_data", {"error": 1, "failed": 1, "skipped": 1, "xfailed": 1}),
    ],
)
def test_skipping_what_is_required_is_a_failure(tmp_path, required, expected):
    assert outcomes(tmp_path, CXR_REQUIRE=required)[0] == expected


def test_a_data_folder_that_is_not_there_is_a_failure(tmp_path):
    counts, _ = outcomes(tmp_path, CXR_DATA=str(tmp_path / "none"))
    assert counts == {"error": 1, "skipped": 2, "xfailed": 1}
