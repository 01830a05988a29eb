"""Prithvi-EO-2.0: a checkpoint in the published layout, its bands, places and times."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from earthloom.encoders import Statistics
from earthloom.encoders.prithvi import SIZES, Prithvi, place_codes, positions, time_codes
from earthloom.errors import ContractError, DataError
from earthloom.sample import Chip, Layer, LayerSpec, Place, Shape2d
from earthloom.sample.batch import collate

NAMES = ("B02", "B03", "B04", "B8A", "B11", "B12")
WAVES = (490.0, 560.0, 665.0, 865.0, 1610.0, 2200.0)
MEAN = (1087.0, 1342.0, 1433.0, 2734.0, 1958.0, 1363.0)
STD = (2248.0, 2179.0, 2178.0, 1850.0, 1242.0, 1049.0)
TWO = ("1", "2")
HLS = LayerSpec("hls-s30", 30, NAMES, "1", TWO, WAVES)
SMALL = {"width": 32, "depth": 4, "heads": 2}


def statistics_for(*layers):
    return {e.key: Statistics((0.5,) * len(e.bands), (0.3,) * len(e.bands)) for e in layers}


def made(*layers, **more):
    torch.manual_seed(0)
    return Prithvi(layers, statistics_for(*layers), **(SMALL | more)).eval()


def batch_of(*layers, shape=Shape2d(32, 48), unseen=None, days=(19500, 19690), place=None):
    """The same pixels by the names of bands, however they lie in layers."""
    values = np.random.default_rng(0).random((2, 6, *shape)).astype(np.float32)
    found = {}
    for layer in layers:
        pixels = values[:, [NAMES.index(name) for name in layer.bands]]
        valid = np.ones((2, *shape), bool)
        if unseen is not None:
            valid[unseen] = False
        found[layer.key] = Layer(layer, pixels, valid, np.array(days, np.int32))
    return collate([Chip("c", shape, found, place=place)])


def published(width, depth, patch, temporal=False, side=14, times=4):
    """Random tensors with the names and shapes of a published file, decoder and all."""
    drawn = torch.Generator().manual_seed(1)

    def random(*shape):
        return torch.randn(shape, generator=drawn) * 0.1

    state = {
        "encoder.cls_token": random(1, 1, width),
        "encoder.pos_embed": random(1, 1 + times * side * side, width),
        "encoder.patch_embed.proj.weight": random(width, 6, 1, patch, patch),
        "encoder.patch_embed.proj.bias": random(width),
        "encoder.norm.weight": random(width),
        "encoder.norm.bias": random(width),
        "decoder.mask_token": random(1, 1, 16),
        "decoder.decoder_pos_embed": random(1, 1 + times * side * side, 16),
        "decoder.decoder_embed.weight": random(16, width),
    }
    for at in range(depth):
        for name, shape in {
            "norm1.weight": (width,),
            "norm1.bias": (width,),
            "attn.qkv.weight": (3 * width, width),
            "attn.qkv.bias": (3 * width,),
            "attn.proj.weight": (width, width),
            "attn.proj.bias": (width,),
            "norm2.weight": (width,),
            "norm2.bias": (width,),
            "mlp.fc1.weight": (4 * width, width),
            "mlp.fc1.bias": (4 * width,),
            "mlp.fc2.weight": (width, 4 * width),
            "mlp.fc2.bias": (width,),
        }.items():
            state[f"encoder.blocks.{at}.{name}"] = random(*shape)
    if temporal:
        state["encoder.temporal_embed_enc.scale"] = torch.tensor([0.3])
        state["encoder.location_embed_enc.scale"] = torch.tensor([0.2])
        state["decoder.temporal_embed_dec.scale"] = torch.tensor([0.3])
    return state


def by_hand(state, image, depth, heads, extra=0.0):
    """(B, 1 + T h w, F) of an image (B, 6, T, H, W), from a published state, step by step."""
    name = "encoder."
    width = state[name + "norm.weight"].shape[0]
    weight = state[name + "patch_embed.proj.weight"]
    patches = torch.nn.functional.conv3d(
        image, weight, state[name + "patch_embed.proj.bias"], stride=(1, *weight.shape[-2:])
    )
    _, _, times, rows, cols = patches.shape
    tokens = patches.flatten(2).mT
    tokens = tokens + positions(times, Shape2d(rows, cols), 14, width).flatten(0, 1) + extra
    state_of = torch.cat([state[name + "cls_token"].expand(len(image), -1, -1), tokens], dim=1)

    def normed(values, which):
        return torch.nn.functional.layer_norm(
            values, (width,), state[name + which + ".weight"], state[name + which + ".bias"]
        )

    def linear(values, which):
        return values @ state[name + which + ".weight"].mT + state[name + which + ".bias"]

    for at in range(depth):
        block = f"blocks.{at}."
        qkv = linear(normed(state_of, block + "norm1"), block + "attn.qkv")
        query, key, value = (
            each.unflatten(-1, (heads, -1)).transpose(1, 2) for each in qkv.chunk(3, dim=-1)
        )
        weights = (query @ key.mT / (width / heads) ** 0.5).softmax(dim=-1)
        state_of = state_of + linear(
            (weights @ value).transpose(1, 2).flatten(2), block + "attn.proj"
        )
        inner = linear(normed(state_of, block + "norm2"), block + "mlp.fc1")
        state_of = state_of + linear(torch.nn.functional.gelu(inner), block + "mlp.fc2")
    return normed(state_of, "norm")


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
def test_a_published_file_gives_what_its_formulas_give(tmp_path, suffix):
    state = published(32, 4, 16)
    file = tmp_path / f"Prithvi_EO_V2{suffix}"
    (torch.save if suffix == ".pt" else save_file)(state, file)
    turned = HLS.with_bands((3, 5, 0, 1, 4, 2))
    encoder = made(turned)
    encoder.read_weights(file)
    batch = batch_of(turned)
    pixels = batch_of(HLS).layers[HLS.key].pixels * 10000
    mean, std = (torch.tensor(each)[:, None, None] for each in (MEAN, STD))
    with torch.inference_mode():
        found = encoder(batch)
        tokens = by_hand(state, ((pixels - mean) / std).transpose(1, 2), 4, 2)
    expected = tokens[:, 1:].unflatten(1, (2, 2, 3)).mean(dim=1).movedim(-1, 1)
    torch.testing.assert_close(found.pixels, expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(found.vector, tokens[:, 0], atol=1e-4, rtol=1e-4)
    assert len(found.pyramid) == 4


def test_times_and_places_of_a_tl_file_are_added(tmp_path):
    state = published(32, 4, 16, temporal=True)
    file = tmp_path / "tl.pt"
    torch.save(state, file)
    north = Place("EPSG:4326", (0.001, 0.0, 11.0, 0.0, -0.001, 48.0), Shape2d(32, 48))
    batch = batch_of(HLS, place=north)
    pixels = batch.layers[HLS.key].pixels * 10000
    mean, std = (torch.tensor(each)[:, None, None] for each in (MEAN, STD))
    image = ((pixels - mean) / std).transpose(1, 2)
    times = 0.3 * time_codes(torch.tensor([[19500, 19690]]), 32).repeat_interleave(6, dim=1)
    where = 0.2 * place_codes((north,), 32)[:, None]
    for more, extra in (({}, 0.0), ({"dated": True}, times), ({"located": True}, where)):
        encoder = made(HLS, **more)
        encoder.read_weights(file)
        with torch.inference_mode():
            found = encoder(batch).vector
        expected = by_hand(state, image, 4, 2, extra)[:, 0]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
    with pytest.raises(ContractError, match="needs chips with their places"):
        made(HLS, located=True)(replace(batch_of(HLS), places=()))


def test_a_file_that_does_not_fit_names_what_is_wrong(tmp_path):
    encoder = made(HLS)
    state = published(32, 4, 16)
    file = tmp_path / "weights.pt"
    torch.save(state | {"encoder.blocks.4.norm1.bias": torch.zeros(32)}, file)
    with pytest.raises(
        DataError, match=r"0 weights are missing.*1 are unexpected \(blocks.4.norm1"
    ):
        encoder.read_weights(file)
    torch.save({k: v for k, v in state.items() if "blocks.2" not in k}, file)
    with pytest.raises(DataError, match=r"12 weights are missing \(blocks.2"):
        encoder.read_weights(file)
    torch.save(published(32, 4, 14), file)
    with pytest.raises(
        DataError, match=r"patch_embed.proj.weight has the shape \(32, 6, 1, 14, 14"
    ):
        encoder.read_weights(file)
    torch.save({"epoch": 3, "model": state}, file)
    with pytest.raises(
        DataError, match=r"holds other things than tensors by name: epoch, model\.enc"
    ):
        encoder.read_weights(file)
    file.write_bytes(b"no archive")
    with pytest.raises(DataError, match="no weights can be read from"):
        encoder.read_weights(file)


def test_a_file_that_would_run_code_is_refused(tmp_path):
    class Runs:
        def __reduce__(self):
            return (print, ("run",))

    torch.save({"encoder.norm.weight": Runs()}, tmp_path / "bad.pt")
    with pytest.raises(DataError, match="hold tensors alone"):
        made(HLS).read_weights(tmp_path / "bad.pt")


def test_bands_in_other_layers_and_orders_change_nothing():
    fine = HLS.with_bands((2, 0))
    other = LayerSpec(
        "hls-s30", 31, ("B12", "B8A", "B11", "B03"), "1", TWO, (2200.0, 865.0, 1610.0, 560.0)
    )
    with torch.inference_mode():
        whole = made(HLS)(batch_of(HLS)).pixels
        parts = made(fine, other)(batch_of(fine, other)).pixels
    torch.testing.assert_close(whole, parts)


def test_a_date_that_was_not_seen_is_as_if_it_were_not_there():
    encoder = made(HLS)
    one = LayerSpec("hls-s30", 30, NAMES, "1", ("1",), WAVES)
    alone = made(one)
    batch = batch_of(HLS, unseen=1)
    layer = batch_of(HLS).layers[HLS.key]
    single = collate(
        [
            Chip(
                "c",
                Shape2d(32, 48),
                {
                    one.key: Layer(
                        one,
                        layer.pixels[0, :1].numpy(),
                        layer.valid[0, :1].numpy(),
                        layer.days[0, :1].numpy(),
                    )
                },
            )
        ]
    )
    with torch.inference_mode():
        both, first = encoder(batch), alone(single)
    torch.testing.assert_close(both.pixels, first.pixels, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(both.vector, first.vector, atol=1e-5, rtol=1e-5)


def test_places_are_sines_of_column_row_and_date():
    found = positions(3, Shape2d(14, 14), 14, 32).reshape(3, 14, 14, 32)
    rate = 10000.0 ** (-np.arange(6) / 6)
    for time, row, col in ((0, 0, 0), (2, 5, 9), (1, 13, 0)):
        parts = [
            wave(place * (rate if count == 6 else 10000.0 ** (-np.arange(4) / 4)))
            for place, count in ((col, 6), (row, 6), (time, 4))
            for wave in (np.sin, np.cos)
        ]
        np.testing.assert_allclose(found[time, row, col], np.concatenate(parts), atol=1e-5)
    wide = positions(1, Shape2d(2, 3), 14, 32).reshape(2, 3, 32)
    torch.testing.assert_close(wide[0, 0], found[0, 0, 0], atol=1e-4, rtol=0)
    torch.testing.assert_close(wide[1, 2], found[0, 13, 13], atol=1e-4, rtol=0)


def test_times_are_year_and_day_of_the_year():
    days = torch.tensor([[19722, 0]])  # 2023-12-31, and none
    found = time_codes(days, 8)
    parts = [wave(np.array([1.0, 0.01]) * n) for n in (2023, 365) for wave in (np.sin, np.cos)]
    np.testing.assert_allclose(found[0, 0], np.concatenate(parts), atol=1e-5)
    assert not found[0, 1].any()


def test_what_it_does_not_take_is_refused():
    with pytest.raises(ContractError, match=r"takes the bands B02, B03.*but got B02, B03$"):
        made(HLS.with_bands((0, 1)))
    numbers = LayerSpec("hls-s30", 30, NAMES, "DN", TWO, WAVES)
    with pytest.raises(ContractError, match=r"in the unit 1, but layer hls-s30_30m has DN"):
        made(numbers)
    with pytest.raises(ContractError, match=r"got those of naip; valid are: hls-s30"):
        made(LayerSpec("naip", 1, ("R",), "1", TWO, (660.0,)))
    with pytest.raises(ContractError, match="width is 24"):
        made(HLS, width=24)


@pytest.mark.parametrize("size", SIZES)
def test_the_published_sizes_are_those_of_large_and_huge_transformers(size):
    with torch.device("meta"):
        encoder = Prithvi((HLS,), statistics_for(HLS), **SIZES[size])
    width, depth, patch = encoder.width, encoder.depth, encoder.patch
    block = 12 * width**2 + 13 * width
    ends = (6 * patch**2 + 1) * width + width + 2 * width
    count = sum(each.numel() for each in encoder.parameters())
    assert count == depth * block + ends + encoder.dated
    assert round(count / 1e6) == {"3": 304, "6": 631}[size[0]]
