"""Series of single pixels of simulated kinds of land, as of products of vegetation indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from earthloom.chips.sampling import Grid, Rule
from earthloom.errors import ContractError, choices
from earthloom.pretrain.landscape import Shelf, in_turns
from earthloom.pretrain.phenology import draw_kinds, draw_pixels, reflectance_of
from earthloom.sample import IGNORE, Chip, Layer, LayerSpec, Samples, Shape2d
from earthloom.sample.column import Column
from earthloom.sensors import load_sensor
from earthloom.world.noise import stream

Floats = NDArray[np.floating]

_SENSOR = "modis-mod13q1"
_DATES, _PERIOD = 23, 16
"""A year of composites, and the days of each."""
_BANDS = ("red", "nir", "blue", "mir")
_INDICES = ("ndvi", "evi")
_EVERY = (*_BANDS, *_INDICES)
_LOST, _HAZY = 0.04, 0.08
"""Share of the composites without any clear day, and of those with some haze left."""
_YEARS = (2001, 2024)


@dataclass(frozen=True)
class SimulatedSeries:
    """Chips of one pixel and 23 dates in bands of MOD13Q1; a `Source`.

    A landscape has kinds of its own, see `phenology`, and its series begin on any day of the
    calendar. Labels tell the kinds of a batch apart, and mean nothing beyond it: the same code is
    another kind in another landscape.
    """

    name: ClassVar[str] = "series"
    chips: int = 100_000
    kinds: int = 24
    """Of a landscape."""
    chips_each: int = 1024
    """Of one landscape."""
    at_once: int = 4
    """Landscapes in memory, of which a batch shows some."""
    bands: tuple[str, ...] = _EVERY
    """Some of the product's, or all, as here."""
    labels: bool = True
    """Whether chips carry their kind."""
    times: int = 4
    """Batches of the settings' size that come as one."""
    seed: int = 0
    weight: float = 1.0

    def __post_init__(self) -> None:
        for name in ("chips", "kinds", "chips_each", "at_once", "times"):
            if getattr(self, name) < 1:
                raise ContractError(f"{name} is {getattr(self, name)}; valid are 1 and above")
        if not self.bands or not set(self.bands) <= set(_EVERY):
            raise ContractError(
                f"bands are {choices(self.bands)}; valid are one or more of: {choices(_EVERY)}"
            )
        if self.kinds * self.at_once >= IGNORE:
            raise ContractError(
                f"kinds times at_once is {self.kinds * self.at_once}; valid is below {IGNORE}"
            )

    @property
    def about(self) -> str:
        kinds = f"{self.kinds} kinds a landscape" if self.labels else "without kinds"
        bands = ", ".join(self.bands)
        return f"simulated series of single pixels, {_DATES} dates of {_SENSOR} ({bands}); {kinds}"

    @property
    def limits(self) -> tuple[str, ...]:
        return (
            "Simulated series are curves of growth, fields under water, harvests and fires with "
            "haze and noise: what else a year brings they do not know.",
        )

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
        sensor, bands = load_sensor(_SENSOR), self.settings.bands
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
    random = stream(settings.seed, "series", number)
    kinds = draw_kinds(settings.kinds, random)
    which = random.integers(settings.kinds, size=settings.chips_each)
    start = int(random.integers(365))
    days = start + _PERIOD * np.arange(_DATES)
    clean = reflectance_of(draw_pixels(kinds, which, random), days.astype(np.float64))
    values = _measured(_mixed(clean, random), random)
    valid = random.random(values.shape[:2]) >= _LOST
    valid[:, 0] |= ~valid.any(axis=1)
    first = date(int(random.integers(*_YEARS)), 1, 1).toordinal() - date(1970, 1, 1).toordinal()
    # Landscapes that a batch shows together have no code in common.
    codes = 1 + which + settings.kinds * (number % settings.at_once)
    return _Table(
        _with_indices(values)[..., [_EVERY.index(band) for band in settings.bands]],
        valid,
        (first + days).astype(np.int32),
        codes.astype(np.uint8)[:, None],
    )


def _mixed(series: Floats, random: np.random.Generator) -> Floats:
    """(N, T, C) half of them with some of another one; each is as bright as its light was."""
    other = series[random.permutation(len(series))]
    share = np.where(random.random(len(series)) < 0.5, random.uniform(0, 0.4, len(series)), 0.0)
    mixed = series + share[:, None, None] * (other - series)
    return np.asarray(mixed * random.uniform(0.85, 1.15, (len(series), 1, 1)), np.float32)


def _measured(clean: Floats, random: np.random.Generator) -> Floats:
    """(N, T, C) with haze and noise, as composites have."""
    hazy = random.random((*clean.shape[:2], 1)) < _HAZY
    haze = hazy * random.exponential(0.06, hazy.shape) * np.array([1.0, 0.7, 1.3, 0.3])
    noise = random.standard_normal(clean.shape) * (0.003 + 0.04 * clean)
    measured: Floats = np.clip(clean + haze + noise, 0.0, 1.0).astype(np.float32)
    return measured


def _with_indices(values: Floats) -> Floats:
    """(..., 4 + 2) with the vegetation indices of the product (Huete et al. 2002)."""
    red, nir, blue = values[..., 0], values[..., 1], values[..., 2]
    ndvi = (nir - red) / np.maximum(nir + red, 1e-3)
    below = nir + 6 * red - 7.5 * blue + 1
    evi = 2.5 * (nir - red) / np.where(np.abs(below) < 0.2, 0.2, below)
    both = np.clip(np.stack([ndvi, evi], axis=-1), -0.2, 1.0)
    return np.concatenate([values, both], axis=-1).astype(np.float32)
