"""How far the label of a chip tells its neighbours': an empirical variogram and its range."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from earthloom.chips.footprints import Footprints, arc_m

_ANCHORS = 500
_OTHERS = 4000
_NEAREST = 8
_BINS = 24
_LEAST_PAIRS = 30
_RANGES = 80
_STRUCTURE = 0.1
"""Part of the variance that must depend on distance, below which no range is told."""


@dataclass(frozen=True)
class Variogram:
    """Half the mean squared difference of labels by the distance between chips."""

    lags_m: NDArray[np.float64]
    """(B,) mean distance of the centres in each class of distance."""
    gamma: NDArray[np.float64]
    """(B,) semivariance, summed over the classes' shares of a chip."""
    pairs: NDArray[np.int64]
    """(B,) pairs of chips."""
    range_m: float | None
    """Distance from which on labels differ as much as anywhere; None where they do everywhere, or
    where too few chips are labelled to tell."""
    reached: bool
    """False where labels become less alike up to the greatest distance: the range is longer."""


def label_variogram(
    places: Footprints, histograms: NDArray[np.integer], random: np.random.Generator
) -> Variogram:
    """Of the class shares of chips (n, K) about a random choice of them; unlabelled ones are out.

    Matheron (1963), "Principles of geostatistics", Economic Geology 58, with the indicator of each
    class weighted by its share. The range is that of a spherical model with a nugget, fitted by
    least squares: what Valavi et al. (2019), "blockCV", Methods in Ecology and Evolution 10, take
    for the size of blocks. Distances go up to half the extent, as is usual.
    """
    totals = histograms.sum(axis=1)
    rows = np.flatnonzero(totals > 0)
    shares = histograms[rows] / totals[rows, None]
    first, second = _pairs(places.centres[rows], random)
    apart = arc_m(places.centres[rows][first], places.centres[rows][second])
    differ = ((shares[first] - shares[second]) ** 2).sum(axis=1) / 2
    lags, gamma, pairs = _binned(apart, differ)
    found, reached = _fitted_range(lags, gamma)
    return Variogram(lags, gamma, pairs, found, reached)


def _pairs(
    centres: NDArray[np.float64], random: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Chips drawn as anchors, each with its nearest neighbours and with a draw of all chips."""
    count = len(centres)
    if count < 2:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    order = np.argsort(random.random(count), kind="stable")
    anchors = order[:_ANCHORS]
    others = np.argsort(random.random(count), kind="stable")[:_OTHERS]
    _, beside = cKDTree(centres).query(centres[anchors], k=min(_NEAREST + 1, count))
    first = np.concatenate(
        [np.repeat(anchors, others.size), np.repeat(anchors, beside.shape[1])]
    ).astype(np.int64)
    second = np.concatenate([np.tile(others, anchors.size), beside.reshape(-1)]).astype(np.int64)
    differs = first != second
    return first[differs], second[differs]


def _binned(
    apart: NDArray[np.float64], differ: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    """Means in classes of distance whose bounds grow evenly in proportion."""
    none = np.empty(0)
    positive = apart[apart > 1.0]  # The same place at another date tells nothing of distance.
    if len(positive) < _LEAST_PAIRS or positive.max() / 2 <= positive.min():
        return none, none, np.empty(0, np.int64)
    edges = np.geomspace(positive.min(), positive.max() / 2, _BINS + 1)
    number = np.searchsorted(edges, apart, "right") - 1
    number[(apart <= 1.0) | (apart > edges[-1])] = -1
    number = np.minimum(number, _BINS - 1)
    inside = number >= 0
    pairs = np.bincount(number[inside], minlength=_BINS)
    kept = pairs >= _LEAST_PAIRS
    lags = np.bincount(number[inside], apart[inside], _BINS)[kept] / pairs[kept]
    gamma = np.bincount(number[inside], differ[inside], _BINS)[kept] / pairs[kept]
    return lags, gamma, pairs[kept].astype(np.int64)


def _fitted_range(
    lags: NDArray[np.float64], gamma: NDArray[np.float64]
) -> tuple[float | None, bool]:
    """The range of the spherical model that fits best, and whether it is within the distances."""
    if len(lags) < 4:
        return None, True
    best = (np.inf, 0.0, 0.0, 0.0)
    for length in np.geomspace(lags[0], 2 * lags[-1], _RANGES).tolist():
        part = np.minimum(lags / length, 1.0)
        nugget, sill = _line(1.5 * part - 0.5 * part**3, gamma)
        error = float(((nugget + sill * (1.5 * part - 0.5 * part**3) - gamma) ** 2).sum())
        best = min(best, (error, length, nugget, sill))
    _, length, nugget, sill = best
    if sill <= _STRUCTURE * (nugget + sill):
        return None, True
    return min(length, float(lags[-1])), length <= lags[-1]


def _line(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float]:
    """Offset and slope, neither below 0, that fit best."""
    spread = float(((x - x.mean()) ** 2).sum())
    slope = float(((x - x.mean()) * (y - y.mean())).sum()) / spread if spread > 0 else 0.0
    offset = float(y.mean() - slope * x.mean())
    if slope < 0:
        return float(y.mean()), 0.0
    if offset < 0:
        return 0.0, float((x * y).sum() / (x * x).sum())
    return offset, slope
