"""A minimum mapping unit: patches that are too small join the class that borders on them most.

The smallest patch goes first, and may grow with it: patches that join become one, and only what is
still too small then goes on. The result does not depend on how the map is cut into strips: a
patch is decided when all of it was seen, and all of the small patches that it hangs together with.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.windows import Window as RasterWindow

from earthloom.maps.patches import Seam, Strip, label_patches, read_strips, seam_of, sizes_of
from earthloom.maps.settle import Cluster, settle, together

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Sieved:
    """What a sieve did."""

    joined: int = 0
    """Patches that took the class of a neighbour."""
    joined_m2: float = 0.0
    dropped: int = 0
    """Patches without any neighbour, which became no data."""
    dropped_m2: float = 0.0


@dataclass(frozen=True)
class _Nodes:
    """Patches that are looked at together, in the order of their first pixels."""

    codes: NDArray[np.uint8]
    sizes: Ints
    """In the unit of `Areas.of_rows`."""
    beside: Ints
    """(E, 3): two small patches side by side, and how many pixel sides they share."""
    large: Ints
    """(L, 3): a small patch, the code of a class that lies large beside it, and shared sides."""
    members: Ints
    """(M, 2): a number in the table of all patches, and the patch here that it belongs to."""


@dataclass(frozen=True)
class _Carried:
    """What is not decided at the end of a strip."""

    nodes: _Nodes
    front: Ints
    """(W,): the patch of each pixel of the last row; -1 for no data."""
    front_codes: NDArray[np.int16]


@dataclass
class _Sieve:
    """A sieve that is under way."""

    areas_m2: NDArray[np.float64]
    """(H,): area of a pixel of each row."""
    minimum_m2: float
    diagonal: bool
    table: BinaryIO
    """The code of every patch of every strip, one byte each."""
    written: int = 0
    joined: Ints = field(default_factory=lambda: np.zeros(2, np.int64))
    """Patches, and their size in `units`."""
    dropped: Ints = field(default_factory=lambda: np.zeros(2, np.int64))

    def __post_init__(self) -> None:
        # Whole numbers, so that sums do not depend on their order: square centimetres.
        self.units = np.rint(self.areas_m2 * 1e4).astype(np.int64)
        self.least = int(np.ceil(self.minimum_m2 * 1e4 - 1e-6))


def sieve_map(
    source: Path,
    target: Path,
    minimum_m2: float,
    areas_m2: NDArray[np.float64],
    diagonal: bool,
    height: int,
    tick: Callable[[int, int], None],
) -> Sieved:
    """Writes a class map (uint8, 0 is no data) without patches smaller than `minimum_m2`.

    `areas_m2` (H,) is the area of a pixel of each row. A small patch takes the class that shares
    most pixel sides with it, of two alike the lower code; one that borders on no data alone
    becomes no data. `height` rows are held at a time. `target` is a plain GeoTIFF.
    """
    table_path = target.with_suffix(".patches")
    try:
        with rasterio.open(source) as read, table_path.open("w+b") as table:
            state = _Sieve(areas_m2, minimum_m2, diagonal, table)
            carried: _Carried | None = None
            for strip in read_strips(read, height):
                carried = _decide_strip(state, strip, carried)
                tick(strip.row + len(strip.codes), 2 * read.height)
            _write_sieved(read, target, table, diagonal, height, tick)
    finally:
        table_path.unlink(missing_ok=True)
    joined, dropped = state.joined.tolist(), state.dropped.tolist()
    return Sieved(joined[0], joined[1] / 1e4, dropped[0], dropped[1] / 1e4)


def _decide_strip(state: _Sieve, strip: Strip, carried: _Carried | None) -> _Carried:
    """Decides what can be decided with a strip; the rest is carried to the next one."""
    patches = label_patches(strip.codes, state.diagonal)
    codes = strip.codes.ravel()[patches.first]
    rows = len(strip.codes)
    units = state.units[strip.row : strip.row + rows]
    sizes = sizes_of(patches.labels, patches.count, units)
    offset = _append(state, codes)
    beside = _sides_between(patches.labels, strip.codes, sizes < state.least, state.diagonal)
    small = np.flatnonzero((sizes < state.least) & (codes > 0))
    local = _Nodes(
        codes, sizes, beside, np.empty((0, 3), np.int64), np.stack([small + offset, small], axis=1)
    )
    top, bottom = (patches.labels[row].astype(np.int64) for row in (0, -1))
    if carried is None:
        nodes, places = local, np.arange(patches.count)
    else:
        shifted = top + len(carried.nodes.codes)
        seam = seam_of(
            carried.front, carried.front_codes, shifted, strip.codes[0].astype(np.int16),
            state.diagonal,
        )  # fmt: skip
        nodes, places = _united(carried.nodes, local, seam)
        places = places[len(carried.nodes.codes) :]
    front_codes = strip.codes[-1].astype(np.int16)
    front = np.where(front_codes > 0, places[bottom], -1)
    return _settled(state, nodes, front, front_codes, strip.last)


def _append(state: _Sieve, codes: NDArray[np.uint8]) -> int:
    """Adds a strip's patches to the table; returns the number of the first."""
    offset = state.written
    state.table.seek(offset)
    state.table.write(codes.tobytes())
    state.written += len(codes)
    return offset


def _united(carried: _Nodes, local: _Nodes, seam: Seam) -> tuple[_Nodes, Ints]:
    """Patches of both sides of a seam as one set, and the new number of each: first those that
    were carried, then the strip's."""
    count = len(carried.codes) + len(local.codes)
    places = together(count, seam.same)
    # Numbers rise with the first pixel: what was carried began above the strip.
    total = int(places.max()) + 1
    codes = np.zeros(total, np.uint8)
    sizes = np.zeros(total, np.int64)
    codes[places] = np.concatenate([carried.codes, local.codes])
    np.add.at(sizes, places, np.concatenate([carried.sizes, local.sizes]))
    shift = len(carried.codes)
    moved = local.beside + np.array([shift, shift, 0])
    beside = np.concatenate([carried.beside, moved, seam.beside])
    beside[:, :2] = places[beside[:, :2]]
    large, members = carried.large.copy(), carried.members.copy()
    large[:, 0] = places[large[:, 0]]
    members[:, 1] = places[members[:, 1]]
    own = local.members.copy()
    own[:, 1] = places[own[:, 1] + shift]
    return _Nodes(codes, sizes, beside, large, np.concatenate([members, own])), places


def _settled(
    state: _Sieve, nodes: _Nodes, front: Ints, front_codes: NDArray[np.int16], last: bool
) -> _Carried:
    """Decides the small patches that hang together with none that goes on below."""
    small = (nodes.sizes < state.least) & (nodes.codes > 0)
    nodes = _told_apart(nodes, small)
    count = len(nodes.codes)
    open_ = np.zeros(count, np.bool_)
    if not last:
        open_[front[front >= 0]] = True
    hang = together(count, nodes.beside[:, :2])
    waiting_groups = np.zeros(count, np.bool_)
    waiting_groups[hang[open_ & small]] = True
    waiting = small & waiting_groups[hang]
    ready = small & ~waiting
    if ready.any():
        _settle_ready(state, nodes, ready)
    return _carry(nodes, front, front_codes, waiting, open_)


def _told_apart(nodes: _Nodes, small: NDArray[np.bool_]) -> _Nodes:
    """Sides between two small patches stay; those with a large one are kept by its class."""
    beside, (one, other) = nodes.beside, nodes.beside[:, :2].T
    to_large = np.concatenate(
        [
            np.column_stack([one, nodes.codes[other], beside[:, 2]])[small[one] & ~small[other]],
            np.column_stack([other, nodes.codes[one], beside[:, 2]])[small[other] & ~small[one]],
        ]
    ).astype(np.int64)
    known = nodes.large[small[nodes.large[:, 0]]]
    return replace(
        nodes,
        beside=beside[small[one] & small[other]],
        large=np.concatenate([known, to_large]),
        members=nodes.members[small[nodes.members[:, 1]]],
    )


def _settle_ready(state: _Sieve, nodes: _Nodes, ready: NDArray[np.bool_]) -> None:
    chosen = np.flatnonzero(ready)
    number = np.full(len(ready), -1, np.int64)
    number[chosen] = np.arange(len(chosen))
    beside = nodes.beside[ready[nodes.beside[:, 0]]].copy()
    beside[:, :2] = number[beside[:, :2]]
    large = nodes.large[ready[nodes.large[:, 0]]].copy()
    large[:, 0] = number[large[:, 0]]
    sizes, before = nodes.sizes[chosen], nodes.codes[chosen]
    after = settle(Cluster(sizes, before, beside, large), state.least)
    members = nodes.members[ready[nodes.members[:, 1]]]
    _overwrite(state, members[:, 0], after[number[members[:, 1]]])
    gone = after == 0
    moved = (after != before) & ~gone
    state.joined += moved.sum(), sizes[moved].sum()
    state.dropped += gone.sum(), sizes[gone].sum()


def _overwrite(state: _Sieve, numbers: Ints, codes: NDArray[np.uint8]) -> None:
    if not len(numbers):
        return
    state.table.flush()
    table = np.memmap(state.table, np.uint8, "r+", shape=(state.written,))
    table[numbers] = codes
    table.flush()


def _carry(
    nodes: _Nodes,
    front: Ints,
    front_codes: NDArray[np.int16],
    waiting: NDArray[np.bool_],
    open_: NDArray[np.bool_],
) -> _Carried:
    kept = np.flatnonzero(waiting | open_)
    number = np.full(len(waiting), -1, np.int64)
    number[kept] = np.arange(len(kept))
    beside = nodes.beside[waiting[nodes.beside[:, 0]]].copy()
    beside[:, :2] = number[beside[:, :2]]
    large = nodes.large[waiting[nodes.large[:, 0]]].copy()
    large[:, 0] = number[large[:, 0]]
    members = nodes.members[waiting[nodes.members[:, 1]]].copy()
    members[:, 1] = number[members[:, 1]]
    ahead = np.where((front >= 0) & (number[front] >= 0), number[front], -1)
    codes = np.where(ahead >= 0, front_codes, 0).astype(np.int16)
    carried = _Nodes(nodes.codes[kept], nodes.sizes[kept], beside, large, members)
    return _Carried(carried, ahead, codes)


def _sides_between(
    labels: NDArray[np.int32], codes: NDArray[np.uint8], small: NDArray[np.bool_], diagonal: bool
) -> Ints:
    """(E, 3): pairs of patches of which one is small, and how many pixel sides they share; with
    `diagonal` also those that touch with a corner alone, and share none."""
    whole, head, tail = slice(None), slice(None, -1), slice(1, None)
    sides = [(whole, head, whole, tail, 1), (head, whole, tail, whole, 1)]
    if diagonal:
        sides += [(head, head, tail, tail, 0), (head, tail, tail, head, 0)]
    keys, shares = [], []
    for rows, cols, other_rows, other_cols, share in sides:
        one, other = labels[rows, cols], labels[other_rows, other_cols]
        seen = (codes[rows, cols] > 0) & (codes[other_rows, other_cols] > 0)
        seen &= codes[rows, cols] != codes[other_rows, other_cols]
        i, j = one[seen].astype(np.int64), other[seen].astype(np.int64)
        matter = small[i] | small[j]
        low, high = np.minimum(i, j)[matter], np.maximum(i, j)[matter]
        keys.append(low * len(small) + high)
        shares.append(np.full(len(low), share))
    pairs, place = np.unique(np.concatenate(keys), return_inverse=True)
    shared = np.bincount(place, weights=np.concatenate(shares), minlength=len(pairs))
    return np.column_stack([pairs // len(small), pairs % len(small), shared]).astype(np.int64)


def _write_sieved(
    read: rasterio.io.DatasetReader,
    target: Path,
    table: BinaryIO,
    diagonal: bool,
    height: int,
    tick: Callable[[int, int], None],
) -> None:
    """Numbers the patches again, as before, and writes the code that the table has for each."""
    table.seek(0)
    with _plain_copy(read, target) as file:
        for strip in read_strips(read, height):
            patches = label_patches(strip.codes, diagonal)
            codes = np.frombuffer(table.read(patches.count), np.uint8)
            rows = len(strip.codes)
            window = RasterWindow(0, strip.row, read.width, rows)
            file.write(codes[patches.labels], 1, window=window)
            tick(read.height + strip.row + rows, 2 * read.height)


@contextmanager
def _plain_copy(
    read: rasterio.io.DatasetReader, target: Path
) -> Iterator[rasterio.io.DatasetWriter]:
    profile = {
        "driver": "GTiff",
        "width": read.width,
        "height": read.height,
        "count": 1,
        "dtype": "uint8",
        "crs": read.crs,
        "transform": read.transform,
        "nodata": 0,
        "tiled": True,
        "compress": "deflate",
        "BIGTIFF": "IF_SAFER",
    }
    with rasterio.open(target, "w", **profile) as file:
        yield file
