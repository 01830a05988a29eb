"""Mean and covariance of all bands and dates over a whole area, tile by tile."""

import numpy as np
from numpy.typing import NDArray

from earthloom.cube.store import Cube
from earthloom.errors import DataError
from earthloom.grid import cover
from earthloom.sample import JointSums, Layer, Moments, Shape2d

TILE = 600
"""Base pixels, both ways, that are summed at a time."""


def moments_of(cube: Cube) -> Moments:
    """The joint moments of every band on every date.

    All layers are brought to the coarsest of their grids by the mean of valid pixels; what was not
    seen in every layer on every date is left out. DataError if nothing was.
    """
    coarsest = max(spec.factor for spec in cube.specs.values())
    size = sum(len(spec.dates) * len(spec.bands) for spec in cube.specs.values())
    sums = JointSums(size)
    for tile in cover(cube.shape, TILE // coarsest * coarsest):
        layers = cube.window(tile).values()
        values = np.concatenate([_variables(layer, coarsest) for layer in layers])
        sums.add(values[:, ~np.isnan(values).any(axis=0)])
    if sums.count < 2:
        raise DataError(
            "no pixel was seen in every layer on every date, so the dates cannot be compared; "
            "choose clearer dates"
        )
    mean, covariance = sums.moments()
    return Moments(mean.astype(np.float32), covariance.astype(np.float32))


def _variables(layer: Layer, coarsest: int) -> NDArray[np.float64]:
    """(T * C, pixels) on the coarsest grid; NaN where any part of a pixel was not seen."""
    pixels = layer.pixels.astype(np.float64)
    times, bands, rows, cols = pixels.shape
    step = coarsest // layer.spec.factor
    shape = Shape2d(rows // step, cols // step)
    pooled = pixels.reshape(times, bands, shape.rows, step, shape.cols, step).mean(axis=(3, 5))
    flat: NDArray[np.float64] = pooled.reshape(times * bands, -1)
    return flat
