"""The sample contract: windows, layers, chips and batches."""

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.errors import ContractError
from earthloom.sample import (
    IGNORE,
    Chip,
    Layer,
    LayerSpec,
    Moments,
    Place,
    Shape2d,
    Subset,
    Window,
    weight_unless_one,
)
from earthloom.sample.batch import collate
from earthloom.sample.room import collate_ragged
from earthloom.sample.target import PixelValues

SPEC = LayerSpec("optical", 20.0, ("red", "nir"), "1", ("2023-05", "2023-06"), (660.0, None), 2)

sides = st.integers(-50, 50)
lengths = st.integers(1, 50)


def _layer(spec=SPEC, rows=3, cols=4, seed=0):
    times, bands = len(spec.dates), len(spec.bands)
    rng = np.random.default_rng(seed)
    valid = rng.random((times, rows, cols)) > 0.4
    pixels = rng.random((times, bands, rows, cols)).astype(np.float32)
    pixels[~valid[:, None].repeat(bands, 1)] = np.nan
    return Layer(spec, pixels, valid, np.arange(times, dtype=np.int32))


def _chip(name="a", label=True, **changes):
    layers = {SPEC.key: _layer()}
    codes = np.ones((6, 8), np.uint8) if label else None
    return dataclasses.replace(Chip(name, Shape2d(6, 8), layers, codes), **changes)


@settings(deadline=None, max_examples=60)
@given(sides, sides, lengths, lengths, st.integers(1, 6))
def test_coarser_is_the_same_rectangle(row, col, rows, cols, factor):
    window = Window(row * factor, col * factor, Shape2d(rows * factor, cols * factor))
    assert window.coarser(factor) == Window(row, col, Shape2d(rows, cols))


@settings(deadline=None, max_examples=60)
@given(sides, sides, lengths, lengths, st.integers(2, 6))
def test_coarser_refuses_what_would_be_cut(row, col, rows, cols, factor):
    window = Window(row, col, Shape2d(rows, cols))
    if any(edge % factor for edge in (row, col, rows, cols)):
        with pytest.raises(ContractError, match=f"must be a multiple of {factor}"):
            window.coarser(factor)
    else:
        assert window.coarser(factor).shape.rows * factor == rows


@settings(deadline=None, max_examples=40)
@given(sides, sides, sides, sides)
def test_window_of_a_window(row, col, down, right):
    place = Place("EPSG:32632", (10.0, 0.0, 5e5, 0.0, -10.0, 5e6), Shape2d(100, 100))
    twice = place.window(Window(row, col, Shape2d(60, 60))).window(
        Window(down, right, Shape2d(7, 8))
    )
    assert twice == place.window(Window(row + down, col + right, Shape2d(7, 8)))


def test_specification_round_trip():
    assert LayerSpec.from_json(SPEC.to_json()) == SPEC
    assert SPEC.key == "optical_20m"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"bands": ("nir", "red")}, "expects bands"),
        ({"unit": "dB"}, "expects unit = 1 in layer optical_20m, but got dB"),
        ({"gsd": 10.0}, "expects gsd"),
        ({"factor": 1}, "expects factor"),
        ({"sensor": "radar"}, "expects sensor"),
        ({"dates": ("2023-05",)}, r"expects 2 dates \(2023-05, 2023-06\).* got 1 \(2023-05\)"),
    ],
)
def test_specification_refuses_what_it_is_not(change, words):
    with pytest.raises(ContractError, match=words):
        SPEC.check(dataclasses.replace(SPEC, **change))


def test_another_year_of_the_same_kind_fits():
    SPEC.check(dataclasses.replace(SPEC, dates=("2024-05", "2024-06")))


def test_layers_must_be_what_they_say():
    layer = _layer()
    with pytest.raises(ContractError, match="1 dates and 2 bands"):
        dataclasses.replace(layer, pixels=layer.pixels[:1])
    with pytest.raises(ContractError, match="valid"):
        dataclasses.replace(layer, valid=layer.valid[:1])
    with pytest.raises(ContractError, match="days"):
        dataclasses.replace(layer, days=layer.days[:1])


def test_batch_holds_chips_side_by_side():
    chips = [_chip("a"), _chip("b", layers={SPEC.key: _layer(seed=1)})]
    batch = collate(chips)
    assert batch.ids == ("a", "b")
    layer = batch.layers[SPEC.key]
    assert layer.pixels.shape == (2, 2, 2, 3, 4)
    assert layer.pixels.dtype == torch.float32
    assert batch.label.shape == (2, 6, 8)
    np.testing.assert_array_equal(layer.pixels[1], chips[1].layers[SPEC.key].pixels)
    assert torch.isnan(layer.pixels).any(dim=2).equal(~layer.valid)
    assert batch.to("cpu").label.equal(batch.label)


def _weight(value=0.5):
    return np.full((6, 8), value, np.float32)


@pytest.mark.parametrize(
    "together", [collate, lambda chips: collate_ragged(chips, {SPEC.key: SPEC})]
)
def test_chips_without_weights_count_as_1_beside_others(together):
    batch = together([_chip("a"), _chip("b", weight=_weight(0.5)), _chip("c")])
    assert batch.weight.dtype == torch.float32
    assert batch.weight[:, 0, 0].tolist() == [1.0, 0.5, 1.0]
    assert batch.weight.amax((1, 2)).equal(batch.weight.amin((1, 2)))
    assert batch.to("cpu").weight.equal(batch.weight)
    assert together([_chip("a"), _chip("b")]).weight is None
    values = PixelValues(np.ones((6, 8), np.float32), "1")
    alone = together([_chip("a", label=None, target=values, weight=_weight(0.5))])
    assert alone.label is None
    assert (alone.weight == 0.5).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weight": _weight()[:3]}, "and weights of 3, 8"),
        ({"weight": _weight(-0.5)}, "of -0.5 to -0.5; valid are 0 and above"),
        ({"weight": _weight(np.nan)}, "of nan to nan"),
        ({"weight": _weight(np.inf)}, "of inf to inf"),
    ],
)
def test_weights_that_cannot_be(change, words):
    with pytest.raises(ContractError, match="chip a has .*" + words):
        dataclasses.replace(_chip("a"), **change)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.booleans())
def test_what_does_not_count_is_not_in_the_usable_label(seed, weighted):
    rng = np.random.default_rng(seed)
    label = rng.choice(np.array([0, 1, 7, IGNORE], np.uint8), (6, 8))
    weight = rng.choice(np.array([0, 0.5, 2], np.float32), (6, 8)) if weighted else None
    chip = dataclasses.replace(_chip("a"), label=label, weight=weight)
    for row, col in np.ndindex(6, 8):
        counts = label[row, col] != IGNORE and (weight is None or weight[row, col] > 0)
        assert chip.usable_label[row, col] == (label[row, col] if counts else 0)
    np.testing.assert_array_equal(collate([chip]).usable_label[0], chip.usable_label)


def test_weights_of_1_say_nothing():
    label = np.array([[0, 1, IGNORE]], np.uint8)
    assert weight_unless_one(label, np.array([[0, 1, 0]], np.float32)) is None
    uneven = np.array([[0, 0.5, 0]], np.float32)
    assert weight_unless_one(label, uneven) is uneven


@pytest.mark.parametrize(
    ("other", "words"),
    [
        (_chip("b", label=False), "with and without labels"),
        (_chip("b", shape=Shape2d(8, 8)), "beside it has"),
        (_chip("b", layers={}), "beside it has"),
        (
            _chip("b", moments=Moments(np.zeros(4, np.float32), np.eye(4, dtype=np.float32))),
            "with and without moments",
        ),
    ],
)
def test_chips_that_do_not_go_together(other, words):
    with pytest.raises(ContractError, match=words):
        collate([_chip("a"), other])


def test_subset_is_some_of_them():
    class Listed(list):
        specs = {SPEC.key: SPEC}  # noqa: RUF012
        groups = ("x", "y", "z")

    part = Subset(Listed([_chip("a"), _chip("b"), _chip("c")]), [2, 0])
    assert len(part) == 2
    assert [part[0].id, part[1].id] == ["c", "a"]
    assert part.groups == ["z", "x"]
    assert part.specs == {SPEC.key: SPEC}
