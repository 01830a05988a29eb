"""Cuts cubes and their labels into chips, with an index of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
from numpy.typing import NDArray
from odc.geo.geom import box as odc_box

from earthloom.chips.labels import Labels, VectorLabels
from earthloom.chips.store import ChipWriter
from earthloom.cube import Cube
from earthloom.errors import ContractError, LabelError, choices
from earthloom.grid import Area, cover, place_of, window_box
from earthloom.progress import Tick
from earthloom.sample import UNLABELLED, Chip, Moments, Shape2d, Window

INDEX = "index.parquet"
BLOCK = 2
"""Chips, both ways, that share a group where groups are blocks of an area."""


@dataclass(frozen=True)
class Labelled:
    """An area with its cube and its labels."""

    area: Area
    cube: Cube
    labels: Labels
    moments: Moments | None = None


@dataclass(frozen=True)
class _Cut:
    """A window of an area that holds labels."""

    source: Labelled
    window: Window
    label: NDArray[np.uint8]

    @property
    def id(self) -> str:
        return f"{self.source.area.name}_{self.window.row}_{self.window.col}"


def make_chips(
    sources: Sequence[Labelled],
    size: int,
    stride: int,
    by_place: bool,
    folder: Path,
    tick: Tick,
) -> int:
    """Writes a chip store and its index; returns the number of chips.

    Every window that holds a label becomes a chip. Its group is its area's name (`by_place`), or a
    block of `BLOCK` x `BLOCK` chips of the area. LabelError if no area has any label.
    """
    _check_size(size, stride, sources)
    cuts = [cut for source in sources for cut in _cuts(source, Shape2d(size, size), stride)]
    if not cuts:
        raise LabelError(_nothing_labelled(sources))
    moments = {source.area.name: source.moments for source in sources if source.moments}
    writer = ChipWriter(folder, sources[0].cube.specs, Shape2d(size, size), len(cuts), moments)
    rows = []
    for number, cut in enumerate(cuts, start=1):
        chip = _chip(cut, by_place, stride)
        writer.add(chip, cut.source.area.name)
        rows.append(_index_row(cut, chip))
        tick(number, len(cuts), cut.id)
    writer.finish()
    table = gpd.GeoDataFrame(rows, geometry="geometry", crs=4326)
    table.to_parquet(folder / INDEX, index=False)
    return len(cuts)


def _check_size(size: int, stride: int, sources: Sequence[Labelled]) -> None:
    factors = {spec.factor for source in sources for spec in source.cube.specs.values()}
    multiple = int(np.lcm.reduce(sorted(factors)))
    for name, value in (("size", size), ("stride", stride)):
        if value % multiple:
            below = value // multiple * multiple
            valid = [v for v in (below, below + multiple) if v > 0]
            raise ContractError(
                f"chips.{name} is {value}, but the layers need a multiple of {multiple}; "
                f"near it are: {choices(valid)}"
            )


def _cuts(source: Labelled, shape: Shape2d, stride: int) -> list[_Cut]:
    """The windows of an area that hold labels."""
    box = source.area.box
    labels = source.labels.to(box) if isinstance(source.labels, VectorLabels) else source.labels
    cuts = []
    for window in cover(Shape2d(box.shape.y, box.shape.x), shape.rows, stride):
        label = labels.onto(window_box(box, window))
        label[max(box.shape.y - window.row, 0) :] = UNLABELLED
        label[:, max(box.shape.x - window.col, 0) :] = UNLABELLED
        if (label != UNLABELLED).any():
            cuts.append(_Cut(source, window, label))
    return cuts


def _chip(cut: _Cut, by_place: bool, stride: int) -> Chip:
    area, window = cut.source.area, cut.window
    side = BLOCK * max(window.shape.rows, stride)
    block = f"{area.name}/{window.row // side}_{window.col // side}"
    return Chip(
        id=cut.id,
        shape=window.shape,
        layers=cut.source.cube.window(window),
        label=cut.label,
        group=area.name if by_place else block,
        place=place_of(window_box(area.box, window)),
        moments=cut.source.moments,
    )


def _index_row(cut: _Cut, chip: Chip) -> dict[str, object]:
    box = window_box(cut.source.area.box, cut.window)
    outline = odc_box(*box.boundingbox.bbox, box.crs).to_crs(4326)
    codes, counts = np.unique(cut.label[cut.label != UNLABELLED], return_counts=True)
    days = np.concatenate([layer.days for layer in chip.layers.values()])
    seen = [layer.valid.mean() for layer in chip.layers.values()]
    return {
        "id": chip.id,
        "area": cut.source.area.name,
        "group": chip.group,
        "row": cut.window.row,
        "col": cut.window.col,
        "size": cut.window.shape.rows,
        "first_day": np.datetime64(int(days.min()), "D"),
        "last_day": np.datetime64(int(days.max()), "D"),
        "layers": ",".join(chip.layers),
        "valid_fraction": float(np.mean(seen)),
        "label_codes": codes.tolist(),
        "label_counts": counts.tolist(),
        "geometry": outline.geom,
    }


def _nothing_labelled(sources: Sequence[Labelled]) -> str:
    area = sources[0].area
    west, south, east, north = area.box.geographic_extent.boundingbox.bbox
    text = (
        f"no labels in the area {area.name} "
        f"({west:.4f}, {south:.4f}, {east:.4f}, {north:.4f} degrees)"
    )
    labels = sources[0].labels
    if isinstance(labels, VectorLabels):
        bounds = labels.table.to_crs(4326).total_bounds
        text += "; the labels lie within " + ", ".join(f"{bound:.4f}" for bound in bounds)
    return text
