"""The tasks of whole chips: one class, several labels."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from earthloom.encoders import Features
from earthloom.errors import ContractError, LabelError
from earthloom.sample import Chip, Shape2d
from earthloom.sample.batch import Batch
from earthloom.sample.samples import Listed
from earthloom.sample.target import SceneClasses, SceneValue
from earthloom.tasks.class_tree import ClassTree
from earthloom.tasks.class_weights import EffectiveNumber, Inverse
from earthloom.tasks.heads import ConvHead, DenseHead
from earthloom.tasks.label_losses import Asymmetric, BinaryFocal
from earthloom.tasks.losses import Focal
from earthloom.tasks.ordinal import SceneOrdinal
from earthloom.tasks.scene_classes import SceneClass, SceneLabels
from earthloom.tasks.scene_tree import SceneTree

ONE = SceneClass((7, 3, 300), ("a", "b", "c"), counts=(16, 4, 1))
SEVERAL = SceneLabels((7, 3, 300), ("a", "b", "c"))
BOTH = pytest.mark.parametrize("task", [ONE, SEVERAL], ids=lambda task: task.name)


class Same(DenseHead):
    """Features are logits already."""

    name = "same"

    def config(self):
        return {}

    def forward(self, features):
        return features


def chips_with(*targets):
    """Chips in memory that hold targets alone."""
    return Listed(
        [Chip(f"chip {at}", Shape2d(1, 1), {}, target=target) for at, target in enumerate(targets)]
    )


def _shown(*codes):
    return SceneClasses(tuple(sorted(codes)))


def _features(logits, seen=None):
    seen = torch.ones(len(logits), dtype=torch.bool) if seen is None else torch.tensor(seen)
    pixels = torch.zeros(*logits.shape, 2, 2)
    return Features(pixels, seen[:, None, None].repeat(1, 2, 2), vector=logits)


@pytest.mark.parametrize(
    "task",
    [
        ONE,
        SEVERAL,
        SceneOrdinal((7, 3, 300), ("a", "b", "c")),
        SceneTree(ClassTree((7, 3, 300), ("a", "b", "c"), (0, 7, 7))),
    ],
    ids=lambda task: task.name,
)
def test_a_chip_of_weight_2_is_the_same_chip_twice(task):
    """In the loss, in the score and in what is counted; one of weight 0 is none."""
    targets = [_shown(3), _shown(300), _shown(3), _shown(300)]
    times = [2, 1, 0, 3]
    at = torch.tensor([number for number, n in enumerate(times) for _ in range(n)])
    weight = torch.tensor(times)[:, None, None] * torch.tensor([[0.5, 1.5]])
    batch = replace(_batch(*targets), weight=weight)
    again = _batch(*[targets[number] for number in at])
    logits = torch.randn(4, task.outputs, generator=torch.Generator().manual_seed(0))
    head = Same()
    found = task.loss(head, _features(logits), batch)
    expected = task.loss(head, _features(logits[at]), again)
    torch.testing.assert_close(found, expected)
    scores = task.score(), task.score()
    scores[0].update(task.answer(head, _features(logits)), batch)
    scores[1].update(task.answer(head, _features(logits[at])), again)
    wanted = {name: float(value) for name, value in scores[1].compute().items()}
    assert scores[0].compute() == pytest.approx(wanted, nan_ok=True)
    chips = chips_with(*targets, _shown(7)).chips
    none = replace(chips[-1], weight=np.zeros((1, 1), np.float32))
    assert task.fitted(Listed([*chips[:-1], none])) == task.fitted(Listed(chips[:-1]))


def _batch(*targets):
    ids = tuple(f"chip {row}" for row in range(len(targets)))
    return Batch(ids, {}, None, targets=targets)


LOGITS = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 1.0], [-1.0, 3.0, 0.0], [9.0, 0.0, 0.0]])


def test_the_loss_of_one_class_is_weighted_entropy_over_what_is_labelled_and_seen():
    batch = _batch(_shown(3), _shown(300), None, _shown(7))
    found = ONE.loss(Same(), _features(LOGITS, [True, True, True, False]), batch)
    weights = torch.tensor([1 / 4, 1 / 2, 1])
    expected = F.cross_entropy(LOGITS[:2], torch.tensor([1, 2]), weight=weights)
    torch.testing.assert_close(found, expected)


def test_the_loss_of_labels_is_binary_entropy_over_what_is_labelled_and_seen():
    batch = _batch(_shown(3, 300), _shown(), None, _shown(7))
    found = SEVERAL.loss(Same(), _features(LOGITS, [True, True, True, False]), batch)
    truth = torch.tensor([[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    expected = F.binary_cross_entropy_with_logits(LOGITS[:2], truth)
    torch.testing.assert_close(found, expected)


def test_labels_can_be_weighed():
    task = replace(SEVERAL, weighting=Inverse(), counts=(1, 2, 4))
    truth, weights = torch.tensor([[1.0, 0, 0]] * 4), torch.tensor([1.0, 0.5, 0.25])
    found = task.loss(Same(), _features(LOGITS), _batch(*[_shown(7)] * 4))
    expected = F.binary_cross_entropy_with_logits(LOGITS, truth, weight=weights / weights.mean())
    torch.testing.assert_close(found, expected)


@BOTH
@pytest.mark.parametrize("targets", [(), (None, None), (_shown(3), _shown(3))])
def test_without_labels_or_pixels_the_loss_is_0_with_a_gradient(task, targets):
    logits = torch.randn(2, 3, requires_grad=True)
    batch = Batch(("x", "y"), {}, None, targets=targets)
    loss = task.loss(Same(), _features(logits, [False, False]), batch)
    loss.backward()
    assert loss == 0
    assert (logits.grad == 0).all()


def test_answers_are_probabilities_and_nothing_where_nothing_was_seen():
    features = _features(LOGITS, [True, True, False, True])
    one, several = (task.answer(Same(), features) for task in (ONE, SEVERAL))
    assert one.isnan().any(dim=1).tolist() == several.isnan().any(dim=1).tolist()
    assert one[2].isnan().all()
    torch.testing.assert_close(one[:2], LOGITS[:2].softmax(dim=1))
    torch.testing.assert_close(several[:2], LOGITS[:2].sigmoid())


def test_one_class_is_scored():
    score = ONE.score()
    answer = ONE.answer(Same(), _features(LOGITS, [True, True, True, False]))
    score.update(answer, _batch(_shown(7), _shown(7), None, _shown(3)))
    found = score.compute()
    assert found["accuracy"] == 0.5
    assert found["seen"] == pytest.approx(2 / 3)
    assert found[ONE.main] == pytest.approx((2 / 3 + 0) / 2)


def test_labels_are_scored():
    score = SEVERAL.score()
    answer = SEVERAL.answer(Same(), _features(LOGITS, [True, True, True, False]))
    # Of label a the first chip has 2, the second 0.5: one of two is right, at rank 2.
    score.update(answer, _batch(_shown(3), _shown(7, 300), None, _shown(7)))
    found = score.compute()
    assert found["ap_a"] == pytest.approx(1 / 2)
    assert found["ap_b"] == pytest.approx(1 / 2)
    assert found["ap_c"] == 1
    assert found[SEVERAL.main] == pytest.approx(2 / 3)
    assert found["seen"] == pytest.approx(2 / 3)


def test_scores_add_up_over_batches():
    targets = (_shown(7), _shown(3), _shown(300), None)
    for task in (ONE, SEVERAL):
        whole, parts = task.score(), task.score()
        answer = task.answer(Same(), _features(LOGITS))
        whole.update(answer, _batch(*targets))
        for at in (slice(0, 1), slice(1, 4)):
            parts.update(answer[at], _batch(*targets[at]))
        assert parts.compute() == pytest.approx(whole.compute(), nan_ok=True)


def test_what_is_fitted_is_counts():
    samples = chips_with(*[_shown(7), _shown(3), None, _shown(7), _shown(99)])
    assert ONE.fitted(samples).counts == (2, 1, 0)
    samples = chips_with(*[_shown(7, 3), _shown(), None, _shown(7)])
    assert SEVERAL.fitted(samples).counts == (2, 1, 0)


@pytest.mark.parametrize(
    ("task", "targets", "words"),
    [
        (ONE, [_shown(7), None], "labels of: a; the project's classes are: a, b, c"),
        (SEVERAL, [_shown(7), _shown(7), None], "of 2 labelled training chips all or none have"),
        (SEVERAL, [None], "of 0 labelled training chips all or none have each of: a, b, c"),
    ],
)
def test_nothing_to_learn_from(task, targets, words):
    with pytest.raises(LabelError, match=words):
        task.fitted(chips_with(*targets))


def test_targets_that_do_not_fit():
    with pytest.raises(ContractError, match="chip chip 0 has the classes 3, 7; a chip of this"):
        ONE.fitted(chips_with(*[_shown(3, 7)]))
    for task in (ONE, SEVERAL):
        with pytest.raises(ContractError, match="chip 0 has a target of SceneValue; a task of"):
            task.loss(Same(), _features(LOGITS[:1]), _batch(SceneValue(1.0, "t/ha")))


@pytest.mark.parametrize(
    "task",
    [
        ONE,
        replace(ONE, criterion=Focal(1.0), weighting=EffectiveNumber(0.9), counts=None),
        SEVERAL,
        replace(SEVERAL, criterion=BinaryFocal(1.5), counts=(1, 2, 3)),
        replace(SEVERAL, criterion=Asymmetric(margin=0.1)),
    ],
)
def test_made_again_from_its_config(task):
    assert type(task).from_config(json.loads(json.dumps(task.config()))) == task


@pytest.mark.parametrize(
    "task", [ONE, SEVERAL, replace(SEVERAL, criterion=Asymmetric())], ids=lambda task: task.name
)
def test_a_head_learns_a_few_chips_by_heart(task):
    torch.manual_seed(0)
    features = _features(torch.randn(8, 16))
    targets = [_shown(code) for code in (7, 3, 300, 7, 3, 300, 7, 3)]
    if isinstance(task, SceneLabels):
        targets[:3] = [_shown(7, 3), _shown(), _shown(3, 7, 300)]
    batch, head = _batch(*targets), ConvHead(16, task.outputs)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(150):
        optimiser.zero_grad()
        task.loss(head, features, batch).backward()
        optimiser.step()
    score = task.score()
    score.update(task.answer(head, features).detach(), batch)
    assert score.compute()[task.main] == 1


def test_names_and_codes_must_fit():
    with pytest.raises(ContractError, match="2 class codes do not fit 3 names"):
        replace(ONE, codes=(1, 2))
    with pytest.raises(ContractError, match="class b has the code 0; valid are 1 and above"):
        replace(ONE, codes=(1, 0, 2))
    with pytest.raises(ContractError, match="2 counts of labels do not fit 3 classes"):
        replace(ONE, counts=(1, 2))
    assert np.isnan(list(ONE.score().compute().values())).all()
