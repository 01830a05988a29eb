"""Towns and villages on even ground, and the roads between them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from earthloom.world.noise import Extent, Floats, Mask, Random, blur, fractal, highest, smooth
from earthloom.world.relief import Course, Relief, along

_ROAD_WIDTH = 19.0
"""m, with its verges."""


@dataclass(frozen=True, eq=False)
class Towns:
    """Where people live; every raster is (rows, cols)."""

    mask: Mask
    """Built-up land, roads too."""
    roads: Mask
    """Roads outside and inside the towns."""
    centrality: Floats
    """1 in the middle of a town, 0 at its edge and outside."""
    nearness: Floats
    """1 in a town, falling to 0 about two of its radii away."""


@dataclass(frozen=True, eq=False)
class _Sites:
    x: NDArray[np.float64]
    y: NDArray[np.float64]
    radius: NDArray[np.float64]
    """All (n,), m."""


def build_towns(rng: Random, extent: Extent, relief: Relief, part: float, scale: float) -> Towns:
    """One town and several villages that cover about `part` of the window."""
    sites = _choose_sites(rng, extent, relief, part, scale)
    roads = _lay_roads(rng, extent, sites)
    x, y = extent.coordinates()
    rough = 0.28 * fractal(rng, extent, 420 * scale, 3.6) + 0.05 * fractal(rng, extent, 120, 4.0)
    inside = np.full((extent.shape.rows, extent.shape.cols), -np.inf, np.float32)
    for sx, sy, radius in zip(sites.x, sites.y, sites.radius, strict=True):
        away = np.hypot(x - np.float32(sx), y - np.float32(sy)) / np.float32(radius)
        # Size is told apart from shape: a big town spreads further, but not as a bigger disc.
        inside = np.maximum(inside, (1 - away * (1 + rough)).astype(np.float32))
    inside = inside - 6.0 * np.maximum(relief.slope - 0.06, 0)
    dry = ~relief.river & (relief.above_river > 0.9)
    wanted = round(part * inside.size) - int(roads.sum())
    streets = inside + 0.12 * _ribbon(roads, extent)
    mask = smooth(highest(streets, dry & ~roads, max(wanted, 0)), 2) & dry & ~roads
    edge = float(inside[mask].min()) if mask.any() else 0.0
    return Towns(
        mask=mask | roads,
        roads=roads,
        centrality=np.clip((inside - edge) / max(1 - edge, 1e-3), 0, 1) * mask,
        nearness=np.clip(1 + inside / 2, 0, 1).astype(np.float32),
    )


def _ribbon(roads: Mask, extent: Extent) -> Floats:
    """1 on roads, falling within some 80 m: houses line up along them."""
    soft = blur(roads.astype(np.float32), 50.0 / extent.resolution)
    return np.asarray(np.minimum(soft / 0.15, 1.0), dtype=np.float32)


def _choose_sites(rng: Random, extent: Extent, relief: Relief, part: float, scale: float) -> _Sites:
    """Even, dry places not too far from water, apart from each other; the first is the largest."""
    count = max(2, round(extent.width * extent.height / 7.5e6 / scale**1.3))
    step = max(1, round(120 * scale / extent.resolution))
    slope, height, away = (
        raster[step // 2 :: step, step // 2 :: step]
        for raster in (relief.slope, relief.above_river, relief.river_distance)
    )
    score = -25 * slope - 0.35 * np.abs(np.log1p(away / (900 * scale))) - 4 * (height < 1.5)
    score = score + rng.normal(0, 0.45, score.shape)
    rows, cols = np.indices(score.shape) * step * extent.resolution
    chosen: list[tuple[float, float]] = []
    apart = 1500 * scale**0.7
    for place in np.argsort(-score, axis=None):
        y, x = float(rows.ravel()[place]), float(cols.ravel()[place])
        inner = min(x, y, extent.width - x, extent.height - y) > 0.04 * extent.size
        if inner and all(np.hypot(x - a, y - b) > apart for a, b in chosen):
            chosen.append((x, y))
        if len(chosen) == count:
            break
    size = np.exp(rng.normal(0, 0.35, len(chosen)))
    size[0] = 2.6
    area = part * extent.width * extent.height * size**2 / (size**2).sum()
    return _Sites(
        np.array([x for x, _ in chosen]),
        np.array([y for _, y in chosen]),
        np.sqrt(area / np.pi) * 1.5,
    )


def _lay_roads(rng: Random, extent: Extent, sites: _Sites) -> Mask:
    """Each town joined to the nearest larger ones, and the first to two edges of the window."""
    roads = np.zeros((extent.shape.rows, extent.shape.cols), np.bool_)
    for here in range(1, sites.x.size):
        away = np.hypot(sites.x[:here] - sites.x[here], sites.y[:here] - sites.y[here])
        for there in np.argsort(away)[: 1 + (here % 3 == 0)]:
            roads |= _road(
                rng, extent, (sites.x[here], sites.y[here]), (sites.x[there], sites.y[there])
            )
    for turn in (rng.uniform(0, np.pi),):
        reach = 0.75 * np.hypot(extent.width, extent.height)
        for sign in (-1, 1):
            end = (
                sites.x[0] + sign * reach * np.cos(turn),
                sites.y[0] + sign * reach * np.sin(turn),
            )
            roads |= _road(rng, extent, (sites.x[0], sites.y[0]), end)
    return roads


def _road(
    rng: Random, extent: Extent, start: tuple[float, float], end: tuple[float, float]
) -> Mask:
    """A road that winds a little between two points (x, y)."""
    length = float(np.hypot(end[0] - start[0], end[1] - start[1]))
    along_ = np.linspace(0, 1, max(8, int(length / 20)))
    sway = np.zeros_like(along_)
    for wave in (1, 2, 3, 5, 8):
        sway += rng.normal(0, 0.028 / wave) * length * np.sin(np.pi * wave * along_)
    normal = np.array([-(end[1] - start[1]), end[0] - start[0]]) / max(length, 1.0)
    x = start[0] + along_ * (end[0] - start[0]) + sway * normal[0]
    y = start[1] + along_ * (end[1] - start[1]) + sway * normal[1]
    line = Course(x.astype(np.float32), y.astype(np.float32), np.zeros(x.size, np.float32), 0.0)
    return along(line, extent, _ROAD_WIDTH)
