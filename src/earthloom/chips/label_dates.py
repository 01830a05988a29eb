"""Dates of labels: days, months, years and periods as days since 1970-01-01."""

import calendar
import re
from datetime import date
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

EVER = (np.iinfo(np.int32).min, np.iinfo(np.int32).max)
"""The days of a label without any date: it counts at all times."""

_PARTS = re.compile(r"(\d{4})(?:-?(\d{2})(?:-?(\d{2})(?:[T ].*)?)?)?")
_EPOCH = date(1970, 1, 1).toordinal()


class Period(NamedTuple):
    """Days since 1970-01-01, both included."""

    first: int
    last: int


def parse_period(value: object) -> Period | None:
    """`2023`, `2023-05`, `2023-05-01`, `2023-05/2023-07`, or a date of pandas; None for others."""
    if isinstance(value, float) and not value.is_integer():
        return None
    if isinstance(value, float):
        value = int(value)
    parts = str(value).strip().split("/")
    if len(parts) > 2:
        return None
    spans = [_span(part.strip()) for part in parts]
    first, last = spans[0], spans[-1]
    if first is None or last is None or first.first > last.last:
        return None
    return Period(first.first, last.last)


def days_of(
    first: pd.Series, last: pd.Series | None
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
    """First and last day (N,) of each label, and which of them can be read.

    `last` is the column of last days, where `first` does not hold whole periods.
    """
    begin, end, good = _column(first)
    if last is None:
        return begin, end, good
    _, end, readable = _column(last)
    return begin, end, good & readable & (begin <= end)


def _column(
    column: pd.Series,
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.bool_]]:
    # Files repeat few dates many times: each is read once.
    positions, values = pd.factorize(column)
    periods = [parse_period(value) for value in values]
    # The last row stands for what is missing, whose position is -1.
    table = np.array([*(each or (0, 0) for each in periods), (0, 0)], np.int32)
    good = np.array([*(each is not None for each in periods), False], np.bool_)
    return table[positions, 0], table[positions, 1], good[positions]


def _span(text: str) -> Period | None:
    found = _PARTS.fullmatch(text)
    if not found:
        return None
    year, month, day = (int(part) if part else None for part in found.groups())
    assert year is not None
    try:
        first = date(year, month or 1, day or 1)
        last_month = month or 12
        last = date(year, last_month, day or calendar.monthrange(year, last_month)[1])
    except ValueError:
        return None
    return Period(first.toordinal() - _EPOCH, last.toordinal() - _EPOCH)
