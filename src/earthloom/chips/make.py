"""Cuts cubes and their labels into chips, with an index of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from earthloom.chips.index import open_index
from earthloom.chips.index_schema import ChipRow, corners_of_place
from earthloom.chips.index_write import IndexWriter, replace_column
from earthloom.chips.labels import (
    Burned,
    Labels,
    Period,
    Valued,
    ValueLabels,
    VectorLabels,
    VectorValues,
)
from earthloom.chips.splits import Rule, assign
from earthloom.chips.store import ChipWriter, Storage
from earthloom.cube import Cube
from earthloom.errors import ContractError, LabelError, choices
from earthloom.grid import Area, cover, place_of, window_box
from earthloom.progress import Tick
from earthloom.sample import UNLABELLED, Chip, Moments, Shape2d, Window, weight_unless_one
from earthloom.sample.target import PixelValues

INDEX = "index.parquet"
BLOCK = 2
"""Chips, both ways, that share a group where groups are blocks of an area."""


@dataclass(frozen=True)
class Labelled:
    """An area with its cube and its labels."""

    area: Area
    cube: Cube
    labels: Labels | ValueLabels
    moments: Moments | None = None
    source: str = ""
    """Digest of the cube, for the index."""
    period: Period | None = None
    """Days that the cube shows: labels of other times are left out. None takes labels of all."""


@dataclass(frozen=True)
class Cutting:
    """How areas become chips."""

    size: int
    """Pixels of the base grid, both ways."""
    stride: int
    """Pixels from one chip to the next."""
    by_place: bool
    """Whether an area is one group, or has groups of `BLOCK` x `BLOCK` chips."""
    storage: Storage = Storage()
    split: Rule | None = None
    """How the chips are divided into training, validation and test."""
    seed: int = 0
    """Of the division."""


@dataclass(frozen=True)
class _Cut:
    """A window of an area that holds labels."""

    source: Labelled
    window: Window
    label: NDArray[np.uint8] | None
    weight: NDArray[np.float32] | None
    target: PixelValues | None = None

    @property
    def id(self) -> str:
        return f"{self.source.area.name}_{self.window.row}_{self.window.col}"


def make_chips(sources: Sequence[Labelled], cutting: Cutting, folder: Path, tick: Tick) -> int:
    """Writes a chip store and its index; returns the number of chips.

    Every window that holds a label becomes a chip. LabelError if no area has any label.
    """
    _check_size(cutting, sources)
    cuts = [cut for source in sources for cut in _cuts(source, cutting)]
    if not cuts:
        raise LabelError(_nothing_labelled(sources))
    moments = {source.area.name: source.moments for source in sources if source.moments}
    shape = Shape2d(cutting.size, cutting.size)
    specs, storage = sources[0].cube.specs, cutting.storage
    writer = ChipWriter(folder, specs, shape, len(cuts), moments, storage=storage)
    with IndexWriter(folder / INDEX) as index:
        for number, cut in enumerate(cuts, start=1):
            chip = _chip(cut, cutting)
            writer.add(chip, cut.source.area.name)
            index.add([_index_row(cut, chip)])
            tick(number, len(cuts), cut.id)
        writer.finish()
    if cutting.split is not None:
        splits = assign(open_index(folder / INDEX).chips(), cutting.split, cutting.seed)
        replace_column(folder / INDEX, "split", splits)
    return len(cuts)


def _check_size(cutting: Cutting, sources: Sequence[Labelled]) -> None:
    factors = {spec.factor for source in sources for spec in source.cube.specs.values()}
    multiple = int(np.lcm.reduce(sorted(factors)))
    for name, value in (("size", cutting.size), ("stride", cutting.stride)):
        if value % multiple:
            below = value // multiple * multiple
            valid = [v for v in (below, below + multiple) if v > 0]
            raise ContractError(
                f"chips.{name} is {value}, but the layers need a multiple of {multiple}; "
                f"near it are: {choices(valid)}"
            )


def _cuts(source: Labelled, cutting: Cutting) -> list[_Cut]:
    """The windows of an area that hold labels."""
    box = source.area.box
    labels = source.labels.during(source.period)
    if isinstance(labels, VectorLabels | VectorValues):
        labels = labels.to(box)
    windows = cover(Shape2d(box.shape.y, box.shape.x), cutting.size, cutting.stride)
    cuts = (_cut(source, window, labels.burn(window_box(box, window))) for window in windows)
    return [cut for cut in cuts if cut is not None]


def _cut(source: Labelled, window: Window, burned: Burned | Valued) -> _Cut | None:
    """A window with its labels; None where it holds none within the area."""
    box = source.area.box
    beyond = (
        slice(max(box.shape.y - window.row, 0), None),
        slice(max(box.shape.x - window.col, 0), None),
    )
    if isinstance(burned, Valued):
        burned.values[beyond[0]] = np.nan
        burned.values[:, beyond[1]] = np.nan
        if np.isnan(burned.values).all():
            return None
        return _Cut(source, window, None, None, burned.target)
    label = burned.code
    label[beyond[0]] = UNLABELLED
    label[:, beyond[1]] = UNLABELLED
    if not ((burned.weight > 0) & (label != UNLABELLED)).any():
        return None
    return _Cut(source, window, label, weight_unless_one(label, burned.weight))


def _chip(cut: _Cut, cutting: Cutting) -> Chip:
    area, window = cut.source.area, cut.window
    side = BLOCK * max(cutting.size, cutting.stride)
    block = f"{area.name}/{window.row // side}_{window.col // side}"
    return Chip(
        id=cut.id,
        shape=window.shape,
        layers=cut.source.cube.window(window),
        label=cut.label,
        group=area.name if cutting.by_place else block,
        place=place_of(window_box(area.box, window)),
        moments=cut.source.moments,
        weight=cut.weight,
        target=cut.target,
    )


def _index_row(cut: _Cut, chip: Chip) -> ChipRow:
    days = np.concatenate([layer.days for layer in chip.layers.values()])
    seen = [layer.valid.mean() for layer in chip.layers.values()]
    return ChipRow(
        id=chip.id,
        area=cut.source.area.name,
        layers=tuple(chip.layers),
        row=cut.window.row,
        col=cut.window.col,
        size=cut.window.shape.rows,
        valid_fraction=float(np.mean(seen)),
        first_day=int(days.min()),
        last_day=int(days.max()),
        label_counts=_label_counts(chip),
        group=chip.group,
        source=cut.source.source,
        corners=corners_of_place(place_of(window_box(cut.source.area.box, cut.window))),
    )


def _label_counts(chip: Chip) -> dict[int, int]:
    """Labelled pixels of each class; empty for a chip whose answer is no class codes."""
    usable = chip.usable_label
    if usable is None:
        return {}
    codes, counts = np.unique(usable[usable != UNLABELLED], return_counts=True)
    return dict(zip(codes.tolist(), counts.tolist()))


def _nothing_labelled(sources: Sequence[Labelled]) -> str:
    area = sources[0].area
    west, south, east, north = area.box.geographic_extent.boundingbox.bbox
    text = (
        f"no labels in the area {area.name} "
        f"({west:.4f}, {south:.4f}, {east:.4f}, {north:.4f} degrees)"
    )
    labels = sources[0].labels
    if isinstance(labels, VectorLabels | VectorValues):
        bounds = labels.table.to_crs(4326).total_bounds
        text += "; the labels lie within " + ", ".join(f"{bound:.4f}" for bound in bounds)
    return text
