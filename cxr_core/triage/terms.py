"""The parts of a policy, as the TOML file spells them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cxr_core.domain import State, Urgency


class Mark(StrEnum):
    """How far a code can be trusted."""

    CONFIRMED = "confirmed"
    """In at least one standard or terminology source."""
    UNCONFIRMED = "unconfirmed"
    NONE = "none"
    """The terminology has no such concept."""


class ReviewBudget(StrEnum):
    """Which films the threshold of `abnormal` spends the review tier's budget on."""

    UNCLASSIFIED = "unclassified"
    """Films without a finding, which it makes unable to classify."""
    ALL = "all"
    """Those, and flagged films which it lifts to review."""


@dataclass(frozen=True, slots=True)
class Tier:
    """One urgency: longest wait, largest share of films, ACR actionable-finding category."""

    max_wait_minutes: int
    budget: float
    acr_category: str


@dataclass(frozen=True, slots=True)
class Tiers:
    """The five tiers, most urgent first."""

    critical: Tier
    urgent: Tier
    review: Tier
    significant: Tier
    routine: Tier

    def __getitem__(self, urgency: Urgency) -> Tier:
        """Return the tier of an urgency."""
        tier: Tier = getattr(self, urgency.value)
        return tier


@dataclass(frozen=True, slots=True)
class Together:
    """A finding takes this tier when it is positive together with any of `labels`."""

    labels: tuple[str, ...]
    tier: Urgency


@dataclass(frozen=True, slots=True)
class Rule:
    """What one finding means: tier, suggested action, suspected-cancer flag, codes and their source."""

    label: str
    name: str
    tier: Urgency
    action: str
    cancer: bool
    snomed: str
    snomed_mark: Mark
    radlex: str
    radlex_mark: Mark
    source: str
    together: Together | None = None


@dataclass(frozen=True, slots=True)
class Disagreement:
    """When the ensemble's members disagree: see `decide`."""

    tiers: tuple[Urgency, ...]
    votes: int
    spread: float


@dataclass(frozen=True, slots=True)
class Words:
    """What the card says in one state; empty `beneath` means that the reasons stand there."""

    headline: str
    beneath: str
    action: str
    snomed: str
    snomed_mark: Mark
    source: str


@dataclass(frozen=True, slots=True)
class States:
    """Words for each state."""

    flagged: Words
    no_disease_detected: Words
    unable_to_classify: Words
    refused: Words

    def __getitem__(self, state: State) -> Words:
        """Return the words of a state."""
        words: Words = getattr(self, state.value)
        return words


@dataclass(frozen=True, slots=True)
class Texts:
    """Sentences of the card; those of `PLACEHOLDERS` are templates for `str.format`."""

    reason_finding: str
    reason_abnormal: str
    reason_votes: str
    reason_spread: str
    reason_unknown: str
    reason_not_assessed: str
    reason_nothing: str
    reason_warned: str
    reason_refused: str
    side: str
    heatmap: str
    role: str
    device: str
    unseen: tuple[str, ...]


PLACEHOLDERS: dict[str, frozenset[str]] = {
    "reason_finding": frozenset({"name", "value", "threshold"}),
    "reason_abnormal": frozenset({"value", "threshold"}),
    "reason_votes": frozenset({"name", "value", "threshold", "votes", "members"}),
    "reason_spread": frozenset({"name", "value", "limit"}),
    "reason_unknown": frozenset({"name", "value", "threshold"}),
    "reason_not_assessed": frozenset({"names"}),
    "reason_nothing": frozenset({"value", "threshold"}),
}
