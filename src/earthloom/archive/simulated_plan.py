"""When and where the simulated satellites look: acquisitions, swaths, grids and product names."""

import itertools
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray
from rasterio.transform import Affine
from rasterio.warp import transform as warp_points

from earthloom.archive.simulated_spec import SimulationSpec
from earthloom.errors import ArchiveError
from earthloom.world import Shape
from earthloom.world.noise import stream

_CORNER = 60.0
"""m; Sentinel-2's tiles start on multiples of it."""


@dataclass(frozen=True)
class SceneGrid:
    """The grid on which a scene is delivered: a UTM zone's own, north up."""

    epsg: int
    west: float
    north: float
    """Outer corner, m."""
    resolution: float
    """m."""
    shape: Shape

    @property
    def crs(self) -> str:
        return f"EPSG:{self.epsg}"

    @property
    def reference(self) -> dict[str, object]:
        """The CRS as STAC's projection extension names it."""
        return {"proj:epsg": self.epsg, "proj:code": self.crs}

    @property
    def transform(self) -> Affine:
        """Pixel (column, row) to (x, y)."""
        return Affine(self.resolution, 0, self.west, 0, -self.resolution, self.north)

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north, m."""
        return (
            self.west,
            self.north - self.shape.rows * self.resolution,
            self.west + self.shape.cols * self.resolution,
            self.north,
        )

    def xy(self, col: float, row: float) -> tuple[float, float]:
        """Coordinates of a place in the raster; a pixel's centre lies at half a pixel."""
        return self.west + col * self.resolution, self.north - row * self.resolution

    def coarser(self, factor: int) -> "SceneGrid":
        """The same rectangle with pixels `factor` times as wide."""
        shape = Shape(self.shape.rows // factor, self.shape.cols // factor)
        return SceneGrid(self.epsg, self.west, self.north, self.resolution * factor, shape)

    def window(self, row: int, col: int) -> "SceneGrid":
        """The part of the grid from a row and column on."""
        shape = Shape(self.shape.rows - row, self.shape.cols - col)
        return SceneGrid(
            self.epsg,
            self.west + col * self.resolution,
            self.north - row * self.resolution,
            self.resolution,
            shape,
        )

    @property
    def tile(self) -> str:
        """MGRS name of the 100 km square that holds the grid's middle, such as 32UPV."""
        west, south, east, north = self.bounds
        x, y = (west + east) / 2, (south + north) / 2
        zone = self.epsg % 100
        lon_lat = warp_points(self.crs, "EPSG:4326", [x], [y])
        band = "CDEFGHJKLMNPQRSTUVWX"[int((lon_lat[1][0] + 80) // 8)]
        column = ("ABCDEFGH", "JKLMNPQR", "STUVWXYZ")[(zone - 1) % 3][int(x // 100_000) - 1]
        start = 5 if zone % 2 == 0 else 0
        row = "ABCDEFGHJKLMNPQRSTUV"[(int(y // 100_000) + start) % 20]
        return f"{zone:02d}{band}{column}{row}"


@dataclass(frozen=True)
class Layout:
    """The world's own grid, and the grids on which its scenes are delivered."""

    home: SceneGrid
    deliveries: tuple[SceneGrid, ...]
    """One, or the western and the eastern zone's."""


@dataclass(frozen=True)
class Orbit:
    """A track that sees the area."""

    number: int
    """Relative orbit."""
    first_day: int
    """Day of the year of the first pass."""
    every: int
    """Days between passes."""
    hour: float
    """UTC, hours."""
    state: str
    """ascending or descending."""
    covered: float
    """Part of the window in the swath; 1 where its edge is far away."""
    view_zenith: float = 0.0
    """Of the satellite as seen from the window, degrees."""
    view_azimuth: float = 0.0
    """Of the direction towards the satellite, degrees clockwise from north."""


@dataclass(frozen=True)
class Acquisition:
    """One pass of a satellite over the window."""

    platform: str
    """A or B; of Landsat 8 or 9."""
    orbit: Orbit
    time: datetime
    day: int
    """Of the year."""
    cloud: float
    """Wanted part of the sky under clouds; of no meaning for radar."""
    baseline: str
    """Processing baseline; empty for radar."""
    processed_after: float = 9.0
    """Hours from the pass to its processing."""


# The second orbit's swath lies east of its edge, so that its satellite stands in the east.
_SENTINEL2 = (
    Orbit(65, 3, 5, 10.27, "descending", 1.0, 3.4, 286.0),
    Orbit(22, 5, 5, 10.44, "descending", 0.68, 10.6, 106.0),
)
# Landsat 8 and 9 take turns every 8 days; the second path's swath lies in the east, too.
_LANDSAT = (
    Orbit(193, 5, 8, 10.02, "descending", 1.0, 2.9, 281.0),
    Orbit(192, 2, 8, 9.92, "descending", 0.6, 7.3, 101.0),
)
_SENTINEL1 = (
    Orbit(117, 4, 12, 17.14, "ascending", 1.0),
    Orbit(168, 8, 12, 5.43, "descending", 0.82),
)


def lay_grids(spec: SimulationSpec) -> Layout:
    """The grids of an archive; the window's centre is the spec's, as near as corners allow."""
    zone = int((spec.longitude + 180) // 6) + 1
    longitude = spec.longitude
    if spec.two_zones:
        longitude = round(spec.longitude / 6) * 6.0
        zone = int((longitude + 180) // 6)
    epsg = 32600 + zone
    x, y = _project(epsg, longitude, spec.latitude)
    cells = int(spec.size_m // spec.resolution)
    west = np.floor((x - spec.size_m / 2) / _CORNER) * _CORNER
    north = np.ceil((y + spec.size_m / 2) / _CORNER) * _CORNER
    home = SceneGrid(epsg, float(west), float(north), spec.resolution, Shape(cells, cells))
    if not spec.two_zones:
        _check_zone(spec, home)
        return Layout(home, (home,))
    return Layout(home, (_western(home, x, spec), _eastern(home, x, spec)))


def _check_zone(spec: SimulationSpec, home: SceneGrid) -> None:
    """A window in one zone must not reach over its border."""
    west, south, east, north = home.bounds
    longitudes, _ = warp_points(
        home.crs, "EPSG:4326", [west, west, east, east], [south, north, south, north]
    )
    first = home.epsg % 100 * 6.0 - 186.0
    if min(longitudes) < first or max(longitudes) > first + 6:
        raise ArchiveError(
            f"longitude {spec.longitude:g} puts the window over the border of UTM zone "
            f"{home.epsg % 100} ({first:g} to {first + 6:g} degrees); move it, or set two_zones"
        )


def _project(epsg: int, longitude: float, latitude: float) -> tuple[float, float]:
    xs, ys = warp_points("EPSG:4326", f"EPSG:{epsg}", [longitude], [latitude])
    return xs[0], ys[0]


def _overlap(spec: SimulationSpec) -> float:
    """m that each zone's scenes reach over the border."""
    return max(0.12 * spec.size_m, 4 * spec.resolution)


def _western(home: SceneGrid, border: float, spec: SimulationSpec) -> SceneGrid:
    """The part of the world's own grid west of the border, and the overlap."""
    cols = int((border + _overlap(spec) - home.west) // (2 * home.resolution)) * 2
    return SceneGrid(
        home.epsg,
        home.west,
        home.north,
        home.resolution,
        Shape(home.shape.rows, min(cols, home.shape.cols)),
    )


def _eastern(home: SceneGrid, border: float, spec: SimulationSpec) -> SceneGrid:
    """The next zone's grid around what lies east of the border, and the overlap."""
    _, south, east, north = home.bounds
    start = border - _overlap(spec)
    epsg = home.epsg + 1
    xs, ys = warp_points(
        home.crs, f"EPSG:{epsg}", [start, start, east, east], [south, north, south, north]
    )
    west = float(np.floor(min(xs) / _CORNER) * _CORNER)
    top = float(np.ceil(max(ys) / _CORNER) * _CORNER)
    cols = int(np.ceil((max(xs) - west) / _CORNER) * _CORNER / home.resolution)
    rows = int(np.ceil((top - min(ys)) / _CORNER) * _CORNER / home.resolution)
    return SceneGrid(epsg, west, top, home.resolution, Shape(rows, cols))


def plan_sentinel2(spec: SimulationSpec) -> tuple[Acquisition, ...]:
    """Optical passes through the year, with gaps, and the clouds of a mid-latitude year."""
    rng = stream(spec.seed, "plan", "sentinel-2")
    passes = _passes(spec, _SENTINEL2)
    chosen = _thin_out(rng, passes, spec.sentinel2_items)
    clouds = cloudiness(rng, [day for _, day, _ in chosen])
    return tuple(
        Acquisition(
            platform,
            orbit,
            pass_time(spec, orbit, day),
            day,
            cloud,
            "05.09" if _date(spec, day) >= spec.first_with_offset else "03.01",
        )
        for (orbit, day, platform), cloud in zip(chosen, clouds, strict=True)
    )


def plan_sentinel1(spec: SimulationSpec) -> tuple[Acquisition, ...]:
    """Radar passes through the year, from both sides."""
    rng = stream(spec.seed, "plan", "sentinel-1")
    chosen = _thin_out(rng, _passes(spec, _SENTINEL1), spec.sentinel1_items)
    return tuple(
        Acquisition("A", orbit, pass_time(spec, orbit, day), day, 0.0, "")
        for orbit, day, _ in chosen
    )


def plan_landsat(spec: SimulationSpec) -> tuple[Acquisition, ...]:
    """Landsat's passes through the year, under skies of their own."""
    rng = stream(spec.seed, "plan", "landsat")
    chosen = _thin_out(rng, _passes(spec, _LANDSAT, "89"), spec.landsat_items)
    clouds = cloudiness(rng, [day for _, day, _ in chosen])
    return tuple(
        Acquisition(platform, orbit, pass_time(spec, orbit, day), day, cloud, "")
        for (orbit, day, platform), cloud in zip(chosen, clouds, strict=True)
    )


def most_passes() -> tuple[int, int, int]:
    """The largest number of Sentinel-2, Sentinel-1 and Landsat items of a year."""
    optical, radar, landsat = (
        sum(len(range(orbit.first_day, 366, orbit.every)) for orbit in orbits)
        for orbits in (_SENTINEL2, _SENTINEL1, _LANDSAT)
    )
    return optical, radar, landsat


def _passes(
    spec: SimulationSpec, orbits: tuple[Orbit, ...], platforms: str = "AB"
) -> list[tuple[Orbit, int, str]]:
    """All passes of the year by day: orbit, day of the year, platform."""
    passes = [
        (orbit, day, platforms[number % 2])
        for orbit in orbits
        for number, day in enumerate(range(orbit.first_day, 366, orbit.every))
    ]
    return sorted(passes, key=lambda item: (item[1], item[0].number))


def _thin_out(
    rng: np.random.Generator, passes: list[tuple[Orbit, int, str]], count: int
) -> list[tuple[Orbit, int, str]]:
    """`count` passes, one from each of as many equal parts of the year's list."""
    edges = np.linspace(0, len(passes), count + 1)
    picks = [
        int(rng.integers(int(np.ceil(low)), max(int(np.ceil(high)), int(np.ceil(low)) + 1)))
        for low, high in itertools.pairwise(edges)
    ]
    return [passes[min(pick, len(passes) - 1)] for pick in picks]


def cloudiness(rng: np.random.Generator, days: list[int]) -> list[float]:
    """A cloud cover for each pass: a fifth clear, a fifth closed, winter the worse half."""
    count = len(days)
    parts = np.interp(
        (np.arange(count) + 0.5) / count, [0, 0.22, 0.55, 0.8, 1], [0, 0.012, 0.32, 0.85, 1]
    )
    winter = 0.5 + 0.5 * np.cos(2 * np.pi * (np.array(days) - 15) / 365)
    order = np.argsort(rng.uniform(0, 1, count) + 0.35 * winter, kind="stable")
    out = np.empty(count)
    out[order] = parts
    return [float(part) for part in out]


def _date(spec: SimulationSpec, day: int) -> date:
    return date(spec.year, 1, 1) + timedelta(days=day - 1)


def pass_time(spec: SimulationSpec, orbit: Orbit, day: int) -> datetime:
    """UTC, to the second; the pass of an orbit drifts by some seconds."""
    drift = (day * 7) % 13 - 6
    start = datetime(spec.year, 1, 1, tzinfo=UTC)
    return start + timedelta(days=day - 1, seconds=round(orbit.hour * 3600) + drift)


def in_swath(acquisition: Acquisition, shape: Shape) -> NDArray[np.bool_]:
    """(rows, cols) pixels of the world's grid that the pass has seen.

    The edge runs along the track: some 12 degrees off north, to either side by the orbit's state.
    """
    if acquisition.orbit.covered >= 1:
        return np.ones((shape.rows, shape.cols), np.bool_)
    tilt = np.radians(12.0 if acquisition.orbit.state == "descending" else -12.0)
    y, x = np.ogrid[: shape.rows, : shape.cols]
    place = (x / shape.cols - 0.5) * np.cos(tilt) + (y / shape.rows - 0.5) * np.sin(tilt)
    moved = 0.012 * np.sin(acquisition.day * 2.4)
    return np.asarray(place > 0.5 - acquisition.orbit.covered + moved)
