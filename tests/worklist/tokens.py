"""A patient whose every detail is a word that stands nowhere else, and where those words may stand."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import select, text

from cxr_core.worklist.schema import Base
from cxr_core.worklist.service import Service
from tests.worklist.films import Films

NAME, PATIENT, REFERRER, ACCESSION, COMMENT = (
    "Quaggamire",
    "PIDX9931",
    "Volkenbrand",
    "ACCX5512",
    "Wexelhagen",
)
FILE = "wombatleaf"
TOKENS = (NAME, PATIENT, REFERRER, ACCESSION, COMMENT, FILE)
ALLOWED = {("image", "file_name"), ("batch_item", "name")}


def tagged(films: Films, number: int, **elements) -> bytes:
    """A film whose every personal element holds a token."""
    said = {
        "patient_id": PATIENT,
        "patient_name": f"{NAME}^Zelda",
        "ReferringPhysicianName": f"{REFERRER}^Otto",
        "AccessionNumber": ACCESSION,
        "PatientComments": COMMENT,
        "StudyDescription": f"asked by {REFERRER}",
        "OtherPatientIDs": PATIENT,
        "InstitutionName": COMMENT,
    }
    return films.dicom(number, **said | elements)


def leaks(content: str | bytes) -> set[str]:
    raw = content.encode() if isinstance(content, str) else content
    return {token for token in TOKENS if token.lower().encode() in raw.lower()}


def files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def assert_database_is_clean(service: Service) -> None:
    """Tokens stand in `identity` and in the columns of file names alone; they do stand there."""
    where = set()
    with service.database.read() as session:
        for table in Base.metadata.sorted_tables:
            for row in session.execute(select(table)).mappings():
                where |= {(table.name, column) for column, value in row.items() if leaks(str(value))}
    assert {each for each in where if each[0] != "identity"} == ALLOWED
    assert {("identity", "patient_name"), ("identity", "patient_id"), ("identity", "referrer")} <= where


@contextmanager
def renamed(service: Service, away: str, back: str) -> Iterator[None]:
    """Let every statement on a table fail for a while."""
    with service.database.write() as session:
        session.execute(text(f"ALTER TABLE {away}"))
    try:
        yield
    finally:
        with service.database.write() as session:
            session.execute(text(f"ALTER TABLE {back}"))
