"""What masked reconstruction hides, and what it scores."""

from dataclasses import replace

import pytest
import torch

from earthloom.errors import ContractError
from earthloom.pretrain import Draw, Masked
from earthloom.pretrain.hiding import (
    WAYS,
    hidden_values,
    hide,
    measured_values,
    sensors_in,
    visible,
)
from earthloom.sample.batch import Batch

DRAW = Draw(seed=3, batch=0)


def _poisoned(batch: Batch, where) -> Batch:
    """Other numbers in the values of a layer that `where` (by key) names."""
    layers = {
        key: replace(layer, pixels=torch.where(where[key], 77.0, layer.pixels))
        for key, layer in batch.layers.items()
    }
    return replace(batch, layers=layers)


@pytest.mark.parametrize("name", WAYS)
def test_what_is_hidden_has_no_influence(name, loom, batch):
    way = WAYS[name]()
    hiding = way(loom.layers, batch, DRAW.random("hide"))
    part = Masked().part(loom).eval()
    hidden = {key: hidden_values(batch.layers[key], each) for key, each in hiding.items()}
    assert any(each.any() for each in hidden.values())
    every = part.guesses(loom, visible(batch, hiding))
    others = part.guesses(loom, visible(_poisoned(batch, hidden), hiding))
    for shown, other in zip(every, others, strict=True):
        for key, guess in shown.items():
            assert torch.equal(guess, other[key])
            assert torch.isfinite(guess).all()
    # And what is left has influence.
    left = {key: measured_values(batch.layers[key]) & ~each for key, each in hidden.items()}
    moved = part.guesses(loom, visible(_poisoned(batch, left), hiding))
    for shown, other in zip(every, moved, strict=True):
        assert any(not torch.allclose(shown[key], other[key]) for key in shown)


@pytest.mark.parametrize("name", WAYS)
def test_something_is_left_of_every_chip(name, loom, batch):
    hiding = WAYS[name](share=0.9)(loom.layers, batch, DRAW.random("hide"))
    _, there = sensors_in(loom.layers, visible(batch, hiding))
    assert there.any(dim=1).all()
    for key, layer in visible(batch, hiding).layers.items():
        assert layer.measured.any(dim=1).all()
        if name == "dates":
            assert layer.valid.flatten(1).any(dim=1).all(), key


def test_sensors_are_hidden_with_all_their_layers(loom, batch):
    hiding = WAYS["sensors"]()(loom.layers, batch, DRAW.random("hide"))
    for each in hiding.values():
        whole = each.observations.flatten(1)
        assert (whole.all(dim=1) == whole.any(dim=1)).all()


def test_what_was_not_seen_is_never_scored(loom, batch):
    """Neither is what was shown; numbers under clouds change nothing."""
    part = Masked().part(loom)
    clouds = {key: ~measured_values(layer) for key, layer in batch.layers.items()}
    loss = part(loom, batch, DRAW).total
    assert torch.equal(loss, part(loom, _poisoned(batch, clouds), DRAW).total)
    ways = Masked()
    hiding = hide(ways.ways, ways.weights, loom.layers, batch, DRAW.random("hide"))
    for spec in loom.layers:
        layer, own = batch.layers[spec.key], hiding[spec.key]
        wanted = hidden_values(layer, own)
        assert not (wanted & ~measured_values(layer)).any()
        target = torch.rand_like(layer.pixels)
        scored = part.chosen(target, torch.zeros_like(target), wanted, layer.valid, spec.factor)
        assert not (scored & ~wanted).any()


def test_constant_and_cloudy_tokens_are_not_scored(loom):
    part = Masked(token=6, scored=1.0).part(loom)
    wanted = torch.ones(1, 1, 2, 24, 24, dtype=torch.bool)
    valid = torch.ones(1, 1, 24, 24, dtype=torch.bool)
    valid[..., :6, 6:12] = False
    wanted = wanted & valid[:, :, None]
    target = torch.rand(1, 1, 2, 24, 24)
    target[..., :6, :6] = 0.25
    easy = torch.full_like(target, 0.25)
    scored = part.chosen(target, easy, wanted, valid, 1)
    assert not scored[..., :6, :12].any()
    assert scored[..., 6:, :].all()
    # The difficult half: tokens far from the easy guess go before those near it.
    target[..., 12:, :] += 5
    half = Masked(token=6, scored=0.5).part(loom).chosen(target, easy, wanted, valid, 1)
    assert half[..., 12:, :].all()
    assert half[..., :12, :].float().mean() < 0.15


def test_a_sensor_that_training_never_saw_can_be_asked_for(loom, batch):
    part = Masked().part(loom)
    spec = replace(loom.layers[0], sensor="drone", bands=("x", "y", "z"))
    other = loom.over((spec,), {spec.key: _statistics(3)})
    alone = replace(batch, layers={spec.key: batch.layers[loom.layers[0].key]})
    for guesses in part.guesses(other, alone):
        assert guesses[spec.key].shape == alone.layers[spec.key].pixels.shape


def _statistics(bands):
    from earthloom.encoders import Statistics

    return Statistics((0.0,) * bands, (1.0,) * bands)


def test_settings_that_hide_nothing_are_refused():
    with pytest.raises(ContractError, match="one above 0, for: places, dates"):
        Masked(places=0, dates=0, bands=0, sensors=0)
    with pytest.raises(ContractError, match="share of places is 1"):
        Masked(share=1.0)
