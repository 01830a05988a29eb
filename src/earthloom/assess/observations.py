"""How often each pixel of an area was seen clearly, and by which scenes."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from shapely import Geometry

from earthloom.archive import Scene
from earthloom.assess.extent import inside, outline_on
from earthloom.cube import Cube
from earthloom.grid import Area, coarser, window_box
from earthloom.sample import LayerSpec, Shape2d, Window

_MOST = 400
"""Pixels, both ways, of the picture of a layer's counts."""


@dataclass(frozen=True)
class LayerCounts:
    """Clear observations of one layer within an area."""

    spec: LayerSpec
    mean: tuple[float, ...]
    """Of each time step: clear observations of a pixel, on average."""
    seen: tuple[float, ...]
    """Of each time step: share of pixels that were seen at least once."""
    least: int
    median: int
    most: int
    """Of all pixels: the fewest, the middle and the most clear observations in all."""
    never: float
    """Share of pixels that were never seen."""
    total: NDArray[np.float32]
    """(h, w) observations in all, every n-th pixel; NaN outside the area."""
    box: GeoBox
    """Where `total` lies."""


@dataclass(frozen=True)
class SensorYear:
    """Scenes of one sensor in one calendar year, by month."""

    sensor: str
    year: int
    used: tuple[int, ...]
    """(12,) scenes that loaded."""
    failed: tuple[int, ...]
    """(12,) scenes that did not."""


def layer_counts(cube: Cube, area: Area) -> list[LayerCounts]:
    """Counts of each layer that changes over time, read strip by strip."""
    outline = outline_on(area, area.box)
    return [
        _of_layer(cube, spec, coarser(area.box, spec.factor), outline)
        for spec in cube.specs.values()
        if spec.dates != ("static",)
    ]


def clearest_step(layers: Sequence[LayerCounts], spec: LayerSpec) -> int:
    """The time step of a layer that shows most of the area; of several, the one seen most often."""
    (layer,) = (each for each in layers if each.spec == spec)
    ranked = [(round(seen, 2), mean) for seen, mean in zip(layer.seen, layer.mean)]
    return ranked.index(max(ranked))


def scenes_by_month(scenes: Sequence[Scene], failed: Mapping[str, str]) -> list[SensorYear]:
    """How many scenes of each sensor and month were used, and how many did not load."""
    tally = Counter(
        (scene.sensor, scene.day.year, scene.day.month, scene.id in failed) for scene in scenes
    )
    rows = sorted({(sensor, year) for sensor, year, _, _ in tally})
    months = range(1, 13)
    return [
        SensorYear(
            sensor,
            year,
            used=tuple(tally[sensor, year, month, False] for month in months),
            failed=tuple(tally[sensor, year, month, True] for month in months),
        )
        for sensor, year in rows
    ]


def _of_layer(cube: Cube, spec: LayerSpec, box: GeoBox, outline: Geometry | None) -> LayerCounts:
    stride = -(-max(box.shape.y, box.shape.x) // _MOST)
    sums = np.zeros(len(spec.dates), np.int64)
    seen = np.zeros(len(spec.dates), np.int64)
    histogram = np.zeros(255 * len(spec.dates) + 1, np.int64)
    picture = []
    for row, counts, within in _strips(cube, spec, box, outline):
        sums += counts[:, within].sum(axis=1, dtype=np.int64)
        seen += (counts[:, within] > 0).sum(axis=1)
        total = counts.sum(axis=0, dtype=np.int64)
        histogram += np.bincount(total[within], minlength=len(histogram))
        drawn = np.where(within, total, np.nan)
        picture.append(drawn[-row % stride :: stride, ::stride])
    pixels = max(int(histogram.sum()), 1)
    least, median, most = _quantiles(histogram)
    a, b, c, d, e, f = tuple(box.affine)[:6]
    image = np.concatenate(picture).astype(np.float32)
    return LayerCounts(
        spec=spec,
        mean=tuple((sums / pixels).tolist()),
        seen=tuple((seen / pixels).tolist()),
        least=least,
        median=median,
        most=most,
        never=float(histogram[0] / pixels),
        total=image,
        box=GeoBox(
            image.shape, Affine(a * stride, b * stride, c, d * stride, e * stride, f), box.crs
        ),
    )


def _strips(
    cube: Cube, spec: LayerSpec, box: GeoBox, outline: Geometry | None
) -> Iterator[tuple[int, NDArray[np.uint8], NDArray[np.bool_]]]:
    """Strips of counts: first row, counts (T, rows, W), and which pixels lie in the area."""
    for row, counts in cube.count_strips(spec.key):
        shape = Shape2d(*counts.shape[1:])
        yield row, counts, inside(outline, window_box(box, Window(row, 0, shape)))


def _quantiles(histogram: NDArray[np.int64]) -> tuple[int, int, int]:
    """The fewest, the middle and the most of values given as counts of each."""
    below = np.cumsum(histogram)
    if below[-1] == 0:
        return 0, 0, 0
    found = np.searchsorted(below, [1, (below[-1] + 1) // 2, below[-1]])
    least, median, most = (int(value) for value in found)
    return least, median, most
