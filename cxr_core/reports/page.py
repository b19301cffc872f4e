"""The one-page PDF for paper: the card's content in the card's order, black on white."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import cast

from fontTools.ttLib import TTFont  # type: ignore[import-untyped]
from fpdf import FPDF

from cxr_core.domain import Analysis, Prediction, State
from cxr_core.reports.fonts import font
from cxr_core.reports.picture import Heatmaps, marked_film, unsupported, without_region
from cxr_core.reports.words import (
    MARKS,
    SCALE,
    Whole,
    advice,
    alone,
    along,
    banner,
    beneath,
    figures,
    headline,
    localisation,
    made_by,
    name_of,
    not_assessed,
    not_looked_at,
    ordered,
    patient,
    reasons,
    spread_ends,
    study_id,
    who,
    whole_lines,
)
from cxr_core.triage.policy import Policy

_LEFT, _WIDTH, _FOOT = 14.0, 182.0, 271.0
"""Millimetres of A4 portrait: margin, width between the margins, where the foot begins."""

_FILM_MM, _COLUMN = 92.0, 112.0
_INK, _MUTED, _LINE = (20, 24, 28), (90, 98, 106), (200, 206, 212)


def report(
    analysis: Analysis,
    policy: Policy,
    heatmaps: Heatmaps,
    *,
    evaluation: Mapping[str, float],
    now: datetime,
    whole: Whole | None = None,
) -> bytes:
    """Return one A4 page as PDF; patient text stands literally, cut with … where it is too long.

    Letters that DejaVu Sans lacks are printed as �.

    Args:
        analysis: the result, with the study as the person completed it.
        policy: for names, waits and wording.
        heatmaps: per label (h, w); empty when refused.
        evaluation: the manifest's table of measured figures, for the heatmap's figure.
        now: aware time of printing.
        whole: the study, where it says more than this film.
    """
    pdf = _sheet(analysis, now)
    y = _head(pdf, analysis, policy, whole)
    top = y
    if analysis.radiograph is not None:
        _film(pdf, analysis, policy, heatmaps, evaluation, y)
        left, width = _COLUMN, _LEFT + _WIDTH - _COLUMN
    else:
        left, width = _LEFT, _WIDTH
    y = _block(pdf, "SUGGESTED ACTION", list(advice(analysis)), (left, y, width), 7)
    y = _findings(pdf, analysis, policy, (left, y, width)) if analysis.predictions else y
    y = max(y, top + (_FILM_MM + 24 if analysis.radiograph is not None else 0))
    warned, others = reasons(analysis)
    y = _block(pdf, "WHY", [*warned, *others], (_LEFT, y, _WIDTH), 8)
    if question := analysis.study.question.strip():
        y = _block(pdf, "CLINICAL QUESTION", [question], (_LEFT, y, _WIDTH), 3)
    if referrer := _referrer(analysis):
        _block(pdf, "REFERRER", [referrer], (_LEFT, y, _WIDTH), 1)
    _foot(pdf, analysis, policy, now)
    return bytes(pdf.output())


def _sheet(analysis: Analysis, now: datetime) -> FPDF:
    pdf = FPDF(format="A4")
    pdf.set_auto_page_break(False)
    pdf.alias_nb_pages("")  # else a patient called {nb} would be printed as 1
    pdf.add_font("DejaVu", "", font())
    pdf.add_font("DejaVu", "B", font("DejaVuSans-Bold"))
    pdf.set_title(f"NeuraRay report {study_id(analysis)}")
    pdf.set_lang("en-GB")
    pdf.set_creation_date(now)
    pdf.add_page()
    return pdf


def _head(pdf: FPDF, analysis: Analysis, policy: Policy, whole: Whole | None) -> float:
    """Draw patient and urgency; return where the next block begins."""
    _line(pdf, patient(analysis.study), (_LEFT, 11, 130), 15, bold=True)
    _line(pdf, "NeuraRay chest X-ray triage", (_LEFT + 130, 12.5, 52), 7.5, _MUTED, align="R")
    _line(pdf, who(analysis.study), (_LEFT, 18.5, _WIDTH), 9, _MUTED)
    tier = MARKS[analysis.triage.urgency]
    pdf.set_fill_color(tier.colour)
    pdf.rect(_LEFT, 26, 3, 18, style="F")
    pdf.set_draw_color(*_LINE)
    pdf.rect(_LEFT, 26, _WIDTH, 18)
    due = f"{alone(whole)}{tier.shape} {banner(analysis.triage.urgency, policy)}"
    _line(pdf, due, (_LEFT + 6, 27.5, 174), 12, bold=True)
    _line(pdf, headline(analysis, policy), (_LEFT + 6, 33.5, 174), 10, bold=True)
    _line(pdf, beneath(analysis, policy), (_LEFT + 6, 38.5, 174), 8, _MUTED)
    y = 46.0
    for line, bold in zip(whole_lines(whole, policy), (True, False), strict=False):
        _line(pdf, line, (_LEFT, y, _WIDTH), 9, bold=bold)
        y += 5.0
    return y + 3.0


def _film(
    pdf: FPDF,
    analysis: Analysis,
    policy: Policy,
    heatmaps: Heatmaps,
    evaluation: Mapping[str, float],
    y: float,
) -> None:
    film = marked_film(analysis, policy, heatmaps, (600, 900))
    scale = _FILM_MM / max(film.size)
    width, height = film.width * scale, film.height * scale
    pdf.image(film, _LEFT + (_FILM_MM - width) / 2, y, width, height)
    if analysis.triage.state is State.REFUSED:
        notes = [not_looked_at(analysis)]
    elif not analysis.triage.findings:
        notes = ["No finding is above its threshold, so no region is drawn."]
    else:
        missing = without_region(analysis, heatmaps)
        drawn = [label for label in analysis.triage.findings if label in heatmaps and label not in missing]
        notes = []
        if drawn:
            measured = localisation(evaluation, drawn[0])
            notes = [f"{name_of(drawn[0], policy)}: {measured}.", policy.texts.heatmap]
    notes.append(policy.texts.side)
    notes += unsupported(analysis, policy, heatmaps)
    _text(pdf, "\n".join(notes), (_LEFT, y + height + 1.5, _FILM_MM), 7.5, 6, _MUTED)


def _findings(pdf: FPDF, analysis: Analysis, policy: Policy, place: tuple[float, float, float]) -> float:
    x, y, width = place
    _line(pdf, "FINDINGS", (x, y, 18), 7.5, _MUTED, bold=True)
    _line(pdf, f"{SCALE}   | threshold   ▬ spread", (x + 18, y, width - 18), 7, _MUTED, align="R")
    y += 5
    for prediction in ordered(analysis):
        _bar(pdf, prediction, name_of(prediction.label, policy), (x, y, width))
        y += 4.7
    return y + 3


def _bar(pdf: FPDF, prediction: Prediction, name: str, place: tuple[float, float, float]) -> None:
    """Draw one row: name, bar to the probability, threshold mark, spread, both figures."""
    x, y, width = place
    left, span = x + 33, width - 33 - 23
    value, threshold = figures(prediction)
    _line(pdf, name, (x, y, 33), 8, bold=prediction.positive)
    _line(pdf, f"{value} / {threshold}", (left + span, y, 23), 7.5, bold=prediction.positive, align="R")
    pdf.set_fill_color(232, 235, 238)
    pdf.rect(left, y + 1.2, span, 1.8, style="F")
    pdf.set_fill_color(*((200, 96, 0) if prediction.positive else (140, 148, 156)))
    pdf.rect(left, y + 1.2, span * along(prediction.probability), 1.8, style="F")
    low, high = (along(end) for end in spread_ends(prediction))
    pdf.set_fill_color(60, 66, 72)
    pdf.rect(left + span * low, y + 1.85, span * (high - low), 0.5, style="F")
    pdf.rect(left + span * along(prediction.threshold) - 0.2, y + 0.5, 0.4, 3.2, style="F")


def _block(pdf: FPDF, title: str, lines: list[str], place: tuple[float, float, float], at_most: int) -> float:
    """Write a titled block of at most so many lines; return where the next begins."""
    x, y, width = place
    if y > _FOOT - 12:
        return y
    _line(pdf, title, (x, y, width), 7.5, _MUTED, bold=True)
    room = min(at_most, int((_FOOT - 2 - (y + 4.5)) / 4.2))
    return _text(pdf, "\n".join(lines), (x, y + 4.5, width), 8.5, room) + 3


def _foot(pdf: FPDF, analysis: Analysis, policy: Policy, now: datetime) -> None:
    texts = policy.texts
    pdf.set_draw_color(*_LINE)
    pdf.line(_LEFT, _FOOT, _LEFT + _WIDTH, _FOOT)
    unseen = " ".join((not_assessed(analysis, policy), *texts.unseen)).strip()
    y = _text(pdf, unseen, (_LEFT, _FOOT + 1, _WIDTH), 7, 3, _MUTED)
    y = _text(pdf, f"{texts.role} {texts.device}", (_LEFT, y, _WIDTH), 7, 2, _MUTED)
    stamp = f"{made_by(analysis)} · film {analysis.sha256[:16]} · printed {now:%Y-%m-%d %H:%M %Z}"
    _line(pdf, stamp, (_LEFT, y + 0.5, _WIDTH), 6.5, _MUTED)


def _referrer(analysis: Analysis) -> str:
    study = analysis.study
    return " · ".join(part.strip() for part in (study.referrer, study.referrer_phone) if part.strip())


def _line(
    pdf: FPDF,
    text: str,
    place: tuple[float, float, float],
    size: float,
    colour: tuple[int, int, int] = _INK,
    *,
    bold: bool = False,
    align: str = "L",
) -> None:
    """Write one line at (x, y), cut to the width."""
    x, y, width = place
    pdf.set_font("DejaVu", "B" if bold else "", size)
    pdf.set_text_color(*colour)
    pdf.set_xy(x, y)
    pdf.cell(width, size * 0.5, _cut(pdf, printable(text), width), align=align)


def _text(
    pdf: FPDF,
    text: str,
    place: tuple[float, float, float],
    size: float,
    at_most: int,
    colour: tuple[int, int, int] = _INK,
) -> float:
    """Write wrapped lines, the last one ended by … where there are more; return where they end."""
    x, y, width = place
    pdf.set_font("DejaVu", "", size)
    pdf.set_text_color(*colour)
    wrapped: list[str] = []
    for paragraph in filter(str.strip, text.splitlines()):
        lines = pdf.multi_cell(width, text=printable(paragraph), dry_run=True, output="LINES", align="L")
        wrapped.extend(cast(list[str], lines))
    if len(wrapped) > at_most:
        wrapped = [*wrapped[: max(at_most, 1) - 1], wrapped[max(at_most, 1) - 1].rstrip() + " …"]
    for line in wrapped:
        pdf.set_xy(x, y)
        pdf.cell(width, size * 0.49, _cut(pdf, line, width))
        y += size * 0.49
    return y


def _cut(pdf: FPDF, line: str, width: float) -> str:
    room = width - 2 * pdf.c_margin
    if pdf.get_string_width(line) <= room:
        return line
    while line and pdf.get_string_width(line + "…") > room:
        line = line[:-1]
    return line.rstrip() + "…"


def printable(text: str) -> str:
    """Return one line of at most 2000 letters, each of which the font has; others become �.

    A letter without glyph would make fpdf log it, and it may stem from a patient's name.
    """
    has = _letters()
    return "".join(
        letter if ord(letter) in has else " " if letter.isspace() else "\N{REPLACEMENT CHARACTER}"
        for letter in text[:2000]
    )


@cache
def _letters() -> frozenset[int]:
    """Return the code points of both weights, without control characters."""
    maps = []
    for name in ("DejaVuSans", "DejaVuSans-Bold"):
        with TTFont(font(name), lazy=True) as face:
            maps.append(frozenset(face.getBestCmap()))
    return frozenset(code for code in maps[0] & maps[1] if code >= 32 and code != 127)
