"""The STAC Item of a field, and of what is computed on fields."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any

import pystac
import shapely
from odc.geo.geobox import GeoBox
from shapely.geometry.base import BaseGeometry

import earthloom
from earthloom.grid import bounds_of, crs_wkt, gsd_metres, place_of
from earthloom.maps.item import MEDIA_TYPE, PROCESSING, PROJECTION, RASTER
from earthloom.maps.outputs import Output


@dataclass(frozen=True)
class About:
    """What an Item says, the files apart."""

    item_id: str
    title: str
    outline: BaseGeometry
    """In EPSG:4326."""
    dates: tuple[date, date]
    """First and last day of the observations."""
    properties: Mapping[str, Any]
    """Others, as JSON values."""


def write_raster_item(path: Path, about: About, box: GeoBox, outputs: Sequence[Output]) -> None:
    """Writes a STAC 1.1 Item of files beside it; the same inputs give the same bytes."""
    start, end = (datetime.combine(day, time.min, UTC) for day in about.dates)
    item = pystac.Item(
        id=about.item_id,
        geometry=shapely.geometry.mapping(about.outline),
        bbox=list(bounds_of(about.outline)),
        datetime=None,
        properties={
            "title": about.title,
            "gsd": round(gsd_metres(box), 3),
            **_projection(box),
            "processing:software": {"earthloom": earthloom.__version__},
            **about.properties,
        },
        start_datetime=start,
        end_datetime=end,
        stac_extensions=[PROJECTION, RASTER, PROCESSING],
    )
    for output in outputs:
        item.add_asset(Path(output.file).stem, pystac.Asset.from_dict(_asset(output)))
    content = item.to_dict(include_self_link=False, transform_hrefs=False)
    text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    path.write_text(text + "\n", encoding="utf-8")


def _asset(output: Output) -> dict[str, Any]:
    asset: dict[str, Any] = {
        "href": f"./{output.file}",
        "title": Path(output.file).stem,
        "type": MEDIA_TYPE.value,
        "roles": ["data"],
        "data_type": output.dtype,
        "nodata": "nan" if math.isnan(output.nodata) else output.nodata,
        "raster:sampling": "area",
        "bands": [{"name": name} for name in output.bands],
    }
    if output.unit is not None:
        asset["unit"] = output.unit
    if output.scale != 1:
        asset |= {"raster:scale": output.scale, "raster:offset": 0}
    return asset


def _projection(box: GeoBox) -> dict[str, Any]:
    place = place_of(box)
    coded = place.crs.startswith("EPSG:")
    return {
        "proj:code": place.crs if coded else None,
        **({} if coded else {"proj:wkt2": crs_wkt(box)}),
        "proj:shape": list(place.shape),
        "proj:transform": list(place.transform),
        "proj:bbox": list(box.extent.geom.bounds),
    }
