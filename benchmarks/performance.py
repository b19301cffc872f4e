"""How long the performance page takes to open on 25,000 films × 15: `python benchmarks/performance.py`.

Made tables, no films. The first opening reads them; the second finds them kept. Imports stand apart: a server
pays them once, at its first look at the page.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from streamlit.testing.v1 import AppTest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from cxr_core.inference.manifest import read_manifest  # noqa: E402
from tests.inference.tiny import make_tiny_model, rewrite  # noqa: E402

PAGE = str(ROOT / "pages" / "performance.py")
FILMS, PATIENTS, MEMBERS = 25_000, 8_000, 4
TABS = ("Overview", "Operating point", "Calibration", "Spread", "Classes")


def made(root: Path) -> None:
    """Write a small model with large made-up tables."""
    folder = make_tiny_model(root)
    manifest = read_manifest(folder)
    labels, rng = list(manifest.labels), np.random.default_rng(0)
    doubt = rng.normal(-2.5, 1.0, (FILMS, len(labels)))
    files = [f"{number:08d}_000.png" for number in range(FILMS)]
    facts = pd.DataFrame(
        {
            "file": files,
            "patient": rng.integers(0, PATIENTS, FILMS),
            "age": rng.integers(18, 90, FILMS),
            "sex": rng.choice(["F", "M"], FILMS),
            "view": rng.choice(["AP", "PA"], FILMS),
            "source": "made",
        }
    )
    truth = (rng.random(doubt.shape) < 1 / (1 + np.exp(-doubt))).astype(int)
    members = 1 / (1 + np.exp(-(doubt[:, None] + rng.normal(0, 0.4, (FILMS, MEMBERS, len(labels))))))
    each = pd.DataFrame(members.reshape(-1, len(labels)), columns=labels)
    each.insert(0, "member", np.tile(np.arange(MEMBERS), FILMS))
    each.insert(0, "file", np.repeat(files, MEMBERS))
    together = pd.DataFrame(members.mean(axis=1), columns=labels)
    together.insert(0, "file", files)
    tables = folder / "evaluation"
    tables.mkdir()
    for kind, table in (
        ("labels", pd.concat([facts, pd.DataFrame(truth, columns=labels)], axis=1)),
        ("predictions", together),
        ("members", each),
    ):
        table.to_csv(tables / f"{kind}-test.csv", index=False, float_format="%.6g")
    rewrite(folder, replace(manifest, model=replace(manifest.model, members=MEMBERS)))


def opened(tab: str) -> tuple[float, float]:
    """Return the seconds of a first and of a second opening of a tab."""
    app = AppTest.from_file(PAGE, default_timeout=600)
    app.session_state["perf-tab"] = tab
    times = []
    for _ in range(2):
        began = time.perf_counter()
        app.run()
        times.append(time.perf_counter() - began)
        if app.exception or app.error:
            raise SystemExit(f"{tab}: {[each.value for each in (*app.exception, *app.error)]}")
    return times[0], times[1]


def main() -> None:
    """Print a line a tab."""
    table = Table("tab", "first opening, s", "second, s", title=f"{FILMS:,} films × 15 labels")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        made(root / "models")
        os.environ |= {
            "CXR_HOME": str(root / "home"),
            "CXR_MODELS_DIR": str(root / "models"),
            "CXR_MODEL": "tiny",
        }
        (root / "home").mkdir(mode=0o700)
        began = time.perf_counter()
        from cxr_core.ui import perf_overview, shell  # noqa: F401, PLC0415 -- the cost of importing, by itself

        imported = time.perf_counter() - began
        opened("Card")  # opens the worklist and hashes the model's files
        for tab in TABS:
            first, second = opened(tab)
            table.add_row(tab, f"{first:.2f}", f"{second:.2f}")
    table.caption = f"imports, once a server: {imported:.1f} s"
    Console().print(table)


if __name__ == "__main__":
    main()
