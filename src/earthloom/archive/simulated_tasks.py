"""What there is to do for a simulated archive: one task per item or file of truth.

A task knows its files by name before it is done, so that an interrupted run sees what is missing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from earthloom.archive import simulated_truth as truth
from earthloom.archive.simulated_delivery import Delivery
from earthloom.archive.simulated_files import round_mantissa, write_cog, write_json
from earthloom.archive.simulated_index import index_as_json
from earthloom.archive.simulated_items import (
    FoundItem,
    LandsatItem,
    ModisItem,
    OpticalItem,
    find_items,
)
from earthloom.archive.simulated_labels import write_labels
from earthloom.archive.simulated_landsat import QUALITY as LANDSAT_QUALITY
from earthloom.archive.simulated_landsat import landsat_item, sense_landsat
from earthloom.archive.simulated_modis import (
    NODATA,
    STATE,
    STATE_NODATA,
    modis_item,
    sense_modis,
)
from earthloom.archive.simulated_plan import (
    Acquisition,
    Layout,
    SceneGrid,
    in_swath,
    plan_sentinel1,
)
from earthloom.archive.simulated_scenes import (
    FINE_BANDS,
    OPTICAL_NODATA,
    RADAR_NODATA,
    UNSEEN,
    sense_sentinel1,
    sense_sentinel2,
)
from earthloom.archive.simulated_spec import SimulationSpec
from earthloom.archive.simulated_stac import (
    DEM,
    SENTINEL1,
    dem_item,
    sentinel1_id,
    sentinel1_item,
    sentinel2_item,
)
from earthloom.archive.simulated_studio import ItemTask, Studio, Task, cloud_truth, open_studio

__all__ = ["Studio", "Task", "list_tasks", "open_studio"]


@dataclass(frozen=True, kw_only=True)
class _OpticalTask(ItemTask):
    found: OpticalItem

    def do(self, studio: Studio, folder: Path) -> None:
        acquisition, grid = self.found.acquisition, self.found.grid
        scene = sense_sentinel2(
            studio.world,
            acquisition,
            studio.resampler(grid),
            self.found.noise_name,
            self.departure(studio),
        )
        put = self.delivery(studio, folder)
        for band, numbers in scene.bands.items():
            own = grid if band in FINE_BANDS else grid.coarser(2)
            put.put(band, numbers, own, nodata=OPTICAL_NODATA)
        put.put("SCL", scene.quality, grid.coarser(2), nodata=0, resampling="NEAREST")
        cloud = self.cloud_file(folder)
        if not cloud.exists():
            write_cog(cloud, scene.truth, grid, nodata=UNSEEN, resampling="NEAREST")
        item = sentinel2_item(
            self.found.said,
            grid,
            studio.world.sun(acquisition.day),
            scene.quality,
            scene.truth != UNSEEN,
            self.departure(studio).geometry,
        )
        write_json(folder / self.item, put.label(item))


@dataclass(frozen=True, kw_only=True)
class _LandsatTask(ItemTask):
    found: LandsatItem

    def do(self, studio: Studio, folder: Path) -> None:
        grid, departure = self.found.grid, self.departure(studio)
        scene = sense_landsat(
            studio.world, self.found.acquisition, studio.layout.home, self.name, departure
        )
        put = self.delivery(studio, folder)
        for band, numbers in scene.bands.items():
            put.put(band, numbers, grid, nodata=0)
        put.put(LANDSAT_QUALITY, scene.quality, grid, nodata=1, resampling="NEAREST")
        cloud = self.cloud_file(folder)
        if not cloud.exists():
            write_cog(cloud, scene.truth, grid, nodata=UNSEEN, resampling="NEAREST")
        geometry = departure.geometry or self.faults.from_zenith
        item = landsat_item(self.found.acquisition, grid, geometry, scene)
        write_json(folder / self.item, put.label(item))


@dataclass(frozen=True, kw_only=True)
class _ModisTask(ItemTask):
    found: ModisItem

    def do(self, studio: Studio, folder: Path) -> None:
        departure, grid = self.departure(studio), studio.bins.grid
        scene = sense_modis(studio.world, self.found.look, studio.bins, self.name, departure)
        put = self.delivery(studio, folder)
        for band, numbers in scene.bands.items():
            put.put(band, numbers, grid, nodata=NODATA)
        coarse = grid.coarser(2)
        put.put(STATE, scene.state, coarse, nodata=STATE_NODATA, resampling="NEAREST")
        cloud = self.cloud_file(folder)
        if not cloud.exists():
            write_cog(cloud, scene.truth, grid, nodata=UNSEEN, resampling="NEAREST")
        geometry = departure.geometry or self.faults.from_zenith
        item = modis_item(self.found.look, grid, self.found.tile, geometry, scene)
        write_json(folder / self.item, put.label(item))


@dataclass(frozen=True, kw_only=True)
class _RadarTask(Task):
    item: Path
    acquisition: Acquisition
    grid: SceneGrid
    slice_number: int

    def do(self, studio: Studio, folder: Path) -> None:
        acquisition, grid, home = self.acquisition, self.grid, folder / self.item.parent
        resampler = studio.resampler(grid)
        power = sense_sentinel1(studio.world, acquisition, resampler, self.name)
        put = Delivery(home, None, studio.spec.faults.checksums)
        for name, values in zip(("vv", "vh"), power, strict=True):
            put.put(name, round_mantissa(values, 9), grid, nodata=RADAR_NODATA)
        seen = resampler.inside(in_swath(acquisition, studio.layout.home.shape))
        item = sentinel1_item(acquisition, grid, self.slice_number, seen)
        write_json(folder / self.item, put.label(item))


@dataclass(frozen=True, kw_only=True)
class _DemTask(Task):
    item: Path
    grid: SceneGrid

    def do(self, studio: Studio, folder: Path) -> None:
        put = Delivery(folder / self.item.parent, None, studio.spec.faults.checksums)
        height = truth.dem_heights(studio.world, studio.resampler(self.grid))
        put.put("data", height, self.grid, nodata=None)
        write_json(folder / self.item, put.label(dem_item(self.name, self.grid)))


@dataclass(frozen=True, kw_only=True)
class _FileTask(Task):
    write: Callable[[Path, Studio], None]
    """A function of a module, so that it can be sent to another process."""

    def do(self, studio: Studio, folder: Path) -> None:
        self.write(folder / self.files[0], studio)


@dataclass(frozen=True, kw_only=True)
class _ReflectanceTask(Task):
    day: int

    def do(self, studio: Studio, folder: Path) -> None:
        truth.write_reflectance(folder / self.files[0], studio.world, studio.layout.home, self.day)


def list_tasks(spec: SimulationSpec, layout: Layout) -> list[Task]:
    """Everything that a whole archive of a spec has, but its collections and catalog."""
    return [
        *_scene_tasks(spec, layout),
        *_radar_tasks(spec, layout),
        *(_dem_task(name, grid) for name, grid in truth.dem_tiles(layout.home).items()),
        *_truth_tasks(spec),
        *_index_tasks(spec),
    ]


def _scene_tasks(spec: SimulationSpec, layout: Layout) -> Iterator[Task]:
    for found in find_items(spec, layout):
        faults = found.faults
        name = faults.item
        home = Path(faults.collection, name)
        item = home / f"{name}.json"
        there = [asset for asset in found.assets if asset != faults.missing]
        files = (*(home / f"{asset}.tif" for asset in there), cloud_truth(name), item)
        yield _task_of(found, files, item)


def _task_of(found: FoundItem, files: tuple[Path, ...], item: Path) -> Task:
    """The task that makes an item, by its product."""
    name, faults = found.faults.item, found.faults
    if isinstance(found, OpticalItem):
        return _OpticalTask(name=name, files=files, item=item, faults=faults, found=found)
    if isinstance(found, LandsatItem):
        return _LandsatTask(name=name, files=files, item=item, faults=faults, found=found)
    return _ModisTask(name=name, files=files, item=item, faults=faults, found=found)


def _radar_tasks(spec: SimulationSpec, layout: Layout) -> Iterator[Task]:
    for acquisition in plan_sentinel1(spec):
        for place, grid in enumerate(layout.deliveries):
            name = sentinel1_id(acquisition, place)
            home = Path(SENTINEL1, name)
            item = home / f"{name}.json"
            yield _RadarTask(
                name=name,
                files=(home / "vv.tif", home / "vh.tif", item),
                item=item,
                acquisition=acquisition,
                grid=grid,
                slice_number=place,
            )


def _dem_task(name: str, grid: SceneGrid) -> Task:
    home = Path(DEM, name)
    item = home / f"{name}.json"
    return _DemTask(name=name, files=(home / "data.tif", item), item=item, grid=grid)


def _truth_tasks(spec: SimulationSpec) -> Iterator[Task]:
    writers: dict[str, Callable[[Path, Studio], None]] = {
        "area.geojson": _area,
        "labels.gpkg": _labels,
        "truth/classes.json": _classes,
        "truth/class.tif": _class_end,
        "truth/class_start.tif": _class_start,
        "truth/parcels.gpkg": _parcels,
        "truth/events.gpkg": _events,
        "truth/events.tif": _event_days,
        "truth/biomass.tif": _biomass,
    }
    for name, write in writers.items():
        yield _FileTask(name=name, files=(Path(name),), write=write)
    for month in range(1, 13):
        when = truth.truth_date(spec.year, month)
        path = Path("truth", "reflectance", f"{when}.tif")
        yield _ReflectanceTask(name=path.as_posix(), files=(path,), day=truth.day_of(when))


def _index_tasks(spec: SimulationSpec) -> Iterator[Task]:
    if spec.has_index:
        yield _FileTask(
            name="truth/faults.json", files=(Path("truth", "faults.json"),), write=_index
        )


def _index(path: Path, studio: Studio) -> None:
    found = [item.faults for item in find_items(studio.spec, studio.layout)]
    write_json(path, index_as_json(studio.spec.faults, found))


def _area(path: Path, studio: Studio) -> None:
    truth.write_area(path, studio.layout.home)


def _labels(path: Path, studio: Studio) -> None:
    write_labels(path, studio.world, studio.layout.home, studio.spec)


def _classes(path: Path, studio: Studio) -> None:
    truth.write_classes(path)


def _class_end(path: Path, studio: Studio) -> None:
    truth.write_class_map(path, studio.world, studio.layout.home, truth.LAST_DAY)


def _class_start(path: Path, studio: Studio) -> None:
    truth.write_class_map(path, studio.world, studio.layout.home, 0)


def _parcels(path: Path, studio: Studio) -> None:
    truth.write_parcels(path, studio.world, studio.layout.home)


def _events(path: Path, studio: Studio) -> None:
    truth.write_events(path, studio.world, studio.layout.home)


def _event_days(path: Path, studio: Studio) -> None:
    truth.write_event_days(path, studio.world, studio.layout.home)


def _biomass(path: Path, studio: Studio) -> None:
    truth.write_biomass(path, studio.world, studio.layout.home)
