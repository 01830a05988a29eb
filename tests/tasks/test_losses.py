"""Losses of one class among several, by hand, by torch, and by slow oracles."""

import json
import math
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.errors import ContractError
from earthloom.tasks.losses import (
    CRITERIA,
    ENTROPY_AND_DICE,
    CrossEntropy,
    Focal,
    Labelled,
    Lovasz,
    SoftDice,
    Sum,
    criterion_from,
)

seeds = st.integers(0, 10**6)
every_loss = pytest.mark.parametrize(
    "criterion",
    [
        CrossEntropy(),
        CrossEntropy(0.2),
        Focal(2.0),
        Focal(0.5),
        SoftDice(),
        Lovasz(),
        ENTROPY_AND_DICE,
        Sum((Focal(1.0), Lovasz()), (0.25, 2.0)),
    ],
    ids=lambda criterion: json.dumps(criterion.config()),
)


def _drawn(seed, rows, classes=4):
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(rows, classes, generator=generator, dtype=torch.float64)
    truth = torch.randint(0, classes, (rows,), generator=generator)
    weights = 0.1 + torch.rand(classes, generator=generator, dtype=torch.float64)
    return Labelled(logits, truth, weights)


def _of(shares, truth, weights=None, counts=None):
    """Rows with these probabilities."""
    shares = torch.tensor(shares, dtype=torch.float64)
    weights = [1.0] * shares.shape[1] if weights is None else weights
    counts = None if counts is None else torch.tensor(counts, dtype=torch.float64)
    weights = torch.tensor(weights, dtype=torch.float64)
    return Labelled(shares.log(), torch.tensor(truth), weights, counts)


TWO = [[0.5, 0.5], [0.2, 0.8], [0.9, 0.1]]


@pytest.mark.parametrize(
    ("criterion", "labelled", "expected"),
    [
        (CrossEntropy(), _of(TWO, [0, 1, 1]), -(math.log(0.5) + math.log(0.8) + math.log(0.1)) / 3),
        # Weights 1 and 3, counts 2, 1, 1: (2 * 1, 1 * 3, 1 * 3) of 8 in all.
        (
            CrossEntropy(),
            _of(TWO, [0, 1, 1], [1.0, 3.0], [2.0, 1.0, 1.0]),
            -(2 * math.log(0.5) + 3 * math.log(0.8) + 3 * math.log(0.1)) / 8,
        ),
        (
            CrossEntropy(0.1),
            _of([[0.2, 0.8]], [1]),
            -(0.95 * math.log(0.8) + 0.05 * math.log(0.2)),
        ),
        (
            Focal(2.0),
            _of(TWO, [0, 1, 1]),
            -(0.25 * math.log(0.5) + 0.04 * math.log(0.8) + 0.81 * math.log(0.1)) / 3,
        ),
        # Class 0: 2 * 0.5 of 1.6 + 1; class 1: 2 * 0.9 of 1.4 + 2; one is added to each side.
        (
            SoftDice(),
            _of(TWO, [0, 1, 1]),
            1 - ((2 * 0.5 + 1) / (1.6 + 1 + 1) + (2 * 0.9 + 1) / (1.4 + 2 + 1)) / 2,
        ),
        # Class 1 alone: errors 0.9 (true), 0.2 (true), in this order; missing one of two costs 1/2.
        (Lovasz(), _of([[0.2, 0.8], [0.9, 0.1]], [1, 1]), (0.9 + 0.2) / 2),
        # Class 0: 0.5 (true), 0.9 and 0.2 (false): 1 - IoU is 1/2, 1, 1 in the order 0.9, 0.5, 0.2.
        # Class 1: 0.9 and 0.2 (true), 0.5 (false): 1/2, 2/3, 1 in the order 0.9, 0.5, 0.2.
        (
            Lovasz(),
            _of(TWO, [0, 1, 1]),
            ((0.9 / 2 + 0.5 / 2) + (0.9 / 2 + 0.5 / 6 + 0.2 / 3)) / 2,
        ),
    ],
)
def test_by_hand(criterion, labelled, expected):
    assert criterion(labelled).item() == pytest.approx(expected, rel=1e-6)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 20), st.sampled_from([0.0, 0.1, 0.7]))
def test_the_entropy_is_that_of_torch(seed, rows, smoothing):
    drawn = _drawn(seed, rows)
    expected = F.cross_entropy(
        drawn.logits, drawn.truth, weight=drawn.class_weights, label_smoothing=smoothing
    )
    torch.testing.assert_close(CrossEntropy(smoothing)(drawn), expected)


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 20))
def test_a_focal_loss_without_power_is_the_entropy(seed, rows):
    drawn = _drawn(seed, rows)
    torch.testing.assert_close(Focal(0.0)(drawn), CrossEntropy()(drawn))


@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(1, 20), st.sampled_from([0.5, 1.0, 2.0]))
def test_the_focal_loss_of_two_classes_is_that_of_torchvision(seed, rows, gamma):
    from torchvision.ops import sigmoid_focal_loss

    drawn = _drawn(seed, rows, classes=2)
    odds = drawn.logits[:, 1] - drawn.logits[:, 0]
    expected = sigmoid_focal_loss(
        odds, drawn.truth.double(), alpha=-1, gamma=gamma, reduction="mean"
    )
    alike = Labelled(drawn.logits, drawn.truth, torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(Focal(gamma)(alike), expected)


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(2, 20))
def test_dice_without_smoothing_is_that_of_segmentation_models(seed, rows):
    from segmentation_models_pytorch.losses import DiceLoss

    drawn = _drawn(seed, rows)
    expected = DiceLoss("multiclass", eps=1e-12)(drawn.logits.T[None], drawn.truth[None])
    # Theirs is a mean over all classes, with 0 for those that are not there; ours is over these.
    present = len(drawn.truth.unique())
    torch.testing.assert_close(SoftDice(0.0)(drawn), expected * 4 / present)


def _lovasz_slowly(drawn):
    """The integral of 1 - IoU over all thresholds of the errors: a row is wrong, with all its
    weight, while its error exceeds the threshold."""
    shares = drawn.logits.softmax(dim=1)
    counts = torch.ones(len(shares)).double() if drawn.counts is None else drawn.counts
    losses = []
    for k in drawn.truth.unique().tolist():
        true = drawn.truth == k
        errors = (true.double() - shares[:, k]).abs()
        steps = [0.0, *sorted(errors.tolist())]
        area = 0.0
        for low, high in pairwise(steps):
            wrong = errors > low
            missed = counts[wrong & true].sum()
            union = counts[true].sum() + counts[wrong & ~true].sum()
            area += (high - low) * (missed + counts[wrong & ~true].sum()) / union
        losses.append(area)
    return sum(losses) / len(losses)


@settings(deadline=None, max_examples=60)
@given(seeds, st.integers(1, 15), st.booleans())
def test_lovasz_is_the_integral_of_jaccard_over_thresholds(seed, rows, counted):
    drawn = _drawn(seed, rows)
    if counted:
        counts = torch.rand(rows, dtype=torch.float64) + 0.2
        drawn = Labelled(drawn.logits, drawn.truth, drawn.class_weights, counts)
    assert float(Lovasz()(drawn)) == pytest.approx(float(_lovasz_slowly(drawn)), rel=1e-6)


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(2, 30))
def test_lovasz_is_that_of_segmentation_models(seed, rows):
    from segmentation_models_pytorch.losses import LovaszLoss

    drawn = _drawn(seed, rows)
    image = drawn.logits.float().T[None, :, :, None]
    expected = LovaszLoss("multiclass", from_logits=True)(image, drawn.truth[None, :, None])
    torch.testing.assert_close(Lovasz()(drawn), expected.double(), rtol=1e-4, atol=1e-5)


@every_loss
def test_a_loss_falls_from_wrong_to_right(criterion):
    """And Lovász is 1 - IoU where all answers are sure."""
    wrong, right = (
        Labelled(
            50 * F.one_hot(torch.tensor(told), 2).double(),
            torch.tensor([0, 1, 1, 1]),
            torch.ones(2, dtype=torch.float64),
        )
        for told in ([0, 0, 1, 1], [0, 1, 1, 1])
    )
    assert criterion(right) < criterion(wrong)
    assert Lovasz()(wrong).item() == pytest.approx(1 - (1 / 2 + 2 / 3) / 2)


@every_loss
@settings(deadline=None, max_examples=25)
@given(seeds, st.lists(st.integers(1, 3), min_size=1, max_size=10))
def test_a_row_of_count_2_is_the_same_row_twice(criterion, seed, counts):
    drawn, repeats = _drawn(seed, len(counts)), torch.tensor(counts)
    once = Labelled(drawn.logits, drawn.truth, drawn.class_weights, repeats.double())
    again = Labelled(
        drawn.logits.repeat_interleave(repeats, dim=0),
        drawn.truth.repeat_interleave(repeats),
        drawn.class_weights,
    )
    torch.testing.assert_close(criterion(once), criterion(again))


@every_loss
@settings(deadline=None, max_examples=10)
@given(seeds, st.integers(1, 8))
def test_the_gradient_is_that_of_small_steps(criterion, seed, rows):
    drawn = _drawn(seed, rows)

    def loss(logits):
        return criterion(Labelled(logits, drawn.truth, drawn.class_weights))

    assert torch.autograd.gradcheck(loss, drawn.logits.requires_grad_(), eps=1e-7, atol=1e-4)


@every_loss
@pytest.mark.parametrize("logit", [0.0, 80.0, -80.0, 1e4])
def test_sure_answers_have_finite_losses_and_gradients(criterion, logit):
    logits = torch.tensor([[logit, 0.0, 0.0]] * 3, requires_grad=True)
    loss = criterion(Labelled(logits, torch.tensor([0, 1, 0]), torch.ones(3)))
    loss.backward()
    assert loss >= 0
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


@every_loss
def test_a_class_without_weight_makes_no_nan(criterion):
    logits = torch.randn(3, 2, requires_grad=True)
    loss = criterion(Labelled(logits, torch.tensor([1, 1, 1]), torch.tensor([1.0, 0.0])))
    loss.backward()
    assert loss.isfinite()
    assert logits.grad.isfinite().all()


@every_loss
def test_made_again_from_its_config(criterion):
    assert criterion_from(json.loads(json.dumps(criterion.config()))) == criterion


def test_losses_are_known_by_their_names():
    assert {name: each.name for name, each in CRITERIA.items()} == {name: name for name in CRITERIA}


def test_a_sum_is_of_its_parts():
    drawn = _drawn(3, 10)
    found = Sum((CrossEntropy(), Lovasz()), (0.5, 2.0))(drawn)
    torch.testing.assert_close(found, 0.5 * CrossEntropy()(drawn) + 2 * Lovasz()(drawn))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: CrossEntropy(1.0), "label smoothing is 1.0; valid are 0 to <1"),
        (lambda: Focal(-1), "gamma of the focal loss is -1; valid are 0 and above"),
        (lambda: SoftDice(-1), "smoothing of the Dice loss is -1; valid are 0 and above"),
        (lambda: Sum(()), "a sum of 0 losses has 0 factors"),
        (lambda: Sum((Lovasz(),), (1.0, 2.0)), "a sum of 1 losses has 2 factors"),
        (
            lambda: criterion_from({"name": "dise"}),
            "unknown loss 'dise'; known: cross-entropy, focal, dice, lovasz, sum",
        ),
    ],
)
def test_what_is_refused(make, words):
    with pytest.raises(ContractError, match=words):
        make()
