"""Fewer chips that show as much: pruning by features for diversity and balance; in numpy alone.

Archives repeat themselves: most chips of the open sea, a desert or a forest look alike. Both ways
below take features (n, D) of the chips, of any encoder, and return the rows to keep. Called again
with the features of a model in training, they curate the data as it learns: Kerdreux, Tuel, Febvre,
Mouche and Chapron (2025), "Efficient Self-Supervised Learning for Earth Observation via Dynamic
Dataset Curation", arXiv:2504.06962.
"""

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import ContractError

_BLOCK = 8192
"""Rows compared with all centres at a time."""


def spread_prune(features: NDArray[np.floating], keep: int) -> NDArray[np.int64]:
    """The rows that cover the features best, in the order in which they were found.

    Greedy k-centre: each next chip is the one furthest from all those kept, beginning with the one
    nearest to the mean. The furthest chip left out is at most twice as far from a kept one as in
    the best choice: Gonzalez (1985), "Clustering to minimize the maximum intercluster distance",
    Theoretical Computer Science 38; as a core-set: Sener and Savarese (2018), ICLR. Time grows with
    n x keep. Outliers come first: clean the data before.
    """
    points = _checked(features, keep)
    kept = np.empty(keep, np.int64)
    apart = np.full(len(points), np.inf)
    chosen = int(_squared(points, points.mean(axis=0)).argmin()) if keep else 0
    for number in range(keep):
        kept[number] = chosen
        apart = np.minimum(apart, _squared(points, points[chosen]))
        apart[chosen] = -1.0  # Never again, not even where all others are equal to it.
        chosen = int(apart.argmax())
    return kept


def balanced_prune(
    features: NDArray[np.floating], keep: int, clusters: int, seed: int, rounds: int = 10
) -> NDArray[np.int64]:
    """Rows to keep, sorted: as evenly from all clusters of the features as their sizes allow.

    k-means, then the same number from each cluster at random, more where others have run out: one
    level of Vo et al. (2024), "Automatic Data Curation for Self-Supervised Learning: A
    Clustering-Based Approach", TMLR.
    """
    points = _checked(features, keep)
    random = np.random.Generator(np.random.PCG64(seed))
    member = k_means(points, min(clusters, len(points)), random, rounds)
    quotas = even_quotas(np.bincount(member, minlength=clusters), keep)
    # Ordered by cluster and at random within; the first of each cluster's run are kept.
    order = np.lexsort((random.random(len(points)), member))
    sizes = np.bincount(member, minlength=clusters)
    place = np.arange(len(points)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[place < np.repeat(quotas, sizes)]).astype(np.int64)


def even_quotas(sizes: NDArray[np.integer], keep: int) -> NDArray[np.int64]:
    """(K,) how many to take of clusters of these sizes, `keep` in all, as even as can be.

    A cluster that gives less than another is taken whole, but for a difference of one.
    """
    order = np.argsort(sizes, kind="stable")
    quotas = np.zeros(len(sizes), np.int64)
    left = min(keep, int(sizes.sum()))
    for done, cluster in enumerate(order.tolist()):
        quotas[cluster] = min(int(sizes[cluster]), left // (len(sizes) - done))
        left -= quotas[cluster]
    return quotas


def k_means(
    points: NDArray[np.float64], clusters: int, random: np.random.Generator, rounds: int
) -> NDArray[np.int64]:
    """(n,) the cluster of each point (n, D): Lloyd's rounds from k-means++ centres.

    Lloyd (1982), IEEE Transactions on Information Theory 28; Arthur and Vassilvitskii (2007), SODA.
    A cluster that loses all its points stays empty.
    """
    if clusters < 1:
        raise ContractError(f"{clusters} clusters are none; valid: 1 or more")
    centres = points[_far_seeds(points, clusters, random)]
    member = _nearest(points, centres)
    for _ in range(rounds):
        sizes = np.bincount(member, minlength=clusters)
        order = np.argsort(member, kind="stable")
        full = np.flatnonzero(sizes)
        starts = (np.cumsum(sizes) - sizes)[full]
        centres = centres.copy()
        centres[full] = np.add.reduceat(points[order], starts, axis=0) / sizes[full, None]
        moved = _nearest(points, centres)
        if np.array_equal(moved, member):
            break
        member = moved
    return member


def _far_seeds(
    points: NDArray[np.float64], clusters: int, random: np.random.Generator
) -> NDArray[np.int64]:
    """Rows drawn one by one with chances by the squared distance to those drawn before."""
    apart = np.ones(len(points))
    seeds = np.empty(clusters, np.int64)
    for number in range(clusters):
        sums = np.cumsum(apart)
        drawn = np.searchsorted(sums, random.random() * sums[-1], "right")
        seeds[number] = min(int(drawn), len(points) - 1)
        far = _squared(points, points[seeds[number]])
        apart = far if number == 0 else np.minimum(apart, far)
    return seeds


def _nearest(points: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) the centre nearest to each point."""
    lengths = (centres**2).sum(axis=1)
    found = np.empty(len(points), np.int64)
    for start in range(0, len(points), _BLOCK):
        block = points[start : start + _BLOCK]
        found[start : start + _BLOCK] = (lengths - 2 * block @ centres.T).argmin(axis=1)
    return found


def _squared(points: NDArray[np.float64], one: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) squared distances to one point."""
    squared: NDArray[np.float64] = ((points - one) ** 2).sum(axis=1)
    return squared


def _checked(features: NDArray[np.floating], keep: int) -> NDArray[np.float64]:
    if features.ndim != 2 or not np.isfinite(features).all():
        raise ContractError(
            f"pruning needs finite features (n, D), but got shape {features.shape} with "
            f"{int((~np.isfinite(features)).sum())} values that are not finite"
        )
    if not 0 <= keep <= len(features):
        raise ContractError(f"cannot keep {keep} of {len(features)} chips")
    return features.astype(np.float64)
