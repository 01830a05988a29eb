"""Laws of pruning: as many as asked for, spread out, even over clusters."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.chips.prune import balanced_prune, even_quotas, k_means, spread_prune
from earthloom.errors import ContractError


def reach(points, kept):
    """How far the furthest point is from a kept one."""
    apart = np.linalg.norm(points[:, None] - points[kept], axis=-1)
    return apart.min(axis=1).max()


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 12), st.integers(1, 3), st.integers(0, 2**31))
def test_spread_is_within_twice_of_the_best_choice(count, keep, seed):
    points = np.random.default_rng(seed).normal(size=(count, 2))
    keep = min(keep, count)
    kept = spread_prune(points, keep)
    best = min(reach(points, list(chosen)) for chosen in itertools.combinations(range(count), keep))
    assert len(set(kept.tolist())) == keep
    assert reach(points, kept) <= 2 * best + 1e-9


def test_spread_takes_equal_points_too():
    points = np.zeros((5, 3))
    assert sorted(spread_prune(points, 5).tolist()) == [0, 1, 2, 3, 4]
    assert spread_prune(points, 0).tolist() == []


@given(st.lists(st.integers(0, 40), min_size=1, max_size=20), st.integers(0, 500))
def test_quotas_are_even(sizes, keep):
    sizes = np.array(sizes)
    quotas = even_quotas(sizes, keep)
    assert quotas.sum() == min(keep, sizes.sum())
    assert (quotas <= sizes).all()
    short = quotas < sizes
    if short.any():
        assert quotas.max() - quotas[short].min() <= 1


def test_balanced_pruning_evens_out_what_repeats():
    rng = np.random.default_rng(1)
    sizes = [2000, 300, 40, 12]
    kind = np.repeat(np.arange(4), sizes)
    points = rng.normal(size=(len(kind), 5)) * 0.1 + 10 * np.eye(4, 5)[kind]
    kept = balanced_prune(points, 152, clusters=4, seed=3)
    assert np.bincount(kind[kept]).tolist() == [50, 50, 40, 12]
    assert (np.diff(kept) > 0).all()
    np.testing.assert_array_equal(kept, balanced_prune(points, 152, clusters=4, seed=3))
    assert not np.array_equal(kept, balanced_prune(points, 152, clusters=4, seed=4))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 60), st.integers(1, 80), st.integers(0, 2**31))
def test_balanced_pruning_keeps_as_many_as_asked(count, clusters, seed):
    points = np.random.default_rng(seed).integers(0, 3, (count, 2)).astype(float)
    keep = seed % (count + 1)
    kept = balanced_prune(points, keep, clusters, seed)
    assert len(set(kept.tolist())) == keep


def test_k_means_rounds_never_make_it_worse():
    rng = np.random.default_rng(0)
    points = rng.normal(size=(500, 3))

    def spread(rounds):
        member = k_means(points, 8, np.random.default_rng(2), rounds)
        groups = [points[member == k] for k in range(8)]
        return sum(((g - g.mean(axis=0)) ** 2).sum() for g in groups if len(g))

    errors = [spread(rounds) for rounds in range(6)]
    assert all(later <= before + 1e-9 for before, later in itertools.pairwise(errors))


def test_what_cannot_be_pruned_is_named():
    with pytest.raises(ContractError, match="cannot keep 4 of 3 chips"):
        spread_prune(np.zeros((3, 2)), 4)
    with pytest.raises(ContractError, match="with 1 values that are not finite"):
        balanced_prune(np.array([[np.nan, 0.0]]), 1, 1, 0)
    with pytest.raises(ContractError, match="0 clusters are none"):
        balanced_prune(np.zeros((3, 2)), 1, 0, 0)
