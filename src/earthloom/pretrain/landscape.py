"""A simulated landscape of which many chips are cut, its days drawn once and kept."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from earthloom.world import BANDS, Shape, World, WorldSpec, make_world, observe
from earthloom.world.noise import stream
from earthloom.world.sky import make_sky

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

_POOLS: Mapping[str, int] = {"first": 12, "second": 8, "radar": 8}
"""Days a year on which satellites of a kind see a landscape."""
_LATITUDES = (32.0, 58.0)
_YEARS = (2017, 2025)
_CLOUD = (0.1, 0.5)
"""Optical thickness above which a product's mask says cloud: it differs from day to day."""
_SHADOW = 0.7
_COVER = (0.5, 1.0)
"""Parameters of the beta distribution of a day's clouds: such days as are worth a look."""

LIMITS = (
    "Simulated landscapes are of one mid-latitude farming region's kind: no tropics, deserts, ice "
    "or sea.",
    "Other optical instruments are weighted sums of Sentinel-2's bands: what those bands cannot "
    "see, such as narrow absorption, was not in the simulated data.",
    "Views are from the zenith; terrain and angles leave less in simulated images than in real "
    "ones.",
)
"""Of what learns from them."""


@dataclass(frozen=True)
class Patch:
    """A square of a landscape, in pixels of 10 m."""

    row: int
    col: int
    side: int

    def of(self, raster: NDArray[Any]) -> NDArray[Any]:
        """(..., side, side)."""
        return raster[..., self.row : self.row + self.side, self.col : self.col + self.side]


_T = TypeVar("_T")


class Shelf(Generic[_T]):
    """Keeps the things that were asked for last; each is made once, whoever asks."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._kept: OrderedDict[int, _T] = OrderedDict()
        self._making: dict[int, threading.Lock] = {}
        self._lock = threading.Lock()

    def get(self, number: int, make: Callable[[int], _T]) -> _T:
        """The thing of a number; two threads that ask for different ones do not wait."""
        with self._lock:
            making = self._making.setdefault(number, threading.Lock())
        with making:
            with self._lock:
                if number in self._kept:
                    self._kept.move_to_end(number)
                    return self._kept[number]
            made = make(number)
            with self._lock:
                self._kept[number] = made
                while len(self._kept) > self._size:
                    gone, _ = self._kept.popitem(last=False)
                    self._making.pop(gone, None)
            return made


@dataclass(frozen=True, eq=False)
class Landscape:
    """A world, and what is seen of it on some days of its year."""

    world: World
    seed: int
    _shelf: Shelf[tuple[NDArray[np.float16], Mask | None]] = field(
        default_factory=lambda: Shelf(sum(_POOLS.values()))
    )

    @cached_property
    def days(self) -> Mapping[str, tuple[int, ...]]:
        """Days of the year, in order, by the kind of satellites."""
        rng = stream(self.seed, "days")
        return {
            pool: tuple(sorted(int(day) for day in rng.choice(365, count, replace=False) + 1))
            for pool, count in _POOLS.items()
        }

    @property
    def new_year(self) -> int:
        """Days since 1970-01-01 of the day before the year's first."""
        return (date(self.world.spec.year, 1, 1) - date(1970, 1, 1)).days - 1

    def optical(self, day: int, pool: str, patch: Patch) -> tuple[Floats, Mask]:
        """Reflectance (10, side, side) in Sentinel-2's bands through the sky of a day, and where
        a mask says that the ground was seen (side, side)."""
        number = day + 1000 * list(_POOLS).index(pool)
        image, clear = self._shelf.get(number, lambda _: self._see(day, pool))
        assert clear is not None
        return patch.of(image).astype(np.float32), patch.of(clear)

    def backscatter(self, day: int, patch: Patch) -> Floats:
        """Gamma nought (VV and VH, side, side) in linear power, without speckle."""
        number = day + 1000 * list(_POOLS).index("radar")
        image, _ = self._shelf.get(number, lambda _: (_decibels(self.world.backscatter(day)), None))
        return np.asarray(10 ** (patch.of(image).astype(np.float32) / 10), np.float32)

    def _see(self, day: int, pool: str) -> tuple[NDArray[np.float16], Mask]:
        rng = stream(self.seed, "sky", pool, day)
        world = self.world
        cover = float(rng.beta(*_COVER))
        sky = make_sky(rng, world.extent, day, world.sun(day), cover)
        seen = observe(world.reflectance(day), BANDS, sky, world.illumination(day))
        thick = sky.thickness + sky.cirrus
        clear = (thick < rng.uniform(*_CLOUD)) & (sky.sunlight > _SHADOW)
        return seen.astype(np.float16), clear


def in_turns(index: int, at_once: int, each: int) -> tuple[int, int]:
    """Number of the landscape that a chip is of, and which of its `each` chips it is: `at_once`
    landscapes take turns, so that a batch shows several."""
    block, rest = divmod(index, at_once * each)
    turn, number = divmod(rest, at_once)
    return block * at_once + number, turn


def make_landscape(seed: int, number: int, side: int) -> Landscape:
    """The landscape of a number: another place, year and likeness of classes each time."""
    rng = stream(seed, "landscape", number)
    own = int(rng.integers(2**31))
    spec = WorldSpec(
        seed=own,
        shape=Shape(side, side),
        year=int(rng.integers(_YEARS[0], _YEARS[1] + 1)),
        latitude=float(rng.uniform(*_LATITUDES)),
        overpass=float(rng.uniform(9.5, 11.0)),
        variability=float(rng.uniform(0, 1)),
    )
    return Landscape(make_world(spec), own)


def _decibels(power: Floats) -> NDArray[np.float16]:
    return np.asarray(10 * np.log10(np.maximum(power, 1e-6)), np.float16)
