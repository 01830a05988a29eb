"""Few labels: validation parts that say little or nothing, and classes that are not there."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from earthloom.fit.training import train
from earthloom.fit.training.adapt import Full
from earthloom.sample.target import PixelValues, SceneValue
from earthloom.tasks import PixelClasses
from earthloom.tasks.base import Score
from earthloom.tasks.heads import ConvHead
from earthloom.tasks.pixel_values import PixelValueTask
from earthloom.tasks.scene_value import SceneValueTask


def _blank(chip):
    return replace(chip, id=f"{chip.id}-blank", label=np.zeros_like(chip.label))


@pytest.mark.parametrize("watch", ["main", "loss"])
def test_a_validation_part_without_labels_changes_nothing_and_is_named(
    pair, task, samples, others, short, tmp_path, watch
):
    """It neither ends the training nor chooses the weights of its first look."""
    blank = type(samples)([_blank(chip) for chip in others.chips[:3]])
    plain = replace(short, validate_every=2, patience=1, watch=watch)
    training = replace(plain, folder=tmp_path)
    found, again = (train(*pair(), task, samples, training, blank) for _ in range(2))
    expected = train(*pair(), task, samples, plain)
    assert found.history == expected.history
    assert torch.equal(found.head.layer.weight, expected.head.layer.weight)
    assert found.best_step == found.steps == short.steps
    assert not any(each.best for each in found.validations)
    assert found.stopped == "all steps done; no look at the validation chips gave a number"
    assert again.stopped == found.stopped


class _Always(Score):
    def __init__(self, value):
        self._value = value

    def update(self, answer, batch):
        pass

    def compute(self):
        return {"macro_f1": self._value}


@pytest.mark.parametrize("value", [1.0, 0.0, math.nan])
def test_between_equal_metrics_the_loss_decides(pair, task, samples, others, short, value):
    """A perfect first look, of two chips say, must not stop what still gets better."""

    class Told:
        name, main = task.name, task.main
        config, loss, answer = task.config, task.loss, task.answer

        def score(self):
            return _Always(value)

    training = replace(short, steps=12, batch=8, validate_every=2, patience=2)
    trained = train(*pair(dropout=0.0), Told(), samples, training, others)
    losses = [each.metrics["loss"] for each in trained.validations]
    assert len(losses) > 3
    assert trained.best_step == 2 * (1 + int(np.argmin(losses)))


def test_chips_without_labels_do_not_make_the_loss_smaller(pair, task, samples, others, short):
    training = replace(short, validate_every=6, batch=2)
    labelled, blanks = others.chips[:2], [_blank(chip) for chip in others.chips[:2]]
    one, other = (
        train(*pair(), task, samples, training, type(others)(chips)).validations[-1].metrics
        for chips in (labelled, [*labelled, *blanks])
    )
    assert one == other
    assert one["loss"] > 0


def _valued(chip, target):
    return replace(chip, label=None, target=target)


@pytest.mark.parametrize(
    ("task", "make"),
    [
        (SceneValueTask("t/ha"), lambda value: SceneValue(value, "t/ha")),
        (
            PixelValueTask("t/ha"),
            lambda value: PixelValues(np.full((8, 8), value, np.float32), "t/ha"),
        ),
    ],
)
def test_r2_that_is_no_number_leaves_the_choice_to_the_loss(
    pair, samples, others, short, task, make
):
    """R2 of one number, or of equal ones, is none; a chip whose number is not known is no chip."""
    numbered = [_valued(c, make(float(n % 3))) for n, c in enumerate(samples.chips)]
    judged = [_valued(others.chips[0], make(1.0)), _valued(others.chips[1], make(math.nan))]
    fitted = task.fitted(type(samples)(numbered))
    encoder, _ = pair()
    head = ConvHead(encoder.channels, fitted.outputs)
    training = replace(short, validate_every=2, batch=1, patience=3)
    held = type(samples)(judged)
    trained = train(encoder, head, fitted, type(samples)(numbered), training, held)
    assert all(math.isnan(each.metrics["r2"]) for each in trained.validations)
    losses = [each.metrics["loss"] for each in trained.validations]
    assert len(losses) == 3
    assert np.isfinite(losses).all()
    assert min(losses) > 0
    assert trained.best_step == 2 * (1 + int(np.argmin(losses)))


@pytest.mark.parametrize("absent", ["training", "validation"])
def test_a_class_that_is_in_one_part_alone(samples, others, pair, short, absent):
    """It is scored where it is true, trained where it is labelled, and nothing breaks."""
    third = [
        replace(chip, label=np.where(chip.label == 2, 3, chip.label).astype(np.uint8))
        for chip in others.chips
    ]
    parts = samples, type(samples)([*third[:2], *others.chips[2:]])
    if absent == "validation":
        parts = type(samples)([*third, *samples.chips[:4]]), others
    task = PixelClasses((1, 2, 3), ("a", "b", "c"), ((0, 0, 0),) * 3)
    training = replace(short, steps=60, batch=8, validate_every=30)
    model = Full(training).fit(pair(dropout=0.0)[0], parts[0], task, 0, parts[1])
    assert model.record["stopped"] == "all steps done"
    weights = model.members[0].head.layer.weight
    assert weights.isfinite().all()
