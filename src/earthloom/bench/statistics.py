"""Intervals, means and rankings over many datasets."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earthloom.bench.tally import Sums

Scores = NDArray[np.float64]

_TRACE = 1e-9
"""Share of all groups that is in every draw, see `sums_of_draws`."""


@dataclass(frozen=True)
class Estimate:
    """A figure with the interval that holds 95 % of its bootstrap."""

    value: float
    low: float
    high: float


def group_draws(groups: int, resamples: int, random: np.random.Generator) -> NDArray[np.int64]:
    """(resamples, groups) how often each group is drawn, as many in all as there are."""
    return random.multinomial(groups, np.full(groups, 1 / groups), size=resamples)


def bootstrap_groups(
    sums: Sums,
    metric: Callable[[Sums], Scores],
    resamples: int,
    random: np.random.Generator,
) -> Scores:
    """(resamples,) a metric of test groups (G, S) drawn with replacement (Efron 1979).

    Groups, not samples, are drawn: neighbours in a group are alike, and an interval that took them
    for independent would be too narrow (Field and Welsh 2007).
    """
    return metric(sums_of_draws(group_draws(len(sums), resamples, random), sums))


def sums_of_draws(draws: NDArray[np.int64], sums: Sums) -> Sums:
    """(resamples, S) sums of drawn groups (resamples, G), with a trace of all groups (G, S).

    A class that no drawn group has then keeps its figure of the whole. Left out, it would move
    every mean over classes: rare classes, which most draws lack, are the ones that score low.
    """
    drawn: Sums = draws.astype(np.float64) @ sums
    drawn += _TRACE * sums.sum(axis=0)
    return drawn


def interval(draws: Scores, level: float = 0.95) -> tuple[float, float]:
    """The percentile interval of bootstrap draws, NaN left out; NaN where none is left."""
    known = draws[np.isfinite(draws)]
    if not len(known):
        return float("nan"), float("nan")
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def interquartile_mean(scores: Scores) -> float:
    """Mean of the middle half of all scores, as many cut off at both ends (Agarwal et al. 2021)."""
    from scipy import stats

    known = np.ravel(scores)[np.isfinite(np.ravel(scores))]
    return float(stats.trim_mean(known, 0.25)) if len(known) else float("nan")


def stratified_bootstrap(
    per_dataset: Sequence[Scores], resamples: int, random: np.random.Generator
) -> Estimate:
    """Interquartile mean over datasets and runs, runs drawn anew within each dataset.

    `per_dataset` holds the runs' scores (R,) of each dataset, normalised to one scale. Which
    datasets there are is not drawn: the interval is about runs, not about other datasets (Agarwal
    et al. 2021, Deep Reinforcement Learning at the Edge of the Statistical Precipice).
    """
    drawn = [each[random.integers(len(each), size=(resamples, len(each)))] for each in per_dataset]
    joined = np.concatenate(drawn, axis=1)
    draws = np.array([interquartile_mean(row) for row in joined])
    low, high = interval(draws)
    return Estimate(interquartile_mean(np.concatenate(list(per_dataset))), low, high)


@dataclass(frozen=True)
class Ranking:
    """Ranks of K competitors over N datasets (Demsar 2006)."""

    names: tuple[str, ...]
    mean_ranks: Scores
    """(K,) 1 is best; ties share the mean of their ranks."""
    datasets: int
    friedman_p: float
    """Of no competitor being better than another; NaN below three competitors or two datasets."""
    critical_difference: float
    """Nemenyi: mean ranks that differ by less do not differ at 5 %; NaN where ranks cannot."""
    holm: NDArray[np.float64]
    """(K, K) p of each pair, Wilcoxon's signed ranks corrected by Holm's procedure; NaN on the
    diagonal."""

    @property
    def cliques(self) -> tuple[tuple[int, int], ...]:
        """First and last position, in the order of the ranks, of the longest runs of competitors
        that do not differ by the critical difference; single ones left out."""
        if not np.isfinite(self.critical_difference):
            return ()
        order = np.sort(self.mean_ranks)
        runs: list[tuple[int, int]] = []
        for first in range(len(order)):
            last = int(np.flatnonzero(order - order[first] < self.critical_difference).max())
            if last > first and (not runs or last > runs[-1][1]):
                runs.append((first, last))
        return tuple(runs)


def rank(names: Sequence[str], scores: Scores, alpha: float = 0.05) -> Ranking:
    """Ranks competitors by scores (N, K), higher is better, of datasets that all were run on."""
    from scipy import stats

    datasets, count = scores.shape
    ranks = stats.rankdata(-scores, axis=1)
    friedman, critical = float("nan"), float("nan")
    if datasets >= 2 and count >= 2:
        critical = nemenyi(count, datasets, alpha)
    if datasets >= 2 and count >= 3 and not (ranks == ranks[:, :1]).all():
        friedman = float(stats.friedmanchisquare(*scores.T).pvalue)
    mean = ranks.mean(axis=0) if datasets else np.full(count, np.nan)
    return Ranking(tuple(names), mean, datasets, friedman, critical, wilcoxon_holm(scores))


def nemenyi(competitors: int, datasets: int, alpha: float = 0.05) -> float:
    """Critical difference of mean ranks: q sqrt(k (k + 1) / 6 N), q the studentised range's
    quantile over sqrt 2 (Nemenyi 1963; Demsar 2006)."""
    from scipy import stats

    quantile = stats.studentized_range.ppf(1 - alpha, competitors, np.inf) / np.sqrt(2)
    return float(quantile * np.sqrt(competitors * (competitors + 1) / (6 * datasets)))


def wilcoxon_holm(scores: Scores) -> NDArray[np.float64]:
    """(K, K) p-values of all pairs of columns of (N, K), by Wilcoxon 1945, with Holm 1979.

    1 where two columns are equal throughout, or there are no datasets to tell them apart by.
    """
    count = scores.shape[1]
    pairs = [(a, b) for a in range(count) for b in range(a + 1, count)]
    raw = [_wilcoxon(scores[:, a] - scores[:, b]) for a, b in pairs]
    table = np.full((count, count), np.nan)
    for (a, b), value in zip(pairs, holm(raw), strict=True):
        table[a, b] = table[b, a] = value
    return table


def holm(values: Sequence[float]) -> list[float]:
    """p-values adjusted for their number: the i-th smallest times (m - i), rising, at most 1."""
    adjusted, least = [0.0] * len(values), 0.0
    for position, at in enumerate(np.argsort(values, kind="stable")):
        least = max(least, min(1.0, values[at] * (len(values) - position)))
        adjusted[at] = least
    return adjusted


def _wilcoxon(differences: Scores) -> float:
    from scipy import stats

    if not len(differences) or not differences.any():
        return 1.0
    return float(stats.wilcoxon(differences, zero_method="zsplit").pvalue)


def area_over_log_budget(labels: Scores, scores: Scores) -> float:
    """Mean height of the curve of scores over the logarithm of the number of labels, from the
    fewest to the most; NaN for fewer than two budgets."""
    known = np.isfinite(scores) & (labels > 0)
    order = np.argsort(labels[known])
    x, y = np.log(labels[known][order]), scores[known][order]
    if len(x) < 2 or x[-1] == x[0]:
        return float("nan")
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))
