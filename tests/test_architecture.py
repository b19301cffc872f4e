"""Arrows go one way: read from the source, not from what happened to be imported."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CORE = ROOT / "cxr_core"

LEVELS: tuple[frozenset[str], ...] = (
    frozenset({"", "errors", "domain"}),
    frozenset({"settings", "strict", "files", "ledger", "access", "logs"}),
    frozenset({"local"}),
    frozenset({"imaging", "triage"}),
    frozenset({"inference", "data"}),
    frozenset({"pipeline"}),
    frozenset({"evaluation"}),
    frozenset({"batch", "reports", "training", "cli_models"}),
    frozenset({"worklist"}),
    frozenset({"cli_service", "cli_evaluate_films", "cli_decode"}),
    frozenset(
        {
            "cli_activate",
            "cli_data",
            "cli_distance",
            "cli_gate",
            "cli_deidentify",
            "cli_evaluate",
            "cli_export",
            "cli_fit",
            "cli_worker",
            "cli_list",
            "cli_submit",
            "cli_train",
            "cli_store",
            "cli_users",
            "cli_policy",
            "demo",
        }
        | {"cli_explain"}
    ),
    frozenset({"cli", "ui"}),
    frozenset({"reference", "pages", "streamlit_app"}),
)
"""Part of the package → its level; a part imports itself and lower levels. "" is cxr_core itself."""

TORCH_FILES = {"explain_torch.py", "explainers_torch.py"}
"""Outside training: made for processes of their own, and for tests."""

STREAMLIT = ("ui", "pages", "streamlit_app")
TORCH_FAMILY = {"torch", "torchvision", "pytorch_grad_cam"}


def sources() -> list[Path]:
    pages = [ROOT / "streamlit_app.py", *ROOT.glob("pages/*.py")]
    return [path for path in (*CORE.rglob("*.py"), *pages) if path.exists()]


def part(path: Path) -> str:
    """Return the part of the package that a source file belongs to: `imaging`, `pipeline`, `pages` …"""
    if path.is_relative_to(CORE):
        first = path.relative_to(CORE).parts[0]
        return "" if first == "__init__.py" else first.removesuffix(".py")
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(tree: ast.AST) -> set[str]:
    """Return every module named by an import anywhere in a source, in full."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports are not used here"
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {str(node.module)}
    return found


def parts_imported(path: Path) -> set[str]:
    known = frozenset().union(*LEVELS)
    names = imports(ast.parse(path.read_text(encoding="utf-8")))
    firsts = {name.split(".")[1] for name in names if name.startswith("cxr_core.")}
    return {first for first in firsts if first in known or (CORE / first).exists()}


def level(name: str) -> int:
    matches = [index for index, names in enumerate(LEVELS) if name in names]
    assert matches, f"cxr_core/{name} has no level yet: give it one in this test"
    return matches[0]


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_go_one_way(path):
    own = part(path)
    for other in parts_imported(path) - {own}:
        assert level(other) < level(own), f"{own} imports {other}"


@pytest.mark.parametrize("path", sources(), ids=lambda path: str(path.relative_to(ROOT)))
def test_only_pages_know_streamlit_and_only_training_knows_torch(path):
    names = imports(ast.parse(path.read_text(encoding="utf-8")))
    firsts = {name.split(".")[0] for name in names}
    if part(path) not in STREAMLIT:
        assert "streamlit" not in firsts
    if part(path) != "training" and path.name not in TORCH_FILES:
        assert not firsts & TORCH_FAMILY
        assert "safetensors.torch" not in names
    if part(path) == "pages":
        assert not firsts & {"pydicom", "sqlalchemy", "PIL"}


def loaded_after(statement: str) -> set[str]:
    """Return the modules that a fresh interpreter holds after a statement."""
    code = f"import sys\n{statement}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_pages_modules_pull_in_no_torch():
    modules = ["cxr_core.pipeline", "cxr_core.batch"]
    for package in ("ui", "reports", "imaging", "triage", "inference"):
        modules += [
            ".".join(path.relative_to(ROOT).with_suffix("").parts)
            for path in (CORE / package).glob("*.py")
            if path.name not in {"__init__.py", *TORCH_FILES}
        ]
    loaded = loaded_after("\n".join(f"import {module}" for module in modules))
    assert "cxr_core.pipeline" in loaded
    assert not loaded & TORCH_FAMILY


def test_the_worklist_for_pages_does_not_load_the_network():
    loaded = loaded_after("import cxr_core.worklist.service")
    assert "cxr_core.worklist.service" in loaded
    assert not loaded & {"onnxruntime", "streamlit"} | loaded & TORCH_FAMILY


def test_help_of_the_command_line_loads_nothing_heavy():
    loaded = loaded_after(
        "from typer.testing import CliRunner\nfrom cxr_core.cli import app\n"
        "assert CliRunner().invoke(app, ['--help']).exit_code == 0\n"
        "assert CliRunner().invoke(app, ['triage', '--help']).exit_code == 0"
    )
    assert "cxr_core.cli" in loaded
    assert not loaded & {"torch", "onnxruntime", "streamlit", "pydicom", "PIL", "numpy", "pandas", "scipy"}


def test_the_reader_of_imports_finds_all_kinds():
    tree = ast.parse("import a.b\ndef f():\n    from cxr_core import x\n    from cxr_core.y.z import w")
    assert imports(tree) == {"a.b", "cxr_core", "cxr_core.x", "cxr_core.y.z", "cxr_core.y.z.w"}
