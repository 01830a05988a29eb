"""Adapters to TorchGeo: what they hand over, and what they refuse."""

import numpy as np
import pytest
import torch

from earthloom.encoders import Statistics
from earthloom.encoders.torchgeo import Dofa
from earthloom.encoders.torchgeo_croma import Croma, places_of
from earthloom.errors import ContractError
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.batch import collate

croma = pytest.importorskip("torchgeo.models.croma")

NAMES = ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12")
WAVES = (443.0, 490.0, 560.0, 665.0, 704.0, 740.0, 783.0, 833.0, 865.0, 945.0, 1610.0, 2200.0)
OPTICAL = LayerSpec("sentinel-2-l2a", 10, NAMES, "1", ("1",), WAVES)
RADAR = LayerSpec("sentinel-1-rtc", 10, ("vv", "vh"), "linear power", ("1",), (None, None))
HEIGHT = LayerSpec("dem", 10, ("height",), "m", ("static",), (None,))


def statistics_for(*layers):
    numbers = {name: 0.1 + 0.02 * n for n, name in enumerate((*NAMES, "vv", "vh", "height"))}
    return {
        e.key: Statistics(tuple(numbers[b] for b in e.bands), (0.1,) * len(e.bands)) for e in layers
    }


def batch_of(*layers, order=None, shape=Shape2d(32, 24)):
    found = {}
    for layer in layers:
        random = np.random.default_rng(0)
        pixels = random.random((1, len(layer.bands), *shape)).astype(np.float32) * 0.3
        valid = np.ones((1, *shape), bool)
        if order and layer.sensor == OPTICAL.sensor:
            pixels = pixels[:, [NAMES.index(name) for name in layer.bands]]
        found[layer.key] = Layer(layer, pixels, valid, np.zeros(1, np.int32))
    return collate([Chip("c", shape, found)])


@pytest.mark.parametrize(
    "make",
    [lambda *a: Dofa(*a, width=16, depth=2, heads=2), lambda *a: Croma(*a, width=32, depth=2)],
)
def test_bands_in_another_order_change_nothing(make):
    turned = OPTICAL.with_bands(np.random.default_rng(1).permutation(12).tolist())
    found = []
    for layers in ((OPTICAL, RADAR), (turned, RADAR)):
        torch.manual_seed(0)
        encoder = make(layers, statistics_for(*layers)).eval()
        with torch.inference_mode():
            found.append(encoder(batch_of(*layers, order=True)).pixels)
    torch.testing.assert_close(*found, atol=1e-4, rtol=1e-4)


def test_dofa_is_that_of_torchgeo_at_its_own_size():
    torch.manual_seed(0)
    layers = (OPTICAL, RADAR)
    encoder = Dofa(layers, statistics_for(*layers), width=16, depth=3, heads=2).eval()
    batch = batch_of(*layers, shape=Shape2d(224, 224))
    from earthloom.encoders.planes import bands_of

    image = torch.cat([each[:, 0] for each in bands_of(encoder, batch)], dim=1)
    microns = [nm / 1000 for nm in WAVES] + [5.405, 5.405]
    with torch.inference_mode():
        expected = encoder.net.forward_features(image, microns)
        # TorchGeo norms the mean of the tokens: with the norm left out, both are the mean.
        norm, encoder.net.fc_norm = encoder.net.fc_norm, torch.nn.Identity()
        plain = encoder(batch).scene()
        torch.testing.assert_close(norm(plain), expected, atol=1e-4, rtol=1e-4)


def test_dofa_refuses_what_has_no_wavelength_and_several_dates():
    with pytest.raises(ContractError, match=r"dem_10m has none for height"):
        Dofa((OPTICAL, HEIGHT), statistics_for(OPTICAL, HEIGHT))
    two = LayerSpec("s", 10, ("B04",), "1", ("1", "2"), (665.0,))
    with pytest.raises(ContractError, match=r"takes one date; layer s_10m has 2"):
        Dofa((two,), statistics_for(two))


@pytest.mark.parametrize("layers", [(OPTICAL,), (RADAR,), (OPTICAL, RADAR)])
def test_croma_is_that_of_torchgeo_at_its_own_size(layers):
    torch.manual_seed(0)
    encoder = Croma(layers, statistics_for(*layers), width=32, depth=2).eval()
    batch = batch_of(*layers, shape=Shape2d(40, 40))
    kinds = [{"sentinel-2-l2a": "optical", "sentinel-1-rtc": "sar"}[e.sensor] for e in layers]
    published = croma.CROMA(kinds, 32, 2, 16, image_size=40).eval()
    published.load_state_dict(encoder.net.state_dict(), strict=False)
    images = {}
    for layer, kind in zip(layers, kinds, strict=True):
        values = batch.layers[layer.key].pixels[:, 0]
        known = statistics_for(layer)[layer.key]
        mean, std = (torch.tensor(each)[:, None, None] for each in (known.mean, known.std))
        if kind == "sar":
            values, mean, std = 10 * values.clamp_min(1e-5).log10(), 10 * mean.log10(), 5.0
        images[f"x_{kind}"] = ((values - mean + 2 * std) / (4 * std)).clamp(0, 1)
    with torch.inference_mode():
        expected, found = published(**images), encoder(batch)
    name = "joint" if len(layers) == 2 else kinds[0]
    tokens = found.pixels.flatten(2).mT
    torch.testing.assert_close(tokens, expected[f"{name}_encodings"], atol=1e-4, rtol=1e-4)
    vectors = torch.cat([expected[f"{k}_GAP"] for k in ("optical", "sar") if k in kinds], dim=1)
    torch.testing.assert_close(found.vector, vectors, atol=1e-4, rtol=1e-4)


def test_croma_takes_what_it_needs_of_a_published_file(tmp_path):
    groups = ("s1_encoder", "s1_GAP_FFN", "s2_encoder", "s2_GAP_FFN", "joint_encoder")
    whole = croma.CROMA(("sar", "optical"), 32, 2, 16, image_size=40)
    state = {
        name: {k: torch.rand_like(v) for k, v in getattr(whole, name).state_dict().items()}
        for name in groups
    }
    torch.save(state, tmp_path / "weights.pt")
    for layers in ((OPTICAL,), (RADAR,), (OPTICAL, RADAR)):
        encoder = Croma(layers, statistics_for(*layers), width=32, depth=2)
        encoder.read_weights(tmp_path / "weights.pt")
        for name, tensor in encoder.net.state_dict().items():
            group, rest = name.split(".", 1)
            assert torch.equal(tensor, state[group][rest])


def test_places_are_those_of_torchgeo():
    torch.testing.assert_close(places_of(5, 5), croma.get_2dalibi(16, 25))
    wide = places_of(2, 4)
    corner = croma.get_2dalibi(16, 16).reshape(16, 4, 4, 4, 4)[:, :2, :, :2, :]
    torch.testing.assert_close(wide[0], corner.reshape(16, 8, 8))


def test_croma_refuses_other_bands_units_and_sensors():
    few = OPTICAL.with_bands((0, 1))
    with pytest.raises(ContractError, match=r"takes the optical bands B01.*but got B01"):
        Croma((few,), statistics_for(few))
    decibels = LayerSpec("sentinel-1-rtc", 10, ("vv", "vh"), "dB", ("1",), (None, None))
    with pytest.raises(ContractError, match=r"unit linear power.*has dB"):
        Croma((decibels,), statistics_for(decibels))
    with pytest.raises(ContractError, match=r"does not take layer dem_10m"):
        Croma((OPTICAL, HEIGHT), statistics_for(OPTICAL, HEIGHT))
    with pytest.raises(ContractError, match=r"width is 30"):
        Croma((OPTICAL,), statistics_for(OPTICAL), width=30)
