"""The detector of one stage: what each pixel learns, what it says, and that it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load, save

from earthloom.encoders.compose import build
from earthloom.errors import ContractError
from earthloom.fit.statistics import statistics_of
from earthloom.sample import Chip, Layer, LayerSpec, Shape2d
from earthloom.sample.batch import collate
from earthloom.sample.samples import Listed
from earthloom.sample.target import Boxes
from earthloom.tasks.boxes import OrientedBoxes, UprightBoxes
from earthloom.tasks.detect_base import Known, Limits
from earthloom.tasks.detect_parts import Anchors, Grid, grid_of
from earthloom.tasks.detect_points import NEAR, PointHead, _chosen, _found, point_detector_for

SIZE = Shape2d(32, 32)
BOUNDS = (((3, 4, 15, 14), (16, 17, 29, 26)), ((18, 3, 28, 13),), ())
CODES = ((5, 9), (9,), ())
"""Of each chip: left, top, right, bottom, and class codes, which do not rise in the task."""


def _spec(bands):
    names = tuple(f"b{number}" for number in range(bands))
    return LayerSpec("aerial", 0.5, names, "1", ("static",), tuple(500.0 + n for n in range(bands)))


def _chips(bands):
    chips = []
    for number, (bounds, codes) in enumerate(zip(BOUNDS, CODES, strict=True)):
        spec = _spec(bands)
        pixels = 0.2 + 0.02 * np.random.default_rng(number).normal(size=(1, bands, *SIZE))
        for (left, top, right, bottom), code in zip(bounds, codes, strict=True):
            pixels[0, 0 if code == 5 else -1, top:bottom, left:right] += 0.5
        target = Boxes.upright(np.array(bounds).reshape(-1, 4), np.array(codes, np.uint8))
        valid = np.ones((1, *SIZE), bool)
        layer = Layer(spec, pixels.astype(np.float32), valid, np.zeros(1, np.int32))
        chips.append(Chip(f"c{number}", SIZE, {spec.key: layer}, group=str(number), target=target))
    return chips


def _pair(config, bands=3):
    torch.manual_seed(1)
    samples = Listed(_chips(bands))
    task = UprightBoxes((9, 5), ("ship", "car")).fitted(samples)
    encoder = build(config, tuple(samples.specs.values()), statistics_of(samples))
    head = point_detector_for(task, encoder, width=16)
    return task, encoder, head, collate(samples.chips)


UNET = {"name": "unet", "width": 8, "levels": 2}


@pytest.mark.parametrize(
    ("config", "bands"),
    [
        (UNET, 1),
        ({"name": "timm", "architecture": "test_convnext"}, 4),
        ({"name": "raw"}, 2),
    ],
)
def test_it_stands_on_any_encoder_with_any_number_of_bands(config, bands):
    task, encoder, head, batch = _pair(config, bands)
    loss = task.loss(head, encoder(batch), batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(each.grad).all() for each in head.sayings.parameters())
    first = task.loss(head.eval(), encoder(batch), batch)
    assert torch.equal(first, task.loss(head, encoder(batch), batch))
    answer = replace(task, least_score=0.0).answer(head, encoder(batch))
    assert len(answer) == 3
    for things in answer:
        assert 0 < len(things) <= task.most
        assert (things.bounds >= 0).all()
        assert (things.bounds <= 32).all()
        assert (np.diff(things.scores) <= 0).all()


def test_it_learns_by_heart_and_is_the_same_again():
    task, encoder, head, batch = _pair(UNET)
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=5e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 5e-3, total_steps=60)
    for _ in range(60):
        optimiser.zero_grad()
        task.loss(head, encoder(batch), batch).backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
    features = encoder.eval()(batch)
    answer, score = task.answer(head.eval(), features), task.score()
    score.update(answer, batch)
    assert score.compute()["map_50"] > 0.95
    again = PointHead(**head.config())
    again.load_state_dict(load(save(head.state_dict())))
    for ours, theirs in zip(answer, task.answer(again.eval(), features), strict=True):
        np.testing.assert_array_equal(ours.corners, theirs.corners)
        np.testing.assert_array_equal(ours.scores, theirs.scores)


def test_a_chip_without_things_teaches_that_there_is_nothing():
    task, encoder, head, batch = _pair(UNET)
    features = encoder(batch)
    nothing = Known(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), None)
    head.losses(features, [nothing] * 3).backward()
    # A step against this gradient makes every class less likely, and says nothing of boxes.
    assert (head.sayings.classification_head.cls_logits.bias.grad > 0).all()
    assert not head.sayings.regression_head.bbox_reg.weight.grad.any()
    unlabelled = replace(batch, targets=())
    assert task.loss(head, encoder(unlabelled), unlabelled) == 0


GRIDS = (Grid(4, (12.0, 20.0)), Grid(8, (30.0, 48.0)))
PLACES = st.tuples(*[st.floats(0, 28)] * 2, *[st.floats(3, 32)] * 2)


@settings(max_examples=40, deadline=None)
@given(st.lists(PLACES, max_size=4))
def test_a_pixel_learns_the_smallest_near_thing_of_its_grid(places):
    """Against a loop over all pixels and things."""
    anchors = Anchors([Grid(g.stride, (float(g.stride),)) for g in GRIDS], (1.0,))
    pixels = anchors.of([torch.zeros(1, 1, 32 // g.stride, 32 // g.stride) for g in GRIDS])
    numbers = torch.arange(2).repeat_interleave(torch.tensor([64, 16]))
    boxes = torch.tensor([(x, y, x + w, y + h) for x, y, w, h in places]).reshape(-1, 4)
    border = [(20.0 * 30.0) ** 0.5]
    found = _chosen(pixels, numbers, boxes, border).tolist()
    things = list(zip(boxes.numpy(), grid_of(boxes, border).tolist(), strict=True))
    for at, pixel in enumerate(pixels.numpy()):
        grid = int(numbers[at])
        middle, reach = (pixel[:2] + pixel[2:]) / 2, NEAR * GRIDS[grid].stride
        fits = []
        for number, (box, level) in enumerate(things):
            apart, half = np.abs(middle - (box[:2] + box[2:]) / 2), (box[2:] - box[:2]) / 2
            if level == grid and (apart < reach).all() and (apart < half).all():
                fits.append((np.prod(box[2:] - box[:2]), number))
        assert found[at] == (min(fits)[1] if fits else -1)


def test_of_boxes_that_overlap_the_surer_stays_unless_its_class_is_another():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [20, 20, 50, 50], [40, 40, 41, 41]])
    scores = torch.tensor([[0.6, 0.0], [0.9, 0.7], [0.0, 0.5], [0.04, 0.0]])
    found = _found(scores, boxes, Shape2d(32, 32), Limits(0.05, 0.5, 10))
    assert found.scores.tolist() == pytest.approx([0.9, 0.7, 0.5])
    assert found.classes.tolist() == [0, 1, 1]
    assert found.boxes[2].tolist() == [20, 20, 32, 32]
    assert len(_found(scores, boxes, Shape2d(32, 32), Limits(0.05, 0.5, 1)).scores) == 1
    # What lies outside the image is nothing, however sure.
    assert not len(_found(scores[2:3], boxes[2:3], Shape2d(16, 16), Limits(0.0, 0.5, 9)).scores)


def test_what_it_cannot_do_is_refused():
    samples = Listed(_chips(3))
    encoder = build(UNET, tuple(samples.specs.values()), statistics_of(samples))
    turned = OrientedBoxes((9, 5), ("ship", "car")).fitted(samples)
    with pytest.raises(ContractError, match="has no masks, which the task oriented-boxes needs"):
        point_detector_for(turned, encoder)
    with pytest.raises(ContractError, match="does not know the sizes of its things"):
        point_detector_for(UprightBoxes((9,), ("ship",)), encoder)
    with pytest.raises(ContractError, match="must be a multiple of 8, but is 12"):
        point_detector_for(UprightBoxes((9,), ("ship",)).fitted(samples), encoder, width=12)
