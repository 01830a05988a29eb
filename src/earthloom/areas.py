"""The areas of a project, and which scenes of its archive show each."""

from datetime import date

from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

from earthloom.archive import FolderOfFiles, Scene, SceneSource
from earthloom.archive.holdings import holdings
from earthloom.archive.open import archive_folder, archive_signer
from earthloom.cube.plan import common_multiple, native_gsd
from earthloom.cube.read import native_box
from earthloom.errors import ArchiveError, DataError, ProjectError, choices
from earthloom.grid import (
    Area,
    base_grid,
    bounds_of,
    cell_areas,
    grid_gsd,
    native_grids,
    outline_of,
    read_outline,
)
from earthloom.project import CellArea, Project, SensorChoice, SimulatedArchive

FROM_ARCHIVE = "archive"
"""The word in a project file that stands for the archive's own places."""


def areas_of(project: Project, archive: SceneSource) -> list[Area]:
    """What a project maps: one outline on one grid, whatever UTM zones it lies in; with
    `grid.crs: native` a grid for each zone of the archive's scenes; or each place of a folder."""
    if isinstance(project.area, CellArea):
        return _cells(project, project.area)
    if project.area == FROM_ARCHIVE and isinstance(archive, FolderOfFiles):
        return [_native_area(project, archive, place) for place in _places(project, archive)]
    outline = _outline(project)
    if project.grid.crs == "native":
        return _native_areas(project, archive, outline)
    grid = project.grid
    multiple = common_multiple(project, grid_gsd(outline, grid.crs, grid.resolution))
    box = base_grid(outline, grid.crs, grid.resolution, multiple, grid.anchor)
    return [Area(project.name, box, outline)]


def _cells(project: Project, chosen: CellArea) -> list[Area]:
    """Cells of the Major TOM grid, each on the grid of its own UTM zone."""
    grid = project.grid
    if grid.crs != "auto":
        raise ProjectError(
            f"grid.crs is '{grid.crs}', but cells lie on the grids of their own UTM zones; "
            "leave it out, or give the area by another way than cells"
        )
    multiple = common_multiple(project, grid.resolution)
    return cell_areas(chosen.cells, chosen.distance_km, grid.resolution, multiple)


def scenes_of(project: Project, archive: SceneSource, area: Area) -> list[Scene]:
    """The scenes of all the project's sensors that show an area in its period.

    ArchiveError if a sensor has none, with what the archive does have.
    """
    start = project.dates.start if project.dates else date.min
    end = project.dates.end if project.dates else date.max
    outline = area.outline or outline_of(area.box)
    found: list[Scene] = []
    for choice in project.sensors:
        sensor = project.sensor(choice.name)
        if isinstance(archive, FolderOfFiles) and area.outline is None:
            shown = archive.of_place(sensor, area.name, start, end)
        else:
            shown = archive.search(sensor, start, end, outline)
        clear = [scene for scene in shown if (scene.cloud_cover or 0) <= choice.max_cloud]
        if not clear:
            raise ArchiveError(_nothing_found(project, archive, choice, outline))
        found += clear
    return found


def _places(project: Project, archive: FolderOfFiles) -> list[str]:
    places = archive.places(project.sensor(project.sensors[0].name))
    if places == [""]:
        raise ProjectError(
            "'area: archive' needs a group (?P<place>...) in the archive's pattern; "
            "or name a vector file or bounds under 'area'"
        )
    return places


def _native_area(project: Project, archive: FolderOfFiles, place: str) -> Area:
    """A place on the grid of its earliest scene's reference band."""
    sensor = project.sensor(project.sensors[0].name)
    first = archive.of_place(sensor, place, date.min, date.max)[0]
    return Area(place, _grid_of(project, str(archive.folder), first), None)


def _native_areas(project: Project, archive: SceneSource, outline: BaseGeometry) -> list[Area]:
    """An area for each UTM zone of the first sensor's scenes, on their own pixels.

    One file is opened for each tile; where tiles are not known, for each extent.
    """
    sensor = project.sensor(project.sensors[0].name)
    start = project.dates.start if project.dates else date.min
    end = project.dates.end if project.dates else date.max
    shown = archive.search(sensor, start, end, outline)
    if not shown:
        raise ArchiveError(_nothing_found(project, archive, project.sensors[0], outline))
    tiles = {scene.tile or scene.bounds or scene.id: scene for scene in reversed(shown)}
    root = str(archive_folder(project))
    files = [_grid_of(project, root, scene) for scene in tiles.values()]
    return native_grids(project.name, files, outline, common_multiple(project, native_gsd(project)))


def _grid_of(project: Project, root: str, scene: Scene) -> GeoBox:
    """The grid of a scene's reference band: `grid.like`, or the first that the project names."""
    band = project.grid.like or (project.sensors[0].bands or tuple(scene.bands))[0]
    if band not in scene.bands:
        raise DataError(
            f"{scene.id} has no band '{band}' to take the grid from; it has: {choices(scene.bands)}"
        )
    return native_box(root, scene.bands[band], archive_signer(project))


def _outline(project: Project) -> BaseGeometry:
    if project.area == FROM_ARCHIVE:
        if not isinstance(project.archive, SimulatedArchive):
            raise ProjectError(
                "'area' is needed: a vector file, or west, south, east, north in degrees"
            )
        return read_outline(project.path(project.archive.path) / "area.geojson")
    if isinstance(project.area, tuple):
        return read_outline(project.area)
    assert isinstance(project.area, str)  # cells were taken before
    return read_outline(project.path(project.area))


def _nothing_found(
    project: Project, archive: SceneSource, choice: SensorChoice, outline: BaseGeometry
) -> str:
    """Why a search may have come back empty: the area, the dates, or the clouds."""
    asked = f"area {_bounds(bounds_of(outline))}"
    if project.dates:
        asked += f", {project.dates.start} to {project.dates.end}"
    if choice.max_cloud < 100:
        asked += f", at most {choice.max_cloud:g} % cloud"
    held = holdings(archive, project.sensor(choice.name))
    return f"no scene of {choice.name} for {asked}; the archive has {held}"


def _bounds(bounds: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{bound:.4f}" for bound in bounds) + ")"
