"""Where pixels are: a grid on the Earth, and windows of it, in plain numbers."""

import math
from dataclasses import dataclass
from typing import NamedTuple

from earthloom.errors import ContractError


class Shape2d(NamedTuple):
    """Rows and columns of a grid of pixels."""

    rows: int
    cols: int


@dataclass(frozen=True)
class Window:
    """A rectangle of pixels in a grid; it may reach over the grid's edges."""

    row: int
    col: int
    shape: Shape2d

    def coarser(self, factor: int) -> "Window":
        """The same rectangle in a grid whose pixels are `factor` times as wide.

        The window must start and end on pixels of the coarser grid, else ContractError.
        """
        edges = (self.row, self.col, *self.shape)
        if any(edge % factor for edge in edges):
            raise ContractError(
                f"the window {edges} (row, column, rows, columns) does not lie on pixels that are "
                f"{factor} times as wide; every figure must be a multiple of {factor}"
            )
        shape = Shape2d(self.shape.rows // factor, self.shape.cols // factor)
        return Window(self.row // factor, self.col // factor, shape)


@dataclass(frozen=True)
class Place:
    """A grid on the Earth.

    `transform` holds the six numbers a, b, c, d, e, f of the affine that takes (column, row) to
    (x, y) in the units of `crs`, in the order of the `affine` package.
    """

    crs: str
    """An authority code such as `EPSG:32633`, or WKT."""
    transform: tuple[float, float, float, float, float, float]
    shape: Shape2d

    def window(self, window: Window) -> "Place":
        """The place of a window of this one."""
        a, b, c, d, e, f = self.transform
        x = a * window.col + b * window.row + c
        y = d * window.col + e * window.row + f
        return Place(self.crs, (a, b, x, d, e, y), window.shape)


def block_of(lon: float, lat: float, degrees: float) -> str:
    """Name of the square of `degrees` that a point lies in, by its south-western corner."""
    # Rounded first, so that 0.3 / 0.1 does not fall below 3.
    column, row = (math.floor(round(angle / degrees, 9)) for angle in (lon, lat))
    return f"{column * degrees:.6g},{row * degrees:.6g}"
