"""The areas of projects, and the scenes that show them."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from earthloom.archive import Asset, Scene
from earthloom.areas import areas_of, scenes_of
from earthloom.errors import ArchiveError, DataError
from earthloom.grid import bounds_of, meets, outline_of
from earthloom.project import load_project

FIJI = [176.8, -18.4, -178.2, -16.0]
TILES = {
    "32UQV": GeoBox((10_980, 10_980), Affine(10, 0, 699_960, 0, -10, 5_400_000), "EPSG:32632"),
    "33UUQ": GeoBox((10_980, 10_980), Affine(10, 0, 199_980, 0, -10, 5_400_000), "EPSG:32633"),
}


def _scene(name, bounds, href="", day=date(2023, 7, 2)):
    return Scene(
        id=name,
        sensor="sentinel-2-l2a",
        time=datetime(2023, 7, 2, 10, tzinfo=UTC),
        day=day,
        bounds=bounds,
        place="",
        cloud_cover=3.0,
        bands={"B04": Asset(href or f"{name}.tif", None)},
        quality=None,
        tile=name,
    )


class Listed:
    """An archive that lists some scenes, and finds them by their bounds."""

    def __init__(self, *scenes):
        self.scenes = scenes

    def search(self, sensor, start, end, outline):
        return [s for s in self.scenes if start <= s.day <= end and meets(s.bounds, outline)]


@pytest.fixture(scope="module")
def project_of(new_project, tmp_path_factory):
    """A project with some settings."""

    def make(folder=None, **changes):
        sensors = [{"name": "sentinel-2-l2a", "bands": ["B04"]}]
        folder = folder or tmp_path_factory.mktemp("areas")
        return load_project(new_project(folder, sensors=sensors, **changes))

    return make


def test_an_area_over_the_date_line_finds_scenes_on_both_sides(project_of):
    project = project_of(area=FIJI)
    west = _scene("60KWF", (176.9, -18.0, 178.0, -17.0))
    over = _scene("60KXF", (179.5, -18.0, -179.5, -17.0))
    east = _scene("01KAB", (-179.4, -18.0, -178.4, -17.0))
    far = _scene("32UPV", (11.0, 48.0, 12.0, 49.0))
    archive = Listed(west, over, east, far)
    (area,) = areas_of(project, archive)
    assert area.box.crs.epsg == 32760
    assert area.box.shape.x < 56_000
    assert scenes_of(project, archive, area) == [west, over, east]
    whole = replace(area, outline=None)
    assert scenes_of(project, archive, whole) == [west, over, east]


def test_nothing_found_over_the_date_line_says_where_the_area_is(project_of):
    project = project_of(area=FIJI)
    archive = Listed(
        _scene("a", (170.0, -50.0, 171.0, -49.0)), _scene("b", (-171.0, -50.0, -170.0, -49.0))
    )
    (area,) = areas_of(project, archive)
    with pytest.raises(ArchiveError) as caught:
        scenes_of(project, archive, area)
    assert "area (176.8000, -18.4000, -178.2000, -16.0000)" in str(caught.value)
    assert "the archive has 2 scenes from 2023-07-02 to 2023-07-02" in str(caught.value)


def test_an_area_over_two_zones_has_one_grid_that_of_its_middle(project_of):
    (area,) = areas_of(project_of(area=[11.7, 48.1, 12.2, 48.4]), Listed())
    assert area.box.crs.epsg == 32632


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Files of two tiles of neighbouring zones; sparse, without pixels."""
    folder = tmp_path_factory.mktemp("tiles")
    for name, box in TILES.items():
        profile = {
            "driver": "GTiff",
            "width": box.shape.x,
            "height": box.shape.y,
            "count": 1,
            "dtype": "uint16",
            "crs": str(box.crs),
            "transform": box.affine,
            "tiled": True,
            "SPARSE_OK": True,
        }
        with rasterio.open(folder / f"{name}.tif", "w", **profile):
            pass
    return folder


@pytest.mark.parametrize("like", ["B04", None])
def test_native_grids_of_a_catalog(project_of, tiles, like):
    """One area a zone, on the pixels of its tiles; a tile is opened once for all its dates."""
    project = project_of(
        area=[11.8, 48.1, 12.3, 48.4],
        archive=tiles,
        grid={"crs": "native", "like": like} if like else {"crs": "native"},
    )
    shown = {name: outline_of(box) for name, box in TILES.items()}
    listed = [_scene(name, bounds_of(outline)) for name, outline in shown.items()]
    later = [
        replace(each, id=f"{each.id}-later", bands={"B04": Asset("missing.tif", None)})
        for each in listed
    ]
    areas = areas_of(project, Listed(*listed, *later))
    assert [area.name for area in areas] == ["tiny-32N", "tiny-33N"]
    for area, tile in zip(areas, TILES.values(), strict=True):
        assert area.box.crs == tile.crs
        at = ~tile.affine * (area.box.affine.c, area.box.affine.f)
        np.testing.assert_allclose(at, np.round(at), atol=1e-6)
    both = shapely.union_all([area.outline for area in areas])
    assert both.area == pytest.approx(sum(area.outline.area for area in areas))
    assert both.symmetric_difference(shapely.box(11.8, 48.1, 12.3, 48.4)).area < 1e-9


def test_native_grids_need_scenes_and_their_band(project_of, tiles):
    project = project_of(area=[11.8, 48.1, 12.3, 48.4], grid={"crs": "native", "like": "B08"})
    with pytest.raises(ArchiveError, match="the archive has none of this sensor"):
        areas_of(project, Listed())
    tile = _scene("32UQV", bounds_of(outline_of(TILES["32UQV"])))
    with pytest.raises(DataError, match="32UQV has no band 'B08' to take the grid from"):
        areas_of(project, Listed(tile))
