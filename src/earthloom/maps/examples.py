"""Windows spread over an area: to calibrate and to time a model on what it is going to map."""

import math
from collections.abc import Sequence

import numpy as np

from earthloom.maps.predict import Pixels
from earthloom.sample import Chip, LayerSpec, Moments, Shape2d, Window
from earthloom.sample.batch import Batch, collate


def example_windows(
    pixels: Pixels,
    layers: Sequence[LayerSpec],
    size: int,
    count: int,
    moments: Moments | None = None,
) -> list[Batch]:
    """At most `count` windows of `size` base pixels on an even grid over an area, one a batch.

    Always the same ones; those of which nothing was seen are left out, so there may be fewer, or
    none. An area that is smaller than `size` gives one window as large as it is.
    """
    step = math.lcm(*(spec.factor for spec in layers))
    each_way = max(math.isqrt(count), 1)
    rows, cols = (_stretches(length, size, each_way, step) for length in pixels.shape)
    found = []
    for row, high in rows:
        for col, wide in cols:
            window = Window(row, col, Shape2d(high, wide))
            read = pixels.window(window)
            chosen = {spec.key: read[spec.key] for spec in layers}
            if any(bool(layer.valid.any()) for layer in chosen.values()):
                chip = Chip(f"{row}_{col}", window.shape, chosen, moments=moments)
                found.append(collate([chip]))
    return found


def _stretches(length: int, size: int, count: int, step: int) -> list[tuple[int, int]]:
    """First pixel and length of stretches that lie evenly along an axis, on multiples of `step`."""
    extent = -(-length // step) * step
    size = min(max(size // step, 1) * step, extent)
    firsts = np.linspace(0, extent - size, count).astype(int) // step * step
    return [(int(first), size) for first in np.unique(firsts)]
