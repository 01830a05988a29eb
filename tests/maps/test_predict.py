"""Prediction window by window, from pixels that are read in other pieces than windows."""

from dataclasses import dataclass, field

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.maps import predict
from earthloom.maps.blend import mean_of
from earthloom.maps.predict import PartPixels, ahead, predict_part
from earthloom.maps.tiling import Tiling, layout_of
from earthloom.sample import Layer, LayerSpec, Shape2d, Window

FINE = LayerSpec("optical", 10, ("red",), "1", ("1",), (660.0,))
COARSE = LayerSpec("optical", 20, ("swir",), "1", ("1",), (1610.0,), factor=2)
STATIC = LayerSpec("dem", 10, ("height",), "m", ("static",), (None,))
DAYS = np.zeros(1, np.int32)


@dataclass(frozen=True)
class Image:
    """Layers in memory; notes what was read of them."""

    layers: dict
    shape: Shape2d
    read: list = field(default_factory=list)

    @property
    def specs(self):
        return {spec.key: spec for spec in self.layers}

    def window(self, window):
        self.read.append(window)
        return {spec.key: self._cut(spec, window.coarser(spec.factor)) for spec in self.layers}

    def _cut(self, spec, window):
        pixels = np.full((1, 1, *window.shape), np.nan, np.float32)
        rows, cols = window.row + window.shape.rows, window.col + window.shape.cols
        part = self.layers[spec][window.row : rows, window.col : cols]
        pixels[0, 0, : part.shape[0], : part.shape[1]] = part
        return Layer(spec, pixels, ~np.isnan(pixels[:, 0]), DAYS)


@dataclass(frozen=True)
class Ready:
    """A prediction that is there."""

    shares: torch.Tensor

    def result(self):
        return self.shares


@dataclass(frozen=True)
class Model:
    """Probabilities from a function of the pixels."""

    function: object
    planes: int = 3

    ahead: int = 2

    def begin(self, batch):
        return Ready(self._predicted(batch))

    def _predicted(self, batch):
        layer = batch.layers[FINE.key]
        shares = self.function(layer.pixels[:, 0, 0])
        return torch.where(layer.valid[:, 0][:, None], shares, torch.nan)


def constant(pixels):
    return torch.tensor([0.2, 0.5, 0.3])[None, :, None, None].expand(-1, -1, *pixels.shape[1:])


def per_pixel(pixels):
    value = torch.nan_to_num(pixels)
    return torch.stack([value, 1 - value, value * 0], dim=1)


def _noise(rows, cols, seed=0):
    rng = np.random.default_rng(seed)
    image = rng.random((rows, cols)).astype(np.float32)
    image[rng.random((rows, cols)) < 0.1] = np.nan
    return image


def _part(image, layout, part):
    return PartPixels(image, layout, part, 2, frozenset(layout.windows(part)))


def _whole(function, image, tiling):
    """(K, H, W) of an image that is one part."""
    shape = Shape2d(*image.shape)
    layout = layout_of(shape, tiling, part=10_000)
    (part,) = layout.parts()
    pixels = _part(Image({FINE: image}, shape), layout, part)
    with ahead(pixels.batches()) as batches:
        strips = [sums for _, sums in predict_part(Model(function), layout, part, batches)]
    return mean_of(np.concatenate(strips, axis=1))[:, : shape.rows, : shape.cols]


tilings = st.tuples(st.integers(2, 20), st.integers(1, 20)).map(lambda x: Tiling(x[0], min(x)))
sizes = st.integers(1, 45)


@settings(deadline=None, max_examples=60)
@given(sizes, sizes, tilings, st.sampled_from([constant, per_pixel]))
def test_windows_do_not_show(rows, cols, tiling, function):
    """What every window says alike is said, up to the borders of the image."""
    image = _noise(rows, cols)
    found = _whole(function, image, tiling)
    wanted = function(torch.from_numpy(image)[None])[0].numpy()
    seen = ~np.isnan(image)
    np.testing.assert_allclose(found[:, seen], wanted[:, seen], atol=1e-5)
    assert np.isnan(found[:, ~seen]).all()


def test_blending_hides_the_seams():
    """A model that errs at its windows' edges is smooth where windows overlap."""

    def edgy(pixels):
        ramp = torch.linspace(0, 1, pixels.shape[-1]).expand(pixels.shape)
        return torch.stack([ramp, 1 - ramp, ramp * 0], dim=1)

    image = np.zeros((32, 96), np.float32)
    hard = _whole(edgy, image, Tiling(32, 32))[0, 16]
    soft = _whole(edgy, image, Tiling(32, 16))[0, 16]
    assert np.abs(np.diff(soft)).max() < 0.2 * np.abs(np.diff(hard)).max()


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 40), st.integers(2, 30), st.integers(1, 9), st.integers(1, 4))
def test_windows_hold_their_own_pixels_of_every_layer(rows, cols, steps, high):
    """However the rows are read, and each is read once."""
    before, predict.READ = predict.READ, 2 * high
    try:
        fine, coarse = _noise(rows, cols), _noise(-(-rows // 2), -(-cols // 2), 1)
        image = Image({FINE: fine, COARSE: coarse}, Shape2d(rows, cols))
        layout = layout_of(image.shape, Tiling(2 * steps, 2 * max(steps // 2, 1), 0, 2, 2), 12)
        for part in layout.parts():
            image.read.clear()
            windows = _part(image, layout, part).batches()
            batches = [each.batch for each in windows]
            read = list(image.read)
            for batch in batches:
                for at, name in enumerate(batch.ids):
                    row, col = map(int, name.split("_"))
                    shape = Shape2d(*batch.layers[FINE.key].pixels.shape[-2:])
                    wanted = image.window(Window(row, col, shape))
                    for key, layer in wanted.items():
                        found = batch.layers[key].pixels[at].numpy()
                        np.testing.assert_array_equal(found, layer.pixels)
            covered = [row for each in read for row in range(each.row, each.row + each.shape.rows)]
            assert covered == list(range(part.rows.start, part.rows.end))
    finally:
        predict.READ = before


def test_a_layer_that_never_changes_shows_nothing():
    """Elevation is known under every cloud: a window of nothing else is not predicted."""
    shape = Shape2d(8, 8)
    unseen, height = np.full((8, 8), np.nan, np.float32), np.ones((8, 8), np.float32)
    layout = layout_of(shape, Tiling(8, 8))
    (part,) = layout.parts()
    for layers, wanted in (({FINE: unseen, STATIC: height}, 0), ({STATIC: height}, 1)):
        windows = _part(Image(layers, shape), layout, part).batches()
        assert len(list(windows)) == wanted


def test_an_error_while_reading_ends_the_prediction():
    """It is not lost in the thread that reads."""

    class Torn(Image):
        def window(self, window):
            raise OSError("torn file")

    layout = layout_of(Shape2d(8, 8), Tiling(4, 4))
    (part,) = layout.parts()
    pixels = _part(Torn({FINE: _noise(8, 8)}, Shape2d(8, 8)), layout, part)
    with ahead(pixels.batches()) as batches, pytest.raises(OSError, match="torn file"):
        list(predict_part(Model(constant), layout, part, batches))
