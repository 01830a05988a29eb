"""Chips of the simulated Earth, drawn while a network trains: from a seed and a number alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from earthloom.chips.sampling import Grid, Rule
from earthloom.errors import ContractError, choices
from earthloom.pretrain.instruments import Instrument, known_instruments
from earthloom.pretrain.landscape import LIMITS, Landscape, Patch, Shelf, in_turns, make_landscape
from earthloom.sample import Chip, Layer, LayerSpec, Samples, Shape2d
from earthloom.sample.column import Column
from earthloom.world.noise import stream

_EVERY = (
    "sentinel-2-10m",
    "sentinel-2-20m",
    "sentinel-1",
    "landsat",
    "modis",
    "enmap",
    "elevation",
)


@dataclass(frozen=True)
class Simulated:
    """Chips of simulated landscapes; a `Source`.

    A landscape is made once for many chips, and some are there at a time, so that a batch shows
    several. Chips lie in that order: read them in it.
    """

    name: ClassVar[str] = "simulated"
    chips: int = 20_000
    side: int = 96
    """Pixels of 10 m, both ways."""
    sensors: tuple[str, ...] = _EVERY
    """Layers, see `known_instruments`."""
    landscape: int = 256
    """Pixels of a landscape, both ways."""
    chips_each: int = 64
    """Of one landscape."""
    at_once: int = 4
    """Landscapes in memory; a full one of 256 pixels takes about 30 MB."""
    labels: bool = True
    """Whether chips carry the class map of a day as a free land-cover product would."""
    times: int = 1
    """Batches of the settings' size that come as one."""
    seed: int = 0
    weight: float = 1.0
    """How often a batch comes from here, against other sources."""

    def __post_init__(self) -> None:
        known = known_instruments()
        wrong = [name for name in self.sensors if name not in known]
        if wrong or not self.sensors:
            raise ContractError(
                f"the sensors are {choices(self.sensors)}; valid are: {choices(known)}"
            )
        for name in ("chips", "side", "chips_each", "at_once", "times"):
            if getattr(self, name) < 1:
                raise ContractError(f"{name} is {getattr(self, name)}; valid are 1 and above")
        step = math.lcm(*(known[name].spec.factor for name in self.sensors))
        if self.side % step or self.side > self.landscape:
            raise ContractError(
                f"side is {self.side}; valid are multiples of {step} up to landscape = "
                f"{self.landscape}"
            )

    @property
    def about(self) -> str:
        maps = "with" if self.labels else "without"
        listed = choices(self.sensors)
        return f"simulated chips of {self.side} px of 10 m: {listed}; {maps} class maps"

    @property
    def limits(self) -> tuple[str, ...]:
        return LIMITS

    def open(self) -> Samples:
        return SimulatedChips(self)

    def rule(self, samples: Samples, count: int) -> Rule:
        """In the order in which landscapes are made."""
        return Grid(np.arange(count) % len(samples))


class SimulatedChips:
    """Fulfils `Samples`; the same chip for a number, whoever asks and in whatever order."""

    def __init__(self, settings: Simulated) -> None:
        self.settings = settings
        known = known_instruments()
        self._instruments: Sequence[Instrument] = [known[name] for name in settings.sensors]
        self._shelf: Shelf[Landscape] = Shelf(settings.at_once)

    def __reduce__(self) -> tuple[type[SimulatedChips], tuple[Simulated]]:
        return SimulatedChips, (self.settings,)

    @property
    def shape(self) -> Shape2d:
        """Of every chip."""
        return Shape2d(self.settings.side, self.settings.side)

    @cached_property
    def specs(self) -> Mapping[str, LayerSpec]:
        return {each.spec.key: each.spec for each in self._instruments}

    @property
    def groups(self) -> Sequence[str]:
        return Column(len(self), lambda index: _group(self._landscape_of(index)))

    def __len__(self) -> int:
        return self.settings.chips

    def __getitem__(self, index: int) -> Chip:
        settings, number = self.settings, self._landscape_of(index)
        land = self._shelf.get(
            number, lambda n: make_landscape(settings.seed, n, settings.landscape)
        )
        random = stream(settings.seed, "chip", index)
        row, col = random.integers(0, settings.landscape - settings.side + 1, 2)
        patch = Patch(int(row), int(col), settings.side)
        days = {pool: _days_of(land, pool, random) for pool in (*land.days, "static")}
        layers = {
            each.spec.key: _layer(each, land, days[each.pool], patch, random)
            for each in self._instruments
        }
        label = None
        if settings.labels:
            label = patch.of(land.world.class_map(int(np.median(days["first"])))).copy()
        name = f"simulated-{settings.seed}-{index}"
        return Chip(name, self.shape, layers, label, _group(number))

    def _landscape_of(self, index: int) -> int:
        if not 0 <= index < len(self):
            raise IndexError(index)
        return in_turns(index, self.settings.at_once, self.settings.chips_each)[0]


def _group(number: int) -> str:
    return f"landscape-{number}"


def _days_of(land: Landscape, pool: str, random: np.random.Generator) -> list[int]:
    """A random order of a landscape's days: the first ones are those of a chip."""
    if pool == "static":
        return [182]
    return [int(day) for day in random.permutation(land.days[pool])]


def _layer(
    instrument: Instrument,
    land: Landscape,
    days: Sequence[int],
    patch: Patch,
    random: np.random.Generator,
) -> Layer:
    chosen = sorted(days[: len(instrument.spec.dates)])
    seen = [instrument.look(land, day, patch, random) for day in chosen]
    valid = np.stack([each.valid for each in seen])
    pixels = np.stack([each.pixels for each in seen])
    pixels = np.where(valid[:, None], pixels, np.float32(np.nan)).astype(np.float32)
    dates = np.array(chosen, np.int32) + np.int32(land.new_year)
    return Layer(instrument.spec, pixels, valid, dates)
