"""Fields: blocks of farmland cut into strips, as surveyors and ploughs have left them."""

import numpy as np

from earthloom.world.noise import (
    Cells,
    Extent,
    Floats,
    Labels,
    Random,
    absorb_small,
    broad,
    cells,
    compact,
    hashed,
)

_LEAST_FIELD = 4000.0
"""m2; smaller pieces are added to a neighbour."""


def cut_fields(rng: Random, extent: Extent) -> Labels:
    """Field numbers (rows, cols), from 0; every pixel of the window belongs to a field."""
    x, y = extent.coordinates()
    blocks = cells(rng, extent, 720.0, bend=0.10)
    angle = _directions(rng, extent, blocks)
    # A slow sway, so that no border is a ruler's line over hundreds of metres.
    px = x + 10 * broad(rng, extent, 500.0) - blocks.x[blocks.labels]
    py = y + 10 * broad(rng, extent, 500.0) - blocks.y[blocks.labels]
    cos, sin = np.cos(angle)[blocks.labels], np.sin(angle)[blocks.labels]
    across = _strip(
        -px * sin + py * cos, _lengths(rng, blocks, 135, 0.42)[blocks.labels], blocks.labels
    )
    row_key = blocks.labels.astype(np.int64) * 4099 + across
    lengths = _lengths(rng, blocks, 330, 0.35)[blocks.labels]
    start = lengths * hashed(row_key)
    along = _strip(px * cos + py * sin + start, lengths, row_key)
    key = (row_key * 4099 + along).astype(np.int64)
    labels = compact(key)[0]
    return absorb_small(labels, max(2, round(_LEAST_FIELD / extent.resolution**2)))


def _directions(rng: Random, extent: Extent, blocks: Cells) -> Floats:
    """Direction of the strips of each block, radians: neighbours agree, or cross squarely."""
    lie = broad(rng, extent, 2500.0, 4.5)
    row = np.clip(blocks.y / extent.resolution, 0, extent.shape.rows - 1).astype(np.int64)
    col = np.clip(blocks.x / extent.resolution, 0, extent.shape.cols - 1).astype(np.int64)
    square = (np.pi / 2) * rng.integers(0, 2, blocks.count)
    turn = rng.normal(0, 0.12, blocks.count) + rng.uniform(0, np.pi)
    return np.asarray(0.5 * lie[row, col] + square + turn, dtype=np.float32)


def _lengths(rng: Random, blocks: Cells, median: float, spread: float) -> Floats:
    """A typical length for each block, m; log-normal."""
    drawn = median * np.exp(rng.normal(0, spread, blocks.count))
    return np.asarray(np.clip(drawn, 0.45 * median, 2.2 * median), dtype=np.float32)


def _strip(place: Floats, width: Floats, key: Labels) -> Labels:
    """Number of the strip at `place`: about `width` wide, borders moved by up to 45 %."""
    strip = np.floor(place / width)
    number = strip.astype(np.int64)
    moved = place / width - strip < np.float32(0.45) * hashed(key, number)
    return np.asarray(number - moved + 2048, dtype=np.int32)
