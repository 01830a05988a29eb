"""A small Loom, and a few chips of several sensors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from earthloom.chips.sampling import Grid
from earthloom.encoders.loom import SIZES, Loom
from earthloom.encoders.loom.body import Stage
from earthloom.encoders.loom.sizes import Size
from earthloom.fit.statistics import statistics_of
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.batch import collate

MINI = Size(
    stem=16,
    heads=4,
    told=16,
    stages=(Stage(16, 1), Stage(16, 1), Stage(32, 1), Stage(32, 1)),
    up=16,
    hidden=16,
    ratio=2,
)
SHAPE = Shape2d(24, 24)
SPECS = (
    LayerSpec(
        "sentinel-2-l2a", 10, ("B03", "B04", "B08"), "1", ("1", "2", "3"), (560.0, 665.0, 833.0)
    ),
    LayerSpec("landsat-oli-c2-l2", 30, ("red", "nir08"), "1", ("1", "2"), (655.0, 865.0), factor=3),
    LayerSpec("sentinel-1-rtc", 10, ("vv", "vh"), "linear power", ("1", "2"), (None, None)),
    LayerSpec("cop-dem-glo-30", 30, ("elevation",), "m", ("static",), (None,), factor=3),
)


def make_chip(number: int) -> Chip:
    """Land of two kinds in blocks, seen by all sensors under clouds, with its map as label."""
    rng = np.random.default_rng(number)
    kind = np.kron(rng.integers(0, 2, (4, 4)), np.ones((6, 6), int)).astype(np.float32)
    layers = {}
    for spec in SPECS:
        side = 24 // spec.factor
        own = kind.reshape(side, spec.factor, side, spec.factor).mean(axis=(1, 3))
        dates, bands = len(spec.dates), len(spec.bands)
        step = np.linspace(0.2, 0.5, bands)[:, None, None] * own
        season = 1 + 0.3 * np.arange(dates)[:, None, None, None]
        pixels = 0.05 + step * season + rng.normal(0, 0.005, (dates, bands, side, side))
        valid = rng.random((dates, side, side)) > 0.1
        pixels = np.where(valid[:, None], pixels, np.nan).astype(np.float32)
        days = (19_000 + 120 * np.arange(dates)).astype(np.int32)
        layers[spec.key] = Layer(spec, pixels, valid, days)
    return Chip(f"chip-{number}", SHAPE, layers, kind.astype(np.uint8) + 1, f"{number}")


@dataclass(frozen=True)
class Listed:
    """Chips in memory; fulfils `Samples`, and is a `Source` of itself."""

    chips: Sequence[Chip]
    name: ClassVar[str] = "listed"
    weight: float = 1.0

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        return {spec.key: spec for spec in SPECS}

    @property
    def groups(self) -> Sequence[str]:
        return [chip.group for chip in self.chips]

    def __len__(self) -> int:
        return len(self.chips)

    def __getitem__(self, index: int) -> Chip:
        return self.chips[index]

    @property
    def digest(self) -> str:
        return f"{len(self.chips)}"


@dataclass(frozen=True)
class ListedSource:
    """Sixteen chips."""

    name: ClassVar[str] = "listed"
    count: int = 16
    labels: bool = True
    times: int = 1
    weight: float = 1.0
    about: ClassVar[str] = "listed chips"
    limits: ClassVar[tuple[str, ...]] = ("They are few.",)

    def open(self) -> Listed:
        return Listed([make_chip(number) for number in range(self.count)])

    def rule(self, samples, count):
        return Grid(np.arange(count) % len(samples))


@pytest.fixture
def mini(monkeypatch):
    """Makes `mini` a size of Loom."""
    monkeypatch.setitem(SIZES, "mini", MINI)
    return "mini"


@pytest.fixture
def loom(mini):
    torch.manual_seed(0)
    chips = Listed([make_chip(number) for number in range(4)])
    return Loom(SPECS, statistics_of(chips), mini)


@pytest.fixture
def batch():
    return collate([make_chip(number) for number in range(4)])


@pytest.fixture
def sources():
    return (ListedSource(),)
