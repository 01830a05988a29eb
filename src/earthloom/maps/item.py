"""The STAC Item of a map, with where it comes from."""

import json
import math
import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pystac
import rasterio
import shapely
from odc.geo.geobox import GeoBox
from pyproj import CRS
from shapely.geometry.base import BaseGeometry

import earthloom
from earthloom.grid import bounds_of, gsd_metres, outline_of, place_of
from earthloom.maps import DENSITY, FEATURES, MAP, PROBABILITY, VALUE
from earthloom.maps.outputs import Output, outputs_of
from earthloom.maps.statistics import statistics_of
from earthloom.tasks.base import Task
from earthloom.tasks.planes import ClassesOfPixels, planes_of
from earthloom.tasks.values import ValueTask

PROJECTION = "https://stac-extensions.github.io/projection/v2.0.0/schema.json"
RASTER = "https://stac-extensions.github.io/raster/v2.0.0/schema.json"
CLASSIFICATION = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"
PROCESSING = "https://stac-extensions.github.io/processing/v1.2.0/schema.json"
EXTENSIONS = [PROJECTION, RASTER, CLASSIFICATION, PROCESSING]
MEDIA_TYPE = pystac.MediaType.COG
COLLECTION = "collection.json"
COLLECTION_HREF = f"../../collection/{COLLECTION}"
"""The Collection of all maps, as seen from the folder of one, `map/AREA`."""
LINEAGE = "search, cube, chips, fit and map of one Earthloom project"
LEVEL = "L4"
"""What an analysis makes of measurements, in the words of the processing extension."""

_TITLES = {
    MAP: ("Classes", ["data"]),
    PROBABILITY: ("Probability of each class", ["data", "uncertainty"]),
    VALUE: ("Values", ["data", "uncertainty"]),
    DENSITY: ("Things of each class per pixel", ["data"]),
    FEATURES: ("Features of each pixel", ["data"]),
}
"""Title and roles of each file that a map may consist of."""


def write_item(
    path: Path,
    item_id: str,
    box: GeoBox,
    outline: BaseGeometry | None,
    dates: tuple[date, date],
    task: Task[Any],
    provenance: Mapping[str, Any],
    scenes: Sequence[str],
    outputs: Sequence[Output] | None = None,
    collection: str | None = None,
) -> None:
    """Writes a STAC 1.1 Item that describes the files of a map beside it.

    `outputs` are its files, by default those of a map of the task; `collection` is the id of the
    Collection at `COLLECTION_HREF`. The Item's time is the period of the observations; it holds no
    time of processing, so that the same inputs give the same bytes.
    """
    footprint = outline or outline_of(box)
    start, end = (datetime.combine(day, time.min, UTC) for day in dates)
    item = pystac.Item(
        id=item_id,
        geometry=shapely.geometry.mapping(footprint),
        bbox=list(bounds_of(footprint)),
        datetime=None,
        properties={
            "title": f"Map of {subject_of(task)}",
            "gsd": round(gsd_metres(box), 3),
            **_projection(box),
            "processing:software": {"earthloom": earthloom.__version__},
            "processing:lineage": LINEAGE,
            "processing:level": LEVEL,
            "earthloom:provenance": dict(provenance),
            "earthloom:scenes": list(scenes),
        },
        start_datetime=start,
        end_datetime=end,
        stac_extensions=extensions_of(task),
    )
    if collection is not None:
        item.collection_id = collection
        for relation in ("collection", "parent"):
            item.add_link(pystac.Link(relation, COLLECTION_HREF, "application/json"))
    for output in outputs_of(task) if outputs is None else outputs:
        asset = asset_of(output, task, gsd_metres(box))
        if output.unit is not None:
            asset["bands"] = _measured(path.with_name(output.file), asset["bands"])
        item.add_asset(Path(output.file).stem, pystac.Asset.from_dict(asset | _href(output)))
    content = item.to_dict(include_self_link=False, transform_hrefs=False)
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def extensions_of(task: Task[Any]) -> list[str]:
    """Extensions of STAC that Items and the Collection of a task's maps use."""
    if isinstance(task, ClassesOfPixels):
        return EXTENSIONS
    return [each for each in EXTENSIONS if each != CLASSIFICATION]


def subject_of(task: Task[Any]) -> str:
    """What a task's map is of, in words: its classes, or what is measured and its unit."""
    if isinstance(task, ValueTask):
        return f"{task.quantity} in {task.unit}" if task.unit else task.quantity
    return ", ".join(planes_of(task))


def _measured(path: Path, bands: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Bands with the statistics that stand in their file."""
    with rasterio.open(path) as file:
        known = [statistics_of(file, number) for number in file.indexes]
    return [
        band | ({"statistics": statistics} if statistics else {})
        for band, statistics in zip(bands, known, strict=True)
    ]


def asset_of(output: Output, task: Task[Any], gsd: float | None = None) -> dict[str, Any]:
    """What is known of a file before it is made: an asset without its address.

    What all bands share stands in the asset, as STAC 1.1 has it.
    """
    title, roles = _TITLES.get(output.file, (Path(output.file).stem, ["data"]))
    asset: dict[str, Any] = {
        "title": title,
        "type": MEDIA_TYPE.value,
        "roles": roles,
        "data_type": output.dtype,
        "nodata": "nan" if math.isnan(output.nodata) else output.nodata,
        "raster:sampling": "area",
        "bands": [_band(name, output.unit) for name in output.bands],
    }
    if output.scale != 1:
        asset |= {"raster:scale": output.scale, "raster:offset": 0}
    if gsd is not None:
        asset["raster:spatial_resolution"] = round(gsd, 3)
    if output.file == MAP and isinstance(task, ClassesOfPixels):
        asset["classification:classes"] = classes_of(task)
    return asset


def classes_of(task: ClassesOfPixels) -> list[dict[str, Any]]:
    """The classes as the classification extension writes them, no data first."""
    nodata = {"value": 0, "name": "no_data", "title": "no data", "nodata": True}
    slugs = _slugs(task.names)
    classes = [
        {"value": code, "name": slug, "title": name, "color_hint": bytes(rgb).hex()}
        for code, slug, name, rgb in zip(task.codes, slugs, task.names, task.colours)
    ]
    return [nodata, *classes]


def _href(output: Output) -> dict[str, str]:
    return {"href": f"./{output.file}"}


def _band(name: str, unit: str | None) -> dict[str, Any]:
    known = {} if unit is None else {"unit": unit}
    return {"name": _slug(name), "description": name} | known


def _projection(box: GeoBox) -> dict[str, Any]:
    """The fields of the projection extension; a CRS without a code is given in full."""
    place = place_of(box)
    west, south, east, north = box.extent.geom.bounds
    fields: dict[str, Any] = {
        "proj:code": place.crs if place.crs.startswith("EPSG:") else None,
        "proj:shape": list(place.shape),
        "proj:transform": list(place.transform),
        "proj:bbox": [west, south, east, north],
    }
    if fields["proj:code"] is None and box.crs is not None:
        crs = CRS.from_wkt(box.crs.to_wkt())
        fields |= {"proj:wkt2": crs.to_wkt(), "proj:projjson": crs.to_json_dict()}
    return fields


def _slug(name: str) -> str:
    """A class name as the classification extension wants it: letters, digits, underscores."""
    plain = unicodedata.normalize("NFKD", name.lower())
    letters = (c for c in plain if not unicodedata.combining(c))
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in letters) or "_"


def _slugs(names: Sequence[str]) -> list[str]:
    """Slugs that differ where names do: names in other scripts may have the same one."""
    slugs = [_slug(name) for name in names]
    return [
        slug if slugs.count(slug) == 1 else f"{slug}_{number}"
        for number, slug in enumerate(slugs, start=1)
    ]
