"""Which head is made for which task."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from earthloom.encoders.compose import build
from earthloom.errors import ContractError
from earthloom.fit.statistics import statistics_of
from earthloom.fit.training import Changes, Training
from earthloom.fit.training.adapt import Full, HeadOnly
from earthloom.fit.training.heads import Convolution, Detector, FirstThatServes, ForEach, Masks
from earthloom.sample.batch import collate
from earthloom.sample.target import Boxes, Counts
from earthloom.tasks.boxes import UprightBoxes
from earthloom.tasks.counts import CountTask
from earthloom.tasks.several import SeveralTasks

RESNET = {"name": "timm", "architecture": "test_resnet"}
FEW = Training(steps=3, batch=4, changes=Changes(flips=False, turns=False), workers=0)
THINGS = UprightBoxes((1,), ("car",))
COUNTS = CountTask((1,), ("car",))


@pytest.fixture
def boxed(samples):
    """The same chips with a box each."""
    box = Boxes.upright(np.float32([[1, 1, 6, 5]]), np.uint8([1]))
    return replace(samples, chips=[replace(chip, target=box) for chip in samples.chips])


def _encoder(samples):
    torch.manual_seed(0)
    return build(RESNET, tuple(samples.specs.values()), statistics_of(samples))


def test_each_choice_serves_what_it_says(task):
    several = SeveralTasks((("cover", task), ("cars", THINGS)))
    served = {
        Convolution(): [task, COUNTS],
        Masks(): [task],
        Detector(): [THINGS],
        ForEach(Convolution()): [],
        ForEach(FirstThatServes()): [several],
        FirstThatServes(): [task, COUNTS, THINGS, several],
        FirstThatServes((Convolution(),)): [task, COUNTS],
    }
    for choice, wanted in served.items():
        assert [t for t in (task, COUNTS, THINGS, several) if choice.serves(t)] == wanted
    pyramids = [FirstThatServes().needs_pyramid(t) for t in (task, COUNTS, THINGS, several)]
    assert pyramids == [False, False, True, True]


def test_the_first_choice_that_serves_makes_the_head(task, boxed):
    choice = FirstThatServes((Masks(queries=1, width=16), Convolution(), Detector(16)))
    several = SeveralTasks((("cover", task), ("cars", THINGS), ("count", COUNTS))).fitted(boxed)
    made = choice.make(_encoder(boxed), several)
    names = {key: made[key].name for key in ("cover", "cars", "count")}
    assert names == {"cover": "masks", "cars": "detector", "count": "conv"}
    # As many queries as classes, where fewer were asked for.
    assert made["cover"].config()["queries"] == 2
    with pytest.raises(ContractError, match="task 'boxes' by any of: Convolution, ForEach"):
        FirstThatServes((Convolution(),)).make(_encoder(boxed), THINGS)


def test_kept_features_have_what_the_heads_of_several_tasks_need(task, boxed):
    """The pyramid for the detector; and the size of chips that are no multiple of the stride."""
    encoder = _encoder(boxed)
    assert encoder.stride > boxed[0].shape.rows
    several = SeveralTasks((("cover", task), ("cars", THINGS)))
    way = HeadOnly(FEW, heads=FirstThatServes((Convolution(), Detector(16))))
    model = way.fit(encoder, boxed, several, 0, boxed)
    answer = model.answer(collate(boxed.chips))
    assert answer["cover"].shape == (8, 2, 8, 8)
    assert len(answer["cars"]) == 8


def test_counts_are_trained_too(samples):
    counted = [
        replace(chip, label=None, target=Counts(np.uint8([1]), np.float32([number % 3])))
        for number, chip in enumerate(samples.chips)
    ]
    model = Full(FEW).fit(_encoder(samples), replace(samples, chips=counted), COUNTS, 0)
    assert model.answer(collate(counted)).shape == (8, 1, 8, 8)
