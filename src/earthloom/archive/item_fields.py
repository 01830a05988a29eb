"""What an item's properties say of its time, place, version and light, by any provider's habits.

Each function reads the STAC extensions first (grid, view, projection, processing) and then the
private fields of providers, of which the first that is there counts.
"""

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pystac
import shapely
from shapely.geometry.base import BaseGeometry

from earthloom.archive.scene import Angles, parse_time

Bounds = tuple[float, float, float, float]


def time_of(item: pystac.Item) -> datetime:
    """UTC; the middle between start and end where the item has no single time."""
    if item.datetime is not None:
        return _utc(item.datetime)
    start, end = (parse_time(item.properties[f"{name}_datetime"]) for name in ("start", "end"))
    return start + (end - start) / 2


def bounds_of(item: pystac.Item) -> Bounds | None:
    """West, south, east, north in degrees; west > east over the date line, as the item says.

    A box of six numbers has heights in it; without a valid box, the bounds of the geometry.
    """
    box = list(item.bbox or ())
    if len(box) == 6:
        box = [*box[:2], *box[3:5]]
    if len(box) == 4 and all(_is_number(value) for value in box) and box[1] <= box[3]:
        west, south, east, north = (float(value) for value in box)
        return west, south, east, north
    geometry = _geometry(item)
    if geometry is None:
        return None
    west, south, east, north = geometry.bounds
    return west, south, east, north


def middle_longitude(item: pystac.Item) -> float:
    """Degrees east of the scene's middle, also where it lies over the date line; 0 if unknown."""
    bounds = bounds_of(item)
    if bounds is None:
        return 0.0
    west, _, east, _ = bounds
    if west > east:
        east += 360.0
    elif east - west > 180.0:
        west, east = _over_the_date_line(_geometry(item)) or (west, east)
    middle = (west + east) / 2
    return middle - 360.0 if middle > 180.0 else middle


def footprint_of(item: pystac.Item) -> BaseGeometry | None:
    """The item's outline in EPSG:4326; its box where the geometry is missing or broken, or where
    it lies over the date line without being cut there; None where neither is there."""
    geometry, bounds = _geometry(item), bounds_of(item)
    if bounds is None:
        return None
    if geometry is not None and (geometry.geom_type != "Polygon" or not _is_over_line(geometry)):
        return geometry
    west, south, east, north = bounds
    if geometry is not None and east - west > 180.0:
        west, east = _over_the_date_line(geometry) or (west, east)
        east -= 360.0 if east > 180.0 else 0.0
    if west <= east:
        return shapely.box(*bounds)
    return shapely.union_all(
        [shapely.box(west, south, 180.0, north), shapely.box(-180.0, south, east, north)]
    )


def platform_of(item: pystac.Item) -> str | None:
    """In small letters with hyphens, as `sentinel-2a` or `landsat-8`."""
    said = item.properties.get("platform") or item.properties.get("eo:platform")
    return re.sub(r"[\s_]+", "-", str(said).strip().lower()) if said else None


def cloud_cover_of(item: pystac.Item) -> float | None:
    """Per cent."""
    return _number(item.properties.get("eo:cloud_cover"))


def tile_of(item: pystac.Item) -> str:
    """The piece of the provider's grid, such as `32UPV`, `028030` or `h18v04`; else empty."""
    says = item.properties
    if code := says.get("grid:code"):
        return _tile_of_code(str(code))
    for name in ("s2:mgrs_tile", "s2:tile", "s2:tile_id", "mgrs:tile", "hls:tile", "tileId"):
        if tile := says.get(name):
            return _mgrs(str(tile))
    for space in ("mgrs", "sentinel"):
        parts = [says.get(f"{space}:{part}") for part in ("utm_zone", "latitude_band")]
        square = says.get(f"{space}:grid_square")
        if square and all(part is not None for part in parts):
            return _mgrs(f"{parts[0]}{parts[1]}{square}")
    path, row = (_whole(says.get(f"landsat:wrs_{part}")) for part in ("path", "row"))
    if path is not None and row is not None:
        return f"{path:03d}{row:03d}"
    across, down = (_whole(says.get(f"modis:{way}-tile")) for way in ("horizontal", "vertical"))
    if across is not None and down is not None:
        return f"h{across:02d}v{down:02d}"
    match = _TILE_IN_ID.search(item.id)
    return _mgrs(next(group for group in match.groups() if group)) if match else ""


_TILE_IN_ID = re.compile(
    r"(?:_|\.)T(\d\d[C-X][A-Z]{2})(?=_|\.|$)"
    r"|^S2[A-Z]_(\d{1,2}[C-X][A-Z]{2})_"
    r"|[._](h\d\dv\d\d)(?=[._]|$)"
)
"""Of Sentinel-2 and HLS, of Sentinel-2 at Earth Search, of MODIS and VIIRS."""


def version_of(item: pystac.Item) -> str:
    """Text that grows with every reprocessing of one product; empty where nothing is said.

    The processing baseline or collection, then when it was processed: `05.09 2023-09-28T10:31:24Z`.
    """
    baseline = next(_baselines(item), "")
    return " ".join(part for part in (baseline, _processed(item)) if part)


def angles_of(item: pystac.Item) -> Angles | None:
    """Mean angles; the view's where they are said. None without those of the sun.

    The zenith of the view is its angle at the ground; where only the smaller angle at the
    satellite is known (`view:off_nadir`), that one.
    """
    says = item.properties
    elevation = _first(says, "view:sun_elevation", "eo:sun_elevation")
    zenith = _first(says, "s2:mean_solar_zenith") if elevation is None else 90.0 - elevation
    azimuth = _first(says, "view:sun_azimuth", "s2:mean_solar_azimuth", "eo:sun_azimuth")
    if zenith is None or azimuth is None:
        return None
    return Angles(
        sun_zenith=zenith,
        sun_azimuth=azimuth,
        view_zenith=_first(says, "view:incidence_angle", "view:off_nadir"),
        view_azimuth=_first(says, "view:azimuth"),
    )


def _utc(time: datetime) -> datetime:
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def _geometry(item: pystac.Item) -> BaseGeometry | None:
    """The geometry, repaired where its outline crosses itself; None if missing or no geometry."""
    if not item.geometry:
        return None
    try:
        found = shapely.geometry.shape(item.geometry)
    except (AttributeError, KeyError, TypeError, ValueError, shapely.errors.ShapelyError):
        return None
    if found.is_empty or not all(math.isfinite(value) for value in found.bounds):
        return None
    return found if found.is_valid else shapely.make_valid(found)


def _over_the_date_line(geometry: BaseGeometry | None) -> tuple[float, float] | None:
    """West and east (beyond 180) of parts on both sides of the date line that leave most of the
    Earth between them free."""
    if geometry is None:
        return None
    longitudes = shapely.get_coordinates(geometry)[:, 0] % 360.0
    west, east = float(longitudes.min()), float(longitudes.max())
    return (west, east) if east - west < 180.0 else None


def _is_over_line(geometry: BaseGeometry) -> bool:
    """Whether an outline goes the long way round because it was not cut at the date line."""
    west, _, east, _ = geometry.bounds
    return east - west > 180.0 and _over_the_date_line(geometry) is not None


def _tile_of_code(code: str) -> str:
    kind, _, tile = code.rpartition("-")
    return _mgrs(tile) if kind.upper() == "MGRS" else tile


def _mgrs(tile: str) -> str:
    """With two digits of the zone and without the `T` of product names."""
    match = re.fullmatch(r"T?(\d{1,2})([A-Z]{3})", tile.strip().upper())
    return f"{int(match.group(1)):02d}{match.group(2)}" if match else tile


def _baselines(item: pystac.Item) -> Iterator[str]:
    """Of Sentinel-2 (`04.00`), and Landsat's collection (`02`)."""
    says = item.properties
    for space in ("s2:", "sentinel:", "sentinel2:", ""):
        if said := says.get(f"{space}processing_baseline"):
            yield str(said)
    for name in ("s2:product_uri", "sentinel:product_id", "title"):
        if match := re.search(r"_N(\d\d)(\d\d)_", str(says.get(name) or "")):
            yield f"{match.group(1)}.{match.group(2)}"
    for name in ("processing:version", "landsat:collection_number", "version"):
        if said := says.get(name):
            yield str(said)


def _processed(item: pystac.Item) -> str:
    """When it was processed, as UTC to the second."""
    says = item.properties
    for name in (
        "s2:generation_time",
        "processing:datetime",
        "odc:processing_datetime",
        "landsat:processing_date",
    ):
        if time := _time(says.get(name)):
            return time
    if match := _LANDSAT_ID.match(item.id):
        return datetime.strptime(match.group(1), "%Y%m%d").strftime(_STAMP)
    if match := _SENTINEL2_ID.search(str(says.get("sentinel:product_id") or item.id)):
        return datetime.strptime(match.group(1), "%Y%m%dT%H%M%S").strftime(_STAMP)
    return next(filter(None, (_time(says.get(name)) for name in ("created", "updated"))), "")


_STAMP = "%Y-%m-%dT%H:%M:%SZ"
_LANDSAT_ID = re.compile(r"L[COTEM]\d\d_L\w{3}_\d{6}_\d{8}_(\d{8})_\d\d_")
_SENTINEL2_ID = re.compile(r"^S2[A-Z]_MSIL\w{2}_\d{8}T\d{6}_.*_(\d{8}T\d{6})$")


def _time(value: object) -> str:
    try:
        return parse_time(value).strftime(_STAMP) if isinstance(value, str) else ""
    except ValueError:
        return ""


def _first(says: Mapping[str, Any], *names: str) -> float | None:
    found = (_number(says.get(name)) for name in names)
    return next((value for value in found if value is not None), None)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _number(value: object) -> float | None:
    return float(value) if _is_number(value) else None  # type: ignore[arg-type]


def _whole(value: object) -> int | None:
    """A whole number, also as text such as `028`."""
    text = str(value)
    return int(text) if text.isdecimal() else None
