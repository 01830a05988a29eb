"""Change-vector analysis with an automatic threshold: the baseline that needs no labels."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import ContractError
from earthloom.sample import Layer

_BINS = 256


def change_by_vectors(layers: Iterable[Layer]) -> NDArray[np.bool_]:
    """(H, W) on the finest grid: True where the spectrum changed between the first and last date.

    Each band of each date is standardised over the image, the length of the difference is taken
    over all bands (Malila 1980), and its histogram is cut where Otsu (1979) cuts it.
    """
    layers = sorted(layers, key=lambda layer: layer.spec.factor)
    shape = layers[0].pixels.shape[-2:]
    squares = np.zeros(shape, np.float64)
    seen = np.ones(shape, np.bool_)
    for layer in layers:
        if len(layer.spec.dates) < 2:
            raise ContractError(
                f"change-vector analysis needs two dates; layer {layer.spec.key} has "
                f"{len(layer.spec.dates)}"
            )
        first, last = (_standardised(layer.pixels[time]) for time in (0, -1))
        factor = layer.spec.factor
        length = np.square(last - first).sum(axis=0)
        squares += length.repeat(factor, axis=0).repeat(factor, axis=1)
        both = layer.valid[0] & layer.valid[-1]
        seen &= both.repeat(factor, axis=0).repeat(factor, axis=1)
    magnitude = np.sqrt(np.where(seen, squares, np.nan))
    if not seen.any():
        return np.zeros(shape, np.bool_)
    changed: NDArray[np.bool_] = magnitude > otsu_threshold(magnitude[seen])
    return changed


def otsu_threshold(values: NDArray[np.float64]) -> float:
    """The cut between two groups of values that leaves them least spread within (Otsu 1979)."""
    counts, edges = np.histogram(values, bins=_BINS)
    centres = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    sums = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        gap = sums / below - (sums[-1] - sums) / above
    between = np.nan_to_num(below * above * np.square(gap), nan=0.0)
    return float(edges[int(np.argmax(between)) + 1])


def _standardised(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """(C, H, W) with mean 0 and standard deviation 1 in each band, over what was seen."""
    values = image.astype(np.float64)
    mean = np.nanmean(values, axis=(1, 2), keepdims=True)
    std = np.nanstd(values, axis=(1, 2), keepdims=True)
    standardised: NDArray[np.float64] = np.nan_to_num((values - mean) / np.maximum(std, 1e-9))
    return standardised
