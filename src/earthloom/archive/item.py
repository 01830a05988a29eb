"""One STAC Item as a scene of a sensor, for every archive that holds items."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import pystac
from pystac.errors import STACTypeError

from earthloom.archive.item_fields import (
    angles_of,
    bounds_of,
    cloud_cover_of,
    footprint_of,
    middle_longitude,
    platform_of,
    tile_of,
    time_of,
    version_of,
)
from earthloom.archive.scene import Angles, Asset, Scene, solar_day
from earthloom.errors import ArchiveError, choices
from earthloom.sensors import Band, Sensor

__all__ = [
    "NOT_STAC",
    "asset_href",
    "footprint_of",
    "item_of",
    "over_sun",
    "scene_of",
    "sensor_of",
    "why_not",
    "why_unknown",
]

NOT_STAC = (AttributeError, KeyError, TypeError, ValueError, pystac.STACError, STACTypeError)
"""What pystac raises for JSON that is no STAC, or no JSON."""

Href: TypeAlias = Callable[[pystac.Asset], str]
Said: TypeAlias = Mapping[str, Any]


def item_of(content: Mapping[str, Any]) -> pystac.Item:
    """An item from its JSON, of any version of STAC; ArchiveError names what is wrong in it."""
    try:
        return pystac.Item.from_dict(dict(content))
    except NOT_STAC as error:
        raise ArchiveError(f"the item '{content.get('id', '')}' is not STAC: {error}") from error


def asset_href(asset: pystac.Asset, alternate: str | None = None) -> str:
    """Where an asset's file is: an address (`https://`, `s3://`) or a path, made absolute where
    the item knows where it lies itself.

    `alternate` asks for one of the asset's other addresses by name, as `s3`; the asset's own
    address where it has none of that name.
    """
    others = asset.extra_fields.get("alternate")
    other = others.get(alternate) if alternate and isinstance(others, Mapping) else None
    if isinstance(other, Mapping) and other.get("href"):
        return str(other["href"])
    return asset.get_absolute_href() or asset.href


def sensor_of(item: pystac.Item, sensors: Iterable[Sensor]) -> Sensor | None:
    """Of which sensor an item is: its collection is one of the sensor's, and `why_not` finds no
    reason against it. Of several, the one that finds most of its bands; None of none."""
    fitting = [
        sensor
        for sensor in sensors
        if item.collection_id in sensor.collections and why_not(item, sensor) is None
    ]
    return max(fitting, key=lambda sensor: len(_found(item, sensor)), default=None)


def why_unknown(item: pystac.Item, sensors: Iterable[Sensor]) -> str:
    """Why `sensor_of` finds no sensor for an item, in words."""
    fitting = [sensor for sensor in sensors if item.collection_id in sensor.collections]
    if not fitting:
        if item.collection_id is None:
            return f"the item '{item.id}' names no collection"
        return (
            f"the item '{item.id}' is of the collection '{item.collection_id}', which no sensor's "
            "table names"
        )
    return "; ".join(why_not(item, sensor) or "" for sensor in fitting)


def why_not(item: pystac.Item, sensor: Sensor) -> str | None:
    """Why an item is not of a sensor, in words; None if it is. The collection is not asked."""
    platform = platform_of(item)
    if not sensor.has_platform(platform):
        return (
            f"the item '{item.id}' is of the platform {platform}; {sensor.name} is of: "
            f"{choices(sensor.platforms)}"
        )
    found = _found(item, sensor)
    if not found:
        return (
            f"the item '{item.id}' has no asset with a band of {sensor.name}; it has: "
            f"{choices(item.assets)}"
        )
    if all(
        _scaling(item, place, sensor.band(band), sensor) is None for band, place in found.items()
    ):
        return (
            f"the item '{item.id}' does not say what its numbers mean: the scale of {sensor.name} "
            "is another one in every scene, and needs the scene's own scale or the sun's elevation"
        )
    try:
        time_of(item)
    except (KeyError, TypeError, ValueError, AttributeError):
        return f"the item '{item.id}' has no time: neither 'datetime' nor a start and an end"
    return None


def scene_of(item: pystac.Item, sensor: Sensor, href: Href = asset_href) -> Scene | None:
    """An item as a scene; None if it is not of the sensor (`why_not` says why).

    What the item says of a file's scale, offset and nodata goes before the sensor's table, but for
    the rules of the table that are `over_item`. A band that the item lacks is absent.
    """
    if why_not(item, sensor) is not None:
        return None
    time = time_of(item)
    assets = {
        band: _asset(item, place, sensor.band(band), sensor, href)
        for band, place in _found(item, sensor).items()
    }
    quality = sensor.asset_of(sensor.quality.band, item.assets) if sensor.quality else None
    return Scene(
        id=item.id,
        sensor=sensor.name,
        time=time,
        day=solar_day(time, middle_longitude(item)),
        bounds=bounds_of(item),
        place="",
        cloud_cover=cloud_cover_of(item),
        bands={band: asset for band, asset in assets.items() if asset is not None},
        quality=_quality(item.assets[quality], sensor, href) if quality else None,
        tile=tile_of(item),
        version=version_of(item),
        platform=platform_of(item),
        angles=angles_of(item),
    )


Place: TypeAlias = tuple[str, int]
"""An asset's name and which band of its file, from 1."""


def _found(item: pystac.Item, sensor: Sensor) -> dict[str, Place]:
    """The asset of each band that the item has, and which band of that file."""
    held: dict[str, list[Band]] = {}
    for band in sensor.bands:
        name = sensor.asset_of(band.name, item.assets)
        if name is not None:
            held.setdefault(name, []).append(band)
    found = {}
    for name, bands in held.items():
        indices = _indices(_band_entries(item, item.assets[name]), bands)
        found.update({band: (name, index) for band, index in indices.items()})
    return {band.name: found[band.name] for band in sensor.bands if band.name in found}


def _indices(listed: Sequence[Said], bands: Sequence[Band]) -> dict[str, int]:
    """Which band of a file each of a sensor's bands is that may be in it, from 1.

    The asset's own list of bands counts where at least half of its names are bands of the sensor;
    bands that it does not list are absent then, as in a NAIP image without near infrared. Else the
    sensor's table counts, where a file holds several of its bands; else a file has one band.
    """
    if len(listed) > 1:
        keys = ("name", "common_name", "eo:common_name")
        said = {key: [str(entry.get(key, "")).lower() for entry in listed] for key in keys}
        places = {band.name: _place(band, said) for band in bands}
        known = {name: place for name, place in places.items() if place is not None}
        if 2 * len(set(known.values())) >= len(listed):
            return known
    return {band.name: band.index if len(bands) > 1 else 1 for band in bands}


def _place(band: Band, said: Mapping[str, Sequence[str]]) -> int | None:
    """The one entry with a band's name or, failing that, with its common name; from 1."""
    for key, texts in said.items():
        wanted = band.common_name if "common" in key else band.name
        if wanted and texts.count(wanted.lower()) == 1:
            return texts.index(wanted.lower()) + 1
    return None


def _band_entries(item: pystac.Item, asset: pystac.Asset) -> list[Said]:
    """An asset's `bands` (STAC 1.1) or `eo:bands`; in old items these are places in the item's."""
    listed = asset.extra_fields.get("bands") or asset.extra_fields.get("eo:bands") or []
    of_item = item.properties.get("eo:bands") or []
    entries = [
        of_item[each] if isinstance(each, int) and 0 <= each < len(of_item) else each
        for each in listed
    ]
    return [entry if isinstance(entry, Mapping) else {} for entry in entries]


def _asset(item: pystac.Item, place: Place, band: Band, sensor: Sensor, href: Href) -> Asset | None:
    """A band's asset, with how its stored numbers become physical ones; None if unknown."""
    asset, index = item.assets[place[0]], place[1]
    scaling = _scaling(item, place, band, sensor)
    if scaling is None:
        return None
    return Asset(
        href=href(asset),
        size=None,
        scale=scaling[0],
        offset=scaling[1],
        nodata=_nodata(_said(asset, index).get("nodata"), band.nodata),
        index=index,
        checksum=_checksum(asset),
        transform=band.transform,
        constants=band.constants,
    )


def _quality(asset: pystac.Asset, sensor: Sensor, href: Href) -> Asset:
    index = sensor.quality.index if sensor.quality else 1
    return Asset(href=href(asset), size=None, index=index, checksum=_checksum(asset))


def _scaling(
    item: pystac.Item, place: Place, band: Band, sensor: Sensor
) -> tuple[float, float] | None:
    """Scale and offset; None where they change from scene to scene and the item is silent.

    A scale of 1 and an offset of 0 beside whole numbers say nothing: tools write so where a file
    does not know its scaling.
    """
    said = _said(item.assets[place[0]], place[1])
    holding = [rule for rule in sensor.offset_rules if rule.holds(item.properties)]
    over = next((rule.offset for rule in holding if rule.over_item), None)
    table = next((rule.offset for rule in holding), band.offset)
    scale, offset = _number(said.get("scale")), _number(said.get("offset"))
    floats = str(said.get("data_type", "")).startswith("float")
    if (scale, offset or 0.0) == (1.0, 0.0) and not floats:
        scale = offset = None
    if not scale:  # nothing said, or 0, which no file can mean
        if band.per_scene:
            return None
        scale = band.scale
    offset = over if over is not None else table if offset is None else offset
    return over_sun(scale, offset, angles_of(item)) if band.over_sun else (scale, offset)


def over_sun(scale: float, offset: float, angles: Angles | None) -> tuple[float, float] | None:
    """Scale and offset divided by the cosine of the sun's zenith; None if it is not known or the
    sun is down."""
    if angles is None or angles.sun_zenith >= 90.0:
        return None
    cosine = math.cos(math.radians(angles.sun_zenith))
    return scale / cosine, offset / cosine


def _said(asset: pystac.Asset, index: int) -> Said:
    """`scale`, `offset`, `nodata` and `data_type` of one band of an asset, by `raster:bands`
    (STAC 1.0) or by `bands` and the asset itself (STAC 1.1)."""
    said: dict[str, Any] = {}
    for source in (
        asset.extra_fields,
        _entry(asset.extra_fields.get("bands"), index),
        _entry(asset.extra_fields.get("raster:bands"), index),
    ):
        for key in ("scale", "offset", "nodata", "data_type"):
            for name in (f"raster:{key}", key):
                if source.get(name) is not None:
                    said[key] = source[name]
    return said


def _entry(listed: object, index: int) -> Said:
    """The entry of one band; one entry alone is of all bands."""
    if not isinstance(listed, list) or not listed:
        return {}
    entry = listed[index - 1] if index <= len(listed) else listed[0] if len(listed) == 1 else {}
    return entry if isinstance(entry, Mapping) else {}


def _nodata(said: object, table: float | None) -> float | None:
    """A number, also as text: STAC writes `nan`, `inf` and `-inf` so."""
    if isinstance(said, str):
        try:
            return float(said)
        except ValueError:
            return table
    return float(said) if isinstance(said, int | float) else table


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and math.isfinite(value) else None  # type: ignore[arg-type]


def _checksum(asset: pystac.Asset) -> str | None:
    said = asset.extra_fields.get("file:checksum") or asset.extra_fields.get("checksum:multihash")
    return str(said) if said else None
