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
