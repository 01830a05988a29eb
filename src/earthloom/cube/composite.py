"""Several observations of a time step to one: pure functions of arrays."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

_NETWORK_LIMIT = 24
"""Above so many observations numpy's sort is faster than a network of neighbours."""


def composite(
    stack: NDArray[np.float32], method: Literal["median", "mean", "newest"]
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """One image from N observations (N, C, H, W), in which NaN marks what was not seen.

    Returns the image (C, H, W), NaN where nothing was seen, and how many observations each pixel
    had (H, W). An observation counts where all its bands are there. The median of an even number
    is the mean of the middle two. The order of the observations does not matter.
    """
    _, bands, rows, cols = stack.shape
    seen = np.asarray(~np.isnan(stack).any(axis=1), np.bool_)
    count = seen.sum(axis=0)
    if not count.any():
        return np.full((bands, rows, cols), np.nan, np.float32), count.astype(np.uint8)
    reduce = {"mean": _mean, "median": _median, "newest": _newest}[method]
    image = reduce(stack, seen, count)
    return image, np.minimum(count, 255).astype(np.uint8)


def _mean(
    stack: NDArray[np.float32], seen: NDArray[np.bool_], count: NDArray[np.intp]
) -> NDArray[np.float32]:
    total = np.where(seen[:, None], stack, 0).sum(axis=0, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        mean: NDArray[np.float32] = np.divide(total, count).astype(np.float32)
    return mean


def _newest(
    stack: NDArray[np.float32], seen: NDArray[np.bool_], count: NDArray[np.intp]
) -> NDArray[np.float32]:
    """The last observation that was seen; observations stand in the order of their times."""
    last = len(stack) - 1 - np.argmax(seen[::-1], axis=0)
    image: NDArray[np.float32] = np.take_along_axis(stack, last[None, None], axis=0)[0]
    image[:, count == 0] = np.nan
    return image


def _median(
    stack: NDArray[np.float32], seen: NDArray[np.bool_], count: NDArray[np.intp]
) -> NDArray[np.float32]:
    middle: NDArray[np.float32]
    ordered = _sorted_in_time(np.where(seen[:, None], stack, np.float32(np.inf)))
    lower = np.maximum(count - 1, 0) // 2
    upper = np.minimum(count // 2, len(stack) - 1)
    low = np.take_along_axis(ordered, lower[None, None], axis=0)[0]
    high = np.take_along_axis(ordered, upper[None, None], axis=0)[0]
    middle = (low + high) * np.float32(0.5)
    middle[:, count == 0] = np.nan
    return middle


def _sorted_in_time(stack: NDArray[np.float32]) -> NDArray[np.float32]:
    """Ascending along axis 0, in place.

    Few observations are sorted by odd-even transposition of whole images, which streams through
    memory where numpy would gather one pixel's values at a time.
    """
    length = len(stack)
    if length > _NETWORK_LIMIT:
        stack.sort(axis=0)
        return stack
    for turn in range(length):
        for first in range(turn % 2, length - 1, 2):
            low = np.minimum(stack[first], stack[first + 1])
            np.maximum(stack[first], stack[first + 1], out=stack[first + 1])
            stack[first] = low
    return stack
