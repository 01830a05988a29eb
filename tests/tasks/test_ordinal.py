"""Classes that stand in an order: probabilities, losses, and scores that know of it."""

import json
from dataclasses import replace
from itertools import pairwise

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
from earthloom.sample.target import SceneClasses
from earthloom.tasks.class_weights import Inverse, InverseRoot
from earthloom.tasks.heads import ConvHead, DenseHead
from earthloom.tasks.losses import Labelled
from earthloom.tasks.ordinal import PixelOrdinal, SceneOrdinal, decide_by_median, median_class
from earthloom.tasks.ordinal_links import LINKS, Conditional, Cumulative, link_from

CODES, NAMES = (5, 3, 9, 1), ("none", "low", "middle", "high")
PIXELS = PixelOrdinal(CODES, NAMES, ((0, 0, 0),) * 4)
SCENES = SceneOrdinal(CODES, NAMES)
seeds = st.integers(0, 10**6)
every_link = pytest.mark.parametrize("link", [Cumulative(), Conditional()], ids=lambda it: it.name)


class Same(DenseHead):
    """Features are logits already."""

    name = "same"

    def config(self):
        return {}

    def forward(self, features):
        return features


def _drawn(seed, rows, classes=4, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    raw = scale * torch.randn(rows, classes - 1, generator=generator, dtype=torch.float64)
    truth = torch.randint(0, classes, (rows,), generator=generator)
    return Labelled(raw, truth, 0.1 + torch.rand(classes, generator=generator).double())


@every_link
@settings(deadline=None, max_examples=40)
@given(seeds, st.integers(2, 7), st.sampled_from([0.1, 3.0, 100.0]))
def test_probabilities_sum_to_one(link, seed, classes, scale):
    drawn = _drawn(seed, 6, classes, scale)
    shares = link.probabilities(drawn.logits.float())
    assert shares.shape == (6, classes)
    assert (shares >= 0).all()
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(6))
    image = link.probabilities(drawn.logits.float().T[None, :, :, None])
    torch.testing.assert_close(image[0, :, :, 0].T, shares)


@every_link
def test_by_hand(link):
    """Of three classes: above the first by 0.8; above the second by 0.5 of that."""
    first = torch.tensor(0.8).logit()
    # The cumulative one steps down from the first logit to that of 0.4.
    step = (first - torch.tensor(0.4).logit()).expm1().log()
    second = {"cumulative": step, "conditional": torch.tensor(0.0)}[link.name]
    shares = link.probabilities(torch.stack([first, second])[None])
    torch.testing.assert_close(shares, torch.tensor([[0.2, 0.4, 0.4]]))


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(1, 10))
def test_the_cumulative_loss_is_the_binary_entropy_of_being_above_each_class(seed, rows):
    drawn, link = _drawn(seed, rows), Cumulative()
    above = 1 - link.probabilities(drawn.logits).cumsum(dim=1)[:, :-1]
    levels = torch.stack([drawn.truth > rank for rank in range(3)], dim=1).double()
    each = F.binary_cross_entropy(above, levels, reduction="none").sum(dim=1)
    weights = drawn.class_weights[drawn.truth]
    expected = (each * weights).sum() / weights.sum()
    torch.testing.assert_close(link.loss(drawn), expected, rtol=1e-5, atol=1e-8)


@settings(deadline=None, max_examples=30)
@given(seeds, st.integers(1, 10))
def test_the_conditional_loss_learns_from_what_reached_a_rank(seed, rows):
    """Shi, Cao and Raschka (2021): binary entropies over those above the class before."""
    drawn = _drawn(seed, rows)
    alike = replace(drawn, class_weights=torch.ones(4).double())
    total = 0.0
    for rank in range(3):
        at = drawn.truth >= rank
        above = (drawn.truth[at] > rank).double()
        total += F.binary_cross_entropy_with_logits(drawn.logits[at, rank], above, reduction="sum")
    torch.testing.assert_close(Conditional().loss(alike), total / rows)


@every_link
@settings(deadline=None, max_examples=10)
@given(seeds)
def test_the_gradient_is_that_of_small_steps(link, seed):
    drawn = _drawn(seed, 5)

    def loss(raw):
        return link.loss(replace(drawn, logits=raw))

    assert torch.autograd.gradcheck(loss, drawn.logits.requires_grad_())


@every_link
@pytest.mark.parametrize("logit", [0.0, 100.0, -100.0, 1e4, -1e4])
def test_sure_answers_have_finite_losses_and_gradients(link, logit):
    raw = torch.full((4, 3), logit, requires_grad=True)
    loss = link.loss(Labelled(raw, torch.arange(4), torch.ones(4)))
    loss.backward()
    assert loss.isfinite()
    assert raw.grad.isfinite().all()
    assert link.probabilities(raw).isfinite().all()


def test_the_more_classes_lie_between_the_more_an_error_costs():
    """In the cumulative loss, of answers that are sure of one class."""
    costs = []
    for told in range(4):
        logits = torch.tensor([4.0 - 0.01 * rank if rank < told else -4.0 for rank in range(3)])
        logits -= 0.01 * torch.arange(3)
        raw = torch.cat([logits[:1], (-logits.diff()).expm1().log()])[None]
        torch.testing.assert_close(Cumulative().logits(raw)[0], logits)
        costs.append(Cumulative().loss(Labelled(raw, torch.tensor([0]), torch.ones(4))).item())
    assert all(more > 1.4 * less for less, more in pairwise(costs))


def test_pixels_are_counted_told_and_scored_by_rank():
    label = torch.tensor([[5, 3, 9, 1, IGNORE, 0]])[:, :, None]
    above = torch.tensor([[-9, 9, 9, 9, 0, 0], [0, -9, 9, 9, 0, 0], [0, 0, 9, 9, 0, 0]])
    features = Features(above[None, :, :, None].float(), torch.ones(1, 6, 1, dtype=torch.bool))
    task = replace(PIXELS, link=Conditional())
    batch = Batch(("a",), {}, label)
    answer = task.answer(Same(), features)
    assert answer.shape == (1, 4, 6, 1)
    score = task.score()
    score.update(answer, batch)
    found = score.compute()
    # The third pixel alone is wrong, by one class.
    assert found["accuracy"] == 0.75
    assert found["mae"] == 0.25
    # Ranks 0, 1, 2, 3 are told as 0, 1, 3, 3: of 1 / 4 squared steps, where chance gives 3.
    assert found["quadratic_kappa"] == pytest.approx(1 - 0.25 / 3)
    assert task.loss(Same(), features, batch) > 1


def test_labels_and_counts_are_as_for_plain_classes():
    label = np.array([[5, 5, 3, 0, 255, 77]], np.uint8)
    fitted = replace(PIXELS, weighting=Inverse()).fitted(
        Listed([Chip("a", Shape2d(1, 6), {}, label)])
    )
    assert fitted.counts == (2, 1, 0, 0)
    raw = torch.randn(1, 3, 1, 6)
    seen = torch.tensor([[[True, False, True, True, True, True]]])
    batch = Batch(("a",), {}, torch.from_numpy(label[None].astype(np.int64)))
    found = fitted.loss(Same(), Features(raw, seen), batch)
    rows = raw[0, :, 0, [0, 2]].T
    expected = Cumulative().loss(
        Labelled(rows, torch.tensor([0, 1]), torch.tensor([1.0, 2.0, 0.0, 0.0]))
    )
    torch.testing.assert_close(found, expected)
    answer = fitted.answer(Same(), Features(raw, seen))
    assert answer[0, 0, 0].isnan().tolist() == [False, True, False, False, False, False]


def test_without_labels_the_loss_is_0_with_a_gradient():
    raw = torch.randn(1, 3, 2, 2, requires_grad=True)
    features = Features(raw, torch.ones(1, 2, 2, dtype=torch.bool))
    for task in (PIXELS, SCENES):
        loss = task.loss(Same(), features, Batch(("a",), {}, None))
        loss.backward()
        assert loss == 0
        assert (raw.grad == 0).all()


@every_link
def test_a_head_learns_a_few_chips_by_heart(link):
    torch.manual_seed(0)
    pixels = torch.randn(8, 16, 1, 1)
    features = Features(pixels, torch.ones(8, 1, 1, dtype=torch.bool))
    targets = tuple(SceneClasses((CODES[row % 4],)) for row in range(8))
    task = replace(SCENES, link=link)
    assert task.outputs == 3
    batch, head = Batch(("x",) * 8, {}, None, targets=targets), ConvHead(16, task.outputs)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.1)
    for _ in range(150):
        optimiser.zero_grad()
        task.loss(head, features, batch).backward()
        optimiser.step()
    score = task.score()
    score.update(task.answer(head, features).detach(), batch)
    found = score.compute()
    assert found[task.main] == found["macro_f1"] == 1
    assert found["mae"] == 0


def test_chips_of_one_class_are_nothing_to_learn_from():
    chip = Chip("a", Shape2d(1, 1), {}, target=SceneClasses((3,)))
    with pytest.raises(LabelError, match="labels of: low; the project's classes are: none, low"):
        SCENES.fitted(Listed([chip]))
    other = replace(chip, target=SceneClasses((1,)))
    assert SCENES.fitted(Listed([chip, other, chip])).counts == (0, 2, 0, 1)


def test_the_median_is_told_and_not_the_most_probable():
    shares = np.array([[0.4, 0.0, 0.25, 0.35]])
    assert median_class(shares).tolist() == [2]
    image = np.stack([shares[0], np.full(4, np.nan)], axis=1)[:, None].astype(np.float32)
    assert decide_by_median(image, CODES).tolist() == [[9, UNLABELLED]]


@pytest.mark.parametrize("task", [PIXELS, SCENES], ids=lambda task: task.name)
def test_made_again_from_its_config(task):
    changed = replace(task, link=Conditional(), weighting=InverseRoot(), counts=(1, 2, 3, 4))
    for each in (task, changed):
        assert type(task).from_config(json.loads(json.dumps(each.config()))) == each


def test_links_are_known_by_their_names():
    assert {name: link.name for name, link in LINKS.items()} == {name: name for name in LINKS}
    with pytest.raises(ContractError, match="unknown ordinal link 'x'; known: cumulative, cond"):
        link_from({"name": "x"})
