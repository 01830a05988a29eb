"""Fusion of dates: laws of each way, and of the encoder that shows every date alone."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.encoders import Statistics
from earthloom.encoders.base import Level
from earthloom.encoders.compose import build, encoders_for
from earthloom.encoders.dates import DATES, code_of
from earthloom.errors import ContractError
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.batch import collate

LEVELS = (Level(4, 2), Level(8, 4))
every_way = pytest.mark.parametrize("way", DATES)


def fusion_of(way):
    torch.manual_seed(0)
    return DATES[way](LEVELS).eval()


def drawn(seed, times):
    generator = torch.Generator().manual_seed(seed)
    images = [torch.randn(2, times, 4, 6, 4, generator=generator)]
    images.append(torch.randn(2, times, 8, 3, 2, generator=generator))
    shares = [torch.rand(2, times, 6, 4, generator=generator).round(decimals=1)]
    shares.append(torch.rand(2, times, 3, 2, generator=generator))
    shares = [torch.where(share < 0.4, 0.0, share) for share in shares]
    days = torch.randint(15000, 20000, (2, times), generator=generator)
    return images, shares, days


def fused(way, images, shares, days):
    with torch.inference_mode():
        return fusion_of(way)(images, shares, days)


@every_way
@given(seed=st.integers(0, 1000), times=st.integers(1, 5))
@settings(max_examples=15, deadline=None)
def test_the_order_of_dates_does_not_matter(way, seed, times):
    images, shares, days = drawn(seed, times)
    turn = torch.randperm(times, generator=torch.Generator().manual_seed(seed))
    other = fused(way, [e[:, turn] for e in images], [e[:, turn] for e in shares], days[:, turn])
    for one, two in zip(fused(way, images, shares, days), other, strict=True):
        torch.testing.assert_close(one, two)


@every_way
@given(seed=st.integers(0, 1000), times=st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_a_date_that_saw_nothing_may_be_left_out(way, seed, times):
    images, shares, days = drawn(seed, times + 1)
    for share in shares:
        share[:, -1] = 0
    whole = fused(way, images, shares, days)
    without = fused(way, [e[:, :-1] for e in images], [e[:, :-1] for e in shares], days[:, :-1])
    for one, two in zip(whole, without, strict=True):
        torch.testing.assert_close(one, two)


@every_way
@given(seed=st.integers(0, 1000))
@settings(max_examples=10, deadline=None)
def test_a_date_shown_again_changes_nothing(way, seed):
    images, shares, days = drawn(seed, 3)
    twice = [torch.cat([e, e], dim=1) for e in images], [torch.cat([e, e], dim=1) for e in shares]
    again = fused(way, *twice, torch.cat([days, days], dim=1))
    for one, two in zip(fused(way, images, shares, days), again, strict=True):
        torch.testing.assert_close(one, two)


@every_way
def test_cells_that_were_never_seen_are_zero_and_alike_dates_are_themselves(way):
    images, shares, days = drawn(3, 4)
    shares[0][0, :, 1, 2] = 0
    assert not fused(way, images, shares, days)[0][0, :, 1, 2].any()
    alike = [image[:, :1].expand_as(image) for image in images]
    full = [torch.ones_like(share) for share in shares]
    for one, image in zip(fused(way, alike, full, days), images, strict=True):
        torch.testing.assert_close(one, image[:, 0])


def test_the_mean_is_that_of_numpy():
    images, shares, days = drawn(5, 3)
    for found, image, share in zip(
        fused("mean", images, shares, days), images, shares, strict=True
    ):
        weight = np.where(share.sum(1, keepdim=True) > 0, share, 1.0)
        expected = np.stack(
            [np.average(image[:, :, c], axis=1, weights=weight) for c in range(image.shape[2])], 1
        )
        expected[(share.sum(1) == 0).numpy()[:, None].repeat(image.shape[2], 1)] = 0
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_attention_looks_at_the_days():
    images, shares, days = drawn(7, 3)
    shares = [torch.ones_like(share) for share in shares]
    first = fused("attention", images, shares, days)
    second = fused("attention", images, shares, days + torch.tensor([0, 90, 200]))
    assert not torch.allclose(first[0], second[0], atol=1e-4)


def test_attention_is_a_softmax_of_queries_and_keys():
    """Against the formula of the paper, written out for one pixel."""
    images, _, days = drawn(11, 4)
    shares = [torch.ones(2, 4, *image.shape[-2:]) for image in images]
    fusion = DATES["attention"]([LEVELS[1]]).eval()
    with torch.inference_mode():
        found = fusion(images[1:], shares[1:], days)[0][1, :, 2, 1]
        state = images[1][1, :, :, 2, 1]  # (T, F)
        coded = fusion.norm(state) + fusion.code(code_of(days[1]))
        keys = fusion.key(coded).reshape(4, fusion.heads, -1)
        expected = []
        for head, values in enumerate(state.chunk(fusion.heads, dim=1)):
            scores = keys[:, head] @ fusion.query[head] / keys.shape[-1] ** 0.5
            expected.append(scores.softmax(0) @ values)
    torch.testing.assert_close(found, torch.cat(expected))


SERIES = LayerSpec("s", 10, ("red", "nir"), "1", ("1", "2", "3"), (660.0, 840.0))
ONCE = LayerSpec("r", 10, ("vv",), "1", ("1", "2"), (None,))
STATIC = LayerSpec("dem", 10, ("height",), "m", ("static",), (None,))
UNET = {"name": "unet", "width": 4, "levels": 1}


def statistics_for(*layers):
    return {e.key: Statistics((0.5,) * len(e.bands), (0.3,) * len(e.bands)) for e in layers}


def series_chip(spec, order, blind=()):
    random = np.random.default_rng(0)
    pixels = random.random((3, 2, 8, 8)).astype(np.float32)
    valid = random.random((3, 8, 8)) > 0.2
    valid[list(blind)] = False
    pixels[~valid[:, None].repeat(2, 1)] = np.nan
    days = np.array([19000, 19100, 19250], np.int32)
    order = list(order)
    height = Layer(
        STATIC, random.random((1, 1, 8, 8)).astype(np.float32), np.ones((1, 8, 8), bool), days[:1]
    )
    layer = Layer(spec, pixels[order], valid[order], days[order])
    return Chip("c", Shape2d(8, 8), {spec.key: layer, STATIC.key: height})


@every_way
@pytest.mark.parametrize("training", [False, True])
def test_an_encoder_of_dates_knows_no_order_and_no_blind_date(way, training):
    layers = (SERIES, STATIC)
    torch.manual_seed(0)
    config = {"name": "dated", "encoder": UNET | {"norm": "batch"}, "dates": way}
    encoder = build(config, layers, statistics_for(*layers)).train(training)
    two = LayerSpec("s", 10, SERIES.bands, "1", ("1", "2"), SERIES.wavelengths_nm)
    shorter = build(config, (two, STATIC), statistics_for(two, STATIC)).train(training)
    shorter.load_state_dict(encoder.state_dict())
    with torch.no_grad():
        found = encoder(collate([series_chip(SERIES, [0, 1, 2], blind=[1])]))
        turned = encoder(collate([series_chip(SERIES, [2, 0, 1], blind=[1])]))
        without = shorter(collate([series_chip(two, [0, 2])]))
    torch.testing.assert_close(found.pixels, turned.pixels)
    torch.testing.assert_close(found.pixels, without.pixels)
    assert torch.equal(found.seen, without.seen)


def test_elevation_alone_is_no_date():
    layers = (SERIES, STATIC)
    encoder = build(
        {"name": "dated", "encoder": UNET, "dates": "mean"}, layers, statistics_for(*layers)
    )
    found = encoder.train()(collate([series_chip(SERIES, [0, 1, 2], blind=[0, 1, 2])]))
    assert not found.seen.any()
    assert torch.isfinite(found.pixels).all()


def test_layers_of_other_dates_are_refused_and_the_way_out_works():
    layers = (SERIES, ONCE, STATIC)
    with pytest.raises(ContractError, match="s_10m has 3, r_10m has 2"):
        encoders_for(UNET, layers, statistics_for(*layers), dates="mean")
    (encoder,) = encoders_for(
        UNET, layers, statistics_for(*layers), dates="attention", fusion="hybrid"
    )
    assert encoder.layers == layers
    with pytest.raises(ContractError, match=r"median.*stack, mean, max, attention"):
        encoders_for(UNET, layers, statistics_for(*layers), dates="median")
