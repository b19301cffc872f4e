"""Promise H3: text that would be more than text stays text, below the pages: service, CSV, commands, PDF."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pypdfium2 as pdfium
import pytest
from sqlalchemy import func, select, text
from typer.testing import CliRunner

from cxr_core.access import Actor, Role
from cxr_core.cli import app
from cxr_core.domain import Study, Urgency
from cxr_core.errors import PolicyError
from cxr_core.files import is_formula, printable
from cxr_core.reports import page
from cxr_core.worklist import audit
from cxr_core.worklist.intake import header_of
from cxr_core.worklist.schema import Base, StudyRow
from cxr_core.worklist.trail import EVERYTHING, Form, Search
from cxr_core.worklist.values import Incoming, Query, Source, StudyView
from tests.hostile_text import HOSTILE, tagged
from tests.reports import analyses
from tests.worklist.processes import environment

LEAD = Actor("lead", Role.LEAD)
NUMBERS = range(len(HOSTILE))


def kept(typed: str) -> str:
    """What is kept of a line that a person typed."""
    return printable(" ".join(typed.split()))


def handed_in(service, films) -> list[str]:
    """Forty films with hostile names, each completed with hostile details; return their studies."""
    files = [Incoming(f"{tagged(number)}.png", films.png(number)) for number in NUMBERS]
    batch = service.start_batch(LEAD, len(files), Source.PAGE)
    items = service.add_to_batch(LEAD, batch, files)
    service.finish_batch(LEAD, batch)
    ids = [item.receipt.study_id for item in items]
    for number, study_id in enumerate(ids):
        said = tagged(number)
        typed = Study(
            patient_id=said,
            patient_name=said,
            accession=said,
            referrer=said,
            referrer_phone=said,
            question=said,
        )
        service.complete(LEAD, study_id, typed, service.version(LEAD, study_id))
    return ids


def opened(service, study_id: str) -> StudyView:
    return service.study(LEAD, study_id, audited=False)


def test_h3_the_service_keeps_and_finds_every_text_as_it_is(service, films) -> None:
    ids = handed_in(service, films)
    for number, study_id in enumerate(ids):
        said, shown = tagged(number), printable(tagged(number))
        view = opened(service, study_id)
        who = view.study
        assert {who.patient_id, who.patient_name, who.accession, who.referrer} == {shown}
        assert who.question == printable(" ".join(said.split())), "typed in a field of several lines"
        assert view.line.file == f"{shown}.png"
        found = service.page(LEAD, Query(text=shown)).lines
        assert [line.study_id for line in found] == [study_id], "a search is for text, not for a pattern"
        service.page(LEAD, Query(text=said, finding=said))
        service.search_audit(LEAD, Search(actor=said, event=said, subject=said))
        service.note(LEAD, study_id, view.line.version, said)
        service.override(LEAD, study_id, view.line.version + 1, Urgency.CRITICAL, said)
        service.acknowledge(LEAD, study_id, view.line.version + 2, told=said, how=said, read_back=True)
        reviews = opened(service, study_id).reviews[-3:]
        assert [reviews[0].data["text"], reviews[1].data["reason"]] == [kept(said)] * 2
        assert reviews[2].data["told"] == kept(said)[:500]
    with service.database.read() as session:
        assert audit.verify(session).broken_at is None
        assert session.scalar(select(func.count()).select_from(StudyRow)) == len(ids)
        for table in Base.metadata.sorted_tables:
            session.execute(text(f"SELECT count(*) FROM {table.name}"))  # noqa: S608 -- our own names


def test_h3_csv_opens_literally(service, films) -> None:
    ids = handed_in(service, films)
    rows = list(csv.DictReader(io.StringIO(service.export_csv(LEAD, Query()).decode(), newline="")))
    shown = {row["study"]: row for row in rows}
    assert shown.keys() == set(ids)
    for number, study_id in enumerate(ids):
        said = printable(tagged(number))
        for column, literal in (("patient_id", said), ("file", f"{said}.png")):
            assert shown[study_id][column] in (literal, f"'{literal}")
    trail = service.export_audit(Actor(HOSTILE[20], Role.LEAD), EVERYTHING, Form.CSV).decode()
    for row in (*rows, *csv.DictReader(io.StringIO(trail, newline=""))):
        assert not any(is_formula(cell) for cell in row.values())


@pytest.mark.parametrize("start", [*"=+-@＝＋－＠\t\r\n", " =", "\u3000＋", "\u2028@"])
def test_h3_no_cell_begins_as_a_formula(start: str) -> None:
    assert is_formula(f"{start}1+1")
    assert not is_formula(f"'{start}1+1")


def test_h3_tags_of_a_file_are_text(service, films) -> None:
    for number in NUMBERS:
        said = "".join(sign for sign in HOSTILE[number] if sign.isprintable())[:64]
        raw = films.dicom(number, patient_id="PPPP", AccessionNumber="AAAA", patient_name="NNNN")
        for mark in (b"PPPP", b"NNNN"):  # pydicom would not write such tags
            place = raw.index(mark)
            value = HOSTILE[number].encode()[:60].ljust(60)
            length = len(value).to_bytes(2, "little")
            raw = raw[: place - 2] + length + value + raw[place + len(mark) :]
        found = header_of(raw, service.limits)
        for value in (found.patient_id, found.patient_name):
            assert all(sign.isprintable() for sign in value)
        assert len(said) < 10 or found.patient_id
    assert header_of(films.dicom(99, patient_id="P"), service.limits).patient_id == "P"


@pytest.mark.parametrize("first", NUMBERS[::4])
def test_h3_the_report_prints_text_on_one_page_without_links(first: int) -> None:
    name, number, referrer, question = (HOSTILE[first + place] for place in range(4))
    result = analyses.clear()
    said = replace(
        result.study, patient_name=name, patient_id=number[:40], referrer=referrer, question=question
    )
    raw = page.report(
        replace(result, study=said),
        analyses.POLICY,
        {},
        evaluation={},
        now=analyses.STUDY.acquired.astimezone(),
    )
    assert not re.search(rb"/URI|/JavaScript|/Launch|/Annots|/AA\b|/OpenAction\s*<<", raw)
    document = pdfium.PdfDocument(raw)
    try:
        assert len(document) == 1
        shown = re.sub(r"\s", "", document[0].get_textpage().get_text_bounded())
    finally:
        document.close()
    start = re.sub(r"\s", "", page.printable(question))[:20]
    assert start in shown


def test_h3_a_policys_texts_are_kept_as_they_are_or_refused(service) -> None:
    body = service.policy_text(LEAD, None)
    for number, hostile in enumerate(HOSTILE):
        text_of_it = json.dumps(hostile, ensure_ascii=False)
        changed = re.sub(r"(?m)^version = .*$", f'version = "h{number}"', body, count=1)
        changed = re.sub(r"(?m)^approver = .*$", lambda _, q=text_of_it: f"approver = {q}", changed, count=1)
        if hostile.replace("\n", "").isprintable():
            service.write_policy(LEAD, changed, tagged(number))
            newest = service.policies(LEAD).versions[0]
            assert (newest.approver, newest.note) == (hostile, kept(tagged(number))[:500])
            continue
        with pytest.raises(PolicyError) as refused:
            service.write_policy(LEAD, changed, tagged(number))
        assert str(refused.value).isprintable()
    with pytest.raises(PolicyError):
        service.write_policy(LEAD, re.sub(r"(?m)^version = .*$", 'version = "<b>"', body, count=1), "note")


@pytest.fixture
def cxr(home, monkeypatch):
    """Run a command on an empty worklist of its own; gives what it wrote on stdout and stderr."""
    for name in [name for name in os.environ if name.startswith("CXR_")]:
        monkeypatch.delenv(name)
    for name, value in environment(home).items():
        if name.startswith("CXR_"):
            monkeypatch.setenv(name, value)
    monkeypatch.setenv("CXR_LOCAL_ROLE", "lead")

    def run(*arguments: object, status: int = 0) -> str:
        result = CliRunner().invoke(app, [str(each) for each in arguments])
        assert result.exit_code == status, result.output
        for said in (result.stdout, result.stderr):
            assert all(sign.isprintable() or sign == "\n" for sign in said), "a terminal would obey"
        return result.stdout

    return run


@pytest.fixture
def folder(tmp_path: Path, films) -> Path:
    """Forty films under hostile names, as far as a file can bear them."""
    made = tmp_path / "in"
    made.mkdir()
    for number in NUMBERS:
        (made / file_name(number)).write_bytes(films.png(number))
    return made


def file_name(number: int) -> str:
    said = tagged(number).lstrip(".").replace("/", "\u2215").replace("\0", "")
    return said.encode()[-240:].decode(errors="ignore") + ".png"


def test_h3_commands_print_names_as_one_harmless_line_each(cxr, folder: Path) -> None:
    stored = cxr("submit", folder).splitlines()
    assert len(stored) == len(HOSTILE)
    for number in NUMBERS:
        assert sum(line.endswith(f"/{printable(file_name(number))}") for line in stored) == 1
    as_json = [json.loads(line) for line in cxr("worklist", "--json").splitlines()]
    assert {printable(file_name(number)) for number in NUMBERS} == {
        line["file"].rsplit("/", 1)[1] for line in as_json
    }
    listed = re.sub(r"[\s│]", "", cxr("worklist"))
    for number in NUMBERS:
        assert f"h{number:02}.png" in listed
    trail = cxr("audit", "export").splitlines()
    assert [json.loads(line)["seq"] for line in trail] == list(range(1, len(trail) + 1))
    for row in csv.DictReader(io.StringIO(cxr("audit", "export", "--csv"), newline="")):
        assert not any(is_formula(cell) for cell in row.values())


def test_h3_predictions_and_their_refusals_open_literally(cxr, folder: Path, monkeypatch) -> None:
    (folder / "=broken.png").write_bytes(b"no picture")
    monkeypatch.chdir(folder)
    out = folder.parent / "out.csv"
    names = [file.name for file in Path().iterdir()]
    cxr("predict", "--out", out, "--", *names, status=3)
    cells = [
        cell
        for file in (out, out.with_suffix(".refused.csv"))
        for row in csv.reader(io.StringIO(file.read_bytes().decode(), newline=""))
        for cell in row
    ]
    assert not any(is_formula(cell) for cell in cells)
    assert {name if not is_formula(name) else f"./{name}" for name in names} <= set(cells)
    cxr("predict", "--out", out, "--", *names, status=3)
    triaged = [json.loads(line) for line in cxr("triage", "--json", "--", *names[:3]).splitlines()]
    assert len(triaged) == 3
    cxr("triage", "--", *names[:3])
    cxr("triage", "--", "\x1b[31mnot\nthere", status=1)
