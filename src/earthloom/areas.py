"""The areas of a project, and which scenes of its archive show each."""

from datetime import date

import shapely
from shapely.geometry.base import BaseGeometry

from earthloom.archive import FolderOfFiles, Scene, SceneSource
from earthloom.cube.plan import common_multiple
from earthloom.cube.read import native_box
from earthloom.errors import ArchiveError, DataError, ProjectError, choices
from earthloom.grid import Area, base_grid, read_outline
from earthloom.project import Project, SensorChoice, SimulatedArchive

FROM_ARCHIVE = "archive"
"""The word in a project file that stands for the archive's own places."""


def areas_of(project: Project, archive: SceneSource) -> list[Area]:
    """What a project maps: one outline, or each place of a folder of files."""
    if project.area == FROM_ARCHIVE and isinstance(archive, FolderOfFiles):
        return [_native_area(project, archive, place) for place in _places(project, archive)]
    outline = _outline(project)
    if project.grid.crs == "native":
        raise ProjectError(
            "grid.crs 'native' needs a folder archive with 'area: archive'; "
            "valid here: auto, or a code such as EPSG:32633"
        )
    box = base_grid(outline, project.grid.crs, project.grid.resolution, common_multiple(project))
    return [Area(project.name, box, outline)]


def scenes_of(project: Project, archive: SceneSource, area: Area) -> list[Scene]:
    """The scenes of all the project's sensors that show an area in its period.

    ArchiveError if a sensor has none, with what the archive does have.
    """
    start = project.dates.start if project.dates else date.min
    end = project.dates.end if project.dates else date.max
    outline = area.outline or area.box.geographic_extent.geom
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
    choice = project.sensors[0]
    sensor = project.sensor(choice.name)
    first = archive.of_place(sensor, place, date.min, date.max)[0]
    band = project.grid.like or (choice.bands or tuple(first.bands))[0]
    if band not in first.bands:
        raise DataError(
            f"{first.id} has no band '{band}' to take the grid from; it has: {choices(first.bands)}"
        )
    return Area(place, native_box(str(archive.folder), first.bands[band]), None)


def _outline(project: Project) -> BaseGeometry:
    if project.area == FROM_ARCHIVE:
        if not isinstance(project.archive, SimulatedArchive):
            raise ProjectError(
                "'area' is needed: a vector file, or west, south, east, north in degrees"
            )
        return read_outline(project.path(project.archive.path) / "area.geojson")
    if isinstance(project.area, tuple):
        return read_outline(project.area)
    return read_outline(project.path(project.area))


def _nothing_found(
    project: Project, archive: SceneSource, choice: SensorChoice, outline: BaseGeometry
) -> str:
    """Why a search may have come back empty: the area, the dates, or the clouds."""
    sensor = project.sensor(choice.name)
    everywhere = shapely.box(-180, -90, 180, 90)
    all_scenes = archive.search(sensor, date.min, date.max, everywhere)
    asked = f"area {_bounds(outline.bounds)}"
    if project.dates:
        asked += f", {project.dates.start} to {project.dates.end}"
    if choice.max_cloud < 100:
        asked += f", at most {choice.max_cloud:g} % cloud"
    if not all_scenes:
        return f"no scene of {choice.name} for {asked}; the archive has none of this sensor"
    days = [scene.day for scene in all_scenes]
    held = f"{len(all_scenes)} scenes from {min(days)} to {max(days)}"
    boxes = [shapely.box(*scene.bounds) for scene in all_scenes if scene.bounds]
    if boxes:
        held += f" within {_bounds(shapely.unary_union(boxes).bounds)}"
    return f"no scene of {choice.name} for {asked}; the archive has {held}"


def _bounds(bounds: tuple[float, ...]) -> str:
    return "(" + ", ".join(f"{bound:.4f}" for bound in bounds) + ")"
