"""Chips of many sizes, brought to one."""

from dataclasses import replace

import numpy as np
import pytest
from answers import RAGGED_SPECS, Ragged, assert_same, image_of_boxes, make_ragged
from hypothesis import given
from hypothesis import strategies as st

from earthloom.chips.loader import Loader, Loading
from earthloom.chips.sampling import Grid, Sampler
from earthloom.errors import ContractError
from earthloom.sample import IGNORE
from earthloom.sample.fitted import Fitted
from earthloom.sample.target import Counts, PixelValues

SIZES = ((8, 8), (6, 14), (4, 4), (12, 10), (14, 2))
SPECS = RAGGED_SPECS


@given(size=st.integers(1, 9).map(lambda half: 2 * half), number=st.integers(0, len(SIZES) - 1))
def test_all_parts_are_padded_or_cut_together(size, number):
    before, found = make_ragged(number, *SIZES[number]), Fitted(Ragged(SIZES), size)[number]
    assert found.shape == found.place.shape == (size, size)
    assert (found.id, found.group) == (before.id, before.group)
    left, top = round(found.place.transform[2] / 10), round(-found.place.transform[5] / 10)
    assert left == max(before.shape.cols - size, 0) // 4 * 2
    assert top == max(before.shape.rows - size, 0) // 4 * 2
    rows, cols = min(size, before.shape.rows), min(size, before.shape.cols)
    inside = (slice(top, top + rows), slice(left, left + cols))
    for what, beyond in (("label", IGNORE), ("weight", 0)):
        plane = getattr(found, what)
        np.testing.assert_array_equal(plane[:rows, :cols], getattr(before, what)[inside])
        assert (plane[rows:] == beyond).all()
        assert (plane[:, cols:] == beyond).all()
    for key, layer in found.layers.items():
        factor = layer.spec.factor
        assert layer.valid.sum() == len(layer.days) * (rows // factor) * (cols // factor)
        np.testing.assert_array_equal(np.isnan(layer.pixels).any(1), ~layer.valid)
        part = before.layers[key].pixels[
            ..., top // factor : (top + rows) // factor, left // factor : (left + cols) // factor
        ]
        np.testing.assert_array_equal(layer.pixels[..., : rows // factor, : cols // factor], part)
    whole = Fitted(Ragged(SIZES), size, least_seen=0.0)[number]
    drawn = image_of_boxes(whole.target, size, size)
    np.testing.assert_array_equal(drawn[:rows, :cols], found.label[:rows, :cols])


def test_a_chip_that_fits_is_left_alone():
    assert_same(Fitted(Ragged(SIZES), 8)[0].target, make_ragged(0, 8, 8).target)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_takes_them(workers):
    fitted = Fitted(Ragged(SIZES), 8)
    order = Sampler(Grid(np.arange(len(fitted))), seed=0)
    loader = Loader(fitted, order, Loading(3, workers=workers))
    targets = [target for batch in loader for target in batch.targets]
    for number, target in enumerate(targets):
        assert_same(target, fitted[number].target)
    assert len(targets) == len(SIZES)
    loader.close()


def test_a_loader_names_what_brings_chips_to_one_size():
    order = Sampler(Grid(np.arange(len(SIZES))), seed=0)
    with pytest.raises(ContractError, match=r"chip-1 has the shape \(6, 14\); .*Fitted brings"):
        list(Loader(Ragged(SIZES), order, Loading(3)))


def test_sizes_that_do_not_fit_the_layers():
    with pytest.raises(ContractError, match="to 7 pixels; the layers need a multiple of 2"):
        Fitted(Ragged(SIZES), 7)


def test_an_answer_of_another_size_than_its_chip():
    values = PixelValues(np.zeros((8, 7), np.float32), "m")
    with pytest.raises(ContractError, match="has 8 x 8 pixels, and an answer of 8 x 7"):
        replace(make_ragged(0, 8, 8), target=values)


def test_groups_and_length_are_those_of_the_samples():
    fitted = Fitted(Ragged(SIZES), 8)
    assert fitted.groups == Ragged(SIZES).groups
    assert (len(fitted), fitted.specs) == (len(SIZES), SPECS)
    assert fitted.shape == (8, 8)


def test_counts_are_lost_by_cutting_and_kept_by_padding():
    counts = Counts(np.array([1], np.uint8), np.array([3], np.float32))

    class Counted(Ragged):
        def __getitem__(self, index):
            return replace(super().__getitem__(index), target=counts)

    found = [chip.target for chip in map(Fitted(Counted(SIZES), 8).__getitem__, range(len(SIZES)))]
    assert [target is None for target in found] == [False, True, False, True, True]
