"""Whether a split is honest: what of the test a model may have seen while it was trained."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from earthloom.chips.footprints import RADIUS_M, TOUCH_M, Footprints, gap_m
from earthloom.chips.splits import NONE, SPLITS, TEST, TRAIN, VAL, ChipTable
from earthloom.chips.variogram import Variogram, label_variogram
from earthloom.errors import ContractError

_CHUNK = 2048
_UNLIKE = 0.25
_MUCH = 0.3


@dataclass(frozen=True)
class LeakReport:
    """What test and training chips have in common."""

    counts: Mapping[str, int]
    """Chips of each split."""
    nearest_m: NDArray[np.float64] | None
    """(test chips,) metres to the nearest training chip, 0 where they touch or overlap; None where
    not all chips have a place, or one of both is empty."""
    shared_ground: int
    """Test chips that overlap a training chip of the same days, or of days unknown."""
    shared_place: int
    """Test chips that overlap training chips, all of other days."""
    parted_groups: int
    """Groups with chips in both training and test."""
    classes: tuple[str, ...]
    balance: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)
    """(K,) of each split that has labels: shares of its labelled pixels, which add up to 1."""
    variogram: Variogram | None = None
    """Of the labels of all chips; None without labels or places."""

    @property
    def nearer_than_range(self) -> float | None:
        """Part of the test chips that lie within the label's range of a training chip."""
        if self.nearest_m is None or self.variogram is None or self.variogram.range_m is None:
            return None
        return float((self.nearest_m < self.variogram.range_m).mean())


def leak_report(
    chips: ChipTable, splits: NDArray[np.str_], classes: Sequence[str] | None = None, seed: int = 0
) -> LeakReport:
    """Compares the chips that are `train` with those that are `test`.

    `classes` name the columns of the histograms. The seed draws the chips of the variogram.
    ContractError for a split that is none.
    """
    unknown = sorted(set(splits.tolist()) - set(SPLITS))
    if unknown or len(splits) != len(chips):
        raise ContractError(
            f"{len(splits)} splits for {len(chips)} chips"
            + (f", one of them '{unknown[0]}'; valid: {', '.join(SPLITS)}" if unknown else "")
        )
    placed = chips.corners is not None and bool(np.isfinite(chips.corners).all())
    places = Footprints(chips.corners) if placed and chips.corners is not None else None
    train, test = np.flatnonzero(splits == TRAIN), np.flatnonzero(splits == TEST)
    nearest, ground, place = None, 0, 0
    if places is not None and len(train) and len(test):
        nearest, ground, place = _compared(places, chips.days, train, test)
    histograms = chips.histograms
    variogram = None
    if places is not None and histograms is not None:
        random = np.random.Generator(np.random.PCG64(seed))
        variogram = label_variogram(places, histograms, random)
    width = 0 if histograms is None else histograms.shape[1]
    return LeakReport(
        counts={name: int((splits == name).sum()) for name in SPLITS},
        nearest_m=nearest,
        shared_ground=ground,
        shared_place=place,
        parted_groups=_parted(chips, train, test),
        classes=tuple(classes) if classes else tuple(str(number) for number in range(width)),
        balance={} if histograms is None else _balance(histograms, splits),
        variogram=variogram,
    )


def words(report: LeakReport) -> list[str]:
    """What is wrong with a split, a sentence each; empty where nothing is known to be."""
    return [*_of_counts(report), *_of_places(report), *_of_range(report), *_of_classes(report)]


def _of_counts(report: LeakReport) -> list[str]:
    said = [
        f"no chip is in the split '{name}'" for name in (TRAIN, TEST) if not report.counts[name]
    ]
    total = sum(report.counts.values())
    if report.counts[NONE] > _MUCH * total:
        said.append(
            f"{report.counts[NONE]} of {total} chips are in no split, as they lie in a buffer or a "
            "gap: larger blocks, or a narrower buffer, would leave more to train on"
        )
    if report.parted_groups:
        said.append(
            f"{report.parted_groups} groups have chips in both training and test: their chips "
            "belong together"
        )
    return said


def _of_places(report: LeakReport) -> list[str]:
    tested = report.counts[TEST]
    if report.nearest_m is None:
        if not tested or not report.counts[TRAIN]:
            return []
        return ["not all chips have a place, so how near test and training lie cannot be told"]
    said = []
    if report.shared_ground:
        said.append(
            f"{report.shared_ground} of {tested} test chips share ground with training chips of "
            "the same days: the model has seen their pixels, and the score will be too good"
        )
    if report.shared_place:
        said.append(
            f"{report.shared_place} of {tested} test chips show the same place as training chips, "
            "at another date: the model may know the place, and the score holds for places that "
            "were trained on"
        )
    return said


def _of_range(report: LeakReport) -> list[str]:
    nearer, variogram = report.nearer_than_range, report.variogram
    if not nearer or variogram is None or variogram.range_m is None or report.nearest_m is None:
        return []
    least, middle = report.nearest_m.min(), float(np.median(report.nearest_m))
    more = "" if variogram.reached else " and further"
    return [
        f"the label is alike up to {_metres(variogram.range_m)}{more}, but test chips lie "
        f"{_metres(float(least))} from training chips (half of them within {_metres(middle)}; "
        f"{nearer:.0%} nearer than the label is alike): the score will be too good; a buffer of "
        f"{_metres(variogram.range_m)} would be honest"
    ]


def _of_classes(report: LeakReport) -> list[str]:
    train, test = report.balance.get(TRAIN), report.balance.get(TEST)
    if train is None or test is None:
        return []
    said = [
        f"the class {name} is {there}, but not {absent}: {meaning}"
        for name, seen, held in zip(report.classes, train, test)
        for there, absent, meaning, missing in (
            ("tested", "trained on", "it cannot be found", held > 0 and seen == 0),
            ("trained on", "tested", "how well it is found stays unknown", seen > 0 and held == 0),
        )
        if missing
    ]
    unlike = float(np.abs(train - test).sum() / 2)
    if unlike > _UNLIKE:
        said.append(
            f"{unlike:.0%} of the test's labels would have to change class to be shared out as in "
            "training: the score is that of another mixture of classes"
        )
    return said


def _metres(metres: float) -> str:
    return (
        f"{metres / 1000:.2g} km"
        if 1000 <= metres < 10_000
        else (f"{metres:.0f} m" if metres < 1000 else f"{metres / 1000:.0f} km")
    )


def _compared(
    places: Footprints,
    days: NDArray[np.int32] | None,
    train: NDArray[np.int64],
    test: NDArray[np.int64],
) -> tuple[NDArray[np.float64], int, int]:
    """(test,) metres to training; test chips overlapping on the same days; on others alone."""
    tree = cKDTree(places.centres[train])
    widest = places.radii[train].max()
    nearest = np.empty(len(test))
    ground, place = np.zeros(len(test), np.bool_), np.zeros(len(test), np.bool_)
    for start in range(0, len(test), _CHUNK):
        rows = test[start : start + _CHUNK]
        _, first = tree.query(places.centres[rows])
        least = gap_m(places.vertices[rows], places.vertices[train[first]])
        # Whatever is nearer than the chip with the nearest centre has its centre within this.
        reach = np.maximum(least, 0) + places.radii[rows] + widest + TOUCH_M
        chord = 2 * np.sin(np.minimum(reach / RADIUS_M, np.pi) / 2)
        found = tree.query_ball_point(places.centres[rows], chord)
        owner = np.repeat(np.arange(len(rows)), [len(each) for each in found])
        other = train[np.concatenate([np.asarray(each, np.int64) for each in found])]
        gaps = gap_m(places.vertices[rows][owner], places.vertices[other])
        np.minimum.at(least, owner, gaps)
        nearest[start : start + _CHUNK] = np.maximum(least, 0)
        over = gaps < -TOUCH_M
        owner, other = owner[over], other[over]
        same = _same_days(days, rows[owner], other)
        ground[start + owner[same]] = True
        place[start + owner[~same]] = True
    return nearest, int(ground.sum()), int((place & ~ground).sum())


def _same_days(
    days: NDArray[np.int32] | None, a: NDArray[np.int64], b: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Whether the days of pairs of chips meet; where days are not known, they may."""
    if days is None:
        return np.ones(len(a), np.bool_)
    met: NDArray[np.bool_] = (days[a, 0] <= days[b, 1]) & (days[b, 0] <= days[a, 1])
    return met


def _parted(chips: ChipTable, train: NDArray[np.int64], test: NDArray[np.int64]) -> int:
    if chips.groups is None:
        return 0
    both = np.intersect1d(chips.groups[train], chips.groups[test])
    return int((both != "").sum())


def _balance(
    histograms: NDArray[np.integer], splits: NDArray[np.str_]
) -> dict[str, NDArray[np.float64]]:
    sums = {name: histograms[splits == name].sum(axis=0) for name in (TRAIN, VAL, TEST)}
    return {name: each / each.sum() for name, each in sums.items() if each.sum()}
