"""Statistics of a raster's bands, gathered while it is written."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.io import DatasetReader


@dataclass
class Tally:
    """Statistics of one band, piece by piece (Chan et al. 1979).

    The last digits hang on where pieces begin and end; a map's pieces are always the same ones.
    """

    pixels: int = 0
    count: int = 0
    mean: float = 0.0
    squares: float = 0.0
    least: float = np.inf
    most: float = -np.inf

    def add(self, numbers: NDArray[Any]) -> None:
        """Takes a piece (h, w), NaN where there is no data."""
        self.pixels += numbers.size
        known = numbers[~np.isnan(numbers)].astype(np.float64)
        if not known.size:
            return
        mean, total = float(known.mean()), self.count + known.size
        step = mean - self.mean
        self.squares += float(((known - mean) ** 2).sum())
        self.squares += step**2 * self.count * known.size / total
        self.mean += step * known.size / total
        self.count = total
        self.least = min(self.least, float(known.min()))
        self.most = max(self.most, float(known.max()))

    def tags(self) -> dict[str, str]:
        """What GDAL keeps of a band's statistics; nothing for a band without data."""
        if not self.count:
            return {}
        numbers = {
            "MINIMUM": self.least,
            "MAXIMUM": self.most,
            "MEAN": self.mean,
            "STDDEV": (self.squares / self.count) ** 0.5,
            "VALID_PERCENT": 100 * self.count / self.pixels,
        }
        return {f"STATISTICS_{name}": f"{number:.9g}" for name, number in numbers.items()}


_STAC = {
    "minimum": "STATISTICS_MINIMUM",
    "maximum": "STATISTICS_MAXIMUM",
    "mean": "STATISTICS_MEAN",
    "stddev": "STATISTICS_STDDEV",
    "valid_percent": "STATISTICS_VALID_PERCENT",
}


def statistics_of(file: DatasetReader, band: int) -> dict[str, float]:
    """The statistics that stand in a file, by their names in STAC 1.1; empty if it has none."""
    tags = file.tags(band)
    return {name: float(tags[tag]) for name, tag in _STAC.items() if tag in tags}
