"""The task of telling each pixel's class: which pixels count, and how much."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.encoders import Features
from earthloom.errors import ContractError, LabelError
from earthloom.sample import IGNORE, UNLABELLED, Chip, Shape2d
from earthloom.sample.batch import Batch
from earthloom.sample.samples import Listed
from earthloom.tasks.class_weights import EffectiveNumber, Unweighted
from earthloom.tasks.heads import DenseHead
from earthloom.tasks.losses import Focal
from earthloom.tasks.pixel_classes import IGNORED, PixelClasses, decide

TASK = PixelClasses((3, 1, 254), ("a", "b", "c"), ((0, 0, 0),) * 3, counts=(16, 4, 1))
CLASS_WEIGHTS = torch.tensor([1 / 4, 1 / 2, 1]) / (7 / 12)

seeds = st.integers(0, 10**6)


class Same(DenseHead):
    """Features are logits already."""

    name = "same"

    def config(self):
        return {}

    def forward(self, features):
        return features


HEAD = Same()


def _chip(label, weight=None):
    label = np.array([label], np.uint8)
    weight = None if weight is None else np.array([weight], np.float32)
    return Chip("c", Shape2d(*label.shape), {}, label, weight=weight)


def _features(logits, seen=None, stride=1):
    if seen is None:
        seen = torch.ones_like(logits[:, 0], dtype=torch.bool)
    return Features(logits, seen, stride=stride)


def _batch(codes, weight=None):
    return Batch(("a",) * len(codes), {}, codes, weight=weight)


def _loss(logits, codes, weight=None, task=TASK, seen=None):
    return task.loss(HEAD, _features(logits, seen), _batch(codes, weight))


def _drawn(seed, count, codes=(3, 1, 254)):
    """Logits (1, 3, count, 1) and codes (1, count, 1) of pixels in a column."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, 3, count, 1, generator=generator)
    chosen = torch.tensor(codes)[torch.randint(0, len(codes), (1, count, 1), generator=generator)]
    return logits, chosen


def _column(values):
    return torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1)


def _grown(logits, codes, weight=None, seen=None):
    """Loss and its gradient by the logits."""
    logits = logits.clone().requires_grad_()
    loss = _loss(logits, codes, weight, seen=seen)
    loss.backward()
    return loss.detach(), logits.grad


@settings(deadline=None, max_examples=60)
@given(seeds, st.lists(st.integers(0, 3), min_size=1, max_size=12))
def test_a_pixel_of_weight_2_is_the_same_pixel_twice(seed, weights):
    logits, codes = _drawn(seed, len(weights), (3, 1, 254, UNLABELLED))
    repeats = torch.tensor(weights)
    many = [each.repeat_interleave(repeats, dim=-2) for each in (logits, codes)]
    found, slope = _grown(logits, codes, _column(weights))
    expected, each_slope = _grown(*many)
    torch.testing.assert_close(found, expected)
    at = torch.repeat_interleave(torch.arange(len(weights)), repeats)
    summed = torch.zeros_like(slope).index_add_(2, at, each_slope)
    torch.testing.assert_close(slope, summed, rtol=1e-4, atol=1e-6)


@settings(deadline=None, max_examples=60)
@given(seeds, st.lists(st.booleans(), min_size=1, max_size=12))
def test_weight_0_ignore_no_label_and_nothing_seen_are_the_same(seed, used):
    logits, codes = _drawn(seed, len(used))
    kept = torch.tensor(used).reshape(1, -1, 1)
    bare, slope = _grown(logits, codes.where(kept, UNLABELLED))
    for other in (
        _grown(logits, codes.where(kept, IGNORE)),
        _grown(logits, codes, kept.float()),
        _grown(logits, codes, seen=kept),
        _grown(logits.where(kept, 1e4), codes, kept.float()),
    ):
        torch.testing.assert_close(other[0], bare)
        torch.testing.assert_close(other[1], slope)
    assert (slope == 0).where(~kept, True).all()


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 12))
def test_weights_of_1_change_nothing(seed, count):
    logits, codes = _drawn(seed, count, (3, 1, 254, UNLABELLED, IGNORE))
    found, expected = (_loss(logits, codes, weight) for weight in (_column([1] * count), None))
    torch.testing.assert_close(found, expected)


def test_the_default_loss_is_weighted_entropy_and_dice():
    logits, codes = _drawn(0, 40)
    truth = TASK.indices(codes).flatten()
    flat = logits[0, :, :, 0].T
    share, one_hot = flat.softmax(1), F.one_hot(truth, 3)
    dice = (2 * (share * one_hot).sum(0) + 1) / (share.sum(0) + one_hot.sum(0) + 1)
    expected = F.cross_entropy(flat, truth, weight=CLASS_WEIGHTS) + (1 - dice).mean()
    torch.testing.assert_close(_loss(logits, codes), expected)


def test_before_it_is_fitted_all_classes_weigh_the_same():
    logits, codes = _drawn(1, 40)
    bare, equal = replace(TASK, counts=None), replace(TASK, weighting=Unweighted())
    torch.testing.assert_close(_loss(logits, codes, task=bare), _loss(logits, codes, task=equal))


def test_the_criterion_can_be_another():
    logits, codes = _drawn(2, 40)
    focal = replace(TASK, criterion=Focal(0.0), weighting=Unweighted())
    expected = F.cross_entropy(logits, TASK.indices(codes))
    torch.testing.assert_close(_loss(logits, codes, task=focal), expected)


def test_without_labels_the_loss_is_0_with_a_gradient():
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    for codes in (None, torch.zeros(1, 2, 2, dtype=torch.int64)):
        loss = TASK.loss(HEAD, _features(logits), Batch(("a",), {}, codes))
        loss.backward()
        assert loss == 0
        assert (logits.grad == 0).all()


def test_labels_of_a_coarse_encoder_are_those_of_the_base_grid():
    logits = torch.randn(1, 3, 2, 2)
    fine = F.interpolate(logits, size=(4, 4), mode="bilinear")
    codes = torch.tensor([3, 1, 254, 1]).repeat(1, 4, 1)
    found = TASK.loss(HEAD, _features(logits, stride=2), _batch(codes))
    torch.testing.assert_close(found, _loss(fine, codes))


def test_answers_are_probabilities_and_nothing_where_nothing_was_seen():
    seen = torch.tensor([[[True, False], [True, True]]])
    answer = TASK.answer(HEAD, _features(torch.randn(1, 3, 2, 2), seen, stride=2))
    assert answer.shape == (1, 3, 4, 4)
    known = ~answer.isnan()
    assert known.sum(dim=1).tolist() == [[[3, 3, 0, 0], [3, 3, 0, 0], [3] * 4, [3] * 4]]
    torch.testing.assert_close(answer.sum(dim=1)[known[:, 0]], torch.ones(12))


def test_labels_of_another_grid_are_refused():
    answer = torch.rand(1, 3, 4, 4)
    batch = _batch(torch.ones(1, 2, 8, dtype=torch.int64))
    with pytest.raises(ContractError, match="answers of 4 x 4 pixels have labels of 2 x 8"):
        TASK.score().update(answer, batch)


def test_counts_are_found_in_usable_labels():
    samples = Listed([_chip([3, 3, 1, 0, 255]), _chip([1, 1, 3, 77, 1], [1, 0, 2, 1, 1])])
    task = replace(TASK, counts=None)
    assert task.label_counts(samples).tolist() == [[2, 1, 0], [1, 2, 0]]
    fitted = task.fitted(samples)
    assert fitted == replace(TASK, counts=(3, 3, 0))


def test_labels_of_one_class_are_nothing_to_learn_from():
    with pytest.raises(LabelError, match=r"have labels of: b; the project's classes are: a, b, c"):
        TASK.fitted(Listed([_chip([1, 0, 255])]))


@pytest.mark.parametrize(
    "task", [TASK, replace(TASK, criterion=Focal(1.5), weighting=EffectiveNumber(0.9), counts=None)]
)
def test_made_again_from_its_config(task):
    assert PixelClasses.from_config(json.loads(json.dumps(task.config()))) == task


def test_scores_pass_over_what_has_no_label_and_count_what_was_not_seen():
    # Told: b, a, c, b; pixels 3 and 4 have no label, and the last was not seen.
    shares = torch.tensor([[0.1, 0.8, 0.1], [0.7, 0.2, 0.1], [0.2, 0.2, 0.6], [0.1, 0.8, 0.1]])
    shares = torch.cat([shares, torch.full((1, 3), torch.nan)])
    answer = shares.T.reshape(1, 3, 5, 1)
    score = TASK.score()
    score.update(answer, _batch(torch.tensor([1, 1, IGNORE, UNLABELLED, 3]).reshape(1, 5, 1)))
    found = score.compute()
    assert found["accuracy"] == 0.5
    assert found["seen"] == pytest.approx(2 / 3)
    assert found["f1_b"] == pytest.approx(2 / 3)
    assert found["f1_a"] == 0
    assert np.isnan(found["f1_c"])
    assert found[TASK.main] == pytest.approx(1 / 3)


def test_a_score_that_has_seen_nothing_knows_nothing():
    assert all(np.isnan(value) for value in TASK.score().compute().values())


def test_codes_of_no_class_are_passed_over():
    codes = torch.tensor([[3, 1, 254], [UNLABELLED, IGNORE, 77]])
    assert TASK.indices(codes).tolist() == [[0, 1, 2], [IGNORED] * 3]


@pytest.mark.parametrize("code", [UNLABELLED, IGNORE, -1])
def test_codes_that_no_class_can_have(code):
    with pytest.raises(ContractError, match=f"class b has the code {code}; valid are 1 to 254"):
        replace(TASK, codes=(3, code, 254))


def test_codes_that_two_classes_have():
    with pytest.raises(ContractError, match="several have: 3"):
        replace(TASK, codes=(3, 3, 254))


def test_decided_by_the_most_probable_or_by_a_threshold():
    shares = np.array([[[0.6, 0.3, np.nan]], [[0.4, 0.7, np.nan]]], np.float32)
    assert decide(shares, (1, 2)).tolist() == [[1, 2, UNLABELLED]]
    assert decide(shares, (1, 2), threshold=0.35).tolist() == [[2, 2, UNLABELLED]]
