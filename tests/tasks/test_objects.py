"""Things: shapes against shapely, scores against pycocotools."""

import contextlib
import io

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.errors import ContractError
from earthloom.sample import Shape2d
from earthloom.sample.target import Boxes, Instances
from earthloom.tasks.boxes import OrientedBoxes, UprightBoxes
from earthloom.tasks.instances import InstanceMasks
from earthloom.tasks.objects import (
    Mask,
    Things,
    bounds_of_mask,
    known_masks,
    mask_of_rings,
    no_things,
    suppressed,
)
from earthloom.tasks.objects_scores import THRESHOLDS, ThingScore, average_precision
from earthloom.tasks.objects_shapes import (
    fill_rings,
    least_rectangle,
    mask_iou,
    turned_iou,
    upright_iou,
)

seeds = st.integers(0, 10**6)
NAMES = {3: "car", 7: "ship"}
TASKS = {
    "boxes": UprightBoxes((3, 7), ("car", "ship")),
    "segm": InstanceMasks((3, 7), ("car", "ship")),
}


def _quads(rng, count, whole=False):
    """(N, 4, 2) turned boxes; `whole` gives many that share sides and corners."""
    middles = rng.integers(0, 12, (count, 2)) if whole else rng.uniform(0, 12, (count, 2))
    sides = rng.integers(1, 5, (count, 2)) if whole else rng.uniform(0.5, 8, (count, 2))
    angle = rng.integers(0, 4, count) * np.pi / 4 if whole else rng.uniform(0, np.pi, count)
    unit = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2
    turns = np.stack([np.cos(angle), np.sin(angle), -np.sin(angle), np.cos(angle)], -1)
    return middles[:, None] + (unit * sides[:, None]) @ turns.reshape(-1, 2, 2)


def _by_shapely(ours, theirs):
    a, b = shapely.polygons(ours)[:, None], shapely.polygons(theirs)[None]
    common = shapely.area(shapely.intersection(a, b))
    return common / (shapely.area(a) + shapely.area(b) - common)


@settings(max_examples=60)
@given(seeds, st.booleans(), st.booleans(), st.floats(0, 1e5))
def test_overlaps_of_turned_boxes_are_those_of_shapely(seed, whole, backwards, away):
    rng = np.random.default_rng(seed)
    ours, theirs = (_quads(rng, 5, whole) + away for _ in range(2))
    if backwards:
        theirs = theirs[:, ::-1]
    np.testing.assert_allclose(turned_iou(ours, theirs), _by_shapely(ours, theirs), atol=1e-6)


@given(seeds)
def test_upright_boxes_are_turned_ones(seed):
    rng = np.random.default_rng(seed)
    low = rng.uniform(0, 10, (2, 4, 2))
    bounds = np.concatenate([low, low + rng.uniform(0.5, 6, low.shape)], axis=2)
    quads = [Boxes.upright(each, np.ones(4, np.uint8)).corners for each in bounds]
    np.testing.assert_allclose(upright_iou(*bounds), turned_iou(*quads), atol=1e-5)


@settings(max_examples=40)
@given(seeds, st.integers(3, 9))
def test_a_ring_is_filled_where_pixel_centres_lie_in_it(seed, corners):
    rng = np.random.default_rng(seed)
    ring = rng.uniform(-3, 15, (corners, 2))
    # Even-odd of a ring that crosses itself: the parity of the crossings of a ray.
    filled = fill_rings([ring], -2, 1, Shape2d(16, 14))
    y, x = np.mgrid[-2:14, 1:15] + 0.5
    odd = np.zeros(x.shape, bool)
    for (x0, y0), (x1, y1) in zip(ring, np.roll(ring, -1, 0), strict=True):
        spans = (y0 <= y) != (y1 <= y)
        with np.errstate(divide="ignore", invalid="ignore"):
            odd ^= spans & (x0 + (y - y0) * (x1 - x0) / (y1 - y0) <= x)
    np.testing.assert_array_equal(filled, odd)


@settings(max_examples=60)
@given(seeds, st.integers(3, 20))
def test_the_least_rectangle_is_that_of_shapely(seed, count):
    points = np.random.default_rng(seed).normal(0, 5, (count, 2))
    found = shapely.polygons(least_rectangle(points))
    expected = shapely.minimum_rotated_rectangle(shapely.multipoints(points))
    assert found.area == pytest.approx(expected.area, rel=1e-6)
    assert shapely.covers(found.buffer(1e-6), shapely.multipoints(points))


def test_points_on_a_line_have_an_upright_rectangle():
    np.testing.assert_array_equal(
        least_rectangle(np.array([[1.0, 2.0], [3.0, 4.0], [2.0, 3.0]])),
        [[1, 2], [3, 2], [3, 4], [1, 4]],
    )


def _drawn_masks(rng, count, size=24):
    masks = []
    for _ in range(count):
        rows, cols = rng.integers(2, 9, 2)
        row, col = rng.integers(0, size - 9, 2)
        masks.append(Mask(int(row), int(col), rng.random((rows, cols)) < 0.7))
    return tuple(masks)


def _image(mask, size=24):
    image = np.zeros((size, size), np.uint8, order="F")
    rows, cols = mask.pixels.shape
    image[mask.row : mask.row + rows, mask.col : mask.col + cols] = mask.pixels
    return image


def _things(rng, count, jitter_of=None):
    """Things drawn at random, or copies of others that were moved a little."""
    if jitter_of is not None and len(jitter_of):
        at = rng.integers(0, len(jitter_of), count)
        moved = [
            Mask(
                int(np.clip(m.row + rng.integers(-1, 2), 0, 15)),
                int(np.clip(m.col + rng.integers(-1, 2), 0, 15)),
                m.pixels,
            )
            for m in (jitter_of.masks[index] for index in at)
        ]
        masks, codes = tuple(moved), jitter_of.codes[at]
    else:
        masks, codes = _drawn_masks(rng, count), rng.choice([3, 7], count).astype(np.uint8)
    bounds = np.array([bounds_of_mask(mask) for mask in masks], np.float32).reshape(-1, 4)
    # Few scores, so that some are equal.
    scores = rng.integers(1, 12, count).astype(np.float32) / 12
    things = Things(Boxes.upright(bounds, codes).corners, codes, scores, masks)
    return things.some(np.array([mask.area > 0 for mask in masks], bool))


def _by_coco(kind, found, known, most):
    """(T, 2) average precision of both classes by pycocotools; NaN where there is none."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    from pycocotools.mask import encode

    def rows(listed, scored):
        made = []
        for image, things in enumerate(listed, start=1):
            for at in range(len(things)):
                left, top, right, bottom = things.bounds[at].astype(float)
                row = {
                    "id": len(made) + 1,
                    "image_id": image,
                    "category_id": int(things.codes[at]),
                    "bbox": [left, top, right - left, bottom - top],
                    "area": things.masks[at].area,
                    "iscrowd": 0,
                    "segmentation": encode(_image(things.masks[at])),
                }
                made.append(row | ({"score": float(things.scores[at])} if scored else {}))
        return made

    truth = COCO()
    truth.dataset = {
        "images": [{"id": n, "height": 24, "width": 24} for n in range(1, len(known) + 1)],
        "categories": [{"id": code, "name": name} for code, name in NAMES.items()],
        "annotations": rows(known, scored=False),
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        result = COCO()
        result.dataset = dict(truth.dataset, annotations=rows(found, scored=True))
        result.createIndex()
        evaluation = COCOeval(truth, result, "segm" if kind == "segm" else "bbox")
        evaluation.params.maxDets = [most]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    means = precision.mean(axis=1)
    return np.where((precision == -1).all(axis=1), np.nan, means)


@pytest.mark.parametrize("kind", ["boxes", "segm"])
@settings(max_examples=25)
@given(seed=seeds)
def test_average_precision_is_that_of_coco(kind, seed):
    rng = np.random.default_rng(seed)
    known = [_things(rng, int(rng.integers(0, 6))) for _ in range(4)]
    found = [_things(rng, int(rng.integers(0, 9)), jitter_of=each) for each in known]
    task = TASKS[kind]
    most = int(rng.integers(1, 12))
    score = ThingScore(NAMES, task.known, task.overlaps, most=most)
    for ours, theirs in zip(found, known, strict=True):
        score.add(ours, theirs)
    figures = score.compute()
    expected = _by_coco(kind, found, known, most)
    for name, column in zip(NAMES.values(), expected.T, strict=True):
        assert figures[f"ap_{name}"] == pytest.approx(column.mean(), nan_ok=True)
        assert figures[f"ap_50_{name}"] == pytest.approx(column[0], nan_ok=True)
    all_known = expected[:, ~np.isnan(expected[0])]
    assert figures["map"] == pytest.approx(
        all_known.mean() if all_known.size else np.nan, nan_ok=True
    )
    assert figures["map_75"] == pytest.approx(
        all_known[5].mean() if all_known.size else np.nan, nan_ok=True
    )


@settings(max_examples=25)
@given(seeds)
def test_overlaps_of_masks_are_those_of_coco(seed):
    from pycocotools.mask import encode, iou

    rng = np.random.default_rng(seed)
    ours, theirs = _drawn_masks(rng, 3), _drawn_masks(rng, 4)
    sides = [[encode(_image(mask)) for mask in masks] for masks in (ours, theirs)]
    np.testing.assert_allclose(mask_iou(ours, theirs), iou(*sides, [0] * 4))


@given(seeds)
def test_turned_boxes_that_are_upright_score_as_upright_ones(seed):
    rng = np.random.default_rng(seed)
    known = _things(rng, 5)
    found = _things(rng, 7, jitter_of=known)
    figures = []
    for task in (UprightBoxes((3, 7), ("car", "ship")), OrientedBoxes((3, 7), ("car", "ship"))):
        score = task.score()
        score.add(found, known)
        figures.append(score.compute())
    assert figures[0] == pytest.approx(figures[1], nan_ok=True)


def test_scores_by_hand():
    """Two cars and a ship; one car is found twice, the ship not at all, and one thing is none."""
    known = Boxes.upright(
        np.array([[0, 0, 4, 4], [10, 0, 14, 4], [0, 10, 4, 14]]), np.uint8([3, 3, 7])
    )
    found = Boxes.upright(
        np.array([[0, 0, 4, 4], [0, 0, 4, 5], [20, 20, 24, 24], [10, 0, 14, 3]]),
        np.uint8([3, 3, 3, 3]),
    )
    score = TASKS["boxes"].score()
    score.add(
        Things(found.corners, found.codes, np.float32([0.9, 0.8, 0.3, 0.6])),
        TASKS["boxes"].known(known),
    )
    figures = score.compute()
    assert figures["precision"] == pytest.approx(2 / 3)
    assert figures["recall"] == pytest.approx(2 / 3)
    assert figures["f1"] == pytest.approx(2 / 3)
    assert figures["f1_ship"] == 0
    # Recall 0.5 at precision 1, and 1 at 2/3.
    assert figures["ap_50_car"] == pytest.approx((51 + 50 * 2 / 3) / 101)
    assert figures["ap_50_ship"] == 0
    assert figures["map_50"] == pytest.approx(figures["ap_50_car"] / 2)
    assert figures["count_mae"] == 1
    assert figures["count_bias"] == 0
    assert score.best_threshold() == pytest.approx(0.6)


def test_nothing_was_seen_yet():
    figures = TASKS["boxes"].score().compute()
    assert all(np.isnan(value) for value in figures.values())


def test_a_chip_without_things_counts_what_is_found_there():
    score = TASKS["boxes"].score()
    box = Boxes.upright(np.array([[0, 0, 4, 4]]), np.uint8([3]))
    things = Things(box.corners, box.codes, np.float32([0.9]))
    score.add(things, things)
    score.add(things, no_things())
    figures = score.compute()
    assert figures["ap_50_car"] == pytest.approx(average_precision(np.array([True, False]), 1))
    assert figures["precision"] == 0.5
    assert len(THRESHOLDS) == 10


def test_known_things_of_numbers_and_of_outlines_are_the_same():
    ring = np.array([[2, 1], [7, 1], [7, 5], [2, 5]], np.float32)
    other = np.array([[9, 9], [12, 9], [12, 12]], np.float32)
    ids = np.zeros((16, 16), np.int32)
    for number, each in enumerate((ring, other), start=1):
        ids[fill_rings([each], 0, 0, Shape2d(16, 16))] = number
    codes = np.uint8([3, 7])
    by_ids = known_masks(Instances(codes, ids=ids))
    by_rings = known_masks(Instances(codes, polygons=((ring,), (other,))))
    np.testing.assert_array_equal(by_ids.bounds, by_rings.bounds)
    assert np.diag(mask_iou(by_ids.masks, by_rings.masks)).tolist() == [1, 1]
    assert by_ids.masks[0].area == 20


def test_parts_of_a_thing_add_up():
    parts = [np.array([[x, 0], [x + 4, 0], [x + 4, 4], [x, 4]], np.float32) for x in (0, 2, 9)]
    mask = mask_of_rings(tuple(parts))
    assert (mask.area, mask.pixels.shape) == (4 * 10, (4, 13))


def test_of_two_alike_the_surer_one_stays():
    boxes = Boxes.upright(np.array([[0, 0, 4, 4], [0, 0, 4, 4], [0, 0, 4, 4]]), np.uint8([3, 3, 7]))
    things = Things(boxes.corners, boxes.codes, np.float32([0.2, 0.9, 0.5]))
    assert suppressed(things, upright_iou(boxes.bounds, boxes.bounds), 0.5).tolist() == [1, 2]


def test_what_does_not_fit_is_refused():
    with pytest.raises(ContractError, match="of things do not fit each other"):
        Things(np.zeros((2, 4, 2)), np.zeros(1, np.uint8), np.zeros(2))
    with pytest.raises(ContractError, match="least overlaps must lie above 0"):
        UprightBoxes((1,), ("a",), thresholds=(0.0,))
    with pytest.raises(ContractError, match="needs labels of instances, not Boxes"):
        TASKS["segm"].known(Boxes(np.zeros((0, 4, 2), np.float32), np.zeros(0, np.uint8)))
    with pytest.raises(ContractError, match="class a has the code 255"):
        UprightBoxes((255,), ("a",))
