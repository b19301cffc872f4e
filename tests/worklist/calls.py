"""Every call of the service in somebody's name: what it needs, how it is made, which events it leaves.

A new call needs a line here: the tests of roles and of the audit are made from this table.
"""

from __future__ import annotations

import hashlib
import itertools
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sqlalchemy import select

from cxr_core.access import Action, Actor, Role
from cxr_core.domain import (
    AS_SENT,
    Analysis,
    Correction,
    Gate,
    GateOutcome,
    Study,
    Urgency,
    Versions,
)
from cxr_core.evaluation.site import SiteFit
from cxr_core.evaluation.site_cases import Cases, Choice
from cxr_core.evaluation.site_listing import Listing, read_listing
from cxr_core.imaging.deidentify import Text
from cxr_core.imaging.gate import CORRECTIONS
from cxr_core.imaging.refusals import refusal
from cxr_core.inference.explanation import Method
from cxr_core.inference.manifest import read_manifest
from cxr_core.settings import Settings
from cxr_core.triage.decide import refuse
from cxr_core.triage.edit import edited
from cxr_core.worklist import accounts, batches, policies, queue
from cxr_core.worklist.accounts import Claims
from cxr_core.worklist.explanations import Wanted
from cxr_core.worklist.schema import IdentityRow, ImageRow, ResultRow, ReviewRow, StudyRow
from cxr_core.worklist.service import Service
from cxr_core.worklist.trail import EVERYTHING, Form
from cxr_core.worklist.values import INTERACTIVE, Answer, Incoming, Query, Source
from tests.evaluation.site_made import site_cases
from tests.evaluation.tabled import with_tables
from tests.films import png
from tests.inference.tiny import rewrite
from tests.reports import analyses
from tests.worklist.rows import THEN, identity, image, study

ROOT = Actor("root", Role.ADMIN)
ISSUER = "https://id.example"
TEXT = Settings().policy.read_text(encoding="utf-8")


class Nothing:
    """Stands for whatever a call needs where it is not to come so far: nothing is there."""

    def file(self) -> Incoming:
        return Incoming("film", b"no film")

    def patient(self) -> tuple[str, str]:
        return "none", "nothing"

    def hanging(self) -> tuple[str, int]:
        return "none", 2

    def to_explain(self) -> tuple[Wanted, ...]:
        return (Wanted(0, "none", "Mass", Method.LIME, "none"),)

    def __getattr__(self, name: str) -> Callable[..., str]:
        return lambda *_, **__: "none"


class World:
    """Makes what a call needs in order to succeed, each time anew and in nobody's name but programs'."""

    def __init__(self, service: Service) -> None:
        self.service, self._numbers = service, itertools.count(1)
        self._lies = {service.model: service.settings}

    def study(self, *, film: str | None = None, **columns: Any) -> str:
        """A critical study whose one film was answered, at version 2."""
        number = next(self._numbers)
        sha256, service = film or f"{number:064x}", self.service
        with service.database.write() as session:
            session.add(StudyRow(**study(number, "review", state=None, **columns)))
            session.flush()
            session.add(ImageRow(**image(number, number, status="waiting", sha256=sha256)))
            queue.put(session.get_one(StudyRow, f"{number:032x}"), THEN, INTERACTIVE)
        (job,) = queue.claim(service, "w1", 1)
        made = replace(analyses.assessed({"Pneumothorax": 0.9}), sha256=sha256)
        versions = replace(made.versions, policy=service.policy.version, model=service.model)
        of_three = tuple(replace(each, members=each.members[:3]) for each in made.predictions)
        made = replace(made, versions=versions, predictions=of_three, abnormal=None)
        assert queue.record(service, "w1", job, [Answer(made, None, (), None)])
        return job.study_id

    def former(self) -> str:
        """A study that a model answered which is no longer in force."""
        study_id = self.study()
        with self.service.database.write() as session:
            made = session.scalars(
                select(ResultRow).where(ResultRow.sha256 == f"{int(study_id, 16):064x}")
            ).one()
            made.model = "former 0.9.0"
        return study_id

    def had(self) -> str:
        """A study that somebody has."""
        return self.study(claimed_by="somebody", status="claimed")

    def told(self) -> str:
        """A critical study that was acknowledged."""
        study_id = self.study()
        with self.service.database.write() as session:
            row = session.get_one(StudyRow, study_id)
            row.acknowledged_by, row.acknowledged_utc, row.status = "somebody", THEN, "acknowledged"
        return study_id

    def film(self) -> str:
        """The SHA-256 of a film whose bytes are there."""
        raw = f"film {next(self._numbers)}".encode()
        sha256 = hashlib.sha256(raw).hexdigest()
        self.service.blobs.put_many({sha256: raw})
        self.study(film=sha256)
        return sha256

    def explainable(self) -> str:
        """The SHA-256 of a film whose bytes are there, and the model that answered it too."""
        self.in_force()
        return self.film()

    def to_explain(self) -> tuple[Wanted, ...]:
        """A film's answer that can be explained at once, by one method."""
        return self.service.to_explain(ROOT, self.explainable(), "Mass", [Method.LIME])

    def decodable(self) -> str:
        """The same of a film that can be decoded, once for each world."""
        raw = png(next(self._numbers))
        sha256 = hashlib.sha256(raw).hexdigest()
        self.service.blobs.put_many({sha256: raw})
        self.study(film=sha256)
        return sha256

    def dead(self) -> str:
        """The SHA-256 of a film that was given up."""
        sha256 = f"{int(self.study(), 16):064x}"
        with self.service.database.write() as session:
            session.get_one(ImageRow, sha256).status = "dead"
        return sha256

    def hanging(self) -> tuple[str, int]:
        """The SHA-256 of a film that was refused because it is upside down, and its study's version."""
        number, service = next(self._numbers), self.service
        sha256 = f"{number:064x}"
        with service.database.write() as session:
            session.add(StudyRow(**study(number, "review", state=None)))
            session.flush()
            session.add(ImageRow(**image(number, number, status="waiting", sha256=sha256)))
            queue.put(session.get_one(StudyRow, f"{number:032x}"), THEN, INTERACTIVE)
        (job,) = queue.claim(service, "w1", 1)
        assert queue.record(
            service, "w1", job, [Answer(refused(service, sha256, "upside_down"), None, (), None)]
        )
        return sha256, 2

    def patient(self) -> tuple[str, str]:
        """Two studies of one patient."""
        both = [self.study(), self.study()]
        with self.service.database.write() as session:
            for each in both:
                number = int(each, 16)
                session.add(IdentityRow(**identity(number, patient_id=f"P of {both[0]}")))
        return both[0], both[1]

    def note(self, actor: Actor) -> tuple[str, int, int]:
        """A study with a note of the actor's: its id, version and the note's number."""
        study_id = self.study()
        with self.service.database.write() as session:
            row = ReviewRow(study_id=study_id, at_utc=THEN, actor=actor.name, kind="note", data={"text": "x"})
            session.add(row)
            session.flush()
            return study_id, 2, row.id

    def batch(self, actor: Actor) -> str:
        """A batch of the actor's."""
        return batches.start(self.service, actor, 1, Source.CLI)

    def file(self) -> Incoming:
        """A file that nobody has handed in yet."""
        return Incoming("film", f"no film {next(self._numbers)}".encode())

    def policy(self) -> str:
        """A policy that somebody approved, with a version of its own."""
        version = f"9.{next(self._numbers)}.0"
        return edited(TEXT, {("version",): version, ("approver",): "Dr. A. Silva"})

    def version(self) -> int:
        """The id of a policy that was written here."""
        return policies.write(self.service, ROOT, self.policy(), "as agreed")

    def model(self) -> str:
        """The id of a sound model that is not in force, in a folder of models of this world's own."""
        settings, version = self.service.settings, f"9.{next(self._numbers)}.0"
        root = Path(tempfile.mkdtemp(dir=settings.home))
        made = root / settings.model
        shutil.copytree(settings.models_dir / settings.model, made)
        manifest = read_manifest(made)
        rewrite(made, replace(manifest, model=replace(manifest.model, version=version)))
        self.service.settings = self._lies[f"{settings.model} {version}"] = replace(settings, models_dir=root)
        return settings.model

    def in_force(self) -> None:
        """Look for models where the one in force lies."""
        self.service.settings = self._lies[self.service.model]

    def tabled(self) -> str:
        """The same, with tables of val."""
        model_id = self.model()
        with_tables(self.service.settings.models_dir / model_id, split="val", every=8)
        return model_id

    def listing(self) -> Listing:
        """A list of one labelled film."""
        return read_listing(b"file,patient,Mass\na.png,1,1\n", "list.csv", ("Mass",))

    def opinion(self) -> str:
        """A study that the model in force answered and of which a reader said something."""
        self.in_force()
        study_id = self.study()
        self.service.opine(ROOT, study_id, 2, "Pneumothorax", agrees=True)
        return study_id

    def choice(self) -> Choice:
        """What is asked for by default."""
        return Choice()

    def cases(self) -> Cases:
        """Enough local films as the model of this world would have answered them."""
        manifest = read_manifest(self.service.settings.models_dir / self.service.settings.model)
        return site_cases(manifest, 400)

    def fitted(self) -> tuple[str, SiteFit]:
        """The id of a model, and that model fitted to a site."""
        model_id = self.model()
        return model_id, self.service.fit_site(ROOT, model_id, self.cases(), self.choice())

    def subject(self) -> str:
        """Somebody whom nobody has named yet."""
        return f"subject {next(self._numbers)}"

    def account(self, role: Role | None = Role.VIEWER) -> accounts.Account:
        """Somebody who was named."""
        return accounts.name_account(self.service, ROOT, ISSUER, self.subject(), "Ben", role)

    def here(self) -> str:
        """The id of somebody who is signed in."""
        account = self.account()
        self.service.arrive(claims(account.subject))
        return account.id


@dataclass(frozen=True)
class Call:
    """A call: what it needs, how it is made in an actor's name, and which events it leaves."""

    action: Action
    make: Callable[[Service, Actor, Any], object]
    events: tuple[str, ...] = ()


def claims(subject: str, nth: int = 1) -> Claims:
    """What the identity provider says of a person at their nth sign-in."""
    key = hashlib.sha256(f"{subject} {nth}".encode()).hexdigest()
    return Claims(ISSUER, subject, "Ana Silva", "", key)


def signed_in(service: Service, role: Role, subject: str) -> Actor:
    """Somebody who signed in in this role."""
    accounts.name_account(service, ROOT, ISSUER, subject, "Ana Silva", role)
    return service.arrive(claims(subject))


def refused(service: Service, sha256: str, code: str, correction: Correction = AS_SENT) -> Analysis:
    """What the model and policy in force say of a film that the gate refuses for this."""
    notice = refusal(code)
    return Analysis(
        sha256=sha256,
        study=Study(),
        gate=Gate(GateOutcome.REFUSED, (notice,)),
        predictions=(),
        abnormal=None,
        triage=refuse(service.policy, notice),
        versions=Versions(service.model, service.policy.version, service.gate, "0"),
        refusal=notice,
        correction=correction,
    )


def _correct(service: Service, actor: Actor, world: Any) -> None:
    sha256, version = world.hanging()
    service.correct(actor, sha256, CORRECTIONS["upside_down"], version)


def _undo(service: Service, actor: Actor, world: Any) -> None:
    study_id, version, entry = world.note(actor) if isinstance(world, World) else ("none", 1, 1)
    service.undo(actor, study_id, version, entry)


def _pair(fitted: Any) -> tuple[str, Any]:
    return fitted if isinstance(fitted, tuple) else ("none", None)


def _id(account: Any) -> str:
    return account if isinstance(account, str) else account.id


A = Action
CALLS: dict[str, Call] = {
    "submit": Call(A.SUBMIT, lambda s, a, w: s.submit(a, w.file(), source=Source.CLI), ("submit",)),
    "submit_many": Call(
        A.SUBMIT,
        lambda s, a, w: s.submit_many(a, [w.file(), w.file()], source=Source.CLI),
        ("submit", "submit"),
    ),
    "start_batch": Call(A.SUBMIT, lambda s, a, w: s.start_batch(a, 1, Source.CLI)),
    "add_to_batch": Call(A.SUBMIT, lambda s, a, w: s.add_to_batch(a, w.batch(a), [w.file()]), ("submit",)),
    "finish_batch": Call(A.SUBMIT, lambda s, a, w: s.finish_batch(a, w.batch(a))),
    "batch": Call(A.SUBMIT, lambda s, a, w: s.batch(a, w.batch(a))),
    "batches": Call(A.SUBMIT, lambda s, a, w: s.batches(a)),
    "page": Call(A.VIEW_LIST, lambda s, a, w: s.page(a, Query())),
    "tiers": Call(A.VIEW_LIST, lambda s, a, w: s.tiers(a)),
    "alerts": Call(A.VIEW_LIST, lambda s, a, w: s.alerts(a)),
    "workers": Call(A.VIEW_LIST, lambda s, a, w: s.workers(a)),
    "version": Call(A.VIEW_LIST, lambda s, a, w: s.version(a, w.study())),
    "export_csv": Call(A.EXPORT, lambda s, a, w: s.export_csv(a, Query()), ("export",)),
    "turnaround": Call(A.TURNAROUND, lambda s, a, w: s.turnaround(a, THEN, THEN)),
    "verdicts": Call(A.VERDICTS, lambda s, a, w: s.verdicts(a)),
    "discrepancies": Call(A.VERDICTS, lambda s, a, w: s.discrepancies(a)),
    "health": Call(A.HEALTH, lambda s, a, w: s.health(a)),
    "given_up": Call(A.HEALTH, lambda s, a, w: s.given_up(a)),
    "refusals": Call(A.HEALTH, lambda s, a, w: s.refusals(a)),
    "flow": Call(A.HEALTH, lambda s, a, w: s.flow(a)),
    "search_audit": Call(A.AUDIT, lambda s, a, w: s.search_audit(a, EVERYTHING)),
    "verify_audit": Call(A.AUDIT, lambda s, a, w: s.verify_audit(a), ("audit_verify",)),
    "export_audit": Call(A.AUDIT, lambda s, a, w: s.export_audit(a, EVERYTHING, Form.CSV), ("audit_export",)),
    "policies": Call(A.VIEW_POLICY, lambda s, a, w: s.policies(a)),
    "policy_text": Call(A.VIEW_POLICY, lambda s, a, w: s.policy_text(a, None)),
    "try_policy": Call(A.VIEW_POLICY, lambda s, a, w: s.try_policy(a, w.policy())),
    "write_policy": Call(A.POLICY, lambda s, a, w: s.write_policy(a, w.policy(), "why"), ("policy_write",)),
    "activate_policy": Call(
        A.POLICY, lambda s, a, w: s.activate_policy(a, w.version()), ("policy_activate",)
    ),
    "models": Call(A.MODELS, lambda s, a, w: s.models(a)),
    "model_card": Call(A.MODELS, lambda s, a, w: s.model_card(a, w.model())),
    "training_curves": Call(A.MODELS, lambda s, a, w: s.training_curves(a, [w.model()])),
    "splits": Call(A.PERFORMANCE, lambda s, a, w: s.splits(a, w.tabled())),
    "scored": Call(A.PERFORMANCE, lambda s, a, w: s.scored(a, w.tabled(), "val")),
    "evaluation": Call(A.PERFORMANCE, lambda s, a, w: s.evaluation(a, w.tabled(), "val")),
    "evidence": Call(A.PERFORMANCE, lambda s, a, w: s.evidence(a, w.tabled())),
    "measure": Call(A.MEASURE, lambda s, a, w: s.measure(a, w.tabled(), "val", resamples=2)),
    "export_model": Call(A.MODELS, lambda s, a, w: s.export_model(a, w.model()), ("model_export",)),
    "read_site": Call(A.FIT, lambda s, a, w: s.read_site(a, w.model(), w.listing(), iter(())).close()),
    "begin_site_reading": Call(
        A.FIT, lambda s, a, w: s.begin_site_reading(a, w.model(), w.listing(), iter(()), 0).wait()
    ),
    "site_reading": Call(A.FIT, lambda s, a, w: s.site_reading(a)),
    "drop_site_reading": Call(A.FIT, lambda s, a, w: s.drop_site_reading(a)),
    "site_opinions": Call(A.FIT, lambda s, a, w: s.site_opinions(a) if w.opinion() else None),
    "fit_site": Call(A.FIT, lambda s, a, w: s.fit_site(a, w.model(), w.cases(), w.choice())),
    "save_site_model": Call(
        A.FIT, lambda s, a, w: s.save_site_model(a, *_pair(w.fitted()), "here"), ("model_fit",)
    ),
    "try_model": Call(A.ACTIVATE_MODEL, lambda s, a, w: s.try_model(a, w.model())),
    "activate_model": Call(
        A.ACTIVATE_MODEL, lambda s, a, w: s.activate_model(a, w.model(), "why"), ("model_activate",)
    ),
    "study": Call(A.VIEW_STUDY, lambda s, a, w: s.study(a, w.study()), ("view",)),
    "film_bytes": Call(A.VIEW_STUDY, lambda s, a, w: s.film_bytes(a, w.film()), ("view",)),
    "priors": Call(A.VIEW_STUDY, lambda s, a, w: s.priors(a, w.patient()[0])),
    "beside": Call(A.VIEW_STUDY, lambda s, a, w: s.beside(a, *w.patient()), ("view",)),
    "note_download": Call(A.VIEW_STUDY, lambda s, a, w: s.note_download(a, w.film(), "pdf"), ("export",)),
    "deidentify": Call(
        A.DEIDENTIFY, lambda s, a, w: s.deidentify(a, w.decodable(), Text.CHECKED), ("deidentify",)
    ),
    "complete": Call(
        A.COMPLETE, lambda s, a, w: s.complete(a, w.study(), Study(age_years=40), 2), ("complete",)
    ),
    "correct": Call(A.CORRECT, _correct, ("correct",)),
    "claim": Call(A.CLAIM, lambda s, a, w: s.claim(a, w.study(), 2), ("claim",)),
    "release": Call(
        A.CLAIM, lambda s, a, w: s.release(a, w.study(claimed_by=a.name, status="claimed"), 2), ("release",)
    ),
    "acknowledge": Call(
        A.ACKNOWLEDGE,
        lambda s, a, w: s.acknowledge(a, w.study(), 2, told="ward", how="in person"),
        ("acknowledge",),
    ),
    "mark_read": Call(A.READ, lambda s, a, w: s.mark_read(a, w.told(), 2), ("read",)),
    "opine": Call(A.OPINE, lambda s, a, w: s.opine(a, w.study(), 2, "Mass", agrees=True), ("agree",)),
    "override": Call(
        A.OVERRIDE, lambda s, a, w: s.override(a, w.study(), 2, Urgency.URGENT, "why"), ("override",)
    ),
    "note": Call(A.NOTE, lambda s, a, w: s.note(a, w.study(), 2, "text"), ("note",)),
    "undo": Call(A.UNDO, _undo, ("undo",)),
    "explain": Call(A.EXPLAIN, lambda s, a, w: s.explain(a, w.film(), "Mass", Method.LIME), ("explain",)),
    "to_explain": Call(A.EXPLAIN, lambda s, a, w: s.to_explain(a, w.explainable(), "Mass", [Method.LIME])),
    "note_explained": Call(A.EXPLAIN, lambda s, a, w: s.note_explained(a, w.to_explain()), ("explain",)),
    "explanations": Call(A.VIEW_STUDY, lambda s, a, w: s.explanations(a, w.film())),
    "reanalyse": Call(A.REANALYSE, lambda s, a, w: s.reanalyse(a, [w.former()], None), ("reanalyse",)),
    "retry": Call(A.RETRY, lambda s, a, w: s.retry(a, w.dead()), ("retry",)),
    "accounts": Call(A.USERS, lambda s, a, w: s.accounts(a)),
    "name_account": Call(
        A.USERS, lambda s, a, w: s.name_account(a, ISSUER, w.subject(), "Ben", Role.LEAD), ("account",)
    ),
    "set_role": Call(A.USERS, lambda s, a, w: s.set_role(a, _id(w.account()), Role.LEAD), ("role",)),
    "sign_out_account": Call(A.USERS, lambda s, a, w: s.sign_out_account(a, w.here()), ("sign_out",)),
}

OWN = frozenset({"arrive", "check", "permit", "sign_out"})
"""Calls of a person that need no role: to come, to be asked about, to go."""

PROGRAMS = frozenset({"close", "refresh", "deciding", "model_named"})
"""Methods that are in nobody's name."""
