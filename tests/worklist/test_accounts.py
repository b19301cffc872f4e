"""Who may sign in and act, under which name, and when a sign-in ends; on both databases."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, update

from cxr_core.access import Action, Actor, Role
from cxr_core.errors import Busy, Forbidden, Invalid, SettingsError, SignedOut, StoreError
from cxr_core.local import local_actor
from cxr_core.settings import Settings
from cxr_core.worklist import accounts, audit
from cxr_core.worklist.accounts import Claims
from cxr_core.worklist.schema import AccountRow, SignInRow
from cxr_core.worklist.service import Service

ROOT = Actor("root", Role.ADMIN)
ISSUER = "https://id.example"


def claims(subject: str = "ana", nth: int = 1, name: str = "Ana Silva", **more: str) -> Claims:
    """What the provider says of a person at their nth sign-in."""
    key = hashlib.sha256(f"{subject} {nth} {name}".encode()).hexdigest()
    return Claims(**{"issuer": ISSUER, "subject": subject, "name": name, "email": "", "key": key, **more})


def person(service: Service, subject: str, role: Role | None, name: str = "Ana Silva") -> Actor:
    """Somebody who signed in in a role."""
    account = service.name_account(ROOT, ISSUER, subject, name, role)
    return service.arrive(claims(subject)) if role else Actor(account.handle, Role.VIEWER)


def events(service: Service) -> list[tuple[str, str, str]]:
    with service.database.read() as session:
        return [(link.actor, link.event, link.detail) for link in audit.links(session)]


def account(service: Service, subject: str = "ana") -> accounts.Account:
    return next(each for each in service.accounts(ROOT) if each.subject == subject)


def test_a_person_without_role_may_do_nothing_until_an_admin_gives_one(service):
    with pytest.raises(Forbidden, match=r"nobody has given Ana Silva #[0-9a-f]{4} a role yet"):
        service.arrive(claims())
    with pytest.raises(Forbidden):
        service.arrive(claims())
    assert [event for _, event, _ in events(service)] == ["sign_in"], "one sign-in, one row"
    service.set_role(ROOT, account(service).id, Role.CLINICIAN)
    actor = service.arrive(claims())
    assert actor == Actor(account(service).handle, Role.CLINICIAN, claims().key)
    assert service.check(actor, Action.CLAIM) == actor


def test_whom_an_admin_named_before_signs_in_in_that_role_under_that_name(service):
    made = service.name_account(ROOT, ISSUER, "ana", "Dr. Ana", Role.LEAD)
    assert made.last_seen is None
    actor = service.arrive(claims(email="ana@x.example"))
    assert (actor.name, actor.role) == (made.handle, Role.LEAD)
    assert actor.name.startswith("Dr. Ana #")
    now = account(service)
    assert (now.email, now.signed_in, now.last_seen) == ("ana@x.example", 1, service.clock())


def test_the_same_sign_in_again_is_no_new_one_and_another_browser_is(service):
    actor = person(service, "ana", Role.VIEWER)
    assert service.arrive(claims()) == actor
    other = service.arrive(claims(nth=2))
    assert (other.name, other.session != actor.session) == (actor.name, True)
    assert account(service).signed_in == 2
    assert [event for _, event, _ in events(service)] == ["account", "sign_in", "sign_in"]


def test_a_sign_in_without_acts_is_locked_and_that_is_noted_once(service, clock):
    actor = person(service, "ana", Role.VIEWER)
    clock.advance(15 * 60 - 1)
    service.check(actor, Action.VIEW_LIST, look=True)
    clock.advance(1)
    for _ in range(2):
        with pytest.raises(SignedOut) as refused:
            service.check(actor, Action.VIEW_LIST)
        assert refused.value.why == "idle"
    with pytest.raises(SignedOut, match="nothing was done"):
        service.arrive(claims())
    assert [each for each in events(service) if each[1] == "lock"] == [(actor.name, "lock", '{"why":"idle"}')]
    assert service.arrive(claims(nth=2)).name == actor.name


def test_a_page_that_asks_by_itself_is_held_to_role_and_sign_in_without_a_further_look_up(
    service, clock, monkeypatch
):
    actor = person(service, "ana", Role.VIEWER)
    monkeypatch.setattr(service, "refresh", lambda: pytest.fail("looked up"))
    clock.advance(15 * 60 - 1)
    assert service.permit(actor, Action.VIEW_LIST) == actor
    with pytest.raises(Forbidden):
        service.permit(actor, Action.SUBMIT)
    clock.advance(1)
    with pytest.raises(SignedOut):
        service.permit(actor, Action.VIEW_LIST)


def test_acts_keep_a_sign_in_and_are_written_at_most_every_30_s(service, clock):
    actor = person(service, "ana", Role.VIEWER)
    start = clock.now

    def seen() -> timedelta:
        with service.database.read() as session:
            return session.scalars(select(SignInRow.seen_utc)).one() - start

    clock.advance(29)
    service.check(actor, Action.VIEW_STUDY)
    assert seen() == timedelta(0)
    clock.advance(1)
    service.check(actor, Action.VIEW_STUDY, look=True)
    assert seen() == timedelta(0)
    service.check(actor, Action.VIEW_STUDY)
    assert seen() == timedelta(seconds=30)
    for _ in range(3):
        clock.advance(14 * 60)
        service.arrive(claims())


def test_a_sign_in_ends_after_its_hours_whatever_is_done(service, clock):
    actor = person(service, "ana", Role.VIEWER)
    for _ in range(12 * 6 - 1):
        clock.advance(600)
        service.check(actor, Action.VIEW_STUDY)
    clock.advance(600)
    with pytest.raises(SignedOut) as refused:
        service.check(actor, Action.VIEW_STUDY)
    assert refused.value.why == "expired"
    assert events(service)[-1] == (actor.name, "lock", '{"why":"expired"}')


def test_a_cookie_from_long_ago_that_was_never_seen_is_no_sign_in(service, clock):
    old = replace(claims(), issued=clock.now - timedelta(hours=12))
    with pytest.raises(SignedOut):
        service.arrive(old)
    assert (events(service), service.accounts(ROOT)) == ([], ())


@pytest.mark.parametrize(
    ("after", "holds"),
    [(None, False), (timedelta(hours=-1), False), (timedelta(0), False), (timedelta(seconds=1), True)],
)
def test_after_a_restore_only_a_new_sign_in_counts(service, clock, after, holds):
    """It may have begun after the backup was made, and ended: the rows that said so are lost."""
    service.name_account(ROOT, ISSUER, "ana", "Ana Silva", Role.VIEWER)
    with service.database.write() as session:
        audit.append(session, at=clock.now, actor="root", event="restore")
    issued = after if after is None else clock.now + after
    clock.advance(60)
    if holds:
        assert service.arrive(replace(claims(), issued=issued)).role is Role.VIEWER
        return
    with pytest.raises(SignedOut) as refused:
        service.arrive(replace(claims(), issued=issued))
    assert refused.value.why == "revoked"
    assert account(service).signed_in == 0


def test_signing_out_anywhere_signs_out_everywhere(service):
    here = person(service, "ana", Role.VIEWER)
    there = service.arrive(claims(nth=2))
    ben = person(service, "ben", Role.VIEWER, "Ben")
    service.sign_out(here)
    for each, nth in ((here, 1), (there, 2)):
        with pytest.raises(SignedOut) as refused:
            service.check(each, Action.VIEW_LIST)
        assert refused.value.why == "signed_out"
        with pytest.raises(SignedOut):
            service.arrive(claims(nth=nth))
    service.sign_out(there)
    outs = [each for each in events(service) if each[1] == "sign_out"]
    assert outs == [(here.name, "sign_out", '{"sign_ins":2,"why":"signed_out"}')]
    service.check(ben, Action.VIEW_LIST)
    assert account(service).signed_in == 0


def test_nobody_else_is_signed_out_by_a_made_up_actor(service):
    ana = person(service, "ana", Role.VIEWER)
    for made_up in (Actor("x", Role.ADMIN), Actor("x", Role.ADMIN, ana.session), Actor(ana.name, Role.ADMIN)):
        service.sign_out(made_up)
    service.check(ana, Action.VIEW_LIST)


def test_a_role_taken_away_ends_the_sign_ins_and_one_changed_counts_at_the_next_call(service):
    ana = person(service, "ana", Role.LEAD)
    service.set_role(ROOT, account(service).id, Role.VIEWER)
    assert service.check(ana, Action.VIEW_LIST).role is Role.VIEWER
    with pytest.raises(Forbidden, match="you are viewer"):
        service.export_csv(ana, None)
    service.set_role(ROOT, account(service).id, None)
    service.set_role(ROOT, account(service).id, None)
    with pytest.raises(SignedOut) as refused:
        service.check(ana, Action.VIEW_LIST)
    assert refused.value.why == "revoked"
    changes = [detail for _, event, detail in events(service) if event == "role"]
    assert changes == [
        '{"from":"lead","sign_ins":0,"to":"viewer"}',
        '{"from":"viewer","sign_ins":1,"to":""}',
    ]


def test_an_admin_ends_somebodys_sign_ins_and_the_role_stays(service):
    ana = person(service, "ana", Role.LEAD)
    assert service.sign_out_account(ROOT, account(service).id) == 1
    assert service.sign_out_account(ROOT, account(service).id) == 0
    with pytest.raises(SignedOut) as refused:
        service.check(ana, Action.VIEW_LIST)
    assert refused.value.why == "revoked"
    assert service.arrive(claims(nth=2)).role is Role.LEAD
    assert [actor for actor, event, _ in events(service) if event == "sign_out"] == [ROOT.name]


def test_the_last_admin_cannot_be_taken_away(service):
    ana = person(service, "ana", Role.ADMIN)
    mine = account(service).id
    for role in (None, Role.LEAD):
        with pytest.raises(Invalid, match="last account with the role admin"):
            service.set_role(ana, mine, role)
    person(service, "ben", Role.ADMIN)
    service.set_role(ana, mine, Role.LEAD)
    with pytest.raises(Forbidden):
        service.set_role(ana, mine, Role.ADMIN)


def test_two_admins_who_take_each_other_away_leave_one(service):
    actors = [person(service, subject, Role.ADMIN) for subject in ("ana", "ben")]
    others = [account(service, subject).id for subject in ("ben", "ana")]

    def take(nth: int) -> str:
        try:
            service.set_role(actors[nth], others[nth], None)
        except (Invalid, SignedOut) as exc:
            return type(exc).__name__
        return "done"

    with ThreadPoolExecutor(2) as pool:
        done = sorted(pool.map(take, (0, 1)))
    assert done in (["Invalid", "done"], ["SignedOut", "done"])
    assert [each.role for each in service.accounts(ROOT)].count(Role.ADMIN) == 1


@pytest.mark.parametrize("nth", [1, 2], ids=["one sign-in", "two sign-ins"])
def test_a_person_who_arrives_twice_at_once_has_one_account(service, nth):
    def arrive(number: int) -> str:
        with pytest.raises(Forbidden):
            service.arrive(claims(nth=1 + number % nth))
        return "refused"

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(arrive, range(8))) == ["refused"] * 8
    assert len(service.accounts(ROOT)) == 1
    assert [event for _, event, _ in events(service)] == ["sign_in"] * nth


def test_a_tag_that_somebody_has_grows_by_a_sign_whatever_the_name(service):
    digest = hashlib.sha256(b'["https://id.example", "ana"]').hexdigest()
    with service.database.write() as session:
        for nth, length in enumerate((4, 5)):
            session.add(
                AccountRow(
                    id=str(nth),
                    issuer="i",
                    subject=str(nth),
                    handle=f"Ben #{digest[:length]}",
                    created_utc=service.clock(),
                )
            )
    made = service.name_account(ROOT, ISSUER, "ana", "Ana", Role.VIEWER)
    assert made.handle == f"Ana #{digest[:6]}"


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("Ana Silva #3f2a", "Ana Silva 3f2a"),
        ("Ana Silva \uff033f2a", "Ana Silva 3f2a"),
        ("Silva\tAna\n\x00\x1b[31m", "Silva Ana 31m"),
        ("A\u200bn\u202ea", "A n a"),
        ("<img src=x onerror=alert(1)>", "img src x onerror alert(1)"),
        ("![a](http://x.example/y) www.x.example", "a (http x. example y) www. x. example"),
        ("$\\sqrt{x}$ **bold** :red[x] `y`", "sqrt x bold red x y"),
        ("=HYPERLINK(1)", "HYPERLINK(1)"),
        ("ana@x.example", "ana at x. example"),
        ("Ångström-Müller, Zoë O’Neil", "Ångström-Müller, Zoë O’Neil"),
        ("山田 太郎", "山田 太郎"),
        ("x" * 1000, "x" * 60),
        ("\ud800*", "unnamed"),
        ("", "unnamed"),
        ("local user", "local user"),
        ("worker-1", "worker-1"),
    ],
)
def test_a_name_is_kept_as_plain_words(service, name, kept):
    actor = service.name_account(ROOT, ISSUER, "s", name, Role.VIEWER).handle
    assert actor.rpartition(" #")[0] == kept


def test_nobody_acts_under_the_name_of_one_who_signed_in(service):
    ana = person(service, "ana", Role.ADMIN)
    with pytest.raises(Forbidden, match="sign in"):
        service.check(Actor(ana.name, Role.ADMIN), Action.VIEW_LIST)
    with pytest.raises(SettingsError, match="CXR_LOCAL_USER"):
        local_actor(Settings(local_user=ana.name))
    ben = person(service, "ben", Role.VIEWER, "Ben")
    for made_up in (
        replace(ben, name=ana.name),
        replace(ana, session=ben.session),
        replace(ana, session="x"),
    ):
        with pytest.raises(SignedOut):
            service.check(made_up, Action.VIEW_LIST)
    with pytest.raises(Forbidden):
        service.check(replace(ben, role=Role.ADMIN), Action.USERS)


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": ""},
        {"subject": ""},
        {"subject": "x" * 256},
        {"subject": "a\0"},
        {"issuer": "\ud800"},
        {"key": ""},
        {"key": "A" * 64},
    ],
)
def test_whoever_the_provider_does_not_name_is_refused(service, wrong):
    with pytest.raises(Forbidden, match="did not say who you are"):
        service.arrive(replace(claims(), **wrong))
    assert service.accounts(ROOT) == ()


def test_a_sign_in_is_the_persons_whose_it_was(service):
    person(service, "ana", Role.ADMIN)
    person(service, "ben", Role.VIEWER)
    with pytest.raises(SignedOut):
        service.arrive(replace(claims("ben"), key=claims("ana").key))


def test_nobody_is_named_twice_or_without_issuer_and_subject(service):
    person(service, "ana", None)
    with pytest.raises(Invalid, match="has an account already"):
        service.name_account(ROOT, f" {ISSUER} ", "ana", "Other", Role.ADMIN)
    for issuer, subject in (("", "s"), ("i", " "), ("i", "s\0")):
        with pytest.raises(Invalid, match="just as the identity provider"):
            service.name_account(ROOT, issuer, subject, "x", Role.VIEWER)
    for call in (lambda: service.set_role(ROOT, "x", None), lambda: service.sign_out_account(ROOT, "x")):
        with pytest.raises(StoreError, match="no such account"):
            call()


def test_what_cannot_be_written_down_still_holds(service, clock, monkeypatch):
    actor = person(service, "ana", Role.VIEWER)

    def full() -> None:
        raise Busy("the disk is full")

    with monkeypatch.context() as broken:
        broken.setattr(service.database, "write", full)
        clock.advance(60)
        service.check(actor, Action.VIEW_STUDY)
        clock.advance(15 * 60)
        with pytest.raises(SignedOut):
            service.check(actor, Action.VIEW_STUDY)
    with pytest.raises(SignedOut):
        service.check(actor, Action.VIEW_STUDY)
    assert [event for _, event, _ in events(service)] == ["account", "sign_in", "lock"]


def test_a_locked_database_makes_nobody_wait_again_and_again(service, clock, monkeypatch):
    actor = person(service, "ana", Role.VIEWER)
    tried: list[datetime] = []

    def locked() -> None:
        tried.append(clock.now)
        raise Busy("another program holds the lock")

    clock.advance(30)
    with monkeypatch.context() as broken:
        broken.setattr(service.database, "write", locked)
        for seconds in (0, 1, 28, 1, 10):
            clock.advance(seconds)
            assert service.arrive(claims()) == service.check(actor, Action.VIEW_STUDY) == actor
        assert len(tried) == 2, "at once, and 30 s later"
    clock.advance(20)
    service.check(actor, Action.VIEW_STUDY)
    assert account(service).last_seen == clock.now
    assert not service.untouched


def test_a_page_that_was_shown_anew_by_itself_keeps_nobody_signed_in(service, clock):
    person(service, "ana", Role.VIEWER)
    for _ in range(14):
        clock.advance(60)
        service.arrive(claims(), look=True)
    clock.advance(60)
    with pytest.raises(SignedOut, match="nothing was done"):
        service.arrive(claims(), look=True)


def test_a_clock_behind_another_machines_does_not_unsee(service, clock):
    actor = person(service, "ana", Role.VIEWER)
    with service.database.write() as session:
        session.execute(update(SignInRow).values(seen_utc=clock.now + timedelta(minutes=5)))
    service.check(actor, Action.VIEW_STUDY)
    clock.advance(10 * 60)
    service.check(actor, Action.VIEW_STUDY)
    assert account(service).last_seen == clock.now
