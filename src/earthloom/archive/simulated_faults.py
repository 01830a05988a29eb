"""What is wrong with simulated items, drawn from the seed before any pixel is made.

`Departure` is what a scene's pixels depart in, `ItemFaults` what the truth says of an item.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.ndimage import shift as spline_shift

from earthloom.archive.simulated_plan import Acquisition
from earthloom.archive.simulated_spec import SimulationSpec
from earthloom.world import Extent, Geometry, Shape, Sun
from earthloom.world.noise import Floats, Mask, fractal, stream

PIXEL = 10.0
"""m; errors of place are given in pixels of this width."""
_BLOB = 1200.0
"""m; width above which the errors of a quality band do not grow."""
_KEPT = (0.35, 0.75)
"""Part of a file that is left when it is cut off."""
_OLDER_HAZE = 1.6
"""The haze that an older processing leaves, relative to the newer one's."""


@dataclass(frozen=True)
class Departure:
    """How a scene's pixels depart from the plain scene; by default they do not."""

    geometry: Geometry | None = None
    """Where sun and sensor stand, if reflectance depends on it."""
    east: float = 0.0
    north: float = 0.0
    """m that the image lies off, in the axes of the world's own grid."""
    flattened: bool = True
    """Whether a terrain correction was made, of which a rest is left."""
    quality_errors: float = 0.0
    """Part of the clear land called cloud, and of the clouds called clear."""
    haze: float = 1.0
    """Factor of the haze that is left."""


@dataclass(frozen=True)
class ItemFaults:
    """What the truth says of an item; a field is None where that fault is not there."""

    item: str
    collection: str
    day: int
    """Of the year."""
    sun_azimuth: float
    sun_elevation: float
    view_zenith: float
    view_azimuth: float
    """Degrees; of the directions from the ground, clockwise from north. The reflectance was made
    for these angles where `Faults.brdf` is set, for a view from the zenith otherwise."""
    shift_east_m: float = 0.0
    shift_north_m: float = 0.0
    """How far the image lies east and north of its place, in the axes of the world's own grid."""
    quality_errors: float = 0.0
    """Part of the clear land called cloud, and of the clouds called clear, in addition."""
    cloud_truth: str | None = None
    """The true cloud mask below the archive: 0 clear, 1 thin, 2 cloud, 3 shadow, 255 not seen."""
    true_offset: float | None = None
    said_offset: float | None = None
    """Reflectance of digital number 0 in the pixels, and as the item says; where they differ."""
    truncated: str | None = None
    """Asset that is cut off."""
    kept: float = 1.0
    """Part of its bytes that is left."""
    missing: str | None = None
    """Asset that is named and not there."""
    wrong_checksum: str | None = None
    """Asset whose checksum is another file's."""
    older_of: str | None = None
    """Item with the newer processing of the same acquisition."""

    @property
    def geometry(self) -> Geometry:
        """The angles."""
        return Geometry(self.from_zenith.sun, self.view_zenith, self.view_azimuth)

    @property
    def from_zenith(self) -> Geometry:
        """The sun, and a view from the zenith."""
        return Geometry(Sun(self.sun_azimuth, self.sun_elevation))


@dataclass(frozen=True)
class Candidate:
    """An item that faults can befall."""

    faults: ItemFaults
    assets: tuple[str, ...]
    offsets: tuple[float, float] | None = None
    """The true offset and another that the product has had, if it has had two."""


def depart(spec: SimulationSpec, faults: ItemFaults) -> Departure:
    """What an item's faults do to its pixels."""
    return Departure(
        geometry=faults.geometry if spec.faults.brdf else None,
        east=faults.shift_east_m,
        north=faults.shift_north_m,
        flattened=not spec.faults.terrain,
        quality_errors=faults.quality_errors,
        haze=_OLDER_HAZE if faults.older_of else 1.0,
    )


def draw_shift(spec: SimulationSpec, acquisition: Acquisition, sensor: str) -> tuple[float, float]:
    """m east and north that a pass's image lies off; its deliveries share it."""
    rng = stream(spec.seed, "shift", sensor, acquisition.day, acquisition.baseline)
    east, north = spec.faults.shift_px * PIXEL * rng.standard_normal(2)
    return round(float(east), 3), round(float(north), 3)


def draw_older(spec: SimulationSpec, passes: Sequence[Acquisition]) -> list[Acquisition]:
    """The older processings that stand beside newer ones, of some of the passes."""
    rng = stream(spec.seed, "faults", "reprocessed")
    chosen = sorted(rng.permutation(len(passes))[: spec.faults.reprocessed].tolist())
    return [
        replace(
            passes[place],
            baseline="04.00" if passes[place].baseline >= "04.00" else "02.14",
            processed_after=3.0,
        )
        for place in chosen
    ]


def draw_faults(spec: SimulationSpec, candidates: Sequence[Candidate]) -> dict[str, ItemFaults]:
    """The faults of each item, by name."""
    wanted = spec.faults
    rng = stream(spec.seed, "faults", "items")
    found = {each.faults.item: each.faults for each in candidates}
    assets = {each.faults.item: each.assets for each in candidates}
    offsets = {each.faults.item: each.offsets for each in candidates if each.offsets}
    for item in _some(rng, offsets, wanted.wrong_offsets):
        true, said = offsets[item]
        found[item] = replace(found[item], true_offset=true, said_offset=said)
    order = rng.permutation(sorted(found)).tolist()
    kept = rng.uniform(*_KEPT, len(order))
    # One after the other, so that a fault comes to an item that has none as long as there is one.
    turn = 0
    for fault, count in (
        ("truncated", wanted.truncated),
        ("missing", wanted.missing),
        ("wrong_checksum", wanted.wrong_checksums),
    ):
        for place in range(turn, turn + count):
            item = order[place % len(order)]
            taken = {found[item].truncated, found[item].missing}
            asset = str(rng.choice([name for name in assets[item] if name not in taken]))
            found[item] = _with(found[item], fault, asset, float(kept[place % len(order)]))
        turn += count
    return found


def _with(faults: ItemFaults, fault: str, asset: str, kept: float) -> ItemFaults:
    if fault == "truncated":
        return replace(faults, truncated=asset, kept=round(kept, 3))
    if fault == "missing":
        return replace(faults, missing=asset)
    return replace(faults, wrong_checksum=asset)


def _some(rng: np.random.Generator, names: Iterable[str], count: int) -> list[str]:
    listed = sorted(names)
    return [listed[place] for place in sorted(rng.permutation(len(listed))[:count].tolist())]


def moved(values: Floats, departure: Departure, resolution: float) -> Floats:
    """Rasters (..., rows, cols) whose content lies off by the departure's shift.

    Cubic splines (Unser 1999), which keep what the point spread has left of fine detail; the rim
    goes on beyond the window.
    """
    if departure.east == 0 and departure.north == 0:
        return values
    step = (-departure.north / resolution, departure.east / resolution)
    flat = values.reshape(-1, *values.shape[-2:])
    out = np.stack([spline_shift(layer, step, order=3, mode="nearest") for layer in flat])
    return np.asarray(out.reshape(values.shape), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Misjudged:
    """Where a quality band is wrong in addition, (rows, cols)."""

    false: Mask
    """Clear land called cloud."""
    missed: Mask
    """Cloud called clear."""


def misjudge(
    rng: np.random.Generator, cloudy: Mask, clear: Mask, part: float, resolution: float
) -> Misjudged:
    """Blobs that hold `part` of the cloudy and of the clear pixels, some hundred metres wide."""
    false, missed = np.zeros_like(clear), np.zeros_like(cloudy)
    if part > 0:
        extent = Extent(Shape(*cloudy.shape), resolution)
        for out, among in ((false, clear), (missed, cloudy)):
            score = fractal(rng, extent, _BLOB, 4.0)
            if among.any():
                out |= among & (score > np.quantile(score[among], 1 - part))
    return Misjudged(false, missed)
