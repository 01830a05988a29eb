"""Labels of single things on a grid: boxes around them, or parcels with a number each."""

from collections.abc import Sequence
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize

from earthloom.chips.label_dates import EVER, Period
from earthloom.chips.label_vector import VectorLabels
from earthloom.chips.label_vocabulary import IGNORE


@dataclass(frozen=True)
class Boxes:
    """Upright boxes on one image."""

    bounds: NDArray[np.float32]
    """(N, 4) left, top, right, bottom in pixels from the image's upper left corner: edges, not
    centres, so that the whole image of W x H pixels is 0, 0, W, H."""
    codes: NDArray[np.uint8]
    """(N,) class codes."""


@dataclass(frozen=True)
class Parcels:
    """Things that cover pixels, such as fields."""

    ids: NDArray[np.int32]
    """(H, W) number of the parcel from 1 on, 0 where there is none or where two overlap."""
    codes: NDArray[np.uint8]
    """(K,) class of the parcels 1 to K."""
    features: NDArray[np.int64]
    """(K,) their positions in the label file from 1."""


def boxes_of(labels: VectorLabels, box: GeoBox, least_share: float = 0.0) -> Boxes:
    """The boxes around the polygons and lines of a grid, cut at its edges.

    Things of which less than `least_share` of the area (or length) lies in the grid are left out.
    """
    near = _near(labels, box)
    shapes, codes = near.geometry.to_numpy(), near["code"].to_numpy(np.uint8)
    cut = shapely.intersection(shapes, shapely.box(*box.boundingbox.bbox))
    size, whole = shapely.area(cut), shapely.area(shapes)
    line = whole == 0
    size[line], whole[line] = shapely.length(cut[line]), shapely.length(shapes[line])
    kept = (size > 0) & (size >= least_share * whole) & (codes != IGNORE)
    bounds = np.array([_pixel_bounds(shape, box) for shape in cut[kept]], np.float32)
    return Boxes(bounds.reshape(-1, 4), codes[kept])


def parcels_of(labels: VectorLabels, box: GeoBox) -> Parcels:
    """The polygons of a grid, numbered in the order of the label file; a pixel belongs to the one
    that holds its centre."""
    near = _near(labels, box)
    shapes = near[near.geometry.type.isin(["Polygon", "MultiPolygon"]) & (near["code"] != IGNORE)]
    size = (box.shape.y, box.shape.x)
    pairs = [(shape, number) for number, shape in enumerate(shapes.geometry, start=1)]
    burned = [_burn(order, box, size) for order in (pairs, pairs[::-1])]
    # First and last are the same where there is one alone.
    ids = np.where(burned[0] == burned[1], burned[0], 0)
    seen, ids = np.unique(np.append(0, ids.ravel()), return_inverse=True)
    chosen = shapes.iloc[seen[1:] - 1]
    return Parcels(
        ids[1:].reshape(size).astype(np.int32),
        chosen["code"].to_numpy(np.uint8),
        chosen["feature"].to_numpy(np.int64),
    )


def _near(labels: VectorLabels, box: GeoBox) -> gpd.GeoDataFrame:
    """Lines and polygons that meet a grid, in its CRS and in the order of the file."""
    here = labels.to(box).shapes
    near = here.iloc[np.sort(here.sindex.query(shapely.box(*box.boundingbox.bbox)))]
    period = labels.period or Period(*EVER)
    return near.loc[(near["first"] <= period.last) & (near["last"] >= period.first)]


def _pixel_bounds(shape: shapely.Geometry, box: GeoBox) -> tuple[float, float, float, float]:
    inverse, (left, bottom, right, top) = ~box.affine, shapely.bounds(shape)
    corners = [inverse @ (x, y) for x in (left, right) for y in (bottom, top)]
    cols, rows = zip(*corners, strict=True)
    return min(cols), min(rows), max(cols), max(rows)


def _burn(
    pairs: Sequence[tuple[shapely.Geometry, int]], box: GeoBox, size: tuple[int, int]
) -> NDArray[np.int32]:
    if not pairs:
        return np.zeros(size, np.int32)
    burned: NDArray[np.int32] = rasterize(
        pairs, out_shape=size, transform=box.affine, fill=0, dtype="int32"
    )
    return burned
