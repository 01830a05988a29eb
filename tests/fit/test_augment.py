"""Augmentation: pixels, masks, labels and places move as one, by seed, chip and epoch alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.encoders import Statistics
from earthloom.errors import ContractError
from earthloom.fit.augment import Augment
from earthloom.sample import Chip, Layer, LayerSpec, Place, Shape2d
from earthloom.sample.batch import collate

DATES = ("1", "2", "3")
FINE = LayerSpec("optical", 10.0, ("x", "y"), "1", DATES, (660.0, 840.0))
COARSE = LayerSpec("optical", 20.0, ("x", "y"), "1", DATES, (1600.0, 2200.0), factor=2)
STATIC = LayerSpec("height", 10.0, ("x", "y"), "m", ("static",), (None, None))
SPECS = {spec.key: spec for spec in (FINE, COARSE, STATIC)}
STATISTICS = {key: Statistics((5.0, 7.0), (1.0, 1.0)) for key in SPECS}


def centres(place):
    """(rows, cols) x and y of the pixels' centres."""
    a, b, c, d, e, f = place.transform
    row, col = np.mgrid[: place.shape.rows, : place.shape.cols] + 0.5
    return a * col + b * row + c, d * col + e * row + f


def coarser(place, factor):
    a, b, c, d, e, f = place.transform
    shape = Shape2d(place.shape.rows // factor, place.shape.cols // factor)
    return Place(place.crs, (a * factor, b * factor, c, d * factor, e * factor, f), shape)


def code(x, y):
    """A class for each square of 10 m that a point lies in."""
    return 1 + (np.floor(x / 10) * 3 + np.floor(-y / 10) * 5) % 200


def make_chip(name, shape=Shape2d(8, 8), seen=1.0):
    """Each pixel holds where it is, so that the place of a moved chip can be compared."""
    random = np.random.default_rng(len(name))
    place = Place("EPSG:32632", (10.0, 0.0, 300.0, 0.0, -10.0, 800.0), shape)
    layers = {}
    for key, spec in SPECS.items():
        x, y = centres(coarser(place, spec.factor))
        times = len(spec.dates)
        pixels = np.broadcast_to(np.stack([x, y]), (times, 2, *x.shape)).astype(np.float32)
        valid = random.random((times, *x.shape)) < seen
        pixels = np.where(valid[:, None], pixels, np.nan).astype(np.float32)
        layers[key] = Layer(spec, pixels, valid, np.arange(times, dtype=np.int32))
    label = code(*centres(place)).astype(np.uint8)
    return Chip(name, shape, layers, label, place=place, weight=weight_of(label))


def weight_of(label):
    """A weight for each code, 0 for none, so that weights can be compared with labels."""
    return np.asarray(label, np.float32) / 4


def assert_in_place(batch, exact=True):
    """Valid pixels hold the place that the batch says that they have, and labels theirs."""
    for at, place in enumerate(batch.places):
        x, y = centres(place)
        if exact:
            np.testing.assert_array_equal(batch.label[at], code(x, y))
        np.testing.assert_array_equal(batch.weight[at], weight_of(batch.label[at]))
        for key, spec in SPECS.items():
            layer = batch.layers[key]
            wanted = np.stack(centres(coarser(place, spec.factor)))
            for pixels, valid in zip(
                layer.pixels[at].numpy(), layer.valid[at].numpy(), strict=True
            ):
                np.testing.assert_array_equal(np.isnan(pixels).any(0), ~valid)
                np.testing.assert_allclose(pixels[:, valid], wanted[:, valid], atol=1e-2)


@settings(deadline=None, max_examples=30)
@given(
    seed=st.integers(0, 1000),
    epoch=st.integers(0, 5),
    crop=st.sampled_from([None, 2, 4, 6]),
    seen=st.sampled_from([1.0, 0.6]),
)
def test_pixels_labels_and_places_move_together(seed, epoch, crop, seen):
    batch = collate([make_chip(name, seen=seen) for name in ("a", "bb", "ccc")])
    found = Augment(SPECS, seed, crop=crop)(batch, epoch)
    side = crop or 8
    assert found.label.shape == (3, side, side)
    assert_in_place(found)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000))
def test_chips_that_are_not_square_keep_their_shape(seed):
    batch = collate([make_chip(name, Shape2d(4, 8)) for name in ("a", "bb")])
    found = Augment(SPECS, seed)(batch, 0)
    assert found.label.shape == (2, 4, 8)
    assert_in_place(found)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 1000), low=st.sampled_from([0.6, 1.0, 1.3]))
def test_a_zoom_keeps_pixels_in_place(seed, low):
    """Coordinates change linearly, so bilinear values inside are exact; the margin is not."""
    batch = collate([make_chip(name, Shape2d(16, 16)) for name in ("a", "bb")])
    found = Augment(SPECS, seed, scale=(low, low * 1.2))(batch, 0)
    for at, place in enumerate(found.places):
        wanted = np.stack(centres(place))
        inner = (slice(None), slice(5, 11), slice(5, 11))
        pixels = found.layers[FINE.key].pixels[at, 0].numpy()
        np.testing.assert_allclose(pixels[inner], wanted[inner], atol=1e-2)
        assert (found.label[at].numpy()[5:11, 5:11] > 0).all()
        np.testing.assert_array_equal(found.weight[at], weight_of(found.label[at]))
        layer = found.layers[FINE.key]
        assert torch.isnan(layer.pixels[at]).any(1).equal(~layer.valid[at])
    if low < 0.7:
        assert not found.layers[FINE.key].valid[:, :, 0, 0].any()
        assert (found.label[:, 0, 0] == 0).all()


def everything(seed=3):
    return Augment(
        SPECS,
        seed,
        crop=6,
        scale=(0.9, 1.2),
        drop_dates=0.4,
        drop_bands=0.4,
        brightness=0.1,
        statistics=STATISTICS,
    )


def assert_equal(one, other):
    assert one.places == other.places
    torch.testing.assert_close(one.label, other.label, rtol=0, atol=0)
    for key, layer in one.layers.items():
        for name, tensor in vars(layer).items():
            torch.testing.assert_close(
                tensor, getattr(other.layers[key], name), rtol=0, atol=0, equal_nan=True
            )


def test_seed_chip_and_epoch_alone_decide():
    names = ["a", "bb", "ccc", "dddd"]
    whole = everything()(collate([make_chip(name) for name in names]), 2)
    assert_equal(whole, everything()(collate([make_chip(name) for name in names]), 2))
    for at, name in enumerate(names):
        alone = everything()(collate([make_chip(name)]), 2)
        assert alone.places[0] == whole.places[at]
        torch.testing.assert_close(alone.label[0], whole.label[at], rtol=0, atol=0)
        for key, layer in alone.layers.items():
            torch.testing.assert_close(
                layer.pixels[0], whole.layers[key].pixels[at], rtol=0, atol=0, equal_nan=True
            )
    places = {
        everything(seed)(collate([make_chip("a")]), epoch).places
        for seed, epoch in ((3, 2), (3, 3), (4, 2))
    }
    assert len(places) == 3


def test_nothing_asked_for_changes_nothing():
    batch = collate([make_chip("a", seen=0.5)])
    found = Augment(SPECS, 0, flips=False, turns=False)(batch, 0)
    assert found.places == batch.places
    torch.testing.assert_close(found.label, batch.label)
    torch.testing.assert_close(found.weight, batch.weight)
    for key, layer in batch.layers.items():
        torch.testing.assert_close(found.layers[key].pixels, layer.pixels, equal_nan=True)
        assert found.layers[key].valid.equal(layer.valid)


def test_a_batch_without_weights_gets_none():
    batch = collate([replace(make_chip("a"), weight=None)])
    assert everything()(batch, 0).weight is None


def test_dropped_dates_are_not_valid_and_one_is_left():
    batch = collate([make_chip("a" * number) for number in range(1, 30)])
    found = Augment(SPECS, 0, drop_dates=0.9)(batch, 0)
    layer = found.layers[FINE.key]
    left = layer.dated.sum(1)
    assert left.min() == 1
    assert left.float().mean() < 2
    assert layer.valid.all(dim=(2, 3)).equal(layer.dated)
    assert torch.isnan(layer.pixels).all(2).all(-1).all(-1).equal(~layer.dated)
    assert found.layers[STATIC.key].valid.all()


def test_dropped_bands_hold_the_mean_and_say_so():
    batch = collate([make_chip("a" * number, seen=0.7) for number in range(1, 30)])
    found = Augment(SPECS, 0, drop_bands=0.5, statistics=STATISTICS)(batch, 0)
    layer = found.layers[FINE.key]
    assert 0 < (~layer.measured).sum() < layer.measured.numel()
    assert layer.measured.any(1).all()
    assert torch.isnan(layer.pixels).any(2).equal(~layer.valid)
    hidden = layer.pixels[~layer.measured[:, None].expand(-1, 3, -1)]
    assert set(hidden[~torch.isnan(hidden)].unique().tolist()) <= {5.0, 7.0}


def test_brightness_is_of_reflectance_alone():
    batch = collate([make_chip("a"), make_chip("bb")])
    found = Augment(SPECS, 0, flips=False, turns=False, brightness=0.1)(batch, 0)
    ratio = found.layers[FINE.key].pixels / batch.layers[FINE.key].pixels
    for chip in ratio:
        assert 0.9 <= chip.mean() <= 1.1
        torch.testing.assert_close(chip, chip.mean().expand_as(chip))
    assert ratio.mean(dim=(1, 2, 3, 4)).unique().numel() == 2
    torch.testing.assert_close(found.layers[STATIC.key].pixels, batch.layers[STATIC.key].pixels)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"crop": 3}, "crop is 3, but the layers need multiples of 2"),
        ({"scale": (0.0, 1.0)}, "0 < least"),
        ({"drop_dates": 1.0}, "drop_dates is 1.0; valid are 0 to below 1"),
        ({"drop_bands": 0.1}, "not given for: optical_10m, optical_20m, height_10m"),
    ],
)
def test_settings_that_cannot_be(change, words):
    with pytest.raises(ContractError, match=words):
        replace(Augment(SPECS, 0), **change)


def test_a_crop_larger_than_the_chips():
    with pytest.raises(ContractError, match="crop is 16, but chips have 8 x 8"):
        Augment(SPECS, 0, crop=16)(collate([make_chip("a")]), 0)
