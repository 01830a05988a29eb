"""Coverage as JSON: a file that a person can read, with the pictures packed into text."""

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from earthloom.cube.coverage import Coverage, CoverageAssessment, StepCoverage
from earthloom.errors import DataError
from earthloom.grid import crs_wkt
from earthloom.stages import canonical_json, write_atomic

_VERSION = 1
_PACKED = "<f4"
"""Little-endian float32, row by row, deflated, as base64."""


def write_coverage(path: Path, coverages: Sequence[Coverage]) -> None:
    """Writes the coverage of a cube's layers."""
    value = {"version": _VERSION, "layers": [_to_json(each) for each in coverages]}
    write_atomic(path, canonical_json(value))


def read_coverage(path: Path) -> tuple[Coverage, ...]:
    """What `write_coverage` wrote; DataError if it is not that."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        if value["version"] != _VERSION:
            raise DataError(f"{path} has version {value['version']}; known is: {_VERSION}")
        return tuple(_from_json(each) for each in value["layers"])
    except (OSError, KeyError, TypeError, ValueError, zlib.error) as error:
        raise DataError(f"{path} does not hold the coverage of a cube: {error!r}") from error


def _to_json(coverage: Coverage) -> dict[str, Any]:
    return {
        "key": coverage.key,
        "sensor": coverage.sensor,
        "gsd": coverage.gsd,
        "pixels": coverage.pixels,
        "verdict": coverage.assessment.to_json(),
        "steps": [_step_to_json(step) for step in coverage.steps],
        "gaps": [list(each) for each in coverage.gaps],
        "observations": [list(each) for each in coverage.observations],
        "failed": dict(coverage.failed),
        "superseded": dict(coverage.superseded),
        "months": list(coverage.months),
        "months_seen": list(coverage.months_seen),
        "grid": {
            "affine": list(coverage.box.affine)[:6],
            "crs": crs_wkt(coverage.box),
            "shape": list(coverage.box.shape),
        },
        "pictures": {
            "counts": _packed(coverage.counts),
            "shown": _packed(coverage.shown),
            "gap": _packed(coverage.gap),
        },
    }


def _from_json(value: Mapping[str, Any]) -> Coverage:
    grid, pictures = value["grid"], value["pictures"]
    rows, cols = grid["shape"]
    return Coverage(
        key=value["key"],
        sensor=value["sensor"],
        gsd=value["gsd"],
        steps=tuple(_step_from_json(step) for step in value["steps"]),
        pixels=value["pixels"],
        months=tuple(value["months"]),
        months_seen=tuple(value["months_seen"]),
        counts=_unpacked(pictures["counts"]),
        shown=_unpacked(pictures["shown"]),
        gap=_unpacked(pictures["gap"]),
        box=GeoBox((rows, cols), Affine(*grid["affine"]), grid["crs"]),
        gaps=_pairs(value["gaps"]),
        observations=_pairs(value["observations"]),
        assessment=CoverageAssessment.from_json(value["verdict"]),
        failed=value["failed"],
        superseded=value["superseded"],
    )


def _step_to_json(step: StepCoverage) -> dict[str, Any]:
    return {
        "label": step.label,
        "start": step.start.isoformat(),
        "end": step.end.isoformat(),
        "scenes": list(step.scenes),
        "failed": list(step.failed),
        "seen": step.seen,
        "mean": step.mean,
    }


def _step_from_json(value: Mapping[str, Any]) -> StepCoverage:
    return StepCoverage(
        label=value["label"],
        start=date.fromisoformat(value["start"]),
        end=date.fromisoformat(value["end"]),
        scenes=tuple(value["scenes"]),
        failed=tuple(value["failed"]),
        seen=value["seen"],
        mean=value["mean"],
    )


def _pairs(values: Sequence[Sequence[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((first, second) for first, second in values)


def _packed(array: NDArray[np.float32]) -> dict[str, Any]:
    stored = zlib.compress(array.astype(_PACKED).tobytes(), 9)
    return {"shape": list(array.shape), "data": base64.b64encode(stored).decode("ascii")}


def _unpacked(value: Mapping[str, Any]) -> NDArray[np.float32]:
    stored = zlib.decompress(base64.b64decode(value["data"], validate=True))
    flat = np.frombuffer(stored, _PACKED).astype(np.float32)
    return flat.reshape(value["shape"])
