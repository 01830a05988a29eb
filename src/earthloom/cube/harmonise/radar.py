"""Backscatter: decibels, and filters that calm speckle without blurring edges.

All filters work in linear power, where speckle multiplies and averages are unbiased, skip what was
not seen (NaN), and leave it NaN. `looks` is the equivalent number of looks: mean squared over
variance of homogeneous land (4.4 for Sentinel-1 IW GRD).
"""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from earthloom.cube.compiled import compiled
from earthloom.errors import DataError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

REFINED_WINDOW = 7
"""Pixels, both ways, of the refined Lee filter; its edge templates are made for this size."""


def to_db(power: Floats) -> tuple[Floats, int]:
    """Decibels of linear power of any shape, and how many pixels have none.

    Power of 0 or less, which noise removal leaves at some dark pixels, has no logarithm: NaN.
    Those are counted; pixels that were NaN before are not.
    """
    positive = power > 0
    db = np.full(power.shape, np.nan, np.float32)
    np.log10(power, out=db, where=positive)
    return db * np.float32(10), int((~positive & ~np.isnan(power)).sum())


def from_db(db: Floats) -> Floats:
    """Linear power of decibels, any shape; NaN stays NaN."""
    return np.asarray(np.power(np.float32(10), db / np.float32(10)), dtype=np.float32)


def boxcar(image: Floats, window: int) -> Floats:
    """Means (C, H, W) over `window` pixels both ways of what was seen."""
    return np.stack([_filled(_local(band, window)[0], band) for band in image])


def lee(image: Floats, looks: float, window: int = 7) -> Floats:
    """The filter of Lee (1980) for multiplicative noise, of power (C, H, W).

    A pixel goes to its window's mean as far as the window varies no more than speckle does.
    DataError if `window` is even or `looks` is not positive.
    """
    _check(looks, window)
    filtered = []
    for band in image:
        mean, variance = _local(band, window)
        weight = _weight(mean, variance, 1 / looks)
        filtered.append(_filled(mean + weight * (band - mean), band))
    return np.stack(filtered)


def refined_lee(image: Floats, looks: float) -> Floats:
    """The edge-aligned filter of Lee (1981), window of 7 x 7, of power (C, H, W).

    Where a window varies more than speckle does, the half of it that lies on the pixel's own side
    of the strongest edge is used. DataError if `looks` is not positive.
    """
    _check(looks, REFINED_WINDOW)
    return np.stack([_refined(np.ascontiguousarray(band, np.float32), 1 / looks) for band in image])


def multitemporal(stack: Floats, window: int = 7) -> Floats:
    """The filter of Quegan & Yu (2001) over dates: power (T, C, H, W) to the same shape.

    Every date keeps its own local mean, and takes the speckle of all dates averaged:
    J_k = mean(I_k) / M * sum_i I_i / mean(I_i), over the M dates on which the pixel was seen.
    DataError if `window` is even.
    """
    _check(1.0, window)
    filtered = np.empty_like(stack)
    for channel in range(stack.shape[1]):
        ratio = np.zeros(stack.shape[2:], np.float64)
        count = np.zeros(stack.shape[2:], np.int64)
        means = []
        for band in stack[:, channel]:
            mean, _ = _local(band, window)
            means.append(mean)
            usable = ~np.isnan(band) & (mean > 0)
            ratio += np.divide(band, mean, out=np.zeros_like(mean), where=usable)
            count += usable
        common = np.divide(ratio, count, out=np.ones_like(ratio), where=count > 0)
        for date, calm in enumerate(means):
            filtered[date, channel] = _filled(calm * common, stack[date, channel])
    return filtered


def _local(band: Floats, window: int) -> tuple[Doubles, Doubles]:
    """Mean and variance over the window of the pixels that were seen; NaN where none was."""
    seen = ~np.isnan(band)
    values = np.where(seen, band, 0).astype(np.float64)
    part = _mean(seen.astype(np.float64), window)
    known = part > 0.5 / window**2
    mean = np.divide(_mean(values, window), part, out=np.full(band.shape, np.nan), where=known)
    square = np.divide(
        _mean(values * values, window), part, out=np.full(band.shape, np.nan), where=known
    )
    return mean, np.maximum(square - mean**2, 0)


def _mean(values: Doubles, window: int) -> Doubles:
    return np.asarray(ndimage.uniform_filter(values, window, mode="constant"), dtype=np.float64)


def _weight(mean: Doubles, variance: Doubles, speckle: float) -> Doubles:
    """How far the pixel's own value counts: the part of the variance that is not speckle."""
    signal = np.maximum(variance - speckle * mean**2, 0) / (1 + speckle)
    return np.divide(signal, variance, out=np.zeros_like(mean), where=variance > 0)


def _filled(values: Doubles, band: Floats) -> Floats:
    """float32, NaN where the band is."""
    return np.where(np.isnan(band), np.float32(np.nan), values).astype(np.float32)


def _check(looks: float, window: int) -> None:
    if window < 1 or window % 2 == 0:
        raise DataError(f"a filter's window must be an odd number of pixels, not {window}")
    if looks <= 0:
        raise DataError(f"the number of looks must be above 0, not {looks}")


@compiled
def _refined(band: Floats, speckle: float) -> Floats:
    """(H, W) to (H, W)."""
    rows, cols = band.shape
    out = np.full((rows, cols), np.nan, np.float32)
    blocks = np.empty((3, 3))
    for row in range(rows):
        for col in range(cols):
            if np.isnan(band[row, col]):
                continue
            mean, variance = _window(band, row, col, 0, 0)
            if variance > speckle * mean * mean:
                down, right = _own_side(band, row, col, blocks)
                if down != 0 or right != 0:
                    mean, variance = _window(band, row, col, down, right)
            signal = max(variance - speckle * mean * mean, 0.0) / (1 + speckle)
            weight = signal / variance if variance > 0 else 0.0
            out[row, col] = mean + weight * (band[row, col] - mean)
    return out


@compiled
def _window(band: Floats, row: int, col: int, down: int, right: int) -> tuple[float, float]:
    """Mean and variance over 7 x 7, or over the half of it towards (down, right)."""
    rows, cols = band.shape
    count, total, square = 0, 0.0, 0.0
    for i in range(-3, 4):
        for j in range(-3, 4):
            r, c = row + i, col + j
            if i * down + j * right < 0 or r < 0 or c < 0 or r >= rows or c >= cols:
                continue
            value = float(band[r, c])
            if not np.isnan(value):
                count += 1
                total += value
                square += value * value
    mean = total / count
    return mean, max(square / count - mean * mean, 0.0)


@compiled
def _own_side(band: Floats, row: int, col: int, blocks: Doubles) -> tuple[int, int]:
    """The direction from the strongest edge to the pixel's own side; (0, 0) if none is seen.

    Means of nine overlapping blocks of 3 x 3 give the gradient in four directions; the side whose
    block is more like the middle one is the pixel's own.
    """
    rows, cols = band.shape
    for p in range(3):
        for q in range(3):
            count, total = 0, 0.0
            for i in range(-1, 2):
                for j in range(-1, 2):
                    r, c = row + 2 * (p - 1) + i, col + 2 * (q - 1) + j
                    if 0 <= r < rows and 0 <= c < cols and not np.isnan(band[r, c]):
                        count += 1
                        total += band[r, c]
            if count == 0:
                return 0, 0
            blocks[p, q] = total / count
    best, down, right = 0.0, 0, 0
    for i, j in ((0, 1), (1, 0), (1, 1), (1, -1)):
        # The line of three blocks before the edge and the one behind it.
        before, behind = 0.0, 0.0
        for p in range(3):
            for q in range(3):
                side = (p - 1) * i + (q - 1) * j
                if side > 0:
                    behind += blocks[p, q]
                elif side < 0:
                    before += blocks[p, q]
        if abs(behind - before) > best:
            best = abs(behind - before)
            middle = blocks[1, 1]
            nearer = abs(blocks[1 + i, 1 + j] - middle) <= abs(blocks[1 - i, 1 - j] - middle)
            down, right = (i, j) if nearer else (-i, -j)
    return down, right
