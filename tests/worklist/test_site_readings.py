"""Films of a site that are read for a person while nobody looks: found again by them, and by nobody else."""

from __future__ import annotations

from threading import Event

import pytest

from cxr_core.access import Actor, Role
from cxr_core.evaluation.site_listing import read_listing
from cxr_core.inference import registry
from cxr_core.worklist import model_check, site_readings
from cxr_core.worklist.site_films import Reading
from cxr_core.worklist.values import Incoming
from tests.inference.tiny import ALL

LEA, LEO = Actor("Lea", Role.LEAD), Actor("Leo", Role.LEAD)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Models are checked in this process."""
    monkeypatch.setattr(model_check, "check", lambda folder: registry.load(folder, threads=1))


def begun(service, handed, actor=LEA, number=4):
    lines = "".join(f"{name}.png,p{name},1\n" for name in range(number))
    listing = read_listing(b"file,patient,Mass\n" + lines.encode(), "l.csv", ALL)
    return service.begin_site_reading(actor, "tiny", listing, handed, number)


def films_of(films, number=4):
    return (Incoming(f"{name}.png", films.png(name)) for name in range(number))


def test_it_goes_on_by_itself_and_is_found_by_who_began_it_alone(service, films):
    gate = Event()

    def handed():
        yield from films_of(films, 2)
        gate.wait(60)
        yield Incoming("2.png", films.png(2))

    made = begun(service, handed())
    assert service.site_reading(LEA) is made
    assert service.site_reading(LEO) is None
    assert (made.cases, made.ended, made.name) == (None, None, "tiny 0.1.0")
    gate.set()
    assert made.wait(60)
    assert service.site_reading(Actor("Lea", Role.LEAD)).cases is made.cases  # as after signing in again
    assert sorted(made.cases.patients) == ["p0", "p1", "p2"]
    assert made.ended == service.clock()
    service.drop_site_reading(LEO)
    assert service.site_reading(LEA) is made
    service.drop_site_reading(LEA)
    assert service.site_reading(LEA) is None


def test_stopped_it_keeps_what_was_read(service, films, monkeypatch):
    made = None

    def handed():
        for name in range(200):
            if name == 20:
                made.stop()
            yield Incoming(f"{name}.png", films.png(name % 4 if name > 3 else name))

    gate = Event()

    def waiting():
        gate.wait(60)
        yield from handed()

    made = begun(service, waiting())
    gate.set()
    assert made.wait(120)
    assert made.stopping
    assert made.remarks[-1] == site_readings.STOPPED
    assert len(made.cases) == 4
    assert made.reading.read.films < 200


def test_a_second_one_ends_the_first_and_the_program_s_end_ends_all(service, films):
    gate = Event()

    def endless():
        gate.wait(60)
        while True:
            yield Incoming("other.png", b"x")

    first = begun(service, endless())
    second = begun(service, endless())
    assert first.stopping
    assert service.site_reading(LEA) is second
    gate.set()
    service.site_readings.close()
    assert first.wait(60)
    assert second.wait(0)
    assert service.site_reading(LEA) is None


def test_what_ends_it_is_said_and_nothing_is_lost(service, films, monkeypatch):
    def broken():
        yield from films_of(films, 2)
        raise RuntimeError("NAME^OF^A^PATIENT")

    monkeypatch.setattr(Reading.step, "__defaults__", (1,))
    made = begun(service, broken())
    assert made.wait(60)
    assert len(made.cases) == 2
    assert "fault of the program" in made.remarks[-1]
    assert "NAME" not in made.remarks[-1]
    none = begun(service, iter([Incoming("0.png", b"no film")]))
    assert none.wait(60)
    assert none.cases is None
    assert none.fault == "none of the films that the list names could be assessed"


def test_a_day_later_it_is_forgotten(service, films, clock):
    made = begun(service, films_of(films))
    assert made.wait(60)
    clock.advance(86_399)
    assert service.site_reading(LEA) is made
    clock.advance(2)
    assert service.site_reading(LEA) is None
