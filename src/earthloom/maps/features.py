"""The patches of a map as features, strip by strip, joined where strips were cut."""

from dataclasses import dataclass, field

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from earthloom.maps import PROBABILITY_NODATA, PROBABILITY_SCALE
from earthloom.maps.outline import outline_patches, seam_vertices
from earthloom.maps.patches import Patches, Strip, label_patches, seam_of
from earthloom.maps.settle import together

Geometries = NDArray[np.object_]


@dataclass(frozen=True)
class Features:
    """Patches that are whole, in the order of their first pixels."""

    geometry: Geometries
    """(N,): x counts columns, y rows of the map."""
    first: NDArray[np.int64]
    """(N,): where each first pixel is, counted through the map row by row."""
    codes: NDArray[np.uint8]
    """(N,)."""
    probability: NDArray[np.float64]
    """(N,): mean probability of the patch's class; NaN where there is none."""


@dataclass
class _Open:
    """A patch that goes on in the next strip."""

    first: int
    code: int
    parts: list[BaseGeometry] = field(default_factory=list)
    total: float = 0.0
    """Sum of stored probabilities."""
    counted: int = 0
    """Pixels with a probability."""

    def add(self, other: "_Open") -> None:
        self.first = min(self.first, other.first)
        self.parts += other.parts
        self.total += other.total
        self.counted += other.counted


@dataclass(frozen=True)
class _Local:
    """The patches of one strip."""

    groups: Patches
    """What is one feature."""
    polygons: Geometries
    """(P,): pieces connected by pixel sides, in the order of the features they belong to."""
    ends: NDArray[np.int64]
    """(N,): where each feature's pieces end in `polygons`."""
    codes: NDArray[np.uint8]
    total: NDArray[np.float64]
    counted: NDArray[np.int64]

    def one(self, number: int, before: int) -> _Open:
        """A feature that is not whole; `before` pixels lie above the strip."""
        begin = int(self.ends[number - 1]) if number else 0
        return _Open(
            int(self.groups.first[number]) + before,
            int(self.codes[number]),
            list(self.polygons[begin : self.ends[number]]),
            float(self.total[number]),
            int(self.counted[number]),
        )


@dataclass
class FeatureStream:
    """Takes strips from top to bottom, and gives features when they are whole.

    With `diagonal`, pixels that touch with a corner are of one feature, which then may have several
    polygons. `tolerance` is in pixels: borders are simplified as a coverage (Visvalingam and
    Whyatt 1993), each once for both its sides; vertices where strips were cut stay.
    """

    diagonal: bool = False
    tolerance: float = 0.0
    _open: list[_Open] = field(default_factory=list)
    _front: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    _front_codes: NDArray[np.int16] = field(default_factory=lambda: np.empty(0, np.int16))
    _seams: dict[int, NDArray[np.bool_]] = field(default_factory=dict)

    def push(self, strip: Strip, shares: NDArray[np.uint8] | None) -> Features:
        """The features that end in a strip.

        `shares` (H, W) is the stored probability of each pixel's class, where there is one.
        """
        local = self._local(strip, shares)
        if not strip.last:
            self._seams[strip.row + len(strip.codes)] = seam_vertices(strip)
        whole, joined = self._joined(strip, local)
        return _sorted(self._whole(strip, local, whole), self._merged(joined))

    def _local(self, strip: Strip, shares: NDArray[np.uint8] | None) -> _Local:
        pieces = label_patches(strip.codes, diagonal=False)
        polygons = outline_patches(strip, pieces.labels)
        if self.tolerance > 0:
            polygons = shapely.coverage_simplify(polygons, self.tolerance, simplify_boundary=False)
        groups = label_patches(strip.codes, diagonal=True) if self.diagonal else pieces
        owner = groups.labels.ravel()[pieces.first]
        order = np.argsort(owner, kind="stable")
        ends = np.cumsum(np.bincount(owner, minlength=groups.count))
        total, counted = _sums(groups, shares)
        codes = strip.codes.ravel()[groups.first]
        return _Local(groups, polygons[order], ends, codes, total, counted)

    def _joined(self, strip: Strip, local: _Local) -> tuple[NDArray[np.bool_], list[_Open]]:
        """Which of a strip's features lie in it alone, and what of the others is whole; keeps the
        rest for the next strip."""
        cols = strip.codes.shape[1]
        top, bottom = (local.groups.labels[row].astype(np.int64) for row in (0, -1))
        carried = len(self._open)
        pairs = np.empty((0, 2), np.int64)
        if strip.row > 0:
            codes = strip.codes[0].astype(np.int16)
            pairs = seam_of(
                self._front, self._front_codes, top + carried, codes, self.diagonal
            ).same
        places = together(carried + local.groups.count, pairs)
        alone = local.codes > 0
        alone[pairs[:, 1] - carried] = False
        if not strip.last:
            alone[bottom] = False
        unions: dict[int, _Open] = {}
        for place, old in zip(places[:carried].tolist(), self._open):
            _unite(unions, place, old)
        for number in np.flatnonzero(~alone & (local.codes > 0)).tolist():
            _unite(unions, int(places[carried + number]), local.one(number, strip.row * cols))
        goes_on = set() if strip.last else set(places[carried + bottom].tolist())
        going = {place: one for place, one in unions.items() if place in goes_on}
        self._keep(going, places[carried + bottom], strip.codes[-1])
        return alone, [one for place, one in unions.items() if place not in going]

    def _keep(
        self, going: dict[int, _Open], bottom: NDArray[np.int64], codes: NDArray[np.uint8]
    ) -> None:
        self._open = list(going.values())
        number = np.full(int(bottom.max()) + 1, -1, np.int64)
        number[list(going)] = np.arange(len(going))
        self._front, self._front_codes = number[bottom], codes.astype(np.int16)

    def _whole(self, strip: Strip, local: _Local, alone: NDArray[np.bool_]) -> Features:
        """The features that lie in one strip."""
        pieces = np.diff(local.ends, prepend=0)
        polygons = local.polygons[np.repeat(alone, pieces)]
        if self.diagonal:
            owner = np.repeat(np.arange(int(alone.sum())), pieces[alone])
            polygons = np.asarray(shapely.multipolygons(polygons, indices=owner))
        first = local.groups.first[alone] + strip.row * strip.codes.shape[1]
        mean = _mean(local.total[alone], local.counted[alone])
        return Features(polygons, first, local.codes[alone], mean)

    def _merged(self, joined: list[_Open]) -> Features:
        """The features that lay in several strips."""
        geometry = np.empty(len(joined), object)
        for at, one in enumerate(joined):
            geometry[at] = shapely.coverage_union_all(one.parts)
        if self.tolerance == 0 and len(joined):
            geometry = _without_seams(geometry, self._seams)
        if self.diagonal and len(joined):
            parts, owner = shapely.get_parts(geometry, return_index=True)
            geometry = np.asarray(shapely.multipolygons(parts, indices=owner))
        total = np.array([one.total for one in joined], np.float64)
        counted = np.array([one.counted for one in joined], np.int64)
        return Features(
            geometry,
            np.array([one.first for one in joined], np.int64),
            np.array([one.code for one in joined], np.uint8),
            _mean(total, counted),
        )


def _unite(unions: dict[int, _Open], place: int, one: _Open) -> None:
    if place in unions:
        unions[place].add(one)
    else:
        unions[place] = one


def _sums(
    groups: Patches, shares: NDArray[np.uint8] | None
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(N,) each: the sum of stored probabilities of each feature, and how many there are."""
    if shares is None:
        return np.zeros(groups.count), np.zeros(groups.count, np.int64)
    said = shares != PROBABILITY_NODATA
    labels, values = groups.labels[said], shares[said]
    total = np.bincount(labels, weights=values, minlength=groups.count).astype(np.float64)
    return total, np.bincount(labels, minlength=groups.count).astype(np.int64)


def _mean(total: NDArray[np.float64], counted: NDArray[np.int64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore"):
        return total * PROBABILITY_SCALE / counted


def _sorted(one: Features, other: Features) -> Features:
    first = np.concatenate([one.first, other.first])
    order = np.argsort(first)
    return Features(
        np.concatenate([one.geometry, other.geometry])[order],
        first[order],
        np.concatenate([one.codes, other.codes])[order],
        np.concatenate([one.probability, other.probability])[order],
    )


def _without_seams(geometry: Geometries, seams: dict[int, NDArray[np.bool_]]) -> Geometries:
    """Outlines without the vertices that are there for a cut alone; as polygons, or, where one has
    several parts, as multipolygons."""
    parts, owner = shapely.get_parts(geometry, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    closing = np.append(ring[1:] != ring[:-1], True)
    rows = points[:, 1].astype(np.int64)
    cut = np.zeros(len(points), np.bool_)
    for row in np.intersect1d(rows, list(seams)).tolist():
        on = rows == row
        cut[on] = seams[row][points[on, 0].astype(np.int64)]
    kept = ~(closing | cut)
    lines = np.asarray(shapely.linearrings(points[kept], indices=ring[kept]))
    polygons = np.asarray(shapely.polygons(lines, indices=part))
    if len(parts) == len(geometry):
        return polygons
    return np.asarray(shapely.multipolygons(polygons, indices=owner))
