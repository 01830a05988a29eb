"""What holds for every encoder over images, and for those made of others."""

import numpy as np
import pytest
import torch

from earthloom.encoders import Statistics
from earthloom.encoders.compose import build, config_of
from earthloom.encoders.networks import NETWORKS
from earthloom.encoders.registry import ENCODERS
from earthloom.errors import ContractError
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.batch import LayerBatch
from earthloom.sample.room import collate_ragged

ENCODERS.update(NETWORKS)

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
"""At sizes for tests; every name of `NETWORKS` is in one of them."""
SUMS = ("copernicus", "dofa", "prithvi", "max of dates")
"""Their first layer is a sum over bands without masks, in which the mean is nothing as well."""


def layers_of(name):
    sets = {
        "dofa": (FINE, COARSE, RADAR),
        "copernicus": (FINE, COARSE, RADAR),
        "panopticon": (FINE, COARSE, RADAR),
        "croma": (MULTI, MULTI_COARSE, RADAR),
        "prithvi": (HLS, HLS_COARSE),
        "ssl4eo": (RGB,),
    }
    return next((layers for word, layers in sets.items() if word in name), ALL)


def away(encoder):
    """Key of the layer that a chip lacks: of the radar, or of what comes last."""
    keys = [layer.key for layer in encoder.layers]
    return RADAR.key if RADAR.key in keys else keys[-1]


def statistics_for(layers):
    return {e.key: Statistics((0.5,) * len(e.bands), (0.3,) * len(e.bands)) for e in layers}


def made(name, seed=0):
    torch.manual_seed(seed)
    layers = layers_of(name)
    encoder = build(CONFIGS[name], layers, statistics_for(layers))
    # As after training: no layer is left at a value at which it hides what is before it.
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    return encoder.eval()


def chip(number, layers, shape=Shape2d(40, 64), clear=False, days=(19500, 19600)):
    random = np.random.default_rng(number)
    found = {}
    for spec in layers:
        times, size = len(spec.dates), (shape.rows // spec.factor, shape.cols // spec.factor)
        pixels = random.random((times, len(spec.bands), *size)).astype(np.float32) + 0.01
        valid = random.random((times, *size)) > (-1.0 if clear else 0.3)
        pixels[~valid[:, None].repeat(len(spec.bands), 1)] = np.nan
        found[spec.key] = Layer(spec, pixels, valid, np.array(days[:times], np.int32))
    return Chip(f"c{number}", shape, found)


def batch_of(layers, **more):
    chips = [chip(number, layers, **more) for number in range(2)]
    return collate_ragged(chips, {spec.key: spec for spec in layers})


def with_layer(batch, key, change):
    layer = batch.layers[key]
    new = {"pixels": layer.pixels.clone(), "valid": layer.valid.clone(), "days": layer.days.clone()}
    change(new)
    layers = dict(batch.layers) | {key: LayerBatch(**new)}
    return type(batch)(batch.ids, layers, label=None)


def outputs(encoder, batch):
    with torch.inference_mode():
        found = encoder(batch)
    vector = () if found.vector is None else (found.vector,)
    return [torch.where(found.seen[:, None], found.pixels, 0.0), *found.pyramid, *vector]


def same(first, second):
    return all(torch.allclose(a, b, atol=1e-5) for a, b in zip(first, second, strict=True))


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

    assert set(NETWORKS) <= {n for config in CONFIGS.values() for n in names(config)}


@every
@pytest.mark.parametrize("shape", [Shape2d(2, 2), Shape2d(40, 64), Shape2d(34, 18)])
def test_features_have_the_shapes_that_are_declared(name, shape):
    encoder = made(name)
    with torch.inference_mode():
        found = encoder(batch_of(encoder.layers, shape=shape))
    cells = tuple(-(-side // encoder.stride) for side in shape)
    assert found.stride == encoder.stride
    assert found.pixels.shape == (2, encoder.channels, *cells)
    assert found.seen.shape == (2, *cells)
    assert found.pixels.dtype == torch.float32
    assert found.seen.dtype == torch.bool
    assert found.scene().shape == (2, encoder.scene_channels)
    assert all(torch.isfinite(image).all() for image in (found.pixels, *found.pyramid))
    windows = set()
    for image, level in zip(found.pyramid, encoder.pyramid, strict=True):
        assert image.shape[:2] == (2, level.channels)
        windows.add(tuple(side * level.stride for side in image.shape[-2:]))
    assert len(windows) <= 1
    assert all(w >= s for window in windows for w, s in zip(window, shape, strict=True))


@pytest.mark.parametrize(
    "name", [name for name in CONFIGS if not any(word in name for word in ALL_BANDS)]
)
def test_a_chip_of_one_pixel_has_features(name):
    fine = tuple(layer for layer in layers_of(name) if layer.factor == 1)
    config = CONFIGS[name]
    if "fusion" in name:
        config = config | {"branches": branches(UNET, *((layer,) for layer in fine))}
    torch.manual_seed(0)
    encoder = build(config, fine, statistics_for(fine)).eval()
    with torch.inference_mode():
        found = encoder(batch_of(fine, shape=Shape2d(1, 1), clear=True))
    assert found.pixels.shape == (2, encoder.channels, 1, 1)
    assert torch.isfinite(found.pixels).all()


@every
def test_what_was_not_seen_has_no_influence(name):
    encoder = made(name)
    batch = batch_of(encoder.layers)
    other = batch
    for key in batch.layers:

        def loud(new):
            new["pixels"][~new["valid"][:, :, None].expand_as(new["pixels"])] = 1e6

        other = with_layer(other, key, loud)
    assert same(outputs(encoder, batch), outputs(encoder, other))

    def seen_changed(new):
        new["pixels"] += 0.2

    changed = with_layer(batch, away(encoder), seen_changed)
    assert not same(outputs(encoder, batch), outputs(encoder, changed))


@every
def test_a_missing_sensor_is_as_one_that_saw_nothing(name):
    """Whether a chip lacks a sensor, or all of it is under clouds, is the same; and it is not as if
    the sensor had seen the mean."""
    encoder = made(name)
    key = away(encoder)
    chips = [chip(number, encoder.layers, clear=True) for number in range(2)]
    specs = {spec.key: spec for spec in encoder.layers}
    lacking = dict(chips[0].layers)
    del lacking[key]
    without = collate_ragged([Chip("c0", chips[0].shape, lacking), chips[1]], specs)
    assert without.layers[key].present.tolist() == [False, True]

    def unseen(new):
        new["pixels"][0], new["valid"][0] = torch.nan, False

    full = collate_ragged(chips, specs)
    clouded = outputs(encoder, with_layer(full, key, unseen))
    found = outputs(encoder, without)
    assert same(clouded, found)
    assert same([each[1] for each in outputs(encoder, full)], [each[1] for each in found])
    if any(word in name for word in SUMS):
        return

    def average(new):
        new["pixels"][0] = 0.5

    mean = outputs(encoder, with_layer(full, key, average))
    assert not same(mean, found)


@every
def test_a_gradient_reaches_every_parameter(name):
    encoder = made(name).train()
    for module in encoder.modules():
        if isinstance(module, torch.nn.Dropout | torch.nn.Dropout2d):
            module.eval()
    found = encoder(batch_of(encoder.layers, shape=Shape2d(64, 64), clear=True))
    torch.manual_seed(1)
    loss = (found.pixels * torch.rand_like(found.pixels)).sum() + found.scene().square().sum()
    if found.pyramid:
        loss = loss + sum((level * torch.rand_like(level)).sum() for level in found.pyramid)
    if not loss.requires_grad:
        assert not list(encoder.parameters())
        return
    loss.backward()
    idle = [n for n, p in encoder.named_parameters() if p.requires_grad and p.grad is None]
    zero = [n for n, p in encoder.named_parameters() if p.grad is not None and not p.grad.any()]
    assert not idle
    assert not zero


@every
def test_an_encoder_is_made_again_from_its_config(name):
    encoder = made(name)
    blank = {
        e.key: Statistics((0.0,) * len(e.bands), (1.0,) * len(e.bands)) for e in encoder.layers
    }
    again = build(config_of(encoder), encoder.layers, blank)
    again.load_state_dict(encoder.state_dict())
    batch = batch_of(encoder.layers)
    first, second = outputs(encoder, batch), outputs(again.eval(), batch)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    for what in ("radius", "stride", "alignment", "is_local", "channels", "pyramid"):
        assert getattr(encoder, what) == getattr(again, what)


@every
def test_other_bands_are_refused(name):
    encoder = made(name)
    encoder.check({spec.key: spec for spec in encoder.layers})
    turned = {spec.key: spec for spec in encoder.layers}
    first = encoder.layers[0]
    turned[first.key] = first.with_bands(tuple(reversed(range(len(first.bands)))))
    with pytest.raises(ContractError, match=f"bands = .*{first.bands[1]}"):
        encoder.check(turned)


@every
def test_a_window_may_start_on_the_alignment(name):
    encoder = made(name)
    assert encoder.alignment % encoder.stride == 0
    assert all(encoder.alignment % level.stride == 0 for level in encoder.pyramid)
    assert encoder.radius >= 0


def test_an_unknown_encoder_is_named_with_the_valid_ones():
    with pytest.raises(ContractError, match=r"'resnet'; valid are: .*timm"):
        build({"name": "resnet"}, ALL, statistics_for(ALL))
    with pytest.raises(ContractError, match="depth"):
        build({"name": "raw", "depth": 3}, ALL, statistics_for(ALL))


@pytest.mark.parametrize(
    "name", ["dofa", "croma", "copernicus-fm", "panopticon", "ssl4eo", "prithvi"]
)
def test_published_encoders_give_nearly_the_same_in_bf16(name):
    encoder = made(name)
    batch = batch_of(encoder.layers)
    exact = outputs(encoder, batch)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough = outputs(encoder, batch)
    for first, second in zip(exact, rough, strict=True):
        assert second.dtype == torch.float32
        assert (first - second).norm() < 0.05 * first.norm()
