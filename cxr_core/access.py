"""Who may do what: one table, default deny. Asked by the service at every call and by every page."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cxr_core.errors import Forbidden

MARK = "#"
"""In the name of everybody who signed in, before what no two of them share; in nobody else's."""


class Role(StrEnum):
    """What a person may do; each role may do what those before it may."""

    VIEWER = "viewer"
    CLINICIAN = "clinician"
    LEAD = "lead"
    ADMIN = "admin"

    def covers(self, needed: Role) -> bool:
        """Return whether this role may do what `needed` may."""
        roles = list(Role)
        return roles.index(self) >= roles.index(needed)


class Action(StrEnum):
    """Everything a person can ask of the service."""

    VIEW_LIST = "view the worklist"
    VIEW_STUDY = "view a study"
    SUBMIT = "submit films"
    COMPLETE = "complete a study's details"
    CORRECT = "have a film turned or inverted"
    CLAIM = "claim or release a study"
    ACKNOWLEDGE = "acknowledge a critical result"
    READ = "mark a study read"
    OPINE = "agree or disagree with a finding"
    OVERRIDE = "override an urgency"
    NOTE = "write a note on a study"
    EXPLAIN = "have a film explained"
    UNDO = "undo an opinion, an override, a note or a reading"
    REANALYSE = "have studies analysed again"
    EXPORT = "export the worklist"
    DEIDENTIFY = "take films away without their identity"
    RETRY = "retry a dead letter"
    AUDIT = "search, verify or export the audit trail"
    TURNAROUND = "see how long studies waited"
    VERDICTS = "see what readers held of the findings"
    HEALTH = "see how queue, workers and disk are"
    VIEW_POLICY = "see the policy's versions and try one out"
    POLICY = "write, activate or revert a policy"
    MODELS = "see the models and take one away"
    ACTIVATE_MODEL = "bring a model into force"
    PERFORMANCE = "see how well the models do"
    MEASURE = "have a model's intervals computed"
    FIT = "fit a model to this site"
    USERS = "see who signs in and give them roles"


NEEDS: dict[Action, Role] = {
    Action.VIEW_LIST: Role.VIEWER,
    Action.VIEW_STUDY: Role.VIEWER,
    Action.SUBMIT: Role.CLINICIAN,
    Action.COMPLETE: Role.CLINICIAN,
    Action.CORRECT: Role.CLINICIAN,
    Action.CLAIM: Role.CLINICIAN,
    Action.ACKNOWLEDGE: Role.CLINICIAN,
    Action.READ: Role.CLINICIAN,
    Action.OPINE: Role.CLINICIAN,
    Action.OVERRIDE: Role.CLINICIAN,
    Action.NOTE: Role.CLINICIAN,
    Action.EXPLAIN: Role.CLINICIAN,
    Action.UNDO: Role.CLINICIAN,
    Action.EXPORT: Role.LEAD,
    Action.DEIDENTIFY: Role.LEAD,
    Action.REANALYSE: Role.LEAD,
    Action.RETRY: Role.LEAD,
    Action.AUDIT: Role.LEAD,
    Action.TURNAROUND: Role.LEAD,
    Action.VERDICTS: Role.LEAD,
    Action.HEALTH: Role.LEAD,
    Action.VIEW_POLICY: Role.LEAD,
    Action.POLICY: Role.LEAD,
    Action.MODELS: Role.VIEWER,
    Action.ACTIVATE_MODEL: Role.LEAD,
    Action.PERFORMANCE: Role.VIEWER,
    Action.MEASURE: Role.LEAD,
    Action.FIT: Role.LEAD,
    Action.USERS: Role.ADMIN,
}


@dataclass(frozen=True, slots=True)
class Actor:
    """The person, or the named program, on whose behalf a call is made.

    Attributes:
        name: unique; of a person who signed in it is the account's handle.
        role: when the actor was made; of a person who signed in the service reads it anew at every call.
        session: key of the sign-in, or empty for the local person and for programs.
    """

    name: str
    role: Role
    session: str = ""

    def may(self, action: Action) -> bool:
        """Return whether the table allows it; what is not in the table is allowed to nobody."""
        needed = NEEDS.get(action)
        return needed is not None and self.role.covers(needed)

    def check(self, action: Action) -> None:
        """Return if the table allows it.

        Raises:
            Forbidden: it does not.
        """
        if not self.may(action):
            raise Forbidden(
                f"to {action} needs the role {NEEDS.get(action, 'nobody has')}; you are {self.role}"
            )
