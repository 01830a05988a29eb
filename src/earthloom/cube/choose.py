"""One of a pixel's observations, or the middle of all its bands together: loops over pixels.

Stacks are (N, C, P) float32, `seen` (N, P), images (C, P): P pixels of any shape. Of two equally
good observations the darker in the first band that differs is taken, so that the order of the
dates plays no part.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from earthloom.cube.compiled import compiled

_TIE = 1e-9
"""Two sums of distances are equal if they differ by less than this share."""


@compiled
def gather(
    stack: NDArray[np.float32], seen: NDArray[np.bool_], x: int, values: NDArray[Any]
) -> int:
    """Puts what was seen of pixel x into values (N, C) from the top; returns how many there are."""
    found = 0
    for n in range(stack.shape[0]):
        if seen[n, x]:
            for band in range(stack.shape[1]):
                values[found, band] = stack[n, band, x]
            found += 1
    return found


@compiled
def _distance(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    total = 0.0
    for band in range(len(first)):
        gap = first[band] - second[band]
        total += gap * gap
    return float(np.sqrt(total))


@compiled
def _darker(first: NDArray[np.float64], second: NDArray[np.float64]) -> bool:
    for band in range(len(first)):
        if first[band] != second[band]:
            return bool(first[band] < second[band])
    return False


@compiled
def _least(cost: NDArray[np.float64], values: NDArray[np.float64], found: int) -> int:
    """The row of least cost; the darker one of equals."""
    best = 0
    for i in range(1, found):
        tie = _TIE * max(abs(cost[i]), abs(cost[best]))
        if cost[i] < cost[best] - tie or (
            cost[i] <= cost[best] + tie and _darker(values[i], values[best])
        ):
            best = i
    return best


@compiled
def medoid(stack: NDArray[np.float32], seen: NDArray[np.bool_], image: NDArray[np.float32]) -> None:
    """The observation with the least sum of distances to all others."""
    number, bands, pixels = stack.shape
    values = np.empty((number, bands), np.float64)
    cost = np.empty(number, np.float64)
    for x in range(pixels):
        found = gather(stack, seen, x, values)
        cost[:found] = 0
        for i in range(found):
            for j in range(i):
                gap = _distance(values[i], values[j])
                cost[i] += gap
                cost[j] += gap
        best = _least(cost, values, found)
        for band in range(bands):
            image[band, x] = values[best, band] if found else np.nan


@compiled
def nearest_to(
    stack: NDArray[np.float32],
    seen: NDArray[np.bool_],
    target: NDArray[np.float32],
    image: NDArray[np.float32],
) -> None:
    """The observation with the least distance to a target (C, P)."""
    number, bands, pixels = stack.shape
    values = np.empty((number, bands), np.float64)
    wanted = np.empty(bands, np.float64)
    cost = np.empty(number, np.float64)
    for x in range(pixels):
        found = gather(stack, seen, x, values)
        for band in range(bands):
            wanted[band] = target[band, x]
        for i in range(found):
            cost[i] = _distance(values[i], wanted)
        best = _least(cost, values, found)
        for band in range(bands):
            image[band, x] = values[best, band] if found else np.nan


@compiled
def greatest(
    stack: NDArray[np.float32],
    seen: NDArray[np.bool_],
    score: NDArray[np.float32],
    image: NDArray[np.float32],
) -> None:
    """The observation with the greatest score (N, P)."""
    number, bands, pixels = stack.shape
    values = np.empty((number, bands), np.float64)
    cost = np.empty(number, np.float64)
    for x in range(pixels):
        found = gather(stack, seen, x, values)
        place = 0
        for n in range(number):
            if seen[n, x]:
                cost[place] = -score[n, x]
                place += 1
        best = _least(cost, values, found)
        for band in range(bands):
            image[band, x] = values[best, band] if found else np.nan


@compiled
def geometric_median(
    stack: NDArray[np.float32],
    seen: NDArray[np.bool_],
    tolerance: float,
    most: int,
    image: NDArray[np.float32],
) -> None:
    """The point with the least sum of distances to all observations.

    Iterates until a step is shorter than `tolerance` times the mean distance, `most` times at the
    most.
    """
    number, bands, pixels = stack.shape
    values = np.empty((number, bands), np.float64)
    centre, ahead = np.empty(bands, np.float64), np.empty(bands, np.float64)
    for x in range(pixels):
        found = gather(stack, seen, x, values)
        if found == 0:
            image[:, x] = np.nan
            continue
        centre[:] = 0
        for i in range(found):
            for band in range(bands):
                centre[band] += values[i, band] / found
        spread = 0.0
        for i in range(found):
            spread += _distance(values[i], centre) / found
        if found > 2 and spread > 0:
            for _ in range(most):
                if _weiszfeld(values, found, spread, centre, ahead) <= tolerance * spread:
                    break
        for band in range(bands):
            image[band, x] = centre[band]


@compiled
def _weiszfeld(
    values: NDArray[np.float64],
    found: int,
    spread: float,
    centre: NDArray[np.float64],
    ahead: NDArray[np.float64],
) -> float:
    """One step of Weiszfeld (1937), as Vardi and Zhang (2000) mend it where the centre stands on an
    observation; moves `centre` and returns how far."""
    ahead[:] = 0
    weights, here = 0.0, 0
    for i in range(found):
        gap = _distance(values[i], centre)
        if gap <= 1e-12 * spread:
            here += 1
            continue
        weights += 1 / gap
        for band in range(len(centre)):
            ahead[band] += values[i, band] / gap
    if weights == 0:
        return 0.0
    for band in range(len(centre)):
        ahead[band] /= weights
    pull = weights * _distance(ahead, centre)
    stay = 0.0
    if here:
        stay = min(1.0, here / pull) if pull > 0 else 1.0
    moved = (1 - stay) * _distance(ahead, centre)
    for band in range(len(centre)):
        centre[band] += (1 - stay) * (ahead[band] - centre[band])
    return float(moved)
