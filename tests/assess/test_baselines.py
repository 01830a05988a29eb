"""Scores and baselines of change detection."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import f1_score, jaccard_score

from earthloom.assess.change_vectors import change_by_vectors, otsu_threshold
from earthloom.errors import ContractError
from earthloom.sample import Layer, LayerSpec
from earthloom.tasks.class_scores import Confusion, confusion_of

PIXELS = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=1, max_size=60)


@given(PIXELS)
def test_scores_are_those_of_scikit_learn(pairs):
    predicted, true = (np.array(each, np.uint8) for each in zip(*pairs, strict=True))
    scores = Confusion(confusion_of(predicted, true, (1, 2, 3)))
    occurs = np.union1d(predicted, true)
    f1 = f1_score(true, predicted, labels=occurs, average=None, zero_division=0)
    iou = jaccard_score(true, predicted, labels=occurs, average=None, zero_division=0)
    np.testing.assert_allclose(scores.f1[occurs - 1], f1)
    np.testing.assert_allclose(scores.iou[occurs - 1], iou)
    assert scores.accuracy == pytest.approx((predicted == true).mean())
    assert scores.macro_f1 == pytest.approx(f1.mean())


def test_unlabelled_pixels_do_not_count():
    counts = confusion_of(np.array([1, 2, 0], np.uint8), np.array([1, 0, 2], np.uint8), (1, 2))
    assert counts.tolist() == [[1, 0], [0, 0]]


def test_otsu_cuts_between_two_groups():
    random = np.random.default_rng(0)
    values = np.concatenate([random.normal(1, 0.2, 5000), random.normal(4, 0.3, 500)])
    # Any cut in the empty gap between the groups is as good as another.
    assert np.quantile(values[:5000], 0.99) < otsu_threshold(values) < values[5000:].min()


def _layer(pixels, dates=("1", "2")):
    spec = LayerSpec("s", 10, ("a", "b"), "1", dates, (500.0, 600.0))
    valid = ~np.isnan(pixels[:, 0])
    return Layer(spec, pixels.astype(np.float32), valid, np.zeros(len(dates), np.int32))


def test_change_vectors_find_a_square():
    random = np.random.default_rng(1)
    scene = random.normal(0.2, 0.05, (2, 40, 40))
    pixels = np.stack([scene, scene * 1.3]) + random.normal(0, 0.003, (2, 2, 40, 40))
    pixels[1, :, 10:20, 10:20] += 0.5
    found = change_by_vectors([_layer(pixels)])
    assert found[10:20, 10:20].mean() > 0.95
    assert found.sum() - found[10:20, 10:20].sum() < 0.05 * 1600


def test_change_vectors_need_two_dates():
    with pytest.raises(ContractError, match="needs two dates"):
        change_by_vectors([_layer(np.zeros((1, 2, 4, 4)), ("1",))])
