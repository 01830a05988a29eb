"""Several observations of a time step to one: pure functions of arrays."""

import numpy as np
from numpy.typing import NDArray

from earthloom.cube.kernels import median_f32


def composite(
    stack: NDArray[np.float32], method: str
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """One image from N observations (N, C, H, W), in which NaN marks what was not seen.

    Returns the image (C, H, W), NaN where nothing was seen, and how many observations each pixel
    had (H, W). An observation counts where all its bands are there. The median of an even number
    is the mean of the middle two. The order of the observations does not matter.
    """
    if method == "median":
        return median_f32(stack)
    seen = np.asarray(~np.isnan(stack).any(axis=1), np.bool_)
    count = seen.sum(axis=0)
    image = _mean(stack, seen, count) if method == "mean" else _newest(stack, seen, count)
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
