"""The task of telling each pixel's class: which pixels count, and how much."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.errors import ContractError
from earthloom.sample import IGNORE, UNLABELLED
from earthloom.tasks.pixel_classes import IGNORED, PixelClasses

TASK = PixelClasses((3, 1, 254), ("a", "b", "c"), ((0, 0, 0),) * 3)
CLASS_WEIGHTS = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)

seeds = st.integers(0, 10**6)


def _drawn(seed, count, codes=(3, 1, 254)):
    """Logits (1, 3, count, 1) and codes (1, count, 1) of pixels in a column."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(1, 3, count, 1, generator=generator, dtype=torch.float64)
    chosen = torch.tensor(codes)[torch.randint(0, len(codes), (1, count, 1), generator=generator)]
    return logits, chosen


def _column(values):
    return torch.tensor(values, dtype=torch.float32).reshape(1, -1, 1)


def _grown(logits, codes, weight=None):
    """Loss and its gradient by the logits."""
    logits = logits.clone().requires_grad_()
    loss = TASK.loss(logits, codes, CLASS_WEIGHTS, weight)
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
    torch.testing.assert_close(slope, summed)


@settings(deadline=None, max_examples=60)
@given(seeds, st.lists(st.booleans(), min_size=1, max_size=12))
def test_weight_0_ignore_and_no_label_are_the_same(seed, used):
    logits, codes = _drawn(seed, len(used))
    kept = torch.tensor(used).reshape(1, -1, 1)
    bare, slope = _grown(logits, codes.where(kept, UNLABELLED))
    for other in (
        _grown(logits, codes.where(kept, IGNORE)),
        _grown(logits, codes, kept.float()),
        _grown(logits.where(kept, 1e4), codes, kept.float()),
    ):
        torch.testing.assert_close(other[0], bare)
        torch.testing.assert_close(other[1], slope)
    assert (slope == 0).where(~kept, True).all()


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 12))
def test_weights_of_1_change_nothing(seed, count):
    logits, codes = _drawn(seed, count, (3, 1, 254, UNLABELLED, IGNORE))
    found, expected = (
        TASK.loss(logits, codes, CLASS_WEIGHTS, weight) for weight in (_column([1] * count), None)
    )
    torch.testing.assert_close(found, expected)


def test_without_weights_the_entropy_is_that_of_torch():
    logits, codes = _drawn(0, 40)
    truth = TASK.indices(codes).flatten()
    flat = logits[0, :, :, 0].T
    share, one_hot = flat.softmax(1), F.one_hot(truth, 3)
    dice = (2 * (share * one_hot).sum(0) + 1) / (share.sum(0) + one_hot.sum(0) + 1)
    expected = F.cross_entropy(flat, truth, weight=CLASS_WEIGHTS) + (1 - dice).mean()
    torch.testing.assert_close(TASK.loss(logits, codes, CLASS_WEIGHTS), expected)


def test_codes_of_no_class_are_passed_over():
    codes = torch.tensor([[3, 1, 254], [UNLABELLED, IGNORE, 77]])
    assert TASK.indices(codes).tolist() == [[0, 1, 2], [IGNORED] * 3]


@pytest.mark.parametrize("code", [UNLABELLED, IGNORE, -1])
def test_codes_that_no_class_can_have(code):
    with pytest.raises(ContractError, match=f"class b has the code {code}; valid are 1 to 254"):
        replace(TASK, codes=(3, code, 254))
