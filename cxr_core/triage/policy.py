"""The clinical policy: tiers, budgets, actions, codes and wording, read strictly from one TOML file.

Everything a site may decide stands in `config/policy.toml` with a version, a date and an approver; code here
only refuses what is incomplete or contradicts itself. Explained in `docs/policy.md`.
"""

from __future__ import annotations

import math
import re
import tomllib
from collections.abc import Iterator, Set
from dataclasses import dataclass, fields, is_dataclass
from datetime import date
from pathlib import Path
from string import Formatter

from cxr_core.domain import FINDINGS, State, Urgency
from cxr_core.errors import PolicyError
from cxr_core.strict import build
from cxr_core.triage.terms import (
    PLACEHOLDERS,
    Disagreement,
    Mark,
    ReviewBudget,
    Rule,
    States,
    Texts,
    Tiers,
)

VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z._+-]{0,63}")
"""What a version looks like: it stands in every result and in the audit trail."""

LONGEST = 200_000
"""Characters of a policy; the shipped one has 12,000."""

UNSIGNED = "unsigned"
"""How the approver of a policy begins that nobody has approved."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The whole policy; `findings` stand in clinical order."""

    version: str
    date: date
    approver: str
    tiers: Tiers
    review_budget: ReviewBudget
    disagreement: Disagreement
    states: States
    texts: Texts
    findings: tuple[Rule, ...]

    @property
    def signed(self) -> bool:
        """Whether it names somebody who approved it."""
        return not self.approver.strip().casefold().startswith(UNSIGNED)

    @property
    def labels(self) -> tuple[str, ...]:
        """The findings' labels in clinical order."""
        return tuple(rule.label for rule in self.findings)

    def labels_of(self, tier: Urgency) -> tuple[str, ...]:
        """The labels of a tier's findings in clinical order."""
        return tuple(rule.label for rule in self.findings if rule.tier is tier)

    def rule(self, label: str) -> Rule | None:
        """Return the rule of a finding, or None where the policy has none."""
        return next((rule for rule in self.findings if rule.label == label), None)

    def tier_of(self, label: str, positive: Set[str]) -> Urgency:
        """Return a positive finding's tier among all `positive` ones; review where the policy has no rule."""
        rule = self.rule(label)
        if rule is None:
            return Urgency.REVIEW
        if rule.together and not positive.isdisjoint(rule.together.labels):
            return min(rule.tier, rule.together.tier, key=lambda tier: tier.rank)
        return rule.tier


def load_policy(path: Path | str) -> Policy:
    """Return the policy of a TOML file.

    Raises:
        PolicyError: the file cannot be read, or `parse_policy` refuses it.
    """
    return parse_policy(read_policy(path))


def read_policy(path: Path | str) -> str:
    """Return the text of a policy file; raises PolicyError where it cannot be read."""
    try:
        return Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as exc:
        raise PolicyError(f"cannot read the policy {path}: {exc}") from exc


def parse_policy(text: str) -> Policy:
    """Return the policy written in `text`.

    Raises:
        PolicyError: not TOML, an unknown or missing key, a missing or repeated finding, an unknown tier, a
            share outside [0, 1], a longer wait for more urgent studies, a template with an unknown name, …
    """
    if len(text) > LONGEST:
        raise PolicyError(f"the policy has {len(text):,} characters; at most {LONGEST:,} are read")
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        raise PolicyError(f"the policy is not TOML: {exc}") from exc
    except RecursionError:
        raise PolicyError("the policy is nested too deeply") from None
    policy = build(Policy, table, "policy", PolicyError)
    for problem in _problems(policy):
        raise PolicyError(problem)
    return policy


def _problems(policy: Policy) -> Iterator[str]:
    yield from _finding_problems(policy)
    yield from _tier_problems(policy.tiers)
    yield from _disagreement_problems(policy.disagreement)
    yield from _text_problems(policy)


def _finding_problems(policy: Policy) -> Iterator[str]:
    labels = policy.labels
    if missing := [label for label in FINDINGS if label not in labels]:
        yield f"policy.findings: missing {', '.join(missing)}"
    if unknown := [label for label in labels if label not in FINDINGS]:
        yield f"policy.findings: unknown finding {', '.join(unknown)}"
    if len(set(labels)) < len(labels):
        yield "policy.findings: a finding stands twice"
    for rule in policy.findings:
        if rule.tier is Urgency.REVIEW:
            yield f"{rule.label}: the tier review is for films without a verdict, not for a finding"
        for code, mark in ((rule.snomed, rule.snomed_mark), (rule.radlex, rule.radlex_mark)):
            if (code and mark is Mark.NONE) or (not code and mark is Mark.CONFIRMED):
                yield f"{rule.label}: code {code!r} does not go with the mark {mark}"
        yield from _together_problems(policy, rule)


def _together_problems(policy: Policy, rule: Rule) -> Iterator[str]:
    together = rule.together
    if together is None:
        return
    if not together.labels or together.tier is Urgency.REVIEW or together.tier.rank > rule.tier.rank:
        yield f"{rule.label}: together must name findings and a tier at least as urgent as {rule.tier}"
    for label in together.labels:
        partner = policy.rule(label)
        if partner is None or label == rule.label:
            yield f"{rule.label}: together names {label}, which is no other finding of the policy"
        elif partner.tier.rank > together.tier.rank:
            # The alert budget counts each finding in its own tier: a pair may not be more urgent than both.
            yield f"{rule.label}: together with {label} cannot be more urgent than {label} alone"


def _tier_problems(tiers: Tiers) -> Iterator[str]:
    ordered = [tiers[urgency] for urgency in Urgency]
    for urgency, tier in zip(Urgency, ordered, strict=True):
        if tier.max_wait_minutes <= 0:
            yield f"policy.tiers.{urgency}: max_wait_minutes must be above 0"
        if not 0.0 <= tier.budget <= 1.0:
            yield f"policy.tiers.{urgency}: budget is a share of films, from 0 to 1"
    waits = [tier.max_wait_minutes for tier in ordered]
    if waits != sorted(waits):
        yield "policy.tiers: a more urgent tier may not wait longer than a less urgent one"
    if math.fsum(tier.budget for tier in ordered) > 1.0 + 1e-9:
        yield "policy.tiers: the budgets are shares of the same films and exceed 1 together"


def _disagreement_problems(rule: Disagreement) -> Iterator[str]:
    if rule.votes < 1:
        yield "policy.disagreement: votes must be at least 1"
    if not 0.0 < rule.spread <= 1.0:
        yield "policy.disagreement: spread must be above 0 and at most 1"
    for tier in rule.tiers:
        if tier.rank >= Urgency.REVIEW.rank:
            # Disagreement means review; turning positive in a lower tier would then lower the urgency.
            yield f"policy.disagreement: {tier} is not more urgent than review, which disagreement asks for"


def _text_problems(policy: Policy) -> Iterator[str]:
    if not VERSION.fullmatch(policy.version):
        yield "policy: version is 1 to 64 letters, digits and . _ + -, and begins with a letter or digit"
    if hidden := [where for where, text in _texts(policy, "policy") if not _plain(text)]:
        yield f"{hidden[0]}: control characters are not allowed"
    required = {"version": policy.version, "approver": policy.approver}
    required |= {f"{rule.label}.name": rule.name for rule in policy.findings}
    required |= {f"{rule.label}.action": rule.action for rule in policy.findings}
    required |= {f"{state}.headline": policy.states[state].headline for state in State}
    required |= {f"{s}.action": policy.states[s].action for s in State if s is not State.FLAGGED}
    required |= {f.name: getattr(policy.texts, f.name) for f in fields(Texts) if f.name != "unseen"}
    for where, text in required.items():
        if not text.strip():
            yield f"policy: {where} is empty"
    for key, allowed in PLACEHOLDERS.items():
        template = getattr(policy.texts, key)
        try:
            names = {name for _, name, spec, conversion in Formatter().parse(template) if name is not None}
            template.format(**dict.fromkeys(allowed, "x"))
        except (ValueError, KeyError, IndexError, AttributeError) as exc:
            yield f"policy.texts.{key}: not a template of {', '.join(sorted(allowed))}: {exc!r}"
        else:
            if not names <= allowed:
                yield f"policy.texts.{key}: may name only {', '.join(sorted(allowed))}"


def _texts(value: object, where: str) -> Iterator[tuple[str, str]]:
    """Yield every text of the policy and where it stands."""
    if isinstance(value, str):
        yield where, value
    elif isinstance(value, tuple):
        for index, each in enumerate(value):
            yield from _texts(each, f"{where}[{index}]")
    elif is_dataclass(value):
        for row in fields(value):
            yield from _texts(getattr(value, row.name), f"{where}.{row.name}")


def _plain(text: str) -> bool:
    return all(sign.isprintable() or sign == "\n" for sign in text)
