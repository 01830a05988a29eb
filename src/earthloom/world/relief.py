"""Relief and running water: a river with its valley, hills, and brooks that find their way down."""

import heapq
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from earthloom.world.noise import Extent, Floats, Mask, Random, fractal, stream

# Cells of the coarse grid on which water is routed; bounds the time of the pure Python search.
_ROUTING_CELLS = 60_000


@dataclass(frozen=True, eq=False)
class Course:
    """A watercourse, ordered downstream."""

    x: Floats
    """(n,) m from the western edge."""
    y: Floats
    """(n,) m from the northern edge."""
    bed: Floats
    """(n,) elevation of the bed, m; never rises downstream."""
    width: float
    """m."""


@dataclass(frozen=True, eq=False)
class Relief:
    """The form of the land; every raster is (rows, cols)."""

    elevation: Floats
    """m above the geoid."""
    above_river: Floats
    """Height above the river's surface at the same place along the valley, m."""
    slope: Floats
    """Rise over run."""
    river_distance: Floats
    """m from the river's midline, about."""
    river: Mask
    """The main river."""
    courses: tuple[Course, ...]
    """The river first, then the brooks by catchment, largest first."""


@dataclass(frozen=True, eq=False)
class _Valley:
    """Where every pixel lies relative to the main river."""

    along: Floats
    """(rows, cols) m downstream."""
    across: Floats
    """(rows, cols) signed m from the midline."""
    surface: Floats
    """(rows, cols) the river's level at that place along, m."""


def shape_relief(seed: int, extent: Extent) -> Relief:
    """The relief of a window; smaller windows have smaller hills and a narrower river."""
    rng = stream(seed, "relief")
    scale = float(np.clip(extent.size / 10_000, 0.15, 1.0))
    valley, river_course = _valley(rng, extent, scale)
    distance = np.abs(valley.across)
    hills = _hills(rng, extent, distance, scale)
    elevation = valley.surface + hills
    courses = _brooks(elevation, extent, scale, distance > river_course.width)
    elevation = _carve(elevation, extent, courses)
    half = river_course.width * (0.5 + 0.12 * fractal(rng, extent, 400 * scale))
    river = distance < half
    elevation = np.where(river, valley.surface - 1.5, elevation).astype(np.float32)
    return Relief(
        elevation=elevation,
        above_river=(elevation - valley.surface).astype(np.float32),
        slope=slope_of(elevation, extent.resolution),
        river_distance=distance,
        river=river,
        courses=(river_course, *courses),
    )


def slope_of(elevation: Floats, resolution: float) -> Floats:
    """Rise over run, (rows, cols)."""
    south, east = np.gradient(elevation, resolution)
    return np.asarray(np.hypot(south, east), dtype=np.float32)


def _valley(rng: Random, extent: Extent, scale: float) -> tuple[_Valley, Course]:
    """A meandering midline through the window, and every pixel's place relative to it."""
    x, y = extent.coordinates()
    angle = rng.uniform(0, 2 * np.pi)
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    dx, dy = x - np.float32(extent.width / 2), y - np.float32(extent.height / 2)
    reach = float(np.hypot(extent.width, extent.height))
    line = np.arange(-0.6 * reach, 0.6 * reach, 5.0, dtype=np.float32)
    offset = _meander(rng, line, scale) + np.float32(rng.uniform(-0.15, 0.15) * extent.size)
    offset -= np.float32(np.interp(0.0, line, offset)) * np.float32(0.7)
    along = dx * cos + dy * sin
    across = -dx * sin + dy * cos
    steepness = np.gradient(offset, line)
    straight = np.interp(along, line, offset).astype(np.float32)
    stretch = np.interp(along, line, 1 / np.hypot(1, steepness)).astype(np.float32)
    fall = np.float32(0.0011)
    valley = _Valley(along, (across - straight) * stretch, 410 - fall * along)
    course_x = line * cos - offset * sin + np.float32(extent.width / 2)
    course_y = line * sin + offset * cos + np.float32(extent.height / 2)
    inside = (course_x >= 0) & (course_x < extent.width)
    inside &= (course_y >= 0) & (course_y < extent.height)
    bed = (410 - fall * line - np.float32(1.5)).astype(np.float32)
    width = 28.0 + 52.0 * scale
    return valley, Course(course_x[inside], course_y[inside], bed[inside], width)


def _meander(rng: Random, line: Floats, scale: float) -> Floats:
    """The midline's offset in m along `line`: bends of several sizes."""
    offset = np.zeros_like(line)
    for wavelength, amplitude in ((9000, 700), (3400, 260), (1500, 105), (800, 38), (420, 9)):
        length = wavelength * scale * rng.uniform(0.8, 1.2)
        # The wavelength drifts along the valley, else the bends look like a sine.
        drift = np.cumsum(1 + 0.45 * np.sin(line / (2.3 * length) + rng.uniform(0, 6.28))) * 5.0
        offset += amplitude * scale * np.sin(2 * np.pi * drift / length + rng.uniform(0, 6.28))
    return offset.astype(np.float32)


def _hills(rng: Random, extent: Extent, distance: Floats, scale: float) -> Floats:
    """Height above the river in m: flat by the water, rolling beyond the valley's edge."""
    broad = fractal(rng, extent, 4500 * scale, 5.0)
    rolling = fractal(rng, extent, 1300 * scale, 5.0)
    edge = 330 * scale * (1 + 0.45 * fractal(rng, extent, 1500 * scale, 4.8))
    ramp = np.clip((distance - edge) / (1500 * scale), 0, 1)
    ramp = ramp * ramp * (3 - 2 * ramp)
    height = ramp * (52 + 34 * broad + 15 * rolling) * scale**0.6
    plain = 1.2 + 0.0035 * distance + 0.45 * fractal(rng, extent, 260 * scale, 4.0)
    return np.asarray(np.maximum(height, 0) + np.maximum(plain, 0.3), dtype=np.float32)


def _brooks(elevation: Floats, extent: Extent, scale: float, land: Mask) -> tuple[Course, ...]:
    """Brooks of the window, routed downhill on a coarse grid, largest catchment first.

    A brook ends where it leaves `land` (rows, cols), in the river.
    """
    step = max(1, int(np.ceil(np.sqrt(elevation.size / _ROUTING_CELLS))))
    coarse = elevation[step // 2 :: step, step // 2 :: step]
    filled, towards, order = _drain(coarse)
    catchment = np.ones(coarse.size)
    for cell in reversed(order):
        if towards[cell] >= 0:
            catchment[towards[cell]] += catchment[cell]
    cell_size = step * extent.resolution
    least = 1.3e6 * scale**2 / cell_size**2
    dry = land[step // 2 :: step, step // 2 :: step].ravel()
    paths = _paths(np.where(dry, catchment, 0.0), towards, least)
    courses = []
    for path in paths:
        row, col = np.divmod(np.asarray(path), coarse.shape[1])
        x, y, bed = (
            _smooth_line(line) for line in (col * cell_size, row * cell_size, filled.ravel()[path])
        )
        area = float(catchment[path].max()) * cell_size**2 / 1e6
        bed = np.minimum.accumulate(bed)
        centre = np.float32((step // 2 + 0.5) * extent.resolution)
        courses.append(Course(x + centre, y + centre, bed, 4.0 + 3.0 * area**0.5))
    return tuple(sorted(courses, key=lambda course: -course.width))


def _drain(surface: Floats) -> tuple[Floats, NDArray[np.int64], list[int]]:
    """Fills hollows and finds where each cell drains (Barnes et al. 2014, priority flood).

    Returns the filled surface, the flat index of the cell that each cell drains to (-1 at the
    window's edge), and the cells in the order in which the flood reached them.
    """
    rows, cols = surface.shape
    level = surface.astype(np.float64).ravel().tolist()
    towards = [-2] * (rows * cols)
    edge = [
        r * cols + c
        for r in range(rows)
        for c in range(cols)
        if r in (0, rows - 1) or c in (0, cols - 1)
    ]
    for cell in edge:
        towards[cell] = -1
    queue = [(level[cell], cell) for cell in edge]
    heapq.heapify(queue)
    order: list[int] = []
    while queue:
        height, cell = heapq.heappop(queue)
        order.append(cell)
        row, col = divmod(cell, cols)
        for r in range(max(row - 1, 0), min(row + 2, rows)):
            for c in range(max(col - 1, 0), min(col + 2, cols)):
                near = r * cols + c
                if towards[near] == -2:
                    towards[near] = cell
                    level[near] = max(level[near], height + 1e-4)
                    heapq.heappush(queue, (level[near], near))
    filled = np.asarray(level, np.float32).reshape(rows, cols)
    return filled, np.asarray(towards), order


def _paths(
    catchment: NDArray[np.float64], towards: NDArray[np.int64], least: float
) -> list[list[int]]:
    """Cells of each brook from its spring to the water that it joins; no catchment means river."""
    wet = catchment >= least
    fed = np.zeros(wet.size, np.bool_)
    fed[towards[wet & (towards >= 0)]] = True
    springs = np.flatnonzero(wet & ~fed)
    # The brook that gathers most keeps its name at a junction: start with the highest springs.
    springs = springs[np.argsort(-catchment[springs], kind="stable")]
    taken: set[int] = set()
    paths = []
    for spring in springs.tolist():
        path = [spring]
        while path[-1] not in taken and towards[path[-1]] >= 0 and catchment[path[-1]] > 0:
            path.append(int(towards[path[-1]]))
        taken.update(path)
        if len(path) > 6:
            paths.append(path)
    return paths


def _smooth_line(values: NDArray[np.floating]) -> Floats:
    """A line of cells made round and dense: a running mean over 9 cells, 6 points a cell."""
    padded = np.pad(np.asarray(values, np.float64), 4, mode="edge")
    smooth = np.convolve(padded, np.hanning(11)[1:-1] / np.hanning(11).sum(), mode="valid")
    smooth[0], smooth[-1] = values[0], values[-1]
    dense = np.arange(0, len(values) - 1 + 1e-9, 1 / 6)
    return np.asarray(np.interp(dense, np.arange(len(values)), smooth), dtype=np.float32)


def _carve(elevation: Floats, extent: Extent, courses: tuple[Course, ...]) -> Floats:
    """Lowers the land to the brooks' beds, with banks that rise gently."""
    out = elevation.copy()
    if not courses:
        return out
    row = np.concatenate([course.y for course in courses]) / np.float32(extent.resolution)
    col = np.concatenate([course.x for course in courses]) / np.float32(extent.resolution)
    bed = np.concatenate([course.bed for course in courses])
    reach = max(2, round(110 / extent.resolution))
    span = np.arange(-reach, reach + 1)
    for dr in span:
        for dc in span:
            away = float(np.hypot(dr, dc)) * extent.resolution
            r, c = row.astype(np.int64) + dr, col.astype(np.int64) + dc
            ok = (r >= 0) & (r < out.shape[0]) & (c >= 0) & (c < out.shape[1])
            bank = bed[ok] - np.float32(1.0) + np.float32(0.12 * away + 0.0012 * away * away)
            np.minimum.at(out, (r[ok], c[ok]), bank)
    return out


def along(course: Course, extent: Extent, width: float) -> Mask:
    """Pixels within half of `width` m of a course, (rows, cols)."""
    mask = np.zeros((extent.shape.rows, extent.shape.cols), np.bool_)
    half = width / 2 / extent.resolution
    reach = int(np.ceil(half)) + 1
    x, y = _dense(course, extent.resolution / 2)
    px, py = x / extent.resolution, y / extent.resolution
    row, col = np.floor(py).astype(np.int64), np.floor(px).astype(np.int64)
    for dr in range(-reach, reach + 1):
        for dc in range(-reach, reach + 1):
            r, c = row + dr, col + dc
            near = np.hypot(r + 0.5 - py, c + 0.5 - px) <= half
            near &= (r >= 0) & (r < mask.shape[0]) & (c >= 0) & (c < mask.shape[1])
            mask[r[near], c[near]] = True
    return mask


def _dense(course: Course, spacing: float) -> tuple[Floats, Floats]:
    """Points at most `spacing` m apart along a course."""
    steps = np.hypot(np.diff(course.x), np.diff(course.y))
    place = np.concatenate([[0.0], np.cumsum(steps)])
    at = np.arange(0.0, float(place[-1]) + spacing, spacing)
    x = np.interp(at, place, course.x).astype(np.float32)
    return x, np.interp(at, place, course.y).astype(np.float32)


def falls(course: Course) -> bool:
    """Whether the bed never rises downstream."""
    return all(later <= earlier + 1e-4 for earlier, later in pairwise(course.bed.tolist()))
