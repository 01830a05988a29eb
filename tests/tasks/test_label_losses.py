"""Losses of several labels, by hand and by other libraries."""

import json
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.errors import ContractError
from earthloom.tasks.label_losses import (
    LABEL_CRITERIA,
    Asymmetric,
    BinaryCrossEntropy,
    BinaryFocal,
    label_criterion_from,
)

seeds = st.integers(0, 10**6)
ALL = [BinaryCrossEntropy(), BinaryFocal(), BinaryFocal(0.5), Asymmetric(), Asymmetric(1, 0.5, 0)]
every_loss = pytest.mark.parametrize("criterion", ALL, ids=lambda each: json.dumps(each.config()))


def _drawn(seed, rows=6, labels=3):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(rows, labels, generator=generator, dtype=torch.float64)
    truth = torch.randint(0, 2, (rows, labels), generator=generator).double()
    return logits, truth, 0.1 + torch.rand(labels, generator=generator, dtype=torch.float64)


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_without_powers_and_margin_all_are_binary_entropy(seed):
    logits, truth, _ = _drawn(seed)
    weights = torch.ones(3, dtype=torch.float64)
    expected = F.binary_cross_entropy_with_logits(logits, truth)
    for criterion in (BinaryCrossEntropy(), BinaryFocal(0.0), Asymmetric(0.0, 0.0, 0.0)):
        torch.testing.assert_close(criterion(logits, truth, weights), expected)


@settings(deadline=None, max_examples=30)
@given(seeds, st.sampled_from([0.5, 1.0, 2.0]))
def test_the_focal_loss_is_that_of_torchvision(seed, gamma):
    from torchvision.ops import sigmoid_focal_loss

    logits, truth, _ = _drawn(seed)
    expected = sigmoid_focal_loss(logits, truth, alpha=-1, gamma=gamma, reduction="none")
    torch.testing.assert_close(BinaryFocal(gamma).each(logits, truth), expected)


@settings(deadline=None, max_examples=30)
@given(seeds)
def test_without_margin_equal_powers_are_the_focal_loss(seed):
    logits, truth, weights = _drawn(seed)
    found = Asymmetric(2.0, 2.0, 0.0)(logits, truth, weights)
    torch.testing.assert_close(found, BinaryFocal(2.0)(logits, truth, weights))


def test_the_asymmetric_loss_by_hand():
    # p = 0.8 of a label that is there; p = 0.3 and 0.04 of labels that are not.
    logits = torch.tensor([[0.8, 0.3, 0.04]], dtype=torch.float64).logit()
    truth = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    found = Asymmetric(1.0, 2.0, 0.05).each(logits, truth)
    expected = [-0.2 * math.log(0.8), -(0.25**2) * math.log(0.75), 0.0]
    assert found[0].tolist() == pytest.approx(expected)


@every_loss
@settings(deadline=None, max_examples=20)
@given(seeds)
def test_class_weights_make_a_weighted_mean(criterion, seed):
    logits, truth, weights = _drawn(seed)
    each = criterion.each(logits, truth).mean(dim=0)
    expected = (each * weights).sum() / weights.sum()
    torch.testing.assert_close(criterion(logits, truth, weights), expected)


@every_loss
@settings(deadline=None, max_examples=10)
@given(seeds)
def test_the_gradient_is_that_of_small_steps(criterion, seed):
    logits, truth, weights = _drawn(seed)
    # Where p is the margin itself the slope jumps.
    margin = getattr(criterion, "margin", 0)
    logits = logits + 0.01 * ((logits.sigmoid() - margin).abs() < 1e-4)
    assert torch.autograd.gradcheck(
        lambda drawn: criterion(drawn, truth, weights), logits.requires_grad_()
    )


@every_loss
@pytest.mark.parametrize("logit", [0.0, 80.0, -80.0, 1e4, -1e4])
def test_sure_answers_have_finite_losses_and_gradients(criterion, logit):
    logits = torch.full((2, 2), logit, requires_grad=True)
    loss = criterion(logits, torch.tensor([[0.0, 1.0], [1.0, 0.0]]), torch.ones(2))
    loss.backward()
    assert loss >= 0
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


@every_loss
def test_made_again_from_its_config(criterion):
    assert label_criterion_from(json.loads(json.dumps(criterion.config()))) == criterion


def test_losses_are_known_by_their_names():
    assert {name: each.name for name, each in LABEL_CRITERIA.items()} == {
        name: name for name in LABEL_CRITERIA
    }


def test_what_is_refused():
    with pytest.raises(ContractError, match="unknown loss of labels 'x'; known: binary-cross"):
        label_criterion_from({"name": "x"})
    with pytest.raises(ContractError, match="gamma of a focal loss is -1; valid are 0 and above"):
        Asymmetric(gamma_absent=-1)
    with pytest.raises(ContractError, match="the margin of absent labels is 1; valid are 0 to <1"):
        Asymmetric(margin=1)
