"""One film, one answer: bytes → decode (→ correct) → gate → preprocess → classify → calibrate → decide.

Whoever has read `analyse` downward has seen the product. Nothing here reads disk, database or wall
clock except `load_kit`, so page, command line and worker give the same answer for the same bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from cxr_core import __version__, logs
from cxr_core.domain import (
    AS_SENT,
    Analysis,
    Correction,
    Gate,
    GateOutcome,
    Notice,
    Radiograph,
    Study,
    Versions,
)
from cxr_core.errors import Rejected
from cxr_core.imaging import gate
from cxr_core.imaging.correct import corrected
from cxr_core.imaging.decode import decode
from cxr_core.imaging.limits import Limits
from cxr_core.imaging.preprocess import Recipe, network_input
from cxr_core.imaging.raster import NoFilm
from cxr_core.imaging.refusals import note, refusal
from cxr_core.inference import explain
from cxr_core.logs import Log
from cxr_core.settings import Settings
from cxr_core.triage.decide import decide, refuse
from cxr_core.triage.policy import Policy, load_policy

if TYPE_CHECKING:
    from cxr_core.inference.gate_network import GateNetwork
    from cxr_core.inference.runtime import Classifier

_log = Log(__name__)

INTERNAL = refusal("internal")
FUTURE = note("date_in_future")


@dataclass(frozen=True, slots=True)
class Kit:
    """What a process needs to answer; built once."""

    limits: Limits
    classifier: Classifier
    policy: Policy
    gate: GateNetwork

    @property
    def versions(self) -> Versions:
        """What every result of this kit names as its makers."""
        model = self.classifier.manifest
        gate = self.gate.manifest.name
        return Versions(f"{model.id} {model.version}", self.policy.version, gate, __version__)


@dataclass(frozen=True, slots=True, eq=False)
class Film:
    """A film on its way to the network.

    Attributes:
        radiograph: as decoded and corrected.
        gate: accepted or warned.
        array: (1, S, S) float32, what the network sees.
        small: (1, 64, 64) float32, what the gate's network sees.
        timings_ms: wall time of the steps so far.
        correction: that a person asked for.
    """

    radiograph: Radiograph
    gate: Gate
    array: NDArray[np.float32] = field(repr=False)
    small: NDArray[np.float32] = field(repr=False)
    timings_ms: dict[str, float]
    correction: Correction = AS_SENT


@dataclass(frozen=True, slots=True, eq=False)
class Unfit:
    """A film that the network will not see.

    Attributes:
        notice: why.
        sha256: of the source bytes.
        radiograph: as decoded and corrected, or None when decoding failed.
        timings_ms: wall time of the steps so far.
        correction: that a person asked for.
    """

    notice: Notice
    sha256: str
    radiograph: Radiograph | None = None
    timings_ms: dict[str, float] = field(default_factory=dict)
    correction: Correction = AS_SENT


def load_kit(settings: Settings) -> Kit:
    """Return the kit that the settings name.

    Raises:
        ModelError: the model folder is not what its manifest says.
        PolicyError: the policy is incomplete or contradicts itself.
    """
    # These bring in ONNX Runtime, which decoding processes do without.
    from cxr_core.inference import gate_network, registry

    classifier = registry.load(settings.models_dir / settings.model, threads=settings.threads)
    return Kit(Limits(), classifier, load_policy(settings.policy), gate_network.load(settings.gate))


def analyse(raw: bytes, kit: Kit, *, now: datetime, correction: Correction = AS_SENT) -> Analysis:
    """Return the one result for a file's bytes; never raises for what is in them.

    Args:
        raw: a PNG, JPEG or DICOM file.
        kit: limits, model and policy.
        now: aware; only tells whether the film's own date is possible.
        correction: how a person wants the film hung before anything judges it.
    """
    film = prepare(raw, kit, now=now, correction=correction)
    return answer([film], kit)[0]


def prepare(raw: bytes, kit: Kit, *, now: datetime, correction: Correction = AS_SENT) -> Film | Analysis:
    """Return the film ready for the network, or its refusal: decode, correct, gate, preprocess."""
    recipe = kit.classifier.manifest.recipe
    try:
        film = film_from(raw, kit.limits, recipe, now=now, correction=correction)
    except MemoryError as exc:
        _log_fault("prepare", exc)
        film = Unfit(INTERNAL, hashlib.sha256(raw).hexdigest(), correction=correction)
    return film if isinstance(film, Film) else refused(film, kit)


def film_from(
    raw: bytes, limits: Limits, recipe: Recipe, *, now: datetime, correction: Correction = AS_SENT
) -> Film | Unfit:
    """Return what `prepare` does, before policy and model: needs no kit, so a process without one can ask.

    Raises:
        MemoryError: there is too little; that says nothing about the film.
    """
    timings: dict[str, float] = {}
    radiograph: Radiograph | None = None
    try:
        with _timed(timings, "decode"):
            radiograph = corrected(decode(raw, limits), correction)
        with _timed(timings, "gate"):
            verdict, small = gate.inspect(radiograph)
            verdict = _dated(verdict, radiograph.study, now)
        with _timed(timings, "preprocess"):
            array = network_input(radiograph.pixels, recipe)
    except Rejected as exc:
        if isinstance(exc.__cause__, MemoryError):
            raise exc.__cause__ from None
        notice = Notice(exc.code, exc.message, exc.hint)
        radiograph = exc.radiograph if isinstance(exc, NoFilm) else radiograph
    except MemoryError:
        raise
    except Exception as exc:
        _log_fault("prepare", exc)
        notice = INTERNAL
    else:
        return Film(radiograph, verdict, array, small, timings, correction)
    return Unfit(notice, hashlib.sha256(raw).hexdigest(), radiograph, timings, correction)


def answer(films: Sequence[Film | Analysis], kit: Kit) -> list[Analysis]:
    """Return the result of each film, in order, after one pass of each network over all of them.

    What was refused before passes through; the model is asked only about what the gate lets pass.
    """
    looked = iter(_looked([film for film in films if isinstance(film, Film)], kit))
    films = [next(looked) if isinstance(film, Film) else film for film in films]
    answered = iter(_classified([film for film in films if isinstance(film, Film)], kit))
    return [next(answered) if isinstance(film, Film) else film for film in films]


def refused(film: Unfit, kit: Kit) -> Analysis:
    """Return the result that says why a person must look instead of the model."""
    radiograph = film.radiograph
    return Analysis(
        sha256=film.sha256,
        study=radiograph.study if radiograph else Study(),
        gate=Gate(GateOutcome.REFUSED, (film.notice,), radiograph.notes if radiograph else ()),
        predictions=(),
        abnormal=None,
        triage=refuse(kit.policy, film.notice),
        versions=kit.versions,
        refusal=film.notice,
        radiograph=radiograph,
        timings_ms=film.timings_ms,
        correction=film.correction,
    )


def heatmaps(analysis: Analysis, kit: Kit) -> dict[str, NDArray[np.float32]]:
    """Return for each of the model's labels an (h, w) float32 map of where the model looked.

    Closed form from the feature maps that came with the answer: no further pass of the network.

    Raises:
        Rejected: the analysis was refused, so there is nothing to show.
    """
    if analysis.features is None:
        why = analysis.refusal or INTERNAL
        raise Rejected(why.code, why.message, why.hint)
    maps = explain.heatmaps(analysis.features, kit.classifier.heads)
    return dict(zip(kit.classifier.manifest.labels, maps, strict=True))


def _looked(films: Sequence[Film], kit: Kit) -> list[Film | Analysis]:
    """Return the films with the gate's word after its network has looked, or their refusals."""
    if not films:
        return []
    timings: dict[str, float] = {}
    try:
        with _timed(timings, "gate"):
            looks = kit.gate.look(np.stack([film.small for film in films]))
    except Exception as exc:
        _log_fault("gate", exc)
        if len(films) == 1:
            return [_refused_film(films[0], kit)]
        return [result for film in films for result in _looked([film], kit)]
    passed: list[Film | Analysis] = []
    for film, look in zip(films, looks, strict=True):
        spent = film.timings_ms | {"gate": film.timings_ms.get("gate", 0.0) + timings["gate"] / len(films)}
        try:
            said = gate.judged(film.radiograph, film.gate, look, kit.gate.manifest.limits)
            passed.append(replace(film, gate=said, timings_ms=spent))
        except Rejected as exc:
            passed.append(_refused_film(film, kit, Notice(exc.code, exc.message, exc.hint), spent))
    return passed


def _classified(films: Sequence[Film], kit: Kit) -> list[Analysis]:
    """Return the results of one pass; if it fails, of one pass per film, so that none spoils the others."""
    if not films:
        return []
    timings: dict[str, float] = {}
    try:
        with _timed(timings, "classify"):
            output = kit.classifier.run(np.stack([film.array for film in films]))
    except Exception as exc:
        _log_fault("classify", exc)
        if len(films) == 1:
            return [_refused_film(films[0], kit)]
        return [result for film in films for result in _classified([film], kit)]
    share = {"classify": timings["classify"] / len(films)}
    rows = zip(films, output.logits, output.features, strict=True)
    return [_concluded(film, logits, features, kit, share) for film, logits, features in rows]


def _concluded(
    film: Film, logits: NDArray[np.float32], features: NDArray[np.float32], kit: Kit, share: dict[str, float]
) -> Analysis:
    """Return the result of one film from its (M, L) logits and features: distance, calibrate, decide."""
    timings, verdict = film.timings_ms | share, film.gate
    try:
        if kit.classifier.distance is not None:
            with _timed(timings, "distance"):
                verdict = kit.classifier.distance.judged(film.gate, features)
        with _timed(timings, "decide"):
            predictions, abnormal = kit.classifier.predictions(logits)
            triage = decide(kit.policy, verdict, predictions, abnormal)
    except Rejected as exc:
        return _refused_film(film, kit, Notice(exc.code, exc.message, exc.hint), timings)
    except Exception as exc:
        _log_fault("decide", exc)
        return _refused_film(film, kit)
    return Analysis(
        sha256=film.radiograph.sha256,
        study=film.radiograph.study,
        gate=verdict,
        predictions=predictions,
        abnormal=abnormal,
        triage=triage,
        versions=kit.versions,
        radiograph=film.radiograph,
        features=features,
        timings_ms=timings,
        correction=film.correction,
    )


def _refused_film(
    film: Film, kit: Kit, notice: Notice = INTERNAL, timings: dict[str, float] | None = None
) -> Analysis:
    radiograph = film.radiograph
    spent = film.timings_ms if timings is None else timings
    return refused(Unfit(notice, radiograph.sha256, radiograph, spent, film.correction), kit)


def _dated(verdict: Gate, study: Study, now: datetime) -> Gate:
    """Return the gate's verdict with a note if the film was taken tomorrow or later."""
    if study.acquired is None:
        return verdict
    acquired = study.acquired if study.acquired.tzinfo else study.acquired.replace(tzinfo=UTC)
    if acquired <= now + timedelta(days=1):
        return verdict
    return replace(verdict, notes=(*verdict.notes, FUTURE))


@contextmanager
def _timed(timings: dict[str, float], step: str) -> Iterator[None]:
    start = perf_counter()
    try:
        yield
    finally:
        timings[step] = (perf_counter() - start) * 1e3


def _log_fault(step: str, exc: Exception) -> None:
    """Log where it happened, but no message: a library's message may quote the patient."""
    _log.error("fault", step=step, error=type(exc).__name__, at=logs.places(exc))
