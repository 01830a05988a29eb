"""Fusion of sensors: groups, gates, and members that answer alone."""

import numpy as np
import pytest
import torch

from earthloom.encoders import Statistics
from earthloom.encoders.compose import GROUPS, build, encoders_for
from earthloom.encoders.fused import Fused, SomeLayers
from earthloom.errors import ContractError
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.room import collate_ragged

FINE = LayerSpec("optical", 10, ("red", "nir"), "1", ("1",), (660.0, 840.0))
COARSE = LayerSpec("optical", 20, ("swir",), "1", ("1",), (1610.0,), factor=2)
RADAR = LayerSpec("radar", 10, ("vv",), "1", ("1",), (None,))
HEIGHT = LayerSpec("dem", 10, ("height",), "m", ("static",), (None,))
ALL = (FINE, COARSE, RADAR, HEIGHT)
STATISTICS = {e.key: Statistics((0.5,) * len(e.bands), (0.3,) * len(e.bands)) for e in ALL}
UNET = {"name": "unet", "width": 4, "levels": 1, "norm": "batch"}
SIDE = 12


def chip(number, *, missing=(), blind=()):
    random, layers = np.random.default_rng(number), {}
    for spec in ALL:
        side = SIDE // spec.factor
        pixels = random.random((1, len(spec.bands), side, side)).astype(np.float32)
        valid = np.full((1, side, side), spec not in blind)
        pixels[~valid[:, None].repeat(len(spec.bands), 1)] = np.nan
        if spec not in missing:
            layers[spec.key] = Layer(spec, pixels, valid, np.array([19000], np.int32))
    return Chip(f"c{number}", Shape2d(SIDE, SIDE), layers)


def batch_of(*chips):
    return collate_ragged(chips, {spec.key: spec for spec in ALL})


def made(fusion, **more):
    torch.manual_seed(0)
    return [each.eval() for each in encoders_for(UNET, ALL, STATISTICS, fusion=fusion, **more)]


def test_each_way_groups_the_layers_as_it_says():
    fine, coarse, radar, height = (layer.key for layer in ALL)
    assert GROUPS["input"](ALL) == ((fine, coarse, radar, height),)
    assert GROUPS["feature"](ALL) == ((fine,), (coarse,), (radar,), (height,))
    assert GROUPS["hybrid"](ALL) == ((fine, coarse), (radar,), (height,))
    assert GROUPS["decision"](ALL) == ((fine, coarse, height), (radar, height))
    assert GROUPS["decision"]((HEIGHT,)) == ((height,),)
    with pytest.raises(ContractError, match=r"late.*input, feature, hybrid, decision"):
        made("late")


@pytest.mark.parametrize("fusion", GROUPS)
def test_every_way_gives_encoders_over_all_layers(fusion):
    encoders = made(fusion)
    assert len(encoders) == (2 if fusion == "decision" else 1)
    with torch.inference_mode():
        for encoder in encoders:
            assert encoder.layers == ALL
            found = encoder(batch_of(chip(0), chip(1)))
            assert found.pixels.shape == (2, encoder.channels, SIDE, SIDE)
            assert found.seen.all()


@pytest.mark.parametrize("training", [False, True])
def test_without_a_sensor_the_others_speak_as_if_there_were_none(training):
    """The gate has no share for it, and the network of the rest is the same."""
    (encoder,) = made("hybrid")
    assert isinstance(encoder, Fused)
    encoder.train(training)
    batch = batch_of(chip(0, missing=[RADAR]), chip(1, missing=[RADAR]))
    with torch.no_grad():
        found = encoder(batch)
        part = build(
            {
                "name": "fused",
                "branches": [b for b in encoder.config()["branches"] if RADAR.key not in b["keys"]],
            },
            (FINE, COARSE, HEIGHT),
            STATISTICS,
        ).train(training)
        kept = {}
        for name, value in encoder.state_dict().items():
            room, _, rest = name.partition(".")
            number, _, end = rest.partition(".")
            if number.isdigit() and room in ("branches", "norm", "project", "gate"):
                if number == "1":
                    continue
                kept[f"{room}.{0 if number == '0' else 1}.{end}"] = value
            elif "radar" not in name:
                kept[name] = value
        part.load_state_dict(kept)
        alone = part(batch)
    torch.testing.assert_close(found.pixels, alone.pixels)
    assert found.seen.all()


def test_in_training_a_branch_is_not_shown_chips_that_lack_its_sensor():
    """They would move the statistics of its batch normalisation."""
    (mixed,), (pure,) = made("hybrid"), made("hybrid")
    mixed.train()(batch_of(chip(0), chip(1, missing=[RADAR])))
    pure.train()(batch_of(chip(0)))
    key = "branches.1.body.down.0.1.running_mean"
    assert mixed.state_dict()[key].any()
    torch.testing.assert_close(mixed.state_dict()[key], pure.state_dict()[key])


def test_nothing_seen_is_not_seen_though_elevation_is_known():
    moving = [FINE, COARSE, RADAR]
    for fusion in GROUPS:
        for encoder in made(fusion):
            with torch.inference_mode():
                found = encoder(batch_of(chip(0, blind=moving), chip(1)))
            assert found.seen[0].sum() == 0
            assert found.seen[1].all()
            assert torch.isfinite(found.pixels).all()


def test_a_member_of_a_decision_looks_at_its_own_sensor():
    optical, radar = made("decision")
    assert isinstance(radar, SomeLayers)
    with torch.inference_mode():
        whole, without = batch_of(chip(0)), batch_of(chip(0, missing=[RADAR]))
        assert torch.equal(optical(whole).pixels, optical(without).pixels)
        assert not radar(without).seen.any()
        assert radar(whole).seen.all()


def test_branches_of_several_strides_lie_on_the_finest():
    branches = [
        {"keys": [FINE.key, COARSE.key], "encoder": {"name": "timm", "architecture": "resnet10t"}},
        {"keys": [RADAR.key, HEIGHT.key], "encoder": UNET},
    ]
    torch.manual_seed(0)
    encoder = build({"name": "fused", "branches": branches, "width": 6}, ALL, STATISTICS).eval()
    assert encoder.stride == 1
    assert encoder.alignment == 32
    with torch.inference_mode():
        found = encoder(batch_of(chip(0), chip(1, missing=[RADAR])))
    assert found.pixels.shape == (2, 6, SIDE, SIDE)
    assert torch.isfinite(found.pixels).all()


def test_a_layer_that_no_branch_takes_is_an_error():
    branches = [{"keys": [FINE.key], "encoder": UNET}]
    with pytest.raises(ContractError, match=r"no branch takes layer .*radar_10m"):
        build({"name": "fused", "branches": branches}, ALL, STATISTICS)
    with pytest.raises(ContractError, match=r"no layers thermal_10m.*optical_10m"):
        build({"name": "some-layers", "keys": ["thermal_10m"], "encoder": UNET}, ALL, STATISTICS)
