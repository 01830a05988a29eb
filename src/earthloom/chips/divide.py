"""A project's division of its chips: rules from settings, buffers about folds, and their leaks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date

import numpy as np

from earthloom.chips.folds import Fold
from earthloom.chips.footprints import Footprints, near
from earthloom.chips.index import ChipIndex
from earthloom.chips.leaks import leak_report, words
from earthloom.chips.series import SeriesSamples
from earthloom.chips.splits import (
    NONE,
    TEST,
    TRAIN,
    BlockSplit,
    CellSplit,
    ChipTable,
    GroupSplit,
    RandomSplit,
    RegionSplit,
    Rule,
    Shares,
    StratifiedSplit,
    TimeSplit,
)
from earthloom.errors import LabelError
from earthloom.project.splits import (
    AreasSplitChoice,
    BlocksSplitChoice,
    CellsSplitChoice,
    ClassesSplitChoice,
    GroupsSplitChoice,
    RandomSplitChoice,
    SplitChoice,
    TimeSplitChoice,
)

_EPOCH = date(1970, 1, 1)


def rule_of(choice: SplitChoice) -> Rule:
    """The rule that a project file asks for."""
    match choice:
        case RandomSplitChoice():
            return RandomSplit(Shares(choice.val, choice.test))
        case GroupsSplitChoice():
            return GroupSplit(Shares(choice.val, choice.test))
        case BlocksSplitChoice():
            return BlockSplit(choice.block_m, choice.buffer_m, Shares(choice.val, choice.test))
        case CellsSplitChoice():
            return CellSplit(choice.distance_km, choice.buffer_m, Shares(choice.val, choice.test))
        case AreasSplitChoice():
            return RegionSplit(choice.val, choice.test, choice.buffer_m)
        case TimeSplitChoice():
            val = None if choice.val_from is None else (choice.val_from - _EPOCH).days
            return TimeSplit((choice.test_from - _EPOCH).days, val, choice.gap_days)
        case ClassesSplitChoice():
            return StratifiedSplit(Shares(choice.val, choice.test), choice.buffer_m)


def table_of_index(index: ChipIndex) -> tuple[ChipTable, tuple[int, ...]]:
    """The chips of an index in the order of their store, and the classes of their histograms."""
    table, order = index.chips(), np.argsort(index.column("number"))
    return table.take(order), index.classes


def table_of_series(series: SeriesSamples) -> tuple[ChipTable, tuple[int, ...]]:
    """Pixel series as chips without width, and the classes of their histograms."""
    corner = np.stack([series.lon, series.lat], axis=-1)
    codes = np.unique(series.codes)
    table = ChipTable(
        ids=np.array([f"{number:06d}" for number in range(len(series))]),
        corners=np.repeat(corner[:, None], 4, axis=1),
        days=np.stack([series.days.min(axis=1), series.days.max(axis=1)], axis=1),
        groups=np.array(series.groups),
        histograms=(series.codes[:, None] == codes).astype(np.int64),
    )
    return table, tuple(codes.tolist())


def fold_of_split(index: ChipIndex) -> Fold:
    """What is `test` against what is `train`, by numbers in the store.

    LabelError where one of both is empty.
    """
    splits = index.column("split")[np.argsort(index.column("number"))]
    fold = Fold(TEST, np.flatnonzero(splits == TRAIN), np.flatnonzero(splits == TEST))
    for name, rows in ((TRAIN, fold.train), (TEST, fold.test)):
        if not len(rows):
            raise LabelError(
                f"no chip is in the split '{name}' of {len(splits)}; choose other shares, smaller "
                "blocks or a narrower buffer in chips.split"
            )
    return fold


def with_buffer(fold: Fold, chips: ChipTable, buffer_m: float) -> Fold:
    """A fold that trains on nothing nearer than `buffer_m` metres to what it tests on."""
    if chips.corners is None:
        raise LabelError("assess.buffer_m needs chips with places on the Earth; these have none")
    places = Footprints(chips.corners)
    lost = near(places.of(fold.train), places.of(fold.test), buffer_m)
    if lost.all():
        raise LabelError(
            f"a buffer of {buffer_m:g} m leaves nothing to train on in fold {fold.name}; take a "
            "narrower one in assess.buffer_m, or more places"
        )
    return replace(fold, train=fold.train[~lost])


def leaks_of(
    chips: ChipTable,
    folds: Mapping[str, Fold],
    classes: Sequence[str],
    tick: Callable[[int, int, str], None],
) -> dict[str, list[str]]:
    """What is not honest about each fold, in sentences; empty where nothing is known to be."""
    found = {}
    for number, (name, fold) in enumerate(folds.items(), start=1):
        splits = np.full(len(chips), NONE, dtype="U5")
        splits[fold.train], splits[fold.test] = TRAIN, TEST
        found[name] = words(leak_report(chips, splits, classes))
        tick(number, len(folds), name)
    return found
