"""From predictions to the numbers in files."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.errors import ContractError
from earthloom.maps import PROBABILITY_NODATA, PROBABILITY_SCALE
from earthloom.maps.outputs import (
    FEATURE_NODATA,
    FEATURE_SCALE,
    Classes,
    UnitFeatures,
    Values,
    class_outputs,
    quantised,
)
from earthloom.tasks import PixelClasses, decide


def _task(classes):
    codes = tuple(range(1, 2 * classes, 2))
    names = tuple(f"class {code}" for code in codes)
    return PixelClasses(codes, names, ((1, 2, 3),) * classes)


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 6), st.integers(1, 80), st.integers(0, 999), st.none() | st.floats(0, 1))
def test_classes_are_decided_as_the_task_decides(classes, rows, seed, threshold):
    rng = np.random.default_rng(seed)
    # Few distinct values, so that some are equal.
    shares = (rng.integers(0, 4, (classes, rows, 7)) / 4).astype(np.float32)
    shares[:, rng.random((rows, 7)) < 0.2] = np.nan
    task = _task(classes)
    found = Classes(task, threshold).numbers(shares)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found[0], decide(shares, task.codes, threshold))


def test_decision_says_nothing_where_nothing_was_seen():
    shares = np.array([[0.2, np.nan], [0.5, np.nan], [0.3, np.nan]], np.float32)[:, None]
    np.testing.assert_array_equal(Classes(_task(3)).numbers(shares), [[[3, 0]]])


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 9), st.integers(0, 1000))
def test_quantised_probabilities_stay_close_and_sum_to_one(classes, seed):
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(classes), size=(3, 4)).transpose(2, 0, 1).astype(np.float32)
    shares[:, 0, 0] = np.nan
    stored = quantised(shares)
    assert stored.dtype == np.uint8
    assert (stored[:, 0, 0] == PROBABILITY_NODATA).all()
    said = ~np.isnan(shares)
    assert (stored[said] <= 250).all()
    assert np.abs(stored[said] * PROBABILITY_SCALE - shares[said]).max() <= 0.5001 / 250
    total = stored.astype(int).sum(axis=0).ravel()[1:]
    assert np.abs(total - 250).max() <= classes / 2


def test_feature_vectors_keep_their_directions():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(16, 40, 5)).astype(np.float32) * 30
    vectors[:, 0, 0], vectors[:, 39, 4] = np.nan, 0
    stored = UnitFeatures(tuple("abcdefghijklmnop")).numbers(vectors)
    assert stored.dtype == np.int8
    assert (stored[:, 0, 0] == FEATURE_NODATA).all()
    assert (stored[:, 39, 4] == 0).all()
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=0), 1e-12)
    said = np.ones((40, 5), np.bool_)
    said[0, 0] = said[39, 4] = False
    assert np.abs(stored * FEATURE_SCALE - unit)[:, said].max() <= 0.5001 * FEATURE_SCALE


def test_values_stay_as_they_are_and_need_a_plane_each():
    bounds = np.array([0.2, 0.1, np.nan], np.float32).reshape(3, 1, 1)
    np.testing.assert_array_equal(Values().numbers(bounds), bounds)
    with pytest.raises(ContractError, match=r"value, low, high.*predicts 2 planes"):
        Values().numbers(bounds[:2])


def test_every_output_says_what_its_file_is():
    for output in (*class_outputs(_task(3)), Values(), UnitFeatures(("a", "b"))):
        assert output.file.endswith(".tif")
        assert np.dtype(output.dtype).name == output.dtype
        assert np.array(output.nodata).astype(output.dtype) == output.nodata or np.isnan(
            output.nodata
        )
        assert output.scale > 0
