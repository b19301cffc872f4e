"""What differs between two policies, place by place, in words that a person can check. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass

from cxr_core.triage.policy import Policy
from cxr_core.triage.terms import Rule


@dataclass(frozen=True, slots=True)
class Difference:
    """One place of the policy; empty text on the side where there is nothing."""

    where: str
    before: str
    after: str


BUDGETS = (
    "Alert budgets were spent when the model was calibrated: a changed budget changes nothing until the "
    "model is released again."
)
THRESHOLDS = (
    "Thresholds belong to the model: a finding that changes its tier keeps the threshold that was chosen "
    "within its former tier's budget."
)


def differences(before: Policy, after: Policy) -> tuple[Difference, ...]:
    """Return the places that differ, in the order of the file; version, date and approver are left out."""
    old, new = dict(_places(before)), dict(_places(after))
    return tuple(
        Difference(where, old.get(where, ""), new.get(where, ""))
        for where in (*new, *(where for where in old if where not in new))
        if old.get(where) != new.get(where)
    )


def without_effect(before: Policy, after: Policy) -> tuple[str, ...]:
    """Return one sentence on each change that does less than it seems to."""
    budgets = before.review_budget is not after.review_budget or any(
        getattr(before.tiers, row.name).budget != getattr(after.tiers, row.name).budget
        for row in fields(before.tiers)
    )
    tiers = any(
        (mine := before.rule(rule.label)) is not None
        and (mine.tier, mine.together) != (rule.tier, rule.together)
        for rule in after.findings
    )
    return (*((BUDGETS,) if budgets else ()), *((THRESHOLDS,) if tiers else ()))


def _places(policy: Policy) -> Iterator[tuple[str, str]]:
    """Yield each value that decides or is shown, by where it stands."""
    for row in fields(policy):
        if row.name not in ("version", "date", "approver", "findings"):
            yield from _under(getattr(policy, row.name), row.name.replace("_", " "))
    yield "order of findings", ", ".join(policy.labels)
    for rule in policy.findings:
        yield from _under(rule, rule.label)


def _under(value: object, where: str) -> Iterator[tuple[str, str]]:
    if is_dataclass(value):
        for row in fields(value):
            if not (isinstance(value, Rule) and row.name == "label"):
                yield from _under(getattr(value, row.name), f"{where} · {row.name.replace('_', ' ')}")
    elif isinstance(value, tuple):
        yield where, ", ".join(map(str, value))
    elif isinstance(value, bool):
        yield where, "yes" if value else "no"
    elif value is not None:
        yield where, str(value)
