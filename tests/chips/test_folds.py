"""Folds hold groups together and miss no sample."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earthloom.chips.folds import deal_folds, deal_groups, leave_group_out
from earthloom.errors import LabelError
from earthloom.sample.place import block_of

GROUPS = st.lists(st.sampled_from("abcdefgh"), min_size=2, max_size=60).filter(
    lambda groups: len(set(groups)) > 1
)


@given(GROUPS, st.integers(2, 6), st.integers(0, 5))
def test_every_sample_is_tested_once_and_no_group_is_split(groups, count, seed):
    folds = deal_folds(groups, count, seed)
    assert len(folds) == min(count, len(set(groups)))
    tested = np.concatenate([fold.test for fold in folds])
    assert sorted(tested) == list(range(len(groups)))
    for fold in folds:
        assert not {groups[i] for i in fold.train} & {groups[i] for i in fold.test}
        assert len(fold.train) + len(fold.test) == len(groups)


@given(GROUPS, st.randoms())
def test_the_order_of_samples_does_not_change_a_groups_fold(groups, random):
    order = list(range(len(groups)))
    random.shuffle(order)
    turned = deal_groups([groups[i] for i in order], 3, seed=1)
    assert (turned == deal_groups(groups, 3, seed=1)[order]).all()


def test_the_seed_deals_anew_and_folds_are_balanced():
    groups = [f"block {number // 4}" for number in range(200)]
    first, second = (deal_groups(groups, 5, seed) for seed in (0, 1))
    assert (first != second).any()
    assert set(np.bincount(first)) == {40}


def test_leave_group_out_is_named_after_what_it_leaves_out():
    folds = leave_group_out(["rome", "paris", "rome"])
    assert [fold.name for fold in folds] == ["paris", "rome"]
    assert folds[1].test.tolist() == [0, 2]
    assert folds[1].train.tolist() == [1]


def test_one_group_cannot_be_held_out():
    for divide in (leave_group_out, lambda groups: deal_folds(groups, 5, 0)):
        with pytest.raises(LabelError, match="one group"):
            divide(["here", "here"])


@pytest.mark.parametrize(
    ("lon", "lat", "degrees", "name"),
    [
        (-55.2, -10.8, 1.0, "-56,-11"),
        (0.3, 0.35, 0.1, "0.3,0.3"),
        (-0.01, 89.9, 0.5, "-0.5,89.5"),
    ],
)
def test_blocks_are_named_by_their_corner(lon, lat, degrees, name):
    assert block_of(lon, lat, degrees) == name
