"""Films' outcomes to the study's: as urgent as its most urgent film, never normal while something is missing.

Pure. A film that is not for the model (a lateral beside the frontal one) only adds a reason; one that could
not be judged (unreadable, given up, in conflict) sends the study to a person as well.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cxr_core.domain import Notice, State, Triage, Urgency
from cxr_core.imaging.refusals import refusal
from cxr_core.triage.order import tier_of
from cxr_core.triage.policy import Policy
from cxr_core.worklist.values import ImageStatus

NOT_FOR_THE_MODEL = frozenset({"lateral_view", "unsupported_view", "wrong_body_part", "wrong_modality"})
"""Refusals that say what the film is, not that something is wrong with it."""

_NOTICES = {ImageStatus.DEAD: refusal("given_up"), ImageStatus.CONFLICT: refusal("uid_conflict")}

LOST = refusal("internal")
"""Of a film that was answered, but whose result is not there or cannot be read."""

_STATES = (State.FLAGGED, State.UNABLE_TO_CLASSIFY, State.NO_DISEASE_DETECTED)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is known of one film.

    Attributes:
        triage: of the result that counts, with what a person typed; None where there is none.
        refusal: why the film was refused, or None.
        result_id: of the result that counts, or None.
    """

    sha256: str
    status: ImageStatus
    triage: Triage | None = None
    refusal: Notice | None = None
    result_id: int | None = None

    @property
    def assessed(self) -> Triage | None:
        """The model's decision; an older one counts while the film is asked about again."""
        conflict = self.status is ImageStatus.CONFLICT
        return None if conflict or self.refusal is not None else self.triage


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the study's row says; `cover` is the film whose thumbnail stands in the list."""

    state: State | None
    urgency: Urgency
    findings: tuple[str, ...]
    action: str
    reasons: tuple[str, ...]
    cover: str | None

    @property
    def tier(self) -> int:
        """Place in the list."""
        return tier_of(self.urgency)


def notice_of(status: ImageStatus) -> Notice | None:
    """Return why a film of this status was not judged, None where the film's result says it."""
    return _NOTICES.get(status)


def _notice(outcome: Outcome) -> Notice | None:
    """Return why a film that waits no more was neither judged nor refused."""
    answered = outcome.status in (ImageStatus.ASSESSED, ImageStatus.REFUSED)
    lost = answered and outcome.triage is None and outcome.refusal is None
    return LOST if lost else notice_of(outcome.status)


def aggregate(outcomes: Sequence[Outcome], policy: Policy) -> Verdict:
    """Return the study's verdict from its films' in order of arrival.

    Assessed films decide: the most urgent one's urgency, all their findings. Where one could not be judged,
    the urgency is at least `review` and the study is not without disease; where one still waits, that is
    not said yet. Without an assessed film the study is for review: refused, or no state while all wait.
    """
    judged = sorted(
        ((outcome, triage) for outcome in outcomes if (triage := outcome.assessed) is not None),
        key=lambda pair: pair[1].urgency.rank,
    )
    triages = [triage for _, triage in judged]
    waits = [outcome for outcome in outcomes if _waits(outcome)]
    doubt = any(_doubtful(outcome) for outcome in outcomes)
    state = _state(outcomes, triages, waiting=bool(waits), doubt=doubt)
    urgency = _urgency(triages, lifted=doubt or state is None)
    covers = [outcome.sha256 for outcome, _ in judged] or [
        outcome.sha256 for outcome in outcomes if outcome.refusal is not None
    ]
    return Verdict(
        state=state,
        urgency=urgency,
        findings=_findings(triages, policy),
        action=_action(outcomes, triages, state, urgency, policy),
        reasons=tuple(
            dict.fromkeys((*_said(triages, state), *_others(outcomes, bool(judged)), *_queue(waits)))
        ),
        cover=covers[0] if covers else None,
    )


def _waits(outcome: Outcome) -> bool:
    return outcome.status is ImageStatus.WAITING and outcome.triage is None


def _doubtful(outcome: Outcome) -> bool:
    """Return whether this film asks for a person whatever the others say."""
    if _notice(outcome) is not None:
        return True
    return outcome.refusal is not None and outcome.refusal.code not in NOT_FOR_THE_MODEL


def _state(
    outcomes: Sequence[Outcome], triages: Sequence[Triage], *, waiting: bool, doubt: bool
) -> State | None:
    if not triages:
        return None if all(_waits(outcome) for outcome in outcomes) else State.REFUSED
    state = min((triage.state for triage in triages), key=_STATES.index)
    if state is State.NO_DISEASE_DETECTED and doubt:
        return State.UNABLE_TO_CLASSIFY
    return None if state is State.NO_DISEASE_DETECTED and waiting else state


def _urgency(triages: Sequence[Triage], *, lifted: bool) -> Urgency:
    candidates = [triage.urgency for triage in triages]
    if lifted or not candidates:
        candidates.append(Urgency.REVIEW)
    return min(candidates, key=lambda urgency: urgency.rank)


def _findings(triages: Sequence[Triage], policy: Policy) -> tuple[str, ...]:
    """Return every film's findings in clinical order, those unknown to the policy last."""
    found = {label for triage in triages for label in triage.findings}
    return (
        *(label for label in policy.labels if label in found),
        *sorted(found - set(policy.labels)),
    )


def _action(
    outcomes: Sequence[Outcome],
    triages: Sequence[Triage],
    state: State | None,
    urgency: Urgency,
    policy: Policy,
) -> str:
    """Return one line per action; a study lifted to review says so first, as a single film does."""
    lines: list[str] = []
    if state is State.REFUSED:
        lines.append(policy.states.refused.action)
        notices = [outcome.refusal or _notice(outcome) for outcome in outcomes]
        lines += [notice.hint for notice in notices if notice and notice.hint]
    elif triages and state is not State.NO_DISEASE_DETECTED and urgency is Urgency.REVIEW:
        lines.append(policy.states.unable_to_classify.action)
    for triage in triages:
        if triage.state is not State.NO_DISEASE_DETECTED or state is State.NO_DISEASE_DETECTED:
            lines += triage.action.splitlines()
    return "\n".join(dict.fromkeys(lines))


def _said(triages: Sequence[Triage], state: State | None) -> Iterable[str]:
    """Yield the assessed films' reasons; that nothing was found on one of several is no reason."""
    for triage in triages:
        if triage.state is not State.NO_DISEASE_DETECTED or state is State.NO_DISEASE_DETECTED:
            yield from triage.reasons


def _others(outcomes: Sequence[Outcome], beside: bool) -> Iterable[str]:
    for outcome in outcomes:
        if outcome.refusal is not None:
            yield (
                f"Another film was not judged: {outcome.refusal.message}"
                if beside
                else outcome.refusal.message
            )
        if notice := _notice(outcome):
            yield notice.message


def _queue(waits: Sequence[Outcome]) -> Iterable[str]:
    if waits:
        yield "1 film is still waiting." if len(waits) == 1 else f"{len(waits)} films are still waiting."
