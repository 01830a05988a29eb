"""Augmentation moves answers as it moves pixels, labels and places."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.insert(0, str(Path(__file__).parents[1] / "sample"))
from answers import assert_same, boxes_within, image_of_boxes, image_of_polygons, star

from earthloom.errors import ContractError
from earthloom.fit.augment import Augment, _Plan
from earthloom.sample import Chip, Layer, LayerSpec, Place, Shape2d
from earthloom.sample.batch import collate
from earthloom.sample.moving import move_target
from earthloom.sample.target import (
    Boxes,
    Counts,
    Instances,
    PixelValues,
    SceneClasses,
    SceneValue,
)

SPEC = LayerSpec("height", 1.0, ("z",), "m", ("static",), (None,))
SPECS = {SPEC.key: SPEC}
SIDE = 16
KEY = (0, "a", 0)
SEEDS = st.integers(0, 10_000)
MOVES = st.fixed_dictionaries(
    {
        "seed": SEEDS,
        "crop": st.sampled_from([None, 5, 8, 15]),
        "flips": st.booleans(),
        "turns": st.booleans(),
    }
)


def make_batch(target=None, label=None, values=None, shape=Shape2d(SIDE, SIDE)):
    values = np.zeros(shape, np.float32) if values is None else values
    layer = Layer(SPEC, values[None, None], ~np.isnan(values)[None], np.zeros(1, np.int32))
    place = Place("EPSG:32632", (1.0, 0.0, 0.0, 0.0, 1.0, 0.0), shape)
    return collate([Chip("a", shape, {SPEC.key: layer}, label, "", place, target=target)])


@given(found=boxes_within(SIDE, SIDE), moves=MOVES)
def test_an_image_of_boxes_moved_is_the_image_of_the_moved_boxes(found, moves):
    batch = make_batch(found, image_of_boxes(found, SIDE, SIDE))
    moved = Augment(SPECS, **moves, least_seen=0.0)(batch, 0)
    (target,) = moved.targets
    assert target.are_upright.all()
    drawn = image_of_boxes(target, *moved.label.shape[1:])
    np.testing.assert_array_equal(drawn, moved.label[0])


@given(found=boxes_within(10, 14), seed=SEEDS)
def test_chips_that_are_not_square(found, seed):
    batch = make_batch(found, image_of_boxes(found, 10, 14), shape=Shape2d(10, 14))
    moved = Augment(SPECS, seed)(batch, 0)
    np.testing.assert_array_equal(image_of_boxes(moved.targets[0], 10, 14), moved.label[0])


@given(seed=SEEDS, low=st.sampled_from([0.5, 0.8, 1.3]))
def test_corners_and_places_tell_of_the_same_ground(seed, low):
    """Zoomed too: the place of a moved chip says where its corners were."""
    random = np.random.default_rng(seed)
    corners = np.stack([star(random, random.random(2) * SIDE, 4, 4) for _ in range(5)])
    found = Boxes(corners, np.arange(1, 6, dtype=np.uint8))
    moved = Augment(SPECS, seed, scale=(low, low * 1.2), least_seen=0.3)(make_batch(found), 0)
    (target,), (place,) = moved.targets, moved.places
    a, b, c, d, e, f = place.transform
    x, y = np.moveaxis(target.corners, -1, 0)
    ground = np.stack([a * x + b * y + c, d * x + e * y + f], axis=-1)
    wanted = corners[target.codes - 1]
    # The corners run around the box the same way, also in a mirror: their first edge stays.
    mirrored = a * e - b * d < 0
    wanted = wanted[:, [1, 0, 3, 2]] if mirrored else wanted
    np.testing.assert_allclose(ground, wanted, atol=1e-4)


@given(
    seed=SEEDS,
    crop=st.sampled_from([None, 6]),
    scale=st.sampled_from([(1.0, 1.0), (0.6, 0.9), (1.1, 1.9)]),
)
def test_values_of_pixels_move_as_pixels_do(seed, crop, scale):
    random = np.random.default_rng(seed)
    values = random.random((SIDE, SIDE), np.float32)
    values[random.random((SIDE, SIDE)) < 0.2] = np.nan
    batch = make_batch(PixelValues(values, "m"), values=values)
    moved = Augment(SPECS, seed, crop=crop, scale=scale)(batch, 0)
    (target,) = moved.targets
    assert target.unit == "m"
    assert target.values.dtype == np.float32
    np.testing.assert_array_equal(target.values, moved.layers[SPEC.key].pixels[0, 0, 0])


@given(
    seed=SEEDS,
    crop=st.sampled_from([None, 6]),
    scale=st.sampled_from([(1.0, 1.0), (0.6, 0.9), (1.1, 1.9)]),
)
def test_numbers_of_things_move_as_labels_do(seed, crop, scale):
    random = np.random.default_rng(seed)
    codes = random.integers(1, 200, 6).astype(np.uint8)
    ids = random.integers(0, 7, (SIDE, SIDE)).astype(np.int32)
    label = np.concatenate([[0], codes])[ids].astype(np.uint8)
    batch = make_batch(Instances(codes, ids=ids), label)
    moved = Augment(SPECS, seed, crop=crop, scale=scale, least_seen=0.0)(batch, 0)
    (target,) = moved.targets
    found = np.concatenate([[0], target.codes])[target.ids]
    np.testing.assert_array_equal(found, moved.label[0])


@given(seed=SEEDS, crop=st.sampled_from([None, 7]))
def test_numbers_and_outlines_agree_after_any_move(seed, crop):
    things = some_things(seed)
    moved = Augment(SPECS, seed, crop=crop, least_seen=0.1)(make_batch(things), 0)
    (target,) = moved.targets
    drawn = image_of_polygons(target, *target.ids.shape)
    if crop is None:
        assert len(target.codes) == len(things.codes)
        np.testing.assert_array_equal(target.ids, drawn)
    else:
        # What was dropped no longer hides what lies behind it, but its pixels are nobody's.
        there = target.ids > 0
        np.testing.assert_array_equal(target.ids[there], drawn[there])


@settings(max_examples=30)
@given(seed=SEEDS, zoom=st.sampled_from([0.7, 1.4]))
def test_numbers_and_outlines_agree_after_a_zoom(seed, zoom):
    """To the pixel that is nearest, so all but the outermost pixels of an outline."""
    outline = star(np.random.default_rng(seed), np.array([8.0, 8.0]), 6)
    ids = image_of_polygons(Instances(np.ones(1, np.uint8), ((outline,),)), SIDE, SIDE)
    batch = make_batch(Instances(np.ones(1, np.uint8), ((outline,),), ids))
    (target,) = Augment(SPECS, seed, scale=(zoom, zoom))(batch, 0).targets
    drawn = image_of_polygons(target, SIDE, SIDE) > 0
    around = np.pad(drawn, 1)
    near = np.stack([around[r : r + SIDE, c : c + SIDE] for r in range(3) for c in range(3)])
    assert (target.ids > 0)[near.all(axis=0)].all()
    assert not (target.ids > 0)[~near.any(axis=0)].any()


def some_things(seed):
    random = np.random.default_rng(seed)
    outlines = tuple((star(random, random.random(2) * SIDE, 5),) for _ in range(4))
    things = Instances(np.array([3, 1, 2, 1], np.uint8), outlines)
    return replace(things, ids=image_of_polygons(things, SIDE, SIDE))


def turn(quarters=0, mirrored=False):
    shape = Shape2d(SIDE, SIDE)
    return _Plan(0, 0, shape, quarters, mirrored, 1.0, shape, KEY)


@given(
    target=boxes_within(SIDE, SIDE)
    | SEEDS.map(some_things)
    | SEEDS.map(
        lambda seed: PixelValues(np.random.default_rng(seed).random((SIDE, SIDE), np.float32), "m")
    )
)
def test_four_turns_and_two_mirrors_are_the_identity(target):
    target = on_eighths(target)
    turned = [target]
    for _ in range(4):
        turned.append(move_target(turned[-1], turn(1)))
    assert_same(turned[4], target)
    assert_same(turned[2], move_target(target, turn(2)))
    assert_same(turned[3], move_target(target, turn(3)))
    once = move_target(target, turn(0, mirrored=True))
    assert_same(move_target(once, turn(0, mirrored=True)), target)


def on_eighths(target):
    """Outlines whose numbers float32 holds exactly wherever they are moved to."""
    if not isinstance(target, Instances):
        return target
    exact = tuple(tuple(np.round(r * 8) / 8 for r in rings) for rings in target.polygons)
    return replace(target, polygons=exact)


def test_turned_boxes_come_back_too():
    random = np.random.default_rng(0)
    corners = np.round(random.random((5, 4, 2)) * 128).astype(np.float32) / 8
    found = Boxes(corners, np.arange(1, 6, dtype=np.uint8))
    moved = found
    for _ in range(4):
        moved = move_target(moved, turn(1))
    assert_same(moved, found)


def test_what_is_said_of_the_whole_stays():
    for target in (SceneClasses((1, 4)), SceneValue(2.5, "t/ha")):
        moved = Augment(SPECS, 3, crop=8, scale=(1.2, 1.5))(make_batch(target), 0)
        assert moved.targets == (target,)


def test_counts():
    counts = Counts(np.array([1], np.uint8), np.array([4], np.float32))
    for scale in ((1.0, 1.0), (0.5, 0.9)):
        assert Augment(SPECS, 3, scale=scale)(make_batch(counts), 0).targets == (counts,)
    assert Augment(SPECS, 3, scale=(1.2, 1.5))(make_batch(counts), 0).targets == ()
    assert Augment(SPECS, 3, crop=SIDE)(make_batch(counts), 0).targets == (counts,)
    with pytest.raises(ContractError, match="crop is 8, but counts of whole chips say nothing"):
        Augment(SPECS, 3, crop=8)(make_batch(counts), 0)


def test_a_batch_without_answers_gets_none():
    assert Augment(SPECS, 3, crop=8)(make_batch(), 0).targets == ()
