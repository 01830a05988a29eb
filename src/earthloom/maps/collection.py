"""The STAC Collection of a project's maps, and its Items as one table."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pystac
import shapely
import stac_geoparquet.arrow

import earthloom
from earthloom.errors import DataError
from earthloom.grid import bounds_of, outline_of_bounds
from earthloom.maps import ITEM
from earthloom.maps.item import (
    COLLECTION,
    LEVEL,
    asset_of,
    classes_of,
    extensions_of,
    subject_of,
)
from earthloom.maps.outputs import Output, outputs_of
from earthloom.stages import canonical_json, disk_errors, write_atomic
from earthloom.tasks.base import Task
from earthloom.tasks.planes import ClassesOfPixels

ITEMS = "items.parquet"
NO_LICENCE = "other"
"""What STAC 1.1 says where a licence is not in the SPDX list, or was not given."""

_GEOJSON = "application/geo+json"
_PARQUET = "application/vnd.apache.parquet"
_MEDIA_TYPES = {
    "gpkg": "application/geopackage+sqlite3",
    "parquet": _PARQUET,
    "fgb": "application/vnd.flatgeobuf",
}


@dataclass(frozen=True)
class MapProvider:
    """Who made, paid for or keeps a map."""

    name: str
    roles: tuple[str, ...] = ("producer",)
    """Of `licensor`, `producer`, `processor`, `host`."""
    url: str | None = None
    description: str | None = None

    def to_json(self) -> dict[str, Any]:
        known = {"url": self.url, "description": self.description}
        return {"name": self.name, "roles": list(self.roles)} | {
            key: value for key, value in known.items() if value is not None
        }


@dataclass(frozen=True)
class Publication:
    """What people are told of a project's maps, and may do with them."""

    title: str | None = None
    description: str | None = None
    licence: str = NO_LICENCE
    """An SPDX name such as `CC-BY-4.0`, or `other`."""
    licence_url: str | None = None
    """Where the licence's text is; needed by people where it is `other`."""
    providers: tuple[MapProvider, ...] = ()
    keywords: tuple[str, ...] = ()


def write_collection(
    folder: Path,
    name: str,
    maps: Mapping[str, Path],
    task: Task[Any],
    published: Publication,
    outputs: Sequence[Output] | None = None,
    assets: Mapping[str, pystac.Asset] | None = None,
) -> list[Path]:
    """Writes `collection.json` and `items.parquet` into a folder; their paths.

    `maps` are the folders of maps by area, each with an `item.json`. `assets` are files of the
    whole, such as a mosaic, with addresses relative to `folder`, as all addresses are.
    """
    items = {_relative(place, folder): _read_item(place / ITEM) for place in maps.values()}
    chosen = tuple(outputs_of(task) if outputs is None else outputs)
    content = _collection(name, dict(zip(maps, items)), items, task, published, chosen)
    content["assets"] |= {key: asset.to_dict() for key, asset in (assets or {}).items()}
    path = folder / COLLECTION
    write_atomic(path, canonical_json(content))
    return [path, _write_items(folder / ITEMS, items)]


def mosaic_assets(mosaic: Path) -> dict[str, pystac.Asset]:
    """The mosaic beside a Collection, as an asset of it."""
    kind = "application/x-gdal-vrt"
    return {"mosaic": pystac.Asset(f"./{mosaic.name}", "All maps", media_type=kind, roles=["data"])}


def polygon_assets(folder: Path, files: Mapping[str, Sequence[Path]]) -> dict[str, pystac.Asset]:
    """Files of polygons, by area, as assets of the Collection in `folder`."""
    return {
        f"polygons_{area}_{path.suffix[1:]}": pystac.Asset(
            _relative(path, folder),
            f"Polygons of {area}",
            media_type=_MEDIA_TYPES[path.suffix[1:]],
            roles=["data"],
        )
        for area, paths in files.items()
        for path in paths
    }


def _collection(
    name: str,
    places: Mapping[str, str],
    items: Mapping[str, dict[str, Any]],
    task: Task[Any],
    published: Publication,
    outputs: Sequence[Output],
) -> dict[str, Any]:
    listed = list(items.values())
    names = subject_of(task)
    links = [
        {"rel": "root", "href": f"./{COLLECTION}", "type": "application/json"},
        *(
            {"rel": "item", "href": f"{place}/{ITEM}", "type": _GEOJSON, "title": area}
            for area, place in places.items()
        ),
    ]
    if published.licence_url is not None:
        links.append({"rel": "license", "href": published.licence_url})
    return {
        "type": "Collection",
        "stac_version": pystac.get_stac_version(),
        "stac_extensions": extensions_of(task),
        "id": name,
        "title": published.title or f"Maps of {name}",
        "description": published.description or f"Maps of {names}, made with Earthloom.",
        "license": published.licence,
        "keywords": list(published.keywords) or ["land cover", "map"],
        "providers": [*(each.to_json() for each in published.providers), _processor()],
        "extent": _extent(listed),
        "summaries": _summaries(listed, task),
        "item_assets": {Path(each.file).stem: asset_of(each, task) for each in outputs},
        "links": links,
        "assets": {
            "items": {
                "href": f"./{ITEMS}",
                "type": _PARQUET,
                "title": "The Items as stac-geoparquet",
                "roles": ["collection-mirror"],
            }
        },
    }


def _processor() -> dict[str, Any]:
    """What made the maps, as the processing extension has it in Collections."""
    return {
        "name": "Earthloom",
        "roles": ["processor"],
        "processing:software": {"earthloom": earthloom.__version__},
        "processing:level": LEVEL,
    }


def _extent(items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """In space first the whole, then each Item where there are several, as the specification
    has it; in time the whole."""
    boxes = [item["bbox"] for item in items]
    whole = list(bounds_of(shapely.union_all([outline_of_bounds(tuple(box)) for box in boxes])))
    starts = [item["properties"]["start_datetime"] for item in items]
    ends = [item["properties"]["end_datetime"] for item in items]
    return {
        "spatial": {"bbox": [whole, *boxes] if len(boxes) > 1 else [whole]},
        "temporal": {"interval": [[min(starts), max(ends)]]},
    }


def _summaries(items: Sequence[Mapping[str, Any]], task: Task[Any]) -> dict[str, Any]:
    found = [item["properties"] for item in items]
    sizes = sorted({each["gsd"] for each in found if "gsd" in each})
    codes = sorted({each["proj:code"] for each in found if each.get("proj:code")})
    summaries: dict[str, Any] = {
        "gsd": sizes,
        "proj:code": codes,
        "processing:level": [LEVEL],
        "classification:classes": classes_of(task) if isinstance(task, ClassesOfPixels) else [],
    }
    return {key: values for key, values in summaries.items() if values}


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _read_item(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"there is no map's Item {path}; run 'earthloom map' first") from error
    return content


def _write_items(path: Path, items: Mapping[str, dict[str, Any]]) -> Path:
    """The Items as stac-geoparquet, their assets' addresses relative to the table."""
    moved = [_moved(place, item) for place, item in items.items()]
    table = stac_geoparquet.arrow.parse_stac_items_to_arrow(moved)
    partial = path.with_name(path.name + ".partial")
    with disk_errors(path):
        stac_geoparquet.arrow.to_parquet(table, partial)
        partial.replace(path)
    return path


def _moved(place: str, item: Mapping[str, Any]) -> dict[str, Any]:
    assets = {
        key: asset | {"href": f"{place}/{asset['href'].removeprefix('./')}"}
        for key, asset in item["assets"].items()
    }
    properties = {
        key: canonical_json(value) if key.startswith("earthloom:") else value
        for key, value in item["properties"].items()
    }
    links = [{"rel": "canonical", "href": f"{place}/{ITEM}", "type": _GEOJSON}]
    return {**item, "assets": assets, "properties": properties, "links": links}
