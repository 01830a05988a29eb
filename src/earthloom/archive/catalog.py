"""A static STAC catalog on disk."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pystac
import shapely
from pystac.errors import STACTypeError
from shapely.geometry.base import BaseGeometry

from earthloom.archive.scene import Asset, Scene, in_order, parse_time, solar_day
from earthloom.errors import ArchiveError, choices
from earthloom.sensors import Band, Sensor

_NOT_STAC = (AttributeError, KeyError, TypeError, ValueError, pystac.STACError, STACTypeError)
"""What pystac raises for JSON that is no STAC, or no JSON."""


@dataclass(frozen=True)
class StaticCatalog:
    """A `catalog.json` with collections of items, as files."""

    path: Path

    @property
    def folder(self) -> Path:
        return self.path.parent

    def search(self, sensor: Sensor, start: date, end: date, outline: BaseGeometry) -> list[Scene]:
        """See `SceneSource`. Items are taken from the collection that has the sensor's name.

        A collection whose items carry no time of interest (elevation) is not limited by dates.
        """
        found = []
        for item in self._items(sensor.name):
            scene = _scene(item, sensor, self.folder)
            in_time = sensor.static or start <= scene.day <= end
            in_space = item.geometry is None or shapely.geometry.shape(item.geometry).intersects(
                outline
            )
            if in_time and in_space:
                found.append(scene)
        return in_order(found)

    def _items(self, collection: str) -> Iterator[pystac.Item]:
        try:
            catalog = pystac.Catalog.from_file(str(self.path))
            names = {child.id: child for child in catalog.get_children()}
            if collection not in names:
                raise ArchiveError(
                    f"the catalog {self.path} has no collection '{collection}'; "
                    f"it has: {choices(sorted(names))}"
                )
            yield from names[collection].get_items(recursive=True)
        except FileNotFoundError as error:
            raise ArchiveError(f"the catalog {self.path} lacks a file: {error.filename}") from error
        except _NOT_STAC as error:
            raise ArchiveError(f"the catalog {self.path} cannot be read: {error}") from error


def _scene(item: pystac.Item, sensor: Sensor, folder: Path) -> Scene:
    when = item.properties.get("datetime") or item.properties["start_datetime"]
    bounds = None
    if item.bbox and len(item.bbox) == 4:
        west, south, east, north = item.bbox
        bounds = (west, south, east, north)
    bands = {}
    for band in sensor.bands:
        name = sensor.asset_of(band.name, item.assets)
        if name is not None:
            bands[band.name] = _asset(item, item.assets[name], band, sensor, folder)
    quality = None
    if sensor.quality is not None:
        name = sensor.asset_of(sensor.quality.band, item.assets)
        quality = _plain_asset(item.assets[name], folder) if name else None
    time = parse_time(when)
    middle = (bounds[0] + bounds[2]) / 2 if bounds else 0.0
    return Scene(
        id=item.id,
        sensor=sensor.name,
        time=time,
        day=solar_day(time, middle),
        bounds=bounds,
        place="",
        cloud_cover=item.properties.get("eo:cloud_cover"),
        bands=bands,
        quality=quality,
    )


def _asset(
    item: pystac.Item, asset: pystac.Asset, band: Band, sensor: Sensor, folder: Path
) -> Asset:
    """A band's asset. What the item says of scale, offset and nodata goes before the table."""
    plain = _plain_asset(asset, folder)
    said: Mapping[str, Any] = (asset.extra_fields.get("raster:bands") or [{}])[0]
    return Asset(
        href=plain.href,
        size=plain.size,
        scale=float(said.get("scale", band.scale)),
        offset=float(said.get("offset", _table_offset(item, band, sensor))),
        nodata=said.get("nodata", band.nodata),
    )


def _table_offset(item: pystac.Item, band: Band, sensor: Sensor) -> float:
    holding = (rule.offset for rule in sensor.offset_rules if rule.holds(item.properties))
    return next(holding, band.offset)


def _plain_asset(asset: pystac.Asset, folder: Path) -> Asset:
    path = Path(asset.get_absolute_href() or asset.href)
    if "://" in asset.href:
        return Asset(asset.href, None)
    size = path.stat().st_size if path.exists() else None
    return Asset(os.path.relpath(path, folder), size)
