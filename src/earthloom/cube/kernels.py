"""The median of a few observations, fast: sorting networks over blocks of pixels.

A sorting network is a fixed list of pairs to put in order (Batcher 1968), so that a thousand pixels
take each step together and the compiler makes vector instructions of it. What was not seen is
replaced by the greatest number, which sorts behind all that was seen. Observations that show
nothing of a block are left out of it, and steps that no wanted rank depends on are left out of the
network.
"""

from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earthloom.cube.compiled import compiled

BLOCK = 1024
"""Pixels that are sorted together: few enough that they stay in the fastest memory."""


def seen_in(stack: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Where an observation of a stack (N, C, H, W) has all its bands: (N, H, W)."""
    count, bands, rows, cols = stack.shape
    seen = np.empty((count, rows * cols), np.bool_)
    _seen_in(np.ascontiguousarray(stack).reshape(count, bands, rows * cols), seen)
    return seen.reshape(count, rows, cols)


def median_f32(
    stack: NDArray[np.float32], seen: NDArray[np.bool_] | None = None, threads: int = 1
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """The median of each band over N observations (N, C, H, W), of those that were seen (N, H, W).

    Where `seen` is true no band may be NaN; what stands elsewhere plays no part. Without `seen` an
    observation counts where all its bands are there. Returns the image (C, H, W), NaN where
    nothing was seen, and how many observations each pixel had (H, W), 255 for more. The median of
    an even number is the mean of the middle two.
    """
    shown = seen_in(stack) if seen is None else seen
    one = np.ones(stack.shape[:2], np.float32)
    return _median(stack, shown, one, 0 * one, np.float32(np.inf), threads)


def median_u16(
    stack: NDArray[np.uint16],
    seen: NDArray[np.bool_],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    threads: int = 1,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """As `median_f32`, of stored numbers (N, C, H, W): physical = stored * scale + offset.

    `scale` and `offset` (N, C) may differ between observations, which then are made physical
    before they are sorted; that takes about twice as long.
    """
    return _median(stack, seen, scale, offset, np.uint16(65535), threads)


def _median(
    stack: NDArray[Any],
    seen: NDArray[np.bool_],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    last: np.generic,
    threads: int,
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    number, bands, rows, cols = stack.shape
    pixels = rows * cols
    image = np.empty((bands, pixels), np.float32)
    count = np.empty(pixels, np.uint8)
    steps, ends = _networks(number)
    flat = np.ascontiguousarray(stack).reshape(number, bands, pixels)
    shown = np.ascontiguousarray(seen).reshape(number, pixels)
    scale, offset = np.asarray(scale, np.float32), np.asarray(offset, np.float32)

    def part(first: int, stop: int) -> None:
        _median_of(flat, shown, scale, offset, last, steps, ends, first, stop, BLOCK, image, count)

    blocks = -(-pixels // BLOCK)
    cuts = [min(blocks * i // threads * BLOCK, pixels) for i in range(threads + 1)]
    if threads == 1:
        part(0, pixels)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(part, cuts[:-1], cuts[1:]))
    return image.reshape(bands, rows, cols), count.reshape(rows, cols)


@lru_cache(maxsize=64)
def _networks(most: int) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Networks for 1 to `most` values: all steps (K, 2) one after another, and where each ends.

    Network 2 n - 1 sorts what the median of n values needs, network 2 n what the median of any 1
    to n of them needs. Network 0 is empty.
    """
    steps: list[tuple[int, int]] = []
    ends = [0]
    for number in range(1, most + 1):
        middle = {(number - 1) // 2, number // 2}
        for wanted in (middle, set(range(number // 2 + 1))):
            steps += _needed(_batcher(number), wanted)
            ends.append(len(steps))
    return np.array(steps, np.int16).reshape(-1, 2), np.array(ends, np.int32)


@lru_cache(maxsize=64)
def full_networks(most: int) -> tuple[NDArray[np.int16], NDArray[np.int32]]:
    """Networks that sort 1 to `most` values: all steps (K, 2), and where that of n values ends."""
    steps: list[tuple[int, int]] = []
    ends = [0]
    for number in range(1, most + 1):
        steps += _batcher(number)
        ends.append(len(steps))
    return np.array(steps, np.int16).reshape(-1, 2), np.array(ends, np.int32)


def _batcher(number: int) -> list[tuple[int, int]]:
    """Steps that put `number` values in ascending order: the odd-even merge sort of Batcher (1968),
    made for the next power of two; the values beyond count as greatest and take no step."""
    steps = []
    size = 1
    while size < number:
        gap = size
        while gap:
            for start in range(gap % size, number - gap, 2 * gap):
                lows = range(start, min(start + gap, number - gap))
                same = 2 * size
                steps += [(low, low + gap) for low in lows if low // same == (low + gap) // same]
            gap //= 2
        size *= 2
    return steps


def _needed(steps: list[tuple[int, int]], wanted: set[int]) -> list[tuple[int, int]]:
    """The steps that the wanted ranks depend on."""
    kept, live = [], set(wanted)
    for step in reversed(steps):
        if live & set(step):
            live |= set(step)
            kept.append(step)
    return kept[::-1]


@compiled
def _seen_in(stack: NDArray[np.float32], seen: NDArray[np.bool_]) -> None:
    number, bands, pixels = stack.shape
    for n in range(number):
        row = seen[n]
        row[:] = True
        for band in range(bands):
            values = stack[n, band]
            for x in range(pixels):
                row[x] &= values[x] == values[x]


@compiled
def _median_of(
    stack: NDArray[Any],
    seen: NDArray[np.bool_],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    last: Any,
    steps: NDArray[np.int16],
    ends: NDArray[np.int32],
    first: int,
    stop: int,
    block: int,
    image: NDArray[np.float32],
    count: NDArray[np.uint8],
) -> None:
    """Pixels `first` to `stop` of stack (N, C, P), seen (N, P), scale, offset (N, C)."""
    number, bands, _ = stack.shape
    stored = np.empty((number, block), stack.dtype)
    physical = np.empty((number, block), np.float32)
    counted = np.empty(block, np.int32)
    present = np.empty(number, np.int64)
    for start in range(first, stop, block):
        width = min(block, stop - start)
        found = find(seen, start, width, present, counted)
        whole = True
        for x in range(width):
            whole &= counted[x] == found
            count[start + x] = min(counted[x], 255)
        which = max(2 * found - 1, 0) if whole else 2 * found
        pairs = steps[ends[max(which - 1, 0)] : ends[which]]
        for band in range(bands):
            alike = _alike(scale, offset, present, found, band)
            if alike:
                fill(stack, seen, band, start, width, present, found, last, stored)
                sort(stored, pairs, width)
                _take(stored, counted, found, whole, width, image[band, start : start + width])
                if found:
                    a, b = scale[present[0], band], offset[present[0], band]
                    if a != 1 or b != 0:
                        for x in range(start, start + width):
                            image[band, x] = image[band, x] * a + b
            else:
                _convert(stack, seen, scale, offset, band, start, width, present, found, physical)
                sort(physical, pairs, width)
                _take(physical, counted, found, whole, width, image[band, start : start + width])


@compiled
def find(
    seen: NDArray[np.bool_],
    start: int,
    width: int,
    present: NDArray[np.int64],
    counted: NDArray[np.int32],
) -> int:
    """Which observations show any of the block, and how many show each pixel."""
    counted[:width] = 0
    found = 0
    for n in range(len(seen)):
        row = seen[n, start : start + width]
        total = 0
        for x in range(width):
            one = int(row[x])
            counted[x] += one
            total += one
        if total:
            present[found] = n
            found += 1
    return found


@compiled
def _alike(
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    present: NDArray[np.int64],
    found: int,
    band: int,
) -> bool:
    """Whether stored numbers mean the same in all observations of the block."""
    for i in range(1, found):
        if scale[present[i], band] != scale[present[0], band]:
            return False
        if offset[present[i], band] != offset[present[0], band]:
            return False
    return True


@compiled
def fill(
    stack: NDArray[Any],
    seen: NDArray[np.bool_],
    band: int,
    start: int,
    width: int,
    present: NDArray[np.int64],
    found: int,
    last: Any,
    values: NDArray[Any],
) -> None:
    """Puts what is present of a band into values (N, width), with `last` where not seen."""
    for i in range(found):
        n = present[i]
        source, shown = stack[n, band, start : start + width], seen[n, start : start + width]
        target = values[i]
        for x in range(width):
            target[x] = source[x] if shown[x] else last


@compiled
def _convert(
    stack: NDArray[Any],
    seen: NDArray[np.bool_],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    band: int,
    start: int,
    width: int,
    present: NDArray[np.int64],
    found: int,
    values: NDArray[np.float32],
) -> None:
    for i in range(found):
        n = present[i]
        source, shown = stack[n, band, start : start + width], seen[n, start : start + width]
        a, b = scale[n, band], offset[n, band]
        target = values[i]
        for x in range(width):
            target[x] = np.float32(source[x]) * a + b if shown[x] else np.float32(np.inf)


@compiled
def sort(values: NDArray[Any], pairs: NDArray[np.int16], width: int) -> None:
    """Puts values (N, width) in ascending order along N, as far as the pairs say."""
    for step in range(len(pairs)):
        low, high = values[pairs[step, 0]], values[pairs[step, 1]]
        for x in range(width):
            a, b = low[x], high[x]
            low[x] = a if a < b else b
            high[x] = b if a < b else a


@compiled
def _take(
    values: NDArray[Any],
    counted: NDArray[np.int32],
    found: int,
    whole: bool,
    width: int,
    image: NDArray[np.float32],
) -> None:
    """The mean of the middle two of each pixel; NaN where nothing was seen."""
    if found == 0:
        image[:] = np.nan
    elif whole:
        low, high = values[(found - 1) // 2], values[found // 2]
        for x in range(width):
            image[x] = (np.float32(low[x]) + np.float32(high[x])) * np.float32(0.5)
    else:
        # All pixels look at all ranks in turn: a choice is a vector instruction, a look-up is not.
        image[:] = 0
        for rank in range(found // 2 + 1):
            row = values[rank]
            for x in range(width):
                n = counted[x]
                half = np.float32(0.5) * np.float32(row[x])
                low = half if (n - 1) // 2 == rank else np.float32(0)
                high = half if n // 2 == rank else np.float32(0)
                image[x] += low + high
        for x in range(width):
            image[x] = image[x] if counted[x] else np.float32(np.nan)
