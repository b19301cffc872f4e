"""The policy in force, its history, and a new version: written, tried on the last studies, activated."""

from __future__ import annotations

import streamlit as st

from cxr_core.access import Action, Actor
from cxr_core.errors import Conflict, CxrError, PolicyError
from cxr_core.ui import on_demand, policy_draft, policy_matrix, recent, services
from cxr_core.ui.moments import moment
from cxr_core.worklist import preview_words
from cxr_core.worklist.policies import PolicyHistory, PolicyVersion
from cxr_core.worklist.preview import LAST, Preview
from cxr_core.worklist.service import Service

_SAID, _TRIED, _NOTE, _CHOSEN = "pol-said", "pol-tried", "pol-note", "pol-chosen"
_TYPED = "pol-note-typed"
"""The note apart from its field, which forgets when another tab is open."""


@st.fragment
def show(service: Service, actor: Actor) -> None:
    """Show the policy in force, the versions there are, and a draft of a new one."""
    try:
        history = service.policies(actor)
    except CxrError as exc:
        services.say(exc)
        return
    with st.container(key="policy"):
        _in_force(service, history)
        _say()
        if actor.may(Action.REANALYSE):
            _answered_otherwise(service, actor, history)
        if actor.may(Action.POLICY):
            _revert(service, actor, history)
        _versions(service, actor, history)
        if actor.may(Action.POLICY):
            _draft(service, actor)


def _in_force(service: Service, history: PolicyHistory) -> None:
    policy, now = history.in_force.policy, service.clock()
    if history.in_force.fault:
        st.error("No film is decided now: the policy in force cannot be read by this program.")
        st.text(history.in_force.fault)
    last = history.changes[0] if history.changes else None
    source = "of the policy file" if history.of_file else "written here"
    since = f"in force since {moment(last.at, now)}, by {last.actor}" if last else "in force since the start"
    rest = f"{source}; {since}"
    st.html(
        policy_matrix.policy_html(
            policy.version, policy.date.isoformat(), policy.approver, rest, signed=policy.signed
        )
    )
    if not policy.signed:
        st.caption(
            "Nobody has approved this policy. It stays usable as the default; to have one in force that "
            "somebody answers for, write a version that names its approver."
        )


def _say() -> None:
    """Say once what the last press of a button led to."""
    said: str | CxrError | None = st.session_state.pop(_SAID, None)
    if isinstance(said, str):
        st.success(said)
    elif said is not None:
        _tell(said)


def _tell(exc: CxrError) -> None:
    if isinstance(exc, Conflict):
        st.warning("Not done: another policy came into force meanwhile. What you see is how it stands now.")
    elif isinstance(exc, PolicyError):
        st.error("Not done: this is no policy that the program can decide by.")
        st.text(str(exc))
    else:
        services.say(exc)


def _answered_otherwise(service: Service, actor: Actor, history: PolicyHistory) -> None:
    count = history.otherwise
    if not count:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        st.text(
            f"Open studies answered under another policy, model or gate: {count}. "
            "They keep that answer until then."
        )
        st.button("Analyse again", key="pol-again", on_click=_again, args=(service, actor))


def _again(service: Service, actor: Actor) -> None:
    try:
        queued = service.reanalyse(actor, None, None)
    except CxrError as exc:
        st.session_state[_SAID] = exc
    else:
        st.session_state[_SAID] = (
            f"{queued} {'study' if queued == 1 else 'studies'} queued behind all new films."
        )
        recent.forget()


def _revert(service: Service, actor: Actor, history: PolicyHistory) -> None:
    if not history.changes:
        return
    target = history.before
    version = history.version(target)
    word = f"{version} of the policy file" if target is None else version
    with st.popover("Revert", key="pol-revert"):
        st.text(f"Back to {word}, which was in force before {history.in_force.policy.version}.")
        st.caption("Takes effect in every process at once. Answers that are there stay until analysed again.")
        st.button(
            "Revert now",
            key="pol-revert-now",
            type="primary",
            on_click=_activate,
            args=(service, actor, target, version, history.in_force.change),
        )


def _activate(service: Service, actor: Actor, policy_id: int | None, version: str, seen: int) -> None:
    try:
        service.activate_policy(actor, policy_id, seen=seen)
    except CxrError as exc:
        st.session_state[_SAID] = exc
    else:
        st.session_state[_SAID] = f"Policy {version} is in force."
        recent.forget()


def _versions(service: Service, actor: Actor, history: PolicyHistory) -> None:
    st.subheader("Versions")
    now = service.clock()
    known = {each.id: each for each in history.versions}
    st.dataframe(policy_matrix.versions(history, now), hide_index=True, key="pol-versions")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = st.selectbox(
            "Version", list(known), format_func=lambda each: known[each].version, key=_CHOSEN, width=220
        )
        if chosen is None:
            return
        _download(service, actor, known[chosen])
        st.button(
            f"Try on the last {LAST}", key="pol-try", on_click=_try_version, args=(service, actor, chosen)
        )
        if actor.may(Action.POLICY):
            used = frozenset(each.version for each in history.versions)
            st.button(
                "Write a version from it",
                key="pol-begin",
                on_click=_begin,
                args=(service, actor, chosen, used),
            )
            _activation(service, actor, history, known[chosen])
    if history.changes:
        with st.expander("What was in force when", key="pol-changes"):
            st.dataframe(policy_matrix.changes(history, now), hide_index=True, key="pol-changed")
    if not policy_draft.begun():
        _preview(service)


def _download(service: Service, actor: Actor, version: PolicyVersion) -> None:
    on_demand.button(
        "TOML",
        lambda: service.policy_text(actor, version.id).encode(),
        f"policy-{version.version}.toml",
        "application/toml",
        key="pol-toml",
        icon=None,
    )


def _activation(service: Service, actor: Actor, history: PolicyHistory, version: PolicyVersion) -> None:
    """Show how to bring a version into force, or why it cannot be."""
    file = version.id == history.file.id
    target = None if file else version.id
    if target == history.in_force.policy_id:
        st.text("is in force")
        return
    if version.author and not version.signed:
        st.text("nobody has approved it: can be tried, not activated")
        return
    with st.popover("Activate", key="pol-activate"):
        who = (
            f"approved by {version.approver}"
            if version.signed
            else "the policy file's; nobody has approved it"
        )
        st.text(f"{history.in_force.policy.version} → {version.version}, {who}.")
        st.caption(
            "Takes effect in every process at once, for films answered from now on. Maximum waits count at "
            "once. Answers that are there stay until analysed again."
        )
        st.button(
            "Activate now",
            key="pol-activate-now",
            type="primary",
            on_click=_activate,
            args=(service, actor, target, version.version, history.in_force.change),
        )


def _begin(service: Service, actor: Actor, policy_id: int, used: frozenset[str]) -> None:
    try:
        body = service.policy_text(actor, policy_id)
    except CxrError as exc:
        st.session_state[_SAID] = exc
    else:
        policy_draft.begin(body, used, service.clock().date())
        st.session_state.pop(_TRIED, None)


def _try_version(service: Service, actor: Actor, policy_id: int) -> None:
    try:
        _try(service, actor, service.policy_text(actor, policy_id))
    except CxrError as exc:
        st.session_state[_SAID] = exc


def _try(service: Service, actor: Actor, body: str) -> None:
    st.session_state.pop(_TRIED, None)
    st.session_state[_TRIED] = (body, service.try_policy(actor, body))


def _draft(service: Service, actor: Actor) -> None:
    if not policy_draft.begun():
        return
    st.subheader("A new version")
    body = policy_draft.show()
    st.session_state.setdefault(_NOTE, st.session_state.get(_TYPED, ""))
    st.session_state[_TYPED] = note = st.text_input(
        "Note", key=_NOTE, max_chars=500, help="What changes and why; kept with the version."
    )
    with st.container(horizontal=True):
        tried = st.button(f"Try on the last {LAST}", key="pol-try-draft")
        saved = st.button("Keep as a version", key="pol-save", type="primary")
        st.button("Give it up", key="pol-drop", on_click=_drop)
    try:
        if tried:
            _try(service, actor, body)
        if saved:
            service.write_policy(actor, body, note)
    except CxrError as exc:
        _tell(exc)
    else:
        if saved:
            _drop()
            st.session_state[_SAID] = "Kept. It is not in force before it is activated."
            st.rerun()
    _preview(service, body)


def _drop() -> None:
    policy_draft.end()
    for key in (_NOTE, _TYPED, _TRIED):
        st.session_state.pop(key, None)


def _preview(service: Service, body: str = "") -> None:
    """Show what the policy that was tried last would change."""
    if _TRIED not in st.session_state:
        return
    tried: tuple[str, Preview] = st.session_state[_TRIED]
    preview = tried[1]
    st.subheader(f"What {preview.policy.version} would change")
    if body and body != tried[0]:
        st.caption("The text has changed since; try it again.")
    st.text(preview_words.summary(preview))
    if preview.studies:
        st.html(policy_matrix.matrix_html(preview))
    for remark in preview_words.remarks(preview):
        st.caption(remark)
    if preview.differences:
        st.dataframe(policy_matrix.differences(preview.differences), hide_index=True, key="pol-differences")
    else:
        st.caption("It decides and says the same as the policy in force.")
    if any(before is not after for before, after in preview.states):
        st.dataframe(policy_matrix.states(preview), hide_index=True, key="pol-states", width="content")
    if preview.changed:
        link = st.column_config.LinkColumn("Study", display_text=r"study=([0-9a-f]+)", width=150)
        st.dataframe(
            policy_matrix.studies(preview, service.clock()),
            hide_index=True,
            key="pol-studies",
            column_config={"Study": link},
        )
