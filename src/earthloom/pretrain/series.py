"""Series of single coarse pixels of the simulated Earth, as of products of vegetation indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from earthloom.chips.sampling import Grid, Rule
from earthloom.errors import ContractError
from earthloom.pretrain.landscape import LIMITS, Patch, Shelf, in_turns, make_landscape
from earthloom.sample import Chip, Layer, LayerSpec, Samples, Shape2d
from earthloom.sample.column import Column
from earthloom.sensors import load_sensor
from earthloom.world import World, instruments
from earthloom.world.noise import stream

Floats = NDArray[np.float32]

_SENSOR = "modis-mod13q1"
_DATES, _PERIOD = 23, 16
"""A year of composites, and the days of each."""
_BANDS: Mapping[str, str] = {
    "red": "sur_refl_b01",
    "nir": "sur_refl_b02",
    "blue": "sur_refl_b03",
    "mir": "sur_refl_b07",
}
"""Reflectances of the product, and the instrument's bands that they are of."""
_INDICES = ("ndvi", "evi")
_BOXES = (1, 2, 4, 8, 16)
"""Pixels of the landscape, both ways, of which a series is the mean: pure fields to mixtures."""
_TWICE = 0.3
"""Share of the landscapes that have two seasons of growth a year, as warm ones do."""
_LOST, _HAZY = 0.04, 0.08
"""Share of the composites without any clear day, and of those with some haze left."""
_YEARS = (2001, 2024)
_MIDDLE = 182
"""The day of the class map."""


@dataclass(frozen=True)
class SimulatedSeries:
    """Chips of one pixel and 23 dates in bands of MOD13Q1; a `Source`.

    The world is one of northern middle latitudes; here its seasons begin on any day of the
    calendar, and in some landscapes there are two a year, so that a day of the calendar alone says
    little.
    """

    name: ClassVar[str] = "series"
    chips: int = 100_000
    landscape: int = 96
    """Pixels of 10 m of a landscape, both ways."""
    chips_each: int = 256
    """Of one landscape."""
    at_once: int = 8
    """Landscapes in memory, of which a batch shows some."""
    labels: bool = True
    """Whether chips carry the class that most of the pixel is of, as a free land-cover product
    would."""
    times: int = 4
    """Batches of the settings' size that come as one."""
    seed: int = 0
    weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("chips", "chips_each", "at_once", "times"):
            if getattr(self, name) < 1:
                raise ContractError(f"{name} is {getattr(self, name)}; valid are 1 and above")
        if self.landscape < max(_BOXES):
            raise ContractError(f"landscape is {self.landscape}; valid are {max(_BOXES)} and above")

    @property
    def about(self) -> str:
        classes = "with" if self.labels else "without"
        return f"simulated series of single pixels, {_DATES} dates of {_SENSOR}; {classes} classes"

    @property
    def limits(self) -> tuple[str, ...]:
        return LIMITS

    def open(self) -> Samples:
        return SeriesChips(self)

    def rule(self, samples: Samples, count: int) -> Rule:
        """In the order in which landscapes are made."""
        return Grid(np.arange(count) % len(samples))


class SeriesChips:
    """Fulfils `Samples`; the same chip for a number, whoever asks and in whatever order."""

    def __init__(self, settings: SimulatedSeries) -> None:
        self.settings = settings
        self._shelf: Shelf[_Table] = Shelf(settings.at_once)

    def __reduce__(self) -> tuple[type[SeriesChips], tuple[SimulatedSeries]]:
        return SeriesChips, (self.settings,)

    @property
    def shape(self) -> Shape2d:
        """Of every chip."""
        return Shape2d(1, 1)

    @cached_property
    def spec(self) -> LayerSpec:
        """Of the only layer."""
        sensor, bands = load_sensor(_SENSOR), (*_BANDS, *_INDICES)
        return LayerSpec(
            sensor.name,
            sensor.band(bands[0]).gsd,
            bands,
            sensor.band(bands[0]).unit,
            tuple(f"{number:02d}" for number in range(1, _DATES + 1)),
            tuple(sensor.band(name).wavelength_nm for name in bands),
        )

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        return {self.spec.key: self.spec}

    @property
    def groups(self) -> Sequence[str]:
        return Column(len(self), lambda index: f"landscape-{self._place_of(index)[0]}")

    def __len__(self) -> int:
        return self.settings.chips

    def __getitem__(self, index: int) -> Chip:
        settings = self.settings
        number, row = self._place_of(index)
        table = self._shelf.get(number, lambda n: _make_table(settings, n))
        valid = table.valid[row][:, None, None]
        pixels = np.where(valid[:, None], table.values[row][..., None, None], np.float32(np.nan))
        layer = Layer(self.spec, pixels, valid, table.days)
        label = table.classes[row][:, None] if settings.labels else None
        name = f"series-{settings.seed}-{index}"
        return Chip(name, self.shape, {self.spec.key: layer}, label, f"landscape-{number}")

    def _place_of(self, index: int) -> tuple[int, int]:
        """Number of a chip's landscape, and which of its chips it is."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        return in_turns(index, self.settings.at_once, self.settings.chips_each)


@dataclass(frozen=True, eq=False)
class _Table:
    """All series of a landscape."""

    values: Floats
    """(N, T, C)."""
    valid: NDArray[np.bool_]
    """(N, T)."""
    days: NDArray[np.int32]
    """(T,) since 1970-01-01."""
    classes: NDArray[np.uint8]
    """(N, 1) codes."""


def _make_table(settings: SimulatedSeries, number: int) -> _Table:
    land = make_landscape(settings.seed, number, settings.landscape)
    random = stream(settings.seed, "series", number)
    images = _images(land.world, random)
    boxes = [_draw_box(settings.landscape, random) for _ in range(settings.chips_each)]
    clean = _mixed(np.stack([_mean_of(box, images) for box in boxes]), random)
    codes = land.world.class_map(_MIDDLE)
    classes = [[np.bincount(box.of(codes).ravel()).argmax()] for box in boxes]
    count, dates, _ = clean.shape
    hazy = random.random((count, dates, 1)) < _HAZY
    haze = hazy * random.exponential(0.06, (count, dates, 1)) * np.array([1.0, 0.7, 1.3, 0.3])
    noise = random.standard_normal(clean.shape) * (0.003 + 0.03 * clean)
    values = np.clip(clean + haze + noise, 0.0, 1.0).astype(np.float32)
    valid = random.random((count, dates)) >= _LOST
    valid[:, 0] |= ~valid.any(axis=1)
    first = date(int(random.integers(*_YEARS)), 1, 1).toordinal() - date(1970, 1, 1).toordinal()
    days = first + int(random.integers(365)) + _PERIOD * np.arange(_DATES)
    codes_of = np.array(classes, np.uint8)
    return _Table(_with_indices(values), valid, days.astype(np.int32), codes_of)


def _images(world: World, random: np.random.Generator) -> Floats:
    """(T, C, H, W) clear surface reflectance in the middle of the composites, in `_BANDS`."""
    modis = instruments()["modis"]
    rows = [modis.bands.index(name) for name in _BANDS.values()]
    speed = 2 if random.random() < _TWICE else 1
    start = int(random.integers(365))
    days = [(start + speed * _PERIOD * number) % 365 + 1 for number in range(_DATES)]
    return np.stack([modis.look(world.reflectance(day))[rows] for day in days])


def _draw_box(side: int, random: np.random.Generator) -> Patch:
    """A square somewhere in a landscape."""
    box = int(random.choice(_BOXES))
    row, col = random.integers(0, side - box + 1, 2)
    return Patch(int(row), int(col), box)


def _mean_of(box: Patch, images: Floats) -> Floats:
    """(T, C) of images (T, C, H, W)."""
    return np.asarray(box.of(images).mean(axis=(2, 3)), np.float32)


def _mixed(series: Floats, random: np.random.Generator) -> Floats:
    """(N, T, C) half of them with some of another one; each has a contrast in time of its own."""
    other = series[random.permutation(len(series))]
    share = np.where(random.random(len(series)) < 0.5, random.uniform(0, 0.4, len(series)), 0.0)
    mixed = series + share[:, None, None] * (other - series)
    middle = mixed.mean(axis=1, keepdims=True)
    contrast = random.uniform(0.6, 1.5, (len(series), 1, 1))
    bright = random.uniform(0.7, 1.3, (len(series), 1, 1))
    return np.asarray(np.maximum((middle + contrast * (mixed - middle)) * bright, 0), np.float32)


def _with_indices(values: Floats) -> Floats:
    """(..., 4 + 2) with the vegetation indices of the product (Huete et al. 2002)."""
    red, nir, blue = values[..., 0], values[..., 1], values[..., 2]
    ndvi = (nir - red) / np.maximum(nir + red, 1e-3)
    below = nir + 6 * red - 7.5 * blue + 1
    evi = 2.5 * (nir - red) / np.where(np.abs(below) < 0.2, 0.2, below)
    both = np.clip(np.stack([ndvi, evi], axis=-1), -0.2, 1.0)
    return np.concatenate([values, both], axis=-1).astype(np.float32)
