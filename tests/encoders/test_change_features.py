"""Change features: laws of what they must and must not see."""

import numpy as np
import pytest
import torch

from earthloom.encoders import Statistics
from earthloom.encoders.change_features import ChangeFeatures
from earthloom.errors import ContractError
from earthloom.sample import Chip, Layer, LayerSpec, Moments, Shape2d
from earthloom.sample.batch import collate

FINE = LayerSpec("s", 10, ("green", "red"), "1", ("1", "2"), (560.0, 665.0))
COARSE = LayerSpec("s", 20, ("swir",), "1", ("1", "2"), (1610.0,), factor=2)
SPECS = (FINE, COARSE)
SIZE = Shape2d(64, 64)
STATISTICS = {
    spec.key: Statistics((0.0,) * len(spec.bands), (1.0,) * len(spec.bands)) for spec in SPECS
}


def _chip(gain=1.0, offset=0.0, changed=False, seed=0):
    """Two dates of one scene, the second with another light, and with a changed square."""
    random = np.random.default_rng(seed)
    layers, pooled = {}, []
    for spec in SPECS:
        rows, cols = SIZE.rows // spec.factor, SIZE.cols // spec.factor
        scene = 0.2 + 0.05 * random.normal(size=(len(spec.bands), rows, cols))
        noise = 0.005 * random.normal(size=(2, len(spec.bands), rows, cols))
        pixels = np.stack([scene, gain * scene + offset]) + noise
        if changed:
            part = slice(24 // spec.factor, 40 // spec.factor)
            pixels[1, :, part, part] += 0.25
        layers[spec.key] = Layer(
            spec, pixels.astype(np.float32), np.ones((2, rows, cols), bool), np.zeros(2, np.int32)
        )
        step = 2 // spec.factor
        mean = pixels.reshape(2, len(spec.bands), 32, step, 32, step).mean(axis=(3, 5))
        pooled.append(mean.reshape(-1, 32 * 32))
    values = np.concatenate(pooled)
    moments = Moments(values.mean(1).astype(np.float32), np.cov(values).astype(np.float32))
    return Chip("c", SIZE, layers, moments=moments)


def _features(chip):
    return ChangeFeatures(SPECS, STATISTICS)(collate([chip]))


def test_shape_and_count_are_as_declared():
    encoder, found = ChangeFeatures(SPECS, STATISTICS), _features(_chip())
    assert found.pixels.shape == (1, encoder.channels, 32, 32)
    assert encoder.stride == 2
    assert found.seen.all()
    assert torch.isfinite(found.pixels).all()


def test_light_of_the_whole_place_is_not_change():
    plain, brighter = _features(_chip()).pixels, _features(_chip(gain=1.4, offset=0.05)).pixels
    # The noise of the second date is stretched less than its signal, hence no exact equality.
    assert (plain - brighter).abs().mean() < 0.15 * plain.abs().mean()


def test_changed_square_is_the_most_unusual():
    chip = _chip(changed=True)
    encoder = ChangeFeatures(SPECS, STATISTICS)
    bands = 3
    unusual = encoder(collate([chip])).pixels[0, 3 * bands + 1 + 3 + bands]
    inside = torch.zeros(32, 32, dtype=torch.bool)
    inside[12:20, 12:20] = True
    assert unusual[inside].median() > 2 * unusual[~inside].median()


def test_a_cell_unseen_on_one_date_is_not_seen():
    chip = _chip()
    chip.layers[FINE.key].valid[1, 0, 0] = False
    chip.layers[FINE.key].pixels[1, :, 0, 0] = np.nan
    found = _features(chip)
    assert not found.seen[0, 0, 0]
    assert found.seen[0].sum() == 32 * 32 - 1
    assert torch.isfinite(found.pixels).all()


def test_three_dates_are_refused():
    three = LayerSpec("s", 10, ("red",), "1", ("1", "2", "3"), (665.0,))
    with pytest.raises(ContractError, match=r"compares two dates; layer s_10m has 3"):
        ChangeFeatures((three,), {three.key: Statistics((0.0,), (1.0,))})


def test_moments_of_the_place_are_required():
    chip = _chip()
    without = Chip("c", SIZE, chip.layers)
    with pytest.raises(ContractError, match="moments"):
        _features(without)
