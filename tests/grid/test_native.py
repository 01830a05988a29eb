"""Grids of an archive's own files."""

import itertools

import pytest
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox

from earthloom.errors import DataError
from earthloom.grid import native_grids, outline_of, project_outline, read_outline


def _tile(code, left, top, pixel=10, side=109_800):
    count = side // pixel
    return GeoBox((count, count), Affine(pixel, 0, left, 0, -pixel, top), f"EPSG:{code}")


WEST = _tile(32632, 699_960, 5_400_000)
"""Reaches over 12 degrees east, as tiles at the edge of a zone do."""
EAST = _tile(32633, 199_980, 5_400_000)
OVER = read_outline((11.8, 48.1, 12.3, 48.4))


def _offsets(box):
    return box.affine.c % box.affine.a, box.affine.f % box.affine.a


@pytest.mark.parametrize("files", list(itertools.permutations([WEST, EAST])))
def test_an_area_over_two_zones_is_cut_between_them(files):
    areas = native_grids("inn", files, OVER, multiple=6)
    assert [area.name for area in areas] == ["inn-32N", "inn-33N"]
    assert [area.box.crs.epsg for area in areas] == [32632, 32633]
    one, other = (area.outline for area in areas)
    assert one.intersection(other).area < 1e-12
    assert one.union(other).symmetric_difference(OVER).area < 1e-9
    assert one.bounds[2] == other.bounds[0] == 12
    for area in areas:
        assert area.box.affine.a == 10
        assert all(side % 6 == 0 for side in area.box.shape)
        inside = shapely.box(*area.box.boundingbox.bbox).buffer(0.1)
        assert inside.contains(project_outline(area.outline, area.box))


def test_ground_that_only_the_other_zone_shows_goes_to_it():
    (area,) = native_grids("inn", [WEST], OVER)
    shown = OVER.intersection(outline_of(WEST))
    assert shown.bounds[2] > 12.2
    assert area.outline.symmetric_difference(shown).area < 1e-9


def test_pixels_are_those_of_the_files():
    """Landsat counts the middles of its pixels in multiples of 30 m."""
    files = [_tile(32632, 699_945, 5_400_015, 30), _tile(32632, 699_945 - 90_000, 5_400_015, 30)]
    (area,) = native_grids("inn", files, OVER, multiple=2)
    assert area.box.affine.a == 30
    assert _offsets(area.box) == _offsets(files[0]) == (15, 15)


def test_pixels_of_southern_tiles():
    tile = _tile(32732, 699_960, 7_900_000)
    outline = outline_of(tile).buffer(-0.3)
    (area,) = native_grids("south", [tile], outline, multiple=6)
    assert area.name == "south-32S"
    assert {edge % 60 for edge in area.box.boundingbox.bbox[::2]} == {0}
    assert {edge % 60 for edge in area.box.boundingbox.bbox[1::2]} == {40}


def test_both_halves_of_a_zone_share_no_ground():
    north, south = _tile(32632, 600_000, 100_000), _tile(32732, 600_000, 10_009_800)
    outline = read_outline((10.0, -0.05, 10.3, 0.05))
    areas = native_grids("equator", [north, south], outline)
    assert sum(area.outline.area for area in areas) == pytest.approx(
        shapely.union_all([area.outline for area in areas]).area
    )


def test_other_crs_are_named_by_their_code_or_name():
    sinusoidal = GeoBox(
        (2400, 2400), Affine(463.3127, 0, 0, 0, -463.3127, 5_559_752.6), "ESRI:54008"
    )
    outline = read_outline((3, 43, 4, 44))
    (area,) = native_grids("modis", [sinusoidal], outline)
    assert area.name == "modis-world-sinusoidal"
    assert area.box.affine.a == pytest.approx(463.3127)
    (european,) = native_grids(
        "eu", [_tile(3035, 4_300_000, 2_800_000)], read_outline((10.2, 48.0, 10.4, 48.1))
    )
    assert european.name == "eu-3035"


def test_files_without_a_grid_in_common_or_elsewhere():
    with pytest.raises(DataError, match="the files have no grid in common: pixels of 10 from"):
        native_grids("inn", [WEST, _tile(32632, 699_965, 5_400_000)], OVER)
    with pytest.raises(DataError, match="have no grid in common"):
        native_grids("inn", [WEST, _tile(32632, 699_960, 5_400_000, 20)], OVER)
    with pytest.raises(DataError, match="none of 1 files shows any of the area far"):
        native_grids("far", [WEST], read_outline((100, 0, 101, 1)))
