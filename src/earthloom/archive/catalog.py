"""A static STAC catalog on disk."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import pystac
from shapely.geometry.base import BaseGeometry

from earthloom.archive.item import NOT_STAC, asset_href, footprint_of, scene_of, why_not
from earthloom.archive.scene import Asset, Scene, in_order
from earthloom.errors import ArchiveError, choices
from earthloom.sensors import Sensor


@dataclass(frozen=True)
class StaticCatalog:
    """A `catalog.json` with collections of items, as files, here or on a server."""

    path: Path | str
    """An address if it is on a server."""
    stac_io: pystac.StacIO | None = None
    """What reads a server's files."""

    @property
    def folder(self) -> Path:
        return Path(self.path).parent

    def search(self, sensor: Sensor, start: date, end: date, outline: BaseGeometry) -> list[Scene]:
        """See `SceneSource`. Items are taken from all collections that hold the sensor's product
        (`Sensor.collections`), which may hold other sensors' items as well.

        Items that carry no time of interest (elevation) are not limited by dates.
        """
        found, refused = [], []
        for item in self._items(sensor):
            scene = scene_of(item, sensor, self._href)
            if scene is None:
                refused.append(why_not(item, sensor))
            elif _fits(scene, item, sensor, (start, end), outline):
                found.append(self._with_sizes(scene))
            else:
                refused.append(None)
        if refused and not found and all(refused):
            raise ArchiveError(f"no item of {self.path} is of {sensor.name}: {refused[0]}")
        return in_order(found)

    def _items(self, sensor: Sensor) -> Iterator[pystac.Item]:
        try:
            root = pystac.read_file(str(self.path), stac_io=self.stac_io)
            if not isinstance(root, pystac.Catalog):
                raise ArchiveError(f"{self.path} is no catalog but a {root.STAC_OBJECT_TYPE}")
            collections = list(_collections(root))
            fitting = [each for each in collections if each.id in sensor.collections]
            if not fitting:
                raise ArchiveError(
                    f"the catalog {self.path} has no collection '{sensor.name}', nor any other of "
                    f"its names; it has: {choices(sorted(each.id for each in collections))}"
                )
            for collection in fitting:
                yield from collection.get_items(recursive=True)
        except FileNotFoundError as error:
            raise ArchiveError(f"the catalog {self.path} lacks a file: {error.filename}") from error
        except NOT_STAC as error:
            raise ArchiveError(f"the catalog {self.path} cannot be read: {error}") from error

    def _href(self, asset: pystac.Asset) -> str:
        """Relative to the catalog's folder, or an address."""
        href = asset_href(asset).removeprefix("file://")
        return href if "://" in href else os.path.relpath(href, self.folder)

    def _with_sizes(self, scene: Scene) -> Scene:
        bands = {name: self._sized(asset) for name, asset in scene.bands.items()}
        quality = self._sized(scene.quality) if scene.quality else None
        return replace(scene, bands=bands, quality=quality)

    def _sized(self, asset: Asset) -> Asset:
        path = self.folder / asset.href
        there = "://" not in asset.href and path.exists()
        return replace(asset, size=path.stat().st_size) if there else asset


def _collections(catalog: pystac.Catalog) -> Iterator[pystac.Collection]:
    """The collections of a catalog, at any depth, in the order of its links."""
    if isinstance(catalog, pystac.Collection):
        yield catalog
    else:
        for child in catalog.get_children():
            yield from _collections(child)


def _fits(
    scene: Scene,
    item: pystac.Item,
    sensor: Sensor,
    period: tuple[date, date],
    outline: BaseGeometry,
) -> bool:
    in_time = sensor.static or period[0] <= scene.day <= period[1]
    footprint = footprint_of(item)
    return in_time and (footprint is None or bool(footprint.intersects(outline)))
