"""The tables. Patient identity stands in `identity` alone; every other row speaks of a study or a film."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

ID = String(32)
SHA256 = String(64)
WORD = String(32)


class UtcTime(TypeDecorator[datetime]):
    """An aware time, kept in UTC; naive times are a fault of the caller."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time in UTC; SQLite keeps it without zone."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("expected an aware time")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time, aware, in UTC."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Base(DeclarativeBase):
    """Common base; constraint names are fixed so that migrations can name them."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {datetime: UtcTime(), dict[str, Any]: JSON(), list[str]: JSON()}  # noqa: RUF012


class StudyRow(Base):
    """One examination: what the list shows, who has it, and the job it is for the workers."""

    __tablename__ = "study"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    key: Mapped[str] = mapped_column(SHA256, unique=True)
    """Hash of StudyInstanceUID and PatientID, or of the film's bytes where there is no UID."""
    study_uid: Mapped[str] = mapped_column(String(64), default="")
    source: Mapped[str] = mapped_column(WORD)
    received_utc: Mapped[datetime]
    acquired_utc: Mapped[datetime | None]
    since_utc: Mapped[datetime]
    """From when the wait runs: acquired where known and not in the future, else received."""
    age_years: Mapped[float | None]
    sex: Mapped[str] = mapped_column(WORD)
    view: Mapped[str] = mapped_column(WORD)
    typed: Mapped[dict[str, Any] | None]
    """Age, sex and view as a person completed them, or NULL."""

    state: Mapped[str | None] = mapped_column(WORD)
    """NULL until a film of the study is assessed or refused."""
    urgency: Mapped[str] = mapped_column(WORD)
    """What counts: the films' word, or a person's with what came since."""
    tier: Mapped[int]
    """Place in the list: 0 critical, 1 urgent and review, 2 significant, 3 routine."""
    findings: Mapped[str] = mapped_column(Text, default="")
    """Positive labels in clinical order, each between bars: `|Effusion|Edema|`."""
    action: Mapped[str] = mapped_column(Text, default="")
    reasons: Mapped[list[str]] = mapped_column(default=list)
    cover: Mapped[str | None] = mapped_column(SHA256)
    """The film whose thumbnail stands in the list."""
    override: Mapped[dict[str, Any] | None]
    """The urgency that a person gave, who that was and which answers they had seen; NULL where nobody did."""
    films_urgency: Mapped[str | None] = mapped_column(WORD)
    """What the films alone say where a person overrode it, else NULL."""

    is_open: Mapped[bool] = mapped_column(default=True)
    """Not read yet."""
    status: Mapped[str] = mapped_column(WORD, default="new")
    claimed_by: Mapped[str | None] = mapped_column(String(200))
    claimed_utc: Mapped[datetime | None]
    acknowledged_by: Mapped[str | None] = mapped_column(String(200))
    acknowledged_utc: Mapped[datetime | None]
    read_by: Mapped[str | None] = mapped_column(String(200))
    read_utc: Mapped[datetime | None]
    version: Mapped[int] = mapped_column(default=1)
    """Rises with every change that a reader can see; whoever acts names the version that was on screen."""

    queued_utc: Mapped[datetime | None]
    """Since when a worker should look at it; NULL when there is nothing to do."""
    priority: Mapped[int] = mapped_column(default=1)
    """0: somebody is waiting at the screen; 1: batch; 2: answered before, asked anew."""
    not_before_utc: Mapped[datetime | None]
    lease_owner: Mapped[str | None] = mapped_column(String(100))
    lease_until_utc: Mapped[datetime | None]
    lost_leases: Mapped[int] = mapped_column(default=0)
    wanted_model: Mapped[str | None] = mapped_column(String(100))
    """Id of the model that a lead asked for; NULL: the one in force."""

    __table_args__ = (
        # The columns after `id` decide nothing about the order: with them the index answers counts and
        # filters alone, ten times faster than by looking up every study.
        Index(
            "ix_study_list",
            *("is_open", "tier", "since_utc", "id"),
            *("urgency", "status", "received_utc", "findings"),
        ),
        Index(
            "ix_study_alert",
            "since_utc",
            "id",
            sqlite_where=text("tier = 0 AND acknowledged_utc IS NULL"),
            postgresql_where=text("tier = 0 AND acknowledged_utc IS NULL"),
        ),
        Index("ix_study_received", "received_utc"),
        Index(
            "ix_study_queue",
            "priority",
            "queued_utc",
            sqlite_where=text("queued_utc IS NOT NULL"),
            postgresql_where=text("queued_utc IS NOT NULL"),
        ),
        Index(
            "ix_study_lease",
            "lease_until_utc",
            sqlite_where=text("lease_owner IS NOT NULL"),
            postgresql_where=text("lease_owner IS NOT NULL"),
        ),
    )


class IdentityRow(Base):
    """Who it is and who asked: the only table that names a person examined."""

    __tablename__ = "identity"

    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"), primary_key=True)
    patient_id: Mapped[str] = mapped_column(Text, default="", index=True)
    patient_name: Mapped[str] = mapped_column(Text, default="")
    accession: Mapped[str] = mapped_column(Text, default="")
    referrer: Mapped[str] = mapped_column(Text, default="")
    referrer_phone: Mapped[str] = mapped_column(Text, default="")
    question: Mapped[str] = mapped_column(Text, default="")


class ImageRow(Base):
    """One film: its bytes lie in the blob store under its SHA-256."""

    __tablename__ = "image"

    sha256: Mapped[str] = mapped_column(SHA256, primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"), index=True)
    received_utc: Mapped[datetime]
    source: Mapped[str] = mapped_column(WORD)
    file_name: Mapped[str] = mapped_column(Text)
    """As given; shown, never used as a path, never logged."""
    size_bytes: Mapped[int]
    sop_uid: Mapped[str | None] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(WORD, default="waiting")
    """waiting, assessed, refused, dead (its decoder failed too often) or conflict (see `conflicts_with`)."""
    attempts: Mapped[int] = mapped_column(default=0)
    """How often its decoder died or ran out of time since it was last answered, or asked about anew."""
    conflicts_with: Mapped[str | None] = mapped_column(SHA256)
    """The film that had this SOPInstanceUID first, with other pixels."""
    result_id: Mapped[int | None]
    """The result that counts: of the model, policy, gate and correction last asked for."""
    thumbnail: Mapped[bytes | None] = mapped_column(LargeBinary)
    """PNG, at most 96 pixels a side."""
    correction: Mapped[str] = mapped_column(WORD, default="", server_default="")
    """How a person had it hung anew, as `Correction.key`; empty: as it was sent."""

    __table_args__ = (
        Index(
            "uq_image_sop_uid",
            "sop_uid",
            unique=True,
            sqlite_where=text("conflicts_with IS NULL"),
            postgresql_where=text("conflicts_with IS NULL"),
        ),
        Index(
            "ix_image_waiting",
            "study_id",
            "result_id",
            sqlite_where=text("status = 'waiting'"),
            postgresql_where=text("status = 'waiting'"),
        ),
        # Few films are refused or given up; to find them must not mean reading all thumbnails.
        Index("ix_image_status", "status"),
    )


class ResultRow(Base):
    """What one model said of one film under one policy, behind one gate, as it hung then; never changed."""

    __tablename__ = "result"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("image.sha256"))
    model: Mapped[str] = mapped_column(String(100))
    policy: Mapped[str] = mapped_column(String(100))
    code: Mapped[str] = mapped_column(WORD)
    created_utc: Mapped[datetime]
    state: Mapped[str] = mapped_column(WORD)
    urgency: Mapped[str] = mapped_column(WORD)
    body: Mapped[dict[str, Any]]
    """The Analysis without identity, pixels and feature maps."""
    heatmaps: Mapped[bytes | None] = mapped_column(LargeBinary)
    """float16, shape in `body`."""
    correction: Mapped[str] = mapped_column(WORD, default="", server_default="")
    """With which the film was answered, as `ImageRow.correction`."""
    gate: Mapped[str] = mapped_column(String(100), default="", server_default="")
    """That let the film pass or refused it; empty: before 0.6.0."""

    __table_args__ = (UniqueConstraint("sha256", "model", "policy", "correction", "gate"),)


class ReviewRow(Base):
    """What a person did with a study; appended, never changed."""

    __tablename__ = "review"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"), index=True)
    at_utc: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    kind: Mapped[str] = mapped_column(WORD)
    data: Mapped[dict[str, Any]]


class AuditRow(Base):
    """One event; `digest` covers the event and the digest before it."""

    __tablename__ = "audit"

    seq: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at_utc: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    event: Mapped[str] = mapped_column(WORD)
    subject: Mapped[str] = mapped_column(String(64), index=True)
    detail: Mapped[str] = mapped_column(Text)
    """Canonical JSON; codes, hashes and counts, no patient data."""
    previous: Mapped[str] = mapped_column(SHA256)
    digest: Mapped[str] = mapped_column(SHA256)


class AuditHeadRow(Base):
    """The last link; its one row is locked by whoever appends."""

    __tablename__ = "audit_head"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    seq: Mapped[int]
    digest: Mapped[str] = mapped_column(SHA256)


class BatchRow(Base):
    """Files handed in together."""

    __tablename__ = "batch"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    created_utc: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200), index=True)
    source: Mapped[str] = mapped_column(WORD)
    total: Mapped[int]
    finished_utc: Mapped[datetime | None]
    """When the last file was taken in or refused; NULL while that goes on, or when it was broken off."""
    seen_utc: Mapped[datetime]
    """When a file of it was last taken in or refused: long ago and not finished means broken off."""


class BatchItemRow(Base):
    """One file of a batch: taken in, or refused at the door with a code."""

    __tablename__ = "batch_item"

    batch_id: Mapped[str] = mapped_column(ForeignKey("batch.id"), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(Text)
    """Of the file as given, or of the entry of a zip."""
    sha256: Mapped[str | None] = mapped_column(SHA256)
    study_id: Mapped[str | None] = mapped_column(ID)
    code: Mapped[str] = mapped_column(WORD, default="")
    """Why it was refused; of a file taken in: `known` or `conflict` where the receipt said so."""
    message: Mapped[str] = mapped_column(Text, default="")
    hint: Mapped[str] = mapped_column(Text, default="")


class WorkerRow(Base):
    """A worker process and when it was last heard of."""

    __tablename__ = "worker"

    id: Mapped[str] = mapped_column(String(100), primary_key=True)
    started_utc: Mapped[datetime]
    seen_utc: Mapped[datetime]
    stopped_utc: Mapped[datetime | None]
    answered: Mapped[int] = mapped_column(default=0)


class AccountRow(Base):
    """A person who signed in at least once, or whom an admin named before; never a patient."""

    __tablename__ = "account"

    id: Mapped[str] = mapped_column(ID, primary_key=True)
    issuer: Mapped[str] = mapped_column(Text)
    subject: Mapped[str] = mapped_column(Text)
    handle: Mapped[str] = mapped_column(String(200), unique=True)
    """The name that audit rows, claims and opinions bear; never changed."""
    email: Mapped[str] = mapped_column(Text, default="")
    role: Mapped[str] = mapped_column(WORD, default="")
    """Empty: signed in, but may do nothing until an admin gives a role."""
    created_utc: Mapped[datetime]

    __table_args__ = (UniqueConstraint("issuer", "subject"),)


class SignInRow(Base):
    """One sign-in of an account; a browser's cookie may outlive it."""

    __tablename__ = "sign_in"

    key: Mapped[str] = mapped_column(SHA256, primary_key=True)
    """Hash of what the identity provider said at this sign-in."""
    account_id: Mapped[str] = mapped_column(ForeignKey("account.id"), index=True)
    started_utc: Mapped[datetime]
    seen_utc: Mapped[datetime]
    """When the person last did something; a page that refreshes itself does not count."""
    ended_utc: Mapped[datetime | None]
    ended_why: Mapped[str] = mapped_column(WORD, default="")
    """signed_out, idle, expired or revoked."""


class PolicyRow(Base):
    """A policy as somebody wrote it here, or as the file had it (no author); never changed."""

    __tablename__ = "policy"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    version: Mapped[str] = mapped_column(String(100), unique=True)
    body: Mapped[str] = mapped_column(Text)
    """TOML as `parse_policy` reads it; its own `version` and `approver` are these."""
    approver: Mapped[str] = mapped_column(Text)
    author: Mapped[str] = mapped_column(String(200))
    note: Mapped[str] = mapped_column(Text, default="")
    created_utc: Mapped[datetime]


class PolicyChangeRow(Base):
    """Which policy came into force when; the newest row counts, and without any the file's."""

    __tablename__ = "policy_change"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at_utc: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    policy_id: Mapped[int | None] = mapped_column(ForeignKey("policy.id"))
    """NULL: the newest file."""


class ModelChangeRow(Base):
    """Which model came into force when; the newest row counts, and without any the one that is set."""

    __tablename__ = "model_change"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    at_utc: Mapped[datetime]
    actor: Mapped[str] = mapped_column(String(200))
    model: Mapped[str] = mapped_column(String(200))
    """As results name it, "id version"."""
    sha256: Mapped[str] = mapped_column(SHA256)
    """Of its `manifest.toml`, which names every other file by its own: this very model, or none."""
    note: Mapped[str] = mapped_column(Text, default="")


class ExplanationRow(Base):
    """What one method says of one finding on one film: asked for by a person, worked out by a worker."""

    __tablename__ = "explanation"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"), index=True)
    sha256: Mapped[str] = mapped_column(ForeignKey("image.sha256"))
    label: Mapped[str] = mapped_column(String(100))
    method: Mapped[str] = mapped_column(WORD)
    model: Mapped[str] = mapped_column(String(200))
    status: Mapped[str] = mapped_column(String(16))
    """queued, running, done or failed."""
    asked_by: Mapped[str] = mapped_column(String(200))
    asked_utc: Mapped[datetime]
    lease_owner: Mapped[str | None] = mapped_column(String(100))
    lease_until_utc: Mapped[datetime | None]
    done_utc: Mapped[datetime | None]
    ms: Mapped[int | None]
    """How long the method took."""
    error: Mapped[str] = mapped_column(String(64), default="")
    """Code of why it failed."""
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    """The map as float16 and what is known of it, packed."""
    correction: Mapped[str] = mapped_column(WORD, default="", server_default="")
    """Of the answer that is explained, as `ImageRow.correction`."""

    __table_args__ = (
        UniqueConstraint("sha256", "label", "method", "model", "correction"),
        # Few wait at any time; a worker looks for them whenever no film does.
        Index(
            "ix_explanation_waiting",
            "asked_utc",
            sqlite_where=text("status IN ('queued', 'running')"),
            postgresql_where=text("status IN ('queued', 'running')"),
        ),
    )
