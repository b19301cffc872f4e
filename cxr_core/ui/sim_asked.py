"""What somebody asks of the simulator: the form, and the room it describes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import streamlit as st

from cxr_core.domain import Urgency
from cxr_core.triage.policy import Policy
from cxr_core.triage.reading_room import EVEN_DAYS, EVEN_HOURS, HOSPITAL_DAYS, HOSPITAL_HOURS, Room, Shift

ASKED = "sim-asked"
MOST_FILMS = 150_000
"""Read in all replications together, by each discipline: some seconds of this server's time."""

WORKDAYS, WEEKEND = (0, 1, 2, 3, 4), (5, 6)
HOSPITAL, EVEN = "as in a hospital's week", "the same at every hour"
TRIED_H = 8.0
"""Longest wait tried at first: under the shipped policy's days a room that copes never gets there."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One simulation; hours and minutes as on a clock, shares in per cent."""

    films: int = 200
    minutes: float = 8.5
    by_day: int = 2
    opens: int = 8
    closes: int = 18
    at_night: int = 1
    at_weekend: int = 1
    monday: int = 20
    profile: str = HOSPITAL
    critical: float = 5.0
    significant_h: float = TRIED_H
    routine_h: float = TRIED_H
    days: int = 28
    replications: int = 4

    @property
    def room(self) -> Room:
        """The room that is described; at night is from close to open."""
        night_end = float(self.opens + 24)
        even = self.profile == EVEN
        return Room(
            films_a_day=float(self.films),
            shifts=(
                Shift(self.by_day, self.opens, self.closes, WORKDAYS),
                Shift(self.at_night, self.closes, night_end, WORKDAYS),
                Shift(self.at_weekend, self.opens, night_end, WEEKEND),
            ),
            mean_min=self.minutes,
            weekdays=EVEN_DAYS if even else HOSPITAL_DAYS,
            hours=EVEN_HOURS if even else HOSPITAL_HOURS,
            monday=self.monday,
            days=self.days,
        )

    @property
    def too_much(self) -> str:
        """Why it is not run, or nothing."""
        if not self.room.load < float("inf"):
            return "Nobody reads: give at least one reader."
        if self.films * (self.days + self.room.before) * self.replications > MOST_FILMS:
            return (
                f"That is more than {MOST_FILMS:,} films in all replications together; "
                "take fewer days or replications."
            )
        return ""

    def policy(self, policy: Policy) -> Policy:
        """Return the policy with the longest waits that are tried; never longer for what is more urgent."""
        urgent = policy.tiers.urgent.max_wait_minutes
        significant = max(round(self.significant_h * 60), urgent)
        routine = max(round(self.routine_h * 60), significant)
        tiers = replace(
            policy.tiers,
            significant=replace(policy.tiers.significant, max_wait_minutes=significant),
            routine=replace(policy.tiers.routine, max_wait_minutes=routine),
        )
        return replace(policy, tiers=tiers)


def form(policy: Policy, first: Asked) -> tuple[Asked, bool]:
    """Show the form; return what was asked last, or `first`, and whether somebody pressed Run just now."""
    last = st.session_state.get(ASKED, first)
    with st.form("sim", border=False):
        a, b, c, d = st.columns(4)
        films = a.number_input("Films a day", 1, 2000, last.films, 10, key="sim-films")
        minutes = b.number_input("Minutes a film", 0.5, 60.0, last.minutes, 0.5, key="sim-minutes")
        monday = c.number_input(
            "More on Monday morning",
            0,
            1000,
            last.monday,
            10,
            key="sim-monday",
            help="Films handed in together on Monday at 7 o'clock, as from other sites at the weekend.",
        )
        profile = d.selectbox(
            "Films come", [HOSPITAL, EVEN], [HOSPITAL, EVEN].index(last.profile), key="sim-profile"
        )
        by_day = a.number_input("Readers by day, Mon–Fri", 0, 50, last.by_day, key="sim-day")
        at_night = b.number_input("Readers at night, Mon–Fri", 0, 50, last.at_night, key="sim-night")
        at_weekend = c.number_input("Readers at the weekend", 0, 50, last.at_weekend, key="sim-weekend")
        opens, closes = d.slider("The day is from … to", 5, 22, (last.opens, last.closes), key="sim-hours")
        critical = a.number_input(
            "Critical films, %",
            0.1,
            50.0,
            last.critical,
            0.5,
            key="sim-critical",
            help="Share of films that truly show a critical finding; the other tiers keep their proportions.",
        )
        significant = b.number_input(
            "Longest wait, significant (h)",
            0.5,
            240.0,
            last.significant_h,
            1.0,
            key="sim-significant",
            help=_policy_says(policy, Urgency.SIGNIFICANT),
        )
        routine = c.number_input(
            "Longest wait, routine (h)",
            0.5,
            240.0,
            last.routine_h,
            1.0,
            key="sim-routine",
            help=_policy_says(policy, Urgency.ROUTINE),
        )
        with d:
            days, replications = st.columns(2)
        many = days.number_input("Days", 7, 180, last.days, 7, key="sim-days")
        often = replications.number_input(
            "Repeats", 2, 50, last.replications, key="sim-repeats", help="The intervals are over these."
        )
        pressed = st.form_submit_button("Run", type="primary", key="sim-run", icon=":material/play_arrow:")
    if not pressed:
        return last, False
    asked = Asked(
        films=int(films),
        minutes=float(minutes),
        by_day=int(by_day),
        opens=int(opens),
        closes=max(int(closes), int(opens) + 1),
        at_night=int(at_night),
        at_weekend=int(at_weekend),
        monday=int(monday),
        profile=str(profile),
        critical=float(critical),
        significant_h=float(significant),
        routine_h=float(routine),
        days=int(many),
        replications=int(often),
    )
    st.session_state[ASKED] = asked
    return asked, True


def _policy_says(policy: Policy, urgency: Urgency) -> str:
    hours = policy.tiers[urgency].max_wait_minutes / 60
    return f"Tried here only; the policy {policy.version} says {hours:g} h."
