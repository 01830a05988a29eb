"""A student learns what its teacher says, with labels and without."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import kl_div

from earthloom.encoders import Features
from earthloom.encoders.unet import UNet
from earthloom.errors import ContractError
from earthloom.fit import load_model, save_model
from earthloom.fit.distil import Distil
from earthloom.fit.distil_lessons import OneOfClasses, lesson_for
from earthloom.fit.distil_teacher import numbers_of
from earthloom.fit.statistics import statistics_of
from earthloom.fit.training import Training
from earthloom.fit.training.adapt import Full
from earthloom.fit.training.settings import NO_CHANGES
from earthloom.sample import Layer, LayerSpec
from earthloom.sample.batch import collate
from earthloom.sample.samples import Listed
from earthloom.tasks import PixelClasses
from earthloom.tasks.boxes import UprightBoxes
from earthloom.tasks.class_tree import ClassTree
from earthloom.tasks.counts import CountTask
from earthloom.tasks.heads import ConvHead
from earthloom.tasks.ordinal import PixelOrdinal, SceneOrdinal
from earthloom.tasks.ordinal_links import Conditional
from earthloom.tasks.pixel_values import PixelValueTask
from earthloom.tasks.scene_classes import SceneClass, SceneLabels
from earthloom.tasks.scene_tree import SceneTree
from earthloom.tasks.scene_value import SceneValueTask
from earthloom.tasks.several import SeveralTasks
from earthloom.tasks.value_criteria import Gaussian
from earthloom.tasks.value_scale import Scale

STEPS = Training(steps=40, batch=8, learning_rate=2e-2, workers=0, changes=NO_CHANGES)


def _unet(samples, width):
    torch.manual_seed(width)
    return UNet(tuple(samples.specs.values()), statistics_of(samples), width=width, levels=1)


def _bare(samples):
    return Listed([replace(chip, label=None, target=None) for chip in samples.chips])


_KEPT = {}


@pytest.fixture
def taught(samples, task):
    """A teacher of pixels' classes, always the same one."""
    if "model" not in _KEPT:
        _KEPT["model"] = Full(STEPS).fit(_unet(samples, 16), samples, task, 0)
    return _KEPT["model"]


def test_without_any_label_the_student_reaches_the_teachers_answers(
    taught, samples, others, task, tmp_path
):
    way = Distil(STEPS, teacher=taught)
    model = way.fit(_unet(samples, 4), _bare(samples), task, 0, _bare(others))
    record = model.record
    assert record["agreement"] > 0.97
    batch = collate(others.chips)
    same = model.answer(batch).argmax(1) == taught.answer(batch).argmax(1)
    assert record["agreement"] == pytest.approx(float(same.float().mean()))
    assert record["times_smaller"] == numbers_of(taught) / numbers_of(model) > 8
    assert record["teacher"]["adaptation"] == "full"
    save_model(model, tmp_path)
    assert torch.equal(load_model(tmp_path).answer(batch), model.answer(batch))


def test_chips_with_and_without_labels_go_together(taught, samples, task):
    """Labels of the chips beside are not looked at: wrong ones change nothing."""
    few = Listed(samples.chips[:3])
    wrong = Listed([replace(c, label=3 - c.label) for c in samples.chips[3:]])
    short = replace(STEPS, steps=10)
    batch, models = collate(samples.chips), []
    for more in (wrong, Listed(samples.chips[3:]), _bare(Listed(samples.chips[3:]))):
        way = Distil(short, teacher=taught, more=more, own=0.5)
        models.append(way.fit(_unet(samples, 4), few, task, 0).answer(batch))
    assert torch.equal(models[0], models[1])
    assert torch.equal(models[0], models[2])
    plain = Distil(short, teacher=taught, more=wrong, own=0.0)
    assert not torch.equal(plain.fit(_unet(samples, 4), few, task, 0).answer(batch), models[0])


def test_stopped_and_resumed_is_the_same(taught, samples, task, tmp_path):
    short = replace(STEPS, steps=6, checkpoint_every=1)
    whole = Distil(short, teacher=taught).fit(_unet(samples, 4), samples, task, 2)
    looks = iter(range(100))

    class Stopping(Listed):
        def __getitem__(self, index):
            if next(looks) == 30:
                raise InterruptedError
            return super().__getitem__(index)

    way = Distil(replace(short, folder=tmp_path), teacher=taught)
    with pytest.raises(InterruptedError):
        way.fit(_unet(samples, 4), Stopping(samples.chips), task, 2)
    assert list(tmp_path.glob("checkpoint*"))
    again = way.fit(_unet(samples, 4), samples, task, 2)
    batch = collate(samples.chips)
    assert torch.equal(again.answer(batch), whole.answer(batch))


def test_a_student_of_fewer_sensors(samples, task):
    """The teacher alone sees the layer that tells the classes apart without noise."""
    clear = LayerSpec("radar", 10, ("vv",), "1", ("2023-05",), (None,))

    def chip(given):
        pixels = given.label[None, None].astype(np.float32)
        layer = Layer(clear, pixels, np.ones((1, 8, 8), bool), np.zeros(1, np.int32))
        return replace(given, layers={**given.layers, clear.key: layer})

    both = Listed([chip(each) for each in samples.chips])
    teacher = Full(STEPS).fit(_unet(both, 8), both, task, 0)
    student = _unet(samples, 4)
    changes = replace(NO_CHANGES, drop_bands=0.2)
    way = Distil(replace(STEPS, steps=25, crop=6, changes=changes), teacher=teacher)
    model = way.fit(student, _bare(both), task, 0, both)
    assert model.layers == student.layers
    assert model.record["agreement"] > 0.9
    assert model.answer(collate(samples.chips)).shape == (8, 2, 8, 8)
    with pytest.raises(ContractError, match="expects layer radar_10m"):
        way.fit(student, samples, task, 0)


def test_the_loss_is_hintons(task):
    torch.manual_seed(0)
    features = Features(torch.randn(8, 16, 8, 8), torch.ones(8, 8, 8, dtype=torch.bool))
    head = nn.Conv2d(16, 2, 1)
    said = torch.rand(8, 2, 8, 8).softmax(1)
    said[0, :, 0, 0] = torch.nan
    t = 3.0
    loss = OneOfClasses().loss(task, head, features, said, t)
    own = (head(features.pixels) / t).log_softmax(1).movedim(1, -1).flatten(0, 2)[1:]
    soft = (said.log() / t).softmax(1).movedim(1, -1).flatten(0, 2)[1:]
    expected = t**2 * kl_div(own, soft, reduction="batchmean")
    torch.testing.assert_close(loss, expected)
    loss.backward()
    assert head.weight.grad.isfinite().all()
    assert OneOfClasses().loss(task, head, features, said * torch.nan, t).item() == 0.0


CODES, NAMES, COLOURS = (1, 2, 3), ("low", "middle", "high"), ((0, 0, 0),) * 3
TASKS = [
    PixelOrdinal(CODES, NAMES, COLOURS),
    SceneClass(CODES, NAMES),
    SceneOrdinal(CODES, NAMES, link=Conditional()),
    SceneLabels(CODES, NAMES),
    SceneTree(ClassTree((1, 2, 3, 4), ("wood", "oak", "ash", "lake"), (0, 1, 1, 0))),
    SceneValueTask("t"),
    PixelValueTask("m", criterion=Gaussian(), scale=Scale("log1p", 1.0, 0.3)),
    CountTask((1, 2), ("tree", "car"), rates=(0.02, 0.1)),
]
TASKS.append(SeveralTasks((("a", TASKS[0]), ("b", TASKS[3]))))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_a_head_learns_another_heads_answers(task):
    """On the same features, where there is a head that says just the same."""
    torch.manual_seed(0)
    seen = torch.ones(12, 5, 5, dtype=torch.bool)
    seen[0, 0, 0], seen[1] = False, False
    pixels = torch.randn(12, 6, 5, 5) + 2 * torch.randn(12, 6, 1, 1)
    features = Features(pixels, seen)

    def head(each):
        return ConvHead(6, each.outputs)

    several = isinstance(task, SeveralTasks)
    theirs, own = (task.heads(head) if several else head(task) for _ in range(2))
    nn.init.normal_(next(theirs.parameters()), std=0.3)
    with torch.no_grad():
        said = task.answer(theirs, features)
    lesson = lesson_for(task)
    optimiser = torch.optim.Adam(own.parameters(), 0.05)
    agreements = []
    for step in range(201):
        if step % 200 == 0:
            tally = lesson.tally()
            tally.add(task.answer(own, features), said)
            agreements.append(tally.agreement)
        optimiser.zero_grad()
        loss = lesson.loss(task, own, features, said, 2.0)
        loss.backward()
        optimiser.step()
    assert agreements[1] > max(0.95, agreements[0])


def test_counts_are_taught_as_densities():
    task = CountTask((1,), ("tree",), rates=(0.02,))
    lesson, said = lesson_for(task), torch.full((2, 1, 4, 4), 0.02)
    tally = lesson.tally()
    tally.add(said * torch.tensor([1.0, 2.0])[:, None, None, None],
              said * torch.tensor([1.0, 3.0])[:, None, None, None])  # fmt: skip
    # Errors 0 and 0.32 of numbers 0.32 and 0.96.
    assert tally.agreement == pytest.approx(1 - 0.32**2 / (2 * 0.32**2))


def test_what_cannot_be_taught_is_refused(taught, samples, task):
    way = Distil(STEPS, teacher=taught)
    boxes = UprightBoxes((1, 2), ("left", "right"))
    assert not way.serves(boxes)
    with pytest.raises(ContractError, match="does not serve the task 'boxes'"):
        way.fit(_unet(samples, 4), samples, boxes, 0)
    other = PixelClasses((1, 3), ("left", "right"), ((0, 0, 0), (1, 1, 1)))
    assert not way.serves(other)
    with pytest.raises(ContractError, match=r"another question: codes \[1, 2\] and not \[1, 3\]"):
        way.fit(_unet(samples, 4), samples, other, 0)
    with pytest.raises(ContractError, match="own is 1"):
        Distil(teacher=taught, own=1)
    with pytest.raises(ContractError, match="temperature is 0"):
        Distil(teacher=taught, temperature=0)


def test_memory_bounds_a_training_without_labels(taught, samples, task):
    way = Distil(replace(STEPS, steps=2), teacher=taught, memory=10**6)
    model = way.fit(_unet(samples, 4), _bare(samples), task, 0)
    settings = model.record["settings"]
    assert settings["batch"] * settings["accumulation"] == 8
