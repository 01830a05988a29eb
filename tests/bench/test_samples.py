"""Pieces, budgets, hidden inputs, regions and leaks."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from bench_fakes import Flat
from hypothesis import given
from hypothesis import strategies as st

from earthloom.bench.held_out import held_out
from earthloom.bench.hidden import hide_half
from earthloom.bench.leak import answer_digest, look_for_leaks, pixel_digest
from earthloom.bench.pieces import Held, cut_into_pieces, draw_evenly, moments_of
from earthloom.bench.problem import bands_of, part_places
from earthloom.bench.run import validation_of
from earthloom.bench.truth import few, read_truth
from earthloom.chips.folds import Fold
from earthloom.errors import ContractError
from earthloom.fit.statistics import statistics_of
from earthloom.sample import IGNORE, Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.room import collate_ragged
from earthloom.sample.samples import Listed
from earthloom.sample.target import Boxes, SceneValue

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


def test_an_answer_has_a_digest_of_its_own():
    """Two labels at each other's place have the same counts, and are other data."""
    one = chip(1, 2, 2)
    swapped = replace(one, label=one.label[::-1].copy())
    boxes = [replace(one, label=None, target=Boxes.upright(np.array([[0, 0, n, 1]]), np.array([1])))
             for n in (1, 2)]  # fmt: skip
    weighed = replace(one, weight=np.full((2, 2), 2, np.float32))
    several = [one, swapped, weighed, *boxes, chip(1, 2, 2, SceneValue(1.0, "m"))]
    assert (one.label != swapped.label).any()
    assert len({answer_digest(each) for each in several}) == len(several)
    assert answer_digest(one) == answer_digest(chip(1, 2, 2))


def test_an_index_beside_bands_is_no_radar():
    mixed = replace(SPEC, wavelengths_nm=(None, None, 645.0, 850.0))
    radar = replace(SPEC, sensor="sentinel-1-rtc", bands=("vv",), wavelengths_nm=(None,))
    assert bands_of([mixed]) == "multispectral"
    assert bands_of([mixed, radar]) == "optical+radar"
    assert bands_of([radar]) == "other"


@given(st.integers(5, 40), st.integers(2, 5), st.integers(0, 100))
def test_regions_are_all_there_and_of_a_like_size(count, parts, seed):
    centres = np.random.default_rng(seed).normal(size=(count, 2))
    numbers = part_places(centres, np.ones(count, int), parts)
    sizes = np.bincount(numbers, minlength=parts)
    assert len(sizes) == parts
    assert sizes.min() >= 1
    assert sizes.max() <= 2 * count / parts + 2


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), min_size=2, max_size=40),
    st.integers(0, 100),
)
def test_every_class_is_learnt_and_judged_where_single_samples_are_held_out(drawn, seed):
    """Of n samples of a class about n / 4 judge, one at least if there are two."""
    counts = np.eye(4, dtype=np.int64)[[code for code, _ in drawn]]
    judge = held_out([str(number) for number in range(len(drawn))], counts, seed)
    for column in counts.T:
        n, held = int(column.sum()), int(column[judge].sum())
        if n == 1 and len(set(counts.argmax(axis=1))) < len(drawn):
            assert held == 0
        elif n > 1:
            assert 1 <= held < n
            assert held <= max(1, n / 4 + 1)


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 6)), min_size=2, max_size=40),
    st.integers(0, 100),
)
def test_held_out_groups_are_whole_and_take_no_class_away(drawn, seed):
    codes, places = np.array(drawn).T
    counts, groups = np.eye(4, dtype=np.int64)[codes], [str(place) for place in places]
    judge = held_out(groups, counts, seed)
    assert np.array_equal(judge, held_out(groups, counts, seed))
    assert not {*places[judge]} & {*places[~judge]}
    assert judge.any() == (len(set(groups)) > 1)
    takes = {place: [c for c in {*codes[places == place]} if (places[codes == c] == place).all()]
             for place in places}  # fmt: skip
    if any(not lost for lost in takes.values()) and judge.any():
        assert {*codes[judge]} <= {*codes[~judge]}
    assert not judge.all()


def test_a_class_of_two_places_is_judged_at_one():
    """Dealing without a look at classes leaves it out of one side for most seeds."""
    groups = [f"place {number // 2}" for number in range(40)]
    codes = np.array([0] * 36 + [1] * 4)
    for seed in range(20):
        judge = held_out(groups, np.eye(2, dtype=np.int64)[codes], seed)
        assert codes[judge].sum() == 2
        assert 8 <= judge.sum() <= 12


def test_validation_shares_no_group_with_what_is_fitted():
    chips = Listed([chip(number, 2, 2) for number in range(12)])
    fitted, judge = validation_of(chips, read_truth(chips, 3), 0)
    assert len(fitted) + len(judge) == 12
    assert not set(fitted.groups) & set(judge.groups)


def test_validation_of_values_has_low_and_high_ones():
    chips = Listed([replace(chip(n, 1, 1, SceneValue(float(n), "m")), group="") for n in range(25)])
    for seed in range(5):
        fitted, judge = validation_of(chips, read_truth(chips, 0), seed)
        for part in (fitted, judge):
            fifths = {int(part[at].target.value) // 5 for at in range(len(part))}
            assert fifths == set(range(5))
