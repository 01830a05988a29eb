"""Labels with a geometry: points as arrays, lines and polygons as shapes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

from earthloom.chips.label_attributes import Attributes, Judge, Meaning, read_attributes
from earthloom.chips.label_burn import Burned, burn_shapes, nothing
from earthloom.chips.label_dates import Period
from earthloom.chips.label_points import PointLabels, crs_of, transform
from earthloom.chips.label_report import LabelReport
from earthloom.chips.label_vocabulary import IGNORE
from earthloom.errors import LabelError
from earthloom.grid import crs_wkt
from earthloom.project import Labels as LabelSettings
from earthloom.sample import UNLABELLED


@dataclass(frozen=True)
class VectorLabels:
    """Features with a class each."""

    points: PointLabels
    shapes: gpd.GeoDataFrame
    """Lines and polygons: columns `geometry`, `code`, `weight`, `first`, `last`, as in
    `Attributes`, and `feature`, the position in the file from 1."""
    buffer_m: float = 0.0
    """Metres around points and lines."""
    background: int = UNLABELLED
    """The class of pixels of which nothing is said."""
    report: LabelReport = field(default_factory=LabelReport)
    period: Period | None = None
    """Labels that are true at no time of it do not count; None: all count."""

    @staticmethod
    def of_points(
        points: PointLabels, report: LabelReport, buffer_m: float = 0.0, background: int = 0
    ) -> "VectorLabels":
        """Labels that are points alone."""
        none: dict[str, NDArray[np.generic]] = {"feature": np.zeros(0, np.int64)}
        columns = none | _columns(Attributes.join([]))
        shapes = gpd.GeoDataFrame(columns, geometry=[], crs=points.crs)
        return VectorLabels(points, shapes, buffer_m, background, report)

    @staticmethod
    def joined(parts: "Sequence[VectorLabels]") -> "VectorLabels":
        """The features of several layers of one project, in the CRS of the first."""
        first = parts[0]
        if len(parts) == 1:
            return first
        crs = first.points.crs
        shapes = [part.shapes.to_crs(crs) for part in parts if len(part.shapes)]
        together = pd.concat(shapes, ignore_index=True) if shapes else first.shapes
        moved = [
            (*transform(p.points.x, p.points.y, p.points.crs, crs), p.points.attributes)
            for p in parts
        ]
        points = PointLabels.sorted(
            np.concatenate([x for x, _, _ in moved]),
            np.concatenate([y for _, y, _ in moved]),
            crs,
            Attributes.join([attributes for _, _, attributes in moved]),
        )
        report = sum((part.report for part in parts), LabelReport())
        return replace(first, points=points, shapes=gpd.GeoDataFrame(together), report=report)

    @cached_property
    def table(self) -> gpd.GeoDataFrame:
        """All features, columns `geometry` and `code`, in the CRS of the shapes or the points."""
        points, shapes = self.points.table(), self.shapes[["code", "geometry"]]
        if not len(points) or not len(shapes):
            return points if len(points) else shapes
        both = [points.to_crs(shapes.crs), shapes]
        return gpd.GeoDataFrame(pd.concat(both, ignore_index=True), crs=shapes.crs)

    def to(self, box: GeoBox) -> "VectorLabels":
        """The same labels in the CRS of a grid."""
        shapes = self.shapes
        if len(shapes) and shapes.crs != crs_of(box):
            shapes = shapes.to_crs(crs_wkt(box))
        return replace(self, points=self.points.to(box), shapes=shapes)

    def during(self, period: Period | None) -> "VectorLabels":
        """Those that are true on a day of a period; None is all times."""
        return replace(self, period=period)

    def onto(self, box: GeoBox) -> NDArray[np.uint8]:
        """Class codes (H, W): of what is labelled and may be used, else `UNLABELLED`.

        A point labels its pixel, a line the pixels that it touches, a polygon those whose centre
        it holds; points and lines with a buffer are polygons. A pixel that two features call
        differently is not labelled.
        """
        code = self.burn(box).code
        return np.where(code == IGNORE, UNLABELLED, code).astype(np.uint8)

    def burn(self, box: GeoBox) -> Burned:
        """The same with weights, and with `IGNORE` told from `UNLABELLED`."""
        here, buffer = self.to(box), self.buffer_on(box)
        found = here.points.burn(box, self.period, buffer)
        shapes = nothing((box.shape.y, box.shape.x))
        for group, some, touched in here.shapes_near(box):
            shapes = shapes.merged(burn_shapes(group, some.classes, some.weight, box, touched))
        return found.merged(shapes).with_background(self.background)

    def buffer_on(self, box: GeoBox) -> float:
        """The buffer in the unit of a grid's CRS."""
        return self.buffer_m / _metres(box) if self.buffer_m else 0.0

    def shapes_near(self, box: GeoBox) -> Iterator[tuple[list[BaseGeometry], Attributes, bool]]:
        """Lines and then polygons about a grid, in whose CRS they must be, with what they say, and
        whether they label all pixels that they touch."""
        buffer = self.buffer_on(box)
        bounds = shapely.box(*box.boundingbox.bbox).buffer(buffer)
        near = self.shapes.iloc[np.sort(self.shapes.sindex.query(bounds))]
        attributes = _attributes_in(near)
        meets = attributes.meets(self.period)
        near, attributes = near[meets], attributes.take(meets)
        lines = near.geometry.type.isin(["LineString", "MultiLineString"]).to_numpy()
        shapes = near.geometry.to_numpy()
        if buffer:
            shapes = np.where(lines, shapely.buffer(shapes, buffer), shapes)
            lines = np.zeros(len(lines), np.bool_)
        for group, touched in ((lines, True), (~lines, False)):
            if group.any():
                yield list(shapes[group]), attributes.take(group), touched


def features_of(
    layer: gpd.GeoDataFrame,
    path: Path,
    settings: LabelSettings,
    meaning: Meaning,
    base: GeoBox | None,
) -> VectorLabels:
    """A table of features as labels; LabelError says what is wrong with one, see `Judge`.

    Features outside the grid `base` are counted, but stay, as a message may have to tell where
    they lie.
    """
    if layer.crs is None:
        raise LabelError(
            f"the labels {path} have no CRS; save them with one, such as EPSG:4326, or name it "
            "under 'labels' as 'crs'"
        )
    judge = Judge(len(layer), path, settings)
    attributes = read_attributes(layer, path, settings, meaning, judge)
    bounds = layer.geometry.bounds.to_numpy()
    empty = layer.geometry.isna() | layer.geometry.is_empty | ~np.isfinite(bounds).all(axis=1)
    words = f"has no geometry, or NaN in it; {int(empty.sum())} of {len(layer)} features are so"
    judge.broken(empty.to_numpy(), "geometry", words)
    kept = judge.kept
    shapes, repaired = _valid(layer.geometry.to_numpy()[kept])
    whole = gpd.GeoDataFrame(
        {"feature": np.flatnonzero(kept) + 1, **_columns(attributes.take(kept))},
        geometry=shapes,
        crs=layer.crs,
    )
    collapsed = np.zeros(len(layer), np.bool_)
    collapsed[np.flatnonzero(kept)[shapely.is_empty(shapes)]] = True
    judge.broken(collapsed, "geometry", "has a geometry without any area or length")
    whole = whole[~whole.geometry.is_empty]
    if base is not None:
        _count_outside(judge, whole, base, settings.buffer_m)
    report = replace(judge.report(), repaired=repaired)
    return _parted(whole, settings, meaning, report)


def _parted(
    whole: gpd.GeoDataFrame, settings: LabelSettings, meaning: Meaning, report: LabelReport
) -> VectorLabels:
    """Collections taken apart, and points told from lines and polygons."""
    mixed = whole.geometry.type.isin(["MultiPoint", "GeometryCollection"])
    if mixed.any():
        whole = whole.explode(ignore_index=True)
        # A collection may hold collections.
        whole = whole.explode(ignore_index=True)
        whole = whole[~whole.geometry.is_empty]
    is_point = (whole.geometry.type == "Point").to_numpy()
    at = whole[is_point]
    points = PointLabels.sorted(
        at.geometry.x.to_numpy(), at.geometry.y.to_numpy(), CRS(whole.crs), _attributes_in(at)
    )
    return VectorLabels(
        points,
        whole[~is_point].reset_index(drop=True),
        settings.buffer_m,
        meaning.fallback,
        report,
    )


def _valid(shapes: NDArray[np.object_]) -> tuple[NDArray[np.object_], int]:
    """Two-dimensional, valid geometries, and how many of them had to be made so."""
    flat = shapely.force_2d(shapes)
    wrong = ~shapely.is_valid(flat)
    # Rings that cross themselves become the areas that they hold, and spikes vanish.
    flat[wrong] = shapely.make_valid(flat[wrong], method="structure", keep_collapsed=False)
    return flat, int(wrong.sum())


def _count_outside(judge: Judge, whole: gpd.GeoDataFrame, base: GeoBox, buffer_m: float) -> None:
    there = whole.geometry.to_crs(crs_wkt(base)).bounds.to_numpy()
    left, bottom, right, top = base.boundingbox.bbox
    reach = buffer_m / _metres(base) if buffer_m else 0.0
    inside = (
        (there[:, 0] <= right + reach)
        & (there[:, 2] >= left - reach)
        & (there[:, 1] <= top + reach)
        & (there[:, 3] >= bottom - reach)
    )
    outside = np.zeros(len(judge.reasons), np.bool_)
    outside[whole["feature"].to_numpy()[~inside] - 1] = True
    judge.skip(outside, "outside")


def _columns(attributes: Attributes) -> dict[str, NDArray[np.generic]]:
    return {
        "code": attributes.code,
        "weight": attributes.weight,
        "first": attributes.first,
        "last": attributes.last,
    }


def _attributes_in(table: gpd.GeoDataFrame) -> Attributes:
    return Attributes(
        table["code"].to_numpy(),
        table["weight"].to_numpy(np.float32),
        table["first"].to_numpy(np.int32),
        table["last"].to_numpy(np.int32),
    )


def _metres(box: GeoBox) -> float:
    """How many metres a unit of the grid's CRS is; LabelError for degrees."""
    crs = crs_of(box)
    if crs.is_geographic:
        raise LabelError(
            "'labels.buffer_m' needs a grid in metres, but the grid's CRS is in degrees; "
            "set 'grid.crs' to 'auto' or to a projected CRS"
        )
    return float(crs.axis_info[0].unit_conversion_factor)
