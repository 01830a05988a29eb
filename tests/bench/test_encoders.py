"""Encoders as a bench makes them: what they serve, and what they refuse in words."""

import numpy as np
import pytest
import torch
from test_samples import SPEC, chip

from earthloom.bench import registry
from earthloom.bench.flat import FlatChip
from earthloom.errors import ContractError
from earthloom.fit.statistics import statistics_of
from earthloom.sample import Listed
from earthloom.sample.room import collate_ragged

MADE = dict(registry.OWN_ENCODERS)


def made(name: str, rows: int, cols: int, count: int = 6):
    samples = Listed([chip(number, rows, cols) for number in range(count)])
    encoder = MADE[name]((SPEC,), statistics_of(samples), samples, 0)
    return encoder, collate_ragged(samples.chips, samples.specs)


def test_flat_holds_every_number():
    encoder, batch = made("flat", 2, 5)
    features = encoder(batch)
    assert features.scene().shape == (6, encoder.scene_channels) == (6, 4 * 4 * 2 * 5)
    assert features.pixels.shape == (6, encoder.channels, 2, 5)
    layer = batch.layers[SPEC.key]
    expected = encoder.normalised(SPEC, layer).reshape(6, -1)
    torch.testing.assert_close(features.scene(), expected)
    torch.testing.assert_close(features.pixels.reshape(6, -1), expected)


def test_flat_is_for_chips_of_one_small_shape():
    encoder, _ = made("flat", 2, 5)
    with pytest.raises(ContractError, match="made for chips of 2 x 5 pixels, not 3 x 5"):
        encoder(made("flat", 3, 5)[1])
    with pytest.raises(ContractError, match="most are 8192"):
        made("flat", 40, 40)
    with pytest.raises(ContractError, match="it would be 'raw'"):
        made("flat", 1, 1)
    assert FlatChip.name in MADE


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (1, 9), (12, 12)])
def test_random_convolutions_of_any_chip(rows, cols):
    encoder, batch = made("random-conv", rows, cols)
    features = encoder(batch)
    assert features.pixels.shape == (6, encoder.channels, rows, cols)
    assert torch.isfinite(features.pixels).all()
    assert encoder.radius == 0 if min(rows, cols) == 1 else encoder.radius > 0
    assert np.ptp(features.scene().numpy(), axis=0).max() > 0


@pytest.mark.parametrize("name", sorted(registry.LEAST_SIDE))
def test_networks_for_images_refuse_series(name):
    with pytest.raises(ContractError, match=f"{name} does not serve chips of 1 x 1 pixels"):
        made(name, 1, 1)
