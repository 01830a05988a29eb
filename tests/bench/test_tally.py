"""Metrics of sums against scikit-learn, and sums against constant answers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from earthloom.bench.tally import ClassTally, LabelsTally, ValueTally, tally_of
from earthloom.errors import DataError

SEEDS = st.integers(0, 10_000)


def draw(seed, count=60, classes=4):
    random = np.random.default_rng(seed)
    shares = random.dirichlet(np.ones(classes), size=count)
    return shares, random.integers(classes, size=count)


@given(SEEDS)
def test_class_metrics_are_scikit_learns(seed):
    shares, true = draw(seed)
    tally = ClassTally(4)
    found = tally.metrics(tally.of(shares, true))
    chosen = shares.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(true, chosen))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(true, chosen, average="macro"))
    assert found["macro_iou"] == pytest.approx(metrics.jaccard_score(true, chosen, average="macro"))
    assert found["balanced_accuracy"] == pytest.approx(
        metrics.balanced_accuracy_score(true, chosen)
    )


@given(SEEDS)
def test_two_classes_have_the_second_ones_f1(seed):
    shares, true = draw(seed, classes=2)
    tally = ClassTally(2)
    found = tally.metrics(tally.of(shares, true))
    chosen = shares.argmax(axis=1)
    assert found["f1"] == pytest.approx(metrics.f1_score(true, chosen))
    assert found["iou"] == pytest.approx(metrics.jaccard_score(true, chosen))


@given(SEEDS)
def test_calibration_error_by_a_loop(seed):
    shares, true = draw(seed)
    tally = ClassTally(4)
    sure, right = shares.max(axis=1), shares.argmax(axis=1) == true
    error = 0.0
    for low in np.arange(10) / 10:
        inside = (sure >= low) & (sure < low + 0.1) | ((low == 0.9) & (sure == 1.0))
        if inside.any():
            error += inside.mean() * abs(sure[inside].mean() - right[inside].mean())
    assert tally.metrics(tally.of(shares, true))["ece"] == pytest.approx(error)


@given(SEEDS)
def test_sums_of_parts_are_the_sums_of_the_whole(seed):
    shares, true = draw(seed)
    tally = ClassTally(4)
    parts = sum(tally.of(shares[at::3], true[at::3]) for at in range(3))
    assert parts == pytest.approx(tally.of(shares, true))


@given(SEEDS)
def test_label_metrics_are_scikit_learns(seed):
    random = np.random.default_rng(seed)
    shares, true = random.uniform(size=(40, 3)), random.uniform(size=(40, 3)) > 0.5
    tally = LabelsTally(3)
    found = tally.metrics(tally.of(shares, true))
    said = shares >= 0.5
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(true, said, average="macro"))
    assert found["micro_f1"] == pytest.approx(metrics.f1_score(true, said, average="micro"))


@given(SEEDS)
def test_value_metrics_are_scikit_learns(seed):
    random = np.random.default_rng(seed)
    true = random.normal(3, 2, 50)
    said = true + random.normal(0, 1, 50)
    tally = ValueTally()
    found = tally.metrics(tally.of(said, true))
    assert found["r2"] == pytest.approx(metrics.r2_score(true, said))
    assert found["rmse"] == pytest.approx(metrics.root_mean_squared_error(true, said))
    assert found["mae"] == pytest.approx(metrics.mean_absolute_error(true, said))


def test_constant_answers_from_sums_alone():
    """As if the constant had been predicted, without the samples."""
    shares, true = draw(1)
    tally = ClassTally(4)
    always = np.zeros_like(shares)
    always[:, 2] = 1.0
    assert tally.constant(tally.of(shares, true), 2) == pytest.approx(tally.of(always, true))
    values, said = ValueTally(), np.arange(10.0)
    found = values.metrics(values.constant(values.of(said, said**2), 7.0))
    other = values.metrics(values.of(np.full(10, 7.0), said**2))
    for name in ("r2", "rmse", "bias"):
        assert found[name] == pytest.approx(other[name])
    many = LabelsTally(2)
    truth = np.array([[True, False], [True, True], [False, False]])
    present = np.array([True, False])
    said_always = np.broadcast_to(present, truth.shape).astype(float)
    sums = many.of(np.full((3, 2), 0.3), truth)
    assert many.constant(sums, present) == pytest.approx(many.of(said_always, truth))


def test_what_was_not_seen_is_not_counted():
    tally = ClassTally(2)
    shares = np.array([[0.9, 0.1], [np.nan, np.nan]])
    assert tally.confusion(tally.of(shares, np.array([0, 1]))).sum() == 1


def test_tallies_come_back_from_their_configuration():
    for tally in (ClassTally(5), LabelsTally(3), ValueTally()):
        assert tally_of(tally.kind, tally.config()) == tally
    with pytest.raises(DataError, match="unknown kind of sums 'ranks'; known are: classes"):
        tally_of("ranks", {})


@given(SEEDS)
def test_weights_are_scikit_learns_sample_weight(seed):
    random = np.random.default_rng(seed)
    each = random.uniform(0.1, 3, 60)
    shares, true = draw(seed)
    tally, chosen = ClassTally(4), shares.argmax(axis=1)
    found = tally.metrics(tally.of(shares, true, each))
    weighted = {"average": "macro", "sample_weight": each}
    assert found["accuracy"] == pytest.approx(
        metrics.accuracy_score(true, chosen, sample_weight=each)
    )
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(true, chosen, **weighted))
    labels = LabelsTally(4)
    shown = shares > 0.3
    found = labels.metrics(labels.of(shares * 2, shown, each))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(shown, shares >= 0.25, **weighted))
    values, said = ValueTally(), true + random.normal(0, 1, 60)
    found = values.metrics(values.of(said, true.astype(float), each))
    assert found["r2"] == pytest.approx(metrics.r2_score(true, said, sample_weight=each))
    assert found["mae"] == pytest.approx(
        metrics.mean_absolute_error(true, said, sample_weight=each)
    )


@given(SEEDS)
def test_a_sample_of_weight_two_is_the_same_one_twice(seed):
    shares, true = draw(seed)
    each = np.random.default_rng(seed).integers(0, 4, 60)
    twice = np.repeat(np.arange(60), each)
    tally = ClassTally(4)
    assert tally.of(shares, true, each.astype(float)) == pytest.approx(
        tally.of(shares[twice], true[twice])
    )
