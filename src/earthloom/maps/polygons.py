"""Polygons of a class map, in memory bounded by a strip of it.

The map is read in strips of whole rows. A patch that lies in one strip is written when the strip is
done; one that goes on is put together when it ends. So memory holds a strip, and the patches that
cross its lower edge.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import rasterio
import shapely
from numpy.typing import NDArray
from pyproj import CRS
from rasterio.io import DatasetReader
from rasterio.windows import Window as RasterWindow

from earthloom.errors import DataError, choices
from earthloom.maps import PROBABILITY_NODATA
from earthloom.maps.equal_area import EqualArea, on_grid
from earthloom.maps.features import Features, FeatureStream
from earthloom.maps.patches import Strip, read_strips, strip_rows
from earthloom.maps.polygon_files import FORMATS, GeoParquetWriter, crs_text, geoparquet
from earthloom.maps.sieve import Sieved, sieve_map
from earthloom.maps.style import polygon_style
from earthloom.progress import Tick
from earthloom.stages import canonical_json

if TYPE_CHECKING:  # it loads torch, which polygons do not need
    from earthloom.tasks.planes import ClassesOfPixels

SUMMARY = "polygons.json"
STYLE = "polygons.qml"


@dataclass(frozen=True)
class PolygonSettings:
    """How polygons are made of a map."""

    formats: tuple[str, ...] = ("gpkg",)
    """Keys of `FORMATS`."""
    minimum_m2: float = 0.0
    """Smaller patches join the class that borders on them most."""
    simplify_m: float = 0.0
    """Metres: the root of the area of the steps that are taken out of borders; 0 keeps pixels."""
    diagonal: bool = False
    """Whether pixels that touch with a corner alone are of one patch."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.formats if name not in FORMATS]
        if unknown or not self.formats:
            raise DataError(
                f"no format of polygons '{', '.join(unknown)}'; valid: {choices(FORMATS)}"
            )


@dataclass(frozen=True)
class PolygonsMade:
    """What became of a map."""

    files: tuple[str, ...]
    polygons: int
    area_m2: dict[str, float]
    """Of each class, as the polygons have it."""
    sieved: Sieved
    area_crs: str
    """The equal-area projection that areas were measured in."""

    def to_json(self) -> dict[str, Any]:
        return asdict(self) | {"files": list(self.files)}


def make_polygons(
    map_path: Path,
    probability_path: Path | None,
    task: "ClassesOfPixels",
    chosen: PolygonSettings,
    folder: Path,
    tick: Tick,
    height: int | None = None,
) -> PolygonsMade:
    """Writes the polygons of a class map (uint8, 0 is no data) into a folder.

    Beside the files of `chosen.formats` there are a QGIS style and `polygons.json`. Columns: `id`
    (where the first pixel is, counted row by row), `code`, `name`, `area_m2` (on the ellipsoid,
    see `EqualArea`) and `probability`, the mean probability of the patch's class, from the bands of
    `probability_path`, one for each class. `height` rows are held at a time, as many as fit if it
    is None. DataError if the files are not of one grid.
    """
    with rasterio.open(map_path) as source:
        place = _place_of(source)
        rows = height or strip_rows(source.height, source.width)
    sieved, of_sieve = Sieved(), folder / "sieved.tif"
    if chosen.minimum_m2 > 0:
        sieved = sieve_map(
            map_path, of_sieve, chosen.minimum_m2, place.of_rows(), chosen.diagonal, rows,
            lambda done, total: tick(done, 2 * total, "sieve"),
        )  # fmt: skip
    try:
        found = of_sieve if chosen.minimum_m2 > 0 else map_path
        made = _write_all(found, probability_path, task, chosen, place, rows, folder, tick)
    finally:
        of_sieve.unlink(missing_ok=True)
    files, count, areas = made
    summary = PolygonsMade(files, count, areas, sieved, place.projection)
    (folder / STYLE).write_text(polygon_style(task), encoding="utf-8")
    (folder / SUMMARY).write_text(canonical_json(summary.to_json()), encoding="utf-8")
    return summary


def _write_all(
    map_path: Path,
    probability_path: Path | None,
    task: "ClassesOfPixels",
    chosen: PolygonSettings,
    place: EqualArea,
    rows: int,
    folder: Path,
    tick: Tick,
) -> tuple[tuple[str, ...], int, dict[str, float]]:
    """Writes GeoParquet, and the other formats of it; names, and what the polygons sum up to."""
    base = folder / FORMATS["parquet"][0]
    kind = "MultiPolygon" if chosen.diagonal else "Polygon"
    with geoparquet(base, place.crs, kind) as writer:
        count, areas = _write_features(
            writer, _features(map_path, probability_path, task, chosen, place, rows, tick),
            task, place,
        )  # fmt: skip
    for name in chosen.formats:
        file, convert = FORMATS[name]
        if convert is not None:
            convert(base, folder / file, place.crs, kind, "polygons")
    if "parquet" not in chosen.formats:
        base.unlink()
    return tuple(FORMATS[name][0] for name in chosen.formats), count, areas


def _features(
    map_path: Path,
    probability_path: Path | None,
    task: "ClassesOfPixels",
    chosen: PolygonSettings,
    place: EqualArea,
    rows: int,
    tick: Callable[[int, int, str], None] | Tick,
) -> Iterator[Features]:
    """The features of a map, strip by strip."""
    stream = FeatureStream(chosen.diagonal, chosen.simplify_m / _pixel_m(place))
    share = rasterio.open(probability_path) if probability_path is not None else None
    try:
        with rasterio.open(map_path) as source:
            if share is not None:
                _check_grids(source, share, len(task.codes))
            for strip in read_strips(source, rows):
                shares = None if share is None else _shares_of(share, strip, task.codes)
                yield stream.push(strip, shares)
                tick(source.height + strip.row + len(strip.codes), 2 * source.height, "polygons")
    finally:
        if share is not None:
            share.close()


def _write_features(
    writer: GeoParquetWriter, found: Iterator[Features], task: "ClassesOfPixels", place: EqualArea
) -> tuple[int, dict[str, float]]:
    count, areas = 0, np.zeros(256)
    names = np.full(256, "", object)
    names[list(task.codes)] = task.names
    for features in found:
        own = np.round(place.of_polygons(features.geometry), 3)
        drawn = shapely.transform(features.geometry, lambda p: on_grid(place.affine, p))
        columns = {
            "id": pa.array(features.first),
            "code": pa.array(features.codes.astype(np.int16)),
            "name": pa.array(names[features.codes], pa.string()),
            "area_m2": pa.array(own),
            "probability": _nullable(features.probability),
        }
        writer.write(shapely.orient_polygons(drawn, exterior_cw=False), columns)
        count += len(own)
        areas += np.bincount(features.codes, weights=own, minlength=256)
    by_name = {name: round(float(areas[code]), 1) for code, name in zip(task.codes, task.names)}
    return count, by_name


def _nullable(probability: NDArray[np.float64]) -> pa.Array:
    rounded = np.round(probability, 4).astype(np.float32)
    return pa.array(rounded, pa.float32(), mask=np.isnan(rounded))


def _shares_of(share: DatasetReader, strip: Strip, codes: tuple[int, ...]) -> NDArray[np.uint8]:
    """(H, W): the stored probability of each pixel's class, band by band."""
    rows, cols = strip.codes.shape
    window = RasterWindow(0, strip.row, cols, rows)
    shares = np.full((rows, cols), PROBABILITY_NODATA, np.uint8)
    for band, code in enumerate(codes, start=1):
        there = strip.codes == code
        if there.any():
            shares[there] = share.read(band, window=window)[there]
    return shares


def _place_of(source: DatasetReader) -> EqualArea:
    if source.crs is None:
        raise DataError(f"{source.name} has no CRS, so that its polygons lie nowhere")
    code = source.crs.to_epsg()
    crs = CRS.from_epsg(code) if code else CRS.from_wkt(source.crs.to_wkt())
    return EqualArea(crs, source.transform, (source.height, source.width))


def _pixel_m(place: EqualArea) -> float:
    """Side of a pixel in the middle of the grid, in metres."""
    areas = place.of_rows()
    return float(np.sqrt(areas[len(areas) // 2]))


def _check_grids(source: DatasetReader, share: DatasetReader, classes: int) -> None:
    same = (source.shape, source.transform, source.crs) == (share.shape, share.transform, share.crs)
    if not same or share.count != classes:
        raise DataError(
            f"{share.name} does not fit {source.name}: it has {share.count} bands for {classes} "
            f"classes, {share.shape} pixels for {source.shape}, in {crs_text(CRS(share.crs))}"
        )
