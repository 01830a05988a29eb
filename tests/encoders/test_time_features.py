"""Laws of the time features."""

import numpy as np
import pytest
import torch

from earthloom.encoders import Statistics
from earthloom.encoders.registry import ENCODERS
from earthloom.encoders.time_features import TimeFeatures, fill_in_time, mean_around
from earthloom.errors import ContractError
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch, LayerBatch

DATES = ("01", "02", "03", "04", "05")
DAYS = torch.tensor([0, 10, 25, 60, 90], dtype=torch.int32)
FINE = LayerSpec("optical", 10, ("B4", "B8"), "1", DATES, (665.0, 842.0))
COARSE = LayerSpec("optical", 20, ("B11",), "1", DATES, (1610.0,), factor=2)
RADAR = LayerSpec("radar", 10, ("vv", "vh"), "linear power", DATES[:3], (None, None))
HEIGHT = LayerSpec("dem", 40, ("elevation",), "m", ("static",), (None,), factor=4)
LAYERS = (FINE, COARSE, RADAR, HEIGHT)
STATISTICS = {
    layer.key: Statistics((0.25,) * len(layer.bands), (0.1,) * len(layer.bands)) for layer in LAYERS
}


def _batch(layers=LAYERS, gaps=0.4, size=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    made = {}
    for spec in layers:
        side = size // spec.factor
        times = len(spec.dates)
        pixels = 0.1 + torch.rand(2, times, len(spec.bands), side, side, generator=generator)
        valid = torch.rand(2, times, side, side, generator=generator) >= gaps
        pixels = torch.where(valid[:, :, None], pixels, torch.nan)
        made[spec.key] = LayerBatch(pixels, valid, DAYS[:times].expand(2, times))
    return Batch(("a", "b"), made, None)


@pytest.mark.parametrize("radius", [0, 2])
@pytest.mark.parametrize("only_bands", [False, True])
def test_as_many_features_as_it_says_and_none_is_nan(radius, only_bands):
    encoder = TimeFeatures(LAYERS, STATISTICS, radius=radius, only_bands=only_bands)
    features = encoder(_batch())
    assert features.pixels.shape == (2, encoder.channels, 8, 8)
    assert features.pixels.dtype == torch.float32
    assert features.pixels.isfinite().all()


def test_filled_dates_are_those_of_interpolation():
    generator = torch.Generator().manual_seed(1)
    pixels = torch.rand(1, 5, 2, 6, 6, generator=generator)
    valid = torch.rand(1, 5, 6, 6, generator=generator) > 0.6
    mean = torch.tensor([7.0, 8.0])[:, None, None]
    holed = torch.where(valid[:, :, None], pixels, torch.nan)
    found = fill_in_time(holed, valid, DAYS[None], mean)
    for row, col, band in np.ndindex(6, 6, 2):
        known = valid[0, :, row, col].numpy()
        expected = (
            np.interp(DAYS, DAYS[known], pixels[0, known, band, row, col])
            if known.any()
            else np.full(5, float(mean[band]))
        )
        np.testing.assert_allclose(found[0, :, band, row, col], expected, rtol=1e-5)


def test_pixels_under_gaps_are_never_looked_at():
    clean, dirty = _batch(), _batch()
    for layer in dirty.layers.values():
        layer.pixels[layer.pixels.isnan()] = 1e9
    encoder = TimeFeatures(LAYERS, STATISTICS, radius=1)
    assert torch.equal(encoder(clean).pixels, encoder(dirty).pixels)


def test_nothing_seen_is_said_so_and_has_the_training_mean():
    encoder = TimeFeatures((FINE,), STATISTICS, only_bands=True)
    features = encoder(_batch((FINE,), gaps=2.0))
    assert not features.seen.any()
    assert torch.equal(features.pixels, torch.full_like(features.pixels, 0.25))


def test_elevation_alone_does_not_show_the_ground():
    batch = _batch(gaps=2.0)
    height = _batch(gaps=0.0).layers[HEIGHT.key]
    batch = Batch(batch.ids, {**batch.layers, HEIGHT.key: height}, None)
    assert not TimeFeatures(LAYERS, STATISTICS)(batch).seen.any()


def test_one_sensor_is_enough_to_see():
    batch = _batch(gaps=2.0)
    radar = _batch(gaps=0.0).layers[RADAR.key]
    batch = Batch(batch.ids, {**batch.layers, RADAR.key: radar}, None)
    assert TimeFeatures(LAYERS, STATISTICS)(batch).seen.all()


def test_bands_are_found_by_wavelength():
    """NDVI whatever the bands are called and however they are ordered."""
    turned = LayerSpec("other", 10, ("x", "y"), "1", DATES, (842.0, 665.0))
    statistics = {turned.key: STATISTICS[FINE.key]}
    batch = _batch((FINE,), gaps=0.0)
    pixels = batch.layers[FINE.key].pixels
    layer = LayerBatch(pixels.flip(2), *_rest(batch.layers[FINE.key]))
    ours = TimeFeatures((FINE,), STATISTICS)(batch).pixels.reshape(2, -1, 8, 8)
    theirs = TimeFeatures((turned,), statistics)(Batch(("a", "b"), {turned.key: layer}, None))
    red, nir = pixels[:, :, 0], pixels[:, :, 1]
    ndvi = (nir - red) / (nir + red)
    for features in (ours, theirs.pixels):
        torch.testing.assert_close(features[:, 2 : 3 * 5 : 3], ndvi)


def _rest(layer):
    return layer.valid, layer.days


def test_backscatter_is_in_decibel():
    encoder = TimeFeatures((RADAR,), STATISTICS, only_bands=True)
    batch = _batch((RADAR,), gaps=0.0)
    power = batch.layers[RADAR.key].pixels.flatten(1, 2)
    torch.testing.assert_close(encoder(batch).pixels, 10 * power.clamp(min=1e-5).log10())


@pytest.mark.parametrize(("layers", "reach"), [((FINE,), 2), (LAYERS[:3], 0), (LAYERS, 3)])
def test_nothing_beyond_its_radius_plays_a_part(layers, reach):
    """A window with a margin of `radius` gives its inside the same features as the whole."""
    encoder = TimeFeatures(layers, STATISTICS, radius=reach)
    whole = _batch(layers, size=64)
    coarsest = max(layer.factor for layer in layers)
    margin = -(-encoder.radius // coarsest) * coarsest
    first, last = 32 - margin, 40 + margin
    window = {}
    for spec in layers:
        cut = slice(first // spec.factor, last // spec.factor)
        layer = whole.layers[spec.key]
        window[spec.key] = LayerBatch(
            layer.pixels[..., cut, cut], layer.valid[..., cut, cut], layer.days
        )
    inside = encoder(Batch(whole.ids, window, None)).pixels[
        ..., margin : margin + 8, margin : margin + 8
    ]
    expected = encoder(whole).pixels[..., 32:40, 32:40]
    torch.testing.assert_close(inside, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(("radius", "rows"), [(1, 7), (3, 7), (4, 2)])
def test_surroundings_are_those_of_pooling(radius, rows):
    pixels = torch.rand(2, 3, rows, 9, generator=torch.Generator().manual_seed(0))
    side = 2 * radius + 1
    expected = torch.nn.functional.avg_pool2d(
        pixels, side, stride=1, padding=radius, count_include_pad=False
    )
    torch.testing.assert_close(mean_around(pixels, radius), expected)


def test_made_again_from_its_config():
    encoder = TimeFeatures(LAYERS, STATISTICS, radius=1)
    again = ENCODERS[encoder.name](LAYERS, STATISTICS, **encoder.config())
    again.load_state_dict(encoder.state_dict())
    assert torch.equal(again(_batch()).pixels, encoder(_batch()).pixels)


def test_layers_on_different_grids_are_refused():
    batch = _batch()
    wrong = _batch(size=16).layers[COARSE.key]
    batch = Batch(batch.ids, {**batch.layers, COARSE.key: wrong}, None)
    with pytest.raises(ContractError, match="different grids"):
        TimeFeatures(LAYERS, STATISTICS)(batch)
