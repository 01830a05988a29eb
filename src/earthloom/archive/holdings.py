"""What an archive has of a sensor, for the message that a search found nothing."""

from datetime import date

import shapely

from earthloom.archive.api import StacApi
from earthloom.archive.scene import SceneSource
from earthloom.sensors import Sensor


def holdings(archive: SceneSource, sensor: Sensor) -> str:
    """In words, to follow 'the archive has': how many scenes, from when to when, and where."""
    if isinstance(archive, StacApi):
        return archive.holdings(sensor)
    scenes = archive.search(sensor, date.min, date.max, shapely.box(-180, -90, 180, 90))
    if not scenes:
        return "none of this sensor"
    days = [scene.day for scene in scenes]
    held = f"{len(scenes)} scenes from {min(days)} to {max(days)}"
    boxes = [shapely.box(*scene.bounds) for scene in scenes if scene.bounds]
    if boxes:
        bounds = shapely.union_all(boxes).bounds
        held += " within (" + ", ".join(f"{bound:.4f}" for bound in bounds) + ")"
    return held
