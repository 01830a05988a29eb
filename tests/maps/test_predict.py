"""Prediction window by window is prediction of the whole."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.maps import PROBABILITY_NODATA, PROBABILITY_SCALE
from earthloom.maps.cog import quantised
from earthloom.maps.predict import Tiling, predict_strips, tiling_for
from earthloom.sample import Layer, LayerSpec, Shape2d, Window
from earthloom.tasks import PixelClasses, decide

FINE = LayerSpec("optical", 10, ("red",), "1", ("1",), (660.0,))
COARSE = LayerSpec("optical", 20, ("swir",), "1", ("1",), (1610.0,), factor=2)
TASK = PixelClasses((1, 2, 5), ("a", "b", "c"), ((0, 0, 0), (1, 1, 1), (2, 2, 2)))
DAYS = np.zeros(1, np.int32)


@dataclass(frozen=True)
class ListedCube:
    """A cube in memory: what lies outside is not valid."""

    image: np.ndarray
    specs: dict[str, LayerSpec]

    @property
    def shape(self):
        return Shape2d(*self.image.shape)

    def window(self, window):
        rows, cols = window.shape
        pixels = np.full((1, 1, rows, cols), np.nan, np.float32)
        part = self.image[window.row : window.row + rows, window.col : window.col + cols]
        pixels[0, 0, : part.shape[0], : part.shape[1]] = part
        return {FINE.key: Layer(FINE, pixels, ~np.isnan(pixels[:, 0]), DAYS)}


@dataclass(frozen=True)
class FakeModel:
    """Probabilities from a function of the pixels; stands for a `Model`."""

    function: object
    radius: int
    layers: tuple[LayerSpec, ...] = (FINE, COARSE)
    task: PixelClasses = TASK

    def probabilities(self, batch):
        layer = batch.layers[FINE.key]
        shares = self.function(layer.pixels[:, 0, 0])
        return torch.where(layer.valid[:, 0][:, None], shares, torch.nan)


def constant(pixels):
    return torch.tensor([0.2, 0.5, 0.3])[None, :, None, None].expand(-1, -1, *pixels.shape[1:])


def per_pixel(pixels):
    value = torch.nan_to_num(pixels)
    return torch.stack([value, 1 - value, value * 0], dim=1)


def _image(rows, cols, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.random((rows, cols)).astype(np.float32)
    image[rng.random((rows, cols)) < 0.1] = np.nan
    return image


def _whole(model, image, tiling):
    cube = ListedCube(image, {FINE.key: FINE})
    ticks = []
    strips = list(predict_strips(model, cube, tiling, lambda *done: ticks.append(done)))
    assert ticks[-1][0] == ticks[-1][1] == len(strips)
    rows = [row for row, _ in strips]
    ends = [row + strip.shape[1] for row, strip in strips]
    assert rows == [0, *ends[:-1]]
    assert ends[-1] == image.shape[0]
    return np.concatenate([strip for _, strip in strips], axis=1)


tilings = st.tuples(st.integers(2, 20), st.integers(1, 20)).map(lambda x: Tiling(x[0], min(x)))
sizes = st.integers(1, 45)


@settings(deadline=None, max_examples=60)
@given(sizes, sizes, tilings, st.sampled_from([constant, per_pixel]))
def test_windows_do_not_show(rows, cols, tiling, function):
    """Weights of overlapping windows sum to one: what every window says alike is said."""
    image = _image(rows, cols)
    found = _whole(FakeModel(function, radius=1), image, tiling)
    wanted = function(torch.from_numpy(image)[None])[0].numpy()
    seen = ~np.isnan(image)
    np.testing.assert_allclose(found[:, seen], wanted[:, seen], atol=1e-5)
    assert np.isnan(found[:, ~seen]).all()


@settings(deadline=None, max_examples=60)
@given(tilings)
def test_ramp_is_never_zero_and_falls_towards_the_edges(tiling):
    ramp = tiling.ramp()
    assert ramp.shape == (tiling.size,)
    assert (ramp > 0).all()
    assert (ramp <= 1).all()
    np.testing.assert_array_equal(ramp, ramp[::-1])
    assert (np.diff(ramp[: -(-tiling.size // 2)]) >= 0).all()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 200), tilings)
def test_windows_reach_both_ends(length, tiling):
    starts = tiling.starts(length)
    assert starts[0] == 0
    assert starts[-1] + tiling.size >= length
    assert all(b - a == tiling.stride <= tiling.size for a, b in pairwise(starts))


def test_blending_hides_the_seams():
    """A model that errs at its windows' edges is smooth where windows overlap."""

    def edgy(pixels):
        ramp = torch.linspace(0, 1, pixels.shape[-1]).expand(pixels.shape)
        return torch.stack([ramp, 1 - ramp, ramp * 0], dim=1)

    image = np.zeros((32, 96), np.float32)
    hard = _whole(FakeModel(edgy, radius=4), image, Tiling(32, 32))[0, 16]
    soft = _whole(FakeModel(edgy, radius=4), image, Tiling(32, 16))[0, 16]
    assert np.abs(np.diff(soft)).max() < 0.2 * np.abs(np.diff(hard)).max()


@pytest.mark.parametrize(
    ("radius", "window", "overlap", "wanted"),
    [
        (0, 64, 0.25, Tiling(64, 64)),
        (1, 64, 0.25, Tiling(64, 48)),
        (3, 65, 0.5, Tiling(64, 32)),
        (3, 1, 0.0, Tiling(2, 2)),
        (3, 4, 0.75, Tiling(4, 2)),
    ],
)
def test_tiling_suits_the_layers(radius, window, overlap, wanted):
    assert tiling_for(FakeModel(constant, radius), window, overlap) == wanted


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 9), st.integers(0, 1000))
def test_quantised_probabilities_stay_close_and_sum_to_one(classes, seed):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(classes), size=(3, 4)).transpose(2, 0, 1).astype(np.float32)
    shares[:, 0, 0] = np.nan
    stored = quantised(shares)
    assert stored.dtype == np.uint8
    assert (stored[:, 0, 0] == PROBABILITY_NODATA).all()
    said = ~np.isnan(shares)
    assert (stored[said] <= 250).all()
    assert np.abs(stored[said] * PROBABILITY_SCALE - shares[said]).max() <= 0.5001 / 250
    total = stored.astype(int).sum(axis=0).ravel()[1:]
    assert np.abs(total - 250).max() <= classes / 2


def test_decision_says_nothing_where_nothing_was_seen():
    shares = np.array([[0.2, np.nan], [0.5, np.nan], [0.3, np.nan]], np.float32)[:, None]
    np.testing.assert_array_equal(decide(shares, (1, 2, 5)), [[2, 0]])


def test_window_keeps_memory_of_a_row_of_windows():
    """However long the area, a strip is no longer than a window."""
    image = _image(500, 20)
    cube = ListedCube(image, {FINE.key: FINE})
    model = FakeModel(per_pixel, radius=2)
    for _, strip in predict_strips(model, cube, Tiling(16, 12), lambda *_: None):
        assert strip.shape[1] <= 16
    assert Window(0, 0, Shape2d(16, 16)).coarser(2).shape == Shape2d(8, 8)
