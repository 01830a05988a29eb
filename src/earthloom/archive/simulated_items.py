"""The optical items of a simulated archive and what is wrong with each, before any is made."""

from dataclasses import dataclass, replace
from typing import TypeAlias

from earthloom.archive.simulated_faults import (
    Candidate,
    ItemFaults,
    draw_faults,
    draw_older,
    draw_shift,
)
from earthloom.archive.simulated_landsat import (
    LANDSAT,
    QUALITY,
    TEMPERATURE,
    landsat_grid,
    landsat_id,
    landsat_sun,
    oli,
)
from earthloom.archive.simulated_modis import (
    MODIS,
    STATE,
    Day,
    modis,
    modis_id,
    plan_modis,
    tile_of_home,
)
from earthloom.archive.simulated_plan import (
    Acquisition,
    Layout,
    SceneGrid,
    plan_landsat,
    plan_sentinel2,
)
from earthloom.archive.simulated_scenes import offset_of
from earthloom.archive.simulated_spec import SimulationSpec
from earthloom.archive.simulated_stac import SENTINEL2, sentinel2_id
from earthloom.archive.simulated_studio import cloud_truth
from earthloom.world import BANDS, Geometry, WorldSpec
from earthloom.world.sun import sun_at

_OTHER = {True: "03.01", False: "05.09"}
"""The baseline that an item names wrongly, by whether its own has the offset."""


@dataclass(frozen=True)
class OpticalItem:
    """A Sentinel-2 item."""

    faults: ItemFaults
    assets: tuple[str, ...]
    acquisition: Acquisition
    grid: SceneGrid
    noise_name: str
    """Seeds the instrument's noise: two processings of one acquisition share it."""

    @property
    def said(self) -> Acquisition:
        """The acquisition as the item tells of it."""
        if self.faults.said_offset is None:
            return self.acquisition
        own = offset_of(self.acquisition.baseline) != 0
        return replace(self.acquisition, baseline=_OTHER[own])


@dataclass(frozen=True)
class LandsatItem:
    """A Landsat item."""

    faults: ItemFaults
    assets: tuple[str, ...]
    acquisition: Acquisition
    grid: SceneGrid


@dataclass(frozen=True)
class ModisItem:
    """A MODIS item."""

    faults: ItemFaults
    assets: tuple[str, ...]
    look: Day
    tile: str


FoundItem: TypeAlias = OpticalItem | LandsatItem | ModisItem


def find_items(spec: SimulationSpec, layout: Layout) -> list[FoundItem]:
    """All optical items, in the order in which they are made."""
    plain: list[FoundItem] = [*_sentinel2(spec, layout), *_landsat(spec, layout)]
    damaged = draw_faults(spec, [_candidate(each) for each in plain])
    found: list[FoundItem] = [replace(each, faults=damaged[each.faults.item]) for each in plain]
    return [*found, *_modis(spec, layout)]


def _candidate(found: FoundItem) -> Candidate:
    offsets = None
    if isinstance(found, OpticalItem):
        true = offset_of(found.acquisition.baseline)
        offsets = (true, offset_of(_OTHER[true != 0]))
    return Candidate(found.faults, found.assets, offsets)


def _faults(
    spec: SimulationSpec,
    collection: str,
    name: str,
    day: int,
    geometry: Geometry,
    shift: tuple[float, float] = (0.0, 0.0),
    older_of: str | None = None,
) -> ItemFaults:
    """What every item of a collection has in common."""
    return ItemFaults(
        item=name,
        collection=collection,
        day=day,
        sun_azimuth=geometry.sun.azimuth,
        sun_elevation=geometry.sun.elevation,
        view_zenith=geometry.view_zenith,
        view_azimuth=geometry.view_azimuth,
        shift_east_m=shift[0],
        shift_north_m=shift[1],
        quality_errors=spec.faults.quality_errors,
        cloud_truth=cloud_truth(name).as_posix(),
        older_of=older_of,
    )


def _sentinel2(spec: SimulationSpec, layout: Layout) -> list[OpticalItem]:
    passes = plan_sentinel2(spec)
    newer = {each.time: each for each in passes}
    overpass = WorldSpec().overpass
    found = []
    for acquisition in (*passes, *draw_older(spec, passes)):
        sun = sun_at(acquisition.day, overpass, spec.latitude)
        orbit = acquisition.orbit
        geometry = Geometry(sun, orbit.view_zenith, orbit.view_azimuth)
        shift = draw_shift(spec, acquisition, SENTINEL2)
        for grid in layout.deliveries:
            name = sentinel2_id(acquisition, grid)
            first = sentinel2_id(newer[acquisition.time], grid)
            older = first if name != first else None
            faults = _faults(spec, SENTINEL2, name, acquisition.day, geometry, shift, older)
            found.append(OpticalItem(faults, (*BANDS, "SCL"), acquisition, grid, first))
    return found


def _landsat(spec: SimulationSpec, layout: Layout) -> list[LandsatItem]:
    grid = landsat_grid(layout.home)
    found = []
    for acquisition in plan_landsat(spec):
        orbit = acquisition.orbit
        sun = landsat_sun(acquisition, spec.latitude)
        geometry = Geometry(sun, orbit.view_zenith, orbit.view_azimuth)
        shift = draw_shift(spec, acquisition, LANDSAT)
        faults = _faults(spec, LANDSAT, landsat_id(acquisition), acquisition.day, geometry, shift)
        assets = (*oli().bands, TEMPERATURE, QUALITY)
        found.append(LandsatItem(faults, assets, acquisition, grid))
    return found


def _modis(spec: SimulationSpec, layout: Layout) -> list[ModisItem]:
    tile = tile_of_home(layout.home)
    return [
        ModisItem(
            _faults(spec, MODIS, modis_id(look, tile), look.day, look.geometry),
            (*modis().bands, STATE),
            look,
            tile,
        )
        for look in plan_modis(spec)
    ]
