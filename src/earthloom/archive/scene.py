"""A scene: one acquisition as listed by an archive, normalised once, at the edge."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

from shapely.geometry.base import BaseGeometry

from earthloom.sensors import Sensor, Transform


@dataclass(frozen=True)
class Asset:
    """One file of a scene, and how its stored numbers become physical ones."""

    href: str
    """Relative to the archive's folder, or an address."""
    size: int | None
    """Bytes; tells a file that was replaced. None where the archive is remote."""
    scale: float = 1.0
    offset: float = 0.0
    nodata: float | None = None
    index: int = 1
    """Which band of the file, from 1."""
    checksum: str | None = None
    """The file's multihash in hexadecimal, as STAC's `file:checksum`."""
    transform: Transform = "linear"
    """See `earthloom.sensors.to_physical`."""
    constants: tuple[float, float] | None = None
    """K1 and K2 of the transform `brightness`."""


@dataclass(frozen=True)
class Angles:
    """Where the sun and the satellite stood, degrees; azimuths clockwise from north."""

    sun_zenith: float
    sun_azimuth: float
    view_zenith: float | None = None
    view_azimuth: float | None = None


@dataclass(frozen=True)
class Scene:
    """One acquisition."""

    id: str
    sensor: str
    time: datetime
    """UTC; the middle of its period where the scene has one."""
    day: date
    """The solar day at the scene's middle, which a pass over the date line does not split."""
    bounds: tuple[float, float, float, float] | None
    """West, south, east, north in degrees; None where an archive does not say."""
    place: str
    """The place that a folder's files belong to; empty in a catalog."""
    cloud_cover: float | None
    """Per cent, as the scene's metadata say."""
    bands: Mapping[str, Asset]
    """By the sensor's band names; a band that the scene lacks is absent."""
    quality: Asset | None
    tile: str = ""
    """The piece of the provider's grid that it shows, such as `32UPV`; scenes of one tile, orbit
    and time are one acquisition. Empty where an archive does not say."""
    version: str = ""
    """Of its processing; text that grows with every reprocessing. Empty where unknown."""
    platform: str | None = None
    """Such as `sentinel-2a`."""
    angles: Angles | None = None


class SceneSource(Protocol):
    """An archive that can list its scenes."""

    def search(self, sensor: Sensor, start: date, end: date, outline: BaseGeometry) -> list[Scene]:
        """Scenes of a sensor that meet a period (both days included) and an outline (EPSG:4326),
        in the order of their dates and ids."""
        ...


def parse_time(text: str) -> datetime:
    """An ISO 8601 time as UTC; without a zone it is taken as UTC."""
    time = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)


def solar_day(time: datetime, longitude: float) -> date:
    """The date that the sun shows at a longitude, degrees east."""
    return (time + timedelta(hours=longitude / 15)).date()


def in_order(scenes: Sequence[Scene]) -> list[Scene]:
    """By date, then id, so that a result never hangs on the order in which files are listed."""
    return sorted(scenes, key=lambda scene: (scene.day, scene.id))


def scenes_to_json(scenes: Sequence[Scene]) -> list[dict[str, Any]]:
    """Scenes as JSON values; a nodata that is no number is written as text, as JSON has none."""
    return [
        asdict(scene)
        | {
            "day": scene.day.isoformat(),
            "time": scene.time.isoformat(),
            "bands": {name: _asset_to_json(asset) for name, asset in scene.bands.items()},
            "quality": _asset_to_json(scene.quality) if scene.quality else None,
        }
        for scene in scenes
    ]


def scenes_from_json(values: Sequence[Mapping[str, Any]]) -> list[Scene]:
    """Scenes from what `scenes_to_json` made."""
    return [
        Scene(
            id=value["id"],
            sensor=value["sensor"],
            time=datetime.fromisoformat(value["time"]),
            day=date.fromisoformat(value["day"]),
            bounds=tuple(value["bounds"]) if value["bounds"] else None,
            place=value["place"],
            cloud_cover=value["cloud_cover"],
            bands={name: _asset_from_json(asset) for name, asset in value["bands"].items()},
            quality=_asset_from_json(value["quality"]) if value["quality"] else None,
            tile=value["tile"],
            version=value["version"],
            platform=value["platform"],
            angles=Angles(**value["angles"]) if value["angles"] else None,
        )
        for value in values
    ]


def _asset_to_json(asset: Asset) -> dict[str, Any]:
    nodata = asset.nodata
    if nodata is not None and not math.isfinite(nodata):
        return asdict(asset) | {"nodata": str(nodata)}
    return asdict(asset)


def _asset_from_json(value: Mapping[str, Any]) -> Asset:
    nodata, constants = value["nodata"], value.get("constants")
    read = {
        "nodata": float(nodata) if isinstance(nodata, str) else nodata,
        "constants": tuple(constants) if constants else None,
    }
    return Asset(**{**value, **read})
