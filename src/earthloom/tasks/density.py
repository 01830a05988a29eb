"""Things as densities: images whose sum is how many there are (Lempitsky and Zisserman 2010)."""

import numpy as np
from numpy.typing import NDArray

from earthloom.sample import Shape2d
from earthloom.sample.target import Boxes, Instances

_REACH = 4.0
"""Standard deviations after which a kernel is cut."""


def density_of(
    centres: NDArray[np.float64], planes: NDArray[np.intp], shape: Shape2d, count: int, sigma: float
) -> NDArray[np.float32]:
    """(K, H, W) things per pixel, K = `count`: a Gaussian kernel for each thing.

    `centres` (N, 2) are x and y in pixels from the upper left corner of the image, `planes` (N,)
    the plane of each, `sigma` pixels of standard deviation. A kernel that reaches over the border
    keeps its mass: all of it lies inside. A thing whose centre is outside is not in the image.
    """
    density = np.zeros((count, *shape), np.float64)
    for (x, y), plane in zip(centres, planes, strict=True):
        if not (0 <= x <= shape.cols and 0 <= y <= shape.rows):
            continue
        rows, down = _along(y, shape.rows, sigma)
        cols, across = _along(x, shape.cols, sigma)
        density[plane, rows, cols] += np.outer(down, across)
    return density.astype(np.float32)


def _along(centre: float, length: int, sigma: float) -> tuple[slice, NDArray[np.float64]]:
    """Where along an axis a kernel lies, and its weights there, which sum to one."""
    reach = max(_REACH * sigma, 1.0)
    first = max(int(np.floor(centre - reach)), 0)
    last = min(int(np.ceil(centre + reach)), length)
    away = (np.arange(first, last) + 0.5 - centre) / sigma
    # Less the least, so that the narrowest kernel has one pixel at least that is not 0.
    weights = np.exp(-0.5 * (away**2 - (away**2).min()))
    return slice(first, last), weights / weights.sum()


def centres_of(target: Boxes | Instances) -> NDArray[np.float64]:
    """(N, 2) x and y of each thing: the mean of a box's corners, of a thing's pixels, or of the
    area of its rings."""
    if isinstance(target, Boxes):
        return np.asarray(target.corners.mean(axis=1, dtype=np.float64))
    if target.ids is not None:
        return _centres_of_ids(target.ids, len(target.codes))
    assert target.polygons is not None
    centres = [_centre_of_rings(rings) for rings in target.polygons]
    return np.array(centres, np.float64).reshape(-1, 2)


def _centres_of_ids(ids: NDArray[np.int32], count: int) -> NDArray[np.float64]:
    """The mean place of each thing's pixels; NaN, which is outside, for one without pixels."""
    rows, cols = np.nonzero(ids)
    number = ids[rows, cols] - 1
    pixels = np.bincount(number, minlength=count).astype(np.float64)
    pixels[pixels == 0] = np.nan
    x = np.bincount(number, cols + 0.5, count) / pixels
    y = np.bincount(number, rows + 0.5, count) / pixels
    return np.stack([x, y], axis=-1)


def _centre_of_rings(rings: tuple[NDArray[np.float32], ...]) -> NDArray[np.float64]:
    """The centroid of the area of all rings; the mean of the corners where that is 0."""
    areas, moments = [], []
    for ring in rings:
        here = ring.astype(np.float64)
        origin = here.mean(axis=0)
        a = here - origin
        b = np.roll(a, -1, axis=0)
        cross = a[:, 0] * b[:, 1] - b[:, 0] * a[:, 1]
        area = cross.sum() / 2
        inside = ((a + b) * cross[:, None]).sum(axis=0) / (6 * area) if area else 0.0
        areas.append(abs(area))
        moments.append(origin + inside)
    if not sum(areas):
        return np.asarray(np.concatenate(rings).mean(axis=0, dtype=np.float64))
    centre: NDArray[np.float64] = np.average(moments, axis=0, weights=areas)
    return centre
