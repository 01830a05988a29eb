"""What holds for the encoder that takes any sensor."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from earthloom.encoders import Statistics
from earthloom.encoders.loom import LEARNT, Loom, load_loom, save_weights
from earthloom.encoders.loom import pieces as pieces_module
from earthloom.errors import ContractError, DataError
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch, LayerBatch

THREE = ("2023-03", "2023-06", "2023-09")
S2 = LayerSpec(
    "sentinel-2-l2a", 10, ("B02", "B03", "B04", "B08"), "1", THREE, (492.4, 559.8, 664.6, 832.8)
)
S2_COARSE = LayerSpec("sentinel-2-l2a", 20, ("B11", "B12"), "1", THREE, (1613.7, 2202.4), factor=2)
LANDSAT = LayerSpec(
    "landsat-oli-c2-l2", 30, ("red", "nir08"), "1", ("2023-04", "2023-08"), (655.0, 865.0), factor=3
)
RADAR = LayerSpec("sentinel-1-rtc", 10, ("vv", "vh"), "linear power", THREE, (None, None))
HEIGHT = LayerSpec("cop-dem-glo-30", 10, ("data",), "m", ("static",), (None,))
CAMERA = LayerSpec("drone", 10, ("red", "green"), "DN", ("1",), (650.0, 550.0))
ALL = (S2, S2_COARSE, LANDSAT, RADAR, HEIGHT, CAMERA)
TYPICAL = {"1": 0.2, "linear power": 0.1, "m": 300.0, "DN": 100.0}


def statistics_of(layers):
    return {
        e.key: Statistics(
            (TYPICAL[e.unit],) * len(e.bands), (TYPICAL[e.unit] * 0.5,) * len(e.bands)
        )
        for e in layers
    }


def loom_for(layers, seed=0, size="tiny"):
    torch.manual_seed(seed)
    return Loom(layers, statistics_of(layers), size).eval()


def batch_of(layers, rows=12, cols=18, count=2, cloudy=0.3, seed=0):
    random = np.random.default_rng(seed)
    made = {}
    for spec in layers:
        size = (rows // spec.factor, cols // spec.factor)
        times = len(spec.dates)
        pixels = random.random((count, times, len(spec.bands), *size), np.float32)
        valid = random.random((count, times, *size)) >= cloudy
        pixels = (pixels + 0.1) * TYPICAL[spec.unit]
        pixels[~valid[:, :, None].repeat(len(spec.bands), 2)] = np.nan
        days = 19400 + 90 * np.arange(times, dtype=np.int32) + random.integers(0, 40)
        made[spec.key] = LayerBatch(
            torch.from_numpy(pixels),
            torch.from_numpy(valid),
            torch.from_numpy(np.tile(days.astype(np.int32), (count, 1))),
        )
    return Batch(tuple(map(str, range(count))), made, None)


def with_layer(batch, key, **change):
    return Batch(batch.ids, dict(batch.layers) | {key: replace(batch.layers[key], **change)}, None)


def all_of(found):
    return [found.pixels, found.vector, *found.pyramid]


def outputs(loom, batch):
    with torch.inference_mode():
        return all_of(loom(batch))


def year_of(loom, found):
    """Means of windows of the year, by slot and window; (B, C, ...) of pixels or a vector."""
    slots, windows = loom.seasons.slots, loom.seasons.windows
    apart = found[:, -len(slots) * windows :].unflatten(1, (windows, len(slots)))
    return {(slot, m): apart[:, m, k] for k, slot in enumerate(slots) for m in range(windows)}


def learnt_of(loom, batch):
    with torch.inference_mode():
        return all_of(loom(batch, calendar=False))


def assert_same(first, second, atol=1e-5):
    for a, b in zip(first, second, strict=True):
        torch.testing.assert_close(a, b, atol=atol, rtol=1e-4)


def differ(first, second):
    return all((a - b).abs().max() > 1e-3 for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("shape", [(1, 1), (7, 5), (32, 64), (33, 1)])
def test_any_size_gives_features_of_the_declared_shapes(shape):
    layers = (S2, RADAR)
    loom = loom_for(layers)
    with torch.inference_mode():
        found = loom(batch_of(layers, *shape))
    assert found.pixels.shape == (2, loom.channels, *shape)
    assert found.pixels.dtype == torch.float32
    assert found.vector.shape == (2, loom.scene_channels)
    for level, image in zip(loom.pyramid, found.pyramid, strict=True):
        cells = tuple(-(-side // 32) * 32 // level.stride for side in shape)
        assert image.shape == (2, level.channels, *cells)
    assert all(torch.isfinite(each).all() for each in all_of(found))


def test_without_the_calendar_the_rest_is_the_same():
    loom, batch = loom_for(ALL), batch_of(ALL)
    with torch.inference_mode():
        whole, learnt = loom(batch), loom(batch, calendar=False)
    torch.testing.assert_close(learnt.pixels, whole.pixels[:, :LEARNT])
    torch.testing.assert_close(learnt.vector, whole.vector[:, : loom.learnt_scene_channels])
    assert learnt.vector.shape == (2, loom.learnt_scene_channels)
    assert_same(learnt.pyramid, whole.pyramid)


@settings(max_examples=8, deadline=None)
@given(st.sets(st.sampled_from(range(len(ALL))), min_size=1), st.integers(1, 3))
def test_any_set_of_sensors_will_do(chosen, blocks):
    layers = tuple(ALL[at] for at in sorted(chosen))
    found = outputs(loom_for(layers), batch_of(layers, 6 * blocks, 6))
    assert all(torch.isfinite(each).all() for each in found)


def test_what_is_masked_has_no_influence_and_no_gradient():
    loom, batch = loom_for(ALL), batch_of(ALL)
    loud, given = batch, {}
    for key, layer in batch.layers.items():
        hidden = ~layer.valid[:, :, None].expand_as(layer.pixels)
        given[key] = torch.where(hidden, 1e9, layer.pixels).requires_grad_()
        loud = with_layer(loud, key, pixels=given[key])
    found = all_of(loom(loud))
    assert_same(outputs(loom, batch), [each.detach() for each in found])
    sum(each.square().sum() for each in found).backward()
    for key, pixels in given.items():
        hidden = ~batch.layers[key].valid[:, :, None].expand_as(pixels)
        assert (pixels.grad[hidden] == 0).all()
        assert torch.isfinite(pixels.grad).all()
        assert pixels.grad[~hidden].abs().max() > 0


def test_the_day_of_a_date_that_nobody_saw_has_no_influence():
    loom, batch = loom_for(ALL), batch_of(ALL)
    layer = batch.layers[S2.key]
    valid = layer.valid.clone()
    valid[:, 1] = False
    first = with_layer(batch, S2.key, valid=valid)
    days = layer.days.clone()
    days[:, 1] = 0
    assert_same(
        outputs(loom, first), outputs(loom, with_layer(batch, S2.key, valid=valid, days=days))
    )


@given(st.permutations(range(4)))
@settings(max_examples=5, deadline=None)
def test_bands_permuted_with_their_wavelengths_change_nothing(order):
    turned = (S2.with_bands(order), *ALL[1:])
    batch = batch_of(ALL)
    pixels = batch.layers[S2.key].pixels[:, :, list(order)]
    assert_same(
        outputs(loom_for(ALL), batch),
        outputs(loom_for(turned), with_layer(batch, S2.key, pixels=pixels)),
    )


def test_wavelengths_matter():
    other = (replace(S2, wavelengths_nm=S2.wavelengths_nm[::-1], sensor="x"), *ALL[1:])
    batch = batch_of(ALL)
    renamed = {other[0].key: batch.layers[S2.key]} | {e.key: batch.layers[e.key] for e in ALL[1:]}
    assert differ(
        outputs(loom_for(ALL), batch), outputs(loom_for(other), Batch(batch.ids, renamed, None))
    )


@given(st.permutations(range(3)))
@settings(max_examples=5, deadline=None)
def test_dates_permuted_with_their_days_change_nothing(order):
    loom, batch = loom_for(ALL), batch_of(ALL)
    turned, at = batch, list(order)
    for spec in (S2, RADAR):
        layer = batch.layers[spec.key]
        turned = with_layer(
            turned,
            spec.key,
            pixels=layer.pixels[:, at],
            valid=layer.valid[:, at],
            days=layer.days[:, at],
        )
    assert_same(outputs(loom, batch), outputs(loom, turned))


def test_days_matter():
    loom, batch = loom_for(ALL), batch_of(ALL)
    days = batch.layers[S2.key].days.flip(1)
    assert differ(outputs(loom, batch), outputs(loom, with_layer(batch, S2.key, days=days)))


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.key)
def test_a_sensor_that_saw_nothing_is_as_one_that_was_never_given(spec):
    batch = batch_of(ALL)
    valid = torch.zeros_like(batch.layers[spec.key].valid)
    rest = tuple(each for each in ALL if each != spec)
    unseen = with_layer(batch, spec.key, valid=valid)
    lacking = Batch(batch.ids, {e.key: batch.layers[e.key] for e in rest}, None)
    blind, without = loom_for(ALL), loom_for(rest)
    assert_same(learnt_of(blind, unseen), learnt_of(without, lacking))
    assert differ(learnt_of(blind, unseen), learnt_of(blind, batch))
    years = [
        year_of(loom, outputs(loom, each)[0])
        for loom, each in ((blind, unseen), (without, lacking))
    ]
    for place, mean in years[0].items():
        expected = years[1].get(place, torch.zeros_like(mean))
        torch.testing.assert_close(mean, expected, atol=1e-5, rtol=1e-4)


def test_a_band_that_was_left_out_is_as_one_that_was_never_there():
    batch = batch_of(ALL)
    measured = torch.tensor([[True, False, True, True]] * 2)
    left_out = outputs(loom_for(ALL), with_layer(batch, S2.key, measured=measured))
    fewer = (S2.with_bands((0, 2, 3)), *ALL[1:])
    pixels = batch.layers[S2.key].pixels[:, :, [0, 2, 3]]
    assert_same(left_out, outputs(loom_for(fewer), with_layer(batch, S2.key, pixels=pixels)))


def test_one_sample_has_no_influence_on_another():
    loom, batch = loom_for(ALL), batch_of(ALL)
    measured = torch.tensor([[True] * 4, [False, True, True, False]])
    both = with_layer(batch, S2.key, measured=measured)
    alone = {
        key: LayerBatch(
            e.pixels[1:],
            e.valid[1:],
            e.days[1:],
            None,
            None if e.measured is None else e.measured[1:],
        )
        for key, e in both.layers.items()
    }
    found = outputs(loom, both)
    assert_same([each[1:] for each in found], outputs(loom, Batch(("1",), alone, None)))


def test_a_gradient_reaches_every_parameter():
    loom = loom_for(ALL).train()
    found = all_of(loom(batch_of(ALL, 66, 66, cloudy=0.0)))
    torch.manual_seed(1)
    sum((each * torch.rand_like(each)).sum() for each in found).backward()
    without = [n for n, p in loom.named_parameters() if p.grad is None or not p.grad.any()]
    assert not without


def test_one_date_reaches_every_parameter_too():
    """Distributed training waits for all of them."""
    loom = loom_for((CAMERA,)).train()
    sum(each.sum() for each in all_of(loom(batch_of((CAMERA,))))).backward()
    assert all(parameter.grad is not None for parameter in loom.parameters())


def test_bfloat16_agrees():
    loom, batch = loom_for(ALL), batch_of(ALL, 36, 36)
    exact = outputs(loom, batch)
    with torch.autocast("cpu", torch.bfloat16):
        found = outputs(loom, batch)
    for a, b in zip(exact, found, strict=True):
        assert b.dtype == torch.float32
        assert (a - b).square().mean().sqrt() < 0.02 * a.square().mean().sqrt()


def test_pieces_fit_together(monkeypatch):
    """What is made piece by piece is what is made at once, as in training."""
    loom, batch = loom_for(ALL), batch_of(ALL, 48, 66)
    whole = [each.detach() for each in all_of(loom(batch))]
    monkeypatch.setattr(pieces_module, "_PIXELS", {"cpu": 1000, "cuda": 1000})
    assert_same(whole, outputs(loom, batch))


def test_a_window_says_what_the_whole_says_beyond_the_radius():
    layers = (S2, S2_COARSE, LANDSAT)
    loom = loom_for(layers)
    assert loom.is_local
    radius, step = loom.radius, loom.alignment
    size = -(-(2 * radius + 8) // step) * step
    batch = batch_of(layers, step + size + 6, size + step, count=1)
    cut = {}
    for spec in layers:
        layer = batch.layers[spec.key]
        rows, cols = (slice(at // spec.factor, (at + size) // spec.factor) for at in (step, 0))
        cut[spec.key] = LayerBatch(
            layer.pixels[..., rows, cols], layer.valid[..., rows, cols], layer.days
        )
    with torch.inference_mode():
        whole = loom(batch).pixels[..., step : step + size, :size]
        part = loom(Batch(batch.ids, cut, None)).pixels
    inner = slice(radius, size - radius)
    torch.testing.assert_close(
        part[..., inner, inner], whole[..., inner, inner], atol=1e-5, rtol=1e-4
    )
    # Near the cut the whole says something else: the test sees what it should.
    assert (part[..., :4, inner] - whole[..., :4, inner]).abs().max() > 1e-3


def test_weights_do_not_depend_on_the_layers():
    known = ALL[:-1]
    first = loom_for(known)
    second = first.over((HEIGHT,), statistics_of((HEIGHT,)))
    batch = batch_of(known)
    lacking = Batch(batch.ids, {HEIGHT.key: batch.layers[HEIGHT.key]}, None)
    assert_same(outputs(second, lacking), outputs(loom_for((HEIGHT,)), lacking))
    shapes = [
        {name: each.shape for name, each in loom_for(layers).named_parameters()}
        for layers in (ALL, (HEIGHT,))
    ]
    assert shapes[0] == shapes[1]


def test_saved_weights_serve_any_layers(tmp_path):
    file = tmp_path / "loom.safetensors"
    trained = loom_for(ALL)
    save_weights(trained, file, torch.float32)
    layers = (RADAR, CAMERA)
    batch = batch_of(layers)
    again = load_loom(layers, statistics_of(layers), file)
    assert not again.training
    assert_same(outputs(again, batch), outputs(loom_for(layers), batch))
    save_weights(trained, file)
    assert file.stat().st_size < 10e6
    assert {each.dtype for each in load_file(file).values()} == {torch.bfloat16}
    assert {p.dtype for p in load_loom(layers, statistics_of(layers), file).parameters()} == {
        torch.float32
    }


def test_a_file_that_is_not_of_a_loom_is_refused(tmp_path):
    file = tmp_path / "loom.safetensors"
    with pytest.raises(DataError, match="no weights can be read"):
        load_loom((S2,), statistics_of((S2,)), file)
    save_file({"a": torch.zeros(2)}, file, metadata={"size": "tiny"})
    with pytest.raises(DataError, match="is not of a loom of size tiny"):
        load_loom((S2,), statistics_of((S2,)), file)


def test_a_loom_is_made_again_from_its_config():
    loom, batch = loom_for(ALL), batch_of(ALL)
    blank = {e.key: Statistics((0.0,) * len(e.bands), (1.0,) * len(e.bands)) for e in ALL}
    again = Loom(ALL, blank, **loom.config()).eval()
    again.load_state_dict(loom.state_dict())
    # What bands that a sample lacks usually are, the statistics say, which come with the weights.
    lacking = with_layer(batch, S2.key, measured=torch.arange(len(S2.bands)).expand(2, -1) > 0)
    for each in (batch, lacking):
        for a, b in zip(outputs(loom, each), outputs(again, each), strict=True):
            assert torch.equal(a, b)


def test_sizes_are_what_they_are_called():
    with torch.device("meta"):
        counts = {
            size: sum(p.numel() for p in Loom((S2,), statistics_of((S2,)), size).parameters())
            for size in ("tiny", "small", "base")
        }
    assert counts["tiny"] < 5e6 < counts["small"] < 40e6 < counts["base"] < 110e6
    with pytest.raises(ContractError, match="'huge'; valid are: tiny, small, base"):
        loom_for((S2,), size="huge")
    with pytest.raises(ContractError, match="one layer or more"):
        loom_for(())
