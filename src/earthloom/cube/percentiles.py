"""Any percentiles of a pixel's observations, by the sorting networks of `kernels`."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earthloom.cube.compiled import compiled
from earthloom.cube.kernels import BLOCK, fill, find, full_networks, seen_in, sort
from earthloom.errors import DataError


def percentiles(
    stack: NDArray[np.float32], wanted: Sequence[float]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Percentiles (0 to 100) of each band over N observations (N, C, H, W), NaN where not seen.

    Between two observations values are interpolated linearly, as numpy does (Hyndman and Fan 1996,
    type 7). Returns (percentiles, C, H, W), NaN where nothing was seen, and how many observations
    each pixel had (H, W). DataError for a percentile that is none.
    """
    for percent in wanted:
        if not 0 <= percent <= 100:
            raise DataError(f"{percent} is not a percentile; they are from 0 to 100")
    number, bands, rows, cols = stack.shape
    seen = seen_in(stack).reshape(number, rows * cols)
    images = np.empty((len(wanted), bands, rows * cols), np.float32)
    count = np.empty(rows * cols, np.uint8)
    flat = np.ascontiguousarray(stack, np.float32).reshape(number, bands, rows * cols)
    steps, ends = full_networks(number)
    _percentiles(flat, seen, np.array(wanted, np.float64), steps, ends, images, count)
    return images.reshape(len(wanted), bands, rows, cols), count.reshape(rows, cols)


@compiled
def _percentiles(
    stack: NDArray[np.float32],
    seen: NDArray[np.bool_],
    wanted: NDArray[np.float64],
    steps: NDArray[np.int16],
    ends: NDArray[np.int32],
    images: NDArray[np.float32],
    count: NDArray[np.uint8],
) -> None:
    number, bands, pixels = stack.shape
    values = np.empty((number, BLOCK), np.float32)
    counted = np.empty(BLOCK, np.int32)
    present = np.empty(number, np.int64)
    for start in range(0, pixels, BLOCK):
        width = min(BLOCK, pixels - start)
        found = find(seen, start, width, present, counted)
        for x in range(width):
            count[start + x] = min(counted[x], 255)
        pairs = steps[ends[max(found - 1, 0)] : ends[found]]
        for band in range(bands):
            fill(stack, seen, band, start, width, present, found, np.float32(np.inf), values)
            sort(values, pairs, width)
            for i in range(len(wanted)):
                _between(values, counted, wanted[i], width, images[i, band, start : start + width])


@compiled
def _between(
    values: NDArray[Any],
    counted: NDArray[np.int32],
    percent: float,
    width: int,
    image: NDArray[np.float32],
) -> None:
    for x in range(width):
        if counted[x] == 0:
            image[x] = np.nan
            continue
        place = percent / 100 * (counted[x] - 1)
        below = int(place)
        above = min(below + 1, counted[x] - 1)
        low, high = np.float64(values[below, x]), np.float64(values[above, x])
        image[x] = low + (high - low) * (place - below)
