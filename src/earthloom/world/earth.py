"""The world: one seeded landscape, and what can be asked of it for any day of its year."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from earthloom.world.biomass import biomass_palette
from earthloom.world.brdf import Geometry, anisotropy
from earthloom.world.classes import CLASSES, CODES, LandClass
from earthloom.world.covers import cover_codes
from earthloom.world.events import Event, happen
from earthloom.world.heat import surface_temperature
from earthloom.world.land import lay_out
from earthloom.world.likeness import as_twins, likeness_on, vary
from earthloom.world.noise import (
    Extent,
    Floats,
    Labels,
    Shape,
    borders,
    broad,
    fractal,
    spread,
    stream,
)
from earthloom.world.radar import backscatter_palette
from earthloom.world.relief import Relief, shape_relief
from earthloom.world.season import GROUND_LEVELS, LEVELS, VIGOUR_LEVELS, Pieces, draw_traits
from earthloom.world.sky import Sky, make_sky, weather
from earthloom.world.spectra import BANDS
from earthloom.world.sun import Sun, illumination, sun_at
from earthloom.world.surface import Conditions, reflectance_palette

_BUILT_UP = CODES["built-up"]
_SPREAD = 0.11
"""Part of a pixel's signal that comes from each neighbour, in rows and in columns."""

# How much of a class's vigour texture is grain of single pixels; the rest is smooth.
_GRAIN_PART = {2: 0.85, 3: 0.65, 4: 0.65, 5: 0.7, 10: 0.6, 11: 0.6}


@dataclass(frozen=True)
class WorldSpec:
    """All that a world depends on."""

    seed: int = 0
    shape: Shape = Shape(1000, 1000)
    year: int = 2023
    resolution: float = 10.0
    """m."""
    latitude: float = 48.9
    """Degrees; sets the sun's height."""
    overpass: float = 10.6
    """Local solar time of optical acquisitions, hours."""
    variability: float = 0.0
    """How far land of one class differs and classes look alike, 0 (little) to 1 (much)."""


@dataclass(frozen=True, eq=False)
class World:
    """A landscape of fields, forests, towns and water through one year; see `make_world`.

    Rasters are (rows, cols) with row 0 in the north. `day` is the day of the year, 1 to 366.
    """

    spec: WorldSpec
    relief: Relief
    parcels: Labels
    """(rows, cols) int32: number of the piece of land, from 1; never cut by an event."""
    events: tuple[Event, ...]
    """By day."""
    pieces: Labels
    """(rows, cols) int32: parcels as cut along the events, from 0; index of `traits`."""
    traits: Pieces
    texture: NDArray[np.uint8]
    """(rows, cols) level of vigour and ground, as in `season`."""
    wetness: NDArray[np.float64]
    """(366,) of the topsoil, 0 to 1."""

    @property
    def classes(self) -> tuple[LandClass, ...]:
        """The classes of the map, by code."""
        return CLASSES

    @property
    def extent(self) -> Extent:
        """Shape and resolution."""
        return Extent(self.spec.shape, self.spec.resolution)

    @property
    def elevation(self) -> Floats:
        """(rows, cols) m above the geoid."""
        return self.relief.elevation

    def class_map(self, day: float) -> NDArray[np.uint8]:
        """(rows, cols) class codes on a day."""
        return cover_codes()[self.traits.cover_on(day)][self.pieces]

    def reflectance(
        self, day: float, bands: tuple[str, ...] = BANDS, geometry: Geometry | None = None
    ) -> Floats:
        """Cloud-free surface reflectance (band, rows, cols), unit 1, of Sentinel-2 bands by name.

        As seen through a pixel's point spread: at borders, neighbours mix. Seen from the zenith
        under the day's sun, or in a `geometry`.
        """
        conditions = self.conditions(day)
        palette = self._mixed(lambda pieces: reflectance_palette(pieces, conditions), day)
        if geometry is not None:
            ratio = anisotropy(geometry, Geometry(self.sun(day))).astype(np.float32)
            palette = palette * ratio[cover_codes()[self.traits.cover_on(day)]][:, None]
        return spread(self._paint(palette[..., [BANDS.index(band) for band in bands]]), _SPREAD)

    def backscatter(self, day: float) -> Floats:
        """Gamma nought (VV and VH, rows, cols) in linear power, without speckle."""
        conditions = self.conditions(day)
        return self._paint(self._mixed(lambda pieces: backscatter_palette(pieces, conditions), day))

    def biomass(self, day: float) -> Floats:
        """Above-ground biomass (rows, cols), t/ha of dry matter."""
        return self._paint(biomass_palette(self.traits, day)[..., None]).squeeze(axis=0)

    def temperature(self, day: float, sun: Sun | None = None) -> Floats:
        """Surface temperature (rows, cols) in K in the morning of a day, cloud-free."""
        sun = sun or self.sun(day)
        anomaly = float(stream(self.spec.seed, "warmth", int(day)).standard_normal())
        relief = illumination(self.relief.elevation, self.spec.resolution, sun)
        red, near, infrared = self.reflectance(day, ("B04", "B8A", "B11"))
        return surface_temperature(
            self.conditions(day), sun, anomaly, self.elevation, relief, (red, near, infrared)
        )

    def sky(self, day: float, cover: float | None = None) -> Sky:
        """Clouds, shadows, haze at the optical overpass of a day; `cover` sets the clouds' part."""
        rng = stream(self.spec.seed, "sky", int(day))
        return make_sky(rng, self.extent, day, self.sun(day), cover)

    def sun(self, day: float) -> Sun:
        """The sun at the optical overpass of a day."""
        return sun_at(day, self.spec.overpass, self.spec.latitude)

    def illumination(self, day: float) -> Floats:
        """(rows, cols) sunlight on the slopes relative to level ground."""
        return illumination(self.relief.elevation, self.spec.resolution, self.sun(day))

    def conditions(self, day: float) -> Conditions:
        """What a day has in common over the window."""
        wind = float(stream(self.spec.seed, "wind", int(day)).standard_normal())
        wetness = float(self.wetness[int(np.clip(day, 1, 366)) - 1])
        return Conditions(float(day), self.sun(day).zenith, wetness, float(np.clip(wind, -2, 2)))

    def _mixed(self, palette_of: Callable[[Pieces], Floats], day: float) -> Floats:
        """The palette of the pieces, each with what it has of its look-alike."""
        palette = palette_of(self.traits)
        part = likeness_on(self.traits, day)
        if part.any():
            palette = palette + part[:, None, None] * (palette_of(as_twins(self.traits)) - palette)
        return palette

    def _paint(self, palette: Floats) -> Floats:
        """(channel, rows, cols) from what each (piece, level, channel) looks like."""
        channels = np.ascontiguousarray(palette.reshape(-1, palette.shape[-1]).T)
        return np.stack([channel.take(self._place) for channel in channels])

    @cached_property
    def _place(self) -> NDArray[np.int32]:
        """(rows, cols) row of every pixel in a palette of (pieces * levels)."""
        return (self.pieces * np.int32(LEVELS) + self.texture).astype(np.int32)


def make_world(spec: WorldSpec = WorldSpec()) -> World:
    """The world of a seed: the same seed and shape give the same world on one machine."""
    extent = Extent(spec.shape, spec.resolution)
    relief = shape_relief(spec.seed, extent)
    land = lay_out(spec.seed, extent, relief)
    traits = draw_traits(stream(spec.seed, "traits"), land.cover)
    traits = vary(stream(spec.seed, "likeness"), traits, spec.variability)
    pieces, traits, events = happen(spec.seed, extent, relief, land, traits)
    return World(
        spec=spec,
        relief=relief,
        parcels=land.pieces + np.int32(1),
        events=events,
        pieces=pieces,
        traits=traits,
        texture=_texture(spec.seed, extent, land.pieces, cover_codes()[land.cover][land.pieces]),
        wetness=weather(stream(spec.seed, "weather")),
    )


def _texture(
    seed: int, extent: Extent, pieces: Labels, code: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Texture level of each pixel: patches of soil, single crowns and roofs, headlands."""
    rng = stream(seed, "texture")
    grain_of_code = np.full(16, 0.3, np.float32)
    for value, part in _GRAIN_PART.items():
        grain_of_code[value] = part
    grain = grain_of_code[code]
    smooth = 0.8 * fractal(rng, extent, 220.0, 3.4) + 0.6 * broad(rng, extent, 900.0, 3.8)
    fine = fractal(rng, extent, 22.0, 2.0)
    vigour = np.sqrt(1 - grain**2) * smooth + grain * fine
    crop = (code >= 6) & (code <= 9)
    vigour = vigour - 0.9 * (borders(pieces) & crop)
    soil = 0.75 * fractal(rng, extent, 300.0, 3.0)
    ground = np.where(code == _BUILT_UP, 0, soil) + 0.7 * fractal(rng, extent, 18.0, 1.6)
    return (
        _level(vigour, VIGOUR_LEVELS) * GROUND_LEVELS.size + _level(ground, GROUND_LEVELS)
    ).astype(np.uint8)


def _level(score: Floats, levels: NDArray[np.float64]) -> NDArray[np.int64]:
    """Nearest of evenly spaced levels."""
    step = (levels[-1] - levels[0]) / (levels.size - 1)
    nearest = np.rint((score - levels[0]) / step)
    return np.asarray(np.clip(nearest, 0, levels.size - 1), dtype=np.int64)
