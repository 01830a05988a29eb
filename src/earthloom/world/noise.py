"""Seeded random fields on a raster: fractal noise, smoothing, Voronoi cells, label repair.

Rasters are (rows, cols), row 0 in the north. Lengths are in metres.
"""

import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Labels = NDArray[np.int32]
Mask = NDArray[np.bool_]
Random = np.random.Generator


@dataclass(frozen=True)
class Shape:
    """Rows and columns of a raster."""

    rows: int
    cols: int


@dataclass(frozen=True)
class Extent:
    """A raster's shape and the width of its square pixels in metres."""

    shape: Shape
    resolution: float

    @property
    def height(self) -> float:
        """North-south length, m."""
        return self.shape.rows * self.resolution

    @property
    def width(self) -> float:
        """East-west length, m."""
        return self.shape.cols * self.resolution

    @property
    def size(self) -> float:
        """The shorter side, m."""
        return min(self.height, self.width)

    def coordinates(self) -> tuple[Floats, Floats]:
        """x eastward (1, cols) and y southward (rows, 1) of pixel centres, m from the corner."""
        x = (np.arange(self.shape.cols, dtype=np.float32) + 0.5) * np.float32(self.resolution)
        y = (np.arange(self.shape.rows, dtype=np.float32) + 0.5) * np.float32(self.resolution)
        return x[None, :], y[:, None]


def stream(seed: int, *name: str | int) -> Random:
    """A random generator that depends on the seed and the purpose alone, not on the call order."""
    purpose = zlib.crc32("/".join(str(part) for part in name).encode())
    return np.random.default_rng(np.random.SeedSequence([seed, purpose]))


@dataclass(frozen=True)
class Stretch:
    """Streaks: how much longer than wide, and the direction in which they run."""

    factor: float
    direction: float
    """Radians from east towards south."""


def fractal(
    rng: Random, extent: Extent, scale: float, slope: float = 3.5, stretch: Stretch | None = None
) -> Floats:
    """Gaussian noise (rows, cols) with mean 0 and standard deviation 1.

    Its power is flat for wavelengths above `scale` (m) and falls with the `slope`th power of the
    frequency below: 2 is rough, 4 is smooth.
    """
    shape = extent.shape
    rows, cols = _fast_length(shape.rows + 16), _fast_length(shape.cols + 16)
    fy = np.fft.fftfreq(rows, extent.resolution).astype(np.float32)[:, None]
    fx = np.fft.rfftfreq(cols, extent.resolution).astype(np.float32)[None, :]
    if stretch is None:
        squared = fx * fx + fy * fy
    else:
        cos, sin = np.float32(np.cos(stretch.direction)), np.float32(np.sin(stretch.direction))
        lengthwise = (fx * cos + fy * sin) * np.float32(stretch.factor)
        squared = lengthwise**2 + (-fx * sin + fy * cos) ** 2
    amplitude = (1.0 + squared * np.float32(scale * scale)) ** np.float32(-slope / 4)
    amplitude[0, 0] = 0.0
    white = rng.standard_normal((2, *amplitude.shape), dtype=np.float32)
    spectrum = (white[0] + 1j * white[1]) * amplitude
    noise = np.fft.irfft2(spectrum, s=(rows, cols))[: shape.rows, : shape.cols]
    noise = noise - noise.mean()
    return np.asarray(noise / max(float(noise.std()), 1e-12), dtype=np.float32)


def broad(
    rng: Random, extent: Extent, scale: float, slope: float = 4.2, stretch: Stretch | None = None
) -> Floats:
    """As `fractal`, for wide and smooth patterns: drawn coarsely and interpolated, so quick.

    Not for elevations: its slopes would show the coarse raster.
    """
    factor = int(scale / extent.resolution / 16)
    if factor < 2:
        return fractal(rng, extent, scale, slope, stretch)
    shape = Shape(-(-extent.shape.rows // factor) + 2, -(-extent.shape.cols // factor) + 2)
    coarse = fractal(rng, Extent(shape, extent.resolution * factor), scale, slope, stretch)
    for count in (extent.shape.rows, extent.shape.cols):
        place = (np.arange(count, dtype=np.float32) + np.float32(0.5)) / np.float32(factor)
        low = place.astype(np.int64)
        part = (place - low)[:, None]
        # The second pass works on the turned raster, so that both run along rows.
        coarse = (coarse[low] * (1 - part) + coarse[low + 1] * part).T
    fine = np.ascontiguousarray(coarse, np.float32)
    fine -= fine.mean()
    return fine / np.float32(max(float(fine.std()), 1e-12))


def _fast_length(least: int) -> int:
    """The next length, 1/16 above `least` at most, whose prime factors are 2, 3 and 5.

    Noise is periodic over its canvas, so a canvas of the window's very size would show on one
    side what is on the other.
    """
    length = least + least // 8
    while True:
        rest = length
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return length
        length += 1


def blur(values: Floats, radius: float) -> Floats:
    """Smooths (rows, cols) with a near-Gaussian of standard deviation `radius`, in pixels.

    Three box filters in each direction; the edges are continued by their last value.
    """
    half = max(1, round(radius))
    out = values.astype(np.float32)
    for axis in (0, 1):
        for _ in range(3):
            out = _box(out, half, axis)
    return out


def spread(values: Floats, side: float) -> Floats:
    """Mixes `side` of each neighbour into every pixel of (band, rows, cols)."""
    part, middle = np.float32(side), np.float32(1 - 2 * side)
    out = np.empty(values.shape, np.float32)
    lent = np.empty(values.shape[1:], np.float32)
    for place, band in enumerate(values):
        down, across = band * middle, out[place]
        np.multiply(band, part, out=lent)
        down[1:] += lent[:-1]
        down[:-1] += lent[1:]
        down[0] += lent[0]
        down[-1] += lent[-1]
        np.multiply(down, part, out=lent)
        np.multiply(down, middle, out=across)
        across[:, 1:] += lent[:, :-1]
        across[:, :-1] += lent[:, 1:]
        across[:, 0] += lent[:, 0]
        across[:, -1] += lent[:, -1]
    return out


def block_mean(values: Floats, factor: int) -> Floats:
    """Means of blocks of factor x factor pixels over the last two axes.

    Both must be multiples of `factor`.
    """
    total = values[..., ::factor, ::factor].astype(np.float32)
    for row in range(factor):
        for col in range(factor):
            if row or col:
                total += values[..., row::factor, col::factor]
    return np.asarray(total / np.float32(factor * factor), dtype=np.float32)


def _box(values: Floats, half: int, axis: int) -> Floats:
    """Running mean over 2 * half + 1 pixels along one axis."""
    pad = [(0, 0), (0, 0)]
    pad[axis] = (half + 1, half)
    # Sums of some thousand values about 1: single precision is enough.
    total = np.pad(values, pad, mode="edge").cumsum(axis=axis, dtype=np.float32)
    wide = 2 * half + 1
    sums = total[wide:] - total[:-wide] if axis == 0 else total[:, wide:] - total[:, :-wide]
    return np.asarray(sums / np.float32(wide), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class Cells:
    """A division of the raster into irregular cells."""

    labels: Labels
    """(rows, cols), 0 to count - 1."""
    x: Floats
    """(count,) the cells' seeds, m."""
    y: Floats

    @property
    def count(self) -> int:
        return self.x.size


def cells(rng: Random, extent: Extent, spacing: float, bend: float = 0.15) -> Cells:
    """Voronoi cells of jittered seeds `spacing` m apart, borders bent by `bend` spacings."""
    x, y = extent.coordinates()
    warp = np.float32(bend * spacing)
    px = (x + warp * fractal(rng, extent, spacing, 4.5)) / np.float32(spacing)
    py = (y + warp * fractal(rng, extent, spacing, 4.5)) / np.float32(spacing)
    margin = 3
    rows = int(extent.height / spacing) + 2 * margin + 1
    cols = int(extent.width / spacing) + 2 * margin + 1
    jitter = rng.uniform(0.12, 0.88, (2, rows, cols)).astype(np.float32)
    seed_x = (jitter[0] + np.arange(cols, dtype=np.float32)[None, :] - margin).ravel()
    seed_y = (jitter[1] + np.arange(rows, dtype=np.float32)[:, None] - margin).ravel()
    # The nearest seed is nearly always that of one of the four squares around the nearest corner.
    col = np.clip(np.rint(px).astype(np.int32) + (margin - 1), 0, cols - 2)
    row = np.clip(np.rint(py).astype(np.int32) + (margin - 1), 0, rows - 2)
    corner = row * np.int32(cols) + col
    best = np.full(px.shape, np.inf, np.float32)
    labels = np.zeros(px.shape, np.int32)
    for step in (0, 1, cols, cols + 1):
        index = corner + np.int32(step)
        distance = (px - seed_x.take(index)) ** 2 + (py - seed_y.take(index)) ** 2
        nearer = distance < best
        np.copyto(best, distance, where=nearer)
        np.copyto(labels, index, where=nearer)
    labels, kept = compact(labels)
    scale = np.float32(spacing)
    return Cells(labels, seed_x[kept] * scale, seed_y[kept] * scale)


def compact(labels: NDArray[np.integer]) -> tuple[Labels, NDArray[np.int64]]:
    """Labels renumbered from 0 without gaps, and the old number of each new one."""
    flat = labels.ravel()
    if flat.size and int(flat.min()) >= 0 and int(flat.max()) < 8 * flat.size:
        present = np.bincount(flat) > 0
        new = np.cumsum(present, dtype=np.int64) - 1
        return new[labels].astype(np.int32), np.flatnonzero(present)
    kept, inverse = np.unique(flat, return_inverse=True)
    return inverse.reshape(labels.shape).astype(np.int32), kept.astype(np.int64)


def absorb_small(labels: Labels, least: int) -> Labels:
    """Gives labels of fewer than `least` pixels to their neighbours, so that no slivers stay."""
    out = labels.copy()
    open_ = (np.bincount(labels.ravel()) < least)[labels]
    for _ in range(4 * least):
        if not open_.any():
            break
        for axis, step in ((0, 1), (1, 1), (0, -1), (1, -1)):
            here, there = _facing(axis, step)
            take = open_[here] & ~open_[there]
            out[here] = np.where(take, out[there], out[here])
            open_[here] &= ~take
    return compact(out)[0]


def _facing(axis: int, step: int) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """Two views of a raster in which each pixel meets its neighbour `step` along `axis`."""
    first, second = slice(None, -1), slice(1, None)
    here, there = (first, second) if step > 0 else (second, first)
    whole = slice(None)
    return ((here, whole), (there, whole)) if axis == 0 else ((whole, here), (whole, there))


def borders(labels: NDArray[np.integer]) -> Mask:
    """(rows, cols) pixels whose southern or eastern neighbour has another label."""
    edge = np.zeros(labels.shape, np.bool_)
    edge[:-1] |= labels[:-1] != labels[1:]
    edge[:, :-1] |= labels[:, :-1] != labels[:, 1:]
    return edge


def grow(mask: Mask, steps: int) -> Mask:
    """The mask, widened by `steps` pixels in the four directions."""
    out = mask.copy()
    for _ in range(steps):
        wider = out.copy()
        wider[1:] |= out[:-1]
        wider[:-1] |= out[1:]
        wider[:, 1:] |= out[:, :-1]
        wider[:, :-1] |= out[:, 1:]
        out = wider
    return out


def highest(score: Floats, among: Mask, count: int) -> Mask:
    """The `count` pixels of `among` with the highest score."""
    chosen = np.zeros(score.shape, np.bool_)
    places = np.flatnonzero(among)
    count = min(count, places.size)
    if count > 0:
        values = score.ravel()[places]
        chosen.ravel()[places[np.argpartition(values, -count)[-count:]]] = True
    return chosen


def smooth(mask: Mask, radius: float) -> Mask:
    """The mask without crumbs and holes narrower than about two `radius` pixels."""
    return blur(mask.astype(np.float32), radius) > 0.5


def hashed(*keys: NDArray[np.integer]) -> Floats:
    """Uniform numbers in [0, 1) that depend on the keys alone (after Steele et al. 2014)."""
    state = np.uint64(0x9E3779B97F4A7C15)
    mixed = np.zeros(np.broadcast_shapes(*(key.shape for key in keys)), np.uint64)
    for key in keys:
        mixed = (mixed ^ key.astype(np.int64).view(np.uint64)) + state
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed = mixed ^ (mixed >> np.uint64(31))
    return ((mixed >> np.uint64(40)).astype(np.float32)) / np.float32(1 << 24)
