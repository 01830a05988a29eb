"""What of a map lies inside the area's outline."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import shapely
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask
from shapely.affinity import affine_transform
from shapely.geometry.base import BaseGeometry

from earthloom.grid import project_outline
from earthloom.sample import Window


@dataclass(frozen=True)
class Clip:
    """An outline over a map's grid, small enough to be sent to a worker.

    Every question makes a geometry of its own: prepared ones must not be shared by threads.
    """

    wkb: bytes
    """The outline in pixels: x is columns, y is rows, from the grid's corner."""

    def meets(self, windows: Sequence[Window]) -> list[bool]:
        """Of each window, whether the outline has anything in common with it."""
        found = shapely.intersects(self._geometry(), [_rectangle(each) for each in windows])
        return [bool(each) for each in found]

    def outside(self, window: Window) -> NDArray[np.bool_]:
        """(H, W): True where a pixel of a window has its centre outside."""
        outline, rectangle = self._geometry(), _rectangle(window)
        if not shapely.intersects(outline, rectangle):
            return np.ones(window.shape, np.bool_)
        if shapely.contains_properly(outline, rectangle):
            return np.zeros(window.shape, np.bool_)
        place = Affine.translation(window.col, window.row)
        outside: NDArray[np.bool_] = geometry_mask([outline], tuple(window.shape), place)
        return outside

    def _geometry(self) -> BaseGeometry:
        outline: BaseGeometry = shapely.from_wkb(self.wkb)
        shapely.prepare(outline)
        return outline


def clip_of(outline: BaseGeometry | None, box: GeoBox) -> Clip | None:
    """The clip of an outline in EPSG:4326 over a grid; None where the whole grid is mapped."""
    if outline is None:
        return None
    projected = project_outline(outline, box)
    inverse = ~box.affine
    # shapely wants the terms of x and y first.
    terms = [inverse.a, inverse.b, inverse.d, inverse.e, inverse.c, inverse.f]
    return Clip(shapely.to_wkb(affine_transform(projected, terms)))


def _rectangle(window: Window) -> BaseGeometry:
    rows, cols = window.shape
    box: BaseGeometry = shapely.box(window.col, window.row, window.col + cols, window.row + rows)
    return box
