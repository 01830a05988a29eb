"""The STAC Item of a map, with where it comes from."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pystac
import shapely
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

import earthloom
from earthloom.grid import place_of
from earthloom.tasks import PixelClasses

EXTENSIONS = [
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "https://stac-extensions.github.io/classification/v2.0.0/schema.json",
    "https://stac-extensions.github.io/processing/v1.2.0/schema.json",
]
MEDIA_TYPE = pystac.MediaType.COG


def write_item(
    path: Path,
    item_id: str,
    box: GeoBox,
    outline: BaseGeometry | None,
    dates: tuple[date, date],
    task: PixelClasses,
    provenance: Mapping[str, Any],
    scenes: Sequence[str],
) -> None:
    """Writes a STAC 1.1 Item that describes `map.tif` and `probability.tif` beside it.

    The Item's time is the period of the observations; it holds no time of processing, so that the
    same inputs give the same bytes.
    """
    footprint = outline or box.geographic_extent.geom
    start, end = (datetime.combine(day, time.min, UTC) for day in dates)
    place = place_of(box)
    item = pystac.Item(
        id=item_id,
        geometry=shapely.geometry.mapping(footprint),
        bbox=list(footprint.bounds),
        datetime=None,
        properties={
            "title": f"Map of {', '.join(task.names)}",
            "proj:code": place.crs if place.crs.startswith("EPSG:") else None,
            "proj:shape": list(place.shape),
            "proj:transform": list(place.transform),
            "processing:software": {"earthloom": earthloom.__version__},
            "processing:lineage": "search, cube, chips, fit and map of one Earthloom project",
            "earthloom:provenance": dict(provenance),
            "earthloom:scenes": list(scenes),
        },
        start_datetime=start,
        end_datetime=end,
        stac_extensions=EXTENSIONS,
    )
    item.add_asset("map", _map_asset(task))
    item.add_asset("probability", _probability_asset(task))
    content = item.to_dict(include_self_link=False, transform_hrefs=False)
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False)
    path.write_text(text + "\n", encoding="utf-8")


def _map_asset(task: PixelClasses) -> pystac.Asset:
    classes = [
        {"value": code, "name": _slug(name), "title": name, "color_hint": bytes(rgb).hex()}
        for code, name, rgb in zip(task.codes, task.names, task.colours)
    ]
    nodata = {"value": 0, "name": "no_data", "title": "no data", "nodata": True}
    return pystac.Asset(
        "./map.tif",
        title="Classes",
        media_type=MEDIA_TYPE,
        roles=["data"],
        extra_fields={
            "data_type": "uint8",
            "nodata": 0,
            "classification:classes": [nodata, *classes],
        },
    )


def _probability_asset(task: PixelClasses) -> pystac.Asset:
    return pystac.Asset(
        "./probability.tif",
        title="Probability of each class; stored numbers are 250ths",
        media_type=MEDIA_TYPE,
        roles=["data", "uncertainty"],
        extra_fields={
            "data_type": "uint8",
            "nodata": 255,
            "bands": [{"name": _slug(name), "description": name} for name in task.names],
        },
    )


def _slug(name: str) -> str:
    """A class name as the classification extension wants it: letters, digits, underscores."""
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in name.lower())
