"""Answers of chips."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earthloom.errors import ContractError
from earthloom.sample.target import (
    Boxes,
    Counts,
    Instances,
    PixelValues,
    SceneClasses,
    counts_of,
)

CODES = np.array([2, 1, 2], np.uint8)


@given(st.lists(st.tuples(*[st.floats(0, 100, width=32)] * 4), max_size=8))
def test_upright_boxes_keep_their_bounds(rows):
    bounds = np.array([(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in rows])
    bounds = bounds.reshape(-1, 4).astype(np.float32)
    boxes = Boxes.upright(bounds, np.ones(len(bounds), np.uint8))
    np.testing.assert_array_equal(boxes.bounds, bounds)


def test_things_are_counted_by_class():
    counts = counts_of(Boxes(np.zeros((3, 4, 2), np.float32), CODES))
    assert counts.codes.tolist() == [1, 2]
    assert counts.numbers.tolist() == [1, 2]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SceneClasses((0,)), "must rise from 1 on, but are"),
        (lambda: SceneClasses((2, 1)), "must rise"),
        (lambda: SceneClasses((1, 1)), "must rise"),
        (lambda: PixelValues(np.zeros(3, np.float32), "m"), r"must be \(H, W\)"),
        (lambda: Boxes(np.zeros((3, 4), np.float32), CODES), r"must be \(N, 4, 2\)"),
        (lambda: Boxes(np.zeros((2, 4, 2), np.float32), CODES), r"must be \(N, 4, 2\)"),
        (lambda: Instances(CODES), "need polygons, or an image"),
        (lambda: Instances(CODES, polygons=()), "0 polygons do not fit 3 class codes"),
        (lambda: Instances(CODES, ids=np.full((2, 2), 4, np.int32)), "thing number 4 has no class"),
        (lambda: Instances(CODES, ids=np.zeros(4, np.int32)), r"must be \(H, W\)"),
        (lambda: Counts(CODES, np.zeros(2, np.float32)), r"must be \(K,\)"),
    ],
)
def test_answers_that_do_not_fit(make, words):
    with pytest.raises(ContractError, match=words):
        make()


def test_no_class_is_an_answer():
    assert SceneClasses(()).codes == ()
