"""Where and when a cube is blind: counts of clear observations, gaps, and a verdict.

Counts are read strip by strip, so memory does not grow with the area. What is kept of a layer is a
picture of at most 200 pixels both ways and figures over all of its pixels.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask
from shapely.geometry.base import BaseGeometry

from earthloom.cube.build import COVERAGE
from earthloom.cube.coverage_assessment import ENOUGH, CoverageAssessment, assess_coverage
from earthloom.cube.coverage_tally import LayerGrid, Tally, quantile, sparse
from earthloom.cube.store import Cube
from earthloom.errors import DataError
from earthloom.grid import Area, project_outline, window_box
from earthloom.sample import LayerSpec, Shape2d, Window

__all__ = [
    "ENOUGH",
    "Coverage",
    "CoverageAssessment",
    "StepCoverage",
    "assess_coverage",
    "coverage_of",
]

_EPOCH = date(1970, 1, 1)
_STRIP_BYTES = 2**26
"""Of counts that are worked on at a time."""


@dataclass(frozen=True)
class StepCoverage:
    """What one time step of a layer shows."""

    label: str
    start: date
    end: date
    """The last day, included."""
    scenes: tuple[str, ...]
    """Ids of the scenes that loaded."""
    failed: tuple[str, ...]
    """Ids of those that did not."""
    seen: float
    """Share of the pixels that were seen clearly at least once."""
    mean: float
    """Clear observations of a pixel, on average."""


@dataclass(frozen=True, eq=False)
class Coverage:
    """Where and when one layer of a cube is blind, within an area."""

    key: str
    """The layer's, such as `sentinel-2-l2a_20m`."""
    sensor: str
    gsd: float
    """Metres between the layer's pixels."""
    steps: tuple[StepCoverage, ...]
    pixels: int
    """Of the layer that lie in the area."""
    months: tuple[str, ...]
    """What `counts` are of: calendar months (`2023-05`), or the steps, where one is longer."""
    months_seen: tuple[float, ...]
    """Of each: share of the pixels that were seen clearly at least once."""
    counts: NDArray[np.float32]
    """(M, h, w) clear observations of a pixel in each month, mean of the pixels of a block; NaN
    outside the area."""
    shown: NDArray[np.float32]
    """(h, w) share of the time steps that saw a pixel, mean of a block; NaN outside the area."""
    gap: NDArray[np.float32]
    """(h, w) longest gap of a pixel, days, mean of a block; NaN outside the area."""
    box: GeoBox
    """Where `counts`, `shown` and `gap` lie."""
    gaps: tuple[tuple[int, int], ...]
    """Days of the longest gap, and how many pixels have it; the days ascend. A gap is a time
    without any step that saw the pixel, the beginning and the end of the series included; within
    a composite it is not known when a pixel was seen, so gaps are at least so long."""
    observations: tuple[tuple[int, int], ...]
    """Clear observations in all, and how many pixels have so many; ascending."""
    assessment: CoverageAssessment
    failed: Mapping[str, str]
    """Why scenes of this layer did not load, by their ids."""
    superseded: Mapping[str, str]
    """Scenes that were left out because of another, by their ids; which, or why."""

    @property
    def total(self) -> NDArray[np.float32]:
        """(h, w) clear observations of a pixel in all, mean of a block; NaN outside the area."""
        total: NDArray[np.float32] = self.counts.sum(axis=0)
        return total

    @property
    def scenes(self) -> int:
        """Different scenes that loaded."""
        return len({scene for step in self.steps for scene in step.scenes})

    @property
    def mean(self) -> float:
        """Clear observations of a pixel in all, on average."""
        return sum(step.mean for step in self.steps)

    @property
    def never(self) -> float:
        """Share of the pixels that were never seen."""
        return dict(self.observations).get(0, 0) / max(self.pixels, 1)

    @property
    def days(self) -> int:
        """Length of the whole series."""
        return (max(s.end for s in self.steps) - min(s.start for s in self.steps)).days + 1

    def gap_reached(self, share: float) -> int:
        """Days of the shortest gap that at least so large a share of the pixels keep within."""
        return quantile(self.gaps, share)

    def observed(self, share: float) -> int:
        """The most clear observations that so large a share of the pixels do not exceed."""
        return quantile(self.observations, share)


def coverage_of(
    cube: Cube,
    cube_folder: Path,
    area: Area | None = None,
    spatial_threshold: float = ENOUGH,
    temporal_threshold: float = ENOUGH,
) -> tuple[Coverage, ...]:
    """The coverage of each layer of a finished cube that changes over time.

    `cube_folder` holds the cube's `coverage.json`. With an area, pixels outside its outline play
    no part. A date of the assessment is a time step, and a pixel is clean in it if it was seen
    clearly at least once.
    """
    scenes = _read_scenes(cube_folder / COVERAGE)
    assessed = (spatial_threshold, temporal_threshold)
    return tuple(
        _of_layer(cube, spec, scenes, area, assessed)
        for spec in cube.specs.values()
        if spec.dates != ("static",)
    )


# -- one layer ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Scenes:
    """What `coverage.json` says of the scenes behind a cube."""

    failed: Mapping[str, str]
    superseded: Mapping[str, str]
    layers: Mapping[str, Mapping[str, list[str]]]
    """By layer and step."""


def _of_layer(
    cube: Cube,
    spec: LayerSpec,
    scenes: _Scenes,
    area: Area | None,
    thresholds: tuple[float, float],
) -> Coverage:
    grid = _grid_of(cube, spec.key)
    months, month_of = _months(spec.dates, grid.spans)
    tally = Tally(grid, len(months), month_of)
    assessment = assess_coverage(tally.count(_strips(cube, spec.key, grid.box, area)), *thresholds)
    by_step = scenes.layers.get(spec.key, {})
    named = {scene for ids in by_step.values() for scene in ids}
    return Coverage(
        key=spec.key,
        sensor=spec.sensor,
        gsd=spec.gsd,
        steps=tuple(
            StepCoverage(
                label=label,
                start=grid.spans[step][0],
                end=grid.spans[step][1],
                scenes=tuple(s for s in by_step.get(label, ()) if s not in scenes.failed),
                failed=tuple(s for s in by_step.get(label, ()) if s in scenes.failed),
                seen=float(tally.seen[step] / tally.pixels),
                mean=float(tally.sums[step] / tally.pixels),
            )
            for step, label in enumerate(spec.dates)
        ),
        pixels=tally.pixels,
        months=months,
        months_seen=tuple((tally.months_seen / tally.pixels).tolist()),
        counts=tally.picture(tally.months),
        shown=tally.picture(tally.steps) / np.float32(len(spec.dates)),
        gap=tally.picture(tally.gap),
        box=grid.small,
        gaps=sparse(tally.gaps),
        observations=sparse(tally.observations),
        assessment=assessment,
        failed={each: why for each, why in scenes.failed.items() if each in named},
        superseded=dict(scenes.superseded),
    )


def _strips(
    cube: Cube, key: str, box: GeoBox, area: Area | None
) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.bool_]]]:
    """Strips of counts (T, rows, W) of bounded size, with the pixels that lie in the area."""
    outline = None
    if area is not None and area.outline is not None:
        outline = project_outline(area.outline, box)
    for top, strip in cube.count_strips(key):
        times, rows, cols = strip.shape
        high = max(_STRIP_BYTES // (times * cols), 1)
        for first in range(0, rows, high):
            counts = strip[:, first : first + high]
            yield top + first, counts, _inside(outline, box, top + first, counts.shape[1])


def _inside(outline: BaseGeometry | None, box: GeoBox, row: int, rows: int) -> NDArray[np.bool_]:
    """(rows, W): which pixels of some rows of a grid have their centre in an outline."""
    shape = Shape2d(rows, box.shape.x)
    if outline is None:
        return np.ones(tuple(shape), np.bool_)
    strip = window_box(box, Window(row, 0, shape))
    mask: NDArray[np.bool_] = geometry_mask([outline], tuple(shape), strip.affine, invert=True)
    return mask


def _months(
    labels: tuple[str, ...], spans: tuple[tuple[date, date], ...]
) -> tuple[tuple[str, ...], list[int]]:
    """The months of time steps and which each step falls in; the steps themselves where one
    reaches over the end of a month."""
    if any((a.year, a.month) != (b.year, b.month) for a, b in spans):
        return labels, list(range(len(labels)))
    of_step = [f"{start:%Y-%m}" for start, _ in spans]
    months = tuple(sorted(set(of_step)))
    return months, [months.index(month) for month in of_step]


def _grid_of(cube: Cube, key: str) -> LayerGrid:
    """A layer's grid and steps, from its CF metadata."""
    layer: Any = zarr.open_group(cube.path, mode="r")[key]
    mapping = layer["spatial_ref"].attrs
    c, a, b, f, d, e = (float(value) for value in mapping["GeoTransform"].split())
    rows, cols = layer["count"].shape[1:]
    spans = tuple(
        (_EPOCH + timedelta(days=int(low)), _EPOCH + timedelta(days=int(high) - 1))
        for low, high in layer["time_bounds"][:]
    )
    return LayerGrid(GeoBox((rows, cols), Affine(a, b, c, d, e, f), mapping["crs_wkt"]), spans)


def _read_scenes(file: Path) -> _Scenes:
    if not file.exists():
        raise DataError(f"{file.parent} has no {file.name}; 'earthloom cube' makes one")
    value = json.loads(file.read_text(encoding="utf-8"))
    return _Scenes(value["failed"], value.get("superseded", {}), value["layers"])
