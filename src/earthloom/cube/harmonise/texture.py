"""Texture of a window around each pixel, from its grey-level co-occurrence matrix (Haralick,
Shanmugam & Dinstein 1973).

The matrix counts how often two grey levels stand side by side. It is made both ways round, in four
directions, and each measure is the mean over these. Definitions of the measures are those of
`skimage.feature.graycoprops`, which the tests compare with.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earthloom.cube.compiled import compiled
from earthloom.errors import DataError

Floats = NDArray[np.float32]
Levels = NDArray[np.int16]

MEASURES = (
    "contrast",
    "homogeneity",
    "entropy",
    "correlation",
    "asm",
    "variance",
    "mean",
)
"""Order of the channels of `glcm`. `asm` is the angular second moment, whose root is the energy;
`mean` and `variance` are in grey levels; entropy is in nats."""


@dataclass(frozen=True)
class TextureSettings:
    """How grey levels are made and counted."""

    low: float
    """Value, in the image's unit, of the lower edge of level 0; fixed, so that tiles agree."""
    high: float
    """Of the upper edge of the last level. Values beyond the range go to the outer levels."""
    levels: int = 16
    window: int = 7
    """Pixels, both ways; odd."""
    distance: int = 1
    """Pixels between the two that are compared, in rows and in columns: diagonals are longer."""

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise DataError(f"texture needs low < high, not {self.low} and {self.high}")
        if not 2 <= self.levels <= 64:
            raise DataError(f"texture needs 2 to 64 levels, not {self.levels}")
        if self.window % 2 == 0 or not 0 < self.distance < self.window:
            raise DataError(
                f"texture needs an odd window that is wider than the distance, not {self.window} "
                f"and {self.distance}"
            )

    @property
    def margin(self) -> int:
        """Pixels around a tile that its outermost windows need."""
        return self.window // 2


def quantise(image: Floats, settings: TextureSettings) -> Levels:
    """Grey levels 0 to levels - 1 of an image (H, W), -1 where it is NaN."""
    scale = settings.levels / (settings.high - settings.low)
    with np.errstate(invalid="ignore"):
        level = np.floor((image - np.float32(settings.low)) * np.float32(scale))
    level = np.clip(level, 0, settings.levels - 1)
    return np.where(np.isnan(image), -1, level).astype(np.int16)


def glcm(image: Floats, settings: TextureSettings) -> Floats:
    """Texture (measure, H, W) of an image (H, W), in the order of `MEASURES`.

    Pairs with a pixel that was not seen, or that lies outside, do not count. NaN where the pixel
    itself was not seen or a direction has no pair.
    """
    levels = quantise(image, settings)
    half, gap = settings.window // 2, settings.distance
    texture: Floats = _textures(levels, settings.levels, half, gap, len(MEASURES))
    return texture


@compiled
def _textures(levels: Levels, count: int, half: int, gap: int, measures: int) -> Floats:
    rows, cols = levels.shape
    out = np.full((measures, rows, cols), np.nan, np.float32)
    matrix = np.zeros(count * count, np.int64)
    touched = np.empty(2 * (2 * half + 1) ** 2, np.int64)
    # n log n of all counts that a cell can have.
    logs = np.zeros(2 * (2 * half + 1) ** 2 + 1)
    for n in range(2, logs.size):
        logs[n] = n * np.log(n)
    sums = np.empty(measures)
    for row in range(rows):
        for col in range(cols):
            if levels[row, col] < 0:
                continue
            sums[:] = 0
            whole = True
            for down, right in ((0, gap), (gap, gap), (gap, 0), (gap, -gap)):
                if whole:
                    found, pairs = _count(
                        levels, row, col, half, down, right, matrix, touched, count
                    )
                    whole = pairs > 0
                    if whole:
                        _measure(matrix, touched, found, pairs, logs, count, sums)
            if whole:
                for measure in range(measures):
                    out[measure, row, col] = sums[measure] / 4
    return out


@compiled
def _count(
    levels: Levels,
    row: int,
    col: int,
    half: int,
    down: int,
    right: int,
    matrix: NDArray[np.int64],
    touched: NDArray[np.int64],
    count: int,
) -> tuple[int, int]:
    """Fills the matrix of one direction; how many of its cells are used, and the pairs in all."""
    rows, cols = levels.shape
    top, bottom = max(row - half, 0), min(row + half, rows - 1)
    left, end = max(col - half, 0), min(col + half, cols - 1)
    found, pairs = 0, 0
    for r in range(top, bottom + 1 - down):
        for c in range(max(left, left - right), min(end, end - right) + 1):
            a, b = levels[r, c], levels[r + down, c + right]
            if a >= 0 and b >= 0:
                for cell in (a * count + b, b * count + a):
                    if matrix[cell] == 0:
                        touched[found] = cell
                        found += 1
                    matrix[cell] += 1
                pairs += 2
    return found, pairs


@compiled
def _measure(
    matrix: NDArray[np.int64],
    touched: NDArray[np.int64],
    found: int,
    pairs: int,
    logs: NDArray[np.float64],
    count: int,
    sums: NDArray[np.float64],
) -> None:
    """Adds the measures of one matrix to `sums`, and clears the matrix."""
    mean, square, product = 0.0, 0.0, 0.0
    for place in range(found):
        cell = touched[place]
        i, j = cell // count, cell % count
        p = matrix[cell] / pairs
        sums[2] -= logs[matrix[cell]] / pairs
        matrix[cell] = 0
        apart = float((i - j) ** 2)
        sums[0] += p * apart
        sums[1] += p / (1 + apart)
        sums[4] += p * p
        mean += p * i
        square += p * i * i
        product += p * i * j
    sums[2] += np.log(pairs)
    variance = square - mean * mean
    # A window of one grey level is correlated with itself in full.
    sums[3] += (product - mean * mean) / variance if variance > 1e-12 else 1.0
    sums[5] += variance
    sums[6] += mean
