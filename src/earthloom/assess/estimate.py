"""Area-weighted accuracy and area from a stratified sample (Olofsson et al. 2014)."""

import math
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

_Z95 = 1.959964
"""Standard deviations on each side of a 95 % interval."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


def interval_json(interval: Interval) -> dict[str, float | None]:
    """As `accuracy.json` has it."""
    return {key: or_none(value) for key, value in asdict(interval).items()}


def or_none(value: float) -> float | None:
    """A figure as JSON has it: None for NaN."""
    return None if math.isnan(value) else float(value)


@dataclass(frozen=True)
class Estimate:
    """What a sample says of a map."""

    counts: NDArray[np.int64]
    """(K, K) sample points: rows are the map's class (the stratum), columns the reference class."""
    shares: NDArray[np.float64]
    """(K, K) estimated share of the whole area in each cell; sums to one."""
    overall: Interval
    users: tuple[Interval, ...]
    """Of each class: of what is mapped so, the share that is so."""
    producers: tuple[Interval, ...]
    """Of each class: of what is so, the share that is mapped so."""
    area_ha: tuple[Interval, ...]
    """Area of each class by the reference, in hectares."""
    mapped_ha: tuple[float, ...]
    """Area of each class as the map counts it."""


def estimate(
    counts: NDArray[np.int64], stratum_pixels: NDArray[np.int64], pixel_area_ha: float
) -> Estimate:
    """Accuracies and areas with 95 % intervals.

    `counts` (K, K) are sample points by map class (rows) and reference class (columns),
    `stratum_pixels` (K,) all mapped pixels of each class. Formulas are (1) to (11) of Olofsson,
    Foody, Herold, Stehman, Woodcock and Wulder (2014), Remote Sensing of Environment 148, except
    that the variance within a stratum uses `_within_variance`.
    """
    drawn = counts.sum(axis=1)
    weights = stratum_pixels / stratum_pixels.sum()
    # A stratum that gave no point holds its own class, with nothing known against it.
    shares_within = np.where(
        drawn[:, None] > 0, counts / np.maximum(drawn, 1)[:, None], np.eye(len(drawn))
    )
    shares = weights[:, None] * shares_within
    variance = _within_variance(counts, drawn)
    own = np.diag(shares_within)
    total_ha = float(stratum_pixels.sum()) * pixel_area_ha
    area_share = shares.sum(axis=0)
    area_error = np.sqrt((weights[:, None] ** 2 * variance).sum(axis=0))
    overall_error = np.sqrt((weights**2 * np.diag(variance)).sum())
    return Estimate(
        counts=counts,
        shares=shares,
        overall=_interval(float(np.trace(shares)), float(overall_error)),
        users=tuple(_interval(float(u), float(np.sqrt(v))) for u, v in zip(own, np.diag(variance))),
        producers=_producers(shares, weights, variance),
        area_ha=tuple(
            _interval(float(share) * total_ha, float(error) * total_ha, total_ha)
            for share, error in zip(area_share, area_error)
        ),
        mapped_ha=tuple(float(pixels) * pixel_area_ha for pixels in stratum_pixels),
    )


def _within_variance(counts: NDArray[np.int64], drawn: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K, K) variance of the share of each reference class within each stratum.

    The plain formula says zero where a stratum's points all agree, as if nothing else could be
    there, and intervals then miss the truth. One observation, spread evenly over the classes
    (Perks 1947), is added to each stratum for the variance alone: it matters where errors are few,
    and vanishes where they are many. `benchmarks/intervals.py` measures how often intervals hold
    the truth with and without it.
    """
    classes = len(drawn)
    share = (counts + 1 / classes) / (drawn + 1)[:, None]
    variance: NDArray[np.float64] = share * (1 - share) / np.maximum(drawn - 1, 1)[:, None]
    return variance


def _producers(
    shares: NDArray[np.float64], weights: NDArray[np.float64], variance: NDArray[np.float64]
) -> tuple[Interval, ...]:
    """Producer's accuracies; their variance is that of a ratio (Olofsson et al. 2014, eq. 7)."""
    found = []
    for j in range(len(weights)):
        whole = shares[:, j].sum()
        if whole == 0:
            found.append(Interval(float("nan"), float("nan"), float("nan")))
            continue
        producer = shares[j, j] / whole
        spread = weights**2 * variance[:, j]
        others = spread.sum() - spread[j]
        error = np.sqrt((1 - producer) ** 2 * spread[j] + producer**2 * others) / whole
        found.append(_interval(float(producer), float(error)))
    return tuple(found)


def _interval(value: float, error: float, most: float = 1.0) -> Interval:
    return Interval(value, max(value - _Z95 * error, 0.0), min(value + _Z95 * error, most))
