"""Point files of any size become labels of one area, in memory that its pixels bound."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import CRS
from pyproj.exceptions import CRSError

from earthloom.chips.label_attributes import Attributes, Judge, Meaning, read_attributes
from earthloom.chips.label_batches import Batch
from earthloom.chips.label_points import PointLabels, pixels_of, thinned, transform
from earthloom.chips.label_report import LabelReport
from earthloom.errors import LabelError
from earthloom.grid import crs_wkt
from earthloom.project import Labels as LabelSettings

ALL = 100_000
"""Points up to which every one is kept, as a message may have to tell where they lie."""

_WHEN = 1 << 20
"""Points after which those of one pixel, class and time become one."""


def collect_points(
    batches: Iterable[Batch],
    crs: CRS,
    path: Path,
    settings: LabelSettings,
    meaning: Meaning,
    base: GeoBox,
) -> tuple[PointLabels, LabelReport]:
    """All batches as labels of the grid `base`.

    Beyond `ALL` points only those in the grid, or within the buffer of it, are kept, and of those
    of one pixel, class and time one. LabelError says what is wrong with a row, see `Judge`.
    """
    pile = _Pile(base, crs, settings.buffer_m)
    report = LabelReport()
    for batch in batches:
        judge = Judge(len(batch.x), path, settings, report.read)
        attributes = read_attributes(batch.columns, path, settings, meaning, judge, report.read)
        nowhere = ~(np.isfinite(batch.x) & np.isfinite(batch.y))
        judge.broken(nowhere, "geometry", "has no geometry, or NaN in it")
        _check_degrees(batch, crs, judge)
        kept = np.flatnonzero(judge.kept)
        inside = pile.add(batch.x[kept], batch.y[kept], attributes.take(kept))
        outside = np.zeros(len(batch.x), np.bool_)
        outside[kept[~inside]] = True
        judge.skip(outside, "outside")
        report = report + judge.report()
    return pile.points(), report


def _check_degrees(batch: Batch, crs: CRS, judge: Judge) -> None:
    if crs.is_geographic:
        wrong = (np.abs(batch.y) > 90) | (np.abs(batch.x) > 360)
        at = int(np.argmax(wrong)) if len(wrong) else 0
        where = f"{batch.x[at]:g}, {batch.y[at]:g}" if len(wrong) else ""
        judge.broken(
            wrong,
            "geometry",
            f"lies at {where}, which are no degrees; are the coordinates of another CRS?",
        )


class _Pile:
    """Points that are kept so far."""

    def __init__(self, base: GeoBox, crs: CRS, buffer_m: float) -> None:
        reach = int(np.ceil(buffer_m / min(map(abs, base.resolution.xy)))) if buffer_m else 0
        self._grid = base.pad(reach) if reach else base
        self._crs, self._base_crs = crs, CRS(crs_wkt(base))
        self._parts: list[tuple[NDArray[np.float64], NDArray[np.float64], Attributes]] = []
        self._pixels: list[NDArray[np.int64]] = []
        self._inside: list[NDArray[np.bool_]] = []
        self._seen = self._held = 0
        self._limit = _WHEN

    def add(
        self, x: NDArray[np.float64], y: NDArray[np.float64], attributes: Attributes
    ) -> NDArray[np.bool_]:
        """Takes points (N,); returns which of them lie in the grid."""
        pixel, inside = pixels_of(*transform(x, y, self._crs, self._base_crs), self._grid)
        self._parts.append((x, y, attributes))
        self._pixels.append(pixel)
        self._inside.append(inside)
        self._seen += len(x)
        self._held += len(x)
        if self._held > self._limit:
            self._thin()
            # Not again before as many more came: so every point is sorted a few times only.
            self._limit = 2 * self._held + _WHEN
        return inside

    def points(self) -> PointLabels:
        """All that was kept."""
        if self._seen > ALL:
            self._thin()
        x, y, attributes = self._joined()
        return PointLabels.sorted(x, y, self._crs, attributes)

    def _joined(self) -> tuple[NDArray[np.float64], NDArray[np.float64], Attributes]:
        if not self._parts:
            return np.zeros(0), np.zeros(0), Attributes.join([])
        xs, ys, attributes = zip(*self._parts, strict=True)
        return np.concatenate(xs), np.concatenate(ys), Attributes.join(list(attributes))

    def _thin(self) -> None:
        x, y, attributes = self._joined()
        pixel, inside = np.concatenate(self._pixels), np.concatenate(self._inside)
        there = np.flatnonzero(inside)
        some = there[thinned(pixel[there], attributes.take(there))]
        if not len(some) and len(x):
            # A message has to tell where they all lie.
            some = np.unique([x.argmin(), x.argmax(), y.argmin(), y.argmax()])
        self._parts = [(x[some], y[some], attributes.take(some))]
        self._pixels, self._inside = [pixel[some]], [inside[some]]
        self._held = len(some)


def parse_crs_of(text: str, path: Path) -> CRS:
    """A CRS from the settings; LabelError names what is none."""
    try:
        return CRS.from_user_input(text)
    except CRSError as error:
        raise LabelError(
            f"the CRS '{text}' of the labels {path} is not known; give a code such as EPSG:4326"
        ) from error
