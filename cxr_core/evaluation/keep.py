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
def aside(folder: Path, *, beside: bool = False) -> Iterator[Path]:
    """Yield a copy of a sound model's figures, without its network, to write tables into; then throw it away.

    Args:
        folder: of the model.
        beside: make it beside the folder, so that `put` only has to move files.

    Raises:
        ModelError: the folder is not sound, or no copy can be made there.
    """
    registry.verify(folder)
    with ExitStack() as stack:
        with _plainly(folder):
            place = folder.parent if beside else None
            space = stack.enter_context(TemporaryDirectory(prefix=".figures-", dir=place))
            copy = Path(space) / folder.name
            shutil.copytree(folder, copy, ignore=shutil.ignore_patterns(*NETWORK_FILES))
        yield copy


def put(made: Path, folder: Path, manifest: Manifest | None = None) -> None:
    """Move what differs in a copy made by `aside` into its folder, and name it in the manifest.

    Args:
        made: the copy, beside the folder.
        folder: of the model.
        manifest: to be sealed; None: as it is, but for what the tables say of the heatmaps.

    Raises:
        ModelError: the folder cannot be written.
    """
    whole = _restated(made) if manifest is None else manifest
    with _plainly(folder):
        for path in sorted(path for path in made.rglob("*") if path.is_file() and path.name != MANIFEST):
            target = folder / path.relative_to(made)
            if not target.is_file() or not filecmp.cmp(path, target, shallow=False):
                target.parent.mkdir(parents=True, exist_ok=True)
                path.replace(target)
        registry.seal(folder, whole)


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
