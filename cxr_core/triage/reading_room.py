"""A reading room on paper: when films come, who reads them when, how long one takes. Pure.

Times are minutes from a Monday's midnight.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

HOUR, DAY, WEEK = 60.0, 1440.0, 10_080.0

EVEN_DAYS = (1.0,) * 7
EVEN_HOURS = (1.0,) * 24
HOSPITAL_DAYS = (1.15, 1.1, 1.1, 1.1, 1.05, 0.8, 0.7)
"""Monday first; our assumption, not a measurement."""
HOSPITAL_HOURS = (*(0.35,) * 7, 0.8, *(1.75,) * 9, 1.2, 1.0, 0.9, 0.7, 0.6, 0.5, 0.4)
"""From midnight; our assumption, not a measurement."""


@dataclass(frozen=True, slots=True)
class Shift:
    """Readers at work from `begin` to `end`, hours of the day (an end above 24 is on the next morning)."""

    readers: int
    begin: float
    end: float
    weekdays: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)

    def __post_init__(self) -> None:
        """Raise ValueError for a shift that is none."""
        if self.readers < 0 or not 0 <= self.begin < 24 or not self.begin < self.end <= self.begin + 24:
            raise ValueError("a shift begins from 0 to 24 and ends within a day of that")

    @property
    def minutes_a_week(self) -> float:
        """Of all its readers."""
        return self.readers * (self.end - self.begin) * HOUR * len(self.weekdays)

    def turns(self) -> Iterator[tuple[float, float]]:
        """Yield when one of its readers comes and goes, without end; none for nobody's shift."""
        for day in count() if self.weekdays else ():
            if day % 7 in self.weekdays:
                yield day * DAY + self.begin * HOUR, day * DAY + self.end * HOUR


@dataclass(frozen=True, slots=True)
class Room:
    """Who sends, who reads, how fast.

    Attributes:
        films_a_day: mean over a week.
        shifts: who reads when.
        mean_min: mean time to read a film.
        sigma: of the logarithm of that time (log-normal): 0 is always the same.
        weekdays, hours: how much of a day's or an hour's mean comes then, Monday and midnight first;
            scaled so that the week's mean stays.
        monday: films more that are handed in together on Monday at 7 o'clock, as from outside at the weekend.
        days: of arrivals that count.
        before: days that come first and do not count, until the room is as it usually is.
    """

    films_a_day: float
    shifts: tuple[Shift, ...]
    mean_min: float = 5.0
    sigma: float = 0.5
    weekdays: tuple[float, ...] = EVEN_DAYS
    hours: tuple[float, ...] = EVEN_HOURS
    monday: int = 0
    days: int = 60
    before: int = 7

    def __post_init__(self) -> None:
        """Raise ValueError for a room that cannot be."""
        if len(self.weekdays) != 7 or len(self.hours) != 24:
            raise ValueError("expected 7 factors of weekdays and 24 of hours")
        if min(*self.weekdays, *self.hours) < 0 or not sum(self.weekdays) or not sum(self.hours):
            raise ValueError("factors are not negative, nor all zero")
        if self.films_a_day <= 0 or self.mean_min <= 0 or self.sigma < 0 or self.monday < 0:
            raise ValueError("films a day and minutes a film are above 0; spread and backlog not negative")
        if self.days < 1 or self.before < 0:
            raise ValueError("at least one day is simulated")

    @property
    def load(self) -> float:
        """Minutes of reading that come in, of the readers' minutes; from 1 on the pile only grows."""
        work = (self.films_a_day * 7 + self.monday) * self.mean_min
        there = sum(shift.minutes_a_week for shift in self.shifts)
        return work / there if there else math.inf


def arrivals(room: Room, rng: np.random.Generator) -> Floats:
    """Return (K,) rising minutes at which films come in: a Poisson process whose rate changes by the hour.

    In an hour of constant rate the number is Poisson's and the moments are uniform, so this is exact.
    """
    hours = (room.before + room.days) * 24
    by_day, by_hour = np.array(room.weekdays), np.array(room.hours)
    rates = np.outer(by_day / by_day.mean(), by_hour / by_hour.mean()).ravel() * room.films_a_day / 24
    numbers = rng.poisson(np.resize(rates, hours))
    at = (np.repeat(np.arange(hours), numbers) + rng.random(int(numbers.sum()))) * HOUR
    mondays = np.arange(0, room.before + room.days, 7) * DAY + 7 * HOUR
    return np.sort(np.concatenate([at, np.repeat(mondays, room.monday)]))


def reading_times(room: Room, films: int, rng: np.random.Generator) -> Floats:
    """Return (films,) minutes: log-normal with the room's mean and sigma.

    >>> float(reading_times(Room(1, (), mean_min=4, sigma=0), 1, np.random.default_rng(0))[0])
    4.0
    """
    if room.sigma == 0:
        return np.full(films, room.mean_min)
    # The mean of a log-normal is exp(mu + sigma² / 2).
    return rng.lognormal(math.log(room.mean_min) - room.sigma**2 / 2, room.sigma, films)
