"""How well the models do, from the tables in their folders; read again only where a file of them changed.

What measures is imported when first asked for: no other page needs it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from cxr_core.errors import ModelError
from cxr_core.worklist import model_folders, models

if TYPE_CHECKING:
    from cxr_core.evaluation.elsewhere import Elsewhere
    from cxr_core.evaluation.localise import HitRate
    from cxr_core.evaluation.noise import Noise
    from cxr_core.evaluation.record import Evaluation
    from cxr_core.evaluation.robustness import Effect
    from cxr_core.evaluation.scored import Scored
    from cxr_core.worklist.service import Service

MOST = 48
"""Tables, figures and pieces of evidence kept at a time; the least used goes first."""

RESAMPLES = 2000
"""Of the bootstrap by patient."""

Progress = Callable[[float], object]
"""Told the share that is done."""
Made = TypeVar("Made")


@dataclass(frozen=True, slots=True)
class Evidence:
    """What else was measured of a model; each empty where it was not, and computed when it is asked for."""

    _path: Path

    @property
    def hits(self) -> dict[str, HitRate]:
        """Label → how often a heatmap's peak lay in the radiologist's box."""
        from cxr_core.evaluation.localise import hit_rates

        return _once(self._path, ("hits",), lambda: hit_rates(self._path))

    @property
    def noise(self) -> dict[str, Noise]:
        """Finding → mined labels and the model beside labels that radiologists agreed on."""
        from cxr_core.evaluation.noise import label_noise

        return _once(self._path, ("noise",), lambda: label_noise(self._path))

    @property
    def external(self) -> dict[str, Elsewhere]:
        """Data set's id → figures on films of another population."""
        from cxr_core.evaluation.elsewhere import elsewhere
        from cxr_core.evaluation.external import populations_in

        return _once(
            self._path,
            ("external",),
            lambda: {each: elsewhere(self._path, each) for each in populations_in(self._path)},
        )

    @property
    def robustness(self) -> tuple[Effect, ...]:
        """What changes of the film do, a row a change and label."""
        from cxr_core.evaluation.robustness import robustness

        return _once(self._path, ("robustness",), lambda: robustness(self._path))


_kept: OrderedDict[tuple[object, ...], Any] = OrderedDict()
_lock = Lock()


def splits(service: Service, model_id: str) -> tuple[str, ...]:
    """Return the splits that a model has tables of, val first; raises ModelError."""
    from cxr_core.evaluation.tables import splits_in

    return splits_in(_sound(service, model_id))


def scored(service: Service, model_id: str, split: str) -> Scored:
    """Return a model's tables of a split; raises ModelError: there are none, or the model is not sound."""
    from cxr_core.evaluation.scored import read_scored

    path = _sound(service, model_id)
    if split not in splits(service, model_id):
        raise ModelError(f"{model_id} has no tables of {split!r}")
    return _once(path, ("scored", split), lambda: read_scored(path, split))


def evaluation(service: Service, model_id: str, split: str) -> Evaluation | None:
    """Return the figures with intervals from the model folder or computed here; None where there are none."""
    from cxr_core.evaluation import report

    path = _sound(service, model_id)
    films = scored(service, model_id, split)
    found = _once(path, ("stored", split), lambda: report.stored(path, split, films))
    if found is not None:
        return found
    with _lock:
        key = (path, model_folders.stamp(path), "computed", split)
        if key in _kept:
            _kept.move_to_end(key)
        return _kept.get(key)


def measured(
    service: Service, model_id: str, split: str, resamples: int, on_progress: Progress | None
) -> Evaluation:
    """Return figures with intervals, computed now and kept in this process while the files stay."""
    from cxr_core.evaluation import report

    path = _sound(service, model_id)
    films = scored(service, model_id, split)
    return _once(
        path,
        ("computed", split),
        lambda: report.evaluate(films, resamples=resamples, policy=service.policy, on_progress=on_progress),
    )


def evidence(service: Service, model_id: str) -> Evidence:
    """Return what else was measured of a model; raises ModelError."""
    return Evidence(_sound(service, model_id))


def _sound(service: Service, model_id: str) -> Path:
    return service.settings.models_dir / models.sound(service, model_id).id


def _once(path: Path, what: tuple[object, ...], make: Callable[[], Made]) -> Made:
    """Return what was made before, while no file of the folder changed."""
    key = (path, model_folders.stamp(path), *what)
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]  # type: ignore[no-any-return]
    made = make()
    with _lock:
        _kept[key] = made
        while len(_kept) > MOST:
            _kept.popitem(last=False)
    return made
