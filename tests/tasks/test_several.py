"""Several tasks over one encoder."""

import json
import math

import numpy as np
import pytest
import torch

from earthloom.encoders import Features
from earthloom.errors import ContractError, LabelError
from earthloom.sample import Chip, Shape2d
from earthloom.sample.batch import Batch
from earthloom.sample.samples import Listed
from earthloom.sample.target import Counts, PixelValues, SceneValue
from earthloom.tasks.heads import ConvHead
from earthloom.tasks.pixel_classes import PixelClasses
from earthloom.tasks.pixel_values import PixelValueTask
from earthloom.tasks.registry import HEADS, TASKS
from earthloom.tasks.scene_value import SceneValueTask
from earthloom.tasks.several import Heads, SeveralTasks
from earthloom.tasks.value_criteria import Gaussian, Squared

CLASSES = PixelClasses((1, 2), ("a", "b"), ((1, 2, 3), (4, 5, 6)))
PARTS = (
    ("cover", CLASSES),
    ("height", PixelValueTask("m", criterion=Squared())),
    ("values", SceneValueTask("t", criterion=Gaussian())),
)
HEIGHT = PixelValues(np.array([[1.0, 2.0], [np.nan, 4.0]], np.float32), "m")
LABEL = np.array([[1, 2], [0, 1]], np.uint8)


def chips_with(*targets):
    """Chips in memory that hold targets and one label."""
    return Listed(
        [
            Chip(str(at), Shape2d(2, 2), {}, label=LABEL, target=target)
            for at, target in enumerate(targets)
        ]
    )


SAMPLES = chips_with(HEIGHT, SceneValue(5.0, "t"), SceneValue(9.0, "t"))
BATCH = Batch(
    ("0", "1", "2"),
    {},
    torch.from_numpy(np.stack([LABEL] * 3).astype(np.int64)),
    targets=tuple(chip.target for chip in SAMPLES.chips),
)
UNKNOWN = Batch(("0",), {}, None, targets=(Counts(*np.zeros((2, 0))),))


def _heads(task, channels=12):
    torch.manual_seed(0)
    return task.heads(lambda each: ConvHead(channels, each.outputs))


def _features(chips=3, channels=12):
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randn(chips, channels, 2, 2, generator=generator)
    return Features(pixels, torch.ones(chips, 2, 2, dtype=torch.bool))


@pytest.mark.parametrize("weights", [(1.0, 1.0, 1.0), None])
def test_all_tasks_are_learnt_by_heart(weights):
    task = SeveralTasks(PARTS, weights).fitted(SAMPLES)
    heads, features = _heads(task), _features()
    optimiser = torch.optim.Adam(heads.parameters(), 0.05)
    for _ in range(200):
        optimiser.zero_grad()
        task.loss(heads, features, BATCH).backward()
        optimiser.step()
    score = task.score()
    with torch.no_grad():
        score.update(task.answer(heads, features), BATCH)
    found = score.compute()
    assert found["height_r2"] > 0.95
    assert found["values_r2"] > 0.95
    assert found["mean"] > 0.95
    assert found["mean"] == pytest.approx(
        (found["cover_macro_f1"] + found["height_r2"] + found["values_r2"]) / 3
    )


def test_fixed_weights_weigh_the_losses_of_the_parts():
    task = SeveralTasks(PARTS, (1.0, 0.0, 3.0)).fitted(SAMPLES)
    heads, features = _heads(task), _features()
    alone = {key: float(each.loss(heads[key], features, BATCH)) for key, each in task.tasks}
    found = float(task.loss(heads, features, BATCH))
    assert found == pytest.approx(alone["cover"] + 3 * alone["values"], rel=1e-5)


def test_learnt_weights_are_those_of_kendall_and_find_the_loss():
    """Of a loss L that stays, the best log variance is log L."""
    task = SeveralTasks(PARTS[1:2]).fitted(SAMPLES)
    heads, features = _heads(task), _features()
    for parameter in heads.parts.parameters():
        parameter.requires_grad_(False)
    wanted = float(PARTS[1][1].fitted(SAMPLES).loss(heads["height"], features, BATCH))
    (spread,) = heads.log_variances.parameters()
    optimiser = torch.optim.Adam([spread], 0.05)
    for _ in range(300):
        optimiser.zero_grad()
        loss = task.loss(heads, features, BATCH)
        loss.backward()
        optimiser.step()
    found = float(heads.log_variance("height"))
    assert found == pytest.approx(math.log(wanted), abs=0.02)
    assert float(loss) == pytest.approx(0.5 * (1 + math.log(wanted)), abs=1e-3)


def test_a_task_without_labels_in_a_batch_keeps_its_weight():
    task = SeveralTasks(PARTS).fitted(SAMPLES)
    heads = _heads(task)
    loss = task.loss(heads, _features(1), UNKNOWN)
    loss.backward()
    assert loss.item() == 0
    assert all(not each.grad.any() for each in heads.parameters() if each.grad is not None)


def test_likelihoods_below_nothing_do_not_run_away():
    heads = _heads(SeveralTasks(PARTS))
    for spread in heads.log_variances.parameters():
        spread.data.fill_(-1000)
    assert float(heads.log_variance("values")) == pytest.approx(-3)


def test_heads_and_tasks_are_made_again_from_json():
    task = SeveralTasks(PARTS, (1.0, 2.0, 3.0)).fitted(SAMPLES)
    again = TASKS["several"].from_config(json.loads(json.dumps(task.config())))
    assert again == task
    heads = _heads(task)
    config = json.loads(json.dumps(heads.config(), sort_keys=True))
    copy = HEADS["several"](**config)
    copy.load_state_dict(heads.state_dict())
    features = _features()
    for key, answer in task.answer(heads, features).items():
        torch.testing.assert_close(again.answer(copy, features)[key], answer, equal_nan=True)
    assert isinstance(copy, Heads)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SeveralTasks(()), "lower-case words"),
        (lambda: SeveralTasks((("A.b", CLASSES),)), "but are: A.b"),
        (lambda: SeveralTasks((PARTS[0], PARTS[0])), "each once"),
        (lambda: SeveralTasks(PARTS, (1.0,)), "3 tasks take as many weights"),
        (lambda: SeveralTasks(PARTS, (0.0, 0.0, 0.0)), "not all 0"),
        (
            lambda: SeveralTasks(PARTS).loss(ConvHead(2, 2), _features(), BATCH),
            "take a head of several heads, not 'conv'",
        ),
    ],
)
def test_what_does_not_go_together_is_refused(make, words):
    with pytest.raises(ContractError, match=words):
        make()


def test_a_task_that_finds_nothing_to_learn_from_is_named():
    with pytest.raises(LabelError, match=r"task 'values': .*no value that is known"):
        SeveralTasks(PARTS).fitted(chips_with(HEIGHT))
