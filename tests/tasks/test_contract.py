"""Every pair of task and head that the docs offer: learns 8 chips by heart, and is the same when
read again."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from earthloom.encoders import Encoder
from earthloom.encoders.compose import build
from earthloom.encoders.decoders import DECODERS
from earthloom.fit.model import Model, load_model, save_model
from earthloom.fit.shallow import SHALLOW
from earthloom.fit.statistics import statistics_of
from earthloom.fit.training import Changes, Training
from earthloom.fit.training.adapt import BitFit, Full, HeadOnly, Partial
from earthloom.fit.training.heads import Convolution, Detector, FirstThatServes, Masks, Points
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.batch import collate
from earthloom.sample.samples import Listed
from earthloom.sample.target import (
    Boxes,
    Counts,
    Instances,
    PixelValues,
    SceneClasses,
    SceneValue,
    Target,
)
from earthloom.tasks.base import Task
from earthloom.tasks.boxes import OrientedBoxes, UprightBoxes
from earthloom.tasks.class_tree import ClassTree
from earthloom.tasks.counts import CountTask
from earthloom.tasks.instances import InstanceMasks
from earthloom.tasks.label_losses import LABEL_CRITERIA
from earthloom.tasks.losses import CRITERIA as CLASS_CRITERIA
from earthloom.tasks.losses import ENTROPY_AND_DICE
from earthloom.tasks.objects import mask_of_rings
from earthloom.tasks.ordinal import PixelOrdinal, SceneOrdinal
from earthloom.tasks.ordinal_links import LINKS
from earthloom.tasks.pixel_classes import PixelClasses
from earthloom.tasks.pixel_values import PixelValueTask
from earthloom.tasks.registry import HEADS, TASKS
from earthloom.tasks.scene_classes import SceneClass, SceneLabels
from earthloom.tasks.scene_tree import SceneTree
from earthloom.tasks.scene_value import SceneValueTask
from earthloom.tasks.several import SeveralTasks
from earthloom.tasks.value_criteria import CRITERIA as VALUE_CRITERIA
from earthloom.tasks.value_criteria import Squared

CHIPS = 8
THINGS = ([0, 1], [0, 1], [0, 1], [0, 1], [0, 1], [0], [1], [])
"""Which of its two things a chip shows: two with things of one class alone, one with none."""
SIZE = Shape2d(16, 16)
LARGE = Shape2d(32, 32)
SPEC = LayerSpec("optical", 10, ("a", "b", "c"), "1", ("2023-05",), (500.0, 600.0, 700.0))
GREY = ((0, 0, 0), (100, 100, 100), (200, 200, 200))
CODES, NAMES = (3, 1, 2), ("field", "wood", "lake")
"""Codes do not rise, so that codes and indices are told apart."""

STEPS = Training(
    steps=100,
    batch=CHIPS,
    learning_rate=1e-2,
    weight_decay=0.0,
    changes=Changes(flips=False, turns=False),
    workers=0,
)
LONG = replace(STEPS, steps=300)
SLOW = ("conditional", "quantiles")
"""Losses that take more steps to learn whole chips, of which a step sees but 8."""
SHORT = replace(STEPS, steps=70, learning_rate=3e-3)
"""For detectors, whose steps take longest."""


@dataclass(frozen=True)
class Problem:
    """A task with chips that it can be learnt from."""

    task: Task[Any]
    samples: Listed
    training: Training = STEPS
    least: float = 0.95
    """Of the main metric, whose best value is 1 for every task."""


def _chip(
    number: int,
    shown: np.ndarray,
    label: np.ndarray | None = None,
    target: Target | None = None,
) -> Chip:
    """A chip whose bands (3, H, W) are shown with a little noise."""
    size = Shape2d(*shown.shape[-2:])
    noise = np.random.default_rng(number).normal(0, 0.05, (1, *shown.shape))
    pixels = (shown + noise).astype(np.float32)
    layer = Layer(SPEC, pixels, np.ones((1, *size), bool), np.zeros(1, np.int32))
    return Chip(f"chip-{number}", size, {SPEC.key: layer}, label, f"{number}", target=target)


def _one_hot(index: np.ndarray) -> np.ndarray:
    """(3, H, W) of class indices (H, W)."""
    return (np.arange(3)[:, None, None] == index).astype(float)


@cache
def _covers() -> Listed:
    """Three classes in stripes that lie anywhere; every fifth pixel has no label."""
    chips = []
    for number in range(CHIPS):
        across = (np.arange(SIZE.cols) // 4 + number) % 3
        index = np.rot90(np.broadcast_to(across, SIZE), number % 4)
        label = np.array(CODES, np.uint8)[index]
        label[::5] = 0
        chips.append(_chip(number, _one_hot(index), label))
    return Listed(chips)


@cache
def _scenes(*targets: Target) -> Listed:
    """Whole chips, the targets in turns; each has a look of its own."""
    chips = []
    for number in range(CHIPS):
        kind = number % len(targets)
        shown = np.zeros((3, *SIZE))
        # Not all over, as a network that is normalised over an image would not see it.
        shown[:, :, 4:] = np.array([kind & 1, kind >> 1, 1])[:, None, None]
        chips.append(_chip(number, shown, target=targets[kind]))
    return Listed(chips)


@cache
def _heights() -> Listed:
    """A height of each pixel that its bands tell; known in every other row."""
    chips = []
    for number in range(CHIPS):
        rng = np.random.default_rng(100 + number)
        index = rng.integers(0, 3, (SIZE.rows // 4, SIZE.cols // 4)).repeat(4, 0).repeat(4, 1)
        values = np.array([2.0, 10.0, 30.0], np.float32)[index]
        values[::2] = np.nan
        chips.append(_chip(number, _one_hot(index), target=PixelValues(values, "m")))
    return Listed(chips)


@cache
def _things(kind: str) -> Listed:
    """Up to two things of two classes on an empty ground, one of them turned."""
    chips = []
    for number, kept in enumerate(THINGS):
        bounds = [(3 + number % 3, 4, 15, 14), (16, 17 + number % 4, 29, 26 + number % 4)]
        turned = (0, 25) if kind == "oriented-boxes" else (0, 0)
        codes = np.array([1, 3], np.uint8)
        quads = np.stack([_turned(box, by) for box, by in zip(bounds, turned, strict=True)])
        codes, quads = codes[kept], quads[kept]
        shown, ids = np.zeros((3, *LARGE)), np.zeros(LARGE, np.int32)
        for count, (quad, code) in enumerate(zip(quads, codes, strict=True), start=1):
            mask = mask_of_rings((quad,))
            rows, cols = mask.pixels.shape
            here = np.s_[mask.row : mask.row + rows, mask.col : mask.col + cols]
            shown[0 if code == 1 else 1][here][mask.pixels] = 1.0
            ids[here][mask.pixels] = count
        target = Instances(codes, ids=ids) if kind == "instances" else Boxes(quads, codes)
        chips.append(_chip(number, shown, target=target))
    return Listed(chips)


def _turned(bounds: tuple[int, ...], degrees: float) -> np.ndarray:
    """(4, 2) corners of an upright box that is turned about its middle."""
    left, top, right, bottom = bounds
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)
    middle, angle = corners.mean(0), np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return ((corners - middle) @ turn + middle).astype(np.float32)


@cache
def _dots() -> Listed:
    """One to four points a chip; of half of them only their number is known."""
    chips = []
    for number in range(CHIPS):
        rng = np.random.default_rng(200 + number)
        cells = rng.permutation(16)[: 1 + number % 4]
        at = np.stack([cells % 4, cells // 4], axis=1) * 4 + 2.0
        shown = np.zeros((3, *SIZE))
        for x, y in at.astype(int):
            shown[0, y - 1 : y + 1, x - 1 : x + 1] = 1.0
        codes = np.ones(len(at), np.uint8)
        target: Target = Boxes.upright(np.concatenate([at, at], axis=1), codes)
        if number % 2:
            target = Counts(np.uint8([1]), np.float32([len(at)]))
        chips.append(_chip(number, shown, target=target))
    return Listed(chips)


@cache
def _both() -> Listed:
    """Covers, every other chip with heights beside."""
    heights = np.array([10.0, 30.0, 2.0], np.float32)
    chips = []
    for number, chip in enumerate(_covers().chips):
        values = heights[np.maximum(chip.label, 1) - 1]
        values[chip.label == 0] = np.nan
        target = PixelValues(values, "m") if number % 2 else None
        chips.append(replace(chip, target=target))
    return Listed(chips)


TREE = ClassTree((1, 2, 11, 12), ("land", "water", "town", "wood"), (0, 0, 1, 1))
COVER = PixelClasses(CODES, NAMES, GREY)
ONE_OF_TWO = _scenes(SceneClasses((4,)), SceneClasses((2,)))
ONE_OF_FOUR = tuple(SceneClasses((code,)) for code in (2, 11, 12, 1))
SOME = _scenes(*(SceneClasses(codes) for codes in ((), (1,), (2,), (1, 2))))
TWO_VALUES = _scenes(SceneValue(3.0, "t"), SceneValue(9.0, "t"))


def _ours(name: str) -> Any:
    """A loss by its name; `sum` is that of the defaults."""
    return ENTROPY_AND_DICE if name == ENTROPY_AND_DICE.name else CLASS_CRITERIA[name]()


PROBLEMS: dict[str, Problem] = {
    "scene-tree": Problem(SceneTree(TREE), _scenes(*ONE_OF_FOUR[:3])),
    "counts": Problem(
        CountTask((1,), ("car",), sigma=1.0), _dots(), replace(STEPS, steps=200), least=0.9
    ),
    "several": Problem(
        SeveralTasks((("cover", COVER), ("height", PixelValueTask("m", criterion=Squared())))),
        _both(),
    ),
    "boxes": Problem(UprightBoxes((3, 1), ("ship", "car")), _things("boxes"), SHORT),
    "oriented-boxes": Problem(
        OrientedBoxes((3, 1), ("ship", "car")), _things("oriented-boxes"), SHORT
    ),
    "instances": Problem(InstanceMasks((3, 1), ("ship", "car")), _things("instances"), SHORT),
    **{
        f"pixel-class by {name}": Problem(replace(COVER, criterion=_ours(name)), _covers())
        for name in CLASS_CRITERIA
    },
    **{
        f"scene-class by {name}": Problem(
            SceneClass((4, 2), ("town", "lake"), criterion=_ours(name)), ONE_OF_TWO
        )
        for name in CLASS_CRITERIA
    },
    **{
        f"scene-labels by {name}": Problem(SceneLabels((1, 2), ("a", "b"), criterion()), SOME)
        for name, criterion in LABEL_CRITERIA.items()
    },
    **{
        f"pixel-ordinal by {name}": Problem(PixelOrdinal(CODES, NAMES, GREY, link()), _covers())
        for name, link in LINKS.items()
    },
    **{
        f"scene-ordinal by {name}": Problem(
            SceneOrdinal((12, 2, 11), ("low", "some", "high"), link()),
            _scenes(*ONE_OF_FOUR[:3]),
            LONG if name in SLOW else STEPS,
        )
        for name, link in LINKS.items()
    },
    **{
        f"pixel-value by {name}": Problem(PixelValueTask("m", criterion=criterion()), _heights())
        for name, criterion in VALUE_CRITERIA.items()
    },
    **{
        f"scene-value by {name}": Problem(
            SceneValueTask("t", criterion=criterion()),
            TWO_VALUES,
            LONG if name in SLOW else STEPS,
        )
        for name, criterion in VALUE_CRITERIA.items()
    },
}
"""By what is tried: every task of the registry, with every loss that is to be had by name."""

USUAL = (
    "pixel-class by sum",
    "pixel-value by huber",
    "scene-class by cross-entropy",
    "scene-labels by binary-cross-entropy",
    "scene-value by huber",
)
"""Those that heads without gradient descent are tried on: one a task, they have losses of their
own."""

HEAD_OF = {
    "linear": "linear",
    "ridge": "ridge",
    "knn": "neighbours",
    "forest": "forest",
    "boosted": "boosted",
    "svm": "machine",
}
"""The head that each way without gradient descent fits."""
BY_GRADIENT = {"conv", "detector", "masks", "point-detector", "several"}

SMALL = FirstThatServes((Convolution(), Detector(width=32)))
"""The heads of the default, the detector narrower."""
UNET = {"name": "unet", "width": 8, "levels": 1}
RESNET = {"name": "timm", "architecture": "test_resnet"}


def made(config: Mapping[str, Any], samples: Listed) -> Encoder:
    torch.manual_seed(0)
    return build(config, (SPEC,), statistics_of(samples))


def learns_by_heart(model: Model, problem: Problem, folder: Path) -> None:
    """The main metric is near its best, and the model that is read again says the same."""
    batch = collate(problem.samples.chips)
    answer, score = model.answer(batch), model.task.score()
    score.update(answer, batch)
    found = score.compute()
    assert found[model.task.main] >= problem.least, found
    save_model(model, folder)
    again = load_model(folder)
    assert again.task == model.task
    assert again.members[0].head.name == model.members[0].head.name
    assert _same(answer, again.answer(batch))


def _same(ours: Any, theirs: Any) -> bool:
    """Whether two answers are equal to the last bit."""
    if isinstance(ours, Tensor):
        return ours.shape == theirs.shape and torch.equal(
            ours.nan_to_num(-7), theirs.nan_to_num(-7)
        )
    if isinstance(ours, np.ndarray):
        return np.array_equal(ours, theirs)
    if isinstance(ours, Mapping):
        return ours.keys() == theirs.keys() and all(_same(ours[k], theirs[k]) for k in ours)
    if isinstance(ours, tuple):
        return len(ours) == len(theirs) and all(map(_same, ours, theirs))
    if is_dataclass(ours):
        return all(_same(getattr(ours, f.name), getattr(theirs, f.name)) for f in fields(ours))
    return bool(ours == theirs)


def test_every_task_and_head_is_tried():
    """One that is registered and not in the tables here has not been shown to learn anything."""
    assert {problem.task.name for problem in PROBLEMS.values()} == set(TASKS)
    assert set(HEAD_OF) == set(SHALLOW)
    assert {*HEAD_OF.values(), *BY_GRADIENT} == set(HEADS)


def test_the_docs_tell_of_every_task_and_head():
    text = Path(__file__).parents[2].joinpath("docs/tasks.md").read_text(encoding="utf-8")
    assert not [name for name in (*TASKS, *SHALLOW) if f"`{name}`" not in text]


@pytest.mark.parametrize("name", PROBLEMS)
def test_by_gradient_descent(name, tmp_path):
    problem = PROBLEMS[name]
    way = Full(
        problem.training, heads=FirstThatServes((*FirstThatServes().choices[:1], Detector(32)))
    )
    assert way.serves(problem.task)
    assert Full().serves(problem.task)
    model = way.fit(made(UNET, problem.samples), problem.samples, problem.task, seed=0)
    assert model.members[0].head.name in BY_GRADIENT
    learns_by_heart(model, problem, tmp_path)


@pytest.mark.parametrize("name", USUAL)
def test_of_a_frozen_encoder(name, tmp_path):
    problem = PROBLEMS[name]
    way = HeadOnly(replace(problem.training, learning_rate=5e-2))
    encoder = made({"name": "raw"}, problem.samples)
    model = way.fit(encoder, problem.samples, problem.task, seed=0)
    learns_by_heart(model, problem, tmp_path)


@pytest.mark.parametrize(
    ("way", "name"),
    [
        (Partial(STEPS, last=1), "pixel-class by sum"),
        (Partial(STEPS, last=2), "scene-value by huber"),
        (BitFit(replace(STEPS, steps=200, learning_rate=5e-2)), "pixel-class by sum"),
        (BitFit(replace(STEPS, steps=200, learning_rate=5e-2)), "scene-class by cross-entropy"),
    ],
)
def test_of_parts_of_an_encoder(way, name, tmp_path):
    problem = PROBLEMS[name]
    encoder = made(UNET, problem.samples)
    model = way.fit(encoder, problem.samples, problem.task, seed=0)
    learns_by_heart(model, problem, tmp_path)


@pytest.mark.parametrize("name", DECODERS)
def test_under_a_decoder(name, tmp_path):
    problem = PROBLEMS["pixel-class by sum"]
    width = {"fpn": 32, "hypercolumn": None}.get(name, 16)
    config = {"name": "decoded", "encoder": RESNET, "decoder": name, "width": width}
    encoder = made(config, problem.samples)
    model = Full(problem.training).fit(encoder, problem.samples, problem.task, seed=0)
    learns_by_heart(model, problem, tmp_path)


def test_by_masks(tmp_path):
    problem = PROBLEMS["pixel-class by sum"]
    way = Full(
        replace(problem.training, steps=60, learning_rate=5e-3), heads=Masks(queries=8, width=32)
    )
    model = way.fit(made(UNET, problem.samples), problem.samples, problem.task, seed=0)
    assert model.members[0].head.name == "masks"
    learns_by_heart(model, problem, tmp_path)


@pytest.mark.parametrize("config", [UNET, RESNET], ids=["unet", "timm"])
def test_by_points(config, tmp_path):
    problem = PROBLEMS["boxes"]
    way = Full(problem.training, heads=Points(width=32))
    assert not way.serves(PROBLEMS["instances"].task)
    model = way.fit(made(config, problem.samples), problem.samples, problem.task, seed=0)
    assert model.members[0].head.name == "point-detector"
    learns_by_heart(model, problem, tmp_path)


LEAST = {("forest", "scene-value by huber"): 0.7}
"""Leaves of such a forest hold two rows or more, drawn anew for each tree: of 8 rows they cannot
tell all apart."""
PAIRS = [
    (way, name) for way in SHALLOW for name in USUAL if SHALLOW[way]().serves(PROBLEMS[name].task)
]


@pytest.mark.parametrize(("way", "name"), PAIRS)
def test_without_gradient_descent(way, name, tmp_path):
    problem = PROBLEMS[name]
    encoder = made({"name": "raw"}, problem.samples)
    model = SHALLOW[way]().fit(encoder, problem.samples, problem.task, seed=0)
    assert model.members[0].head.name == HEAD_OF[way]
    learns_by_heart(model, replace(problem, least=LEAST.get((way, name), problem.least)), tmp_path)


def test_what_is_served_is_what_the_docs_say():
    of = {way: {name.split(" ")[0] for each, name in PAIRS if each == way} for way in SHALLOW}
    classes, values = {"pixel-class", "scene-class"}, {"pixel-value", "scene-value"}
    labels = {"scene-labels"}
    assert of == {
        "linear": classes | labels,
        "ridge": classes | labels | values,
        "knn": classes | labels | values,
        "forest": classes | labels | values,
        "boosted": classes | values,
        "svm": classes | values,
    }
