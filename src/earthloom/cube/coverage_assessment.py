"""Whether a series of dates shows a region well: the shares of clean pixels and dates."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import DataError

ENOUGH = 0.5
"""The share from which on coverage counts as high, unless the user says otherwise."""


@dataclass(frozen=True)
class CoverageAssessment:
    """Whether a series of dates shows a region well: two shares and a verdict.

    A reading of the abstract of Assessment of Sentinel-2 spatial and temporal coverage based on
    the scene classification layer (2024): given which pixels are clean on which dates, and
    thresholds set by hand.
    """

    spatial: float
    """Share of the pixels that are clean on at least `spatial_threshold` of the dates."""
    temporal: float
    """Share of the dates on which at least `temporal_threshold` of the pixels are clean."""
    spatial_threshold: float
    temporal_threshold: float

    @property
    def high(self) -> bool:
        """The verdict: each share reaches its threshold."""
        return self.spatial >= self.spatial_threshold and self.temporal >= self.temporal_threshold

    @property
    def verdict(self) -> str:
        """`high` or `low`."""
        return "high" if self.high else "low"

    def to_json(self) -> dict[str, Any]:
        """The assessment as JSON values; the shares as percentages too, for people."""
        return {
            "spatial": self.spatial,
            "temporal": self.temporal,
            "spatial_threshold": self.spatial_threshold,
            "temporal_threshold": self.temporal_threshold,
            "spatial_percent": round(100 * self.spatial, 2),
            "temporal_percent": round(100 * self.temporal, 2),
            "verdict": self.verdict,
        }

    @staticmethod
    def from_json(value: Mapping[str, Any]) -> "CoverageAssessment":
        """An assessment from what `to_json` made."""
        names = ("spatial", "temporal", "spatial_threshold", "temporal_threshold")
        return CoverageAssessment(*(float(value[name]) for name in names))


def assess_coverage(
    strips: Iterable[NDArray[np.bool_]],
    spatial_threshold: float = ENOUGH,
    temporal_threshold: float = ENOUGH,
) -> CoverageAssessment:
    """The coverage of T dates, from strips (T, rows, W) of True where a pixel is clean.

    A whole array (T, H, W) is one strip: `assess_coverage([clear])`. Memory is that of a strip.
    DataError if there are no dates or no pixels, or a threshold is no share.
    """
    for threshold in (spatial_threshold, temporal_threshold):
        if not 0 < threshold <= 1:
            raise DataError(f"a coverage threshold is above 0 and at most 1, not {threshold:g}")
    pixels = covered = 0
    clean_by_date = np.zeros(0, np.int64)
    for strip in strips:
        if not strip.size:
            continue
        flat = strip.reshape(len(strip), -1)
        if not clean_by_date.size:
            clean_by_date = np.zeros(len(strip), np.int64)
        clean_by_date += flat.sum(axis=1, dtype=np.int64)
        pixels += flat.shape[1]
        clean_dates = flat.sum(axis=0, dtype=np.int32)
        covered += int((clean_dates >= least_of(spatial_threshold, len(strip))).sum())
    if not pixels or not clean_by_date.size:
        raise DataError("coverage cannot be assessed: there is no date, or no pixel")
    dates = int((clean_by_date >= least_of(temporal_threshold, pixels)).sum())
    return CoverageAssessment(
        covered / pixels, dates / len(clean_by_date), spatial_threshold, temporal_threshold
    )


def least_of(share: float, total: int) -> float:
    """So many of a total make the share, whatever floating point makes of it."""
    return share * total * (1 - 1e-12)
