"""What pages and commands ask of the worklist: every call names the actor and is checked first.

A thin face: intake, films, listing, actions and batches hold what is behind it. Workers call `queue`.
Nothing here loads the network; a result's model is known by its manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

from sqlalchemy import func, select

from cxr_core.access import Action, Actor
from cxr_core.domain import Notice, Study, Urgency
from cxr_core.errors import Rejected
from cxr_core.imaging.limits import Limits
from cxr_core.inference.manifest import read_manifest
from cxr_core.settings import Settings
from cxr_core.triage.policy import Policy, load_policy
from cxr_core.worklist import actions, batches, export, films, intake, listing, operations, opinions, priors
from cxr_core.worklist.blobs import Blobs
from cxr_core.worklist.database import Database, open_database
from cxr_core.worklist.schema import WorkerRow
from cxr_core.worklist.turnaround import Turnaround, turnaround
from cxr_core.worklist.values import (
    BATCH,
    Alert,
    BatchView,
    Incoming,
    Item,
    Page,
    Priors,
    Query,
    Receipt,
    Source,
    StudyView,
    Tier,
)

HEARD_OF = timedelta(seconds=15)
"""A worker silent for longer counts as gone."""


class Service:
    """The worklist as people use it.

    Attributes:
        database, blobs: where everything lies.
        policy: in force; what a person types is decided by it.
        model: the one in force as results name it, "id version".
        limits: what is refused at the door.
        clock: aware time now.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        policy: Policy,
        *,
        model: str,
        settings: Settings,
        clock: Callable[[], datetime],
    ) -> None:
        self.database = database
        self.blobs = blobs
        self.policy = policy
        self.model = model
        self.settings = settings
        self.clock = clock
        self.limits = Limits()

    def close(self) -> None:
        """Close the database; whoever opened the service does this at the end."""
        self.database.close()

    def check(self, actor: Actor, action: Action) -> None:
        """Return if the actor may do it now; every call begins here.

        Raises:
            Forbidden: the table does not allow it.
        """
        actor.check(action)

    # ---- films in

    def submit(
        self,
        actor: Actor,
        file: Incoming,
        *,
        source: Source,
        priority: int = BATCH,
        typed: Study | None = None,
    ) -> Receipt:
        """Return the receipt once the film is on disk; the same bytes again give the same receipt, not new.

        Args:
            actor: who hands it in.
            file: its name and bytes, not yet looked at.
            source: how it came in.
            priority: INTERACTIVE or BATCH.
            typed: what a person says of the study; counts where this film is the study's first.

        Raises:
            Forbidden: the role may not submit.
            Rejected: empty_file or too_many_bytes; whatever else is wrong with it, it is stored and judged.
            Busy: queue or disk full, or the database cannot be written; nothing was taken in.
        """
        self.check(actor, Action.SUBMIT)
        return intake.submit(self, actor, file, source=source, priority=priority, typed=typed)

    def submit_many(
        self, actor: Actor, files: Sequence[Incoming], *, source: Source, priority: int = BATCH
    ) -> list[Receipt | Rejected]:
        """Return a receipt or a refusal for each file, in order, once all are on disk; raises as `submit`."""
        self.check(actor, Action.SUBMIT)
        return intake.submit_many(self, actor, files, source=source, priority=priority)

    def start_batch(self, actor: Actor, total: int, source: Source) -> str:
        """Return the id of a new batch of `total` files."""
        self.check(actor, Action.SUBMIT)
        return batches.start(self, actor, total, source)

    def add_to_batch(
        self, actor: Actor, batch_id: str, files: Sequence[Incoming], *, priority: int = BATCH
    ) -> list[Item]:
        """Return what became of each file, once all are on disk and in the batch; raises as `submit`."""
        self.check(actor, Action.SUBMIT)
        return batches.add(self, actor, batch_id, files, priority=priority)

    def refuse_in_batch(self, actor: Actor, batch_id: str, name: str, notice: Notice) -> None:
        """Note a file of the batch that could not even be read."""
        self.check(actor, Action.SUBMIT)
        batches.refuse(self, actor, batch_id, name, notice)

    def finish_batch(self, actor: Actor, batch_id: str) -> None:
        """Note that the batch's last file has been handed in."""
        self.check(actor, Action.SUBMIT)
        batches.finish(self, actor, batch_id)

    def batch(self, actor: Actor, batch_id: str) -> BatchView:
        """Return how far a batch of the actor's has come."""
        self.check(actor, Action.SUBMIT)
        return batches.batch(self, actor, batch_id)

    def batches(self, actor: Actor, limit: int = 5) -> tuple[BatchView, ...]:
        """Return the actor's own batches, newest first."""
        self.check(actor, Action.SUBMIT)
        return batches.batches(self, actor, limit)

    # ---- the list

    def page(self, actor: Actor, query: Query) -> Page:
        """Return a page of the list."""
        self.check(actor, Action.VIEW_LIST)
        return listing.page(self, query)

    def tiers(self, actor: Actor) -> tuple[Tier, ...]:
        """Return the open studies counted by urgency, most urgent first."""
        self.check(actor, Action.VIEW_LIST)
        return listing.tiers(self)

    def alerts(self, actor: Actor) -> tuple[Alert, ...]:
        """Return the unacknowledged critical studies, oldest first."""
        self.check(actor, Action.VIEW_LIST)
        return listing.alerts(self)

    def export_csv(self, actor: Actor, query: Query) -> bytes:
        """Return what fits the query as CSV that no spreadsheet takes for formulas; audited."""
        self.check(actor, Action.EXPORT)
        return export.export_csv(self, actor, query)

    def workers(self, actor: Actor) -> int:
        """Return how many workers were heard of lately."""
        self.check(actor, Action.VIEW_LIST)
        with self.database.read() as session:
            query = select(func.count()).select_from(WorkerRow)
            query = query.where(WorkerRow.stopped_utc.is_(None), WorkerRow.seen_utc > self.clock() - HEARD_OF)
            return session.scalar(query) or 0

    # ---- for whoever leads

    def turnaround(self, actor: Actor, since: datetime, until: datetime) -> Turnaround:
        """Return how long the studies received in [since, until) waited; days and hours in `since`'s zone.

        Raises:
            ValueError: a time without zone.
        """
        self.check(actor, Action.TURNAROUND)
        return turnaround(self, since, until)

    def health(self, actor: Actor, days: int = 7) -> operations.Health:
        """Return how queue, workers and disk are, what was given up, and what was refused these last days."""
        self.check(actor, Action.HEALTH)
        return operations.health(self, days, HEARD_OF)

    def search_audit(self, actor: Actor, query: operations.Search) -> operations.Events:
        """Return a page of the audit trail, the newest first."""
        self.check(actor, Action.AUDIT)
        return operations.search(self, query)

    # ---- one study

    def study(self, actor: Actor, study_id: str, *, audited: bool = True) -> StudyView:
        """Return a study as a reader opens it; an audit row says who did, unless it is a mere refresh.

        Raises:
            StoreError: there is no such study.
        """
        self.check(actor, Action.VIEW_STUDY)
        return films.study(self, actor, study_id, audited=audited)

    def film_bytes(self, actor: Actor, sha256: str) -> bytes:
        """Return the bytes of a film.

        Raises:
            StoreError: unknown, missing or altered.
        """
        self.check(actor, Action.VIEW_STUDY)
        return self.blobs.get(sha256)

    def complete(self, actor: Actor, study_id: str, typed: Study, version: int) -> None:
        """Keep what a person says of the study, and decide anew with it.

        Raises:
            Conflict: the study is no longer at `version`.
        """
        self.check(actor, Action.COMPLETE)
        films.complete(self, actor, study_id, typed, version)

    def claim(self, actor: Actor, study_id: str, version: int) -> None:
        """Note that the actor has the study; raises Conflict where `version` has passed."""
        self.check(actor, Action.CLAIM)
        actions.claim(self, actor, study_id, version)

    def release(self, actor: Actor, study_id: str, version: int) -> None:
        """Note that the actor no longer has the study; raises as `claim`."""
        self.check(actor, Action.CLAIM)
        actions.release(self, actor, study_id, version)

    def acknowledge(
        self,
        actor: Actor,
        study_id: str,
        version: int,
        *,
        told: str = "",
        how: str = "",
        read_back: bool = False,
        in_full: bool = False,
    ) -> None:
        """Note that the result was taken note of, and who was told how.

        Raises:
            Conflict: as `claim`; or it is not critical, or was acknowledged before.
            Invalid: how without whom, by telephone without reading back, or `in_full` and either left out.
        """
        self.check(actor, Action.ACKNOWLEDGE)
        actions.acknowledge(
            self, actor, study_id, version, told=told, how=how, read_back=read_back, in_full=in_full
        )

    def mark_read(self, actor: Actor, study_id: str, version: int) -> None:
        """Note that the study was read, which takes it off the open list; raises as `claim`."""
        self.check(actor, Action.READ)
        actions.mark_read(self, actor, study_id, version)

    def priors(self, actor: Actor, study_id: str, *, limit: int = 10, audited: bool = True) -> Priors:
        """Return the same patient's other studies, newest first, and what changed in each finding since.

        Raises:
            StoreError: there is no such study.
        """
        self.check(actor, Action.VIEW_STUDY)
        return priors.priors(self, actor, study_id, limit=limit, audited=audited)

    def opine(self, actor: Actor, study_id: str, version: int, finding: str, *, agrees: bool) -> None:
        """Note whether the actor agrees with what the model said of a finding; raises as `claim`.

        Raises:
            Invalid: the model said nothing of it.
        """
        self.check(actor, Action.OPINE)
        opinions.opine(self, actor, study_id, version, finding, agrees=agrees)

    def override(self, actor: Actor, study_id: str, version: int, urgency: Urgency, reason: str) -> None:
        """Give the study another urgency, by which it is listed; raises as `claim`.

        Raises:
            Invalid: there is no reason, or it is too long.
        """
        self.check(actor, Action.OVERRIDE)
        opinions.override(self, actor, study_id, version, urgency, reason)

    def note(self, actor: Actor, study_id: str, version: int, text: str) -> None:
        """Put a note to the study; raises as `claim`.

        Raises:
            Invalid: it is empty or too long.
        """
        self.check(actor, Action.NOTE)
        opinions.note(self, actor, study_id, version, text)

    def undo(self, actor: Actor, study_id: str, version: int, review_id: int) -> None:
        """Take back an opinion, an override or a note by an entry that says so; raises as `claim`.

        Raises:
            Forbidden: the role may not, or another person said it.
            StoreError: there is no such entry.
        """
        self.check(actor, Action.UNDO)
        opinions.undo(self, actor, study_id, version, review_id)

    def reanalyse(self, actor: Actor, study_ids: Sequence[str] | None, model: str | None) -> int:
        """Return how many studies were queued for an answer of another model or policy.

        Args:
            actor: who asks.
            study_ids: these; None means every open study answered by another model or policy than asked for.
            model: id of a model folder; None means the one in force.
        """
        self.check(actor, Action.REANALYSE)
        return actions.reanalyse(self, actor, study_ids, model)

    def retry(self, actor: Actor, sha256: str) -> None:
        """Put a dead letter back in the queue."""
        self.check(actor, Action.RETRY)
        actions.retry(self, actor, sha256)

    def model_named(self, model_id: str | None) -> str:
        """Return a model as results name it, "id version"; the one in force for None.

        Raises:
            ModelError: there is no such model folder, or its manifest is not sound.
        """
        return self.model if model_id is None else named(self.settings, model_id)


def named(settings: Settings, model_id: str) -> str:
    """Return "id version" by the model's manifest; the network is not opened."""
    manifest = read_manifest(settings.models_dir / model_id)
    return f"{manifest.id} {manifest.version}"


def open_service(settings: Settings, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Service:
    """Return the worklist that the settings name, its tables up to date.

    Raises:
        StoreError: the database cannot be opened or upgraded.
        ModelError: the model's manifest is not sound.
        PolicyError: the policy is not sound.
    """
    policy = load_policy(settings.policy)
    model = named(settings, settings.model)
    database = open_database(settings)
    return Service(
        database, Blobs(settings.home / "blobs"), policy, model=model, settings=settings, clock=clock
    )
