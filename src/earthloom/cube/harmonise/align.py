"""How far an image lies beside a reference, to a small part of a pixel, or that it cannot be told.

Edges stay where they are while fields change colour, so directions of edges are compared, not
brightness (orientation correlation: Fitch, Kadyrov, Christmas & Kittler 2002), with doubled angles,
to which a dark field beside a bright one is the same as a bright one beside a dark one. Many tiles
vote on their own; the shift is the middle of those that agree, and where too few agree there is
none. The peak of a tile is found on a fine grid by a matrix Fourier transform (Guizar-Sicairos,
Thurman & Fienup 2008).

A shift is never applied to pixels: the image is read anew on a grid that is moved by it
(`shifted_box`), so that it is resampled once.
"""

from dataclasses import dataclass

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from scipy import fft, ndimage

from earthloom.errors import DataError

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Complex = NDArray[np.complex64]
Mask = NDArray[np.bool_]

_BLUR = 1.0
"""Pixels, standard deviation, of the smoothing before edges are looked for."""
_FINE = 25
"""Parts of a pixel on the fine grid of a tile's correlation, before a parabola refines it."""
_SEARCH = 3
"""Pixels around the whole image's shift in which a tile looks for its own."""
_ROUNDS = 2
"""Times that the image is moved by what was found and compared again: an image that lies right has
no bias from sampling."""


@dataclass(frozen=True)
class AlignSettings:
    """How shifts are looked for, and when they are trusted."""

    reach: int = 8
    """Greatest shift that is looked for, pixels in rows and in columns."""
    tile: int = 64
    """Pixels, both ways, of a tile."""
    min_seen: float = 0.15
    """Least part of a tile that both images must show."""
    agreement: float = 0.5
    """Pixels within which tiles are of one opinion."""
    min_tiles: int = 5
    """Least number of tiles that must be of one opinion."""
    min_share: float = 0.3
    """Least part of the tiles that must be of one opinion."""
    max_error: float = 0.15
    """Greatest standard error of the shift, pixels, with which it is trusted."""
    max_tiles: int = 100
    """Tiles that are looked at, spread evenly; more would only take time."""


@dataclass(frozen=True)
class Shift:
    """What the reference shows at (row, col), the image shows at (row + rows, col + cols)."""

    rows: float
    """Pixels downwards."""
    cols: float
    """Pixels to the right."""
    quality: float
    """Part of the tiles that agree, 0 to 1."""
    error: float
    """Standard error of each of the two, pixels, from the spread of the tiles that agree."""
    tiles_used: int
    """Tiles that agree."""


@dataclass(frozen=True)
class Displacement:
    """A way in the units of a CRS: metres, or degrees where it is geographic."""

    east: float
    north: float


def displacement(shift: Shift, box: GeoBox) -> Displacement:
    """A shift that was found on a grid, in the units of its CRS."""
    a, b, _, d, e, _ = tuple(box.affine)[:6]
    return Displacement(a * shift.cols + b * shift.rows, d * shift.cols + e * shift.rows)


def shifted_box(box: GeoBox, moved: Displacement) -> GeoBox:
    """The grid, of any pixel size, on which an image is read so that it fits the reference."""
    moved_affine = Affine.translation(moved.east, moved.north) * box.affine
    return GeoBox(box.shape, moved_affine, box.crs)


def estimate_shift(
    image: Floats, reference: Floats, settings: AlignSettings = AlignSettings()
) -> Shift | None:
    """The shift of an image against a reference, (C, H, W) each, of one grid and like bands.

    NaN marks what was not seen; a pixel counts where all its bands are there. None where the
    images do not show enough in common, or their tiles do not agree: then nothing must be moved.
    DataError if the shapes differ.
    """
    if image.shape != reference.shape or image.ndim != 3:
        raise DataError(
            f"images to be aligned must have one shape (C, H, W), not {image.shape} and "
            f"{reference.shape}"
        )
    moving, steady = _prepare(image), _edges(_prepare(reference))
    edges = _edges(moving)
    start = _coarse(edges, steady, settings.reach)
    if start is None:
        return None
    tiles = _tiles(image.shape[1:], settings)
    vote = _vote(_opinions(_rolled(edges, start), steady, tiles, _SEARCH, settings), settings)
    found: tuple[float, float] = start
    for _ in range(_ROUNDS):
        if vote is None:
            return None
        found = (found[0] + vote.rows, found[1] + vote.cols)
        moved = _edges(_moved(moving, found))
        vote = _vote(_opinions(moved, steady, tiles, 1, settings), settings)
    if vote is None:
        return None
    found = (found[0] + vote.rows, found[1] + vote.cols)
    if vote.error > settings.max_error or max(map(abs, found)) > settings.reach + 1:
        return None
    return Shift(found[0], found[1], vote.quality, vote.error, vote.tiles_used)


@dataclass(frozen=True, eq=False)
class _Picture:
    """An image without gaps, and where it is real."""

    pixels: Floats
    """(C, H, W), smoothed; gaps are filled from around them."""
    seen: Mask
    """(H, W)."""


@dataclass(frozen=True, eq=False)
class _Edges:
    """Directions of edges as unit vectors of twice their angle, shortened where edges are faint."""

    field: Complex
    """(C, H, W), 0 where not seen."""
    seen: Mask
    """(H, W)."""


def _prepare(image: Floats) -> _Picture:
    seen = np.asarray(np.isfinite(image).all(axis=0), np.bool_)
    part = ndimage.gaussian_filter(seen.astype(np.float32), _BLUR)
    pixels = np.empty(image.shape, np.float32)
    for place, band in enumerate(image):
        known = np.where(seen, band, np.float32(0))
        middle = np.float32(np.median(band[seen])) if seen.any() else np.float32(0)
        smooth = ndimage.gaussian_filter(known, _BLUR)
        pixels[place] = np.where(part > 0.05, smooth / np.maximum(part, 0.05), middle)
    return _Picture(pixels, seen)


def _moved(picture: _Picture, shift: tuple[float, float]) -> _Picture:
    """The picture as it is if what lies at (r + rows, c + cols) is put to (r, c)."""
    back = (-shift[0], -shift[1])
    bands = [ndimage.shift(band, back, order=3, mode="nearest") for band in picture.pixels]
    seen = ndimage.shift(picture.seen.astype(np.float32), back, order=1, cval=0.0)
    return _Picture(np.stack(bands), np.asarray(seen > 0.99, np.bool_))


def _rolled(edges: _Edges, shift: tuple[int, int]) -> _Edges:
    """As `_moved` by whole pixels; what comes in at the rim was not seen."""
    back = (-shift[0], -shift[1])
    seen = np.roll(edges.seen, back, (0, 1))
    for axis, step in enumerate(back):
        rim = slice(0, step) if step > 0 else slice(seen.shape[axis] + step, None)
        if step:
            seen[(rim, slice(None)) if axis == 0 else (slice(None), rim)] = False
    return _Edges(np.where(seen, np.roll(edges.field, back, (1, 2)), 0), seen)


def _edges(picture: _Picture) -> _Edges:
    # An edge is known where all pixels that its gradient was made of were seen.
    seen = ndimage.binary_erosion(picture.seen, np.ones((3, 3), np.bool_), iterations=3)
    field = np.zeros(picture.pixels.shape, np.complex64)
    for place, band in enumerate(picture.pixels):
        down, right = np.gradient(band)
        gradient = right + 1j * down
        strength = np.abs(gradient)
        usual = np.median(strength[seen]) if seen.any() else 0.0
        weight = np.maximum(strength * (strength + usual), np.finfo(np.float32).tiny)
        field[place] = np.where(seen, gradient**2 / weight, 0)
    return _Edges(field, np.asarray(seen, np.bool_))


def _coarse(moving: _Edges, steady: _Edges, reach: int) -> tuple[int, int] | None:
    """The whole image's shift in whole pixels; None where nothing is seen in both."""
    if not moving.seen.any() or not steady.seen.any():
        return None
    shape = [fft.next_fast_len(size + reach) for size in moving.seen.shape]
    total = np.zeros(shape, np.complex64)
    for a, b in zip(steady.field, moving.field):
        first = fft.fft2(_centred(a, steady.seen), shape)
        total += np.conj(first) * fft.fft2(_centred(b, moving.seen), shape)
    surface = fft.ifft2(total).real
    lags = np.arange(-reach, reach + 1)
    near = surface[np.ix_(lags, lags)]
    row, col = np.unravel_index(np.argmax(near), near.shape)
    return int(lags[row]), int(lags[col])


def _centred(field: Complex, seen: Mask) -> Complex:
    """Less its mean, which would pull every shift towards 0."""
    mean = field[seen].mean() if seen.any() else 0
    return np.asarray(np.where(seen, field - mean, 0), dtype=np.complex64)


def _tiles(shape: tuple[int, ...], settings: AlignSettings) -> list[tuple[slice, slice]]:
    """Tiles over the image, overlapping by half; at most as many as the settings say."""
    size = min(settings.tile, *shape)
    spans = [
        [slice(start, start + size) for start in range(0, length - size + 1, max(size // 2, 1))]
        for length in shape
    ]
    tiles = [(rows, cols) for rows in spans[0] for cols in spans[1]]
    step = max(1.0, len(tiles) / settings.max_tiles)
    return [tiles[int(place * step)] for place in range(int(len(tiles) / step))]


def _opinions(
    moving: _Edges,
    steady: _Edges,
    tiles: list[tuple[slice, slice]],
    limit: int,
    settings: AlignSettings,
) -> Doubles:
    """(tiles, 3): rows, columns, correlation of every tile that shows enough; NaN without peak."""
    window = np.hanning(tiles[0][0].stop - tiles[0][0].start + 2)[1:-1].astype(np.float32)
    taper = window[:, None] * window
    both = steady.seen & moving.seen
    found = [
        _tile_shift(moving.field[:, *tile], steady.field[:, *tile], both[tile] * taper, limit)
        for tile in tiles
        if both[tile].mean() >= settings.min_seen
    ]
    return np.array([each for each in found if each is not None], np.float64).reshape(-1, 3)


def _tile_shift(
    moving: Complex, steady: Complex, weight: Floats, limit: int
) -> tuple[float, float, float] | None:
    """Rows, columns and correlation at the highest peak within `limit` pixels.

    NaN, NaN, 0 where the highest value lies at the rim, so that it is no peak; None where the tile
    has no edges at all.
    """
    total = weight.sum()
    a = (steady - (steady * weight).sum((1, 2), keepdims=True) / total) * weight
    b = (moving - (moving * weight).sum((1, 2), keepdims=True) / total) * weight
    spectrum = (np.conj(fft.fft2(a)) * fft.fft2(b)).sum(axis=0)
    energy = float(np.sqrt((np.abs(a) ** 2).sum() * (np.abs(b) ** 2).sum()))
    if energy == 0:
        return None
    lags = np.arange(-limit - 1, limit + 2)
    near = fft.ifft2(spectrum).real[np.ix_(lags, lags)]
    row, col = np.unravel_index(np.argmax(near), near.shape)
    if {int(row), int(col)} & {0, len(lags) - 1}:
        return np.nan, np.nan, 0.0
    fine = np.arange(-_FINE, _FINE + 1) / _FINE
    around = _surface(spectrum, lags[row] + fine, lags[col] + fine)
    top, left = np.unravel_index(np.argmax(around), around.shape)
    return (
        lags[row] + fine[top] + _parabola(around[:, left], int(top)) / _FINE,
        lags[col] + fine[left] + _parabola(around[top], int(left)) / _FINE,
        float(around[top, left]) / energy,
    )


def _surface(spectrum: Complex, rows: Doubles, cols: Doubles) -> Doubles:
    """The inverse Fourier transform at any rows and columns (Guizar-Sicairos et al. 2008)."""
    down = np.exp(2j * np.pi * np.outer(rows, fft.fftfreq(spectrum.shape[0])))
    right = np.exp(2j * np.pi * np.outer(fft.fftfreq(spectrum.shape[1]), cols))
    return np.asarray((down @ spectrum @ right).real / spectrum.size, dtype=np.float64)


def _parabola(line: Doubles, top: int) -> float:
    """Where a parabola through the highest sample and its neighbours peaks, in samples from it."""
    if not 0 < top < len(line) - 1:
        return 0.0
    before, peak, after = line[top - 1 : top + 2]
    bend = before - 2 * peak + after
    return float(0.5 * (before - after) / bend) if bend < 0 else 0.0


def _vote(opinions: Doubles, settings: AlignSettings) -> Shift | None:
    """What most tiles agree on: the opinion with most others near it, and the mean of those."""
    if len(opinions) < settings.min_tiles:
        return None
    places = opinions[:, :2]
    apart = np.hypot(*(places[:, None] - places[None]).transpose(2, 0, 1))
    near = apart <= settings.agreement
    support = near @ np.maximum(opinions[:, 2], 0)
    agree = near[int(np.argmax(support))]
    share, used = float(agree.mean()), int(agree.sum())
    if used < settings.min_tiles or share < settings.min_share:
        return None
    inside = places[agree]
    weight = np.maximum(opinions[agree, 2], 1e-3) ** 2
    weight /= weight.sum()
    middle = weight @ inside
    variance = float((weight @ (inside - middle) ** 2).mean())
    # Tiles overlap by half: about half of them are independent of each other.
    error = float(np.sqrt(2 * variance * (weight**2).sum()))
    return Shift(float(middle[0]), float(middle[1]), share, error, used)
