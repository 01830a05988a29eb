"""Training data on which `benchmarks/defaults.py` searches: a set for each kind of task.

Every set is of training groups alone. What is kept aside for tests (two tiles of Dubai, a part of
SJER, all of HARV, worlds of other seeds) is never read here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from earthloom.bench.pieces import cut_into_pieces, draw_evenly
from earthloom.datasets import open_dataset
from earthloom.encoders import Encoder, Features
from earthloom.encoders.base import Level, seen_in
from earthloom.encoders.unet import UNet
from earthloom.fit.statistics import statistics_of
from earthloom.sample import Chip, Layer, LayerSpec, Listed, Samples, Shape2d, Subset, chips_of
from earthloom.sample.batch import Batch
from earthloom.sample.fitted import Fitted
from earthloom.sample.target import PixelValues, SceneClasses, SceneValue
from earthloom.tasks import PixelClasses
from earthloom.tasks.base import Task
from earthloom.tasks.boxes import UprightBoxes
from earthloom.tasks.pixel_values import PixelValueTask
from earthloom.tasks.scene_classes import SceneClass
from earthloom.tasks.scene_value import SceneValueTask
from earthloom.world import BANDS, CLASSES, WAVELENGTH, Shape, World, WorldSpec, make_world

TILES = ("Tile 1", "Tile 2", "Tile 3", "Tile 4")
"""Of Dubai; tiles 5 and 6 are kept aside."""
PIECE, PIECES = 64, 160
"""Pixels of a piece of Dubai, both ways, and how many are drawn of the four tiles."""
ASIDE = 6
"""Images of SJER, the last ones by name, that are kept aside."""
WORLDS, SIDE, CHIP = 8, 96, 8
"""Simulated worlds, pixels of one both ways, and pixels of a chip."""
DAY, NOISE, VARIABILITY = 195, 0.01, 0.5
"""Of the year; standard deviation of what is added to reflectance; see `WorldSpec`."""
SEEN = ("B02", "B03", "B04", "B08")


@dataclass(frozen=True)
class SearchSet:
    """What is searched on, for the rows of some tasks."""

    what: str
    """In words, for the table."""
    task: Task[Any]
    samples: Samples
    encoder: Callable[[Samples, int], Encoder]
    """Of training samples and the channels of its first level."""
    width: int
    """Channels without a change."""
    steps: int
    batch: int
    """A budget for every trial: chips drawn are their product, see `defaults.py`."""
    crop: int | None = None


def dubai(data: Path) -> SearchSet:
    """Six classes of pixels in aerial images, in pieces."""
    images = open_dataset("dubai", data / "dubai_seg")
    rows = [row for row, group in enumerate(images.groups) if group in TILES]
    held = Listed([images[row] for row in rows])
    pieces = cut_into_pieces(held, PIECE)
    drawn = draw_evenly(pieces.groups, PIECES)
    samples = Listed([pieces[int(at)] for at in drawn])
    codes = tuple(range(1, len(images.classes) + 1))
    task = PixelClasses(codes, images.classes, ((0, 0, 0),) * len(codes))
    what = f"Dubai, tiles 1 to 4, {PIECES} pieces of {PIECE} px"
    return SearchSet(what, task, samples, unet, 16, 100, 8, crop=24)


def trees(data: Path) -> SearchSet:
    """Crowns of single trees, on crops of images of 0.1 m."""
    images = open_dataset("neon-trees", data / "neon_trees", "SJER")
    # Each image is a group, by its name.
    named = sorted(range(len(images)), key=lambda row: images.groups[row])[:-ASIDE]
    fitted = Fitted(Subset(images, named), 416)
    samples = Listed(list(chips_of(fitted)))
    task = UprightBoxes((1,), ("tree",))
    what = f"NEON trees, {len(named)} of 20 images of SJER"
    return SearchSet(what, task, samples, Small, 16, 300, 2, crop=160)


def scenes(data: Path) -> SearchSet:
    """Which class most of a simulated chip is of."""
    codes, names = zip(*((each.code, each.name) for each in CLASSES), strict=True)
    task = SceneClass(codes, names)
    return simulated("class of most of a chip", task, _most)


def scene_values(data: Path) -> SearchSet:
    """Mean biomass of a simulated chip."""
    return simulated("mean biomass of a chip", SceneValueTask("t/ha"), _mean)


def pixel_values(data: Path) -> SearchSet:
    """Biomass of every pixel of a simulated chip."""
    return simulated("biomass of a pixel", PixelValueTask("t/ha"), _each)


SETS: Mapping[str, Callable[[Path], SearchSet]] = {
    "pixel-class": dubai,
    "scene-class": scenes,
    "scene-value": scene_values,
    "pixel-value": pixel_values,
    "boxes": trees,
}
"""By the row of the defaults."""

Answer = Callable[[World, tuple[slice, slice]], SceneClasses | SceneValue | PixelValues]
"""Of a window of a world."""


def simulated(words: str, task: Task[Any], answer: Answer) -> SearchSet:
    """Chips of simulated worlds, each world a group."""
    at = [BANDS.index(band) for band in SEEN]
    wavelengths = tuple(float(WAVELENGTH[each]) for each in at)
    spec = LayerSpec("simulated", 10, SEEN, "1", ("2023-07",), wavelengths)
    chips = [chip for seed in range(WORLDS) for chip in _chips(seed, spec, answer)]
    what = f"simulated, {len(chips)} chips of {CHIP} px: {words}"
    return SearchSet(what, task, Listed(chips), unet_over_batches, 16, 120, 16)


def _chips(seed: int, spec: LayerSpec, answer: Answer) -> list[Chip]:
    # Seeds from 1000 on, so that no world of another benchmark is one of these.
    world = make_world(WorldSpec(1000 + seed, Shape(SIDE, SIDE), variability=VARIABILITY))
    clean = world.reflectance(DAY, SEEN)
    noisy = clean + np.random.default_rng(seed).normal(0, NOISE, clean.shape).astype(np.float32)
    made = []
    for row in range(0, SIDE, CHIP):
        for col in range(0, SIDE, CHIP):
            window = (slice(row, row + CHIP), slice(col, col + CHIP))
            pixels = noisy[(slice(None), *window)][None]
            layer = Layer(spec, pixels, np.ones((1, CHIP, CHIP), np.bool_), _day())
            made.append(
                Chip(
                    f"{seed}-{row}-{col}", Shape2d(CHIP, CHIP), {spec.key: layer},
                    group=f"world {seed}", target=answer(world, window),
                )
            )  # fmt: skip
    return made


def _day() -> NDArray[np.int32]:
    return np.array([19_553], np.int32)


def _most(world: World, window: tuple[slice, slice]) -> SceneClasses:
    codes, counts = np.unique(world.class_map(DAY)[window], return_counts=True)
    return SceneClasses((int(codes[counts.argmax()]),))


def _mean(world: World, window: tuple[slice, slice]) -> SceneValue:
    return SceneValue(float(world.biomass(DAY)[window].mean()), "t/ha")


def _each(world: World, window: tuple[slice, slice]) -> PixelValues:
    return PixelValues(world.biomass(DAY)[window].copy(), "t/ha")


def unet(samples: Samples, width: int) -> Encoder:
    """Our U-Net of two levels."""
    return UNet(tuple(samples.specs.values()), statistics_of(samples), width, levels=2)


def unet_over_batches(samples: Samples, width: int) -> Encoder:
    """The same, normalised over the batch: a chip of one kind of land has a spread of nearly
    nothing, and over itself all kinds would look alike."""
    layers, statistics = tuple(samples.specs.values()), statistics_of(samples)
    return UNet(layers, statistics, width, levels=2, norm="batch")


class Small(Encoder):
    """Four strided convolutions, each normalised: a pyramid from 4 pixels on."""

    name = "small-pyramid"

    def __init__(self, samples: Samples, width: int) -> None:
        super().__init__(tuple(samples.specs.values()), statistics_of(samples))
        self._widths = [width, 2 * width, 3 * width, 4 * width]
        given = (len(self.layers[0].bands), *self._widths)
        self.steps = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                nn.GroupNorm(8, after),
                nn.ReLU(inplace=True),
            )
            for before, after in zip(given, self._widths, strict=False)
        )

    @property
    def radius(self) -> int:
        return 61

    @property
    def stride(self) -> int:
        return 4

    @property
    def channels(self) -> int:
        return self._widths[0]

    @property
    def pyramid(self) -> tuple[Level, ...]:
        return tuple(Level(made, 2 ** (at + 2)) for at, made in enumerate(self._widths))

    def config(self) -> dict[str, Any]:
        return {}

    def forward(self, batch: Batch) -> Features:
        (spec,) = self.layers
        pixels = self.normalised(spec, batch.layers[spec.key])[:, 0]
        # Crowns are some fifty pixels wide: half of them are enough.
        state, made = torch.nn.functional.avg_pool2d(pixels, 2), []
        for step in self.steps:
            state = step(state)
            made.append(state)
        rows, cols = made[0].shape[-2:]
        seen = seen_in(self.layers, batch)[:, ::4, ::4][:, :rows, :cols]
        return Features(made[0], seen, tuple(made), stride=4)
