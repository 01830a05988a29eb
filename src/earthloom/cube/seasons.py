"""Seasons by the vegetation of a place rather than by the calendar.

A year falls into green-up, maturity, senescence and dormancy, where a vegetation index passes a
fifth and four fifths of its amplitude (as TIMESAT does, Jönsson and Eklundh 2004). Time steps of
this kind mean the same in all climates, north and south.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from earthloom.cube.periods import Period, cut
from earthloom.cube.series import Reach, whittaker
from earthloom.errors import DataError

_EPOCH = date(1970, 1, 1)
_YEAR = 365
_HALVED = 75.0
"""Waves of so many days keep half their height in the curve of a year, shorter ones less."""


@dataclass(frozen=True)
class Season:
    """A part of every year, by the days 1 to 365, both included; `end` is before `start` where it
    goes over the turn of the year."""

    name: str
    start: int
    end: int


@dataclass(frozen=True)
class Cycle:
    """One growing season, by the days 1 to 365."""

    start: int
    peak: int
    end: int
    amplitude: float
    """From the mean of the lows before and after to the peak."""


@dataclass(frozen=True)
class Phenology:
    """What the seasons of a place are, and why."""

    seasons: tuple[Season, ...]
    """In the order of their first days; each day of the year is in one of them."""
    cycles: tuple[Cycle, ...]
    """None where the seasons are quarters of the calendar."""
    reason: str
    """Why they are quarters of the calendar; empty where they follow the vegetation."""


@dataclass(frozen=True)
class Rules:
    """What counts as a growing season."""

    low: float = 0.2
    """Share of the amplitude at which a season starts and ends."""
    high: float = 0.8
    """Share of the amplitude above which the vegetation is mature."""
    least_amplitude: float = 0.1
    """In units of the index; below it the place counts as evergreen or bare."""
    least_share: float = 0.3
    """A second season rises and falls by so much of the amplitude of the year."""
    most_gap_days: int = 90
    """With a longer part of the year unseen, nothing is known of the seasons."""


def seasons_of(
    index: NDArray[np.floating],
    days: Sequence[int] | NDArray[np.integer],
    rules: Rules = Rules(),
) -> Phenology:
    """The seasons of a place by a vegetation index (T,), NaN where not seen, of days (T,) since
    1970-01-01, of one year or of several laid over each other.

    One or two growing seasons a year. Quarters of the calendar, with the reason, where the index
    hardly changes or where much of the year was not seen. DataError if the lengths differ.
    """
    values, when = np.asarray(index, np.float64), np.asarray(days)
    if values.ndim != 1 or values.shape != when.shape:
        raise DataError(f"an index {values.shape} and days {when.shape} do not fit together")
    seen = ~np.isnan(values)
    place = np.array([_day_of_year(day) for day in when[seen]], np.int64)
    gap = _longest_gap(place)
    if gap > rules.most_gap_days:
        return _calendar(f"{gap} days of the year were not seen")
    curve = _year_curve(values[seen], place)
    amplitude = float(curve.max() - curve.min())
    if amplitude < rules.least_amplitude:
        return _calendar(f"the index changes by {amplitude:.2f} only, over the year")
    peaks = _peaks(curve, max(rules.least_share * amplitude, rules.least_amplitude / 2))
    marks: list[tuple[int, str]] = []
    cycles = []
    for number in range(len(peaks)):
        suffix = f"-{number + 1}" if len(peaks) > 1 else ""
        cycle, changes = _cycle(curve, peaks, number, rules)
        cycles.append(cycle)
        names = ("green-up", "maturity", "senescence", "dormancy")
        marks += [(day, name + suffix) for day, name in zip(changes, names, strict=True)]
    return Phenology(_between(marks), tuple(cycles), "")


def season_periods(start: date, end: date, seasons: Sequence[Season]) -> list[Period]:
    """The time steps of a period by seasons: labels are the year of the first day and the name.

    The 29 February belongs to the season of the day before.
    """
    marks = sorted(
        (date(year, 1, 1) + timedelta(days=_leap(year, season.start)), f"{year}-{season.name}")
        for year in range(start.year - 1, end.year + 1)
        for season in seasons
    )
    return cut(start, end, marks)


def _leap(year: int, day: int) -> int:
    """Days from 1 January to a day (1 to 365) of a year in which 29 February is not counted."""
    ordinary = date(2001, 1, 1) + timedelta(days=day - 1)
    return (ordinary.replace(year=year) - date(year, 1, 1)).days


def _day_of_year(day: int) -> int:
    """0 to 364; 29 February is as the day before."""
    when = _EPOCH + timedelta(days=int(day))
    if (when.month, when.day) == (2, 29):
        when = when.replace(day=28)
    return (when.replace(year=2001) - date(2001, 1, 1)).days


def _longest_gap(place: NDArray[np.int64]) -> int:
    """Days between two observations that follow each other in the year, over its turn too."""
    if len(place) == 0:
        return _YEAR
    once = np.unique(place)
    return int(np.diff(np.append(once, once[0] + _YEAR)).max())


def _year_curve(values: NDArray[np.float64], place: NDArray[np.int64]) -> NDArray[np.float64]:
    """A smooth curve over the 365 days, of which the last goes on into the first."""
    once, inverse = np.unique(place, return_inverse=True)
    mean = np.bincount(inverse, values) / np.bincount(inverse)
    days = np.concatenate([once - _YEAR, once, once + _YEAR])
    series = np.tile(mean, 3).astype(np.float32)[:, None]
    shown = np.ones(series.shape, np.bool_)
    reach = Reach(hold_days=_YEAR)
    # At that frequency the penalty weighs as much as the observations of a day (Eilers 2003).
    smoothing = len(once) / _YEAR * (_HALVED / (2 * np.pi)) ** 4
    curve = whittaker(series, shown, days, np.arange(_YEAR), smoothing, reach=reach)
    return curve[:, 0].astype(np.float64)


def _peaks(curve: NDArray[np.float64], prominence: float) -> list[int]:
    """Days of the one or two most prominent peaks, ascending."""
    # It takes 50 MB, which a worker that maps does not need.
    from scipy.signal import find_peaks

    found, described = find_peaks(np.tile(curve, 3), prominence=prominence)
    middle = (found >= _YEAR) & (found < 2 * _YEAR)
    days, heights = found[middle] - _YEAR, described["prominences"][middle]
    best = np.argsort(-heights, kind="stable")[:2]
    return sorted(int(day) for day in days[best]) or [int(curve.argmax())]


def _cycle(
    curve: NDArray[np.float64], peaks: list[int], number: int, rules: Rules
) -> tuple[Cycle, tuple[int, int, int, int]]:
    """A growing season, and the days (from 0) at which its four parts start."""
    peak = peaks[number]
    before = (peak - peaks[number - 1] - 1) % _YEAR + 1
    after = (peaks[(number + 1) % len(peaks)] - peak - 1) % _YEAR + 1
    rising, falling = _limb(curve, peak, -1, before), _limb(curve, peak, 1, after)
    start = (peak - _crossing(rising, rules.low)) % _YEAR
    mature = (peak - _crossing(rising, rules.high)) % _YEAR
    fading = (peak + _crossing(falling, rules.high) + 1) % _YEAR
    end = (peak + _crossing(falling, rules.low) + 1) % _YEAR
    amplitude = float(curve[peak] - (rising[-1] + falling[-1]) / 2)
    cycle = Cycle(start + 1, peak + 1, (end - 1) % _YEAR + 1, amplitude)
    return cycle, (start, mature, fading, end)


def _limb(curve: NDArray[np.float64], peak: int, way: int, days: int) -> NDArray[np.float64]:
    """The curve from a peak to the low before the next, one way."""
    values = curve[(peak + way * np.arange(days + 1)) % _YEAR]
    limb: NDArray[np.float64] = values[: int(values.argmin()) + 1]
    return limb


def _crossing(limb: NDArray[np.float64], share: float) -> int:
    """How many days from the peak a limb stays at or above a share of its height."""
    level = limb[-1] + share * (limb[0] - limb[-1])
    return int(np.argmax(limb < level)) - 1


def _between(marks: list[tuple[int, str]]) -> tuple[Season, ...]:
    """Seasons from their first days (from 0) in the order of the year, each up to the next; one
    without a day is left out."""
    some = [mark for mark, after in zip(marks, marks[1:] + marks[:1]) if mark[0] != after[0]]
    return tuple(
        sorted(
            (
                Season(name, day + 1, (after - 1) % _YEAR + 1)
                for (day, name), (after, _) in zip(some, some[1:] + some[:1])
            ),
            key=lambda season: season.start,
        )
    )


def _calendar(reason: str) -> Phenology:
    starts = ((0, "quarter-1"), (90, "quarter-2"), (181, "quarter-3"), (273, "quarter-4"))
    return Phenology(_between(list(starts)), (), reason)
