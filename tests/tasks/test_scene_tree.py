"""Classes of a tree: levels that agree, and losses and scores of each."""

import json
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.encoders import Features
from earthloom.errors import ContractError, LabelError
from earthloom.sample import Chip, Shape2d
from earthloom.sample.batch import Batch
from earthloom.sample.samples import Listed
from earthloom.sample.target import SceneClasses
from earthloom.tasks.class_tree import ClassTree
from earthloom.tasks.class_weights import Inverse, Unweighted
from earthloom.tasks.classes import IGNORED
from earthloom.tasks.heads import ConvHead, DenseHead
from earthloom.tasks.losses import Focal
from earthloom.tasks.scene_tree import SceneTree

TREE = ClassTree(
    codes=(1, 2, 11, 12, 111, 112),
    names=("land", "water", "town", "forest", "low", "high"),
    parents=(0, 0, 1, 1, 11, 11),
)
"""Water is a leaf of the first level, forest of the second, low and high towns of the third."""
TASK = SceneTree(TREE, weighting=Unweighted())


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
    return Features(logits[:, :, None, None], seen[:, None, None], vector=logits)


def _batch(*targets):
    ids = tuple(f"chip {row}" for row in range(len(targets)))
    return Batch(ids, {}, None, targets=targets)


def test_levels_have_a_class_for_everything():
    assert TREE.leaves == (2, 12, 111, 112)
    assert TREE.levels == ((1, 2), (2, 11, 12), (2, 12, 111, 112))
    assert [TREE.path(code) for code in (2, 12, 112)] == [(2,), (1, 12), (1, 11, 112)]
    assert TASK.outputs == 4


@pytest.mark.parametrize(
    ("code", "indices"),
    [(2, [1, 0, 0]), (112, [0, 1, 3]), (11, [0, 1, IGNORED]), (1, [0, IGNORED, IGNORED])],
)
def test_a_class_is_known_as_far_down_as_it_goes(code, indices):
    assert [TREE.index_in(level, code) for level in TREE.levels] == indices


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 10**6))
def test_parents_are_as_probable_as_their_parts(seed):
    logits = 3 * torch.randn(5, 4, generator=torch.Generator().manual_seed(seed))
    answer = TASK.answer(Same(), _features(logits))
    shares = dict(zip(TREE.codes, answer.T, strict=True))
    torch.testing.assert_close(shares[11], shares[111] + shares[112])
    torch.testing.assert_close(shares[1], shares[11] + shares[12])
    torch.testing.assert_close(shares[1] + shares[2], torch.ones(5))
    leaves = torch.stack([shares[code] for code in TREE.leaves], dim=1)
    torch.testing.assert_close(leaves, logits.softmax(dim=1))


def test_the_loss_is_the_mean_of_the_levels():
    logits = torch.randn(1, 4, generator=torch.Generator().manual_seed(0))
    water, forest, low, high = logits.softmax(dim=1)[0]
    cases = {
        _shown(111): -(torch.log(forest + low + high) + torch.log(low + high) + low.log()) / 3,
        _shown(2): -water.log(),
        _shown(1, 12): -(torch.log(forest + low + high) + 2 * forest.log()) / 3,
        # No more is known than that it is a town.
        _shown(11): -(torch.log(forest + low + high) + torch.log(low + high)) / 2,
    }
    for target, expected in cases.items():
        found = TASK.loss(Same(), _features(logits), _batch(target))
        torch.testing.assert_close(found, expected)


def test_a_tree_of_one_level_is_plain_classes():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(1))
    flat = SceneTree(ClassTree((1, 2, 3), ("a", "b", "c"), (0, 0, 0)), weighting=Unweighted())
    found = flat.loss(Same(), _features(logits), _batch(*map(_shown, (1, 3, 2, 2))))
    torch.testing.assert_close(found, F.cross_entropy(logits, torch.tensor([0, 2, 1, 1])))


def test_without_labels_or_pixels_the_loss_is_0_with_a_gradient():
    logits = torch.randn(1, 4, requires_grad=True)
    for targets, seen in ((), [True]), ((_shown(2),), [False]):
        loss = TASK.loss(Same(), _features(logits, seen), Batch(("x",), {}, None, targets=targets))
        loss.backward()
        assert loss == 0
        assert (logits.grad == 0).all()


def test_every_level_is_scored():
    # Leaves in order: water, forest, low, high.
    logits = torch.tensor([[0, 0, 0, 9], [9, 0, 0, 0], [0, 9, 0, 0], [0, 0, 9, 0], [0, 0, 9, 0]])
    targets = [_shown(111), _shown(2), _shown(1), None, _shown(2)]
    answer = TASK.answer(Same(), _features(logits.float(), [True] * 4 + [False]))
    assert answer.isnan().all(dim=1).tolist() == [False] * 4 + [True]
    score = TASK.score()
    score.update(answer, _batch(*targets))
    found = score.compute()
    assert found["accuracy_level_1"] == 1
    assert found["accuracy_level_2"] == 1
    assert found["accuracy_level_3"] == found["accuracy"] == 0.5
    assert found["f1_water_level_3"] == 1
    assert found["seen_level_1"] == 0.75
    assert found["seen_level_2"] == pytest.approx(2 / 3)
    assert found[TASK.main] == pytest.approx(1 / 3)


def test_counts_are_of_classes_and_their_parts():
    samples = chips_with(*[_shown(111), _shown(11, 112), _shown(2), None, _shown(1)])
    fitted = replace(TASK, weighting=Inverse()).fitted(samples)
    assert fitted.counts == (3, 1, 2, 0, 1, 1)
    logits = torch.randn(2, 4, generator=torch.Generator().manual_seed(2))
    water, forest, low, high = logits.softmax(dim=1).T
    # Of level 1 three chips are land and one water, so that water weighs three times as much.
    first = -torch.log(torch.stack([(forest + low + high)[0], water[1]])) @ torch.tensor([1.0, 3.0])
    second = -torch.log(torch.stack([(low + high)[0], water[1]])) @ torch.tensor([1.0, 2.0])
    third = -torch.log(torch.stack([low[0], water[1]])) @ torch.tensor([1.0, 1.0])
    found = fitted.loss(Same(), _features(logits), _batch(_shown(111), _shown(2)))
    torch.testing.assert_close(found, (first / 4 + second / 3 + third / 2) / 3)


@pytest.mark.parametrize("targets", [[_shown(111)], [_shown(1), _shown(1, 11)], [None]])
def test_one_branch_is_nothing_to_learn_from(targets):
    with pytest.raises(LabelError, match="labels of two classes or more"):
        TASK.fitted(chips_with(*targets))


def test_siblings_are_learnt_without_any_other_branch():
    assert TASK.fitted(chips_with(*[_shown(111), _shown(112)])).counts == (2, 0, 2, 0, 1, 1)


def test_a_head_learns_a_few_chips_by_heart():
    torch.manual_seed(0)
    features = _features(torch.randn(8, 16))
    batch = _batch(*map(_shown, (2, 12, 111, 112, 2, 12, 111, 112)))
    head = ConvHead(16, TASK.outputs)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(100):
        optimiser.zero_grad()
        TASK.loss(head, features, batch).backward()
        optimiser.step()
    score = TASK.score()
    score.update(TASK.answer(head, features).detach(), batch)
    assert score.compute()[TASK.main] == 1


@pytest.mark.parametrize("task", [TASK, replace(TASK, criterion=Focal(), counts=(1,) * 6)])
def test_made_again_from_its_config(task):
    assert SceneTree.from_config(json.loads(json.dumps(task.config()))) == task


@pytest.mark.parametrize(
    ("parents", "words"),
    [
        ((0, 0, 1, 1, 11), "5 parents do not fit 6 classes"),
        ((0, 0, 1, 1, 11, 5), "class high has the parent 5; valid are 0 for none, or one of 1, 2"),
        ((11, 0, 1, 1, 11, 11), "class land is among its own parents"),
    ],
)
def test_trees_that_are_none(parents, words):
    with pytest.raises(ContractError, match=words):
        replace(TREE, parents=parents)


def test_classes_on_two_branches_are_refused():
    with pytest.raises(ContractError, match=r"chip chip 0 has the classes .*do not lie on one way"):
        TASK.loss(Same(), _features(torch.zeros(1, 4)), _batch(_shown(2, 12)))
