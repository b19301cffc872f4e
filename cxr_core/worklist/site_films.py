"""Labelled films of a site answered by a model, a few at a time; nothing of them is stored.

The same way as every film's, `pipeline.answer`; decoded in children, as a worker does. Whoever reads may stop
after any group: what was read until then is whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice
from typing import TYPE_CHECKING

from cxr_core import pipeline
from cxr_core.batch import BATCH
from cxr_core.domain import Analysis, Notice
from cxr_core.errors import DataError, DecoderDied, Rejected
from cxr_core.evaluation.site_cases import Cases, Origin, all_answers, cases_of
from cxr_core.evaluation.site_listing import Listing
from cxr_core.imaging.refusals import reject
from cxr_core.pipeline import Film, Kit, Unfit
from cxr_core.worklist.decoder import DecoderPool
from cxr_core.worklist.handing import Handed
from cxr_core.worklist.values import Incoming

if TYPE_CHECKING:
    from cxr_core.worklist.service import Service

MOST = 20_000
"""Films in one reading."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A film that takes no part, and why; the name is shown, never kept."""

    name: str = field(repr=False)
    notice: Notice


@dataclass(slots=True)
class Read:
    """What was read so far.

    Attributes:
        films: looked at, listed or not.
        unlisted: files that the list does not name.
        copies: films with the very bytes of another one.
        unclear: lines of the list that several different files fit.
        refused: films of the list that could not be assessed.
    """

    films: int = 0
    unlisted: int = 0
    copies: int = 0
    unclear: set[int] = field(default_factory=set)
    refused: list[Refused] = field(default_factory=list)
    found: dict[int, Analysis] = field(default_factory=dict, repr=False)
    seen: set[str] = field(default_factory=set, repr=False)


class Reading:
    """A list's films being answered; call `step` until it returns False, then or at any time `cases`."""

    def __init__(self, service: Service, kit: Kit, listing: Listing, handed: Iterator[Handed]) -> None:
        """Begin; no film is read yet.

        Args:
            service: whose limits and decoding processes these are.
            kit: of the model, as `load` gives it.
            listing: the list.
            handed: the films, one after another; those that the list does not name are passed over.
        """
        self.read, self.listing = Read(), listing
        self._kit: Kit | None = kit
        self._manifest, self._service, self._handed = kit.classifier.manifest, service, handed
        settings = service.settings
        processes = settings.worker_processes or os.cpu_count() or 1
        self._pool = DecoderPool(
            service.limits,
            kit.classifier.manifest.recipe,
            processes=processes,
            timeout_s=settings.decode_timeout_s,
            memory_mb=settings.decode_memory_mb,
        )
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="decode")

    def step(self, films: int = BATCH) -> bool:
        """Answer the next films; return whether more may come.

        Raises:
            DataError: there are more than MOST.
            Busy: no process to decode in can be started.
        """
        kit = self._kit
        if kit is None:
            return False
        group = list(islice(self._handed, films))
        self.read.films += len(group)
        if self.read.films > MOST:
            raise DataError(f"more than {MOST:,} films; fit by fewer of them")
        wanted: list[tuple[int, Incoming]] = []
        for each in group:
            line = self.listing.find(each.name)
            if line is None:
                self.read.unlisted += 1
            elif isinstance(each, Incoming):
                wanted.append((line, each))
            else:
                self.read.refused.append(Refused(each.name, each.notice))
        now = self._service.clock()
        decoded = list(self._threads.map(lambda pair: self._prepared(pair[1].raw, kit, now), wanted))
        for (line, each), analysis in zip(wanted, pipeline.answer(decoded, kit), strict=True):
            self._keep(line, each.name, analysis)
        if not group:
            self.close()
        return bool(group)

    def cases(self) -> Cases:
        """Return the films that were answered, with the truth of the list.

        Raises:
            DataError: none was.
        """
        lines = [line for line in sorted(self.read.found) if line not in self.read.unclear]
        if not lines:
            raise DataError("none of the films that the list names could be assessed")
        analyses = [self.read.found[line] for line in lines]
        said = [self.listing.lines[line] for line in lines]
        return cases_of(
            self._manifest,
            analyses,
            [each.truth for each in said],
            [
                each.patient or analysis.study.patient_id or f"film:{analysis.sha256}"
                for each, analysis in zip(said, analyses, strict=True)
            ],
            Origin.FILES,
        )

    @property
    def missing(self) -> int:
        """How many lines of the list no film was found for."""
        refused = {self.listing.find(each.name) for each in self.read.refused}
        return len(self.listing.lines) - len(set(self.read.found) | self.read.unclear | refused)

    def close(self) -> None:
        """End the decoding processes and let go of network and films; what was read of them stays."""
        self._kit, self._handed = None, iter(())
        self._threads.shutdown(wait=True, cancel_futures=True)
        self._pool.close()

    def _prepared(self, raw: bytes, kit: Kit, now: datetime) -> Film | Analysis:
        try:
            limit = self._service.limits.max_bytes
            if not raw:
                raise reject("empty_file")
            if len(raw) > limit:
                raise reject("too_many_bytes", found=f"{len(raw) / 2**20:.1f}", limit=f"{limit / 2**20:.1f}")
            film = self._pool.prepare(raw, now=now).film
        except Rejected as exc:
            film = Unfit(Notice(exc.code, exc.message, exc.hint), "")
        except DecoderDied as exc:
            film = Unfit(Notice(exc.code, "The film's decoder had to be given up.", ""), "")
        return film if isinstance(film, Film) else pipeline.refused(film, kit)

    def _keep(self, line: int, name: str, analysis: Analysis) -> None:
        read = self.read
        if analysis.refusal is not None:
            read.refused.append(Refused(name, analysis.refusal))
        elif analysis.sha256 in read.seen:
            read.copies += 1
        elif line in read.found:
            read.unclear.add(line)
        else:
            read.seen.add(analysis.sha256)
            read.found[line] = _small(analysis)


def load(service: Service, model_id: str) -> Kit:
    """Return the kit of a model folder, every label of it answered for.

    Raises:
        ModelError: it may not be trusted.
        DataError: its labels cannot be fitted one by one.
    """
    from cxr_core.inference import gate_network, registry  # ONNX Runtime: not before films are read

    classifier = registry.load(service.settings.models_dir / model_id, threads=service.settings.threads)
    gate = gate_network.load(service.settings.gate)
    return Kit(service.limits, all_answers(classifier), service.policy, gate)


def _small(analysis: Analysis) -> Analysis:
    """Return the analysis without pixels and maps."""
    return replace(analysis, radiograph=None, features=None)
