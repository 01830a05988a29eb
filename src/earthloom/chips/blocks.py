"""Decoded blocks of scenes, each kept until the last chip that needs it has been served.

The order of all chips is known, so it is known as well when each block is needed next. Where not
all fit, the block that is needed latest makes room (Belady 1966).
"""

from collections import Counter
from concurrent.futures import Executor, Future
from dataclasses import dataclass, field

import numpy as np
import rasterio
from numpy.typing import NDArray

from earthloom.chips.draws import Draws
from earthloom.chips.grids import BlockNumbers, LayerGrid
from earthloom.chips.physical import Overlap, Units
from earthloom.cube.read import GDAL_OPTIONS, Reader
from earthloom.errors import ContractError, DataError
from earthloom.sample import Shape2d

_OPTIONS = GDAL_OPTIONS | {"GDAL_CACHEMAX": 32}
"""GDAL's own cache, in MB: nothing is read twice, so it need not keep anything."""


@dataclass(frozen=True)
class Needs:
    """Which blocks the chips of an order need, and when each block is needed."""

    numbers: BlockNumbers
    by_chip: list[list[int]]
    uses: dict[int, list[int]]
    """Of each block: the chips that need it, in order."""

    @staticmethod
    def of(numbers: BlockNumbers, draws: Draws, size: int, start: int = 0) -> "Needs":
        """What square windows of `size` pixels of the base grids need; nothing before `start`."""
        uses: dict[int, list[int]] = {}
        by_chip: list[list[int]] = [[]] * start
        for chip in range(start, len(draws)):
            needed = blocks_of(numbers, draws, chip, size)
            for number in needed:
                uses.setdefault(number, []).append(chip)
            by_chip.append(needed)
        return Needs(numbers, by_chip, uses)


def blocks_of(numbers: BlockNumbers, draws: Draws, chip: int, size: int) -> list[int]:
    """The blocks of all layers that a window meets."""
    scene = int(draws.scene[chip])
    found = []
    for index, layer in enumerate(numbers.grids[scene].layers):
        start, across = int(numbers.starts[scene, index]), layer.blocks.cols
        down, right = (
            _meets(int(at), size, layer.spec.factor, side)
            for at, side in zip((draws.row[chip], draws.col[chip]), layer.block, strict=True)
        )
        found += [start + row * across + col for row in down for col in right]
    return found


def _meets(at: int, size: int, factor: int, side: int) -> range:
    """The blocks of one axis that a window on the base grid meets."""
    return range(at // factor // side, ((at + size) // factor - 1) // side + 1)


def overlap_of(layer: LayerGrid, row: int, col: int, at: tuple[int, int], size: int) -> Overlap:
    """What a block has of the window of `size` pixels of its layer whose corner is `at`."""
    corner = (row * layer.block.rows, col * layer.block.cols)
    begins = [max(ours, first) for ours, first in zip(at, corner, strict=True)]
    ends = [
        min(ours + size, first + side)
        for ours, first, side in zip(at, corner, layer.block, strict=True)
    ]
    return Overlap(
        row=begins[0] - corner[0],
        col=begins[1] - corner[1],
        to_row=begins[0] - at[0],
        to_col=begins[1] - at[1],
        shape=Shape2d(ends[0] - begins[0], ends[1] - begins[1]),
    )


@dataclass(frozen=True)
class Block:
    """A decoded block."""

    layer: LayerGrid
    row: int
    col: int
    """Of blocks, in the layer."""
    stored: NDArray[np.generic]
    """(C, h, w) numbers as in the files."""
    units: Units | None
    """None where a band did not load; then `stored` holds nothing of use."""
    failed: dict[str, str] = field(default_factory=dict)
    """Why files did not load, by their href."""


def decode(
    reader: Reader, layer: LayerGrid, row: int, col: int, memory: NDArray[np.uint8]
) -> Block:
    """Decodes a block of every band into `memory`."""
    box = layer.block_box(row, col)
    shape = (len(layer.assets), *box.shape)
    count = int(np.prod(shape))
    stored = memory[: count * layer.dtype.itemsize].view(layer.dtype).reshape(shape)
    nodata: list[float | None] = []
    failed = {}
    with rasterio.Env(**_OPTIONS):
        for band, asset in enumerate(layer.assets):
            name = layer.spec.bands[band]
            if asset is None:
                failed[name] = f"the scene has no band {name}"
                break
            try:
                into = stored[band]
                found = reader.stored(asset, box, True, out=into)
                if not np.can_cast(found.values.dtype, layer.dtype):
                    raise DataError(f"{asset.href} does not fill its grid and has no nodata")
            except DataError as error:
                # The other bands would be masked as well, so they are not read.
                failed[asset.href] = str(error)
                break
            if not np.may_share_memory(found.values, into):
                into[:] = found.values
            nodata.append(found.nodata)
    assets = tuple(asset for asset in layer.assets if asset is not None)
    units = None if failed else Units.of(assets, nodata)
    return Block(layer, row, col, stored, units, failed)


@dataclass
class CacheCounts:
    """What a cache has done so far."""

    decoded: Counter[int] = field(default_factory=Counter)
    """How many times each block was decoded."""
    peak_bytes: int = 0


class BlockCache:
    """Blocks in memory of at most `limit` bytes, decoded by other threads.

    Chips are admitted in their order, and retired in the same order once they are filled. It is
    to be used by one thread.
    """

    def __init__(
        self, reader: Reader, needs: Needs, limit: int, pool: Executor, counts: CacheCounts
    ) -> None:
        self._reader, self._needs, self._pool, self._counts = reader, needs, pool, counts
        self._limit = limit
        self._held: dict[int, Future[Block]] = {}
        self._memory: dict[int, NDArray[np.uint8]] = {}
        self._pins: Counter[int] = Counter()
        self._passed: Counter[int] = Counter()
        """How many of a block's uses lie behind."""
        self._free: dict[int, list[NDArray[np.uint8]]] = {}
        self._bytes = 0

    def admit(self, chip: int) -> list[Future[Block]] | None:
        """The blocks of a chip, decoded or soon to be; None if others must be retired first."""
        needed = self._needs.by_chip[chip]
        self._pins.update(needed)
        for number in needed:
            if number not in self._held and not self._begin(number):
                self._pins.subtract(needed)
                return None
        return [self._held[number] for number in needed]

    def retire(self, chip: int) -> None:
        """A chip is filled: blocks that no later one needs make room."""
        for number in self._needs.by_chip[chip]:
            self._pins[number] -= 1
            self._passed[number] += 1
            if self._passed[number] == len(self._needs.uses[number]):
                self._drop(number)

    def _begin(self, number: int) -> bool:
        """Has a block decoded; False if there is no room."""
        layer, row, col = self._needs.numbers.find(number)
        memory = self._room(layer.block_bytes)
        if memory is None:
            return False
        self._memory[number] = memory
        self._held[number] = self._pool.submit(decode, self._reader, layer, row, col, memory)
        self._counts.decoded[number] += 1
        return True

    def _room(self, size: int) -> NDArray[np.uint8] | None:
        while True:
            if self._free.get(size):
                return self._free[size].pop()
            if self._bytes + size <= self._limit:
                self._bytes += size
                self._counts.peak_bytes = max(self._counts.peak_bytes, self._bytes)
                return np.empty(size, np.uint8)
            if not self._give_up_something():
                return None

    def _give_up_something(self) -> bool:
        """Makes room: memory of another size that lies idle, else the block needed latest."""
        for idle in self._free.values():
            if idle:
                self._bytes -= len(idle.pop())
                return True
        loose = [number for number in self._held if self._pins[number] == 0]
        if not loose:
            return False
        self._drop(max(loose, key=self._next_use))
        return True

    def _next_use(self, number: int) -> int:
        return self._needs.uses[number][self._passed[number]]

    def _drop(self, number: int) -> None:
        # A block that was begun for a chip that found no room may still be decoding.
        self._held.pop(number).result()
        memory = self._memory.pop(number)
        self._free.setdefault(len(memory), []).append(memory)


def check_limit(needs: Needs, limit: int) -> None:
    """ContractError if the blocks of some chip do not fit into a cache."""
    sizes = {number: needs.numbers.find(number)[0].block_bytes for number in needs.uses}
    largest = max((sum(sizes[n] for n in each) for each in needs.by_chip), default=0)
    if largest > limit:
        raise ContractError(
            f"the cache of {limit:,} bytes is too small: one chip needs blocks of {largest:,} bytes"
        )
