"""The Major TOM grid: named cells of about equal size over the whole Earth.

Francis and Czerkawski (2024), "Major TOM: Expandable Datasets for Earth Observation",
arXiv:2402.12095, section 3.1, with the definitions of the published grid: rows of equal height
in latitude from the equator, each cut from longitude 0 into equal columns not wider than the
distance. A cell is named after the grid point at its south-western corner: `433U_1014R` is 433 rows
up and 1014 columns right of (0, 0).
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from odc.geo.geobox import GeoBox
from odc.geo.geom import Geometry as OdcGeometry
from pyproj import CRS, Transformer
from shapely.geometry.base import BaseGeometry

from earthloom.errors import DataError
from earthloom.grid.area import Area
from earthloom.grid.dateline import on_earth, unwrapped
from earthloom.grid.reference import equator_y, utm_code

RADIUS_KM = 6378.137
"""Of the equator; the published grid takes the Earth as a sphere of this radius."""

MARGIN_M = 340.0
"""What a published sample shows beyond its cell, on each side: 10 000 m + 2 x 340 m are the
1068 pixels of 10 m."""

_NAME = re.compile(r"(\d+)([UD])_(\d+)([LR])")


@dataclass(frozen=True)
class Cell:
    """One cell; compares equal to the same cell of the same grid alone."""

    row: int
    """From the equator, negative to the south; row 0 lies north of it."""
    col: int
    """From longitude 0, negative to the west; column 0 lies east of it."""
    distance_km: float = 10.0
    """Of the grid's points."""

    @property
    def name(self) -> str:
        """Such as `433U_1014R`."""
        vertical, horizontal = "D" if self.row < 0 else "U", "L" if self.col < 0 else "R"
        return f"{abs(self.row)}{vertical}_{abs(self.col)}{horizontal}"

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """West, south, east, north in degrees; east is above 180 in a cell over the date line."""
        height, width = 180 / row_count(self.distance_km), 360 / _columns(self)
        north = min((self.row + 1) * height, 90.0)
        return self.col * width, self.row * height, (self.col + 1) * width, north

    @property
    def outline(self) -> BaseGeometry:
        """Its outline in EPSG:4326, cut at the date line."""
        return on_earth(shapely.box(*self.bounds))


def row_count(distance_km: float) -> int:
    """Rows from pole to pole."""
    if not 0 < distance_km <= 10_000:
        raise DataError(f"cells of {distance_km:g} km are no grid; valid: above 0 to 10000")
    return math.ceil(math.pi * RADIUS_KM / distance_km)


def parse_cell(name: str, distance_km: float = 10.0) -> Cell:
    """The cell of a name; DataError if the grid has none such."""
    match = _NAME.fullmatch(name)
    if match is None:
        raise DataError(f"'{name}' is not the name of a Major TOM cell, such as 433U_1014R")
    row, vertical, col, horizontal = match.groups()
    cell = Cell(
        -int(row) if vertical == "D" else int(row),
        -int(col) if horizontal == "L" else int(col),
        distance_km,
    )
    first_row, last_row = _row_range(distance_km)
    if not first_row <= cell.row <= last_row or cell.name != name:
        raise DataError(
            f"the Major TOM grid of {distance_km:g} km has no cell '{name}'; its rows are "
            f"{-first_row}D to {last_row}U"
        )
    first_col, last_col = _col_range(cell)
    if not first_col <= cell.col <= last_col:
        raise DataError(
            f"the Major TOM grid of {distance_km:g} km has no cell '{name}'; the columns of row "
            f"{row}{vertical} are {-first_col}L to {last_col}R"
        )
    return cell


def cell_at(longitude: float, latitude: float, distance_km: float = 10.0) -> Cell:
    """The cell that holds a point: its western and southern edge are its own.

    DataError for a point beyond the southernmost row, which a grid with an odd number of rows
    (not that of 10 km) leaves out.
    """
    rows = row_count(distance_km)
    first, last = _row_range(distance_km)
    row = min(_whole(latitude * rows / 180), last)
    if not -90 <= latitude <= 90 or row < first:
        raise DataError(
            f"no cell of the Major TOM grid of {distance_km:g} km holds latitude {latitude:g}"
        )
    columns = _columns(Cell(row, 0, distance_km))
    first_col, _ = _col_range(Cell(row, 0, distance_km))
    col = (_whole(longitude * columns / 360) - first_col) % columns + first_col
    return Cell(row, col, distance_km)


def cells_over(outline: BaseGeometry, distance_km: float = 10.0) -> Iterator[Cell]:
    """All cells that share ground with an outline (EPSG:4326), row by row, west to east."""
    whole = unwrapped(outline)
    shapely.prepare(whole)
    west, south, east, north = whole.bounds
    rows = row_count(distance_km)
    first, last = _row_range(distance_km)
    low, high = _whole(south * rows / 180), _whole(north * rows / 180)
    for row in range(max(low, first), min(high, last) + 1):
        columns = _columns(Cell(row, 0, distance_km))
        first_col, _ = _col_range(Cell(row, 0, distance_km))
        width = 360 / columns
        # One more on either side: a cell over the date line lies at both of its ends.
        ats = np.arange(_whole(west / width) - 1, _whole(east / width) + 2)
        ground = np.array([shapely.box(*Cell(row, int(at), distance_km).bounds) for at in ats])
        meets = shapely.contains_properly(whole, ground)
        meets[~meets] = shapely.area(shapely.intersection(whole, ground[~meets])) > 0
        for col in dict.fromkeys((ats[meets] - first_col) % columns + first_col):
            yield Cell(row, int(col), distance_km)


def published_corner(cell: Cell, code: int | None = None) -> tuple[float, float]:
    """Left and bottom edge of a published sample in its UTM zone: the grid point less the margin.

    The zone is that of the grid point, or that of EPSG `code`.
    """
    west, south, _, _ = cell.bounds
    to_zone = Transformer.from_crs(4326, code or cell_code(cell), always_xy=True)
    x, y = to_zone.transform((west + 180) % 360 - 180, south)
    return float(x) - MARGIN_M, float(y) - MARGIN_M


def cell_code(cell: Cell) -> int:
    """EPSG code of the UTM zone of a cell's grid point, or of UPS beyond 84 north and 80 south."""
    west, south, _, _ = cell.bounds
    if south >= 84:
        return 32661
    return 32761 if south < -80 else utm_code((west + 180) % 360 - 180, south)


def cell_box(cell: Cell, resolution: float = 10.0, multiple: int = 6) -> GeoBox:
    """The grid of a cell's sample: the cell and `MARGIN_M` on each side, 1068 pixels of 10 m.

    The published corner is moved by at most half of `multiple` pixels to the nearest multiple of
    them, counted from the equator, as the pixels of Sentinel-2 lie: at 10 m and 6 those of 10, 20
    and 60 m are whole. (The published files state the corner as it is, but hold whole pixels.)
    Beyond UTM, where cells lie turned against the grid, the box is the smallest that holds it.
    """
    code = cell_code(cell)
    crs, step = CRS.from_epsg(code), resolution * multiple
    side = cell.distance_km * 1000 + 2 * MARGIN_M
    if code in (32661, 32761):
        edges = shapely.segmentize(cell.outline, cell.bounds[3] - cell.bounds[1])
        projected = OdcGeometry(edges, "EPSG:4326").to_crs(crs).boundingbox
        left, bottom = projected.left - MARGIN_M, projected.bottom - MARGIN_M
        side = max(projected.span_x, projected.span_y) + 2 * MARGIN_M
    else:
        left, bottom = published_corner(cell)
    count = math.ceil(side / step - 1e-9) * multiple
    left = round(left / step) * step
    bottom = round((bottom - equator_y(crs)) / step) * step + equator_y(crs)
    top = bottom + count * resolution
    return GeoBox((count, count), Affine(resolution, 0, left, 0, -resolution, top), crs)


def cell_areas(
    names: tuple[str, ...], distance_km: float, resolution: float, multiple: int
) -> list[Area]:
    """Areas of cells by their names: each the grid of its sample and the outline of its cell."""
    cells = [parse_cell(name, distance_km) for name in names]
    return [Area(cell.name, cell_box(cell, resolution, multiple), cell.outline) for cell in cells]


def _columns(cell: Cell) -> int:
    """How many columns the cell's row has, by the circle of latitude at its southern edge."""
    latitude = math.radians(cell.row * 180 / row_count(cell.distance_km))
    circle = 2 * math.pi * RADIUS_KM * math.cos(latitude)
    return max(1, math.ceil(circle / cell.distance_km))


def _row_range(distance_km: float) -> tuple[int, int]:
    rows = row_count(distance_km)
    return -(rows // 2), rows - 1 - rows // 2


def _col_range(cell: Cell) -> tuple[int, int]:
    columns = _columns(cell)
    return -(columns // 2), columns - 1 - columns // 2


def _whole(position: float) -> int:
    """The whole number at or below; one that is a hair below the next, by rounding, is that."""
    return math.floor(position + 1e-9)
