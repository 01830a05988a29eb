"""Laws of drawing: one order for all ranks, exact restarts, weights and classes as asked for."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.chips.footprints import Footprints
from earthloom.chips.sampling import (
    Balanced,
    Grid,
    Position,
    Sampler,
    Shuffled,
    Weighted,
    class_lists,
    valid_weights,
)
from earthloom.chips.weights import ground_weights, near_weights
from earthloom.errors import ContractError

HISTOGRAMS = np.array([[9, 0, 0], [4, 2, 0], [3, 0, 1], [8, 1, 0], [0, 0, 0], [7, 0, 0]])
RULES = {
    "grid": Grid(np.arange(37)),
    "shuffled": Shuffled(np.arange(100, 141)),
    "weighted": Weighted(np.linspace(0, 1, 50), 40),
    "repeated": Weighted(np.linspace(0, 1, 50), 60, repeat=True),
    "balanced": Balanced(class_lists(HISTOGRAMS), 29),
}
rules = pytest.mark.parametrize("rule", RULES.values(), ids=RULES.keys())


@rules
@pytest.mark.parametrize("world", [1, 2, 3, 7])
def test_ranks_together_draw_what_one_draws(rule, world):
    alone = Sampler(rule, seed=5, even=False)
    ranks = [Sampler(rule, 5, rank, world, even=False) for rank in range(world)]
    for _ in range(3):
        whole = list(alone)
        parts = [list(rank) for rank in ranks]
        woven = [part[step] for step in range(len(parts[0])) for part in parts if step < len(part)]
        assert woven == whole


@rules
def test_even_ranks_take_the_same_number_of_steps(rule):
    whole = list(Sampler(rule, 5))
    parts = [list(Sampler(rule, 5, rank, 4)) for rank in range(4)]
    assert {len(part) for part in parts} == {len(whole) // 4}
    assert [part[0] for part in parts] == whole[:4]


@rules
@settings(max_examples=20, deadline=None)
@given(
    st.integers(0, 60), st.sampled_from([1, 2, 3]), st.sampled_from([1, 2, 3]), st.integers(0, 2)
)
def test_a_stopped_sampler_goes_on_where_it_stood(rule, steps, world, later, rank):
    """In a world of the same size or of another whose steps fit."""
    rank = min(rank, later - 1)
    first = Sampler(rule, 1, 0, world, even=False)
    taken = 0
    while taken < steps:
        for _ in first:
            taken += 1
            if taken == steps:
                break
    state = Position.from_json(json.loads(json.dumps(first.state().to_json())))
    if state.position % later:
        return
    resumed = Sampler(rule, state.seed, rank, later, even=False)
    resumed.resume(state.epoch, state.position)
    expected = first.order(state.epoch)[state.position :][rank::later].tolist()
    assert list(resumed) == expected
    assert list(resumed) == resumed.order(state.epoch + 1)[rank::later].tolist()


def test_orders_stay_what_they_are():
    """A store of last year is drawn in the same order with the libraries of this year."""
    order = Sampler(Shuffled(np.arange(8)), 7).order(2)
    assert order.tolist() == [6, 4, 0, 5, 7, 1, 3, 2]


@rules
def test_epochs_and_seeds_differ(rule):
    orders = [Sampler(rule, seed).order(epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    same = isinstance(rule, Grid)
    assert len({tuple(order) for order in orders}) == (1 if same else 4)


@given(st.lists(st.integers(0, 10**6), unique=True, max_size=200), st.integers(0, 2**32))
def test_shuffled_holds_each_chip_once(rows, seed):
    order = Sampler(Shuffled(np.array(rows, np.int64)), seed).order(0)
    assert sorted(order.tolist()) == sorted(rows)


def test_weighted_draws_follow_the_weights():
    weights = np.array([0.0, 1.0, 2.0, 7.0, np.nan])
    repeated = Weighted(weights, 40_000, repeat=True).order(np.random.default_rng(0))
    counts = np.bincount(repeated, minlength=5) / 40_000
    np.testing.assert_allclose(counts, [0, 0.1, 0.2, 0.7, 0], atol=0.01)
    rule = Weighted(weights, 1)
    first = [int(rule.order(np.random.default_rng(seed))[0]) for seed in range(4000)]
    np.testing.assert_allclose(np.bincount(first, minlength=5) / 4000, counts, atol=0.03)
    once = Weighted(weights, 3).order(np.random.default_rng(0))
    assert sorted(once.tolist()) == [1, 2, 3]
    with pytest.raises(ContractError, match=r"4 chips an epoch .* only 3 of 5 have a weight"):
        Weighted(weights, 4).order(np.random.default_rng(0))
    with pytest.raises(ContractError, match="none of 5 chips has a weight above 0"):
        Weighted(weights * 0, 4, repeat=True).order(np.random.default_rng(0))


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 300), st.integers(1, 6), st.integers(1, 500), st.integers(0, 2**31), st.data()
)
def test_balanced_draws_hold_every_class_alike(chips, classes, count, seed, data):
    """Each run of draws can be told apart into one draw for each class."""
    rng = np.random.default_rng(seed)
    # One class a chip, so that a draw tells for which class it was made.
    of = rng.choice(classes, chips, p=rng.dirichlet(np.ones(classes) / 2))
    histograms = np.eye(classes, dtype=int)[of]
    held = len(set(of.tolist()))
    order = Balanced(class_lists(histograms), count).order(np.random.default_rng(seed))
    assert len(order) == count
    for start in range(0, count - held + 1, held):
        assert len(set(of[order[start : start + held]].tolist())) == held
    for position in range(classes):
        drawn = order[of[order] == position]
        size = int((of == position).sum())
        for start in range(0, len(drawn), max(size, 1)):
            part = drawn[start : start + size]
            assert len(set(part.tolist())) == len(part)


def test_class_lists_are_the_inverse_of_histograms():
    lists = class_lists(HISTOGRAMS)
    assert [lists.of(k).tolist() for k in range(3)] == [[0, 1, 2, 3, 5], [1, 3], [2]]
    least = class_lists(HISTOGRAMS, least=2)
    assert [least.of(k).tolist() for k in range(3)] == [[0, 1, 2, 3, 5], [1], []]
    assert least.held.tolist() == [0, 1]
    with pytest.raises(ContractError, match="no chip holds a labelled pixel"):
        Balanced(class_lists(HISTOGRAMS * 0), 3).order(np.random.default_rng(0))


def test_valid_weights():
    valid = np.array([0.0, 0.2, 0.5, 1.0, np.nan])
    assert valid_weights(valid).tolist() == [0, 0.2, 0.5, 1.0, 0]
    assert valid_weights(valid, least=0.5, power=0).tolist() == [0, 0, 1, 1, 0]


def test_weights_by_place():
    def at(lon, size=0.01):
        return [[lon, 0], [lon + size, 0], [lon + size, size], [lon, size]]

    places = Footprints(np.array([at(0), at(0), at(1), at(2, 0.02)]))
    weights = ground_weights(places)
    np.testing.assert_allclose(weights / weights[2], [0.5, 0.5, 1, 4], rtol=1e-3)
    point = Footprints(np.full((1, 4, 2), [1.02, 0.0]))
    assert near_weights(places, point, 1200).tolist() == [0, 0, 1, 0]
    assert near_weights(places, point, 1000, beyond=0.1).tolist() == [0.1] * 4


def test_ranks_and_positions_that_cannot_be_are_named():
    with pytest.raises(ContractError, match="rank 2 is not one of a world of 2: 0 to 1"):
        Sampler(RULES["grid"], 0, rank=2, world=2)
    with pytest.raises(ContractError, match="position 3 is not at the end of a step of 2 ranks"):
        Sampler(RULES["grid"], 0, 0, 2).resume(0, 3)
