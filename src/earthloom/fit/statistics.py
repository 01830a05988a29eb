"""Mean and spread of every band over the valid training pixels, computed once in one pass."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from earthloom.encoders import Statistics
from earthloom.sample import Layer, Samples, chips_of

_LEAST_STD = 1e-6
"""Spread of a band that never varies, so that nothing is divided by zero."""


@dataclass
class _Sums:
    """Running sums of a layer's bands, in float64."""

    bands: int
    count: int = 0
    total: NDArray[np.float64] = field(init=False)
    square: NDArray[np.float64] = field(init=False)

    def __post_init__(self) -> None:
        self.total, self.square = np.zeros(self.bands), np.zeros(self.bands)

    def add(self, layer: Layer) -> None:
        seen = layer.pixels.transpose(0, 2, 3, 1)[layer.valid].astype(np.float64)  # (N, C)
        self.count += len(seen)
        self.total += seen.sum(axis=0)
        self.square += (seen**2).sum(axis=0)

    def statistics(self) -> Statistics:
        """Mean 0 and spread 1 where nothing was ever valid."""
        if not self.count:
            return Statistics((0.0,) * self.bands, (1.0,) * self.bands)
        mean = self.total / self.count
        variance = np.maximum(self.square / self.count - mean**2, _LEAST_STD**2)
        return Statistics(tuple(mean.tolist()), tuple(np.sqrt(variance).tolist()))


def statistics_of(samples: Samples) -> dict[str, Statistics]:
    """Statistics of each layer of all chips, by the layer's key."""
    sums = {key: _Sums(len(spec.bands)) for key, spec in samples.specs.items()}
    for chip in chips_of(samples):
        for key, layer in chip.layers.items():
            sums[key].add(layer)
    return {key: each.statistics() for key, each in sums.items()}
