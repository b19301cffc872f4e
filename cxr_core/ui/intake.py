"""How files come in: dropped, or as an example."""

from __future__ import annotations

from typing import Literal

import streamlit as st

from cxr_core.domain import State, Urgency
from cxr_core.pipeline import Kit
from cxr_core.reports.words import MARKS, wait
from cxr_core.ui import examples, films


def first_page(kit: Kit) -> None:
    """Show the empty state: what this is, where to drop films, examples to try."""
    st.html(
        '<div class="hero"><h1>Drop a chest X-ray</h1><p>One or many frontal films as DICOM, PNG or JPEG. '
        "Each comes back as a card: how urgent, what was found, what to do, and where the model looked. "
        "Nothing leaves this machine.</p></div>"
    )
    uploader(kit, "first")
    st.html(tiers_html(kit))
    st.html(
        '<div class="muted">No film at hand? Try an example: a synthetic film, '
        "assessed the very same way. They show the page, not the model's worth: it learned from real films, "
        "flags most synthetic ones, and the one without findings was picked because it passes.</div>"
    )
    example_buttons(kit)
    texts = kit.policy.texts
    st.html(f'<div class="foot">{texts.role} {texts.device}<br>{" ".join(texts.unseen)}</div>')


def tiers_html(kit: Kit) -> str:
    """Return the five tiers as the card shows them, with the policy's longest waits."""
    tiles = []
    for urgency in Urgency:
        mark, longest = MARKS[urgency], wait(kit.policy.tiers[urgency].max_wait_minutes)
        title = f"<b><i>{mark.shape}</i>{urgency.value.capitalize()}</b>"
        tiles.append(f'<div style="--tier:{mark.colour}">{title}read within {longest}</div>')
    return f'<div class="tiers">{"".join(tiles)}</div>'


def uploader(kit: Kit, place: str) -> None:
    """Show the drop zone; what is dropped is assessed at once and the zone emptied again."""
    turn = st.session_state.setdefault("turn", 0)
    # Without `type`: the browser would silently drop what the decoder could explain.
    dropped = st.file_uploader(
        "Drop films here, or choose files" if place == "first" else "Add films",
        accept_multiple_files=True,
        key=f"films-{place}-{turn}",
    )
    if dropped:
        _take([(file.name, file.getvalue()) for file in dropped], kit)


def example_buttons(kit: Kit) -> None:
    """Show one button per example."""
    with st.container(horizontal=True, key="examples"):
        for number, example in enumerate(examples.EXAMPLES):
            if st.button(example.button, key=f"example-{number}"):
                _take([examples.file_of(number)], kit)


def film_list(listed: dict[str, films.Film]) -> None:
    """Show the films, most urgent first; picking one shows its card."""
    chosen = films.chosen(listed)
    with st.container(key="films", gap="small"):
        count = f"{len(listed)} films, most urgent first" if len(listed) > 1 else "1 film"
        st.html(f'<div class="muted">{count}</div>')
        for sha256, film in listed.items():
            with st.container(gap=None):
                picked = sha256 == chosen
                kind: Literal["primary", "secondary"] = "primary" if picked else "secondary"
                if st.button(_line(film), key=f"pick-{sha256[:16]}", width="stretch", type=kind):
                    st.session_state["chosen"] = sha256
                    st.rerun()
                st.text(_whose(film))


def _whose(film: films.Film) -> str:
    """Return name and id, and the file's name where one of them is unknown; shown as plain text."""
    study = film.light.study
    known = study.patient_name.strip() and study.patient_id.strip()
    parts = (study.patient_name, study.patient_id, "" if known else film.name)
    return " · ".join(part for part in parts if part.strip())


def _line(film: films.Film) -> str:
    """Return tier and findings, our own words only: button labels are Markdown."""
    triage = film.light.triage
    short = {
        State.NO_DISEASE_DETECTED: "no disease detected",
        State.UNABLE_TO_CLASSIFY: "unable to classify",
        State.REFUSED: "not assessed",
    }
    found = short.get(triage.state) or ", ".join(label.replace("_", " ") for label in triage.findings)
    return f"{MARKS[triage.urgency].shape} {triage.urgency.value.capitalize()} · {found}"


def _take(files: list[tuple[str, bytes]], kit: Kit) -> None:
    st.session_state["problems"] = films.add(files, kit)
    st.session_state["turn"] += 1
    st.rerun()
