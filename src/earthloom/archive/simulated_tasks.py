"""What there is to do for a simulated archive: one task per item or file of truth.

A task knows its files by name before it is done, so that an interrupted run sees what is missing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from earthloom.archive import simulated_truth as truth
from earthloom.archive.simulated_files import round_mantissa, write_cog, write_json
from earthloom.archive.simulated_labels import write_labels
from earthloom.archive.simulated_plan import (
    Acquisition,
    Layout,
    SceneGrid,
    in_swath,
    lay_grids,
    plan_sentinel1,
    plan_sentinel2,
)
from earthloom.archive.simulated_scenes import (
    FINE_BANDS,
    OPTICAL_NODATA,
    RADAR_NODATA,
    UNSEEN,
    Resampler,
    sense_sentinel1,
    sense_sentinel2,
)
from earthloom.archive.simulated_spec import SimulationSpec
from earthloom.archive.simulated_stac import (
    DEM,
    SENTINEL1,
    SENTINEL2,
    dem_item,
    sentinel1_id,
    sentinel1_item,
    sentinel2_id,
    sentinel2_item,
)
from earthloom.world import BANDS, World, WorldSpec, make_world


@dataclass(eq=False)
class Studio:
    """The world of a spec, and the way from its grid to others; made once per process."""

    spec: SimulationSpec
    layout: Layout
    _resamplers: dict[SceneGrid, Resampler] = field(default_factory=dict)

    @cached_property
    def world(self) -> World:
        """Made when it is first asked for."""
        spec = self.spec
        return make_world(
            WorldSpec(spec.seed, self.layout.home.shape, spec.year, spec.resolution, spec.latitude)
        )

    def resampler(self, grid: SceneGrid) -> Resampler:
        """To a grid, remembered."""
        if grid not in self._resamplers:
            self._resamplers[grid] = Resampler(self.layout, grid)
        return self._resamplers[grid]


def open_studio(spec: SimulationSpec) -> Studio:
    """A studio for a spec."""
    return Studio(spec, lay_grids(spec))


@dataclass(frozen=True, kw_only=True)
class Task:
    """Some files of the archive that are made together."""

    name: str
    files: tuple[Path, ...]
    """Relative to the archive."""
    item: Path | None = None
    """The STAC item among them."""

    def missing(self, folder: Path) -> bool:
        """Whether any of its files is not there."""
        return not all((folder / file).exists() for file in self.files)

    def do(self, studio: Studio, folder: Path) -> None:
        """Writes those of its files that are not there."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class _OpticalTask(Task):
    item: Path
    acquisition: Acquisition
    grid: SceneGrid

    def do(self, studio: Studio, folder: Path) -> None:
        acquisition, grid, home = self.acquisition, self.grid, folder / self.item.parent
        resampler = studio.resampler(grid)
        scene = sense_sentinel2(studio.world, acquisition, resampler, self.name)
        for band, numbers in scene.bands.items():
            if not (home / f"{band}.tif").exists():
                own = grid if band in FINE_BANDS else grid.coarser(2)
                write_cog(home / f"{band}.tif", numbers, own, nodata=OPTICAL_NODATA)
        if not (home / "SCL.tif").exists():
            write_cog(
                home / "SCL.tif", scene.quality, grid.coarser(2), nodata=0, resampling="NEAREST"
            )
        cloud = folder / "truth" / "cloud" / f"{self.name}.tif"
        if not cloud.exists():
            write_cog(cloud, scene.truth, grid, nodata=UNSEEN, resampling="NEAREST")
        item = sentinel2_item(
            acquisition,
            grid,
            studio.world.sun(acquisition.day),
            scene.quality,
            scene.truth != UNSEEN,
        )
        write_json(folder / self.item, item)


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
        for name, values in zip(("vv", "vh"), power, strict=True):
            if not (home / f"{name}.tif").exists():
                write_cog(
                    home / f"{name}.tif", round_mantissa(values, 9), grid, nodata=RADAR_NODATA
                )
        seen = resampler.inside(in_swath(acquisition, studio.layout.home.shape))
        write_json(folder / self.item, sentinel1_item(acquisition, grid, self.slice_number, seen))


@dataclass(frozen=True, kw_only=True)
class _DemTask(Task):
    item: Path
    grid: SceneGrid

    def do(self, studio: Studio, folder: Path) -> None:
        truth.write_dem(
            folder / self.item.parent / "data.tif",
            studio.world,
            self.grid,
            studio.resampler(self.grid),
        )
        write_json(folder / self.item, dem_item(self.name, self.grid))


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
        *_optical_tasks(spec, layout),
        *_radar_tasks(spec, layout),
        *(_dem_task(name, grid) for name, grid in truth.dem_tiles(layout.home).items()),
        *_truth_tasks(spec),
    ]


def _optical_tasks(spec: SimulationSpec, layout: Layout) -> Iterator[Task]:
    for acquisition in plan_sentinel2(spec):
        for grid in layout.deliveries:
            name = sentinel2_id(acquisition, grid)
            home = Path(SENTINEL2, name)
            item = home / f"{name}.json"
            images = (home / f"{band}.tif" for band in (*BANDS, "SCL"))
            yield _OpticalTask(
                name=name,
                files=(*images, Path("truth", "cloud", f"{name}.tif"), item),
                item=item,
                acquisition=acquisition,
                grid=grid,
            )


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
