"""A worklist full of hostile text, and what no page may make of it."""

from __future__ import annotations

import re
from dataclasses import dataclass

from playwright.sync_api import Page

from cxr_core.access import Actor, Role
from cxr_core.domain import Study, Urgency
from cxr_core.files import printable
from cxr_core.worklist.service import Service
from cxr_core.worklist.values import Incoming, Source
from tests.hostile_text import HOSTILE, OUTSIDE
from tests.worklist.films import Films
from tests.worklist.processes import wait_for

LEAD = Actor("lead", Role.LEAD)
SLOW_S = 90
TOGETHER = 4
"""Texts that stand in one field; each stands first in one of them."""

OBEYED = """() => [
    ...(window.hacked ? ['script'] : []),
    ...[...document.querySelectorAll(
        `#hacked, .katex, .katex-html, iframe[srcdoc], main del, [src*="OUTSIDE"], [href*="OUTSIDE"]`
    )].map(each => each.outerHTML.slice(0, 200)),
    ...[...document.querySelectorAll('[data-testid=stIconMaterial]')]
        .filter(each => each.textContent === 'skull').map(() => 'icon'),
    ...(getComputedStyle(document.body).display === 'none' ? ['style'] : []),
]""".replace("OUTSIDE", OUTSIDE)
"""What a page made of hostile text instead of showing it."""


@dataclass(frozen=True, slots=True)
class Told:
    """What was said of one study, field by field, and where it stands."""

    study_id: str
    name: str
    patient_id: str
    referrer: str
    question: str
    file: str
    note: str
    reason: str
    told: str


def groups() -> list[tuple[str, ...]]:
    return [HOSTILE[first : first + TOGETHER] for first in range(0, len(HOSTILE), TOGETHER)]


def fill(service: Service, films: Films) -> list[Told]:
    """Return ten answered studies; every text stands in every field, first in some of them."""
    told = [_told(number) for number in range(len(groups()))]
    raws = [films.png(700 + number) for number in range(len(told))]
    receipts = [
        service.submit(LEAD, Incoming(each[4], raw), source=Source.CLI)
        for each, raw in zip(told, raws, strict=True)
    ]
    ids = [receipt.study_id for receipt in receipts]
    # Answers would come between a look at a study and what is said of it.
    wait_for(lambda: all(service.study(LEAD, each).line.state for each in ids), SLOW_S, "all are answered")
    return [_say(service, study_id, each) for study_id, each in zip(ids, told, strict=True)]


def _told(number: int) -> list[str]:
    texts = groups()[number]
    turns = [(*texts[turn % TOGETHER :], *texts[: turn % TOGETHER]) for turn in range(8)]
    return [f"{' '.join(turn)} h{number}" for turn in turns]


def _say(service: Service, study_id: str, fields: list[str]) -> Told:
    name, patient_id, referrer, question, _, note, reason, told = fields
    typed = Study(patient_id=patient_id, patient_name=name, referrer=referrer, question=question)
    service.complete(LEAD, study_id, typed, service.version(LEAD, study_id))
    service.note(LEAD, study_id, service.version(LEAD, study_id), note)
    service.override(LEAD, study_id, service.version(LEAD, study_id), Urgency.CRITICAL, reason)
    if not name.endswith(" h0"):  # the first keeps its alert
        version = service.version(LEAD, study_id)
        service.acknowledge(LEAD, study_id, version, told=told, how="in person", read_back=True)
    kept = [printable] * 3 + [one_line, printable] + [one_line] * 3
    said = [as_kept(each) for as_kept, each in zip(kept, fields, strict=True)]
    return Told(study_id, *said[:7], said[7][:500])


def one_line(typed: str) -> str:
    return printable(" ".join(typed.split()))


def squeezed(text: str) -> str:
    return re.sub(r"\s+", "", text)


def obeyed(page: Page) -> list[str]:
    found: list[str] = page.evaluate(OBEYED)
    return found
