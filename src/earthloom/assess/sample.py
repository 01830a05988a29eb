"""A stratified probability sample of a map, apart from what the model was fitted on."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pyogrio
import rasterio
import shapely
from numpy.typing import NDArray
from rasterio.features import geometry_mask
from rasterio.io import DatasetReader

from earthloom.assess.strips import strips_of
from earthloom.errors import DataError, LabelError


@dataclass(frozen=True)
class SampleDesign:
    """How many points, and where they may lie."""

    points: int
    min_per_class: int
    apart_m: float
    seed: int


@dataclass(frozen=True)
class Sample:
    """Points drawn from a map, whose strata are the map's classes."""

    points: gpd.GeoDataFrame
    """`geometry` (pixel centres, in the map's CRS), `map_code`, `row`, `col`."""
    stratum_pixels: dict[int, int]
    """All mapped pixels of each class: the strata's sizes."""
    eligible_pixels: dict[int, int]
    """Those of them that lie apart from the training labels, of which points were drawn."""
    pixel_area_ha: float


Strata = Callable[[NDArray[np.generic]], NDArray[np.uint8]]
"""From pixels of a map's first band (rows, W) to the code of each one's stratum, 0 for none."""


def as_they_are(codes: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Classes are strata."""
    return np.asarray(codes, np.uint8)


def where_known(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """One stratum, 1, of all numbers that are not NaN."""
    return np.asarray(~np.isnan(values), np.uint8)


def draw_sample(
    map_path: Path,
    codes: tuple[int, ...],
    training: gpd.GeoDataFrame | None,
    design: SampleDesign,
    strata: Strata = as_they_are,
) -> Sample:
    """Draws points at random within each mapped class, without replacement.

    Points are dealt to classes in proportion to their area, none below `min_per_class` (Olofsson
    et al. 2014). What lies within `apart_m` of a training label is not drawn; as it is left out
    whatever the map says there, it is taken to be like the rest of its stratum. The map is read in
    strips, twice: once to count, once to pick.
    """
    with rasterio.open(map_path) as source:
        hectares = _pixel_area_ha(source, map_path)
        keep_out = _keep_out(training, source, design.apart_m)
        stratum, eligible = np.zeros(256, np.int64), np.zeros(256, np.int64)
        for _, classes, free in _strips(source, keep_out, strata):
            stratum += np.bincount(classes.ravel(), minlength=256)
            eligible += np.bincount(classes[free], minlength=256)
        present = [code for code in codes if eligible[code] > 0]
        if not present:
            raise LabelError(
                f"no pixel of the map {map_path} lies at least {design.apart_m:g} m from a "
                "training label, so none can be drawn; lower assess.apart_m"
            )
        wanted = _allocate({code: int(eligible[code]) for code in present}, design)
        ranks = _ranks(wanted, eligible, design.seed)
        points = _pick(source, keep_out, ranks, strata)
    return Sample(
        points,
        {code: int(stratum[code]) for code in codes if stratum[code]},
        {code: int(eligible[code]) for code in present},
        hectares,
    )


def write_points(path: Path, points: gpd.GeoDataFrame) -> None:
    """Writes a sample's points as a GeoPackage; the same points give the same bytes."""
    # GeoPackage and GDAL would write the time of day into the file.
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "1970-01-01T00:00:00.000Z"})
    points.to_file(path, layer="sample", driver="GPKG")


def rows_at(path: Path, filled: gpd.GeoDataFrame, points: gpd.GeoDataFrame) -> NDArray[np.intp]:
    """(n,) which row of a sample that an interpreter has filled in, the file `path`, is each of the
    sample's points: found again by its place, to the centimetre; LabelError if one is not there."""
    there = filled.to_crs(points.crs).geometry
    known = {place: row for row, place in enumerate(_places(there))}
    wanted = _places(points.geometry)
    missing = [place for place in wanted if place not in known]
    if missing:
        raise LabelError(
            f"the reference {path} lacks {len(missing)} of {len(wanted)} sample points; it was "
            "made for another map or another design: fill in the new sample.gpkg"
        )
    return np.array([known[place] for place in wanted], np.intp)


def _places(points: gpd.GeoSeries) -> list[tuple[float, float]]:
    return [(round(x, 2), round(y, 2)) for x, y in zip(points.x, points.y, strict=True)]


def _pixel_area_ha(source: DatasetReader, path: Path) -> float:
    if not source.crs.is_projected:
        raise DataError(
            f"the map {path} lies on a grid in degrees, whose pixels differ in area; "
            "set grid.crs to 'auto' or to a projected CRS to assess areas"
        )
    return float(abs(source.transform.a * source.transform.e)) / 10_000


def _keep_out(
    training: gpd.GeoDataFrame | None, source: DatasetReader, apart_m: float
) -> gpd.GeoSeries | None:
    """The surroundings of training labels; at least the pixels that they lie in."""
    if training is None or training.empty:
        return None
    distance = max(apart_m, abs(source.transform.a))
    return training.to_crs(source.crs).geometry.buffer(distance)


def _strips(
    source: DatasetReader, keep_out: gpd.GeoSeries | None, strata: Strata
) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.bool_]]]:
    """Strips of the map: first row, classes (rows, W), and where points may lie."""
    for window in strips_of(source):
        classes = strata(source.read(1, window=window))
        free = np.ones(classes.shape, np.bool_)
        if keep_out is not None:
            near = keep_out.iloc[keep_out.sindex.query(shapely.box(*source.window_bounds(window)))]
            if len(near):
                transform = source.window_transform(window)
                free = geometry_mask(near, classes.shape, transform, all_touched=True)
        yield window.row_off, classes, free


def _allocate(eligible: dict[int, int], design: SampleDesign) -> dict[int, int]:
    """Points of each class: the minimum first, the rest in proportion to area."""
    total = sum(eligible.values())
    rest = max(design.points - design.min_per_class * len(eligible), 0)
    return {
        code: min(design.min_per_class + round(rest * pixels / total), pixels)
        for code, pixels in eligible.items()
    }


def _ranks(
    wanted: dict[int, int], eligible: NDArray[np.int64], seed: int
) -> dict[int, NDArray[np.int64]]:
    """Which of its eligible pixels, counted in reading order, each class gives."""
    random = np.random.default_rng([seed, 0x5A])
    return {
        code: np.sort(random.choice(int(eligible[code]), size=count, replace=False))
        for code, count in wanted.items()
    }


def _pick(
    source: DatasetReader,
    keep_out: gpd.GeoSeries | None,
    ranks: dict[int, NDArray[np.int64]],
    strata: Strata,
) -> gpd.GeoDataFrame:
    passed = dict.fromkeys(ranks, 0)
    found: list[tuple[int, int, int]] = []
    for first_row, classes, free in _strips(source, keep_out, strata):
        for code, wanted in ranks.items():
            here = np.flatnonzero((classes == code) & free)
            local = wanted - passed[code]
            inside = here[local[(local >= 0) & (local < len(here))]]
            rows, cols = np.unravel_index(inside, classes.shape)
            found += [(code, int(r) + first_row, int(c)) for r, c in zip(rows, cols)]
            passed[code] += len(here)
    found.sort(key=lambda point: (point[1], point[2]))
    table = np.array(found)
    x, y = source.transform * (table[:, 2] + 0.5, table[:, 1] + 0.5)
    return gpd.GeoDataFrame(
        {"map_code": table[:, 0], "row": table[:, 1], "col": table[:, 2]},
        geometry=gpd.points_from_xy(x, y),
        crs=source.crs,
    )
