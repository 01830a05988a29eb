"""Backbones of SSL4EO-S12: bands and statistics as TorchGeo lists them."""

import numpy as np
import pytest
import torch

from earthloom.encoders import Statistics
from earthloom.encoders.torchgeo_ssl4eo import Ssl4eo, listed, names
from earthloom.errors import ContractError, DataError
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.batch import collate

pytest.importorskip("torchgeo.models")

MOCO = "ResNet18_Weights.SENTINEL2_ALL_MOCO"
NAMES = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B10", "B11", "B12")
OPTICAL = LayerSpec("sentinel-2-l1c", 10, NAMES, "1", ("1",), (500.0,) * 13)
RADAR = LayerSpec("sentinel-1-rtc", 10, ("vh", "vv"), "linear power", ("1",), (None, None))
SIZE = Shape2d(64, 32)


def made(layer, weights):
    torch.manual_seed(0)
    known = Statistics((0.2,) * len(layer.bands), (0.1,) * len(layer.bands))
    return Ssl4eo((layer,), {layer.key: known}, weights).eval()


def batch_of(layer, values):
    """Of values by the name of a band."""
    pixels = np.stack([values[name] for name in layer.bands])[None].astype(np.float32)
    valid = np.ones((1, *SIZE), bool)
    found = {layer.key: Layer(layer, pixels, valid, np.zeros(1, np.int32))}
    return collate([Chip("c", SIZE, found)])


def drawn(bands, scale):
    random = np.random.default_rng(0)
    return {name: random.random(SIZE) * scale for name in bands}


def test_a_published_file_sees_its_bands_in_its_order_and_scale(tmp_path):
    turned = OPTICAL.with_bands(np.random.default_rng(1).permutation(13).tolist())
    values = drawn(NAMES, 0.4)
    encoder = made(turned, MOCO)
    state = {k: torch.rand_like(v.float()).to(v.dtype) for k, v in encoder.net.state_dict().items()}
    torch.save(state | {"fc.weight": torch.zeros(2, 512)}, tmp_path / "weights.pth")
    encoder.read_weights(tmp_path / "weights.pth")
    entry = listed(MOCO)
    assert [f"B{e[1:].upper():0>2}" for e in entry.meta["bands"]] == list(NAMES)
    counts = torch.from_numpy(np.stack([values[name] for name in NAMES]) * 10000)[None].float()
    shown = entry.transforms[-1](counts)
    with torch.inference_mode():
        torch.testing.assert_close(encoder._image(batch_of(turned, values)), shown)
        expected = encoder.net.forward_features(shown)
        torch.testing.assert_close(encoder(batch_of(turned, values)).pixels, expected)
    torch.save({"conv1.weight": torch.zeros(64, 13, 7, 7)}, tmp_path / "weights.pth")
    with pytest.raises(DataError, match="weights are missing"):
        encoder.read_weights(tmp_path / "weights.pth")


def test_radar_is_normalised_in_decibels():
    name = "ResNet50_Weights.SENTINEL1_ALL_MOCO"
    encoder = made(RADAR, name)
    values = drawn(("vv", "vh"), 0.3)
    decibels = np.stack([10 * np.log10(np.maximum(values[e], 1e-5)) for e in ("vv", "vh")])
    shown = listed(name).transforms[-1](torch.from_numpy(decibels)[None].float())
    torch.testing.assert_close(encoder._image(batch_of(RADAR, values)), shown, atol=1e-4, rtol=0)


def test_what_was_not_seen_is_the_mean_of_the_training_pixels():
    encoder = made(OPTICAL, MOCO)
    batch = batch_of(OPTICAL, drawn(NAMES, 0.4))
    batch.layers[OPTICAL.key].valid[..., :8] = False
    found = encoder._image(batch)
    torch.testing.assert_close(found[..., :8], torch.full_like(found[..., :8], 0.2))


def test_every_listed_network_has_bands_that_we_know():
    assert len(names()) > 20
    for name in names():
        bands = listed(name).meta["bands"]
        assert bands in (["VV", "VH"], ["B4", "B3", "B2"]) or len(bands) == 13


def test_what_it_does_not_take_is_refused():
    with pytest.raises(ContractError, match=r"has no weights 'ResNet18_Weights.LANDSAT.*MOCO"):
        made(OPTICAL, "ResNet18_Weights.LANDSAT_OLI_SR_MOCO")
    with pytest.raises(ContractError, match=r"takes the bands B01, B02"):
        made(OPTICAL.with_bands((0, 1)), MOCO)
    with pytest.raises(
        ContractError, match=r"got those of sentinel-1-rtc; valid are: sentinel-2-l1c"
    ):
        made(RADAR, MOCO)
