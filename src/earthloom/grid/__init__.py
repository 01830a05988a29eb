"""Places on Earth: the area that is mapped, its grid, and windows that cover it."""

from earthloom.grid.area import Area, read_outline
from earthloom.grid.boxes import (
    base_grid,
    coarser,
    crs_wkt,
    place_of,
    project_outline,
    window_box,
)
from earthloom.grid.windows import cover

__all__ = [
    "Area",
    "base_grid",
    "coarser",
    "cover",
    "crs_wkt",
    "place_of",
    "project_outline",
    "read_outline",
    "window_box",
]
