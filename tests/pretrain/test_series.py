"""Series of single pixels of simulated kinds of land."""

import numpy as np
import pytest
import torch

from earthloom.encoders.loom import Loom
from earthloom.errors import ContractError
from earthloom.fit.statistics import statistics_of
from earthloom.pretrain import Contrast, Draw, Masked, Sum
from earthloom.pretrain.phenology import RANGES, draw_kinds, draw_pixels, reflectance_of
from earthloom.pretrain.series import SimulatedSeries
from earthloom.sample import Subset
from earthloom.sample.batch import collate

SMALL = SimulatedSeries(chips=64, kinds=5, chips_each=16, at_once=2)


@pytest.fixture(scope="module")
def series():
    return SMALL.open()


@pytest.fixture(scope="module")
def chips(series):
    return [series[number] for number in range(32)]


def test_a_chip_is_that_of_its_number_whoever_asks(chips):
    other = SMALL.open()
    for number in (17, 2):
        (first,), (again,) = chips[number].layers.values(), other[number].layers.values()
        assert np.array_equal(first.pixels, again.pixels, equal_nan=True)
        assert np.array_equal(first.days, again.days)
    assert not np.array_equal(*(next(iter(chips[n].layers.values())).pixels for n in (0, 2)))
    with pytest.raises(IndexError):
        other[64]


def test_some_of_its_bands_are_those_of_all(chips):
    few = SimulatedSeries(chips=64, kinds=5, chips_each=16, at_once=2, bands=("evi", "nir")).open()
    (every,), (some,) = chips[3].layers.values(), few[3].layers.values()
    assert few.spec.bands == ("evi", "nir")
    assert few.spec.wavelengths_nm == (None, 858)
    assert np.array_equal(some.pixels, every.pixels[:, [5, 1]], equal_nan=True)
    assert "(evi, nir)" in few.settings.about
    for bands in ((), ("nir", "blau")):
        with pytest.raises(ContractError, match="red, nir, blue, mir, ndvi, evi"):
            SimulatedSeries(bands=bands)


def test_landscapes_take_turns(series, chips):
    assert [chip.group for chip in chips[:4]] == [f"landscape-{n}" for n in (0, 1, 0, 1)]
    assert list(series.groups)[:32] == [chip.group for chip in chips]
    assert series.groups[32] == "landscape-2"


def test_it_is_what_the_product_would_have(chips):
    for chip in chips:
        (layer,) = chip.layers.values()
        assert layer.pixels.shape == (23, 6, 1, 1)
        assert set(np.diff(layer.days)) == {16}
        assert layer.valid.any()
        assert np.array_equal(np.isnan(layer.pixels).any(axis=1), ~layer.valid)
        seen = layer.pixels[layer.valid[:, 0, 0], :, 0, 0]
        red, nir, *_ = bands = dict(zip(layer.spec.bands, seen.T, strict=True)).values()
        assert layer.spec.bands[:2] == ("red", "nir")
        assert all((band >= -0.2).all() and (band <= 1).all() for band in bands)
        ndvi = seen[:, layer.spec.bands.index("ndvi")]
        assert ndvi == pytest.approx(np.clip((nir - red) / np.maximum(nir + red, 1e-3), -0.2, 1))
        # Kinds of the two landscapes that a batch shows have no code in common.
        first = 5 * int(chip.group == "landscape-1" or chip.group == "landscape-3")
        assert first < chip.label[0, 0] <= first + 5


def test_pixels_of_a_kind_are_more_alike_than_kinds():
    random = np.random.default_rng(0)
    kinds, which = draw_kinds(12, random), np.repeat(np.arange(12), 20)
    seen = reflectance_of(draw_pixels(kinds, which, random), np.arange(0.0, 365, 16))
    assert seen.shape == (240, 23, 4)
    assert seen.min() >= 0
    assert seen.max() < 1
    curves = seen.reshape(12, 20, -1)
    within = curves.var(axis=1).sum(axis=1).mean()
    between = curves.mean(axis=1).var(axis=0).sum()
    assert between > within


def test_a_year_ends_where_it_begins():
    pixels = np.random.default_rng(1).standard_normal((50, len(RANGES)))
    pixels[:, [list(RANGES).index(name) for name in ("trend", "event")]] = (0.0, -9.0)
    first, last = reflectance_of(pixels, np.array([0.0, 365.2425])).transpose(1, 0, 2)
    assert first == pytest.approx(last, abs=0.01)


def test_both_objectives_learn_from_single_pixels(series, chips, mini):
    torch.manual_seed(0)
    loom = Loom(tuple(series.specs.values()), statistics_of(Subset(series, range(4))), mini)
    aims = Sum((Masked(width=8), Contrast(width=8)), (1.0, 1.0))
    part = aims.part(loom)
    loss = part(loom, collate(chips), Draw(0, 0))
    assert torch.isfinite(loss.total)
    # All of them have something to hide, though neither sensors nor places can be.
    assert loss.seen["masked_easy"] > 0
    assert 0 <= loss.seen["contrast_hit"] <= 1
    loss.total.backward()
    assert all(torch.isfinite(p.grad).all() for p in loom.parameters() if p.grad is not None)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [({"times": 0}, "times is 0; valid are 1"), ({"kinds": 64}, "256; valid is below 255")],
)
def test_what_is_wrong_is_named(wrong, message):
    with pytest.raises(ContractError, match=message):
        SimulatedSeries(**wrong)
