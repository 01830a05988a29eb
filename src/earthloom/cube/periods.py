"""The time steps of a period: months, quarters, seasons, so many days."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta

from earthloom.errors import DataError, choices

_DAY = timedelta(days=1)
_DAYS = re.compile(r"([1-9]\d{0,3}) days?")
_SEASONS = {12: "DJF", 3: "MAM", 6: "JJA", 9: "SON"}


@dataclass(frozen=True)
class Period:
    """Some days, both ends included."""

    label: str
    start: date
    end: date


def periods(start: date, end: date, every: str) -> list[Period]:
    """The time steps of a period, both days included, in order and without gaps.

    `every` is `month`, `dekad` (the days 1 to 10, 11 to 20 and the rest of a month), `quarter`,
    `season` (December to February and so on, named by the months and the year of the last), `year`,
    `period` (one step), or `N days` from the first day on. The first and last step are cut to the
    period. DataError for another `every`, or where the end is before the start.
    """
    if end < start:
        raise DataError(f"a period cannot end ({end}) before it starts ({start})")
    if every == "period":
        return [Period("period", start, end)]
    days = _DAYS.fullmatch(every)
    if days is None and every not in _STARTS:
        raise DataError(f"'{every}' is no length of time steps; there are: {choices(EVERY)}")
    marks = _each(start, end, int(days[1])) if days else _STARTS[every](start.year - 1, end.year)
    return cut(start, end, list(marks))


def cut(start: date, end: date, marks: list[tuple[date, str]]) -> list[Period]:
    """Periods from the first days and labels of time steps, each up to the next, cut to a start and
    an end; the last goes up to the end. The marks ascend and the first is not after the start."""
    found = []
    for place, (first, label) in enumerate(marks):
        last = marks[place + 1][0] - _DAY if place + 1 < len(marks) else end
        if first <= end and last >= start:
            found.append(Period(label, max(first, start), min(last, end)))
    return found


def _each(start: date, end: date, days: int) -> Iterator[tuple[date, str]]:
    while start <= end:
        yield start, f"{start:%Y-%m-%d}"
        start += timedelta(days=days)


def _firsts(first: int, last: int) -> Iterator[date]:
    """The first day of each month of some years."""
    return (date(year, month, 1) for year in range(first, last + 1) for month in range(1, 13))


def _months(first: int, last: int) -> Iterator[tuple[date, str]]:
    return ((day, f"{day:%Y-%m}") for day in _firsts(first, last))


def _dekads(first: int, last: int) -> Iterator[tuple[date, str]]:
    return (
        (day.replace(day=10 * part + 1), f"{day:%Y-%m}-D{part + 1}")
        for day in _firsts(first, last)
        for part in range(3)
    )


def _quarters(first: int, last: int) -> Iterator[tuple[date, str]]:
    return (
        (day, f"{day.year}-Q{day.month // 3 + 1}")
        for day in _firsts(first, last)
        if day.month % 3 == 1
    )


def _seasons(first: int, last: int) -> Iterator[tuple[date, str]]:
    return (
        (day, f"{day.year + (day.month == 12)}-{_SEASONS[day.month]}")
        for day in _firsts(first, last)
        if day.month in _SEASONS
    )


def _years(first: int, last: int) -> Iterator[tuple[date, str]]:
    return ((date(year, 1, 1), f"{year}") for year in range(first, last + 1))


_STARTS: Mapping[str, Callable[[int, int], Iterator[tuple[date, str]]]] = {
    "dekad": _dekads,
    "month": _months,
    "quarter": _quarters,
    "season": _seasons,
    "year": _years,
}
"""The first days and labels of all time steps of some years."""

EVERY = (*_STARTS, "period", "N days")
"""All that `periods` knows."""
