"""Small samples whose classes differ in season and colour."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from earthloom.sample import Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.samples import Listed
from earthloom.tasks import PixelClasses

SIZE = Shape2d(8, 8)
DATES = tuple(f"2023-{month:02d}" for month in range(1, 7))
DAYS = np.arange(6, dtype=np.int32) * 30

FINE = LayerSpec("optical", 10, ("red", "nir"), "1", DATES, (660.0, 840.0))
COARSE = LayerSpec("optical", 20, ("swir",), "1", DATES, (1610.0,), factor=2)
RADAR = LayerSpec("radar", 10, ("vv",), "linear power", DATES, (None,))


def make_chip(number: int, labelled_classes: Sequence[int] = (1, 2, 3)) -> Chip:
    """A chip with three vertical stripes of classes 1 to 3, gaps, and a label every other pixel."""
    rng = np.random.default_rng(number)
    truth = np.minimum(np.arange(SIZE.cols) * 3 // SIZE.cols, 2)[None].repeat(SIZE.rows, 0)
    season = np.sin(np.arange(6) * np.pi / 3)
    layers = {}
    for spec, level in ((FINE, 0.2), (COARSE, 0.3), (RADAR, 0.05)):
        own = truth[:: spec.factor, :: spec.factor]
        bands = np.arange(1, len(spec.bands) + 1)[None, :, None, None]
        signal = 1 + 0.3 * own * season[:, None, None, None] * bands + 0.2 * own
        pixels = level * (signal + rng.normal(0, 0.05, (6, len(spec.bands), *own.shape)))
        valid = rng.random((6, *own.shape)) > 0.3
        pixels[~valid[:, None].repeat(len(spec.bands), 1)] = np.nan
        layers[spec.key] = Layer(spec, pixels.astype(np.float32), valid, DAYS)
    label = np.where(np.isin(truth + 1, labelled_classes), truth + 1, 0).astype(np.uint8)
    label[::2] = 0
    return Chip(f"chip-{number}", SIZE, layers, label, group=f"block-{number % 4}")


@pytest.fixture(scope="session")
def chips() -> Listed:
    return Listed([make_chip(number) for number in range(12)])


@pytest.fixture(scope="session")
def task() -> PixelClasses:
    colours = ((0, 0, 0), (90, 90, 90), (200, 200, 200))
    return PixelClasses((1, 2, 3), ("water", "grass", "forest"), colours)


@pytest.fixture(scope="session")
def listed() -> type[Listed]:
    """Chips in memory as samples."""
    return Listed


@pytest.fixture(scope="session")
def new_chip() -> Callable[..., Chip]:
    """A chip by its number, see `make_chip`."""
    return make_chip
