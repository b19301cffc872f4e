"""What a batch says of itself, asked of another process's service and after a kill as well."""

from __future__ import annotations

import pytest

from cxr_core.access import Actor, Role
from cxr_core.errors import Busy, Forbidden, StoreError
from cxr_core.imaging.refusals import refusal
from cxr_core.worklist import batches, queue
from cxr_core.worklist.batches import SILENT
from cxr_core.worklist.schema import BatchItemRow, ImageRow
from cxr_core.worklist.service import Service
from cxr_core.worklist.unpack import Turned
from cxr_core.worklist.values import Incoming, Source
from tests.worklist.work import answers

ANN, BEN = Actor("Ann", Role.CLINICIAN), Actor("Ben", Role.CLINICIAN)


@pytest.fixture
def files(films):
    return [Incoming(f"{number}.png", films.png(number)) for number in range(6)]


def reopened(service: Service) -> Service:
    """The same worklist as another process sees it."""
    return Service(
        service.database,
        service.blobs,
        service.policy,
        model=service.model,
        settings=service.settings,
        clock=service.clock,
    )


def test_a_batch_counts_what_was_stored_known_and_refused(service, files):
    service.submit(BEN, files[0], source=Source.CLI)
    batch_id = service.start_batch(ANN, 5, Source.PAGE)
    turned = Turned("locked.png", refusal("zip_encrypted"))
    first = service.add_to_batch(ANN, batch_id, [files[0], turned, files[1], Incoming("empty.png", b"")])
    again = service.add_to_batch(ANN, batch_id, [files[1]])
    assert [item.name for item in first] == ["0.png", "locked.png", "1.png", "empty.png"]
    new = [item.receipt and item.receipt.new for item in (*first, *again)]
    assert new == [False, None, True, None, False]
    codes = [item.refusal and item.refusal.code for item in first]
    assert codes == [None, "zip_encrypted", None, "empty_file"]
    view = reopened(service).batch(ANN, batch_id)
    assert (view.total, view.stored, view.known, view.answered, view.source) == (5, 3, 2, 0, "page")
    assert [(name, why.code) for name, why in view.refused] == [
        ("locked.png", "zip_encrypted"),
        ("empty.png", "empty_file"),
    ]
    assert view.refused[0][1] == refusal("zip_encrypted")
    assert view.turned_away == 2


def test_the_gates_refusals_and_dead_letters_and_conflicts_are_listed_in_order(service, films, kit):
    files = [
        Incoming("dead.png", films.png(1)),
        Incoming("broken.png", films.png(2)[:500]),
        Incoming("first.dcm", films.dicom(3)),
        Incoming("second.dcm", films.dicom(3, pixels=4)),
    ]
    batch_id = service.start_batch(ANN, 4, Source.CLI)
    items = service.add_to_batch(ANN, batch_id, files)
    for job in queue.claim(service, "worker", 10):
        if job.films == (items[1].receipt.sha256,):
            assert queue.record(service, "worker", job, answers(service, kit, job.films))
        if job.films == (items[0].receipt.sha256,):
            with service.database.write() as session:
                session.get(ImageRow, job.films[0]).attempts = service.settings.attempts - 1
            queue.failed(service, "worker", job, job.films[0], "crashed")
    view = service.batch(ANN, batch_id)
    assert [(name, notice.code) for name, notice in view.refused] == [
        ("dead.png", "given_up"),
        ("broken.png", "broken_image"),
        ("second.dcm", "uid_conflict"),
    ]
    assert view.refused[1][1].message == "The PNG file is damaged or incomplete."
    assert (view.stored, view.answered, view.turned_away) == (4, 3, 0)


def test_a_batch_is_broken_off_when_nothing_came_for_a_while_and_it_was_not_finished(service, files, clock):
    batch_id = service.start_batch(ANN, 3, Source.CLI)
    clock.advance(SILENT.total_seconds() - 1)
    service.add_to_batch(ANN, batch_id, files[:1])
    clock.advance(SILENT.total_seconds() - 1)
    assert not service.batch(ANN, batch_id).broken_off
    clock.advance(2)
    assert reopened(service).batch(ANN, batch_id).broken_off
    service.add_to_batch(ANN, batch_id, files[1:2])
    assert not service.batch(ANN, batch_id).broken_off
    service.finish_batch(ANN, batch_id)
    clock.advance(10 * SILENT.total_seconds())
    assert not service.batch(ANN, batch_id).broken_off


def test_positions_go_on_where_another_process_left_them(service, files):
    batch_id = service.start_batch(ANN, 4, Source.CLI)
    service.add_to_batch(ANN, batch_id, files[:2])
    other = reopened(service)
    other.add_to_batch(ANN, batch_id, [Turned("x", refusal("zip_name"))])
    other.add_to_batch(ANN, batch_id, files[2:3])
    with service.database.read() as session:
        rows = session.query(BatchItemRow).order_by(BatchItemRow.position)
        assert [(row.position, row.name) for row in rows] == [
            (1, "0.png"), (2, "1.png"), (3, "x"), (4, "2.png")
        ]  # fmt: skip


def test_batches_are_the_actors_own_newest_first(service, clock):
    mine = []
    for _ in range(7):
        mine.append(service.start_batch(ANN, 1, Source.CLI))
        theirs = service.start_batch(BEN, 1, Source.CLI)
        clock.advance(1)
    assert [view.id for view in service.batches(ANN)] == mine[:1:-1]
    assert [view.id for view in service.batches(ANN, limit=1)] == mine[-1:]
    for call in (
        lambda: service.batch(ANN, theirs),
        lambda: service.add_to_batch(ANN, theirs, []),
        lambda: service.finish_batch(ANN, theirs),
        lambda: service.batch(ANN, "none"),
    ):
        with pytest.raises(StoreError, match="no such batch of yours"):
            call()


def test_a_group_is_taken_in_and_noted_or_neither(service, files):
    batch_id = service.start_batch(ANN, 2, Source.CLI)
    service.settings = type(service.settings)(home=service.settings.home, queue_limit=1)
    with pytest.raises(Busy):
        service.add_to_batch(ANN, batch_id, files[:2])
    view = service.batch(ANN, batch_id)
    assert (view.stored, view.refused) == (0, ())
    with pytest.raises(StoreError):
        service.add_to_batch(BEN, batch_id, files[:1])
    with service.database.read() as session:
        assert session.query(ImageRow).count() == 0


def test_what_cannot_be_noted_as_refused_takes_no_film_in(service, files, monkeypatch):
    """Whoever reads "nothing was taken in" hands the whole group in again."""
    batch_id = service.start_batch(ANN, 2, Source.CLI)
    item_row = batches._row

    def full(batch, position, item):
        if item.refusal is not None:
            raise Busy("the disk is full")
        return item_row(batch, position, item)

    monkeypatch.setattr(batches, "_row", full)
    with pytest.raises(Busy):
        service.add_to_batch(ANN, batch_id, [files[0], Turned("x", refusal("zip_name"))])
    with service.database.read() as session:
        assert session.query(ImageRow).count() == session.query(BatchItemRow).count() == 0


@pytest.mark.parametrize(
    ("name", "kept"), [("a\0b.png", "a\\x00b.png"), ("\ud800.png", "\\ud800.png"), ("a\nb.png", "a\nb.png")]
)
def test_a_name_that_no_database_can_hold_keeps_no_film_out(service, films, name, kept):
    batch_id = service.start_batch(ANN, 3, Source.PAGE)
    items = service.add_to_batch(ANN, batch_id, [Incoming(name, films.png(1)), Incoming(name, b"")])
    service.add_to_batch(ANN, batch_id, [Turned(name, refusal("zip_name"))])
    assert [item.name for item in items] == [name, name]
    view = service.batch(ANN, batch_id)
    assert (view.stored, [told for told, _ in view.refused]) == (1, [kept, kept])


def test_a_viewer_hands_in_nothing(service):
    viewer = Actor("Eve", Role.VIEWER)
    with pytest.raises(Forbidden):
        service.start_batch(viewer, 1, Source.CLI)
