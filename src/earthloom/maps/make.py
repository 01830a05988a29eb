"""One area's map: predicted, clipped, written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import geometry_mask
from shapely.geometry.base import BaseGeometry

from earthloom.cube import Cube
from earthloom.fit import Model
from earthloom.grid import Area, project_outline, window_box
from earthloom.maps import (
    CLASS_NODATA,
    ITEM,
    MAP,
    PROBABILITY,
    PROBABILITY_NODATA,
    PROBABILITY_SCALE,
)
from earthloom.maps.cog import (
    StripWriter,
    colour_table,
    quantised,
    write_class_names,
)
from earthloom.maps.item import write_item
from earthloom.maps.predict import predict_strips, tiling_for
from earthloom.progress import Tick
from earthloom.sample import Moments, Shape2d, Window
from earthloom.tasks import decide


@dataclass(frozen=True)
class MapInputs:
    """What a map is made of."""

    item_id: str
    """Of the STAC Item; no two maps share it."""
    area: Area
    cube: Cube
    model: Model
    moments: Moments | None
    """Of the area, where the model compares with it."""
    dates: tuple[date, date]
    """First and last day of the observations."""
    scenes: Sequence[str]
    provenance: Mapping[str, Any]
    """Digests of inputs, versions and seed, for the Item."""


def make_map(inputs: MapInputs, window: int, overlap: float, folder: Path, tick: Tick) -> None:
    """Writes `map.tif`, `probability.tif` (both COGs) and `item.json` into a folder.

    A pixel outside the area, or that no layer ever saw, is nodata in both.
    """
    model, area = inputs.model, inputs.area
    for member in model.members:
        member.encoder.check(inputs.cube.specs)
    task = model.task
    classes = StripWriter(folder / MAP, area.box, ["class"], CLASS_NODATA)
    classes.file.write_colormap(1, colour_table(task))
    shares = StripWriter(folder / PROBABILITY, area.box, task.names, PROBABILITY_NODATA)
    shares.file.scales = (PROBABILITY_SCALE,) * len(task.names)
    outline = project_outline(area.outline, area.box) if area.outline else None
    tiling = tiling_for(model, window, overlap)
    strips = predict_strips(
        model,
        inputs.cube,
        tiling,
        lambda done, total: tick(done, total, area.name),
        inputs.moments,
    )
    for row, probabilities in strips:
        if outline is not None:
            outside = _outside(outline, area.box, row, probabilities.shape[1:])
            probabilities[:, outside] = np.nan
        classes.write(row, decide(probabilities, task.codes, model.threshold)[None])
        shares.write(row, quantised(probabilities))
    classes.finish(overviews="MODE")
    shares.finish(overviews="AVERAGE")
    write_class_names(folder / MAP, task)
    write_item(
        folder / ITEM,
        inputs.item_id,
        area.box,
        area.outline,
        inputs.dates,
        task,
        inputs.provenance,
        inputs.scenes,
    )


def read_summary(path: Path) -> dict[int, int]:
    """Pixels of each value of a map, nodata included."""
    with rasterio.open(path) as source:
        totals = np.zeros(256, np.int64)
        for _, window in source.block_windows(1):
            totals += np.bincount(source.read(1, window=window).ravel(), minlength=256)
    return {int(code): int(totals[code]) for code in np.flatnonzero(totals)}


def _outside(
    outline: BaseGeometry, box: GeoBox, row: int, shape: tuple[int, ...]
) -> NDArray[np.bool_]:
    """(rows, W): True where a strip's pixels have their centre outside the area."""
    strip = window_box(box, Window(row, 0, Shape2d(*shape)))
    outside: NDArray[np.bool_] = geometry_mask([outline], shape, strip.affine)
    return outside
