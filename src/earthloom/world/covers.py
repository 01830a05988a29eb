"""Covers: what grows or stands on a piece of land, read from `data/covers.toml`."""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earthloom.world.classes import CODES

Doubles = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Calendar:
    """The state of a canopy and its ground through the year, linear between rows."""

    day: Doubles
    """(rows,) day of the year."""
    states: Doubles
    """(rows, 6): leaf area, chlorophyll ug/cm2, leaf water cm, brown pigment, straw, flowers."""

    def at(self, day: Doubles) -> Doubles:
        """(..., 6) states at days that may lie outside the year; the year repeats."""
        wrapped = np.mod(np.asarray(day, np.float64) - 1, 365) + 1
        columns = [np.interp(wrapped, self.day, self.states[:, k], period=365) for k in range(6)]
        return np.stack(columns, axis=-1)


@dataclass(frozen=True)
class RadarResponse:
    """Gamma nought, dB; pairs are VV, VH."""

    ground: tuple[float, float]
    """Dry bare ground."""
    canopy: tuple[float, float]
    """A closed canopy."""
    closing: tuple[float, float]
    """How fast the canopy hides the ground, per unit of leaf area."""
    moisture: float
    """What wet ground adds."""


@dataclass(frozen=True, eq=False)
class Cover:
    """One row of the table; `data/covers.toml` explains the fields."""

    name: str
    code: int
    """Code of its class."""
    share: float
    calendar: Calendar
    timing: float
    vigour: float
    grain: float
    ground: tuple[str, str]
    brightness: float
    mottle: float
    vegetated: tuple[float, float]
    shade: float
    radar: RadarResponse
    biomass: float


@cache
def covers() -> tuple[Cover, ...]:
    """All covers, in the table's order: the index in it is what rasters of covers hold."""
    text = files("earthloom.world").joinpath("data/covers.toml").read_text("utf-8")
    return tuple(_cover(name, row) for name, row in tomllib.loads(text)["covers"].items())


@cache
def cover_index() -> dict[str, int]:
    """Place of each cover in `covers()` by name."""
    return {cover.name: place for place, cover in enumerate(covers())}


@cache
def cover_codes() -> NDArray[np.uint8]:
    """Class code of each cover."""
    return np.array([cover.code for cover in covers()], np.uint8)


def covers_of(class_name: str) -> tuple[list[int], Doubles]:
    """Places of the covers that land of a class starts with, and their shares (sum 1)."""
    found = [
        (place, cover.share)
        for place, cover in enumerate(covers())
        if cover.code == CODES[class_name] and cover.share > 0
    ]
    shares = np.array([share for _, share in found])
    return [place for place, _ in found], shares / shares.sum()


def _cover(name: str, row: dict[str, Any]) -> Cover:
    rows = np.asarray(row["calendar"], np.float64)
    radar = row["radar"]
    return Cover(
        name=name,
        code=CODES[row["class"]],
        share=row["share"],
        calendar=Calendar(rows[:, 0], rows[:, 1:]),
        timing=row["timing"],
        vigour=row["vigour"],
        grain=row["grain"],
        ground=tuple(row["ground"]),
        brightness=row["brightness"],
        mottle=row["mottle"],
        vegetated=tuple(row["vegetated"]),
        shade=row["shade"],
        radar=RadarResponse(
            tuple(radar["ground"]),
            tuple(radar["canopy"]),
            tuple(radar["closing"]),
            radar["moisture"],
        ),
        biomass=row["biomass"],
    )
