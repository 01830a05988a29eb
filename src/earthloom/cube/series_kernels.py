"""The loops of `series`, compiled: series (T, P) of P pixels, days ascending."""

import numpy as np
from numpy.typing import NDArray

from earthloom.cube.compiled import compiled

_BLOCK = 64
"""Pixels that are smoothed together, each step a vector instruction over them."""


@compiled
def interpolate(
    values: NDArray[np.float32],
    valid: NDArray[np.bool_],
    days: NDArray[np.float64],
    targets: NDArray[np.float64],
    method: int,
    most_gap: float,
    hold: float,
    out: NDArray[np.float32],
) -> None:
    """Fills out (S, P) at ascending targets; methods 0 nearest, 1 linear, 2 Akima's."""
    times, pixels = values.shape
    when, known = np.empty(times), np.empty(times)
    slopes = np.empty(times)
    for x in range(pixels):
        found = 0
        for t in range(times):
            if valid[t, x]:
                when[found], known[found] = days[t], values[t, x]
                found += 1
        if method == 2:
            _akima_slopes(when, known, found, slopes)
        after = 0
        for s in range(len(targets)):
            day = targets[s]
            while after < found and when[after] < day:
                after += 1
            # `after` is the first observation on that day or later.
            if after < found and when[after] == day:
                out[s, x] = known[after]
            elif found == 0 or (after == 0 and when[0] - day > hold):
                out[s, x] = np.nan
            elif after == 0:
                out[s, x] = known[0]
            elif after == found:
                out[s, x] = known[found - 1] if day - when[found - 1] <= hold else np.nan
            elif when[after] - when[after - 1] > most_gap:
                out[s, x] = np.nan
            else:
                out[s, x] = _between(when, known, slopes, after, day, method)


@compiled
def _between(
    when: NDArray[np.float64],
    known: NDArray[np.float64],
    slopes: NDArray[np.float64],
    after: int,
    day: float,
    method: int,
) -> float:
    first, second = known[after - 1], known[after]
    gap = when[after] - when[after - 1]
    share = (day - when[after - 1]) / gap
    if method == 0:
        return float(first if share <= 0.5 else second)
    if method == 1:
        return float(first + share * (second - first))
    slope = (second - first) / gap
    left, right = slopes[after - 1], slopes[after]
    square = (3 * slope - 2 * left - right) * gap
    cube = (left + right - 2 * slope) * gap
    return float(first + share * (left * gap + share * (square + share * cube)))


@compiled
def _akima_slopes(
    when: NDArray[np.float64],
    known: NDArray[np.float64],
    found: int,
    slopes: NDArray[np.float64],
) -> None:
    """The derivative at each observation, from the five around (Akima 1970)."""
    if found < 2:
        return
    pieces = np.empty(found + 3)
    for i in range(found - 1):
        pieces[i + 2] = (known[i + 1] - known[i]) / (when[i + 1] - when[i])
    if found == 2:
        slopes[0] = slopes[1] = pieces[2]
        return
    pieces[1] = 2 * pieces[2] - pieces[3]
    pieces[0] = 2 * pieces[1] - pieces[2]
    pieces[found + 1] = 2 * pieces[found] - pieces[found - 1]
    pieces[found + 2] = 2 * pieces[found + 1] - pieces[found]
    greatest = 0.0
    for i in range(found):
        total = abs(pieces[i + 3] - pieces[i + 2]) + abs(pieces[i + 1] - pieces[i])
        greatest = max(greatest, total)
    for i in range(found):
        right, left = abs(pieces[i + 3] - pieces[i + 2]), abs(pieces[i + 1] - pieces[i])
        if right + left > 1e-9 * greatest:
            slopes[i] = (right * pieces[i + 1] + left * pieces[i + 2]) / (right + left)
        else:
            slopes[i] = 0.5 * (pieces[i + 1] + pieces[i + 2])


@compiled
def smooth(
    values: NDArray[np.float32],
    valid: NDArray[np.bool_],
    places: NDArray[np.int64],
    wanted: NDArray[np.int64],
    penalty: NDArray[np.float64],
    amounts: NDArray[np.float64],
    envelope: int,
    out: NDArray[np.float32],
) -> None:
    """Fills out (S, P), the nodes `wanted`, from observations at the nodes `places`."""
    times, pixels = values.shape
    nodes = len(penalty)
    observed, weight = np.empty((times, _BLOCK)), np.empty((nodes, _BLOCK))
    curve = np.empty((nodes, _BLOCK))
    factors = np.empty((3, nodes, _BLOCK))
    amount = np.ones(_BLOCK)
    for start in range(0, pixels, _BLOCK):
        width = min(_BLOCK, pixels - start)
        for x in range(width):
            amount[x] = amounts[start + x]
        _take(values, valid, places, start, width, observed, weight)
        _factorise(penalty, amount, weight, factors)
        _solve(factors, observed, weight, places, curve)
        for _ in range(envelope):
            for t in range(times):
                for x in range(_BLOCK):
                    observed[t, x] = max(observed[t, x], curve[places[t], x])
            _solve(factors, observed, weight, places, curve)
        for s in range(len(wanted)):
            for x in range(width):
                out[s, start + x] = curve[wanted[s], x]


@compiled
def v_curve(
    values: NDArray[np.float32],
    valid: NDArray[np.bool_],
    penalty: NDArray[np.float64],
    amounts: NDArray[np.float64],
    chosen: NDArray[np.float32],
) -> None:
    """Fills chosen (P,): the amount of smoothing where the V-curve is lowest."""
    times, pixels = values.shape
    places = np.arange(times)
    observed, weight = np.empty((times, _BLOCK)), np.empty((times, _BLOCK))
    curve, factors = np.empty((times, _BLOCK)), np.empty((3, times, _BLOCK))
    misfit, rough = np.empty((2, _BLOCK)), np.empty((2, _BLOCK))
    amount, best = np.empty(_BLOCK), np.empty(_BLOCK)
    for start in range(0, pixels, _BLOCK):
        width = min(_BLOCK, pixels - start)
        _take(values, valid, places, start, width, observed, weight)
        for x in range(_BLOCK):
            best[x] = np.inf
        for k in range(len(amounts)):
            for x in range(_BLOCK):
                amount[x] = amounts[k]
            _factorise(penalty, amount, weight, factors)
            _solve(factors, observed, weight, places, curve)
            _describe(penalty, observed, weight, curve, misfit[k % 2], rough[k % 2])
            if k == 0:
                continue
            step = np.log(amounts[k] / amounts[k - 1])
            between = np.sqrt(amounts[k] * amounts[k - 1])
            for x in range(width):
                across, down = misfit[1, x] - misfit[0, x], rough[1, x] - rough[0, x]
                height = np.sqrt(across * across + down * down) / step
                if height < best[x]:
                    best[x] = height
                    chosen[start + x] = between


@compiled
def _describe(
    penalty: NDArray[np.float64],
    observed: NDArray[np.float64],
    weight: NDArray[np.float64],
    curve: NDArray[np.float64],
    misfit: NDArray[np.float64],
    rough: NDArray[np.float64],
) -> None:
    """The logarithms of the squared residuals and of the integral of the squared curvature."""
    nodes = len(penalty)
    for x in range(_BLOCK):
        misfit[x] = 0.0
        rough[x] = 0.0
    for i in range(nodes):
        for x in range(_BLOCK):
            left = observed[i, x] - curve[i, x]
            misfit[x] += weight[i, x] * left * left
            rough[x] += penalty[i, 0] * curve[i, x] * curve[i, x]
            if i + 1 < nodes:
                rough[x] += 2 * penalty[i, 1] * curve[i, x] * curve[i + 1, x]
            if i + 2 < nodes:
                rough[x] += 2 * penalty[i, 2] * curve[i, x] * curve[i + 2, x]
    for x in range(_BLOCK):
        # A floor, for what is exact has no logarithm.
        misfit[x] = np.log(max(misfit[x], 1e-24))
        rough[x] = np.log(max(rough[x], 1e-24))


@compiled
def _take(
    values: NDArray[np.float32],
    valid: NDArray[np.bool_],
    places: NDArray[np.int64],
    start: int,
    width: int,
    observed: NDArray[np.float64],
    weight: NDArray[np.float64],
) -> None:
    """A block's observations (T, block) and the weights of its nodes; beyond `width` all are 1."""
    for i in range(len(weight)):
        for x in range(_BLOCK):
            weight[i, x] = 0.0 if x < width else 1.0
    for t in range(len(places)):
        for x in range(_BLOCK):
            observed[t, x] = 0.0
        for x in range(width):
            if valid[t, start + x]:
                observed[t, x] = values[t, start + x]
                weight[places[t], x] = 1.0


@compiled
def _factorise(
    penalty: NDArray[np.float64],
    amount: NDArray[np.float64],
    weight: NDArray[np.float64],
    factors: NDArray[np.float64],
) -> None:
    """Cholesky's method without roots, L D L', of a matrix with two bands beside its diagonal."""
    whole, beside, beyond = factors[0], factors[1], factors[2]
    for i in range(len(penalty)):
        for x in range(_BLOCK):
            pivot = weight[i, x] + amount[x] * penalty[i, 0]
            side = amount[x] * penalty[i, 1]
            if i > 0:
                pivot -= whole[i - 1, x] * beside[i - 1, x] * beside[i - 1, x]
                side -= whole[i - 1, x] * beside[i - 1, x] * beyond[i - 1, x]
            if i > 1:
                pivot -= whole[i - 2, x] * beyond[i - 2, x] * beyond[i - 2, x]
            whole[i, x] = pivot
            beside[i, x] = side / pivot
            beyond[i, x] = amount[x] * penalty[i, 2] / pivot


@compiled
def _solve(
    factors: NDArray[np.float64],
    observed: NDArray[np.float64],
    weight: NDArray[np.float64],
    places: NDArray[np.int64],
    curve: NDArray[np.float64],
) -> None:
    """The curve at all nodes."""
    whole, beside, beyond = factors[0], factors[1], factors[2]
    nodes = len(curve)
    for i in range(nodes):
        for x in range(_BLOCK):
            curve[i, x] = 0.0
    for t in range(len(places)):
        for x in range(_BLOCK):
            curve[places[t], x] = weight[places[t], x] * observed[t, x]
    for i in range(1, nodes):
        for x in range(_BLOCK):
            curve[i, x] -= beside[i - 1, x] * curve[i - 1, x]
            if i > 1:
                curve[i, x] -= beyond[i - 2, x] * curve[i - 2, x]
    for i in range(nodes - 1, -1, -1):
        for x in range(_BLOCK):
            curve[i, x] /= whole[i, x]
            if i + 1 < nodes:
                curve[i, x] -= beside[i, x] * curve[i + 1, x]
            if i + 2 < nodes:
                curve[i, x] -= beyond[i, x] * curve[i + 2, x]
