"""TorchGeo's rasters that are sampled by bounds, cut into chips by a fixed grid.

Every row of a dataset's index (a scene, or where a scene and a map of labels meet) is cut into
squares from its upper left corner on; those at the edges overlap their neighbours, so that all of
it is in one. Pixels are on the grid of the dataset, which TorchGeo resamples others onto.
"""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyproj

from earthloom.datasets.arrays import label_of, layer_of
from earthloom.datasets.model import Entry
from earthloom.datasets.samples import LabelledSamples, ReadReport
from earthloom.errors import DataError
from earthloom.sample import Chip, LayerSpec, Place, Shape2d
from earthloom.sample.target import Target

_SECONDS = 86_400

_WIDTHS = 2.0
"""By how much pixels may differ from what is nominal: NAIP is of 0.6 m in some years."""


class GeoDataset(Protocol):
    """What of TorchGeo's readers by bounds is used."""

    @property
    def index(self) -> Any: ...

    @property
    def crs(self) -> Any: ...

    @property
    def res(self) -> tuple[float, float]: ...

    def __getitem__(self, query: Any) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Piece:
    """A square of a scene."""

    id: str
    scene: str
    left: float
    top: float
    """Of its upper left corner, in the dataset's CRS."""
    time: slice
    """First and last moment of the scene."""
    day: int
    """Days since 1970-01-01 of the middle of its time; 0 where it spans more than a year."""


@dataclass(frozen=True)
class GridItems:
    """Squares of a dataset that is sampled by bounds; a `Reader`."""

    entry: Entry
    dataset: GeoDataset
    pieces: tuple[Piece, ...]
    shape: Shape2d

    @cached_property
    def specs(self) -> Mapping[str, LayerSpec]:
        return {layer.spec.key: layer.spec for layer in self.entry.layers}

    @cached_property
    def groups(self) -> Sequence[str]:
        return [piece.scene for piece in self.pieces]

    def __len__(self) -> int:
        return len(self.pieces)

    def chip(self, index: int) -> Chip:
        piece = self.pieces[index]
        sample, what = self._sample(piece), f"{self.entry.name}: {piece.id}"
        layers = [
            layer_of(each, np.asarray(sample[each.key]), (piece.day,), what)
            for each in self.entry.layers
        ]
        values = np.asarray(sample[self.entry.source.target])
        label = label_of(self.entry, values.squeeze(), self.shape, what)
        by_key = {layer.spec.key: layer for layer in layers}
        return Chip(piece.id, self.shape, by_key, label, piece.scene, self._place(piece))

    def target(self, index: int) -> Target | None:
        return None

    def _sample(self, piece: Piece) -> Mapping[str, Any]:
        across, down = self.dataset.res
        right = piece.left + self.shape.cols * across
        bottom = piece.top - self.shape.rows * down
        query = (slice(piece.left, right, across), slice(bottom, piece.top, down), piece.time)
        try:
            return self.dataset[query]
        except (OSError, ValueError, RuntimeError, KeyError, IndexError) as error:
            words = " ".join(str(error).split())
            raise DataError(f"{self.entry.name}: {piece.id} cannot be read: {words}") from error

    def _place(self, piece: Piece) -> Place:
        across, down = self.dataset.res
        code = self.dataset.crs.to_epsg()
        crs = f"EPSG:{code}" if code else self.dataset.crs.to_wkt()
        return Place(crs, (across, 0.0, piece.left, 0.0, -down, piece.top), self.shape)


def on_grid(entry: Entry, dataset: GeoDataset, folder: Path) -> LabelledSamples:
    """The squares of a dataset, of the entry's size; scenes that are smaller are counted."""
    if entry.size is None or entry.task != "pixel-class":
        raise DataError(
            f"{entry.name}: what TorchGeo samples by bounds needs 'size' and the task 'pixel-class'"
        )
    shape, skipped, pieces = Shape2d(*entry.size), Counter[str](), list[Piece]()
    scenes = _scenes(dataset)
    _check_pixels(entry, dataset, scenes[0][1])
    for scene, bounds, times in scenes:
        found = list(_pieces(scene, bounds, times, shape, dataset.res))
        skipped[f"smaller than {min(shape)} pixels"] += not found
        pieces += found
    report = ReadReport(len(pieces) + sum(skipped.values()), dict(+skipped))
    if not pieces:
        raise DataError(f"there is no {entry.name} in {folder}: {report.sentence()}")
    items = GridItems(entry, dataset, tuple(pieces), shape)
    return LabelledSamples(entry.name, entry.task, entry.classes, items, report)


def _check_pixels(entry: Entry, dataset: GeoDataset, bounds: Sequence[float]) -> None:
    """DataError if the dataset's pixels are half or twice as wide on the ground as its layer's."""
    left, bottom, right, top = bounds
    x, y = (left + right) / 2, (bottom + top) / 2
    to_degrees = pyproj.Transformer.from_crs(dataset.crs, "EPSG:4326", always_xy=True)
    lon, lat = to_degrees.transform([x, x + dataset.res[0]], [y, y])
    *_, metres = pyproj.Geod(ellps="WGS84").inv(lon[0], lat[0], lon[1], lat[1])
    wanted = entry.layers[0].gsd
    if not wanted / _WIDTHS < metres < wanted * _WIDTHS:
        raise DataError(
            f"{entry.name}: pixels are {metres:.3g} m wide, but the entry says {wanted:g} m; "
            "images of another resolution need an entry of their own"
        )


def _scenes(dataset: GeoDataset) -> list[tuple[str, tuple[float, ...], Any]]:
    """Name, bounds (left, bottom, right, top) and time of each row of the index, by name."""
    index = dataset.index
    named = next((name for name in index.columns if str(name).startswith("filepath")), None)
    rows = []
    for at, (times, geometry) in enumerate(zip(index.index, index.geometry, strict=True)):
        name = f"{at:04d}" if named is None else Path(str(index[named].iloc[at])).stem
        rows.append((name, tuple(geometry.bounds), times))
    return sorted(rows, key=lambda row: (row[0], row[1]))


def _pieces(
    scene: str, bounds: Sequence[float], times: Any, shape: Shape2d, res: tuple[float, float]
) -> Iterator[Piece]:
    left, bottom, right, top = bounds
    # Bounds that were brought to another CRS are seldom whole pixels.
    cols, rows = (
        math.floor(side / step + 1e-6)
        for side, step in zip((right - left, top - bottom), res, strict=True)
    )
    day = _day(times)
    for row in _starts(rows, shape.rows):
        for col in _starts(cols, shape.cols):
            x, y = left + col * res[0], top - row * res[1]
            time = slice(times.left, times.right)
            yield Piece(f"{scene}_{row}_{col}", scene, x, y, time, day)


def _starts(side: int, size: int) -> Iterable[int]:
    """Where squares begin along a side; none where it is too short."""
    return sorted({*range(0, side - size, size), side - size}) if side >= size else ()


def _day(times: Any) -> int:
    if (times.right - times.left).days > 366:
        return 0
    return int(times.mid.timestamp() // _SECONDS)
