"""Finding things part by part of a map, each part alone, on whatever worker.

A part's file is a zip of numpy arrays: `windows` (N, 4) row, column, rows and columns of every
window that was looked at, `owner` (M,) the window that a thing was found in, `codes` (M,), `scores`
(M,), and the outlines as `coords` (P, 2) with `offsets0`, `offsets1`, `offsets2`, see
`shapely.to_ragged_array`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, final
from uuid import uuid4

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes as outlines
from rasterio.transform import Affine

from earthloom.errors import ContractError
from earthloom.maps.clip import Clip
from earthloom.maps.objects_merge import Geometries, Pieces
from earthloom.maps.part_work import PartWork, turn
from earthloom.maps.predict import ahead
from earthloom.maps.sources import PixelSource
from earthloom.maps.tiling import Layout, Looks, Part, Tiling
from earthloom.sample import Moments, Place, Shape2d, Window

if TYPE_CHECKING:
    from earthloom.sample.batch import Batch
    from earthloom.tasks.objects import Mask, Things


class Finder(Protocol):
    """A detector that was made ready."""

    def find(self, batch: Batch) -> Sequence[Things]:
        """The things of each chip of a batch, in the chip's own pixels."""
        ...


class FinderSource(Protocol):
    """Where a detector comes from; small, since it is sent to workers."""

    def open(self) -> Finder:
        """The detector, ready to find."""
        ...


@final
@dataclass(frozen=True)
class SavedFinder:
    """The folder of a model that finds things, as `save_model` wrote it."""

    folder: Path
    threshold: float
    """Least score."""

    def open(self) -> Finder:
        """See `FinderSource`."""
        from earthloom.fit import load_model
        from earthloom.tasks.objects_task import ThingTask

        model = load_model(self.folder)
        if not isinstance(model.task, ThingTask):
            raise ContractError(
                f"the model in {self.folder} is of the task '{model.task.name}'; things are found "
                "by models of: boxes, oriented-boxes, instances"
            )
        return _ModelFinder(model.answer, self.threshold)


class _Answers(Protocol):
    def __call__(self, batch: Batch) -> Sequence[Things]: ...


@final
@dataclass(frozen=True)
class _ModelFinder:
    answer: _Answers
    threshold: float

    def find(self, batch: Batch) -> Sequence[Things]:
        """See `Finder`."""
        return [each.some(each.scores >= self.threshold) for each in self.answer(batch)]


@dataclass(frozen=True)
class FindWork(PartWork):
    """Finding the things of a map's parts; see `PartWork` for the fields."""

    finder: FinderSource
    pixels: PixelSource
    layout: Layout
    folder: Path
    batch: int
    clip: Clip | None = None
    moments: Moments | None = None
    place: Place | None = None

    def make(self, part: Part, path: Path) -> int:
        """Finds the things of a part and writes its file; returns how many."""
        finder = self.finder.open()
        pixels = self.pixels_of(part)
        found = []
        with ahead(pixels.batches()) as batches, turn:
            for windows in batches:
                answers = finder.find(windows.batch)
                for place, things in zip(windows.places, answers, strict=True):
                    found.append(pieces_of(things, self.layout.window(*place), self.layout.shape))
        write_pieces(path, found)
        return sum(len(each.shapes) for each in found)

    def rows(self) -> Iterator[tuple[int, list[Pieces]]]:
        """Rows of windows with what was found in them, from top to bottom, with their first
        pixels; the files of one row of parts are held at a time."""
        starts = self.layout.rows.starts
        by_row: dict[int, list[Part]] = {}
        for part in self.units():
            by_row.setdefault(part.rows.number, []).append(part)
        for number in sorted(by_row):
            found: dict[int, list[Pieces]] = {}
            for part in by_row[number]:
                for pieces in read_pieces(self.path_of(part)):
                    found.setdefault(pieces.window.row, []).append(pieces)
            block = by_row[number][0].rows
            for top in starts[block.first : block.last]:
                yield top, found.get(top, [])


def tiling_for_things(model: Looks, window: int, overlap: int) -> Tiling:
    """Windows of at least `window` pixels, of which neighbours share at least `overlap`.

    Things up to so large lie whole in a window. A model that is not local to its radius is given
    windows that start where its own grids do.
    """
    if not 0 <= overlap < window:
        raise ContractError(
            f"windows of {window} pixels cannot share {overlap}; valid are 0 to {window - 1}"
        )
    multiple = int(np.lcm.reduce([spec.factor for spec in model.layers]))
    step = int(np.lcm(multiple, model.alignment))
    size = -(-window // step) * step
    stride = max((size - overlap) // step, 1) * step
    return Tiling(size, stride, multiple=multiple, step=step)


def pieces_of(things: Things, window: Window, whole: Shape2d) -> Pieces:
    """The things of a window as polygons in the pixels of the map; what lies outside the map, as
    where the last window reaches over its edge, is cut off."""
    if things.masks is not None:
        shapes = np.array([outline_of(mask) for mask in things.masks], object)
    else:
        shapes = np.asarray(shapely.polygons(things.corners.astype(np.float64)), object)
    place = np.array([window.col, window.row], np.float64)
    shapes = shapely.transform(shapes.reshape(-1), lambda points: points + place)
    right = min(window.col + window.shape.cols, whole.cols)
    bottom = min(window.row + window.shape.rows, whole.rows)
    seen = shapely.box(window.col, window.row, right, bottom)
    out = ~shapely.covers(seen, shapes)
    shapes[out] = shapely.intersection(shapes[out], seen)
    there = shapely.area(shapes) > 0
    return Pieces(window, shapes[there], things.codes[there], things.scores[there])


def outline_of(mask: Mask) -> shapely.MultiPolygon:
    """The pixels of a mask as polygons along pixel borders; x counts columns, y rows."""
    image = mask.pixels.astype(np.uint8)
    place = Affine.translation(mask.col, mask.row)
    rings = [drawn["coordinates"] for drawn, _ in outlines(image, mask.pixels, transform=place)]
    return shapely.MultiPolygon([shapely.Polygon(first, holes) for first, *holes in rings])


def write_pieces(path: Path, found: Sequence[Pieces]) -> None:
    """Writes what was found in windows, whole or not at all."""
    windows = [(p.window.row, p.window.col, *p.window.shape) for p in found]
    shapes = np.concatenate([p.shapes for p in found]) if found else np.empty(0, object)
    counts = [len(p.shapes) for p in found]
    arrays: dict[str, NDArray[np.generic]] = {
        "windows": np.array(windows, np.int64).reshape(-1, 4),
        "owner": np.repeat(np.arange(len(found)), counts),
        "codes": np.concatenate([p.codes for p in found] or [np.zeros(0, np.uint8)]),
        "scores": np.concatenate([p.scores for p in found] or [np.zeros(0, np.float32)]),
        **_as_arrays(shapes),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with partial.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def read_pieces(path: Path) -> list[Pieces]:
    """What `write_pieces` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        arrays = dict(stored)
    shapes = _as_shapes(arrays)
    made = []
    for number, (row, col, rows, cols) in enumerate(arrays["windows"].tolist()):
        own = arrays["owner"] == number
        window = Window(row, col, Shape2d(rows, cols))
        made.append(Pieces(window, shapes[own], arrays["codes"][own], arrays["scores"][own]))
    return made


def _as_arrays(shapes: Geometries) -> dict[str, NDArray[np.generic]]:
    """Polygons, single or several, as multipolygons in plain numbers."""
    if not len(shapes):
        return {"coords": np.zeros((0, 2))}
    parts, owner = shapely.get_parts(shapes, return_index=True)
    polygons = shapely.get_type_id(parts) == shapely.GeometryType.POLYGON
    many = shapely.multipolygons(parts[polygons], indices=owner[polygons])
    _, coords, offsets = shapely.to_ragged_array(many)
    return {"coords": coords} | {f"offsets{n}": each for n, each in enumerate(offsets)}


def _as_shapes(arrays: dict[str, NDArray[np.generic]]) -> Geometries:
    if not len(arrays["coords"]):
        return np.empty(0, object)
    offsets = tuple(arrays[f"offsets{n}"] for n in range(3))
    kind = shapely.GeometryType.MULTIPOLYGON
    shapes: Geometries = shapely.from_ragged_array(kind, arrays["coords"], offsets)
    return shapes
