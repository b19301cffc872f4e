"""What pages and commands ask of the worklist: every call names the actor and is checked first.

A thin face: intake, films, listing, actions and batches hold what is behind it. Workers call `queue`.
Nothing here loads the network; a result's model is known by its manifest.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from cxr_core.access import Action, Actor, Role
from cxr_core.domain import Correction, Study, Urgency
from cxr_core.errors import ModelError, PolicyError, Rejected
from cxr_core.imaging.deidentify import Anonymous, Text
from cxr_core.imaging.limits import Limits
from cxr_core.inference.explanation import Method
from cxr_core.inference.manifest import read_manifest
from cxr_core.inference.stripped import refuse
from cxr_core.settings import Settings
from cxr_core.triage.policy import Policy, parse_policy, read_policy
from cxr_core.worklist import (
    accounts,
    actions,
    audit,
    batches,
    corrections,
    deidentifying,
    explanations,
    export,
    films,
    gate_in_force,
    intake,
    listing,
    model_in_force,
    models,
    operations,
    opinions,
    performance,
    policies,
    preview,
    priors,
    sign_ins,
    site,
    trail,
    verdicts,
)
from cxr_core.worklist.accounts import Account, Claims
from cxr_core.worklist.blobs import Blobs
from cxr_core.worklist.database import SQLITE_FILE, Database, open_database
from cxr_core.worklist.gate_in_force import GateInForce
from cxr_core.worklist.model_folders import Curve, Folder
from cxr_core.worklist.model_in_force import ModelInForce
from cxr_core.worklist.schema import WorkerRow
from cxr_core.worklist.site_readings import Background, Readings
from cxr_core.worklist.turnaround import Turnaround, turnaround
from cxr_core.worklist.unpack import Turned
from cxr_core.worklist.values import (
    BATCH,
    Alert,
    BatchView,
    Beside,
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
from cxr_core.worklist.verdicts import Discrepancies, Verdicts

if TYPE_CHECKING:
    from cxr_core.evaluation.record import Evaluation
    from cxr_core.evaluation.scored import Scored
    from cxr_core.evaluation.site import SiteFit
    from cxr_core.evaluation.site_cases import Cases, Choice
    from cxr_core.evaluation.site_listing import Listing
    from cxr_core.worklist.handing import Handed
    from cxr_core.worklist.site_films import Reading
    from cxr_core.worklist.site_opinions import Opined

HEARD_OF = timedelta(seconds=15)
"""A worker silent for longer counts as gone."""


class Service:
    """The worklist as people use it.

    Attributes:
        database, blobs: where everything lies.
        in_force: the policy as this process saw it at the last call; its fault says where nothing is decided.
        model_in_force: the model as this process saw it at the last call; its fault likewise.
        gate_in_force: the gate as this process saw it at the last call; its fault likewise.
        limits: what is refused at the door.
        clock: aware time now.
        untouched: sign-ins whose use could not be written down, and when that was last tried.
        site_readings: films of a site that are being read for a person.
    """

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        file: Policy,
        *,
        model: str,
        settings: Settings,
        clock: Callable[[], datetime],
    ) -> None:
        self.database = database
        self.blobs = blobs
        self.in_force = policies.InForce(file)
        self.model_in_force = ModelInForce(model)
        self.gate_in_force = gate_in_force.refreshed(settings, GateInForce())
        self.settings = settings
        self.clock = clock
        self.limits = Limits()
        self.untouched: dict[str, datetime] = {}
        self.site_readings = Readings()

    def close(self) -> None:
        """End what goes on by itself and close the database; whoever opened the service does this."""
        self.site_readings.close()
        self.database.close()

    @property
    def policy(self) -> Policy:
        """The policy by which is shown, and decided where `in_force` has no fault."""
        return self.in_force.policy

    @property
    def model(self) -> str:
        """The model in force as results name it, "id version"."""
        return self.model_in_force.model

    @property
    def gate(self) -> str:
        """The gate in force as results name it."""
        return self.gate_in_force.name

    def refresh(self) -> None:
        """See whether another policy, model or gate is in force; people's calls do so by themselves."""
        self.gate_in_force = gate_in_force.refreshed(self.settings, self.gate_in_force)
        with self.database.read() as session:
            self.in_force = policies.refreshed(session, self.in_force)
            self.model_in_force = model_in_force.refreshed(session, self.settings, self.model_in_force)

    def deciding(self) -> Policy:
        """Return the policy to decide by.

        Raises:
            PolicyError: this program cannot read the one in force.
        """
        if self.in_force.fault:
            raise PolicyError(self.in_force.fault)
        return self.policy

    # ---- who asks

    def arrive(self, claims: Claims, *, look: bool = False) -> Actor:
        """Return who signed in, in the role of now; the first time is noted as the sign-in.

        With `look`, a page was shown anew by itself: as in `check`, nobody need be there.

        Raises:
            SignedOut: this sign-in has ended; there must be a new one.
            Forbidden: the person has no role.
        """
        return sign_ins.arrive(self, claims, look=look)

    def check(self, actor: Actor, action: Action, *, look: bool = False) -> Actor:
        """Return the actor in the role of now, if that allows the action; every call begins here.

        With `look`, a page asks by itself: it does not count as something that the person did. Policy, model
        and gate in force are looked up too.

        Raises:
            SignedOut: the actor's sign-in has ended.
            Forbidden: the table does not allow it.
        """
        actor = sign_ins.check(self, actor, action, look=look)
        self.refresh()
        return actor

    def permit(self, actor: Actor, action: Action) -> Actor:
        """Return what `check` does for a page that asks by itself, and shows what was read a moment ago.

        Policy, model and gate in force are not looked up: the call that read it did so.

        Raises:
            SignedOut: the actor's sign-in has ended.
            Forbidden: the table does not allow it.
        """
        return sign_ins.check(self, actor, action, look=True)

    def sign_out(self, actor: Actor) -> None:
        """End every sign-in of the person: signing out anywhere is signing out everywhere."""
        sign_ins.sign_out(self, actor)

    def accounts(self, actor: Actor) -> tuple[Account, ...]:
        """Return everybody who signed in or was named, by handle."""
        self.check(actor, Action.USERS)
        return accounts.accounts(self)

    def name_account(self, actor: Actor, issuer: str, subject: str, name: str, role: Role | None) -> Account:
        """Return the account made for a person who has not signed in yet.

        Raises:
            Invalid: issuer or subject cannot be one, or the person has an account.
        """
        actor = self.check(actor, Action.USERS)
        return accounts.name_account(self, actor, issuer, subject, name, role)

    def set_role(self, actor: Actor, account_id: str, role: Role | None) -> None:
        """Give an account a role, which counts at the person's next call; None ends their sign-ins too.

        Raises:
            Invalid: nobody would be left who may give roles.
            StoreError: there is no such account.
        """
        actor = self.check(actor, Action.USERS)
        accounts.set_role(self, actor, account_id, role)

    def sign_out_account(self, actor: Actor, account_id: str) -> int:
        """Return how many sign-ins of an account were ended; raises StoreError where there is none."""
        actor = self.check(actor, Action.USERS)
        return accounts.sign_out_account(self, actor, account_id)

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
        actor = self.check(actor, Action.SUBMIT)
        return intake.submit(self, actor, file, source=source, priority=priority, typed=typed)

    def submit_many(
        self, actor: Actor, files: Sequence[Incoming], *, source: Source, priority: int = BATCH
    ) -> list[Receipt | Rejected]:
        """Return a receipt or a refusal for each file, in order, once all are on disk; raises as `submit`."""
        actor = self.check(actor, Action.SUBMIT)
        return intake.submit_many(self, actor, files, source=source, priority=priority)

    def start_batch(self, actor: Actor, total: int, source: Source) -> str:
        """Return the id of a new batch of `total` files."""
        actor = self.check(actor, Action.SUBMIT)
        return batches.start(self, actor, total, source)

    def add_to_batch(
        self, actor: Actor, batch_id: str, files: Sequence[Incoming | Turned], *, priority: int = BATCH
    ) -> list[Item]:
        """Return what became of each file, once all are on disk and in the batch; raises as `submit`.

        Those that could not even be read are noted with the others.
        """
        actor = self.check(actor, Action.SUBMIT)
        return batches.add(self, actor, batch_id, files, priority=priority)

    def finish_batch(self, actor: Actor, batch_id: str) -> None:
        """Note that the batch's last file has been handed in."""
        actor = self.check(actor, Action.SUBMIT)
        batches.finish(self, actor, batch_id)

    def batch(self, actor: Actor, batch_id: str) -> BatchView:
        """Return how far a batch of the actor's has come."""
        actor = self.check(actor, Action.SUBMIT, look=True)
        return batches.batch(self, actor, batch_id)

    def batches(self, actor: Actor, limit: int = 5) -> tuple[BatchView, ...]:
        """Return the actor's own batches, newest first."""
        actor = self.check(actor, Action.SUBMIT, look=True)
        return batches.batches(self, actor, limit)

    # ---- the list

    def page(self, actor: Actor, query: Query) -> Page:
        """Return a page of the list."""
        self.check(actor, Action.VIEW_LIST, look=True)
        return listing.page(self, query)

    def tiers(self, actor: Actor) -> tuple[Tier, ...]:
        """Return the open studies counted by urgency, most urgent first."""
        self.check(actor, Action.VIEW_LIST, look=True)
        return listing.tiers(self)

    def alerts(self, actor: Actor) -> tuple[Alert, ...]:
        """Return the unacknowledged critical studies, oldest first."""
        self.check(actor, Action.VIEW_LIST, look=True)
        return listing.alerts(self)

    def export_csv(self, actor: Actor, query: Query) -> bytes:
        """Return what fits the query as CSV that no spreadsheet takes for formulas; audited."""
        actor = self.check(actor, Action.EXPORT)
        return export.export_csv(self, actor, query)

    def workers(self, actor: Actor) -> int:
        """Return how many workers were heard of lately."""
        self.check(actor, Action.VIEW_LIST, look=True)
        with self.database.read() as session:
            query = select(func.count()).select_from(WorkerRow)
            query = query.where(WorkerRow.stopped_utc.is_(None), WorkerRow.seen_utc > self.clock() - HEARD_OF)
            return session.scalar(query) or 0

    # ---- for whoever leads

    def turnaround(
        self, actor: Actor, since: datetime, until: datetime, zone: tzinfo | None = None
    ) -> Turnaround:
        """Return how long the studies received in [since, until) waited; days and hours in the zone.

        None is this machine's zone, as it was at each moment.

        Raises:
            ValueError: a time without zone.
        """
        self.check(actor, Action.TURNAROUND, look=True)
        return turnaround(self, since, until, zone)

    def verdicts(self, actor: Actor) -> Verdicts:
        """Return what readers held of the findings, as far as it stands, the oldest first."""
        self.check(actor, Action.VERDICTS)
        return verdicts.verdicts(self)

    def discrepancies(
        self, actor: Actor, *, finding: str = "", model: str = "", offset: int = 0, limit: int = 25
    ) -> Discrepancies:
        """Return where readers disagree with the model, the newest first; no study is opened by that."""
        self.check(actor, Action.VERDICTS)
        return verdicts.discrepancies(self, finding=finding, model=model, offset=offset, limit=limit)

    def health(self, actor: Actor) -> operations.Health:
        """Return how queue, workers and disk are."""
        self.check(actor, Action.HEALTH, look=True)
        return operations.health(self, HEARD_OF)

    def given_up(self, actor: Actor) -> tuple[operations.DeadLetter, ...]:
        """Return the newest films that were given up."""
        self.check(actor, Action.HEALTH)
        with self.database.read() as session:
            return operations.given_up(session)

    def refusals(self, actor: Actor, days: int = 7) -> tuple[operations.Refused, ...]:
        """Return what was refused these last days by code, the most frequent first."""
        self.check(actor, Action.HEALTH)
        with self.database.read() as session:
            return operations.refusals(session, self.clock() - timedelta(days=days))

    def flow(self, actor: Actor, hours: int = 24) -> tuple[operations.Hour, ...]:
        """Return how many films came in and were answered in each of the last hours."""
        self.check(actor, Action.HEALTH, look=True)
        with self.database.read() as session:
            return operations.flow(session, self.clock(), hours)

    def search_audit(self, actor: Actor, query: trail.Search) -> trail.Events:
        """Return a page of the audit trail, the newest first."""
        self.check(actor, Action.AUDIT)
        with self.database.read() as session:
            return trail.search(session, query)

    def verify_audit(self, actor: Actor, watch: audit.Watch = lambda done, of: None) -> audit.Verdict:
        """Return whether the audit trail is whole, `watch` told meanwhile how far that is; audited."""
        actor = self.check(actor, Action.AUDIT)
        return trail.verify(self.database, self.clock, actor.name, watch)

    def export_audit(self, actor: Actor, query: trail.Search, form: trail.Form) -> bytes:
        """Return the events that fit the query as a file; audited.

        Raises:
            Invalid: there are more than `trail.MOST`.
        """
        actor = self.check(actor, Action.AUDIT)
        out = io.StringIO(newline="")
        trail.write(self.database, query, form, out, at=self.clock(), actor=actor.name, most=trail.MOST)
        return out.getvalue().encode("utf-8", "backslashreplace")

    # ---- the policy

    def policies(self, actor: Actor) -> policies.PolicyHistory:
        """Return the policy in force, the versions there are and what was in force before."""
        self.check(actor, Action.VIEW_POLICY)
        return policies.history(self)

    def policy_text(self, actor: Actor, policy_id: int | None) -> str:
        """Return a policy as TOML, the file's for None; raises StoreError where there is no such policy."""
        self.check(actor, Action.VIEW_POLICY)
        return policies.body_of(self, policy_id)

    def try_policy(self, actor: Actor, text: str) -> preview.Preview:
        """Return what would change on the last studies under a policy; nothing is written.

        Raises:
            PolicyError: the text is no sound policy.
        """
        self.check(actor, Action.VIEW_POLICY)
        return preview.preview(self, text)

    def write_policy(self, actor: Actor, text: str, note: str) -> int:
        """Return the id of a new version, which is not in force yet.

        Raises:
            PolicyError: the text is no sound policy.
            Invalid: its version was used before, or there is no note.
        """
        actor = self.check(actor, Action.POLICY)
        return policies.write(self, actor, text, note)

    def activate_policy(self, actor: Actor, policy_id: int | None, *, seen: int | None = None) -> None:
        """Bring a version into force everywhere, the file's for None; what was answered stays.

        Raises:
            Conflict: a change came after the one that the actor has `seen`.
            Invalid: it is in force already, or nobody has approved it.
            PolicyError: this program cannot read it.
            StoreError: there is no such policy.
        """
        actor = self.check(actor, Action.POLICY)
        policies.activate(self, actor, policy_id, seen)

    # ---- the models

    def models(self, actor: Actor) -> models.Shelf:
        """Return the model in force, the models there are and what was in force before."""
        self.check(actor, Action.MODELS)
        return models.shelf(self)

    def model_card(self, actor: Actor, model_id: str) -> str:
        """Return a model's card as Markdown, empty where it has none; raises ModelError."""
        self.check(actor, Action.MODELS)
        return models.card(self, model_id)

    def training_curves(self, actor: Actor, model_ids: Sequence[str]) -> tuple[Curve, ...]:
        """Return how the members of these models were trained; nothing of one that does not say."""
        self.check(actor, Action.MODELS)
        return models.curves(self, model_ids)

    def splits(self, actor: Actor, model_id: str) -> tuple[str, ...]:
        """Return the splits that a model has tables of, val first; raises ModelError."""
        self.check(actor, Action.PERFORMANCE)
        return performance.splits(self, model_id)

    def scored(self, actor: Actor, model_id: str, split: str) -> Scored:
        """Return what a model said of the films of a split; raises ModelError where it has no tables."""
        self.check(actor, Action.PERFORMANCE)
        return performance.scored(self, model_id, split)

    def evaluation(self, actor: Actor, model_id: str, split: str) -> Evaluation | None:
        """Return a model's figures with intervals, None where nobody has computed them; raises ModelError."""
        self.check(actor, Action.PERFORMANCE)
        return performance.evaluation(self, model_id, split)

    def evidence(self, actor: Actor, model_id: str) -> performance.Evidence:
        """Return what else was measured of a model: heatmaps, label noise, other films; raises ModelError."""
        self.check(actor, Action.PERFORMANCE)
        return performance.evidence(self, model_id)

    def measure(
        self,
        actor: Actor,
        model_id: str,
        split: str,
        *,
        resamples: int = performance.RESAMPLES,
        on_progress: performance.Progress | None = None,
    ) -> Evaluation:
        """Return a model's figures with intervals, computed now, kept by this process; raises ModelError."""
        self.check(actor, Action.MEASURE)
        return performance.measured(self, model_id, split, resamples, on_progress)

    def export_model(self, actor: Actor, model_id: str) -> bytes:
        """Return a sound model's folder as a zip file; audited.

        Raises:
            ModelError: there is no such model, or a file of it is not what the manifest says.
            Invalid: it is too large to be taken away here.
        """
        actor = self.check(actor, Action.MODELS)
        return models.export(self, actor, model_id)

    def try_model(self, actor: Actor, model_id: str) -> Folder:
        """Return a model once it was loaded and has passed every check, in a process of its own.

        Raises:
            ModelError: there is no such model, or it may not be trusted.
        """
        self.check(actor, Action.ACTIVATE_MODEL)
        return models.tried(self, model_id)

    def activate_model(self, actor: Actor, model_id: str, note: str, *, seen: int | None = None) -> None:
        """Have films answered by a model from now on, everywhere, once it has passed every check.

        Raises:
            Conflict: a change came after the one that the actor has `seen`.
            Invalid: it is in force already, there is no note, or its version was used by another model.
            ModelError: there is no such model, or it may not be trusted.
        """
        actor = self.check(actor, Action.ACTIVATE_MODEL)
        models.activate(self, actor, model_id, note, seen)

    # ---- a model fitted to this site

    def read_site(self, actor: Actor, model_id: str, listing: Listing, handed: Iterator[Handed]) -> Reading:
        """Return the reading of a list's films by a model; nothing of them is stored.

        Raises:
            ModelError: there is no such model, or it may not be trusted.
            DataError: its labels cannot be fitted one by one.
            Busy: no process to decode in can be started.
        """
        self.check(actor, Action.FIT)
        return site.read(self, model_id, listing, handed)

    def begin_site_reading(
        self, actor: Actor, model_id: str, listing: Listing, handed: Iterator[Handed], films: int
    ) -> Background:
        """Return the same as it goes on by itself, `films` in all; the actor's former one ends.

        Raises:
            ModelError, DataError, Busy: see `read_site`.
        """
        actor = self.check(actor, Action.FIT)
        return site.begin_reading(self, actor, model_id, listing, handed, films)

    def site_reading(self, actor: Actor) -> Background | None:
        """Return what the actor began to read, in whatever session; None where that is nothing."""
        actor = self.check(actor, Action.FIT)
        return self.site_readings.of(actor.name, self.clock())

    def drop_site_reading(self, actor: Actor) -> None:
        """End and forget what the actor began to read."""
        actor = self.check(actor, Action.FIT)
        self.site_readings.drop(actor.name)

    def site_opinions(self, actor: Actor) -> Opined:
        """Return what readers agreed and disagreed with as cases, as the model in force answered them.

        Raises:
            DataError: nobody has said anything, or the model's labels cannot be fitted one by one.
            ModelError: the model in force is not what it was.
        """
        self.check(actor, Action.FIT)
        return site.opinions(self)

    def fit_site(self, actor: Actor, model_id: str, cases: Cases, choice: Choice) -> SiteFit:
        """Return a model fitted to the cases and what that changes; nothing is written.

        Raises:
            DataError: too few cases, another model's, or a choice that is none.
            ModelError: there is no such model, or it is not sound.
        """
        self.check(actor, Action.FIT)
        return site.fitted(self, model_id, cases, choice)

    def save_site_model(self, actor: Actor, model_id: str, fit: SiteFit, name: str) -> Folder:
        """Return the new model, which nobody has activated yet; audited.

        Raises:
            Invalid: the name is none or taken, nothing changes, or CXR_MODELS_DIR cannot be written.
            ModelError: the model has changed since, or the new one has not passed every check.
        """
        actor = self.check(actor, Action.FIT)
        return site.save(self, actor, model_id, fit, name)

    # ---- one study

    def study(self, actor: Actor, study_id: str, *, audited: bool = True) -> StudyView:
        """Return a study as a reader opens it; an audit row says who did, unless it is a mere refresh.

        Raises:
            StoreError: there is no such study.
        """
        actor = self.check(actor, Action.VIEW_STUDY, look=not audited)
        return films.study(self, actor, study_id, audited=audited)

    def version(self, actor: Actor, study_id: str) -> int:
        """Return where a study stands, for a look every few seconds whether that is still what one sees.

        Raises:
            StoreError: there is no such study.
        """
        self.check(actor, Action.VIEW_LIST, look=True)
        return films.version(self, study_id)

    def film_bytes(self, actor: Actor, sha256: str, *, audited: bool = True) -> bytes:
        """Return the bytes of a film; an audit row says who saw them, unless `study` has just said so.

        Raises:
            StoreError: unknown, missing or altered.
        """
        actor = self.check(actor, Action.VIEW_STUDY, look=not audited)
        return films.film_bytes(self, actor, sha256, audited=audited)

    def note_download(self, actor: Actor, sha256: str, kind: films.Kind) -> None:
        """Note that the actor takes a film's result away as a file; raises StoreError for an unknown film."""
        actor = self.check(actor, Action.VIEW_STUDY)
        films.note_download(self, actor, sha256, kind)

    def deidentify(self, actor: Actor, sha256: str, text: Text) -> Anonymous:
        """Return a film without identity, to leave the house; audited.

        Raises:
            Conflict: text is, or may be, burnt into the picture, and `text` does not say what to do with it.
            DecoderDied: the process that was to make it did not survive the film.
            Rejected: the film cannot be decoded.
            StoreError: unknown, missing or altered.
        """
        actor = self.check(actor, Action.DEIDENTIFY)
        return deidentifying.deidentified(self, actor, sha256, text)

    def complete(self, actor: Actor, study_id: str, typed: Study, version: int) -> None:
        """Keep what a person says of the study, and decide anew with it; what is left open the films say.

        Raises:
            Conflict: the study is no longer at `version`.
        """
        actor = self.check(actor, Action.COMPLETE)
        self.deciding()
        films.complete(self, actor, study_id, typed, version)

    def correct(self, actor: Actor, sha256: str, correction: Correction, version: int) -> None:
        """Have a film hang as its refusal offers, or as it was sent again, and answered anew at once.

        Raises:
            Conflict: the film's study is no longer at `version`, or nothing of the kind is offered.
            Unknown: there is no such film.
        """
        actor = self.check(actor, Action.CORRECT)
        self.deciding()
        corrections.correct(self, actor, sha256, correction, version)

    def claim(self, actor: Actor, study_id: str, version: int) -> None:
        """Note that the actor has the study; raises Conflict where `version` has passed."""
        actor = self.check(actor, Action.CLAIM)
        actions.claim(self, actor, study_id, version)

    def release(self, actor: Actor, study_id: str, version: int) -> None:
        """Note that the actor no longer has the study; raises as `claim`."""
        actor = self.check(actor, Action.CLAIM)
        actions.release(self, actor, study_id, version)

    def acknowledge(
        self,
        actor: Actor,
        study_id: str,
        version: int,
        *,
        told: str,
        how: str,
        read_back: bool = False,
    ) -> None:
        """Note that the critical result was told: to whom, how, and whether they read it back.

        Raises:
            Conflict: as `claim`; or it is not critical, or was acknowledged before.
            Invalid: whom or how is left out, or it was by telephone and they did not read it back.
        """
        actor = self.check(actor, Action.ACKNOWLEDGE)
        actions.acknowledge(self, actor, study_id, version, told=told, how=how, read_back=read_back)

    def mark_read(self, actor: Actor, study_id: str, version: int) -> None:
        """Note that the study was read, which takes it off the open list; raises as `claim`."""
        actor = self.check(actor, Action.READ)
        actions.mark_read(self, actor, study_id, version)

    def priors(self, actor: Actor, study_id: str, *, limit: int = 10) -> Priors:
        """Return the same patient's other studies as the list has them; none of them is opened by that.

        Raises:
            StoreError: there is no such study.
        """
        self.check(actor, Action.VIEW_STUDY, look=True)
        return priors.priors(self, study_id, limit=limit)

    def beside(self, actor: Actor, study_id: str, other_id: str, *, audited: bool = True) -> Beside:
        """Return one of those and what changed in each finding; an audit row as with `study`.

        Raises:
            StoreError: there is no such study, or it is not of the same patient id.
        """
        actor = self.check(actor, Action.VIEW_STUDY, look=not audited)
        return priors.beside(self, actor, study_id, other_id, audited=audited)

    def opine(self, actor: Actor, study_id: str, version: int, finding: str, *, agrees: bool) -> None:
        """Note whether the actor agrees with what the model said of a finding; raises as `claim`.

        Raises:
            Invalid: the model said nothing of it.
        """
        actor = self.check(actor, Action.OPINE)
        opinions.opine(self, actor, study_id, version, finding, agrees=agrees)

    def override(self, actor: Actor, study_id: str, version: int, urgency: Urgency, reason: str) -> None:
        """Give the study another urgency, by which it is listed; raises as `claim`.

        Raises:
            Invalid: there is no reason, or it is too long.
        """
        actor = self.check(actor, Action.OVERRIDE)
        self.deciding()
        opinions.override(self, actor, study_id, version, urgency, reason)

    def note(self, actor: Actor, study_id: str, version: int, text: str) -> None:
        """Put a note to the study; raises as `claim`.

        Raises:
            Invalid: it is empty or too long.
        """
        actor = self.check(actor, Action.NOTE)
        opinions.note(self, actor, study_id, version, text)

    def undo(self, actor: Actor, study_id: str, version: int, review_id: int) -> None:
        """Take back an opinion, an override, a note or a reading by an entry that says so; raises as `claim`.

        Raises:
            Forbidden: the role may not, or another person said or read it.
            StoreError: there is no such entry.
        """
        actor = self.check(actor, Action.UNDO)
        self.deciding()
        opinions.undo(self, actor, study_id, version, review_id)

    def explain(self, actor: Actor, sha256: str, label: str, method: Method) -> None:
        """Have a worker work out where the model looked for a finding; nothing new where that is known.

        Raises:
            Unknown: there is no such film.
            Invalid: the model said nothing of this finding on it.
        """
        actor = self.check(actor, Action.EXPLAIN)
        explanations.ask(self, actor, sha256, label, method)

    def to_explain(
        self, actor: Actor, sha256: str, label: str, methods: Sequence[Method]
    ) -> tuple[explanations.Wanted, ...]:
        """Return what explaining a film without a worker takes: the model that answered, and how it hangs.

        Raises:
            Unknown, Invalid: as `explain`.
            ModelError: the model that answered is not here any more, or is another one now.
        """
        self.check(actor, Action.EXPLAIN, look=True)
        return explanations.to_explain(self, sha256, label, methods)

    def note_explained(self, actor: Actor, wanted: Sequence[explanations.Wanted]) -> None:
        """Note that the actor explains what `to_explain` returned.

        Raises:
            Changed: the film has another answer by now.
            Invalid: it has none any more.
        """
        actor = self.check(actor, Action.EXPLAIN)
        explanations.note(self, actor, wanted)

    def explanations(self, actor: Actor, sha256: str) -> tuple[explanations.ExplanationView, ...]:
        """Return what was asked for of a film's present answer, done or not; raises Unknown for no film."""
        self.check(actor, Action.VIEW_STUDY, look=True)
        return explanations.of_film(self, sha256)

    def reanalyse(self, actor: Actor, study_ids: Sequence[str] | None, model: str | None) -> int:
        """Return how many studies were queued for an answer of another model, policy or gate.

        Args:
            actor: who asks.
            study_ids: these; None means every open study answered by another model or policy than asked for,
                or behind another gate.
            model: id of a model folder; None means the one in force.

        Raises:
            ModelError: there is no such model, or nobody can tell which gate is in force.
        """
        actor = self.check(actor, Action.REANALYSE)
        self.deciding()
        return actions.reanalyse(self, actor, study_ids, model)

    def retry(self, actor: Actor, sha256: str) -> None:
        """Put a dead letter back in the queue."""
        actor = self.check(actor, Action.RETRY)
        self.deciding()
        actions.retry(self, actor, sha256)

    def model_named(self, model_id: str | None) -> str:
        """Return a model as results name it, "id version"; the one in force for None.

        Raises:
            ModelError: there is no such model folder, or its manifest is not sound.
        """
        return self.model if model_id is None else named(self.settings, model_id)


def named(settings: Settings, model_id: str) -> str:
    """Return "id version" by the manifest of a model that has its network; it is not opened."""
    manifest = read_manifest(settings.models_dir / model_id)
    refuse(settings.models_dir / model_id)
    return f"{manifest.id} {manifest.version}"


def open_service(settings: Settings, *, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> Service:
    """Return the worklist that the settings name, its tables up to date.

    Raises:
        StoreError: the database cannot be opened or upgraded.
        ModelError: nobody has activated a model, and the manifest of the one that is set is not sound.
        PolicyError: the policy file is not sound, or says a version under which another policy is kept.
    """
    body = read_policy(settings.policy)
    parse_policy(body)
    unsound: ModelError | None = None
    try:
        model = named(settings, settings.model)
    except ModelError as exc:
        if not settings.database_url and not (settings.home / SQLITE_FILE).exists():
            raise
        model, unsound = settings.model, exc  # which does not matter where another one was activated
    database = open_database(settings)
    try:
        file = policies.register(database, body, clock())
        service = Service(
            database, Blobs(settings.home / "blobs"), file, model=model, settings=settings, clock=clock
        )
        service.refresh()
        if unsound is not None and not service.model_in_force.change:
            raise unsound
    except BaseException:
        database.close()
        raise
    return service
