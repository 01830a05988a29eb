"""Detectors over any encoder's pyramid: they overfit, and say the same again."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from torch import nn

from earthloom.datasets import open_dataset
from earthloom.encoders import Encoder, Features, Statistics
from earthloom.encoders.base import Level, seen_in
from earthloom.encoders.timm_backbone import TimmEncoder
from earthloom.errors import ContractError, LabelError
from earthloom.fit.statistics import statistics_of
from earthloom.sample import Chip, Layer, LayerSpec, Listed, Shape2d, Window
from earthloom.sample.batch import collate
from earthloom.sample.fitted import cut_chip
from earthloom.sample.target import Boxes, Instances
from earthloom.tasks.boxes import OrientedBoxes, UprightBoxes
from earthloom.tasks.detect import detector_for
from earthloom.tasks.detect_parts import Anchors, grids_for
from earthloom.tasks.heads import ConvHead
from earthloom.tasks.instances import InstanceMasks
from earthloom.tasks.objects import Mask, mask_of_rings
from earthloom.tasks.objects_shapes import turned_iou

SPEC = LayerSpec("aerial", 0.5, ("red", "green"), "1", ("static",), (660.0, 560.0))
SIZE = Shape2d(48, 48)


class Pyramid(Encoder):
    """A few convolutions, each half as fine as the one before."""

    name = "small-pyramid"
    levels = (Level(16, 2), Level(24, 4), Level(32, 8))

    def __init__(self, with_pyramid: bool = True) -> None:
        super().__init__((SPEC,), {SPEC.key: Statistics((0.3, 0.3), (0.2, 0.2))})
        given, steps = 3, []
        for level in self.levels:
            made = level.channels
            conv = nn.Conv2d(given, made, 3, stride=2, padding=1)
            steps.append(nn.Sequential(conv, nn.GroupNorm(8, made), nn.ReLU()))
            given = made
        self.steps = nn.ModuleList(steps)
        self.with_pyramid = with_pyramid

    @property
    def radius(self) -> int:
        return 7

    @property
    def stride(self) -> int:
        return 2

    @property
    def channels(self) -> int:
        return 16

    @property
    def pyramid(self) -> tuple[Level, ...]:
        return self.levels if self.with_pyramid else ()

    def config(self):
        return {"with_pyramid": self.with_pyramid}

    def forward(self, batch):
        layer = batch.layers[SPEC.key]
        valid = layer.valid[:, :1].float()
        state = torch.cat([self.normalised(SPEC, layer)[:, 0], valid], dim=1)
        made = []
        for step in self.steps:
            state = step(state)
            made.append(state)
        seen = seen_in(self.layers, batch)[:, ::2, ::2]
        return Features(made[0], seen, tuple(made) if self.with_pyramid else (), stride=2)


QUADS = {
    0: [((6, 6, 16, 16), 0, 5), ((26, 20, 38, 34), 0, 9)],
    1: [((20, 6, 40, 14), 25, 9), ((6, 24, 26, 32), 60, 5)],
    2: [],
}
"""Of each chip: left, top, right, bottom of boxes before they are turned by degrees, and codes."""


def _turned(bounds, degrees):
    left, top, right, bottom = bounds
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)
    middle, angle = corners.mean(0), np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    return ((corners - middle) @ turn + middle).astype(np.float32)


def _chip(number, kind):
    """Things of two colours on noise."""
    rng = np.random.default_rng(number)
    pixels = 0.2 + 0.02 * rng.normal(size=(1, 2, *SIZE))
    quads, codes = [], []
    ids = np.zeros(SIZE, np.int32)
    for count, (bounds, degrees, code) in enumerate(QUADS[number], start=1):
        quad = _turned(bounds, degrees)
        mask = mask_of_rings((quad,))
        rows, cols = mask.pixels.shape
        here = np.s_[mask.row : mask.row + rows, mask.col : mask.col + cols]
        pixels[0, 0 if code == 5 else 1][here][mask.pixels] += 0.5
        ids[here][mask.pixels] = count
        quads.append(quad)
        codes.append(code)
    boxes = Boxes(np.array(quads, np.float32).reshape(-1, 4, 2), np.array(codes, np.uint8))
    target = Instances(boxes.codes, ids=ids) if kind is InstanceMasks else boxes
    valid = np.ones((1, *SIZE), bool)
    layer = Layer(SPEC, pixels.astype(np.float32), valid, np.zeros(1, np.int32))
    return Chip(f"chip-{number}", SIZE, {SPEC.key: layer}, group=str(number), target=target)


def _samples(kind):
    return Listed([_chip(number, kind) for number in QUADS])


def _task(kind):
    # Codes do not rise, so that indices and codes are told apart.
    return kind((9, 5), ("ship", "car")).fitted(_samples(kind))


def _train(task, encoder, head, batch, steps):
    """By heart: the same batch in every step."""
    parameters = [*encoder.parameters(), *head.parameters()]
    optimiser = torch.optim.AdamW(parameters, lr=3e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    for _ in range(steps):
        optimiser.zero_grad()
        task.loss(head, encoder(batch), batch).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()


def _pair(kind, with_pyramid=True):
    torch.manual_seed(1)
    task, encoder = _task(kind), Pyramid(with_pyramid)
    return task, encoder, detector_for(task, encoder, width=16)


def test_an_encoder_without_a_pyramid_is_given_one():
    task, encoder, head = _pair(UprightBoxes, with_pyramid=False)
    batch = collate(_samples(UprightBoxes).chips)
    loss = task.loss(head, encoder(batch), batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is not None for p in encoder.steps[0].parameters())
    assert len(task.answer(head, encoder(batch))) == 3


def test_a_pyramid_may_be_padded_beyond_the_window():
    """As that of `TimmEncoder` is; nothing is found outside."""
    task, _, _ = _pair(UprightBoxes)
    encoder = TimmEncoder((SPEC,), {SPEC.key: Statistics((0.3,) * 2, (0.2,) * 2)}, "test_convnext")
    chip = _samples(UprightBoxes).chips[0]
    batch = collate([cut_chip(chip, Window(0, 0, Shape2d(38, 41)))])
    head = detector_for(replace(task, least_score=0.0), encoder, width=16).eval()
    (things,) = replace(task, least_score=0.0).answer(head, encoder.eval()(batch))
    assert len(things) > 0
    assert (things.bounds[:, 2:] <= [41, 38]).all()
    assert (things.bounds >= 0).all()


def test_sizes_that_are_no_multiple_of_a_stride():
    task, encoder, head = _pair(UprightBoxes)
    features = encoder(collate(_samples(UprightBoxes).chips))
    cut = replace(
        features,
        pixels=features.pixels[..., :21, :23],
        seen=features.seen[..., :21, :23],
        pyramid=tuple(
            level[..., : -(-21 // 2**at), : -(-23 // 2**at)]
            for at, level in enumerate(features.pyramid)
        ),
    )
    for things in task.answer(head, cut):
        assert (things.bounds[:, 2:] <= [46, 42]).all()


@pytest.mark.parametrize("kind", [UprightBoxes, OrientedBoxes, InstanceMasks])
def test_chips_without_things_teach_and_chips_without_labels_do_not(kind):
    task, encoder, head = _pair(kind)
    empty = collate([_samples(kind).chips[2]])
    loss = task.loss(head, encoder(empty), empty)
    loss.backward()
    assert loss > 0
    unlabelled = replace(empty, targets=())
    assert task.loss(head, encoder(unlabelled), unlabelled) == 0
    both = collate(_samples(kind).chips[:1] * 2)
    half = replace(both, targets=(both.targets[0], None))
    head.eval()
    encoder.eval()
    one = collate(_samples(kind).chips[:1])
    torch.testing.assert_close(
        task.loss(head, encoder(half), half), task.loss(head, encoder(one), one)
    )


def test_a_loss_for_validation_is_the_same_every_time():
    task, encoder, head = _pair(UprightBoxes)
    batch = collate(_samples(UprightBoxes).chips)
    head.eval()
    before = torch.random.get_rng_state()
    first, second = (task.loss(head, encoder(batch), batch).item() for _ in range(2))
    assert first == second
    assert torch.equal(before, torch.random.get_rng_state())
    assert not head.training


def test_where_nothing_was_seen_nothing_is_named():
    task, encoder, head = _pair(UprightBoxes)
    task = replace(task, least_score=0.0)
    features = encoder(collate(_samples(UprightBoxes).chips[:1]))
    blind = torch.ones_like(features.seen)
    blind[:, :, 12:] = False
    (things,) = task.answer(head, replace(features, seen=blind))
    (all_things,) = task.answer(head, features)
    assert 0 < len(things) < len(all_things)
    middle = things.bounds[:, [0, 2]].mean(axis=1)
    assert middle.max() <= 24 + 2
    (nothing,) = task.answer(head, replace(features, seen=torch.zeros_like(blind)))
    assert len(nothing) == 0


def test_what_the_training_things_say_is_kept():
    task = _task(UprightBoxes)
    assert task.counts == (2, 2)
    assert 9 < task.sizes[0] <= task.sizes[-1] < 25
    assert list(task.ratios) == sorted(task.ratios)
    assert UprightBoxes.from_config(task.config()) == task
    assert len(task.config()["sizes"]) == 5
    with pytest.raises(LabelError, match="no things of the classes ship"):
        UprightBoxes((77,), ("ship",)).fitted(_samples(UprightBoxes))


@pytest.mark.shared
def test_the_crowns_of_real_images(shared_data):
    samples = open_dataset("neon-trees", shared_data / "neon_trees", "HARV")
    some = Listed([samples[at] for at in range(3)])
    task = UprightBoxes((1,), ("tree",)).fitted(some)
    targets = [chip.target for chip in some.chips]
    assert task.counts == (sum(len(target.codes) for target in targets),)
    # Crowns of 1 to 20 m, in pixels of 0.1 m.
    assert 10 < task.sizes[0] < task.sizes[-1] < 200
    score = task.score()
    for target in targets:
        score.add(task.known(target), task.known(target))
    figures = score.compute()
    assert (figures["map"], figures["f1"], figures["count_mae"]) == (1, 1, 0)


@pytest.mark.shared
def test_a_detector_overfits_real_crowns(shared_data):
    """Parts of two images, 22 m wide."""
    samples = open_dataset("neon-trees", shared_data / "neon_trees", "HARV")
    chips = [_at_half_resolution(cut_chip(samples[at], REAL)) for at in (0, 2)]
    task = UprightBoxes((1,), ("tree",)).fitted(Listed(chips))
    assert sum(task.counts) >= 8
    torch.manual_seed(0)
    (spec,) = samples.specs.values()
    encoder = TimmEncoder((spec,), statistics_of(Listed(chips)), "test_convnext")
    head, batch = detector_for(task, encoder, width=32), collate(chips)
    _train(task, encoder, head, batch, 90)
    score = task.score()
    score.update(task.answer(head.eval(), encoder.eval()(batch)), batch)
    assert score.compute()["map_50"] > 0.8


REAL, HALF = Window(100, 100, Shape2d(224, 224)), Shape2d(112, 112)


def _at_half_resolution(chip):
    """Of every four pixels one, with the boxes where they then lie."""
    layers = {
        key: replace(layer, pixels=layer.pixels[..., ::2, ::2], valid=layer.valid[..., ::2, ::2])
        for key, layer in chip.layers.items()
    }
    target = Boxes(chip.target.corners / 2, chip.target.codes)
    return replace(chip, shape=HALF, layers=layers, target=target)


def test_turned_boxes_come_out_of_their_masks():
    task = OrientedBoxes((1,), ("ship",))
    quad = _turned((10, 10, 40, 20), 33)
    target = Boxes(quad[None], np.uint8([1]))
    known = task.known(target)
    np.testing.assert_array_equal(known.corners, quad[None])
    (mask,) = task.masks_to_learn(known)
    assert isinstance(mask, Mask)
    assert mask.area == pytest.approx(300, rel=0.05)
    np.testing.assert_allclose(turned_iou(known.corners, quad[None]), 1)


def test_anchors_lie_about_the_middles_of_pixels_and_have_their_sizes():
    grids = grids_for((Level(8, 4), Level(8, 8)), (16.0, 40.0, 64.0))
    assert [grid.stride for grid in grids] == [4, 8, 16]
    assert grids[0].sizes[0] == 16
    assert grids[-1].sizes[-1] == 64
    assert len({len(grid.sizes) for grid in grids}) == 1

    @dataclass
    class Images:
        image_sizes = ((32, 48), (32, 48))

    levels = [torch.zeros(2, 8, 32 // g.stride, 48 // g.stride) for g in grids]
    found = Anchors(grids, (0.5, 2.0))(Images(), levels)
    assert torch.equal(*found)
    sides = found[0][:, 2:] - found[0][:, :2]
    areas = np.unique(sides.prod(1).sqrt().numpy().astype(float).round(2))
    np.testing.assert_allclose(areas, [s for grid in grids for s in grid.sizes], atol=0.02)
    np.testing.assert_allclose(found[0][0].reshape(2, 2).mean(0), [2, 2], atol=1e-4)


def test_what_does_not_fit_is_refused():
    task, encoder, head = _pair(UprightBoxes)
    features = encoder(collate(_samples(UprightBoxes).chips))
    with pytest.raises(ContractError, match="by a detector, not by the head 'conv'"):
        task.answer(ConvHead(16, 3), features)
    with pytest.raises(ContractError, match=r"made for levels of .16, 24, 32. channels"):
        task.answer(head, replace(features, pyramid=()))
    with pytest.raises(ContractError, match="does not know the sizes of its things"):
        detector_for(UprightBoxes((1,), ("a",)), encoder)
