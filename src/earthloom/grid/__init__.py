"""Places on Earth: the area that is mapped, its grid, and windows that cover it."""

from earthloom.grid.area import Area, read_outline
from earthloom.grid.boxes import (
    base_grid,
    coarser,
    crs_wkt,
    outline_of,
    place_of,
    project_outline,
    window_box,
)
from earthloom.grid.dateline import (
    bounds_of,
    meets,
    middle_of,
    on_earth,
    outline_of_bounds,
    unrolled,
)
from earthloom.grid.fractions import fraction_of, mask_of
from earthloom.grid.major_tom import Cell, cell_areas, cell_at, cell_box, cells_over, parse_cell
from earthloom.grid.native import native_grids
from earthloom.grid.nesting import nested_factor
from earthloom.grid.reference import ChosenCrs, choose_crs, grid_gsd, gsd_metres
from earthloom.grid.windows import PointWindows, cover, window_around, windows_of_points
from earthloom.grid.zonal import Statistics, parcel_statistics, weighted_statistics

__all__ = [
    "Area",
    "Cell",
    "ChosenCrs",
    "PointWindows",
    "Statistics",
    "base_grid",
    "bounds_of",
    "cell_areas",
    "cell_at",
    "cell_box",
    "cells_over",
    "choose_crs",
    "coarser",
    "cover",
    "crs_wkt",
    "fraction_of",
    "grid_gsd",
    "gsd_metres",
    "mask_of",
    "meets",
    "middle_of",
    "native_grids",
    "nested_factor",
    "on_earth",
    "outline_of",
    "outline_of_bounds",
    "parcel_statistics",
    "parse_cell",
    "place_of",
    "project_outline",
    "read_outline",
    "unrolled",
    "weighted_statistics",
    "window_around",
    "window_box",
    "windows_of_points",
]
