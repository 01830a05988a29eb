"""Pieces, budgets, hidden inputs, regions and leaks."""

import numpy as np
import pytest
import torch
from bench_fakes import Flat
from hypothesis import given
from hypothesis import strategies as st

from earthloom.bench.hidden import hide_half
from earthloom.bench.leak import look_for_leaks, pixel_digest
from earthloom.bench.pieces import Held, cut_into_pieces, draw_evenly, moments_of
from earthloom.bench.problem import part_places
from earthloom.bench.run import validation_of
from earthloom.bench.truth import few, read_truth
from earthloom.chips.folds import Fold
from earthloom.errors import ContractError
from earthloom.fit.statistics import statistics_of
from earthloom.sample import IGNORE, Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.room import collate_ragged
from earthloom.sample.samples import Listed
from earthloom.sample.target import SceneValue

SPEC = LayerSpec("aerial-rgb", 1.0, ("a", "b", "c", "d"), "1", ("1", "2", "3", "4"), (None,) * 4)


def chip(number, rows, cols, target=None):
    random = np.random.default_rng(number)
    pixels = random.normal(size=(4, 4, rows, cols)).astype(np.float32)
    valid = np.ones((4, rows, cols), np.bool_)
    layer = Layer(SPEC, pixels, valid, np.arange(4, dtype=np.int32))
    label = None if target else random.integers(0, 4, (rows, cols)).astype(np.uint8)
    shape = Shape2d(rows, cols)
    return Chip(str(number), shape, {SPEC.key: layer}, label, f"group {number % 3}", target=target)


@given(st.lists(st.sampled_from("abcde"), min_size=1, max_size=60), st.integers(1, 60))
def test_a_drawing_keeps_every_groups_share(groups, most):
    kept = draw_evenly(groups, most)
    assert kept.tolist() == sorted(set(kept.tolist()))
    assert len(kept) == min(most, len(groups))
    drawn = [groups[at] for at in kept]
    if most >= len(set(groups)):
        assert set(drawn) == set(groups)
    for name in set(groups):
        fair = len(kept) * groups.count(name) / len(groups)
        assert abs(drawn.count(name) - fair) <= len(set(groups))


@given(st.integers(8, 30), st.integers(8, 30))
def test_every_label_is_in_exactly_one_piece(rows, cols):
    whole = chip(1, rows, cols)
    pieces = cut_into_pieces(Listed([whole]), 8)
    found = np.zeros((rows, cols), int)
    for number, piece in enumerate(pieces.pieces):
        window, cut = piece.window, pieces[number]
        assert cut.shape == (8, 8)
        at = np.s_[window.row : window.row + 8, window.col : window.col + 8]
        new = cut.label != IGNORE
        found[at] += new
        assert (cut.label[new] == whole.label[at][new]).all()
        assert np.array_equal(cut.layers[SPEC.key].pixels, whole.layers[SPEC.key].pixels[..., *at])
    assert (found == 1).all()


def test_small_images_and_answers_of_the_whole_cannot_be_cut():
    with pytest.raises(ContractError, match="too few for pieces of 16"):
        cut_into_pieces(Listed([chip(0, 8, 20)]), 16)
    with pytest.raises(ContractError, match="cannot be cut"):
        cut_into_pieces(Listed([chip(0, 8, 20, SceneValue(1.0, "m"))]), 8)[0]


def test_held_chips_are_the_chips():
    chips = Listed([chip(number, 8, 8) for number in range(6)])
    held = Held(chips, most=9_000)
    for index in (0, 1, 0, 5, 3, 0):
        assert held[index] is chips[index]
    assert len(held._chips) < 6


@given(st.integers(1, 40), st.integers(0, 5))
def test_a_budget_has_its_labels_of_each_class(budget, seed):
    chips = Listed([chip(number, 6, 6) for number in range(5)])
    truth = read_truth(chips, 3)
    rows = np.array([0, 2, 3])
    kept = few(chips, truth, rows, budget, seed)
    found = read_truth(kept, 3).counts.sum(axis=0)
    assert found.tolist() == np.minimum(budget, truth.counts[rows].sum(axis=0)).tolist()
    assert {kept[at].id for at in range(len(kept))} <= {"0", "2", "3"}
    again = few(chips, truth, rows, budget, seed)
    assert all(np.array_equal(kept[at].label, again[at].label) for at in range(len(kept)))


def test_a_budget_of_values_is_spread_over_them():
    chips = Listed([chip(n, 1, 1, SceneValue(float(n), "m")) for n in range(50)])
    kept = few(chips, read_truth(chips, 0), np.arange(50), 2, 0)
    values = [kept[at].target.value for at in range(len(kept))]
    assert np.histogram(values, bins=[0, 10, 20, 30, 40, 50])[0].tolist() == [2] * 5


def test_half_is_hidden_and_said_to_be():
    chips = Listed([chip(number, 4, 4) for number in range(3)])
    encoder = Flat((SPEC,), statistics_of(chips))
    batch = collate_ragged(list(chips), chips.specs)
    layer = hide_half(batch, encoder, 0).layers[SPEC.key]
    assert layer.measured.sum(dim=1).tolist() == [2, 2, 2]
    assert layer.dated.sum(dim=1).tolist() == [2, 2, 2]
    assert torch.equal(layer.valid.any(dim=(-2, -1)), layer.dated)
    assert torch.isnan(layer.pixels).all(dim=2).equal(~layer.valid)
    for number in range(3):
        seen = layer.dated[number]
        mean = encoder.mean_of(SPEC)[~layer.measured[number]]
        hidden = layer.pixels[number][seen][:, ~layer.measured[number]]
        assert torch.equal(hidden, mean.expand_as(hidden))
        kept = layer.pixels[number][seen][:, layer.measured[number]]
        before = batch.layers[SPEC.key].pixels[number][seen][:, layer.measured[number]]
        assert torch.equal(kept, before)


def test_what_is_hidden_of_a_chip_does_not_depend_on_its_batch():
    chips = [chip(number, 2, 2) for number in range(4)]
    encoder = Flat((SPEC,), statistics_of(Listed(chips)))
    whole = hide_half(collate_ragged(chips, {SPEC.key: SPEC}), encoder, 3).layers[SPEC.key]
    alone = hide_half(collate_ragged(chips[2:3], {SPEC.key: SPEC}), encoder, 3).layers[SPEC.key]
    assert torch.equal(whole.dated[2:3], alone.dated)
    assert torch.equal(whole.measured[2:3], alone.measured)


def test_moments_are_numpys():
    whole = chip(0, 7, 9)
    found = moments_of(whole)
    rows = whole.layers[SPEC.key].pixels.reshape(16, -1).astype(np.float64)
    assert found.mean == pytest.approx(rows.mean(axis=1), abs=1e-6)
    assert found.covariance == pytest.approx(np.cov(rows), abs=1e-6)


def test_leaks_are_found():
    chips = [chip(number, 2, 2) for number in range(6)]
    digests = [pixel_digest(each) for each in chips]
    groups = [each.group for each in chips]
    clean = look_for_leaks(groups, digests, Fold("1", np.array([0, 3, 1]), np.array([2, 5])))
    assert not clean.found
    assert clean.words() == ""
    torn = look_for_leaks(groups, digests, Fold("1", np.array([0, 1]), np.array([3, 2])))
    assert torn.found
    assert torn.words() == "1 groups on both sides"
    twins = [*digests[:5], digests[0]]
    copied = look_for_leaks(groups, twins, Fold("1", np.array([0, 3]), np.array([2, 5])))
    assert not copied.found
    assert copied.words() == "1 test samples have the pixels of a training sample"


@given(st.integers(5, 40), st.integers(2, 5), st.integers(0, 100))
def test_regions_are_all_there_and_of_a_like_size(count, parts, seed):
    centres = np.random.default_rng(seed).normal(size=(count, 2))
    numbers = part_places(centres, np.ones(count, int), parts)
    sizes = np.bincount(numbers, minlength=parts)
    assert len(sizes) == parts
    assert sizes.min() >= 1
    assert sizes.max() <= 2 * count / parts + 2


def test_validation_shares_no_group_with_what_is_fitted():
    chips = Listed([chip(number, 2, 2) for number in range(12)])
    fitted, judge = validation_of(chips, 0)
    assert len(fitted) + len(judge) == 12
    assert not set(fitted.groups) & set(judge.groups)
