"""A scene: one acquisition as listed by an archive, normalised once, at the edge."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Any, Protocol

from shapely.geometry.base import BaseGeometry

from earthloom.sensors import Sensor


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


@dataclass(frozen=True)
class Scene:
    """One acquisition."""

    id: str
    sensor: str
    day: date
    bounds: tuple[float, float, float, float] | None
    """West, south, east, north in degrees; None where an archive does not say."""
    place: str
    """The place that a folder's files belong to; empty in a catalog."""
    cloud_cover: float | None
    """Per cent, as the scene's metadata say."""
    bands: Mapping[str, Asset]
    """By the sensor's band names; a band that the scene lacks is absent."""
    quality: Asset | None


class SceneSource(Protocol):
    """An archive that can list its scenes."""

    def search(self, sensor: Sensor, start: date, end: date, outline: BaseGeometry) -> list[Scene]:
        """Scenes of a sensor that meet a period (both days included) and an outline (EPSG:4326),
        in the order of their dates and ids."""
        ...


def parse_day(text: str) -> date:
    """The day of an ISO 8601 time."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")).date()


def in_order(scenes: Sequence[Scene]) -> list[Scene]:
    """By date, then id, so that a result never hangs on the order in which files are listed."""
    return sorted(scenes, key=lambda scene: (scene.day, scene.id))


def scenes_to_json(scenes: Sequence[Scene]) -> list[dict[str, Any]]:
    """Scenes as JSON values."""
    return [asdict(scene) | {"day": scene.day.isoformat()} for scene in scenes]


def scenes_from_json(values: Sequence[Mapping[str, Any]]) -> list[Scene]:
    """Scenes from what `scenes_to_json` made."""
    return [
        Scene(
            id=value["id"],
            sensor=value["sensor"],
            day=date.fromisoformat(value["day"]),
            bounds=tuple(value["bounds"]) if value["bounds"] else None,
            place=value["place"],
            cloud_cover=value["cloud_cover"],
            bands={name: Asset(**asset) for name, asset in value["bands"].items()},
            quality=Asset(**value["quality"]) if value["quality"] else None,
        )
        for value in values
    ]
