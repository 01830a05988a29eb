"""Batches straight from COGs: each block is decoded once and serves all chips that touch it.

    found = survey(reader, scenes, specs)
    direct = DirectChips(reader, found.grids, size=256, seed=7)
    for epoch in range(10):
        for batch in direct.batches(32, epoch):
            ...

Threads do the work, as decoding needs no lock of the interpreter; worker processes would decode
the same blocks again. The order of chips depends on the scenes, the seed, the epoch and the
`Shuffle` alone, not on the number of threads.
"""

import os
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.chips.blocks import (
    Block,
    BlockCache,
    CacheCounts,
    Needs,
    check_limit,
    overlap_of,
)
from earthloom.chips.draws import Draws, Share, draw_windows, regions_of, shuffle
from earthloom.chips.grids import BlockNumbers, SceneGrid
from earthloom.chips.physical import pour
from earthloom.cube.read import Reader
from earthloom.errors import ContractError
from earthloom.grid import place_of
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d, Window
from earthloom.sample.batch import Batch, LayerBatch

_EPOCH_DAY = date(1970, 1, 1)
_ALONE = Share()


@dataclass(frozen=True)
class Shuffle:
    """How widely chips are mixed, and what memory that may take."""

    chips: int = 1024
    """Chips that an order is mixed over: those of all regions that are open at a time. Fewer where
    their blocks would not fit."""
    cache_bytes: int = 448 * 2**20
    """Of decoded blocks, as stored numbers; with GDAL's own 32 MB below 512 MB. Batches come on
    top: three of them are in memory."""
    region: int = 2048
    """Pixels of the base grid: about how wide a region is."""


@dataclass
class Served:
    """What has been served so far, and what was lost."""

    chips: int = 0
    broken_chips: int = 0
    """Chips of which a file did not load; what it would have shown is not valid."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why files did not load, by their href."""
    cache: CacheCounts = field(default_factory=CacheCounts)


@dataclass(frozen=True)
class _Room:
    """Where a chip of one layer is written: (C, H, W) and (H, W)."""

    pixels: NDArray[np.float32]
    valid: NDArray[np.bool_]


_Rooms = Mapping[str, _Room]


class DirectChips:
    """Chips at random places of scenes, without a store."""

    def __init__(
        self,
        reader: Reader,
        grids: Sequence[SceneGrid],
        size: int,
        seed: int,
        shuffle: Shuffle = Shuffle(),
        windows: Draws | None = None,
        threads: int | None = None,
    ) -> None:
        """`size` is that of a chip in pixels of the base grid, `windows` are those to serve in
        every epoch; without them each epoch draws its own, so that a pixel is seen once on
        average. ContractError if there are no scenes, or windows do not fit them.
        """
        if not grids:
            raise ContractError("there is no scene to cut chips from")
        self._reader, self._grids, self._size, self._seed = reader, grids, size, seed
        self._shuffle, self._windows = shuffle, windows
        self._threads = threads or os.cpu_count() or 1
        self._numbers = BlockNumbers.of(grids)
        self._shapes = [grid.shape for grid in grids]
        self.served = Served()
        self._multiple = int(np.lcm.reduce([spec.factor for spec in self.specs.values()]))
        if size % self._multiple:
            raise ContractError(
                f"chips of {size} pixels do not fit the layers; their size must be a multiple of "
                f"{self._multiple}"
            )
        if windows is not None:
            _check(windows, self._shapes, size, self._multiple)

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        """The layers that every chip has, by key."""
        return {layer.spec.key: layer.spec for layer in self._grids[0].layers}

    def order(self, epoch: int) -> Draws:
        """All chips of an epoch, in the order in which they are served."""
        random = np.random.default_rng([self._seed, epoch])
        draws = self._windows or draw_windows(self._shapes, self._size, self._multiple, random)
        region = regions_of(draws, self._shapes, self._size, self._shuffle.region, random)
        return draws.take(shuffle(region, self._lanes(region), random))

    def chips(self, epoch: int, start: int = 0, share: Share = _ALONE) -> Iterator[Chip]:
        """Chips of an epoch with arrays of their own, from position `start` of the share on."""
        draws = share.of(self.order(epoch))
        with self._serving(draws, start) as serving:
            for first in range(start, len(draws)):
                rooms = {key: _room(spec, self._size) for key, spec in self.specs.items()}
                serving.begin(first, rooms)
                if serving.waiting > 2 * self._threads:
                    yield self._chip(draws, *serving.finish())
            while serving.waiting:
                yield self._chip(draws, *serving.finish())

    def batches(
        self,
        size: int,
        epoch: int,
        start: int = 0,
        share: Share = _ALONE,
        pin: bool = False,
        ahead: int = 2,
    ) -> Iterator[Batch]:
        """Batches of `size` chips; the last may have fewer. `start` is the position in the share
        that a run stopped at: `size` times the batches that it has had.

        A batch holds until the next one is asked for: its memory is used again (`pin` locks it,
        for copies to a GPU). `ahead` batches are made while one is used.
        """
        draws = share.of(self.order(epoch))
        free = deque(_Buffer.new(self.specs, size, self._size, pin) for _ in range(ahead + 1))
        coming: deque[tuple[int, int, _Buffer]] = deque()
        with self._serving(draws, start) as serving:
            for first in range(start, len(draws), size):
                stop = min(first + size, len(draws))
                buffer = free.popleft()
                for at in range(first, stop):
                    serving.begin(at, buffer.rooms(at - first))
                coming.append((first, stop, buffer))
                if len(coming) > ahead:
                    yield self._batch(serving, draws, *coming[0])
                    free.append(coming.popleft()[2])
            while coming:
                yield self._batch(serving, draws, *coming.popleft())

    @contextmanager
    def _serving(self, draws: Draws, start: int) -> Iterator["_Serving"]:
        if not 0 <= start <= len(draws):
            raise ContractError(
                f"position {start} is not within the {len(draws)} chips of an epoch"
            )
        needs = Needs.of(self._numbers, draws, self._size, start)
        check_limit(needs, self._shuffle.cache_bytes)
        # Chips wait for blocks on threads of their own, so that none that could decode is idle.
        decoders = ThreadPoolExecutor(self._threads, "blocks")
        fillers = ThreadPoolExecutor(self._threads, "chips")
        limit = self._shuffle.cache_bytes
        cache = BlockCache(self._reader, needs, limit, decoders, self.served.cache)
        try:
            yield _Serving(draws, self._size, cache, fillers, self.served)
        finally:
            for pool in (fillers, decoders):
                pool.shutdown(wait=True, cancel_futures=True)

    def _lanes(self, region: NDArray[np.int64]) -> int:
        """How many regions are open at a time."""
        regions = int(region.max()) + 1
        by_chips = self._shuffle.chips * regions / len(region)
        whole = [grid.shape.rows * grid.shape.cols for grid in self._grids]
        each = [
            layer.block_bytes * layer.blocks.rows * layer.blocks.cols
            for grid in self._grids
            for layer in grid.layers
        ]
        side = self._shuffle.region
        parts = sum(max(1.0, pixels / side**2) for pixels in whole)
        # Two regions' room is left for blocks that two regions share, and for those to come.
        by_bytes = self._shuffle.cache_bytes * parts / sum(each) - 2
        return max(1, int(min(by_chips, by_bytes)))

    def _chip(self, draws: Draws, at: int, rooms: _Rooms) -> Chip:
        layers = {
            key: Layer(
                spec=spec,
                pixels=rooms[key].pixels[None],
                valid=rooms[key].valid[None],
                days=np.array([self._day(draws, at)], np.int32),
            )
            for key, spec in self.specs.items()
        }
        grid = self._grids[draws.scene[at]]
        shape = Shape2d(self._size, self._size)
        window = Window(int(draws.row[at]), int(draws.col[at]), shape)
        return Chip(
            id=self._id(draws, at),
            shape=shape,
            layers=layers,
            group=grid.scene.tile or grid.scene.place or grid.scene.id,
            place=place_of(grid.box).window(window),
        )

    def _batch(
        self, serving: "_Serving", draws: Draws, first: int, stop: int, buffer: "_Buffer"
    ) -> Batch:
        for _ in range(first, stop):
            serving.finish()
        count = stop - first
        days = torch.tensor(
            [[self._day(draws, at)] for at in range(first, stop)], dtype=torch.int32
        )
        layers = {
            key: LayerBatch(pixels[:count], buffer.valid[key][:count], days)
            for key, pixels in buffer.pixels.items()
        }
        return Batch(tuple(self._id(draws, at) for at in range(first, stop)), layers, label=None)

    def _id(self, draws: Draws, at: int) -> str:
        scene = self._grids[draws.scene[at]].scene.id
        return f"{scene}_{draws.row[at]}_{draws.col[at]}"

    def _day(self, draws: Draws, at: int) -> int:
        day: date = self._grids[draws.scene[at]].scene.day
        return (day - _EPOCH_DAY).days


class _Serving:
    """Chips on their way: begun in order, filled by threads, finished in the same order."""

    def __init__(
        self, draws: Draws, size: int, cache: BlockCache, pool: ThreadPoolExecutor, served: Served
    ) -> None:
        self._draws, self._size, self._cache, self._pool = draws, size, cache, pool
        self._served = served
        self._filling: deque[tuple[int, Future[dict[str, str]]]] = deque()
        self._begun: deque[tuple[int, _Rooms]] = deque()

    @property
    def waiting(self) -> int:
        """Chips that were begun and not finished."""
        return len(self._begun)

    def begin(self, at: int, rooms: _Rooms) -> None:
        """Has a chip filled."""
        while (blocks := self._cache.admit(at)) is None:
            self._retire()
        corner = (int(self._draws.row[at]), int(self._draws.col[at]))
        filling = self._pool.submit(_fill, blocks, corner, self._size, rooms)
        self._filling.append((at, filling))
        self._begun.append((at, rooms))

    def finish(self) -> tuple[int, _Rooms]:
        """The next chip, filled: its position and where it is."""
        at, rooms = self._begun.popleft()
        while self._filling and self._filling[0][0] <= at:
            self._retire()
        return at, rooms

    def _retire(self) -> None:
        """Waits for the oldest chip that is being filled, and lets go of its blocks."""
        at, filling = self._filling.popleft()
        failed = filling.result()
        self._cache.retire(at)
        self._served.chips += 1
        self._served.broken_chips += bool(failed)
        self._served.failed.update(failed)


@dataclass(frozen=True)
class _Buffer:
    """Memory of one batch."""

    pixels: Mapping[str, Tensor]
    """By layer: (B, 1, C, H, W) float32."""
    valid: Mapping[str, Tensor]
    """By layer: (B, 1, H, W) bool."""

    @staticmethod
    def new(specs: Mapping[str, LayerSpec], count: int, size: int, pin: bool) -> "_Buffer":
        pixels, valid = {}, {}
        for key, spec in specs.items():
            side = size // spec.factor
            shape = (count, 1, len(spec.bands), side, side)
            pixels[key] = torch.empty(shape, dtype=torch.float32, pin_memory=pin)
            valid[key] = torch.empty((count, 1, side, side), dtype=torch.bool, pin_memory=pin)
        return _Buffer(pixels, valid)

    def rooms(self, index: int) -> _Rooms:
        """Where the chip with an index goes."""
        return {
            key: _Room(pixels[index, 0].numpy(), self.valid[key][index, 0].numpy())
            for key, pixels in self.pixels.items()
        }


def _fill(
    blocks: Sequence[Future[Block]], corner: tuple[int, int], size: int, rooms: _Rooms
) -> dict[str, str]:
    """Fills a chip; returns why files did not load, by their href."""
    failed: dict[str, str] = {}
    # Blocks were handed to the threads before this chip, so none is waited for in vain.
    for block in (each.result() for each in blocks):
        spec = block.layer.spec
        room = rooms[spec.key]
        at = (corner[0] // spec.factor, corner[1] // spec.factor)
        part = overlap_of(block.layer, block.row, block.col, at, size // spec.factor)
        if block.units is None:
            rows = slice(part.to_row, part.to_row + part.shape.rows)
            cols = slice(part.to_col, part.to_col + part.shape.cols)
            room.pixels[:, rows, cols] = np.nan
            room.valid[rows, cols] = False
            failed.update(block.failed)
        else:
            pour(block.stored, block.units, part, room.pixels, room.valid)
    return failed


def _room(spec: LayerSpec, size: int) -> _Room:
    side = size // spec.factor
    shape = (len(spec.bands), side, side)
    return _Room(np.empty(shape, np.float32), np.empty((side, side), np.bool_))


def _check(windows: Draws, shapes: Sequence[Shape2d], size: int, multiple: int) -> None:
    """ContractError for windows that reach over their scene or do not fit coarser layers."""
    extents = np.array(shapes)[windows.scene]
    places = np.stack([windows.row, windows.col], axis=1)
    wrong = (places < 0) | (places + size > extents) | (places % multiple != 0)
    if wrong.any():
        at = int(wrong.any(axis=1).argmax())
        raise ContractError(
            f"window {at} at row {windows.row[at]}, column {windows.col[at]} does not lie in its "
            f"scene of {extents[at][0]} x {extents[at][1]} pixels, on multiples of {multiple}"
        )
