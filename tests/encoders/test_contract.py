"""What holds for every encoder over images, and for those made of others."""

from dataclasses import replace
from functools import cache

import pytest
import torch

from earthloom.encoders import Statistics, contract
from earthloom.encoders.compose import build
from earthloom.encoders.location import located
from earthloom.encoders.registry import BUILT_IN
from earthloom.errors import ContractError
from earthloom.sample import LayerSpec, Shape2d
from earthloom.sample.batch import LayerBatch

TWO = ("2023-05", "2023-08")
FINE = LayerSpec("optical", 10, ("red", "nir"), "1", TWO, (660.0, 840.0))
COARSE = LayerSpec("optical", 20, ("swir",), "1", TWO, (1610.0,), factor=2)
RADAR = LayerSpec("sentinel-1-rtc", 10, ("vv", "vh"), "linear power", TWO, (None, None))
HEIGHT = LayerSpec("dem", 10, ("height",), "m", ("static",), (None,))
MULTI = LayerSpec(
    "sentinel-2-l2a",
    10,
    ("B04", "B03", "B02", "B01", "B05", "B06", "B07", "B08", "B09"),
    "1",
    TWO,
    (665.0, 560.0, 490.0, 443.0, 704.0, 740.0, 783.0, 833.0, 945.0),
)
MULTI_COARSE = LayerSpec(
    "sentinel-2-l2a", 20, ("B8A", "B11", "B12"), "1", TWO, (865.0, 1610.0, 2200.0), factor=2
)
HLS = LayerSpec("hls-s30", 30, ("B04", "B8A", "B02", "B03"), "1", TWO, (665.0, 865.0, 490.0, 560.0))
HLS_COARSE = LayerSpec("hls-s30", 60, ("B12", "B11"), "1", TWO, (2200.0, 1610.0), factor=2)
RGB = LayerSpec("sentinel-2-l1c", 10, ("B02", "B04", "B03"), "1", TWO, (490.0, 665.0, 560.0))
ALL = (FINE, COARSE, RADAR, HEIGHT)

RESNET = {"name": "timm", "architecture": "resnet10t"}
VIT = {"name": "timm", "architecture": "test_vit"}
DOFA = {"name": "dofa", "width": 16, "depth": 2, "heads": 2}
CROMA = {"name": "croma", "width": 32, "depth": 2}
PRITHVI = {"name": "prithvi", "width": 32, "depth": 3, "heads": 2, "dated": True}
COPERNICUS = {"name": "copernicus-fm", "width": 16, "depth": 2, "heads": 2}
PANOPTICON = {"name": "panopticon", "width": 16, "depth": 2, "heads": 2, "band_width": 48}
UNET = {"name": "unet", "width": 4, "levels": 2}


def decoded(encoder, decoder, **more):
    return {"name": "decoded", "encoder": encoder, "decoder": decoder} | more


def branches(encoder, *groups):
    return [{"keys": [layer.key for layer in group], "encoder": encoder} for group in groups]


CONFIGS = {
    "raw": {"name": "raw"},
    "random-conv": {"name": "random-conv", "filters": 6},
    "loom": {"name": "loom"},
    "loom under a decoder": decoded({"name": "loom"}, "fpn", width=32),
    "resnet": RESNET,
    "vit": VIT,
    "convnext": {"name": "timm", "architecture": "test_convnext"},
    "unet over resnet": decoded(RESNET, "unet", width=4),
    "fpn over vit": decoded(VIT, "fpn", width=32),
    "upernet over convnext": decoded(
        {"name": "timm", "architecture": "test_convnext"}, "upernet", width=8
    ),
    "deeplabv3+ over vit": decoded(VIT, "deeplabv3+", width=8),
    "segformer over resnet": decoded(RESNET, "segformer", width=8, stride=None),
    "hypercolumn over vit": decoded(VIT, "hypercolumn", stride=None),
    "mean of dates": {"name": "dated", "encoder": UNET, "dates": "mean"},
    "max of dates": {"name": "dated", "encoder": UNET, "dates": "max"},
    "attention to dates": {"name": "dated", "encoder": RESNET, "dates": "attention"},
    "attention under a decoder": decoded(
        {"name": "dated", "encoder": RESNET, "dates": "attention"}, "unet", width=4
    ),
    "feature fusion": {
        "name": "fused",
        "branches": branches(UNET, *((layer,) for layer in ALL)),
        "width": 8,
    },
    "hybrid fusion": {
        "name": "fused",
        "branches": [
            *branches(decoded(RESNET, "fpn", width=32), (FINE, COARSE)),
            *branches({"name": "dated", "encoder": UNET, "dates": "mean"}, (RADAR, HEIGHT)),
        ],
        "width": 8,
    },
    "unet": UNET,
    "time features": {"name": "time-features", "radius": 1},
    "change features": {"name": "change-features"},
    "location alone": {"name": "location", "degrees": 4, "width": 8, "stride": 2},
    "unet that is told its place": located(UNET, [layer.key for layer in ALL], width=8),
    "some layers": {"name": "some-layers", "keys": [RADAR.key], "encoder": UNET},
    "dofa": {"name": "dated", "encoder": DOFA, "dates": "mean"},
    "croma": {"name": "dated", "encoder": CROMA, "dates": "mean"},
    "croma under a decoder": decoded(
        {"name": "dated", "encoder": CROMA, "dates": "max"}, "segformer", width=8
    ),
    "copernicus-fm": {"name": "dated", "encoder": COPERNICUS, "dates": "mean"},
    "panopticon": {"name": "dated", "encoder": PANOPTICON, "dates": "mean"},
    "panopticon under a decoder": decoded(
        {"name": "dated", "encoder": PANOPTICON, "dates": "mean"}, "unet", width=4
    ),
    "ssl4eo": {
        "name": "dated",
        "encoder": {"name": "ssl4eo", "weights": "ResNet18_Weights.SENTINEL2_RGB_MOCO"},
        "dates": "mean",
    },
    "prithvi": PRITHVI,
    "prithvi of 14 px": PRITHVI | {"patch": 14, "dated": False},
    "prithvi under a decoder": decoded(PRITHVI, "fpn", width=32),
    "dofa under a decoder": decoded(
        {"name": "dated", "encoder": DOFA, "dates": "attention"}, "hypercolumn"
    ),
}
"""At sizes for tests; every encoder's name is in one of them."""
BY_MEASURE = ("loom", "dofa", "croma", "copernicus-fm", "panopticon", "ssl4eo", "prithvi")
"""Those that know a band by what it measures, or put bands in an order of their own."""
NO_LAW = (("location alone", "what_was_seen_has_some"), ("some layers", "what_was_seen_has_some"))
"""Where pixels, or some of the layers, play no part by design."""
MEANS = ("copernicus", "dofa", "prithvi", "max of dates", "change", "time", "location alone")
"""In which the mean is nothing as well: as most have a sum over bands without masks before all; or
gaps are filled; or pixels play no part."""


def layers_of(name):
    sets = {
        "dofa": (FINE, COARSE, RADAR),
        "copernicus": (FINE, COARSE, RADAR),
        "panopticon": (FINE, COARSE, RADAR),
        "croma": (MULTI, MULTI_COARSE, RADAR),
        "prithvi": (HLS, HLS_COARSE),
        "ssl4eo": (RGB,),
        "change": (FINE, COARSE, RADAR),
    }
    return next((layers for word, layers in sets.items() if word in name), ALL)


def away(encoder):
    """Key of the layer that a chip lacks: of the radar, or of what comes last."""
    keys = [layer.key for layer in encoder.layers]
    return RADAR.key if RADAR.key in keys else keys[-1]


def statistics_for(layers):
    return {e.key: Statistics((0.5,) * len(e.bands), (0.3,) * len(e.bands)) for e in layers}


@cache
def made(name):
    """As no law changes what it is given, each is made once."""
    torch.manual_seed(0)
    layers = layers_of(name)
    return contract.ready(build(CONFIGS[name], layers, statistics_for(layers)))


def all_with(batch, key, value, valid):
    """The same value in all pixels of a layer, seen or not."""
    layer = batch.layers[key]
    pixels, mask = torch.full_like(layer.pixels, value), torch.full_like(layer.valid, valid)
    return replace(batch, layers=batch.layers | {key: LayerBatch(pixels, mask, layer.days)})


ALL_BANDS = ("croma", "prithvi")
"""Those that take all of their bands or none, of which some here are coarser."""

every = pytest.mark.parametrize("name", CONFIGS)


def test_every_encoder_is_tested():
    def names(value):
        if isinstance(value, dict):
            yield value.get("name")
        if isinstance(value, (dict, list, tuple)):
            for inner in value.values() if isinstance(value, dict) else value:
                yield from names(inner)

    assert set(BUILT_IN) <= {n for config in CONFIGS.values() for n in names(config)}


@every
@pytest.mark.parametrize("law", contract.LAWS)
def test_a_law_holds_of_every_encoder(name, law):
    if (name, law) not in NO_LAW:
        contract.LAWS[law](made(name), 0)


@pytest.mark.parametrize("name", BY_MEASURE)
def test_bands_permuted_with_their_wavelengths_change_nothing(name):
    contract.bands_have_no_order(made(name))


@pytest.mark.parametrize(
    "name", [name for name in CONFIGS if not any(word in name for word in ALL_BANDS)]
)
def test_a_chip_of_one_pixel_has_features(name):
    fine = tuple(layer for layer in layers_of(name) if layer.factor == 1)
    config = CONFIGS[name]
    if "fusion" in name:
        config = config | {"branches": branches(UNET, *((layer,) for layer in fine))}
    if "place" in name:
        config = located(UNET, [layer.key for layer in fine], width=8)
    torch.manual_seed(0)
    encoder = build(config, fine, statistics_for(fine)).eval()
    with torch.inference_mode():
        found = encoder(contract.batch_of(encoder, shape=Shape2d(1, 1), clear=True))
    assert found.pixels.shape == (2, encoder.channels, 1, 1)
    assert torch.isfinite(found.pixels).all()


@pytest.mark.parametrize("name", [n for n in CONFIGS if not any(word in n for word in MEANS)])
def test_a_missing_sensor_is_not_as_if_it_had_seen_the_mean(name):
    encoder = made(name)
    batch, key = contract.batch_of(encoder, clear=True), away(encoder)
    unseen = all_with(batch, key, torch.nan, False)
    average = all_with(batch, key, 0.5, True)
    assert not contract.same(*(contract.outputs(encoder, each) for each in (unseen, average)))


def test_an_unknown_encoder_is_named_with_the_valid_ones():
    with pytest.raises(ContractError, match=r"'resnet'; valid are: .*timm"):
        build({"name": "resnet"}, ALL, statistics_for(ALL))
    with pytest.raises(ContractError, match="depth"):
        build({"name": "raw", "depth": 3}, ALL, statistics_for(ALL))
