"""Model folders as people look at them: what each says of itself, and whether its files are what it lists.

No network is opened here. What was read is kept until a file of the folder changes.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from cxr_core.errors import ModelError
from cxr_core.files import printable
from cxr_core.inference.manifest import MANIFEST, Manifest, read_manifest
from cxr_core.inference.stripped import elsewhere

CARD, HISTORY = "card.md", "evaluation/history.csv"
MOST_BYTES = 4_000_000
"""A card or a history that is larger is none."""

SPLITS, KINDS = ("val", "test"), ("auc", "ap")

Stamp = tuple[tuple[str, int, int, int], ...]
"""Name, size, times of writing and of any change (of rights too) of every file: while it stays, so does
what was read."""


@dataclass(frozen=True, slots=True)
class Figure:
    """A measured figure with its 95 % interval, where one was measured."""

    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """How one member was trained, an epoch a place; None where nothing was measured then.

    Attributes:
        model: id of the model.
        member: which of its members.
        epochs: numbers, rising.
        train_loss, val_loss: mean loss of a film.
        judged_by: what `judged` is, e.g. `mean_auc`; empty where nothing was.
        judged: that figure on val.
    """

    model: str
    member: str
    epochs: tuple[int, ...]
    train_loss: tuple[float | None, ...]
    val_loss: tuple[float | None, ...]
    judged_by: str
    judged: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class Folder:
    """A model folder.

    Attributes:
        id: its name.
        manifest: what it says of itself, or None where that cannot be read.
        sha256: of the manifest.
        fault: why it must not be used; empty where every file is what the manifest lists.
        size_bytes: of all files.
        epochs: of its longest trained member; 0 where nobody wrote that down.
        minutes: that training took, all members together, or None.
        elsewhere: where its network is, of a folder that holds figures only; else empty.
    """

    id: str
    manifest: Manifest | None
    sha256: str
    fault: str
    size_bytes: int
    epochs: int = 0
    minutes: float | None = None
    elsewhere: str = ""

    @property
    def answers(self) -> bool:
        """Whether films could be answered by it: its files are as listed, and the network is among them."""
        return not (self.fault or self.elsewhere)

    @property
    def name(self) -> str:
        """As results name it, "id version"; the id alone where the manifest cannot be read."""
        return f"{self.id} {self.manifest.version}" if self.manifest else self.id

    def figure(self, split: str, kind: str) -> Figure | None:
        """Return the mean over labels of `auc` or `ap` on `val` or `test`, or None."""
        return figure(self.manifest.evaluation, split, kind) if self.manifest else None


def folders(root: Path) -> tuple[Folder, ...]:
    """Return all model folders, sound or not, by id; those without manifest and files of network are none."""
    if not root.is_dir():
        return ()
    found = sorted(path for path in root.iterdir() if path.is_dir() and (path / MANIFEST).is_file())
    return tuple(folder(path) for path in found)


def folder(path: Path) -> Folder:
    """Return one model folder as it is now."""
    try:
        return _read(path, stamp(path))
    except OSError as exc:
        return Folder(path.name, None, "", f"{path.name}: cannot be read ({type(exc).__name__})", 0)


def stamp(path: Path) -> Stamp:
    """Return what changes with any file of a folder; raises OSError."""
    found = []
    for each in sorted(path.rglob("*")):
        if each.is_file():
            stat = each.stat()
            times = stat.st_mtime_ns, stat.st_ctime_ns
            found.append((each.relative_to(path).as_posix(), stat.st_size, *times))
    return tuple(found)


@lru_cache(maxsize=128)
def _read(path: Path, stamp_: Stamp) -> Folder:
    from cxr_core.inference import registry  # ONNX Runtime: no page needs it before it looks at models

    size = sum(size for _, size, *_ in stamp_)
    manifest, fault = None, ""
    try:
        manifest = read_manifest(path)
        registry.verify(path)
    except ModelError as exc:
        fault = printable(str(exc))
    sha256 = registry.sha256_of(path / MANIFEST)
    curves = read_curves(path) if manifest else ()
    said = manifest.evaluation if manifest else {}
    return Folder(
        id=path.name,
        manifest=manifest,
        sha256=sha256,
        fault=fault,
        size_bytes=size,
        epochs=max((curve.epochs[-1] for curve in curves), default=int(said.get("epochs", 0))),
        minutes=said.get("minutes", _minutes(path)) if manifest else None,
        elsewhere=elsewhere(path),
    )


def figure(evaluation: Mapping[str, float], split: str, kind: str) -> Figure | None:
    """Return the mean figure of a split: `val_auc`; in older folders `val_mean_auc` or `val_mean_auc_of_12`.

    Its interval stands under the same name with `_low` and `_high`.
    """
    name = re.compile(rf"{split}_(mean_)?{kind}(_of_\d+)?")
    for key in sorted(evaluation):
        if name.fullmatch(key):
            return Figure(evaluation[key], evaluation.get(f"{key}_low"), evaluation.get(f"{key}_high"))
    return None


def read_card(path: Path) -> str:
    """Return a model's card as it is written; empty where there is none."""
    return _text(path / CARD)


def read_curves(path: Path) -> tuple[Curve, ...]:
    """Return how each member was trained; none where the folder does not say so in a form that is known."""
    rows = _history(path)
    judged = next(
        (key for key in (rows[0] if rows else ()) if key.startswith("val_") and key != "val_loss"), ""
    )
    members: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        members.setdefault(row.get("member") or "0", []).append(row)
    curves = []
    for member, its in members.items():
        numbered = sorted(
            (int(epoch), row) for row in its if (epoch := _number(row.get("epoch"))) is not None
        )
        if not numbered:
            continue
        epochs, ordered = zip(*numbered, strict=True)
        curves.append(
            Curve(
                model=path.name,
                member=printable(member),
                epochs=epochs,
                train_loss=tuple(_number(row.get("train_loss")) for row in ordered),
                val_loss=tuple(_number(row.get("val_loss")) for row in ordered),
                judged_by=printable(judged.removeprefix("val_")),
                judged=tuple(_number(row.get(judged)) for row in ordered),
            )
        )
    return tuple(curves)


def _minutes(path: Path) -> float | None:
    seconds = [value for row in _history(path) if (value := _number(row.get("seconds"))) is not None]
    return sum(seconds) / 60 if seconds else None


def _history(path: Path) -> list[dict[str, str]]:
    try:
        return list(csv.DictReader(io.StringIO(_text(path / HISTORY))))
    except csv.Error:
        return []


def _text(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_BYTES:
            return ""
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if abs(value) < 1e12 else None
