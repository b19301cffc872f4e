"""Many films: threads read and decode while the network answers in batches; resumable predictions."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np

from cxr_core.domain import ABNORMAL, AS_SENT, Analysis, Correction, GateOutcome
from cxr_core.files import is_formula, name, read
from cxr_core.imaging.correct import offered
from cxr_core.imaging.refusals import refusal, warning
from cxr_core.ledger import Ledger, check_maker
from cxr_core.pipeline import Film, Kit, Unfit, answer, prepare, refused

Item = TypeVar("Item")
Result = TypeVar("Result")


class Prepare(Protocol):
    """What `pipeline.prepare` is, whether it works here or in another process."""

    def __call__(
        self, raw: bytes, kit: Kit, *, now: datetime, correction: Correction = AS_SENT
    ) -> Film | Analysis:
        """Return the film ready for the network, or its refusal."""


BATCH = 16
_CORRECTIONS = 2
"""A film can be turned and inverted; a third refusal says that the gate is at odds with itself."""

UNREADABLE = refusal("unreadable_file")


@dataclass(frozen=True, slots=True)
class Tally:
    """How many of the files asked for were answered, refused, or done in an earlier run."""

    answered: int
    refused: int
    skipped: int
    skipped_refused: int


def analyse_many(
    raws: Iterable[bytes], kit: Kit, *, now: datetime, threads: int = 0, batch: int = BATCH
) -> Iterator[Analysis]:
    """Yield what `analyse` would return for each file's bytes, in order.

    Args:
        raws: PNG, JPEG or DICOM files; read no further ahead than two batches.
        kit: limits, model and policy.
        now: see `analyse`.
        threads: that decode; 0 means one per processor.
        batch: films in one pass of the network.
    """
    films = _ahead(lambda raw: prepare(raw, kit, now=now), raws, threads, 2 * batch)
    for group in batched(films, batch):
        yield from answer(group, kit)


def analyse_files(
    files: Sequence[Path],
    kit: Kit,
    *,
    now: datetime,
    threads: int = 0,
    batch: int = BATCH,
    keep_pixels: bool = False,
    prepare: Prepare = prepare,
) -> Iterator[tuple[Path, Analysis]]:
    """Yield each file with its result, in order; a file that cannot be read is refused.

    Arguments are those of `analyse_many`. `keep_pixels` leaves the decoded film in the result; without
    it memory does not grow with the films' resolution, and `Analysis.radiograph.pixels` is empty.
    `prepare` may do its work elsewhere; the threads then only read and wait.
    """

    def work(file: Path) -> Film | Analysis:
        film = prepare_file(file, kit, now, prepare)
        return film if keep_pixels else _without_pixels(film)

    films = _ahead(work, files, threads, 2 * batch)
    results = (result for group in batched(films, batch) for result in answer(group, kit))
    yield from zip(files, results, strict=True)


def corrected(file: Path, analysis: Analysis, kit: Kit, *, now: datetime, prepare: Prepare) -> Analysis:
    """Return the answer to a refused file once it hangs as its refusals offer; the same where none does.

    Nobody has looked at it, so it is warned of: a person must look, whatever the answer.
    """
    for _ in range(_CORRECTIONS):
        offer = offered(analysis)
        if offer is None:
            break
        film = prepare_file(file, kit, now, partial(prepare, correction=offer))
        if isinstance(film, Film):
            warnings = (*film.gate.warnings, warning("corrected_unseen"))
            film = replace(film, gate=replace(film.gate, outcome=GateOutcome.WARNED, warnings=warnings))
        (analysis,) = answer([film], kit)
    return analysis


def predict(
    files: Sequence[Path],
    kit: Kit,
    out: Path,
    *,
    now: datetime,
    threads: int = 0,
    batch: int = BATCH,
    progress: Callable[[int], None] = lambda _: None,
    prepare: Prepare = prepare,
) -> Tally:
    """Append calibrated probabilities of all files that `out` does not hold yet.

    `out` has the columns `file`, the model's labels, `abnormal`; what the model does not assess is empty.
    Refused files go to
    `<out without suffix>.refused.csv` (`file`, `code`, `message`, `hint`) and are not tried again.
    Each batch is on disk before the next is asked for, so a killed run goes on where it stopped.

    Arguments are those of `analyse_files`; the folder of `out` exists; `progress` is told how many more
    films are done: first those of earlier runs, then each batch.

    Raises:
        StoreError: `out` has other columns, another model or gate wrote it, or it cannot be written.
    """
    model = kit.classifier.manifest
    made = kit.versions
    check_maker(out, {"model": made.model, "onnx_sha256": model.files["model.onnx"], "gate": made.gate})
    columns = ("file", *(label for label in model.labels if label != ABNORMAL))
    columns += (ABNORMAL,) if ABNORMAL in model.labels else ()
    with (
        Ledger(out, columns) as answers,
        Ledger(out.with_suffix(".refused.csv"), ("file", "code", "message", "hint")) as refusals,
    ):
        done = answers.done | refusals.done
        todo = [file for file in files if csv_name(file) not in done]
        before = sum(csv_name(file) in refusals.done for file in files)
        progress(len(files) - len(todo))
        results = analyse_files(todo, kit, now=now, threads=threads, batch=batch, prepare=prepare)
        answered = 0
        for group in batched(results, batch):
            good = [_row(file, result, columns[1:]) for file, result in group if result.refusal is None]
            bad = [
                (csv_name(f), r.refusal.code, r.refusal.message, r.refusal.hint)
                for f, r in group
                if r.refusal
            ]
            answers.append(good)
            refusals.append(bad)
            answered += len(good)
            progress(len(group))
    return Tally(answered, len(todo) - answered, len(files) - len(todo), before)


def csv_name(file: Path) -> str:
    """Return the file's path so that a spreadsheet does not take it for a formula."""
    text = name(file)
    return f"./{text}" if is_formula(text) else text


def _row(file: Path, result: Analysis, labels: Sequence[str]) -> tuple[str, ...]:
    last = (result.abnormal,) if result.abnormal else ()
    said = {each.label: f"{each.probability:.6g}" for each in (*result.predictions, *last)}
    return (csv_name(file), *(said.get(label, "") for label in labels))


def prepare_file(file: Path, kit: Kit, now: datetime, prepare: Prepare) -> Film | Analysis:
    """Return what `prepare` makes of a file's bytes, no more of them than a film may have; never raises."""
    try:
        raw = read(file, kit.limits.max_bytes + 1)
    except OSError:
        return refused(Unfit(UNREADABLE, sha256(b"").hexdigest()), kit)
    return prepare(raw, kit, now=now)


def _without_pixels(film: Film | Analysis) -> Film | Analysis:
    if film.radiograph is None:
        return film
    return replace(film, radiograph=replace(film.radiograph, pixels=np.empty((0, 0), dtype=np.float32)))


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield the items in lists of `size`, the last one shorter (`itertools.batched` of Python 3.12)."""
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


def _ahead(
    work: Callable[[Item], Result], items: Iterable[Item], threads: int, ahead: int
) -> Iterator[Result]:
    """Yield `work(item)` in order while up to `ahead` further items are under way."""
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(threads or os.cpu_count() or 1, thread_name_prefix="decode") as pool:
        try:
            for item in items:
                pending.append(pool.submit(work, item))
                if len(pending) >= ahead:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
