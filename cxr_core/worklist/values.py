"""What goes into the worklist's service and what comes out: frozen values, no database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from cxr_core.domain import AS_SENT, Analysis, Correction, Notice, Sex, State, Study, Urgency, View


class Source(StrEnum):
    """How a film came in."""

    PAGE = "page"
    CLI = "cli"
    DEMO = "demo"


class Status(StrEnum):
    """What people have done with a study."""

    NEW = "new"
    CLAIMED = "claimed"
    ACKNOWLEDGED = "acknowledged"
    READ = "read"


class ImageStatus(StrEnum):
    """Where a film stands."""

    WAITING = "waiting"
    ASSESSED = "assessed"
    REFUSED = "refused"
    DEAD = "dead"
    CONFLICT = "conflict"


INTERACTIVE, BATCH, AGAIN = 0, 1, 2
"""Priorities: somebody waits at the screen, or not, or there is an answer already and another is wanted."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A file handed in.

    Attributes:
        name: as given; shown, never used as a path, never logged.
        raw: its bytes.
    """

    name: str = field(repr=False)
    raw: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Receipt:
    """The answer "stored": blob and rows are on disk.

    Attributes:
        sha256: of the film.
        study_id: where it belongs.
        new: False where the very same film was there before.
        conflict: another film had its SOPInstanceUID first; this one is kept and shown to a person.
    """

    sha256: str
    study_id: str
    new: bool
    conflict: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """One file of a batch: taken in (`receipt`) or refused at the door (`refusal`)."""

    name: str
    receipt: Receipt | None
    refusal: Notice | None


@dataclass(frozen=True, slots=True)
class BatchView:
    """How far a batch has come.

    Attributes:
        total: files announced.
        stored: taken in; `known` of them had been there before.
        answered: of those taken in, how many have been assessed, refused or given up.
        refused: name and reason of every file refused at the door, by the model's gate, or given up.
        turned_away: how many of `refused` were refused at the door; the others count as stored too.
        broken_off: it stopped before the last file and nobody is working on it.
    """

    id: str
    created: datetime
    source: str
    total: int
    stored: int
    known: int
    answered: int
    refused: tuple[tuple[str, Notice], ...]
    turned_away: int
    broken_off: bool


@dataclass(frozen=True, slots=True)
class Query:
    """What part of the list to show; empty means no limit.

    Attributes:
        urgencies, statuses: any of these; no status means all that are not read.
        finding: this label is positive.
        since, until: received in [since, until).
        text: contained in patient id, accession or study id, whatever the case.
        offset, limit: page.
    """

    urgencies: frozenset[Urgency] = frozenset()
    statuses: frozenset[Status] = frozenset()
    finding: str = ""
    since: datetime | None = None
    until: datetime | None = None
    text: str = ""
    offset: int = 0
    limit: int = 50


@dataclass(frozen=True, slots=True)
class Overridden:
    """That a person changed the urgency of a study.

    Attributes:
        urgency: that they gave; what came in since may have raised the study's above it.
        by: who that was.
        films: what the films alone say.
    """

    urgency: Urgency
    by: str
    films: Urgency


@dataclass(frozen=True, slots=True)
class Line:
    """One row of the list.

    Attributes:
        state: None while no film of it has been assessed or refused.
        reason: first of the study's reasons, for states without findings.
        since: from when the wait runs, `acquired` where the film says when, else `received`.
        waiting_s: until now, or until it was read.
        limit_s: longest wait of its tier by the policy.
        thumbnail: PNG or None.
        version: to be named by whoever acts on it.
        acknowledged_by: who told the critical result, or None.
        overridden: who changed the urgency, or None where it is what the films say.
    """

    study_id: str
    state: State | None
    urgency: Urgency
    findings: tuple[str, ...]
    reason: str
    patient_id: str
    age_years: float | None
    sex: Sex
    view: View
    acquired: datetime | None
    received: datetime
    since: datetime
    waiting_s: float
    limit_s: float
    status: Status
    claimed_by: str | None
    acknowledged: bool
    source: str
    file: str
    films: int
    thumbnail: bytes | None = field(repr=False)
    version: int
    acknowledged_by: str | None = None
    overridden: Overridden | None = None

    @property
    def overdue(self) -> bool:
        """Unread for longer than its tier allows."""
        return self.status is not Status.READ and self.waiting_s > self.limit_s


@dataclass(frozen=True, slots=True)
class Page:
    """A page of the list; `total` counts all studies that fit the query."""

    lines: tuple[Line, ...]
    total: int


@dataclass(frozen=True, slots=True)
class Tier:
    """Open studies of one urgency: how many, how many overdue, since when the oldest waits."""

    urgency: Urgency
    count: int
    overdue: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Alert:
    """An unacknowledged critical study."""

    study_id: str
    patient_id: str
    since: datetime
    version: int


@dataclass(frozen=True, slots=True, eq=False)
class FilmView:
    """One film of a study and what is known of it.

    Attributes:
        analysis: as the film, the model and what a person typed say; without pixels and feature maps; while
            the film waits or once it was given up, of the answer before. None where there is none, or none
            that can be read, and for conflicts.
        heatmaps: per label (h, w) float32; empty where there are none.
        notice: why there is no answer as the film hangs now, or None while there is one or it waits.
        previous: how many results of other models, policies or corrections exist.
        correction: how a person had it hung anew; while it waits, `analysis` may be of another.
        offer: the correction that would set it right by what it was refused for; None where there is none.
    """

    sha256: str
    file: str
    status: ImageStatus
    received: datetime
    size_bytes: int
    analysis: Analysis | None
    heatmaps: dict[str, NDArray[np.float32]] = field(repr=False)
    notice: Notice | None
    previous: int
    correction: Correction = AS_SENT
    offer: Correction | None = None

    @property
    def corrects(self) -> bool:
        """It waits for its answer as it hangs now."""
        waits = self.status is ImageStatus.WAITING
        return waits and self.analysis is not None and self.analysis.correction != self.correction


@dataclass(frozen=True, slots=True, eq=False)
class StudyView:
    """A study as a reader opens it: its line, who it is, its films in order of arrival, what people did.

    Attributes:
        reviews: everything, in order; what was undone too.
        standing: what of it is not undone.
    """

    line: Line
    study: Study
    films: tuple[FilmView, ...]
    reasons: tuple[str, ...]
    action: str
    reviews: tuple[Review, ...]
    standing: Standing = field(default_factory=lambda: Standing())


@dataclass(frozen=True, slots=True)
class Review:
    """What a person did with a study, and when; `id` is named to undo it."""

    at: datetime
    actor: str
    kind: str
    data: dict[str, str]
    id: int = 0


@dataclass(frozen=True, slots=True)
class Opinion:
    """What one person holds of one finding.

    Attributes:
        agrees: with what the model said.
        positive: what the model said at the time.
        model: "id version" of the model that said it; several, where films had several, joined by commas.
        review: id of the entry, named to undo it.
    """

    finding: str
    agrees: bool
    by: str
    at: datetime
    positive: bool
    model: str
    review: int


@dataclass(frozen=True, slots=True)
class Standing:
    """What people said of a study and nobody undid.

    Attributes:
        opinions: each person's last on each finding, in order of time.
        notes: in order of time.
        override: the last one, or None.
    """

    opinions: tuple[Opinion, ...] = ()
    notes: tuple[Review, ...] = ()
    override: Review | None = None


@dataclass(frozen=True, slots=True)
class Change:
    """A finding's calibrated probability in two studies, each its highest over the films.

    Attributes:
        was_positive, is_positive: in any film, as each study was decided.
    """

    finding: str
    before: float
    now: float
    was_positive: bool = False
    is_positive: bool = False

    @property
    def crossed(self) -> bool:
        """It is newly positive, or no longer."""
        return self.was_positive != self.is_positive

    @property
    def difference(self) -> float:
        """How much it rose, in [-1, 1]."""
        return self.now - self.before


@dataclass(frozen=True, slots=True)
class Comparison:
    """Changes in the order of the model's findings, or one sentence that says why there are none."""

    changes: tuple[Change, ...] = ()
    why_not: str = ""


@dataclass(frozen=True, slots=True)
class Prior:
    """Another study under the same patient id.

    Attributes:
        line: as the list shows it.
        earlier: taken before the study that it is put beside; None where the films do not say.
    """

    line: Line
    earlier: bool | None


@dataclass(frozen=True, slots=True)
class Priors:
    """Some of a patient's other studies, the newest first; `total` counts all of them."""

    shown: tuple[Prior, ...]
    total: int


@dataclass(frozen=True, slots=True, eq=False)
class Beside:
    """Another study under the same patient id, put beside one.

    Attributes:
        view: of the other study.
        earlier: as of `Prior`.
        doubts: why it may be another person: what differs, in words without values.
        comparison: from the one taken first to the other; where that is not known, from the other study to
            this one. Nothing is compared where there are doubts.
    """

    view: StudyView
    earlier: bool | None
    doubts: tuple[str, ...]
    comparison: Comparison


@dataclass(frozen=True, slots=True)
class Job:
    """A study that one worker has leased.

    Attributes:
        films: SHA-256 of the films that need an answer.
        model: id of the model asked for, or None for the one in force.
        corrections: by SHA-256, of the films that a person had hung anew.
    """

    study_id: str
    films: tuple[str, ...]
    model: str | None
    corrections: Mapping[str, Correction] = field(default_factory=dict)

    def correction(self, sha256: str) -> Correction:
        """Return how the film is to hang."""
        return self.corrections.get(sha256, AS_SENT)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker found out about one film.

    Attributes:
        analysis: the result, a refusal included.
        heatmaps: (L, h, w) float16 in manifest order of labels, or None.
        labels: names of the maps.
        thumbnail: PNG or None.
    """

    analysis: Analysis
    heatmaps: NDArray[np.float16] | None = field(repr=False)
    labels: tuple[str, ...]
    thumbnail: bytes | None = field(repr=False)
