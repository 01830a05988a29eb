"""How often the 95 % intervals of an assessment hold the truth.

Maps whose every pixel's true class is known are sampled many times over as `earthloom assess` does
it; each sample's intervals are held against the true accuracy and areas. The plain formulas of
Olofsson et al. (2014) stand beside ours, which keep an interval from closing where no error was
drawn. No imagery is needed: an assessment sees a map's confusion matrix alone. Simulated.

    python benchmarks/intervals.py [--draws 2000]
"""

import argparse
import json

import numpy as np
from numpy.typing import NDArray

from earthloom.assess.estimate import Interval, estimate

POINTS, LEAST = 900, 50


def population(accuracy: float, seed: int) -> NDArray[np.int64]:
    """(K, K) pixels by map class and true class of a map of 11 classes and a million pixels."""
    random = np.random.default_rng(seed)
    areas = random.dirichlet(np.full(11, 3.0))
    errors = random.dirichlet(np.full(11, 0.3), size=11)
    np.fill_diagonal(errors, 0)
    errors /= errors.sum(axis=1, keepdims=True)
    rate = random.gamma(2, (1 - accuracy) / 2, size=11).clip(max=0.5)
    shares = areas[:, None] * (np.diag(1 - rate) + rate[:, None] * errors)
    return np.rint(shares * 1e6).astype(np.int64)


def draw(pixels: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.int64]:
    """(K, K) sample points: a number fixed by map class, of which each true class gets some."""
    strata = pixels.sum(axis=1)
    rest = POINTS - LEAST * len(strata)
    wanted = LEAST + np.rint(rest * strata / strata.sum()).astype(int)
    rows = [random.multivariate_hypergeometric(row, n) for row, n in zip(pixels, wanted)]
    return np.array(rows)


def plain_area_error(counts: NDArray[np.int64], strata: NDArray[np.int64]) -> NDArray[np.float64]:
    """(K,) standard error of each class's share of the area, equation 10 of Olofsson et al."""
    drawn = counts.sum(axis=1, keepdims=True)
    share = counts / drawn
    weight = (strata / strata.sum())[:, None]
    return np.sqrt((weight**2 * share * (1 - share) / (drawn - 1)).sum(axis=0))


def holds(interval: Interval, truth: float) -> bool:
    return interval.low <= truth <= interval.high


def coverage(accuracy: float, draws: int) -> dict[str, float]:
    """Shares of intervals that hold the truth, over several maps of about one accuracy."""
    area, plain, every, overall, width = [], [], [], [], []
    for number in range(draws):
        pixels = population(accuracy, seed=number % 20)
        strata, truth = pixels.sum(axis=1), pixels.sum(axis=0)
        counts = draw(pixels, np.random.default_rng([number, 1]))
        found = estimate(counts, strata, pixel_area_ha=1.0)
        inside = [holds(i, t) for i, t in zip(found.area_ha, truth)]
        area.append(np.mean(inside))
        every.append(all(inside))
        overall.append(holds(found.overall, np.trace(pixels) / pixels.sum()))
        error = 1.96 * plain_area_error(counts, strata) * strata.sum()
        middle = np.array([i.value for i in found.area_ha])
        plain.append(np.mean(np.abs(middle - truth) <= error))
        width.append(np.median([(i.high - i.low) / 2 for i in found.area_ha] / truth))
    return {
        "area": float(np.mean(area)),
        "area_plain": float(np.mean(plain)),
        "all_areas_at_once": float(np.mean(every)),
        "overall": float(np.mean(overall)),
        "median_half_width_share": float(np.mean(width)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=2000)
    draws = parser.parse_args().draws
    results = {str(a): coverage(a, draws) for a in (0.80, 0.90, 0.95, 0.99, 0.997)}
    print("accuracy  area  plain  all at once  overall  half width / area")
    for accuracy, r in results.items():
        print(
            f"{accuracy:>8}  {r['area']:.3f}  {r['area_plain']:.3f}        "
            f"{r['all_areas_at_once']:.3f}    {r['overall']:.3f}              "
            f"{r['median_half_width_share']:.3f}"
        )
    print(json.dumps({"draws": draws, "points": POINTS, "coverage": results}))


if __name__ == "__main__":
    main()
