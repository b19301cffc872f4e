"""A model folder whose tables are added to: all are made aside, then put there and named in one go."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from cxr_core.errors import ModelError
from cxr_core.evaluation import localise
from cxr_core.inference import registry
from cxr_core.inference.manifest import MANIFEST, Manifest, read_manifest
from cxr_core.inference.stripped import NETWORK_FILES


@contextmanager
def aside(folder: Path) -> Iterator[Path]:
    """Yield a copy of a sound model's figures, without its network, to write tables into; then throw it away.

    Raises:
        ModelError: the folder is not sound, or cannot be copied.
    """
    registry.verify(folder)
    with ExitStack() as stack:
        with _plainly(folder):
            copy = Path(stack.enter_context(TemporaryDirectory(prefix="cxr-"))) / folder.name
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(*NETWORK_FILES))
        yield copy


def put(made: Path, folder: Path, manifest: Manifest | None = None) -> None:
    """Put what differs in a copy made by `aside` into its folder, and name it in the manifest.

    Args:
        made: the copy.
        folder: of the model.
        manifest: to be sealed; None: as it is, but for what the tables say of the heatmaps.

    Raises:
        ModelError: the folder cannot be written.
    """
    whole = _restated(made) if manifest is None else manifest
    names = [path.relative_to(made) for path in sorted(made.rglob("*")) if path.is_file()]
    other = [name for name in names if str(name) != MANIFEST and not _same(made / name, folder / name)]
    with _plainly(folder), TemporaryDirectory(prefix=".figures-", dir=folder.parent) as space:
        for name in other:
            (Path(space) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(made / name, Path(space) / name)
        for name in other:  # all lie on the folder's disk
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(space) / name).replace(folder / name)
        registry.seal(folder, whole)


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and filecmp.cmp(one, other, shallow=False)


def _restated(made: Path) -> Manifest:
    manifest = read_manifest(made)
    figures = {name: value for name, value in manifest.evaluation.items() if not localise.is_stated(name)}
    return replace(manifest, evaluation=figures | localise.stated(made))


@contextmanager
def _plainly(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise ModelError(f"{folder.name}: cannot be written ({exc.strerror or type(exc).__name__})") from exc
