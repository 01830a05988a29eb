"""What is found out about each scene before the cube is made."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from earthloom.cube.harmonise import Displacement


@dataclass(frozen=True)
class SceneNotes:
    """What looking at a scene over the whole area has told."""

    moved: Displacement | None = None
    """By how much the grid is moved on which it is read; None where it is trusted as it lies."""
    terrain_c: Mapping[str, float] | None = None
    """c of each band, by which its light on slopes is corrected."""
    greenness: float | None = None
    """Mean NDVI of the area as far as it was seen."""
    offset: float | None = None
    """The offset that its pixels show, where the item says another one."""
    repaired: bool = False
    """Whether it is read with that offset."""


def notes_to_json(notes: Mapping[str, SceneNotes]) -> dict[str, Any]:
    """Notes as JSON values; JSON has no infinite c, which stands as None."""
    return {scene: asdict(note) | {"terrain_c": _finite(note)} for scene, note in notes.items()}


def notes_from_json(value: Mapping[str, Any]) -> dict[str, SceneNotes]:
    """Notes from what `notes_to_json` made."""
    return {scene: _from_json(note) for scene, note in value.items()}


def _finite(note: SceneNotes) -> dict[str, float | None] | None:
    if note.terrain_c is None:
        return None
    return {band: c if math.isfinite(c) else None for band, c in note.terrain_c.items()}


def _from_json(note: Mapping[str, Any]) -> SceneNotes:
    moved, slopes = note["moved"], note["terrain_c"]
    read = {
        "moved": Displacement(**moved) if moved else None,
        "terrain_c": {band: math.inf if c is None else c for band, c in slopes.items()}
        if slopes
        else None,
    }
    return SceneNotes(**{**note, **read})
