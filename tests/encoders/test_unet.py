"""The U-Net encoder."""

import numpy as np
import pytest
import torch

from earthloom.encoders import Statistics
from earthloom.encoders.unet import UNet, UNetBody
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.batch import collate

FINE = LayerSpec("s", 10, ("red", "nir"), "1", ("01", "02", "03"), (660.0, 840.0))
COARSE = LayerSpec("s", 20, ("swir",), "1", ("01", "02", "03"), (1610.0,), factor=2)


def _chip(shape):
    random = np.random.default_rng(0)
    layers = {}
    for spec in (FINE, COARSE):
        size = (shape.rows // spec.factor, shape.cols // spec.factor)
        pixels = random.random((3, len(spec.bands), *size)).astype(np.float32)
        valid = random.random((3, *size)) > 0.2
        pixels[~valid[:, None].repeat(len(spec.bands), 1)] = np.nan
        layers[spec.key] = Layer(spec, pixels, valid, np.zeros(3, np.int32))
    return Chip("c", shape, layers)


@pytest.mark.parametrize("shape", [Shape2d(2, 2), Shape2d(30, 46), Shape2d(64, 64)])
def test_any_size_gives_finite_features_on_the_base_grid(shape):
    statistics = {
        s.key: Statistics((0.5,) * len(s.bands), (0.3,) * len(s.bands)) for s in (FINE, COARSE)
    }
    found = UNet((FINE, COARSE), statistics, width=4, levels=2)(collate([_chip(shape)]))
    assert found.pixels.shape == (1, 4, *shape)
    assert torch.isfinite(found.pixels).all()


def test_nothing_beyond_the_radius_matters():
    torch.manual_seed(0)
    # Normalisation over the whole image would see everything; the radius is that of the layers.
    body = UNetBody(3, 4, 2).eval()
    for module in body.modules():
        if isinstance(module, torch.nn.GroupNorm):
            module.forward = lambda x: x
    image = torch.rand(1, 3, 96, 96)
    other = image.clone()
    other[..., 48 + body.radius + 1 :] = 0
    first, second = body(image), body(other)
    assert torch.equal(first[..., :48], second[..., :48])
    assert not torch.equal(first, second)


@pytest.mark.parametrize("layers", [(FINE,), (FINE, COARSE)])
def test_a_local_network_says_the_same_of_a_window_as_of_the_whole(layers):
    """Where the window starts on the alignment, beyond the radius of its borders."""
    torch.manual_seed(0)
    statistics = {s.key: Statistics((0.5,) * len(s.bands), (0.3,) * len(s.bands)) for s in layers}
    encoder = UNet(layers, statistics, width=4, levels=2, norm="batch").eval()
    for module in encoder.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
    assert encoder.is_local
    chip = _chip(Shape2d(120, 120))
    start, stop, margin = 5 * encoder.alignment, 25 * encoder.alignment, encoder.radius
    cut = {
        key: Layer(
            layer.spec,
            layer.pixels[..., start // f : stop // f, start // f : stop // f],
            layer.valid[..., start // f : stop // f, start // f : stop // f],
            layer.days,
        )
        for key, layer in chip.layers.items()
        for f in (layer.spec.factor,)
    }
    size = stop - start
    with torch.inference_mode():
        whole = encoder(collate([chip])).pixels
        window = encoder(collate([Chip("w", Shape2d(size, size), cut)])).pixels
    inner = slice(start + margin, stop - margin)
    np.testing.assert_allclose(
        window[..., margin : size - margin, margin : size - margin],
        whole[..., inner, inner],
        atol=1e-5,
    )
    assert not torch.allclose(window, whole[..., start:stop, start:stop], atol=1e-3)


def test_a_network_is_made_again_from_its_config():
    statistics = {FINE.key: Statistics((0.5, 0.5), (0.3, 0.3))}
    for norm, local in (("group", False), ("batch", True)):
        encoder = UNet((FINE,), statistics, width=4, levels=3, norm=norm)
        again = UNet((FINE,), statistics, **encoder.config())
        again.load_state_dict(encoder.state_dict())
        assert again.is_local is local
        assert again.alignment == 8
