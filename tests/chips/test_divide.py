"""A project's division of its chips, by settings and for folds."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from earthloom.chips.divide import fold_of_split, leaks_of, rule_of, table_of_series, with_buffer
from earthloom.chips.folds import Fold, deal_folds
from earthloom.chips.footprints import RADIUS_M
from earthloom.chips.index import open_index
from earthloom.chips.index_schema import ChipRow
from earthloom.chips.index_write import IndexWriter, replace_column
from earthloom.chips.series import SeriesSamples
from earthloom.chips.splits import (
    BlockSplit,
    CellSplit,
    GroupSplit,
    RandomSplit,
    RegionSplit,
    Shares,
    StratifiedSplit,
    TimeSplit,
)
from earthloom.errors import LabelError
from earthloom.project.splits import SplitChoice
from earthloom.sample import LayerSpec

CHOICE = TypeAdapter(SplitChoice)
HALF = {"val": 0.0, "test": 0.5}


def _series(lon, lat, codes):
    count = len(lon)
    spec = LayerSpec("optical", 10.0, ("red",), "1", ("1", "2"), (660.0,))
    return SeriesSamples(
        spec=spec,
        pixels=np.zeros((count, 2, 1), np.float32),
        valid=np.ones((count, 2), np.bool_),
        days=np.tile(np.array([10, 20], np.int32), (count, 1)),
        codes=np.asarray(codes, np.uint8),
        lon=np.asarray(lon, np.float64),
        lat=np.asarray(lat, np.float64),
        groups=tuple(f"{x:.0f}" for x in lon),
    )


def _metres(lon, lat, first, second):
    """Great-circle distances between two lists of points, as the oracle (haversine)."""
    x, y = np.radians(lon), np.radians(lat)
    dx, dy = x[first][:, None] - x[second], y[first][:, None] - y[second]
    part = np.sin(dy / 2) ** 2 + np.cos(y[first])[:, None] * np.cos(y[second]) * np.sin(dx / 2) ** 2
    return 2 * RADIUS_M * np.arcsin(np.sqrt(part))


@pytest.mark.parametrize(
    ("settings", "rule"),
    [
        ({"by": "random"} | HALF, RandomSplit(Shares(0.0, 0.5))),
        ({"by": "groups"} | HALF, GroupSplit(Shares(0.0, 0.5))),
        (
            {"by": "blocks", "block_m": 5000, "buffer_m": 20} | HALF,
            BlockSplit(5000, 20, Shares(0.0, 0.5)),
        ),
        ({"by": "cells"} | HALF, CellSplit(10.0, 0.0, Shares(0.0, 0.5))),
        ({"by": "areas", "test": ["a"]}, RegionSplit((), ("a",), None)),
        (
            {"by": "time", "test_from": "1970-01-11", "val_from": "1970-01-06", "gap_days": 2},
            TimeSplit(10, 5, 2),
        ),
        ({"by": "classes", "buffer_m": 3} | HALF, StratifiedSplit(Shares(0.0, 0.5), 3)),
    ],
)
def test_settings_become_rules(settings, rule):
    assert rule_of(CHOICE.validate_python(settings)) == rule


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"by": "random", "val": 0.5, "test": 0.5}, "leave nothing to train on"),
        ({"by": "blocks"}, "block_m"),
        ({"by": "areas"}, "test"),
        ({"by": "time", "test_from": "2020-01-01", "val_from": "2020-01-01"}, "is not before"),
        ({"by": "luck"}, "random"),
    ],
)
def test_settings_that_cannot_be(settings, words):
    with pytest.raises(ValidationError, match=words):
        CHOICE.validate_python(settings)


def test_days_of_a_project_file_are_days(tmp_path):
    choice = CHOICE.validate_python({"by": "time", "test_from": date(2020, 1, 1)})
    assert rule_of(choice).test_from == (date(2020, 1, 1) - date(1970, 1, 1)).days


def test_a_split_becomes_a_fold_by_numbers_in_the_store(tmp_path):
    """Rows of the index lie along a curve; numbers are those of the store."""
    rows = [
        ChipRow(
            id=f"c{k}", area="a", layers=("x",), row=0, col=k, size=1, valid_fraction=1.0,
            corners=((k, 0), (k + 1, 0), (k + 1, 1), (k, 1)),
        )
        for k in (70, -30, 10, -80)
    ]  # fmt: skip
    with IndexWriter(tmp_path / "index.parquet") as writer:
        writer.add(rows)
    index = open_index(tmp_path / "index.parquet")
    wanted = {"c70": "test", "c-30": "train", "c10": "none", "c-80": "train"}
    assert list(index.column("number")) != [0, 1, 2, 3]
    replace_column(index.file, "split", np.array([wanted[name] for name in index.column("id")]))
    fold = fold_of_split(open_index(index.file))
    assert (fold.train.tolist(), fold.test.tolist()) == ([1, 3], [0])
    replace_column(index.file, "split", np.full(4, "train"))
    with pytest.raises(LabelError, match="no chip is in the split 'test' of 4"):
        fold_of_split(open_index(index.file))


@given(st.integers(0, 2**32 - 1), st.floats(10, 300_000))
def test_no_training_chip_lies_within_the_buffer(seed, buffer_m):
    random = np.random.default_rng(seed)
    lon, lat = random.uniform(-4, 4, 60), random.uniform(40, 48, 60)
    table, _ = table_of_series(_series(lon, lat, np.ones(60)))
    for fold in deal_folds(table.groups.tolist(), 3, seed):
        apart = _metres(lon, lat, fold.train, fold.test).min(axis=1)
        try:
            kept = with_buffer(fold, table, buffer_m).train
        except LabelError:
            assert (apart < buffer_m * 1.0001).all()
            continue
        assert set(fold.train[apart > buffer_m * 1.0001]) <= set(kept)
        assert (_metres(lon, lat, kept, fold.test).min(axis=1) >= buffer_m * 0.9999).all()


def test_leaks_are_told_for_each_fold():
    """Squares of half a degree, of one class each: neighbours lie on both sides of one fold."""
    random = np.random.default_rng(0)
    lon, lat = random.uniform(0, 4, 2000), random.uniform(44, 48, 2000)
    codes = np.where((np.floor(lon * 2) + np.floor(lat * 2)) % 2, 4, 1)
    table, classes = table_of_series(_series(lon, lat, codes))
    assert classes == (1, 4)
    mixed = Fold("mixed", np.arange(0, 2000, 2), np.arange(1, 2000, 2))
    parted = Fold("parted", np.flatnonzero(codes == 1), np.flatnonzero(codes == 4))
    found = leaks_of(table, {"mixed": mixed, "parted": parted}, ("wheat", "rice"), _silent)
    assert any("the label is alike" in words for words in found["mixed"])
    assert not any("class" in words for words in found["mixed"])
    assert any("the class rice is tested, but not trained on" in w for w in found["parted"])


def _silent(done, total, detail):
    assert done <= total
