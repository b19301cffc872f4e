"""How films come in: dropped, or as an example; and the session's list of them."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic
from typing import Literal

import streamlit as st

from cxr_core.access import Action, Actor
from cxr_core.domain import State, Urgency
from cxr_core.errors import CxrError
from cxr_core.reports.words import MARKS, wait
from cxr_core.triage.policy import Policy
from cxr_core.ui import examples, films, recent, services, taking
from cxr_core.ui.listed import tier_word
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import INTERACTIVE, Incoming

_WATCHED = "desk-waiting"
POLL_S, LOOK_S = 0.3, 2.0
SILENT_S = 6.0
"""After which the page says that no worker answers; one that starts needs half of that."""
POLLED = 8
"""Waiting films looked at in one poll."""


def first_page(service: Service, actor: Actor) -> None:
    """Show the empty state: what this is, where to drop films, examples to try."""
    st.html(
        '<div class="hero"><h1>Drop a chest X-ray</h1><p>One or many frontal films as DICOM, PNG or JPEG, '
        "or a zip of them. Each comes back as a card: how urgent, what was found, what to do, and where the "
        "model looked. Nothing leaves this machine.</p></div>"
    )
    uploader(service, actor, "first")
    st.html(tiers_html(service.policy))
    if actor.may(Action.SUBMIT):
        st.html(
            '<div class="muted">No film at hand? Try an example: a synthetic film, '
            "assessed the very same way. They show the page, not the model's worth: it learned from real "
            "films, flags most synthetic ones, and the one without findings was picked because it passes."
            "</div>"
        )
        example_buttons(service, actor)
    texts = service.policy.texts
    st.html(f'<div class="foot">{texts.role} {texts.device}<br>{" ".join(texts.unseen)}</div>')


def tiers_html(policy: Policy) -> str:
    """Return the five tiers as the card shows them, with the policy's longest waits."""
    tiles = []
    for urgency in Urgency:
        mark, longest = MARKS[urgency], wait(policy.tiers[urgency].max_wait_minutes)
        title = f"<b><i>{mark.shape}</i>{urgency.value.capitalize()}</b>"
        tiles.append(f'<div style="--tier:{mark.colour}">{title}read within {longest}</div>')
    return f'<div class="tiers">{"".join(tiles)}</div>'


def uploader(service: Service, actor: Actor, place: str) -> None:
    """Show the drop zone; what is dropped is stored at once and the zone emptied again."""
    if not actor.may(Action.SUBMIT):
        st.caption("Your role may look at studies, not hand in films.")
        return
    turn = st.session_state.setdefault("turn", 0)
    # Without `type`: the browser would silently drop what the decoder could explain.
    dropped = st.file_uploader(
        "Drop films here, or choose files" if place == "first" else "Add films",
        accept_multiple_files=True,
        key=f"films-{place}-{turn}",
    )
    if dropped:
        _take([Incoming(file.name, file.getvalue()) for file in dropped], service, actor)


def example_buttons(service: Service, actor: Actor) -> None:
    """Show one button per example."""
    with st.container(horizontal=True, key="examples"):
        for number, example in enumerate(examples.EXAMPLES):
            if st.button(example.button, key=f"example-{number}"):
                _take([Incoming(*examples.file_of(number))], service, actor)


def film_list() -> None:
    """Show the session's films, most urgent first; picking one shows its card."""
    held, chosen = films.mine(), films.chosen()
    with st.container(key="films", gap="small"):
        count = f"{len(held)} films, most urgent first" if len(held) > 1 else "1 film"
        st.html(f'<div class="muted">{count}</div>')
        for key, entry in held.items():
            with st.container(gap=None):
                kind: Literal["primary", "secondary"] = "primary" if key == chosen else "secondary"
                if st.button(_line(entry), key=f"pick-{key[:16]}", width="stretch", type=kind):
                    films.choose(key)
                    st.rerun()
                st.text(_whose(entry))


@st.fragment(run_every=POLL_S)
def until_answered(service: Service, actor: Actor, keys: Sequence[str]) -> None:
    """Show the page anew as soon as one of these studies is answered; say it if nobody works on them."""
    with services.plainly():
        if films.refresh(service, actor, keys[:POLLED]):
            recent.forget()
            services.anew()
        say_silence(service, actor, films.waiting_s(keys))


@st.fragment(run_every=LOOK_S)
def until_changed(service: Service, actor: Actor, study_id: str, version: int) -> None:
    """Show the page anew once anything of this study is no longer as it was at `version`."""
    try:
        changed = service.version(actor, study_id) != version
    except CxrError:
        st.html('<div class="stand"><span class="live late">not live</span></div>')
        return
    if changed:
        recent.forget()
        services.anew()


@st.fragment(run_every=LOOK_S)
def until_worker(service: Service, actor: Actor, study_id: str) -> None:
    """Say it, once that has lasted, while nobody works on this study; whether it is answered others watch."""
    watched, since = st.session_state.get(_WATCHED, ("", 0.0))
    if watched != study_id:
        since = monotonic()
        st.session_state[_WATCHED] = study_id, since
    with services.plainly():
        say_silence(service, actor, monotonic() - since)


def say_silence(service: Service, actor: Actor, waited_s: float) -> None:
    """Say that no worker answers, once that has lasted longer than one needs to start."""
    if waited_s > SILENT_S and not service.workers(actor):
        st.warning(
            "No worker is answering just now. The films are stored and nothing is lost: they are "
            "assessed as soon as a worker runs (the app starts its own again; else: `cxr worker`).",
            icon=":material/hourglass_empty:",
        )


def say_what_was_taken() -> None:
    """Say once what was noteworthy about the last drop."""
    for problem in st.session_state.pop("problems", []):
        st.toast(problem)
    taken: taking.Taken | None = st.session_state.pop("taken", None)
    if taken is not None and taken.trouble is not None:
        services.say(taken.trouble)
        st.text(taking.summary(taken))


def being_assessed(said: str = "") -> None:
    """Show that the film is stored and in hand; `said`, our own words, where there is more to say."""
    st.html(
        '<div class="panel assessing" role="status"><h3>BEING ASSESSED</h3>'
        f"<p>{said or 'The film is stored.'} Its card appears here by itself, as a rule within a second.</p>"
        "</div>"
    )


def _whose(entry: films.Mine) -> str:
    """Return patient id and file; shown as plain text."""
    known = entry.line.patient_id if entry.line is not None else ""
    return " · ".join(part for part in (known, entry.name) if part.strip())


def _line(entry: films.Mine) -> str:
    """Return tier and findings, our own words only: button labels are Markdown."""
    if entry.refusal is not None:
        return f"{tier_word(Urgency.REVIEW)} · not stored"
    if entry.line is None or entry.waits:
        return "Being assessed"
    short = {
        State.NO_DISEASE_DETECTED: "no disease detected",
        State.UNABLE_TO_CLASSIFY: "unable to classify",
        State.REFUSED: "not assessed",
    }
    state = entry.line.state or State.UNABLE_TO_CLASSIFY
    found = short.get(state) or ", ".join(label.replace("_", " ") for label in entry.line.findings)
    return f"{tier_word(entry.line.urgency)} · {found}"


def _take(files: Sequence[Incoming], service: Service, actor: Actor) -> None:
    with services.plainly():
        taken = taking.take(service, actor, files, priority=INTERACTIVE)
        st.session_state["problems"] = films.add(taken.items)
        st.session_state["taken"] = taken
        st.session_state["turn"] = st.session_state.get("turn", 0) + 1
        recent.forget()
        st.rerun()
