"""Where chips lie on the Earth, and how far apart they are; in numpy alone.

A footprint is the quadrilateral of a chip's four corners with edges along great circles. Distances
are those of a sphere with the smallest radius of curvature of the WGS 84 ellipsoid, so that they
are never overstated: the true distance is up to 1.1 % longer, never shorter. The edges of a chip
of 2.5 km leave the great circle by less than half a metre at 60 degrees of latitude.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import ContractError

RADIUS_M = 6_335_439.0
"""Of the sphere: the ellipsoid's radius of curvature along a meridian at the equator."""

TOUCH_M = 0.5
"""Footprints that overlap by less than this only touch: their corners are rounded, their edges
not quite straight."""

_POINT = 1e-12
"""Radians below which an edge has no length."""

_STREWN = 8
"""How many times nearer to each other than a distance the targets are that tell of it at first."""

PAIRS = 1 << 18
"""Pairs that are looked at together; bounds the memory."""


@dataclass(frozen=True)
class Footprints:
    """The outlines of n chips that all have a place."""

    corners: NDArray[np.float64]
    """(n, 4, 2) longitude and latitude in degrees, round the chip in either direction."""

    def __post_init__(self) -> None:
        if self.corners.ndim != 3 or self.corners.shape[1:] != (4, 2):
            raise ContractError(
                f"footprints are (n, 4, 2) corners in degrees, but got {self.corners.shape}"
            )
        lost = int((~np.isfinite(self.corners).all(axis=(1, 2))).sum())
        if lost:
            raise ContractError(
                f"{lost} of {len(self.corners)} chips have no place on the Earth, so distances "
                "between them are not known; split them at random, by group or by time"
            )

    def __len__(self) -> int:
        return len(self.corners)

    @cached_property
    def vertices(self) -> NDArray[np.float64]:
        """(n, 4, 3) unit vectors of the corners, anticlockwise as seen from outside."""
        lon, lat = np.radians(self.corners[..., 0]), np.radians(self.corners[..., 1])
        points = np.stack(
            [np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1
        )
        middle = points.sum(axis=1)
        across = np.cross(points[:, 2] - points[:, 0], points[:, 3] - points[:, 1])
        turned = (across * middle).sum(axis=-1) < 0
        points[turned] = points[turned, ::-1]
        return points

    @cached_property
    def centres(self) -> NDArray[np.float64]:
        """(n, 3) unit vectors."""
        middle = self.vertices.sum(axis=1)
        centres: NDArray[np.float64] = middle / np.linalg.norm(middle, axis=-1, keepdims=True)
        return centres

    @cached_property
    def radii(self) -> NDArray[np.float64]:
        """(n,) metres from the centre to the furthest corner."""
        radii: NDArray[np.float64] = arc_m(self.vertices, self.centres[:, None]).max(axis=1)
        return radii

    @cached_property
    def degrees(self) -> NDArray[np.float64]:
        """(n, 2) longitude (-180 to 180) and latitude of the centres."""
        x, y, z = self.centres.T
        angles = np.stack([np.arctan2(y, x), np.arcsin(np.clip(z, -1, 1))], axis=-1)
        degrees: NDArray[np.float64] = np.degrees(angles)
        return degrees

    @cached_property
    def areas(self) -> NDArray[np.float64]:
        """(n,) square metres, by the chips' flat quadrilaterals."""
        across = self.vertices[:, 2] - self.vertices[:, 0]
        down = self.vertices[:, 3] - self.vertices[:, 1]
        areas: NDArray[np.float64] = np.linalg.norm(np.cross(across, down), axis=-1) / 2
        areas *= RADIUS_M**2
        return areas

    def of(self, rows: NDArray[np.int64]) -> "Footprints":
        """Some of the footprints."""
        return Footprints(self.corners[rows])


def arc_m(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Metres on the sphere between unit vectors (..., 3)."""
    chord = np.linalg.norm(a - b, axis=-1)
    arc: NDArray[np.float64] = 2 * RADIUS_M * np.arcsin(np.clip(chord / 2, 0, 1))
    return arc


def gap_m(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) metres between pairs of footprints, given as vertices (n, 4, 3) of each.

    Negative where they overlap: by how far they reach into each other. Two convex outlines that do
    not overlap are parted by the great circle of one of their edges, and are nearest at a vertex
    of one and an edge of the other.
    """
    parted = np.maximum(_parted_m(a, b), _parted_m(b, a))
    apart = np.minimum(_vertex_to_edge_m(a, b), _vertex_to_edge_m(b, a))
    solid = (arc_m(a, a[:, :1]).max(axis=1) > 0) | (arc_m(b, b[:, :1]).max(axis=1) > 0)
    return np.where((parted < 0) & solid, parted, apart)


def _parted_m(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) metres by which the best edge of `a` has all of `b` on its outer side."""
    normals = np.cross(a, np.roll(a, -1, axis=1))
    lengths = np.linalg.norm(normals, axis=-1, keepdims=True)
    # An edge of no length (a footprint that is a point) parts nothing.
    normals = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > _POINT)
    outside = -np.einsum("nek,nvk->nev", normals, b)
    least = np.where(lengths[..., 0] > _POINT, outside.min(axis=2), -1.0)
    parted: NDArray[np.float64] = RADIUS_M * np.arcsin(np.clip(least.max(axis=1), -1, 1))
    return parted


def _vertex_to_edge_m(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) least metres from a vertex of `a` to an edge of `b`."""
    starts, ends = b[:, None], np.roll(b, -1, axis=1)[:, None]
    points = a[:, :, None]
    normals = np.cross(starts, ends)
    lengths = np.linalg.norm(normals, axis=-1, keepdims=True)
    normals = np.divide(normals, lengths, out=np.zeros_like(normals), where=lengths > _POINT)
    off = (points * normals).sum(axis=-1)
    foot = points - off[..., None] * normals
    between = ((np.cross(starts, foot) * normals).sum(axis=-1) >= 0) & (
        (np.cross(foot, ends) * normals).sum(axis=-1) >= 0
    )
    to_line = RADIUS_M * np.arcsin(np.clip(np.abs(off), 0, 1))
    to_ends = arc_m(points, starts)
    usable = between & (lengths[..., 0] > _POINT)
    nearest: NDArray[np.float64] = np.where(usable, np.minimum(to_line, to_ends), to_ends)
    least: NDArray[np.float64] = nearest.min(axis=(1, 2))
    return least


def near(queries: Footprints, targets: Footprints, within_m: float) -> NDArray[np.bool_]:
    """(n,) whether any target lies nearer than `within_m` metres to a query, or overlaps it.

    Chips that only touch are 0 m apart, and are near where `within_m` is above 0.
    """
    if not len(queries) or not len(targets):
        return np.zeros(len(queries), np.bool_)
    found = np.zeros(len(queries), np.bool_)
    if within_m > _STREWN * targets.radii.max():
        # A few of the targets, evenly strewn, are enough to tell of most queries that are near.
        found = _centres_near(queries, targets.of(_strewn(targets, within_m / _STREWN)), within_m)
    unsure = np.flatnonzero(~found)
    if len(unsure):
        found[unsure] = _outlines_near(queries.of(unsure), targets, within_m)
    return found


def _strewn(places: Footprints, apart_m: float) -> NDArray[np.int64]:
    """Rows of one footprint in each cell of space of this side."""
    cells = np.floor(places.centres * (RADIUS_M / max(apart_m, 1.0))).astype(np.int64)
    _, rows = np.unique(cells, axis=0, return_index=True)
    return rows.astype(np.int64)


def _centres_near(queries: Footprints, targets: Footprints, within_m: float) -> NDArray[np.bool_]:
    """(n,) whether the centre of any target is nearer; then so is its outline, which holds it."""
    found = np.zeros(len(queries), np.bool_)
    for rows, others in _Cells(targets.centres, within_m).pairs(queries.centres):
        found[rows[arc_m(queries.centres[rows], targets.centres[others]) < within_m]] = True
    return found


def _outlines_near(queries: Footprints, targets: Footprints, within_m: float) -> NDArray[np.bool_]:
    """(n,) whether the outline of any target is nearer, or overlaps."""
    found = np.zeros(len(queries), np.bool_)
    hashed = _Cells(targets.centres, within_m + queries.radii.max() + targets.radii.max())
    for rows, others in hashed.pairs(queries.centres):
        apart = arc_m(queries.centres[rows], targets.centres[others])
        unsure = ~found[rows] & (apart <= within_m + queries.radii[rows] + targets.radii[others])
        rows, others = rows[unsure], others[unsure]
        gaps = gap_m(queries.vertices[rows], targets.vertices[others])
        found[rows[(gaps < within_m) & ((gaps > 0) | (within_m > 0)) | (gaps < -TOUCH_M)]] = True
    return found


def covering(footprints: Footprints) -> NDArray[np.int64]:
    """(n,) how many of the footprints, itself among them, hold the centre of each."""
    counts = np.zeros(len(footprints), np.int64)
    if not len(footprints):
        return counts
    hashed = _Cells(footprints.centres, float(footprints.radii.max()) + TOUCH_M)
    for rows, others in hashed.pairs(footprints.centres):
        apart = arc_m(footprints.centres[rows], footprints.centres[others])
        close = apart <= footprints.radii[others] + TOUCH_M
        rows, others = rows[close], others[close]
        points = np.repeat(footprints.centres[rows][:, None], 4, axis=1)
        inside = gap_m(points, footprints.vertices[others]) <= 0
        np.add.at(counts, rows[inside | (rows == others)], 1)
    return counts


class _Cells:
    """Points of the sphere, found again by the cubic cells of space that they lie in."""

    def __init__(self, points: NDArray[np.float64], reach_m: float) -> None:
        """Every two points within `reach_m` of each other lie in the same cell or in neighbours."""
        self._side = max(reach_m / RADIUS_M, 1e-6)
        self._count = int(2 / self._side) + 3
        codes = self._codes(self._cells(points))
        self._order = np.argsort(codes, kind="stable")
        self._sorted = codes[self._order]

    def pairs(
        self, points: NDArray[np.float64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Row numbers of the given points, with those of the hashed ones that may be near."""
        cells = self._cells(points)
        for step in product((-1, 0, 1), repeat=3):
            codes = self._codes(cells + np.array(step))
            first = np.searchsorted(self._sorted, codes, "left")
            counts = np.searchsorted(self._sorted, codes, "right") - first
            rows = np.flatnonzero(counts)
            ends = np.cumsum(counts[rows])
            for part in np.split(rows, np.searchsorted(ends, np.arange(PAIRS, _last(ends), PAIRS))):
                repeated = np.repeat(part, counts[part])
                starts = np.cumsum(counts[part]) - counts[part]
                within = np.arange(len(repeated)) - np.repeat(starts, counts[part])
                yield repeated, self._order[first[repeated] + within]

    def _cells(self, points: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.floor((points + 1) / self._side).astype(np.int64) + 1

    def _codes(self, cells: NDArray[np.int64]) -> NDArray[np.int64]:
        codes: NDArray[np.int64] = (cells[:, 0] * self._count + cells[:, 1]) * self._count
        return codes + cells[:, 2]


def _last(ends: NDArray[np.int64]) -> int:
    return int(ends[-1]) if len(ends) else 0
