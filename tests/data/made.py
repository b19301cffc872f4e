"""Small data sets on disk, in each layout, with films that are quickly made."""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

import pandas as pd

from tests.films import png

drawn = cache(partial(png, chest=0.0))

HEADER = "Image Index,Finding Labels,Follow-up #,Patient ID,Patient Age,Patient Gender,View Position"


def films(folder: Path, names: list[str], side: int = 64, first: int = 0) -> None:
    """Write one film for each name, no two that look alike."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, name in enumerate(names):
        (folder / name).write_bytes(drawn(first + number, side))


def nih(root: Path, *, films_each: int = 2, patients: int = 12) -> Path:
    """Write a data set in NIH's layout: patients 1 … n, findings by turns, official lists."""
    rows, lists = [HEADER], {"train": [], "val": [], "test": []}
    said = ["No Finding", "Effusion", "Effusion|Mass", "No Finding"]
    names = []
    for patient in range(1, patients + 1):
        split = "test" if patient % 6 == 0 else "val" if patient % 6 == 5 else "train"
        for film in range(films_each):
            name = f"{patient:08d}_{film:03d}.png"
            names.append(name)
            lists[split].append(name)
            sex, view = ("F", "PA") if patient % 2 else ("M", "AP")
            rows.append(f"{name},{said[patient % 4]},{film},{patient},{30 + patient},{sex},{view}")
    films(root / "images", names)
    (root / "Data_Entry_2017_v2020.csv").write_text("\n".join(rows) + "\n")
    for split, listed in lists.items():
        (root / f"{split}_list.txt").write_text("\n".join(listed) + "\n")
    return root


def csv(root: Path, rows: list[dict[str, object]], *, side: int = 64) -> Path:
    """Write labels.csv and a film for every file that it names."""
    root.mkdir(parents=True, exist_ok=True)
    pd.DataFrame(rows).to_csv(root / "labels.csv", index=False)
    films(root / "images", sorted({str(row["file"]) for row in rows}), side)
    return root
