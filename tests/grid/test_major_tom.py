"""The Major TOM grid, against its published definition and published samples."""

import math

import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.errors import DataError
from earthloom.grid import (
    Cell,
    cell_areas,
    cell_at,
    cell_box,
    cells_over,
    parse_cell,
    project_outline,
    read_outline,
)
from earthloom.grid.major_tom import cell_code, published_corner, row_count

PUBLISHED = [
    ("110D_457L", 32724, 207801.0219440222, 8917004.962866273),
    ("300D_568L", 32721, 476907.1122533999, 7029853.168880641),
    ("172U_184L", 32628, 269252.0378535185, 1719490.1383172674),
    ("434U_45R", 32631, 690130.9275181113, 4327423.043138187),
    ("873D_230L", 32713, 547696.877102393, 1304979.2471263688),
    ("589U_1152L", 32602, 465112.7834967471, 5872076.23962727),
    ("639U_641R", 32648, 609839.9859284968, 6373205.358828475),
]
"""Names, EPSG codes and upper left corners of samples in Major-TOM/Core-S2L2A: 1068 x 1068 pixels
of 10 m."""

lons, lats = st.floats(-180, 180), st.floats(-90, 90)
distances = st.sampled_from([5.0, 10.0, 100.0, 320.0])


@pytest.mark.parametrize(("name", "code", "left", "top"), PUBLISHED)
def test_cells_are_those_of_published_samples(name, code, left, top):
    cell = parse_cell(name)
    assert cell_code(cell) == code
    corner = published_corner(cell)
    assert corner == pytest.approx((left, top - 10_680), abs=1e-5)
    box = cell_box(cell, 10, 1)
    assert (tuple(box.shape), box.affine.a, box.crs.epsg) == ((1068, 1068), 10, code)
    assert abs(box.affine.c - left) <= 5
    assert abs(box.affine.f - top) <= 5


@pytest.mark.parametrize(
    ("lon", "lat", "distance", "name"),
    [
        (-111.6556, 40.5829, 10, "451U_946L"),
        (-111.6556, 40.5829, 1, "4517U_9441L"),
        (5.258087967253711, 39.02595582369038, 10, "434U_45R"),
        (-41.61526669033936, -9.835420887576138, 10, "110D_457L"),
        (0, 0, 10, "0U_0R"),
        (-1e-6, -1e-6, 10, "1D_1L"),
    ],
)
def test_known_names(lon, lat, distance, name):
    assert cell_at(lon, lat, distance).name == name


def test_the_grid_of_10_km_has_2004_rows():
    assert row_count(10) == 2004
    assert parse_cell("451U_946L").bounds == pytest.approx(
        (-111.768953, 40.508982, -111.768953 + 0.118149, 40.508982 + 0.089820), abs=1e-6
    )


@settings(deadline=None, max_examples=200)
@given(lons, lats, distances)
def test_every_point_lies_in_the_one_cell_that_is_its_own(lon, lat, distance):
    rows = row_count(distance)
    if rows % 2 and lat < -(rows // 2) * 180 / rows:
        with pytest.raises(DataError, match="no cell of the Major TOM grid"):
            cell_at(lon, lat, distance)
        return
    cell = cell_at(lon, lat, distance)
    west, south, east, north = cell.bounds
    assert south - 1e-9 <= lat <= north + 1e-9
    assert any(west - 1e-6 <= lon + turn <= east + 1e-6 for turn in (-360, 0, 360))
    assert parse_cell(cell.name, distance) == cell


@settings(deadline=None, max_examples=60)
@given(lons, st.floats(-85, 85), distances)
def test_neighbours_share_edges(lon, lat, distance):
    """Columns go once round the Earth, rows from one to the next."""
    rows = row_count(distance)
    if rows % 2 and lat < -(rows // 2) * 180 / rows:
        return
    cell = cell_at(lon, lat, distance)
    west, south, east, north = cell.bounds
    middle = (south + north) / 2
    beside = cell_at((east + 1e-4 + 180) % 360 - 180, middle, distance)
    assert beside.row == cell.row
    assert (beside.bounds[0] - east) % 360 == pytest.approx(0, abs=1e-9) or (
        (east - beside.bounds[0]) % 360 == pytest.approx(0, abs=1e-9)
    )
    if north < 89:
        above = cell_at((west + east) / 2, north + 1e-6, distance)
        assert above.row == cell.row + 1
        assert above.bounds[1] == pytest.approx(north, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(
    st.integers(-179, 179),
    st.integers(-80, 79),
    st.floats(0.3, 2),
    st.sampled_from([50.0, 100.0]),
)
def test_cells_over_an_outline_cover_it_once(west, south, size, distance):
    east = west + size
    outline = read_outline((west, south, east - 360 if east > 180 else east, south + size))
    cells = list(cells_over(outline, distance))
    assert len(set(cells)) == len(cells)
    pieces = [cell.outline for cell in cells]
    assert outline.difference(shapely.union_all(pieces)).area < 1e-9
    shared = sum(piece.intersection(outline).area for piece in pieces)
    assert shared == pytest.approx(outline.area, rel=1e-6)
    assert all(piece.intersection(outline).area > 0 for piece in pieces)
    assert cell_at(west + 0.1, south + 0.1, distance) in cells


@settings(deadline=None, max_examples=40)
@given(lons, st.floats(-89.9, 89.9), st.sampled_from([(10.0, 6), (20.0, 3), (60.0, 1)]))
def test_the_grid_of_a_sample_holds_its_cell_on_the_pixels_of_the_tiles(lon, lat, pixels):
    resolution, multiple = pixels
    cell = cell_at(lon, lat)
    box = cell_box(cell, resolution, multiple)
    equator = 40 if 32700 < box.crs.epsg < 32761 else 0
    left, bottom, right, top = box.boundingbox.bbox
    assert {edge % 60 for edge in (left, right)} == {0}
    assert {edge % 60 for edge in (bottom, top)} == {equator}
    assert box.affine.a == resolution
    if -80 <= cell.bounds[1] < 84:
        assert tuple(box.shape) == (10_680 / resolution, 10_680 / resolution)
    inside = shapely.box(left, bottom, right, top)
    ground = project_outline(cell.outline, box)
    assert inside.intersection(ground).area > 0.85 * ground.area


def test_cells_near_a_pole_and_at_the_date_line():
    assert cell_box(cell_at(10, -89.99)).crs.epsg == 32761
    assert cell_box(cell_at(10, 89.99)).crs.epsg == 32661
    last = cell_at(179.999, -17.5)
    assert cell_at(-179.999, -17.5).bounds[0] >= -180.2
    assert last.outline.bounds[0] >= -180
    assert last.outline.bounds[2] <= 180


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("433U", "is not the name of a Major TOM cell"),
        ("0D_5R", "has no cell '0D_5R'"),
        ("05U_5R", "has no cell '05U_5R'"),
        ("1002U_0R", "its rows are 1002D to 1001U"),
        ("451U_1524L", "the columns of row 451U are 1523L to 1523R"),
    ],
)
def test_names_of_no_cell(name, said):
    with pytest.raises(DataError, match=said):
        parse_cell(name)


def test_grids_of_no_distance():
    with pytest.raises(DataError, match="cells of 0 km are no grid"):
        cell_at(0, 0, 0)


def test_areas_of_cells():
    areas = cell_areas(("434U_45R", "434U_46R"), 10, 10, 6)
    assert [area.name for area in areas] == ["434U_45R", "434U_46R"]
    one, other = (area.outline for area in areas)
    assert one.touches(other)
    assert all(tuple(area.box.shape) == (1068, 1068) for area in areas)
    assert areas[0].outline.equals(Cell(434, 45).outline)
    assert math.isclose(areas[0].outline.bounds[2], areas[1].outline.bounds[0], abs_tol=1e-9)
