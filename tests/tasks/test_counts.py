"""Counts by densities."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error, r2_score
from torch import nn

from earthloom.encoders import Features
from earthloom.errors import ContractError, LabelError
from earthloom.sample import Chip, Shape2d
from earthloom.sample.batch import Batch
from earthloom.sample.samples import Listed
from earthloom.sample.target import Boxes, Counts, Instances
from earthloom.tasks.counts import CountTask, numbers_in
from earthloom.tasks.density import centres_of, density_of
from earthloom.tasks.heads import ConvHead
from earthloom.tasks.planes import planes_of
from earthloom.tasks.registry import TASKS

TASK = CountTask((2, 5), ("tree", "ship"), sigma=1.5)


def _boxes(centres, codes, half=1.0):
    centres = np.asarray(centres, np.float32).reshape(-1, 2)
    bounds = np.concatenate([centres - half, centres + half], axis=1)
    return Boxes.upright(bounds, np.asarray(codes, np.uint8))


def _counts(**by_code):
    codes = sorted(int(name[1:]) for name in by_code)
    numbers = [by_code[f"c{code}"] for code in codes]
    return Counts(np.array(codes, np.uint8), np.array(numbers, np.float32))


def chips_with(*targets):
    """Chips in memory that hold targets alone."""
    return Listed(
        [Chip(str(at), Shape2d(10, 20), {}, target=target) for at, target in enumerate(targets)]
    )


def _batch(*targets):
    return Batch(tuple(map(str, range(len(targets)))), {}, None, targets=targets)


@settings(max_examples=60)
@given(
    st.integers(0, 9999),
    st.integers(0, 30),
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from([0.01, 0.3, 1.0, 4.0, 50.0]),
)
def test_the_sum_of_a_density_is_the_count_up_to_the_borders(seed, things, rows, cols, sigma):
    rng = np.random.default_rng(seed)
    centres = rng.random((things, 2)) * (cols, rows)
    # On the borders and corners too.
    centres[rng.random((things, 2)) < 0.1] = 0
    planes = rng.integers(0, 3, things)
    density = density_of(centres, planes, Shape2d(rows, cols), 3, sigma)
    assert density.shape == (3, rows, cols)
    assert (density >= 0).all()
    np.testing.assert_allclose(
        density.sum(axis=(1, 2)), np.bincount(planes, minlength=3), rtol=1e-5
    )


def test_a_kernel_in_the_middle_is_the_gaussian_of_scipy():
    from scipy.ndimage import gaussian_filter

    point = np.zeros((41, 41))
    point[20, 17] = 1
    centre = np.array([[17.5, 20.5]])
    found = density_of(centre, np.zeros(1, np.intp), Shape2d(41, 41), 1, 2.0)[0]
    np.testing.assert_allclose(found, gaussian_filter(point, 2.0, truncate=4), atol=2e-5)


def test_what_lies_outside_is_not_in_the_image():
    centres = np.array([[-0.1, 3], [3, 10.1], [np.nan, np.nan], [3.0, 3.0]])
    density = density_of(centres, np.zeros(4, np.intp), Shape2d(10, 10), 1, 1.0)
    assert density.sum() == pytest.approx(1)


def test_centres_of_boxes_outlines_and_numbers_agree():
    square = np.array([[2, 3], [6, 3], [6, 5], [2, 5]], np.float32)
    ids = np.zeros((8, 9), np.int32)
    ids[3:5, 2:6] = 1
    code = np.ones(1, np.uint8)
    offset = np.array([2, 0], np.float32)
    flat = np.array([[1, 1], [3, 1], [5, 1]], np.float32)
    for target in (
        Boxes(square[None], code),
        Instances(code, polygons=((square,),)),
        Instances(code, polygons=((square[::-1],),)),
        Instances(code, polygons=((np.insert(square, 1, [3, 3], axis=0),),)),
        Instances(code, polygons=((square - offset, square + offset),)),
        Instances(code, ids=ids),
    ):
        np.testing.assert_allclose(centres_of(target), [[4, 4]], atol=1e-6)
    np.testing.assert_allclose(centres_of(Instances(code, polygons=((flat,),))), [[3, 1]])
    hidden = Instances(np.ones(2, np.uint8), ids=ids)
    assert np.isnan(centres_of(hidden)[1]).all()


def test_things_of_other_classes_are_passed_over():
    target = _boxes([[3, 3], [8, 8], [5, 5]], [5, 9, 2])
    np.testing.assert_array_equal(TASK.numbers_of(target), [1, 1])
    np.testing.assert_array_equal(TASK.numbers_of(_counts(c5=7.5, c9=3)), [0, 7.5])
    assert TASK.numbers_of(None) is None
    density = TASK.density_of(target, Shape2d(10, 10))
    np.testing.assert_allclose(density.sum(axis=(1, 2)), [1, 1], rtol=1e-6)
    assert TASK.density_of(_counts(c5=1), Shape2d(10, 10)) is None


def test_rates_are_those_of_the_training_chips():
    task = TASK.fitted(chips_with(_boxes([[3, 3], [8, 8]], [2, 2]), None, _counts(c2=6)))
    assert task.rates == (8 / 400, 0.5 / 400)
    with pytest.raises(LabelError, match="no thing of: tree, ship"):
        TASK.fitted(chips_with(_counts(c2=0), None))


def _learnt(task, features, batch):
    torch.manual_seed(0)
    head = ConvHead(features.pixels.shape[1], task.outputs)
    optimiser = torch.optim.Adam(head.parameters(), 0.2)
    for _ in range(100):
        optimiser.zero_grad()
        task.loss(head, features, batch).backward()
        optimiser.step()
    return head


@pytest.mark.parametrize("told", ["places", "numbers"])
def test_chips_are_learnt_by_heart(told):
    """A feature says where things are; that they are counted is enough."""
    rng = np.random.default_rng(0)
    boxes = [_boxes(rng.random((n, 2)) * (20, 10), rng.choice([2, 5], n)) for n in (3, 9, 14, 1)]
    truth = np.stack([TASK.numbers_of(each) for each in boxes])
    targets = boxes
    if told == "numbers":
        targets = [Counts(np.array([2, 5], np.uint8), numbers) for numbers in truth]
    task = TASK.fitted(chips_with(*targets))
    density = np.stack([task.density_of(each, Shape2d(10, 20)) for each in boxes])
    wave = torch.from_numpy(density / np.array(task.rates, np.float32)[:, None, None])
    # What softplus makes of it is the density again.
    raw = torch.log(torch.expm1(wave.clamp(1e-3, 80)))
    features = Features(raw, torch.ones(4, 10, 20, dtype=torch.bool))
    head = _learnt(task, features, _batch(*targets))
    with torch.no_grad():
        answer = task.answer(head, features)
    assert (answer >= 0).all()
    np.testing.assert_allclose(numbers_in(answer).numpy(), truth, atol=0.6)
    score = task.score()
    score.update(answer, _batch(*boxes))
    found = score.compute()
    assert found["r2"] > 0.98
    assert found["answered"] == 1
    sums = numbers_in(answer.double()).numpy().ravel()
    assert found["r2"] == pytest.approx(r2_score(truth.ravel(), sums))
    assert found["mae"] == pytest.approx(mean_absolute_error(truth.ravel(), sums))


def test_the_loss_is_least_where_the_density_is_the_truth():
    task = TASK.fitted(chips_with(_boxes([[3, 3], [8, 8]], [2, 5])))
    density = torch.from_numpy(task.density_of(_boxes([[3, 3], [8, 8]], [2, 5]), Shape2d(10, 20)))
    raw = torch.log(torch.expm1((density / torch.tensor(task.rates)[:, None, None]).clamp(1e-6)))
    batch, seen = _batch(_boxes([[3, 3], [8, 8]], [2, 5])), torch.ones(1, 10, 20, dtype=torch.bool)
    losses = [
        float(task.loss(Same(), Features((raw + shift)[None], seen), batch))
        for shift in (-0.5, 0.0, 0.5)
    ]
    assert losses[1] == pytest.approx(0, abs=1e-4)
    assert min(losses[0], losses[2]) > 0.05


class Same(ConvHead):
    """Hands features on."""

    def __init__(self):
        nn.Module.__init__(self)

    def forward(self, features):
        return features


def test_nothing_known_or_seen_teaches_nothing():
    raw = torch.zeros(2, 2, 10, 20, requires_grad=True)
    seen = torch.zeros(2, 10, 20, dtype=torch.bool)
    task = CountTask((2, 5), ("tree", "ship"), rates=(0.1, 0.1))
    loss = task.loss(Same(), Features(raw, ~seen), _batch(None, None))
    loss.backward()
    assert loss.item() == 0
    assert not raw.grad.any()
    target = _boxes([[3, 3]], [2])
    task.loss(Same(), Features(raw, seen), _batch(target, None)).backward()
    assert not raw.grad.any()
    answer = task.answer(Same(), Features(raw.detach(), seen))
    assert answer.isnan().all()
    score = task.score()
    score.update(answer, _batch(target, None))
    assert score.compute()["answered"] == 0
    assert math.isnan(score.compute()["mae"])


def test_tasks_are_made_again_from_json_and_can_be_mapped():
    task = CountTask((2, 5), ("tree", "ship"), 3.0, (0.1, 0.2))
    assert TASKS["counts"].from_config(json.loads(json.dumps(task.config()))) == task
    assert planes_of(task) == ("tree", "ship")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((), ()), "must differ"),
        (((1, 1), ("a", "b")), "must differ"),
        (((1,), ("a", "b")), "do not fit 2 names"),
        (((1,), ("a",), 0.0), "above 0 pixels, not 0"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(arguments, words):
    with pytest.raises(ContractError, match=words):
        CountTask(*arguments)


def test_a_chip_of_weight_2_is_the_same_chip_twice():
    things = (_boxes([[3, 3], [8, 8]], [2, 5]), _counts(c2=6), _boxes([[5, 5]], [2]))
    task = TASK.fitted(chips_with(*things))
    raw = torch.randn(3, 2, 10, 20, generator=torch.Generator().manual_seed(0))

    def told(which, weight=None):
        batch = _batch(*(things[at] for at in which))
        batch = replace(batch, weight=weight)
        features = Features(raw[which], torch.ones(len(which), 10, 20, dtype=torch.bool))
        score = task.score()
        score.update(task.answer(Same(), features), batch)
        return float(task.loss(Same(), features, batch)), score.compute()

    weight = torch.tensor([2.0, 1.0, 0.0])[:, None, None].expand(3, 10, 20)
    (loss, found), (same, wanted) = told([0, 1, 2], weight), told([0, 0, 1])
    assert loss == pytest.approx(same, rel=1e-5)
    assert found == pytest.approx(wanted)


def test_places_of_weight_0_teach_no_place():
    task = TASK.fitted(chips_with(_boxes([[3, 3]], [2])))
    seen = torch.ones(1, 10, 20, dtype=torch.bool)
    weight = torch.ones(1, 10, 20)
    weight[:, :, 10:] = 0
    batch = replace(_batch(_boxes([[3, 3]], [2])), weight=weight)
    raw = torch.zeros(1, 2, 10, 20, requires_grad=True)
    task.loss(Same(), Features(raw, seen), batch).backward()
    # All that the right half still teaches is how many there are.
    right = raw.grad[0, 0, :, 10:]
    torch.testing.assert_close(right, right[:1, :1].expand(10, 10))
    assert raw.grad[0, 0, 3, 3] < raw.grad[0, 0, 3, 8]
