"""Copernicus-FM and Panopticon: what they hand over to TorchGeo's, and what they refuse."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from earthloom.encoders import Statistics
from earthloom.encoders.torchgeo import flat_bands
from earthloom.encoders.torchgeo_copernicus import Copernicus
from earthloom.encoders.torchgeo_panopticon import Panopticon
from earthloom.errors import ContractError, DataError
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.batch import collate

models = pytest.importorskip("torchgeo.models")

NAMES = ("B02", "B03", "B04", "B08")
OPTICAL = LayerSpec("sentinel-2-l2a", 10, NAMES, "1", ("1",), (492.4, 559.8, 664.6, 832.8))
RADAR = LayerSpec("sentinel-1-rtc", 10, ("vv", "vh"), "linear power", ("1",), (None, None))
HEIGHT = LayerSpec("dem", 10, ("height",), "m", ("static",), (None,))
LAYERS = (OPTICAL, RADAR)


def statistics_for(*layers):
    numbers = {name: 0.1 + 0.02 * n for n, name in enumerate((*NAMES, "vv", "vh", "height"))}
    return {
        e.key: Statistics(tuple(numbers[b] for b in e.bands), (0.1,) * len(e.bands)) for e in layers
    }


def copernicus(*layers):
    torch.manual_seed(0)
    return Copernicus(layers, statistics_for(*layers), width=16, depth=2, heads=2).eval()


def panopticon(*layers):
    torch.manual_seed(0)
    made = Panopticon(layers, statistics_for(*layers), width=16, depth=2, heads=2, band_width=48)
    # As after training: its branches begin at next to nothing.
    for name, parameter in made.named_parameters():
        if name.endswith("gamma"):
            torch.nn.init.ones_(parameter)
    return made.eval()


def batch_of(*layers, shape=Shape2d(224, 224)):
    found = {}
    for layer in layers:
        pixels = np.random.default_rng(0).random((1, 4, *shape)).astype(np.float32) * 0.3
        order = [NAMES.index(e) if e in NAMES else at for at, e in enumerate(layer.bands)]
        valid = np.ones((1, *shape), bool)
        found[layer.key] = Layer(layer, pixels[:, order], valid, np.full(1, 19500, np.int32))
    return collate([Chip("c", shape, found)])


@pytest.mark.parametrize("make", [copernicus, panopticon])
def test_bands_in_another_order_change_nothing(make):
    turned = OPTICAL.with_bands((2, 3, 0, 1))
    found = []
    for layers in (LAYERS, (turned, RADAR)):
        with torch.inference_mode():
            found.append(make(*layers)(batch_of(*layers, shape=Shape2d(32, 24))).pixels)
    torch.testing.assert_close(*found, atol=1e-4, rtol=1e-4)


def test_copernicus_is_that_of_torchgeo_at_its_own_size():
    encoder = copernicus(*LAYERS)
    batch = batch_of(*LAYERS)
    whole = models.CopernicusFM(embed_dim=16, depth=2, num_heads=2).eval()
    whole.load_state_dict(encoder.net.state_dict(), strict=False)
    whole.fc_norm = encoder.net.fc_norm = torch.nn.Identity()
    about = torch.tensor([[np.nan, np.nan, 19500.0, 0.0256]])
    with torch.inference_mode():
        expected = whole(
            flat_bands(encoder, batch),
            about,
            wavelengths=[490, 560, 665, 842, 5e7, 5e7],
            bandwidths=[65, 35, 30, 115, 1e9, 1e9],
            kernel_size=16,
        )
        found = encoder(batch).scene()
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_copernicus_takes_a_published_file(tmp_path):
    encoder = copernicus(*LAYERS)
    whole = models.CopernicusFM(embed_dim=16, depth=2, num_heads=2)
    state = {k: torch.rand_like(v) for k, v in whole.state_dict().items() if "fc_norm" not in k}
    torch.save(state, tmp_path / "weights.pth")
    encoder.read_weights(tmp_path / "weights.pth")
    assert torch.equal(encoder.net.blocks[1].attn.qkv.weight, state["blocks.1.attn.qkv.weight"])
    torch.save(state | {"mask": torch.zeros(1)}, tmp_path / "weights.pth")
    with pytest.raises(DataError, match=r"1 are unexpected \(mask\)"):
        encoder.read_weights(tmp_path / "weights.pth")


def test_panopticon_is_that_of_torchgeo_at_its_own_size(monkeypatch):
    encoder = panopticon(*LAYERS)
    # Cells as wide as its own patches, so that nothing is resampled.
    monkeypatch.setattr("earthloom.encoders.plain.CELL", 14)
    batch = batch_of(*LAYERS)
    with torch.device("meta"):
        whole = models.panopticon_vitb14()
    net = whole.model
    net.patch_embed, net.pos_embed = encoder.net.patch_embed, encoder.net.pos_embed
    net.cls_token, net.norm = encoder.net.cls_token, encoder.net.norm
    net.blocks = encoder.net.blocks
    image = flat_bands(encoder, batch)
    numbers = torch.tensor([[492.4, 559.8, 664.6, 832.8, -1.0, -2.0]])
    with torch.inference_mode():
        expected = net.forward_features({"imgs": image, "chn_ids": numbers})
        found = encoder(batch)
    torch.testing.assert_close(found.vector, expected[:, 0], atol=1e-4, rtol=1e-4)
    tokens = found.pixels.flatten(2).mT
    torch.testing.assert_close(tokens, expected[:, 1:], atol=1e-4, rtol=1e-4)


def test_panopticon_takes_the_published_names(tmp_path):
    with torch.device("meta"):
        names = models.panopticon_vitb14().model.state_dict()
    encoder = panopticon(*LAYERS)
    own = encoder.net.state_dict()
    assert {k for k in names if not k.startswith("blocks")} == {
        k for k in own if not k.startswith("blocks")
    }
    ends = {k.removeprefix("blocks.0.") for k in names if k.startswith("blocks.0.")}
    assert ends == {k.removeprefix("blocks.0.") for k in own if k.startswith("blocks.0.")}
    state = {k: torch.rand_like(v) for k, v in own.items()}
    state |= {"pos_embed": torch.rand(1, 1 + 37 * 37, 16), "mask_token": torch.zeros(1, 16)}
    torch.save(state, tmp_path / "weights.pth")
    encoder.read_weights(tmp_path / "weights.pth")
    assert torch.equal(encoder.net.pos_embed[:, 0], state["pos_embed"][:, 0])


def test_panopticon_does_not_attend_to_a_band_that_was_left_out():
    fewer = (OPTICAL.with_bands((0, 1)), RADAR)
    batch = batch_of(*LAYERS, shape=Shape2d(32, 32))
    layer = batch.layers[OPTICAL.key]
    lacking = replace(layer, measured=torch.tensor([[True, True, False, False]]))
    with torch.inference_mode():
        out = panopticon(*LAYERS)(
            replace(batch, layers=dict(batch.layers) | {OPTICAL.key: lacking})
        )
        alone = panopticon(*fewer)(batch_of(*fewer, shape=Shape2d(32, 32)))
    torch.testing.assert_close(out.pixels, alone.pixels, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("make", [copernicus, panopticon])
def test_what_they_do_not_take_is_refused(make):
    with pytest.raises(ContractError, match="band height of layer dem_10m has"):
        make(OPTICAL, HEIGHT)
    two = replace(OPTICAL, dates=("1", "2"))
    with pytest.raises(ContractError, match=r"takes one date; layer sentinel-2-l2a_10m has 2"):
        make(two)
