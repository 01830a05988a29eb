"""Scores of classes and of labels equal those of scikit-learn and torchmetrics."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics

from earthloom.tasks.class_scores import ClassTally, slugs
from earthloom.tasks.label_scores import LabelTally
from earthloom.tasks.ordinal import median_class

NAMES = ("a", "b", "c", "d")
CLASSES = range(len(NAMES))
seeds = st.integers(0, 10**6)


def _drawn(seed, rows, weighted=False):
    """Probabilities (N, K), truth (N,), and counts (N,) or None."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.randint(0, len(NAMES), (rows,), generator=generator)
    logits = torch.randn(rows, len(NAMES), generator=generator)
    logits += 1.5 * torch.nn.functional.one_hot(truth, len(NAMES))
    counts = 0.2 + torch.rand(rows, generator=generator) if weighted else None
    return logits.softmax(dim=1), truth, counts


def _tallied(shares, truth, counts, pieces=3, **arguments):
    """The tally of the rows, added in pieces."""
    tally = ClassTally(NAMES, **arguments)
    for at in torch.arange(len(truth)).tensor_split(pieces):
        tally.add(shares[at], truth[at], None if counts is None else counts[at])
    return tally


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(3, 60), st.booleans())
def test_decisions_are_scored_as_by_scikit_learn(seed, rows, weighted):
    shares, truth, counts = _drawn(seed, rows, weighted)
    found = _tallied(shares, truth, counts).metrics()
    told, by = shares.argmax(dim=1), {"sample_weight": counts}
    occur = np.union1d(told, truth)
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(truth, told, **by))
    f1 = metrics.f1_score(truth, told, average=None, labels=occur, **by)
    iou = metrics.jaccard_score(truth, told, average=None, labels=occur, **by)
    assert found["macro_f1"] == pytest.approx(f1.mean())
    assert found["miou"] == pytest.approx(iou.mean())
    for index in CLASSES:
        each = [found[f"f1_{NAMES[index]}"], found[f"iou_{NAMES[index]}"]]
        if index in occur:
            at = occur.tolist().index(index)
            assert each == pytest.approx([f1[at], iou[at]])
        else:
            assert np.isnan(each).all()
    kappa = metrics.cohen_kappa_score(truth, told, labels=list(CLASSES), **by)
    assert found["kappa"] == pytest.approx(kappa, nan_ok=True)


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(3, 60), st.booleans())
def test_probabilities_are_scored_as_by_scikit_learn(seed, rows, weighted):
    shares, truth, counts = _drawn(seed, rows, weighted)
    found = _tallied(shares, truth, counts).metrics()
    by = {"sample_weight": counts, "labels": list(CLASSES)}
    assert found["nll"] == pytest.approx(metrics.log_loss(truth, shares.numpy(), **by), rel=1e-4)
    brier = metrics.brier_score_loss(truth, shares.numpy(), **by)
    # Of several classes scikit-learn gives the sum over classes, too.
    assert found["brier"] == pytest.approx(brier, rel=1e-4)


def test_a_probability_of_0_is_no_infinite_loss():
    shares, truth = torch.tensor([[0.0, 1.0, 0.0, 0.0]]), torch.tensor([0])
    expected = metrics.log_loss(truth, shares.numpy(), labels=list(CLASSES))
    assert _tallied(shares, truth, None).metrics()["nll"] == pytest.approx(expected, rel=1e-4)


@settings(deadline=None, max_examples=20)
@given(seeds, st.integers(3, 60))
def test_calibration_is_that_of_torchmetrics(seed, rows):
    from torchmetrics.functional.classification import multiclass_calibration_error

    shares, truth, _ = _drawn(seed, rows)
    expected = multiclass_calibration_error(shares, truth, len(NAMES), n_bins=15)
    found = _tallied(shares, truth, None).metrics()["ece"]
    assert found == pytest.approx(float(expected), abs=1e-5)
    labels = LabelTally(NAMES)
    shown = torch.nn.functional.one_hot(truth, len(NAMES)) > 0
    labels.add(shares, shown)
    expected = _binary_calibration(shares.numpy().ravel(), shown.numpy().ravel())
    assert labels.metrics()["ece"] == pytest.approx(expected, abs=1e-5)


@settings(deadline=None, max_examples=20)
@given(seeds, st.integers(3, 60), st.booleans())
def test_order_is_scored_as_by_scikit_learn(seed, rows, weighted):
    shares, truth, counts = _drawn(seed, rows, weighted)
    told = median_class(shares.numpy().astype(np.float64))
    found = _tallied(shares, truth, counts, decide=median_class).confusion
    by = {"sample_weight": counts}
    expected = metrics.cohen_kappa_score(
        truth, told, weights="quadratic", labels=list(CLASSES), **by
    )
    assert found.quadratic_kappa == pytest.approx(expected, nan_ok=True)
    assert found.mean_steps == pytest.approx(metrics.mean_absolute_error(truth, told, **by))


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_the_median_is_the_answer_with_the_least_mean_error(seed):
    shares, _, _ = _drawn(seed, 5)
    steps = np.abs(np.arange(4)[:, None] - np.arange(4)[None, :])
    cost = shares.numpy().astype(np.float64) @ steps
    chosen = np.take_along_axis(cost, median_class(shares.double().numpy())[:, None], axis=1)
    np.testing.assert_allclose(chosen[:, 0], cost.min(axis=1), atol=1e-6)


def test_rows_without_answer_are_counted_and_not_scored():
    shares, truth, counts = _drawn(1, 10, weighted=True)
    bare = _tallied(shares[2:], truth[2:], counts[2:]).metrics()
    shares[:2] = torch.nan
    found = _tallied(shares, truth, counts).metrics()
    assert found.pop("seen") == pytest.approx(float(counts[2:].sum() / counts.sum()))
    assert bare.pop("seen") == 1
    assert found == pytest.approx(bare)


def test_of_two_classes_the_second_is_what_is_looked_for():
    shares = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.3, 0.7]])
    tally = ClassTally(("no change", "change"))
    tally.add(shares, torch.tensor([0, 1, 0]))
    found = tally.metrics()
    assert found["f1"] == found["f1_change"] == pytest.approx(2 / 3)
    assert found["iou"] == found["iou_change"] == pytest.approx(1 / 2)


def test_names_of_metrics_are_plain_and_each_its_own():
    assert slugs(("No change", "Forêt (feuillus)")) == ("no_change", "forêt_feuillus")
    assert slugs(("a b", "a-b", "c", "?")) == ("a_b_1", "a_b_2", "c", "4")


def _labels(seed, rows):
    """Probabilities (N, K) and truth (N, K)."""
    generator = torch.Generator().manual_seed(seed)
    truth = torch.rand(rows, len(NAMES), generator=generator) < torch.tensor([0.6, 0.3, 0.2, 0.1])
    shares = (torch.randn(rows, len(NAMES), generator=generator) + 2 * truth - 1).sigmoid()
    return shares, truth


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(3, 60), st.booleans())
def test_labels_are_scored_as_by_scikit_learn(seed, rows, weighted):
    shares, truth = _labels(seed, rows)
    counts = 0.2 + torch.rand(rows) if weighted else None
    tally = LabelTally(NAMES)
    for at in torch.arange(rows).tensor_split(3):
        tally.add(shares[at], truth[at], None if counts is None else counts[at])
    found, some = tally.metrics(), truth.any(dim=0)
    told, by = shares >= 0.5, {"sample_weight": counts}
    if some.any():
        macro = metrics.average_precision_score(
            truth[:, some], shares[:, some], average="macro", **by
        )
        micro = metrics.average_precision_score(truth, shares, average="micro", **by)
        assert found["macro_ap"] == pytest.approx(macro)
        assert found["micro_ap"] == pytest.approx(micro)
    occur = some | told.any(dim=0)
    if occur.any():
        macro = metrics.f1_score(truth[:, occur], told[:, occur], average="macro", **by)
        micro = metrics.f1_score(truth, told, average="micro", **by)
        assert found["macro_f1"] == pytest.approx(macro)
        assert found["micro_f1"] == pytest.approx(micro)
    for index, name in enumerate(NAMES):
        assert np.isnan(found[f"ap_{name}"]) == (not some[index])
    expected = np.average((shares.double() - truth.double()) ** 2, axis=0, weights=counts).mean()
    assert found["brier"] == pytest.approx(float(expected))


def test_average_precision_is_that_of_torchmetrics():
    from torchmetrics.functional.classification import multilabel_average_precision

    shares, truth = _labels(5, 80)
    tally = LabelTally(NAMES)
    tally.add(shares, truth)
    found = tally.metrics()
    for how in ("macro", "micro"):
        expected = multilabel_average_precision(shares, truth.long(), len(NAMES), average=how)
        assert found[f"{how}_ap"] == pytest.approx(float(expected), rel=1e-5)


def test_chips_that_were_not_seen_are_counted_and_not_scored():
    shares, truth = _labels(6, 20)
    bare, found = LabelTally(NAMES), LabelTally(NAMES)
    bare.add(shares[5:], truth[5:])
    shares[:5] = torch.nan
    found.add(shares, truth)
    assert bare.metrics() | {"seen": 0.75} == pytest.approx(found.metrics())


def test_a_score_of_nothing_is_not_known():
    assert all(np.isnan(value) for value in ClassTally(NAMES).metrics().values())
    assert all(np.isnan(value) for value in LabelTally(NAMES).metrics().values())


def _binary_calibration(shares, shown):
    """By the definition: bins of the probability that a label is there."""
    error = 0.0
    for low in range(15):
        at = (shares >= low / 15) & ((shares < (low + 1) / 15) | (low == 14))
        if at.any():
            error += at.mean() * abs(shares[at].mean() - shown[at].mean())
    return error
