"""Irregular dates to a regular series, pixel by pixel: interpolation and Whittaker's smoother.

Series are (T, ...) in the order of their days, with `valid` of the same shape, or (T, H, W) for
values (T, C, H, W). What is not valid plays no part, whatever its value; observations of
one day are averaged first. The order of the pixels plays no part.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import earthloom.cube.series_kernels as kernels
from earthloom.errors import DataError

Interpolation = Literal["linear", "nearest", "akima"]
_CODES = {"nearest": 0, "linear": 1, "akima": 2}

Days = Sequence[float] | NDArray[np.integer] | NDArray[np.floating]

SMOOTHINGS = tuple(10.0 ** (k / 2) for k in range(2, 17))
"""From 10, which follows each observation, to 1e8, which is nearly a straight line a year."""


@dataclass(frozen=True)
class Reach:
    """How far from its observations a series is believed; beyond, it is NaN."""

    most_gap_days: float = np.inf
    """Between two observations further apart than this nothing is known, but on their own days."""
    hold_days: float = 0.0
    """Before the first and after the last observation their values are held for so many days."""


def middles(bounds: NDArray[np.integer]) -> NDArray[np.int32]:
    """The middle days (S,) of time steps (S, 2) of a first day and the day after the last, as a
    cube's `time_bounds` have them."""
    middle: NDArray[np.int32] = ((bounds[:, 0] + bounds[:, 1] - 1) // 2).astype(np.int32)
    return middle


def regular(
    values: NDArray[np.float32],
    valid: NDArray[np.bool_],
    days: Days,
    target_days: Days,
    method: Interpolation = "linear",
    reach: Reach = Reach(),
) -> NDArray[np.float32]:
    """Values (S, ...) at some days from those (T, ...) at others.

    `linear` between the observations around, the `nearest` of them (the earlier of two), or the
    cubic pieces of Akima (1970), which do not overshoot as splines do. NaN where `reach` says that
    nothing is known. DataError where days descend or shapes do not fit.
    """
    flat, shown, when = _flat(values, valid, days)
    wanted = np.asarray(target_days, np.float64)
    order = np.argsort(wanted, kind="stable")
    out = np.empty((len(wanted), flat.shape[1]), np.float32)
    kernels.interpolate(
        flat,
        shown,
        when,
        wanted[order],
        _CODES[method],
        reach.most_gap_days,
        reach.hold_days,
        out,
    )
    return _unordered(out, order).reshape(len(wanted), *values.shape[1:])


def whittaker(
    values: NDArray[np.float32],
    valid: NDArray[np.bool_],
    days: Days,
    target_days: Days,
    smoothing: float | NDArray[np.floating] = 1e4,
    envelope: int = 0,
    reach: Reach = Reach(),
) -> NDArray[np.float32]:
    """A smooth series (S, ...) at some days through observations (T, ...) at others.

    The smoother of Whittaker (1923) as Eilers (2003) has it, on the days of observations and
    targets together: the sum of squares to the observations plus `smoothing` times the integral of
    the squared second derivative, by divided differences. `smoothing` is in days cubed, the
    penalty's weight on a daily grid (on one of h days the same curve has it over h cubed); one for
    all, or one a pixel (...), see `v_curve`. Straight lines are kept. Above 1e9 digits are lost.

    `envelope`: so often observations below the curve are lifted onto it and the curve is made
    again, so that it follows the upper edge (Atzberger and Eilers 2011), as suits NDVI that clouds
    lower. Fewer than two observations of a pixel make no curve: NaN. Otherwise as `regular`.
    """
    flat, shown, when = _flat(values, valid, days)
    wanted = np.asarray(target_days, np.float64)
    nodes = np.unique(np.concatenate([when, wanted]))
    amount = np.broadcast_to(np.asarray(smoothing, np.float64), values.shape[1:]).reshape(-1)
    if not (amount > 0).all():
        raise DataError(f"smoothing must be above 0, not {amount.min():g}")
    out = np.empty((len(wanted), flat.shape[1]), np.float32)
    kernels.smooth(
        flat,
        shown,
        np.searchsorted(nodes, when),
        np.searchsorted(nodes, wanted),
        _penalty(nodes),
        np.ascontiguousarray(amount),
        envelope,
        out,
    )
    order = np.argsort(wanted, kind="stable")
    known = np.empty_like(out)
    far, held = reach.most_gap_days, reach.hold_days
    kernels.interpolate(flat, shown, when, wanted[order], 0, far, held, known)
    out[np.isnan(_unordered(known, order))] = np.nan
    out[:, shown.sum(axis=0) < 2] = np.nan
    return out.reshape(len(wanted), *values.shape[1:])


def v_curve(
    values: NDArray[np.float32],
    valid: NDArray[np.bool_],
    days: Days,
    candidates: Sequence[float] = SMOOTHINGS,
) -> NDArray[np.float32]:
    """The smoothing of each pixel (...) by the V-curve of Frasso and Eilers (2015).

    It is where misfit and roughness, both in logarithms, change least from one candidate to the
    next: between two of them, their geometric mean. Errors that go together from date to date do
    not mislead it, as they do cross-validation. NaN where a pixel has fewer than four observations.
    """
    flat, shown, when = _flat(values, valid, days)
    amounts = np.asarray(candidates, np.float64)
    if len(amounts) < 2 or not (amounts > 0).all() or not (np.diff(amounts) > 0).all():
        raise DataError("candidates for smoothing must be two or more, above 0 and ascending")
    chosen = np.empty(flat.shape[1], np.float32)
    kernels.v_curve(flat, shown, _penalty(when), amounts, chosen)
    chosen[shown.sum(axis=0) < 4] = np.nan
    return chosen.reshape(values.shape[1:])


def _flat(
    values: NDArray[np.float32], valid: NDArray[np.bool_], days: Days
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64]]:
    """Values (T, P), which of them are valid (T, P), and days (T,), all contiguous."""
    when = np.asarray(days, np.float64)
    shown = valid
    if valid.ndim == values.ndim - 1 and values.ndim == 4:
        shown = np.broadcast_to(valid[:, None], values.shape)
    if shown.shape != values.shape or when.shape != values.shape[:1]:
        raise DataError(
            f"values {values.shape}, valid {valid.shape} and days {when.shape} do not fit together"
        )
    if not (np.diff(when) >= 0).all():
        raise DataError("the days of a series must ascend")
    flat = np.ascontiguousarray(values, np.float32).reshape(len(when), -1)
    return _once_a_day(flat, np.ascontiguousarray(shown).reshape(len(when), -1), when)


def _once_a_day(
    values: NDArray[np.float32], valid: NDArray[np.bool_], days: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float64]]:
    """Means of what was observed on the same day, as where two tiles of an orbit overlap."""
    once, first = np.unique(days, return_index=True)
    if len(once) == len(days):
        return values, valid, days
    number = np.add.reduceat(valid, first, axis=0, dtype=np.float32)
    total = np.add.reduceat(np.where(valid, values, np.float32(0)), first, axis=0)
    mean: NDArray[np.float32] = (total / np.maximum(number, 1)).astype(np.float32)
    return mean, number > 0, once


def _unordered(out: NDArray[np.float32], order: NDArray[np.intp]) -> NDArray[np.float32]:
    """Rows as they were before they were put in order."""
    back = np.empty_like(out)
    back[order] = out
    return back


def _penalty(nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The integral of the squared second derivative of a curve through nodes, as a symmetric band
    matrix: (nodes, 3), its diagonal and the two beside it."""
    bands = np.zeros((len(nodes), 3))
    for i in range(len(nodes) - 2):
        before, after = nodes[i + 1] - nodes[i], nodes[i + 2] - nodes[i + 1]
        both = before + after
        row = 2 * np.array([1 / (before * both), -1 / (before * after), 1 / (after * both)])
        for j in range(3):
            for k in range(j, 3):
                bands[i + j, k - j] += both / 2 * row[j] * row[k]
    return bands
