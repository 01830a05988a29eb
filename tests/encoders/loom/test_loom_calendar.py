"""Means of parts of the spectrum in windows of the year, which go out of Loom as they are."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch

from earthloom.encoders import Statistics
from earthloom.encoders.loom import LEARNT, Loom
from earthloom.encoders.loom.bands import BandFacts, facts_of
from earthloom.encoders.loom.calendar import Seasons
from earthloom.encoders.loom.ranges import REFLECTANCE, usual_of
from earthloom.encoders.loom.slots import SLOTS, slot_of
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch, LayerBatch
from earthloom.sensors import known_sensors, load_sensor

DATES = tuple(f"{number:02d}" for number in range(1, 10))
SERIES = LayerSpec(
    "s2", 10, ("red", "edge", "nir a", "nir b"), "1", DATES, (665.0, 705.0, 833.0, 865.0)
)
OTHER = LayerSpec("landsat", 30, ("nir", "swir"), "1", DATES[:4], (865.0, 1610.0), factor=3)
RADAR = LayerSpec("sentinel-1-rtc", 10, ("vv", "vh"), "linear power", ("1",), (None, None))
HEIGHT = LayerSpec("cop-dem-glo-30", 10, ("data",), "m", ("static",), (None,))


def loom_for(*layers):
    statistics = {e.key: Statistics((0.2,) * len(e.bands), (0.1,) * len(e.bands)) for e in layers}
    return Loom(layers, statistics).eval()


def layer_of(spec, seed=0, rows=6, count=2, cloudy=0.4):
    random = np.random.default_rng(seed)
    size = (rows // spec.factor,) * 2
    pixels = random.random((count, len(spec.dates), len(spec.bands), *size), np.float32) * 0.6
    valid = random.random((count, len(spec.dates), *size)) >= cloudy
    days = np.sort(random.integers(19000, 19500, (count, len(spec.dates)))).astype(np.int32)
    return LayerBatch(*(torch.from_numpy(each) for each in (pixels, valid, days)))


def year(loom, **layers):
    """(B, M, K, H, W) by the layers of a batch."""
    batch = Batch(("a", "b"), {spec.key: layers[spec.sensor] for spec in loom.layers}, None)
    with torch.inference_mode():
        found = loom(batch).pixels[:, LEARNT:]
    return found.unflatten(1, (loom.seasons.windows, len(loom.seasons.slots)))


def expected(layer, bands, window, weights=None):
    """(B, H, W) the mean of bands in one window of 36, number by number, and its weight."""
    ranged = REFLECTANCE(layer.pixels[:, :, bands]).double().mean(dim=2)
    days = layer.days.double()
    angle = (days * 2 * np.pi / 365.2425)[..., None, None] - 2 * np.pi * window / 36
    near = torch.cos(angle) - 1
    weight = torch.exp(120 * near) + 1e-2 * torch.exp(24 * near) + 1e-4 * torch.exp(4 * near) + 1e-6
    weight = weight * layer.valid
    return (ranged * weight).sum(dim=1), weight.sum(dim=1)


def test_every_band_of_every_sensor_has_a_slot():
    found = defaultdict(set)
    for name in known_sensors():
        for band in load_sensor(name).bands:
            if band.kind != "class":
                spec = LayerSpec(
                    name, band.gsd, (band.name,), band.unit, ("1",), (band.wavelength_nm,)
                )
                found[SLOTS[slot_of(facts_of(spec)[0])]].add(f"{name} {band.name}")
    assert set(found) == set(SLOTS)
    assert {"sentinel-2-l2a B04", "landsat-oli-c2-l2 red"} <= found["red"]
    assert {"sentinel-2-l2a B05", "sentinel-2-l2a B06"} <= found["red edge"]
    assert {"sentinel-2-l2a B8A", "landsat-oli-c2-l2 nir08"} <= found["near"]
    assert "sentinel-2-l2a B12" in found["short-wave 2"]
    assert "sentinel-1-rtc vh" in found["crossed polarisation"]
    assert found["normalised difference"] == {"modis-mod13q1 ndvi"}
    assert found["index"] == {"modis-mod13q1 evi"}


@pytest.mark.parametrize(
    ("band", "slot"),
    [
        (BandFacts("optical", 1, 450.0), "blue"),
        (BandFacts("optical", 1, 2200.0), "short-wave 2"),
        (BandFacts("optical", 1), "red"),
        (BandFacts("radar", 1, 5e7), "same polarisation"),
        (BandFacts("radar", 1, 5e7, polarisation="HV"), "crossed polarisation"),
        (BandFacts("thermal", 1, 10900.0), "thermal"),
    ],
)
def test_a_band_belongs_where_it_measures(band, slot):
    assert SLOTS[slot_of(band)] == slot


def test_what_goes_out_is_what_the_layers_can_fill():
    assert loom_for(SERIES).channels == LEARNT + 36 * 3
    assert loom_for(SERIES, OTHER).channels == LEARNT + 36 * 4
    assert loom_for(RADAR, HEIGHT).channels == LEARNT + 3


def test_means_are_those_of_dates_that_were_seen():
    loom, layer = loom_for(SERIES), layer_of(SERIES)
    layer.valid[0, :, 2, 3] = False
    found = year(loom, s2=layer)
    for window in (0, 11, 35):
        for slot, bands in enumerate(([0], [1], [2, 3])):
            total, weight = expected(layer, bands, window)
            mean = torch.where(weight > 0, total / weight.clamp_min(1e-30), 0.0)
            torch.testing.assert_close(
                found[:, window, slot].double(), mean, atol=2e-3, rtol=1e-3, msg=str(slot)
            )
    assert (found[0, :, :, 2, 3] == 0).all()


def test_layers_fill_a_slot_together():
    series, other = layer_of(SERIES), layer_of(OTHER, seed=1, cloudy=0.0)
    # One pixel a sample, so that no enlargement stands between.
    other.pixels[:] = other.pixels[..., :1, :1]
    found = year(loom_for(SERIES, OTHER), s2=series, landsat=other)
    for window in (3, 12):
        mine, weight = expected(series, [2, 3], window)
        theirs, more = (each[:, :1, :1] for each in expected(other, [0], window))
        torch.testing.assert_close(
            found[:, window, 2].double(), (mine + theirs) / (weight + more), atol=2e-3, rtol=1e-3
        )


def test_a_slot_is_of_the_bands_that_are_there():
    """And where there are none it has what it usually has, by the statistics."""
    layer = layer_of(SERIES)
    there = torch.tensor([[True, True, True, False], [False, True, True, True]])
    found = year(loom_for(SERIES), s2=replace(layer, measured=there))
    total, weight = expected(layer, [2], 5)
    mean = torch.where(weight > 0, total / weight.clamp_min(1e-30), 0.0)
    torch.testing.assert_close(found[0, 5, 2].double(), mean[0], atol=2e-3, rtol=1e-3)
    usual = usual_of(REFLECTANCE, torch.tensor([0.2]), torch.tensor([0.1]))
    torch.testing.assert_close(found[1, :, 0], usual.expand(found[1, :, 0].shape))
    assert (found[0, :, 0] - usual).abs().max() > 0.1


def test_a_single_date_is_as_it_was_seen():
    spec = replace(SERIES, dates=("1",))
    layer = layer_of(spec, cloudy=0.0)
    found = year(loom_for(spec), s2=layer)
    torch.testing.assert_close(found[:, 0, 0], REFLECTANCE(layer.pixels[:, 0, 0]))
    # The network is told the same as of a series with one date that was seen.
    many = loom_for(SERIES)
    other = loom_for(spec)
    other.load_state_dict(many.state_dict())
    long = layer_of(SERIES)
    long.pixels[:, 3], long.days[:, 3] = layer.pixels[:, 0], layer.days[:, 0]
    long.valid[:] = False
    long.valid[:, 3] = True
    with torch.inference_mode():
        few, seen = (
            loom(Batch(("a", "b"), {each.key: data}, None)).pixels[:, :LEARNT]
            for loom, each, data in ((other, spec, layer), (many, SERIES, long))
        )
    torch.testing.assert_close(few, seen, atol=1e-4, rtol=1e-3)


def test_windows_of_the_year_come_again():
    seasons = Seasons((0,), 36)
    days = torch.tensor([[19000, 19000 + 365, 19183]])
    weights = seasons.weights(days, moves=True)
    assert weights.shape == (1, 36, 3)
    torch.testing.assert_close(weights[..., 0], weights[..., 1], atol=0.01, rtol=0.05)
    apart = abs(int(weights[0, :, 0].argmax()) - int(weights[0, :, 2].argmax()))
    assert min(apart, 36 - apart) >= 17
    assert (seasons.weights(days, moves=False).diff(dim=1) == 0).all()
