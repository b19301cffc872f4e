"""Who signs in and in which role: people without a role first, for they wait for one."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pandas as pd
import streamlit as st

from cxr_core.access import Actor, Role
from cxr_core.errors import CxrError
from cxr_core.ui import services
from cxr_core.ui.moments import moment
from cxr_core.worklist.accounts import Account
from cxr_core.worklist.service import Service

NO_ROLE = "no role"
ROLES = (NO_ROLE, *Role)
ROW_PX, ROWS = 35, 10
_SAID = "ops-people-said"


def show(service: Service, actor: Actor) -> None:
    """Show the accounts, what can be changed of the one picked, and how to name a person beforehand."""
    _say()
    if service.settings.sign_in == "off":
        st.info(
            "Nobody signs in here: `CXR_SIGN_IN` is off. Whoever reaches this page is the one local person, "
            "in one role; accounts begin to count when sign-in is switched on.",
            icon=":material/no_accounts:",
        )
    people = ordered(service.accounts(actor))
    if people:
        waiting = sum(each.role is None for each in people)
        note = f" · <em>{waiting} without a role</em>" if waiting else ""
        signed_in = sum(each.signed_in > 0 for each in people)
        st.html(
            f'<div class="ops-said"><strong>{len(people):,}</strong> accounts · '
            f"{signed_in} signed in{note}</div>"
        )
        st.dataframe(
            table(people, service.clock()),
            hide_index=True,
            key="ops-people",
            row_height=ROW_PX,
            height=ROW_PX * (min(len(people), ROWS) + 1) + 3,
            alt="Accounts, those without a role first",
        )
        _change(service, actor, people)
    elif service.settings.sign_in != "off":
        st.html(
            '<div class="empty"><b>Nobody has signed in yet.</b><br>'
            "Name people below, or let them come.</div>"
        )
    _name(service, actor)


def ordered(people: Sequence[Account]) -> list[Account]:
    """Return those without a role first, the newest of them above; then the others as they came."""
    waiting = sorted(
        (each for each in people if each.role is None), key=lambda each: each.created, reverse=True
    )
    return [*waiting, *(each for each in people if each.role is not None)]


def table(people: Sequence[Account], now: datetime) -> pd.DataFrame:
    """Return a row a person, in plain columns."""
    rows = [
        (
            each.handle,
            each.role.value if each.role else NO_ROLE,
            each.email,
            moment(each.last_seen, now) if each.last_seen else "never",
            each.signed_in,
            each.issuer,
            each.subject,
        )
        for each in people
    ]
    columns = ["Person", "Role", "E-mail", "Last seen", "Signed in", "Issuer", "Subject"]
    return pd.DataFrame(rows, columns=columns)


def _change(service: Service, actor: Actor, people: Sequence[Account]) -> None:
    by_id = {each.id: each for each in people}
    with st.container(key="ops-person", horizontal=True, gap="small", vertical_alignment="bottom"):
        picked = by_id[
            st.selectbox(
                "Person", list(by_id), format_func=lambda id_: by_id[id_].handle, key="ops-who", width=280
            )
        ]
        role = st.selectbox(
            "Role",
            ROLES,
            ROLES.index(picked.role or NO_ROLE),
            key=f"ops-role-{picked.id}-{picked.role or NO_ROLE}",
            width=140,
        )
        chosen = None if role == NO_ROLE else Role(role)
        with st.popover("Change the role", disabled=chosen == picked.role, type="primary"):
            st.text(_what_it_means(picked, chosen))
            st.button(
                "Yes, change it",
                key="ops-set-role",
                on_click=_set_role,
                args=(service, actor, picked, chosen),
            )
        with st.popover("Sign out", disabled=not picked.signed_in):
            st.text(f"{picked.handle} is signed out everywhere, at the next click, and may sign in again.")
            st.button("Yes, sign out", key="ops-out", on_click=_sign_out, args=(service, actor, picked))


def _what_it_means(person: Account, role: Role | None) -> str:
    if role is None:
        return f"{person.handle} is signed out everywhere and may do nothing until given a role again."
    return f"{person.handle} is {role.value} from the next click on (now: {person.role or NO_ROLE})."


def _name(service: Service, actor: Actor) -> None:
    with (
        st.expander("Name a person before the first sign-in", icon=":material/person_add:"),
        st.form("ops-name", border=False, enter_to_submit=False),
    ):
        st.caption(
            "Issuer and subject just as the identity provider says them: together they are the person."
        )
        with st.container(horizontal=True, gap="small"):
            st.text_input("Name", key="ops-name-name", max_chars=60, width=200)
            st.text_input("Issuer", key="ops-name-issuer", max_chars=500, width=300, placeholder="https://…")
            st.text_input("Subject", key="ops-name-subject", max_chars=255, width=200)
            st.selectbox("Role", ROLES, key="ops-name-role", width=140)
        st.form_submit_button("Name this person", on_click=_named, args=(service, actor))


def _named(service: Service, actor: Actor) -> None:
    state = st.session_state
    role, name = state["ops-name-role"], state["ops-name-name"]
    try:
        made = service.name_account(
            actor,
            state["ops-name-issuer"],
            state["ops-name-subject"],
            name,
            None if role == NO_ROLE else Role(role),
        )
    except CxrError as exc:
        state[_SAID] = exc
        return
    state[_SAID] = f"{made.handle} is known now ({made.role or NO_ROLE})."
    for field in ("name", "issuer", "subject"):
        state[f"ops-name-{field}"] = ""


def _set_role(service: Service, actor: Actor, person: Account, role: Role | None) -> None:
    try:
        service.set_role(actor, person.id, role)
    except CxrError as exc:
        st.session_state[_SAID] = exc
        return
    st.session_state[_SAID] = f"{person.handle}: {role or NO_ROLE}, from the next click on."


def _sign_out(service: Service, actor: Actor, person: Account) -> None:
    try:
        ended = service.sign_out_account(actor, person.id)
    except CxrError as exc:
        st.session_state[_SAID] = exc
        return
    st.session_state[_SAID] = f"{person.handle} was signed out of {ended} sign-in{'s' if ended != 1 else ''}."


def _say() -> None:
    """Say what the last change came to; names as plain text."""
    said = st.session_state.pop(_SAID, None)
    if isinstance(said, CxrError):
        services.say(said)
    elif said:
        with st.container(key="ops-done"):
            st.text(f"✓ {said}")
