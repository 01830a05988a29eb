"""How the predictions of windows that overlap become one.

Along an axis each window has a weight at each pixel; at every pixel the weights of all windows sum
to one, at the map's own borders too. A pixel's weight in a window is the product of those along the
two axes, so these sum to one as well.
"""

from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.maps.tiling import Axis

_FINISHED = 32
"""Rows that are divided at a time, few enough for a cache."""


@lru_cache(maxsize=16)
def weights_along(axis: Axis) -> tuple[NDArray[np.float32], ...]:
    """The weight of each pixel (size,) of each window of an axis.

    A weight is zero over the margin inside of a window's inner borders, rises linearly from there
    and is level in the middle. The map's own borders are not borders of this kind.
    """
    raw = [_trapezium(axis, window) for window in range(len(axis.starts))]
    total = np.zeros(axis.extent)
    for start, end, each in zip(axis.starts, axis.ends, raw, strict=True):
        total[start:end] += each
    return tuple(
        (each / total[start:end]).astype(np.float32)
        for start, end, each in zip(axis.starts, axis.ends, raw, strict=True)
    )


def _trapezium(axis: Axis, window: int) -> NDArray[np.float64]:
    """A window's weights before they are made to sum to one with those of the others."""
    size = axis.ends[window] - axis.starts[window]
    high = float(max(axis.ramp, 0) + 1)
    along = np.arange(size, dtype=np.float64)
    from_start = along + 1 - axis.margin if window > 0 else np.full(size, high)
    from_end = size - along - axis.margin if window < len(axis.starts) - 1 else np.full(size, high)
    raw: NDArray[np.float64] = np.clip(np.minimum(from_start, from_end), 0.0, high)
    return raw


class Sums:
    """Weighted sums over the windows of one row of windows, and what they keep of the next.

    What lies above the next row of windows is finished and leaves, so that memory does not grow
    with a part's height.
    """

    def __init__(self, planes: int, width: int) -> None:
        self.planes, self.width = planes, width
        self._sums = torch.zeros(planes + 1, 0, width)

    def reach(self, rows: int) -> None:
        """Makes room for so many rows from the first unfinished one on."""
        missing = rows - self._sums.shape[1]
        if missing > 0:
            more = torch.zeros(self.planes + 1, missing, self.width)
            self._sums = torch.cat([self._sums, more], dim=1)

    def add(self, col: int, shares: Tensor, weight: Tensor) -> None:
        """Adds a window (K, h, w) that begins in the first unfinished row, with the weight of each
        of its pixels (h, w). Where the first plane is NaN nothing was seen. `shares` is used up."""
        _, rows, cols = shares.shape
        seen = ~torch.isnan(shares[0])
        if not seen.all():
            weight = weight * seen
            shares.nan_to_num_(nan=0.0)
        place = self._sums[:, :rows, col : col + cols]
        place[:-1].addcmul_(shares, weight)
        place[-1].add_(weight)

    def leave(self, rows: int) -> NDArray[np.float32]:
        """(K + 1, rows, W): the sums of the first rows, then the weights; they leave."""
        finished, self._sums = self._sums[:, :rows], self._sums[:, rows:].clone()
        return finished.numpy()


def mean_of(sums: NDArray[np.float32]) -> NDArray[np.float32]:
    """(K, H, W) from sums and weights (K + 1, H, W); NaN where nothing was seen.

    It is written over the sums, a view of which is returned.
    """
    for row in range(0, sums.shape[1], _FINISHED):
        rows = sums[:, row : row + _FINISHED]
        weight = rows[-1]
        weight[weight == 0] = np.nan
        np.divide(rows[:-1], weight, out=rows[:-1])
    return sums[:-1]
