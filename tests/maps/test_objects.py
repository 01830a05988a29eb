"""Things over a large image: each found once, however the windows lie."""

import json
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import CRS

from earthloom.errors import ContractError, DataError
from earthloom.maps.equal_area import EqualArea
from earthloom.maps.objects import ThingSettings, Vectors, find_things
from earthloom.maps.objects_find import (
    FindWork,
    outline_of,
    pieces_of,
    read_pieces,
    tiling_for_things,
    write_pieces,
)
from earthloom.maps.objects_merge import JOINS, Merger, Pieces, merge
from earthloom.maps.sources import Reach
from earthloom.maps.tiling import layout_of
from earthloom.sample import Layer, LayerSpec, Shape2d, Window
from earthloom.sample.target import Boxes
from earthloom.tasks.objects import Mask, Things, bounds_of_mask
from earthloom.tasks.objects_shapes import least_rectangle

SPEC = LayerSpec("aerial", 0.5, ("red",), "1", ("static",), (660.0,))
NAMES = {1: "car", 2: "ship"}
UTM = CRS.from_epsg(32633)
AFFINE = Affine(0.5, 0, 500_000, 0, -0.5, 5_000_000)
seeds = st.integers(0, 10**6)


def _quiet(done, total, detail=""):
    pass


@dataclass(frozen=True)
class Blank:
    """Pixels that say nothing; where they were not seen, there is nothing to find."""

    shape: Shape2d

    @property
    def specs(self):
        return {SPEC.key: SPEC}

    def open(self):
        return self

    def window(self, window):
        pixels = np.zeros((1, 1, *window.shape), np.float32)
        return {SPEC.key: Layer(SPEC, pixels, pixels[0] == 0, np.zeros(1, np.int32))}


@dataclass(frozen=True)
class Perfect:
    """A detector that knows what is there, and names the part of it that a window shows."""

    shapes: np.ndarray
    codes: np.ndarray
    kind: str

    def open(self):
        return self

    def find(self, batch):
        size = batch.layers[SPEC.key].valid.shape[-2:]
        places = (map(int, name.split("_")) for name in batch.ids)
        return [self.seen(Window(row, col, Shape2d(*size))) for row, col in places]

    def seen(self, window):
        box = shapely.box(
            window.col, window.row, window.col + window.shape.cols, window.row + window.shape.rows
        )
        cut = shapely.intersection(self.shapes, box)
        there = shapely.area(cut) > 1e-6
        here = shapely.transform(cut[there], lambda p: p - (window.col, window.row))
        scores = np.full(len(here), 0.9, np.float32)
        return KINDS[self.kind](here, self.codes[there], scores, window.shape)


def _as_boxes(shapes, codes, scores, size):
    bounds = shapely.bounds(shapes).reshape(-1, 4).astype(np.float32)
    return Things(Boxes.upright(bounds, codes).corners, codes, scores)


def _as_turned(shapes, codes, scores, size):
    corners = [least_rectangle(shapely.get_coordinates(shape)) for shape in shapes]
    return Things(np.array(corners, np.float32).reshape(-1, 4, 2), codes, scores)


def _as_masks(shapes, codes, scores, size):
    y, x = (each.ravel() for each in np.mgrid[: size.rows, : size.cols] + 0.5)
    masks = [Mask(0, 0, shapely.contains_xy(each, x, y).reshape(size)) for each in shapes]
    bounds = np.array([bounds_of_mask(m) for m in masks], np.float32).reshape(-1, 4)
    return Things(Boxes.upright(bounds, codes).corners, codes, scores, tuple(masks))


KINDS = {"boxes": _as_boxes, "oriented-boxes": _as_turned, "instances": _as_masks}


def _apart(shapes, gap=1.0):
    """Those that keep a distance from all before them."""
    kept = []
    for shape in shapes:
        if all(shape.distance(other) > gap for other in kept):
            kept.append(shape)
    return np.array(kept, object).reshape(-1)


def _drawn(rng, kind, shape, count, largest):
    """Shapes of things on an image, apart from each other, of whole pixels where they are masks."""
    made = []
    for _ in range(count):
        wide, high = rng.uniform(3, largest, 2)
        x, y = rng.uniform(0, shape.cols - wide), rng.uniform(0, shape.rows - high)
        if kind == "boxes":
            made.append(shapely.box(x, y, x + wide, y + high))
        elif kind == "oriented-boxes":
            box = shapely.box(x, y, x + wide, y + high)
            turned = shapely.affinity.rotate(box, rng.uniform(0, 90))
            if shapely.box(0, 0, shape.cols, shape.rows).contains(turned):
                made.append(turned)
        else:
            made.append(_blob(rng, int(x), int(y), int(wide), int(high)))
    return _apart(made)


def _blob(rng, x, y, wide, high):
    """Pixels that hang together, with a bay in one side."""
    pixels = np.ones((high, wide), bool)
    bay = rng.integers(0, high), rng.integers(0, max(wide - 1, 1))
    pixels[bay[0] :, : bay[1]] = False
    pixels[:, -1] = True
    return shapely.union_all(outline_of(Mask(y, x, pixels)))


def _work(folder, finder, shape, window, overlap, part=64):
    looks = Reach((SPEC,), 0, 1, True)
    layout = layout_of(shape, tiling_for_things(looks, window, overlap), part)
    return FindWork(finder, Blank(shape), layout, folder, batch=3)


def _merged(finder, layout, kind):
    """Without files: all windows, row by row."""
    windows = {}
    for part in layout.parts():
        for window in layout.windows(part):
            windows.setdefault(window.row, []).append(
                pieces_of(finder.seen(window), window, layout.shape)
            )
    found = list(merge(sorted(windows.items()), layout.shape, JOINS[kind]))
    return (
        np.concatenate([each.shapes for each in found]),
        np.concatenate([each.codes for each in found]),
    )


def _assert_each_once(found, codes, finder, least=1 - 1e-4):
    assert len(found) == len(finder.shapes)
    common = shapely.area(shapely.intersection(found[:, None], finder.shapes[None]))
    total = shapely.area(found)[:, None] + shapely.area(finder.shapes)[None] - common
    best = (common / total).argmax(axis=1)
    assert sorted(best) == list(range(len(best)))
    assert (common / total).max(axis=1).min() >= least
    np.testing.assert_array_equal(codes, finder.codes[best])


@pytest.mark.parametrize("kind", ["boxes", "instances"])
@settings(max_examples=20)
@given(
    seed=seeds,
    rows=st.integers(20, 110),
    cols=st.integers(20, 110),
    window=st.integers(24, 64),
    share=st.floats(0, 0.7),
    largest=st.floats(6, 70),
)
def test_each_thing_is_found_once_however_windows_lie(
    kind, seed, rows, cols, window, share, largest
):
    rng = np.random.default_rng(seed)
    shape = Shape2d(rows, cols)
    shapes = _drawn(rng, kind, shape, 15, min(largest, rows - 1, cols - 1))
    finder = Perfect(shapes, rng.integers(1, 3, len(shapes)).astype(np.uint8), kind)
    looks = Reach((SPEC,), 0, 1, True)
    layout = layout_of(shape, tiling_for_things(looks, window, int(share * window)), 48)
    found, codes = _merged(finder, layout, kind)
    _assert_each_once(found, codes, finder)
    places = shapely.bounds(found)[:, [1, 0]].tolist()
    assert places == sorted(places)


@settings(max_examples=10)
@given(seed=seeds, window=st.integers(44, 70), overlap=st.integers(26, 36))
def test_turned_things_that_fit_into_the_overlap_are_found_once(seed, window, overlap):
    rng = np.random.default_rng(seed)
    shape = Shape2d(130, 150)
    shapes = _drawn(rng, "oriented-boxes", shape, 25, 14)
    finder = Perfect(shapes, rng.integers(1, 3, len(shapes)).astype(np.uint8), "oriented-boxes")
    looks = Reach((SPEC,), 0, 1, True)
    layout = layout_of(shape, tiling_for_things(looks, window, overlap), 48)
    _assert_each_once(*_merged(finder, layout, "oriented-boxes"), finder, least=0.999)


@settings(max_examples=10)
@given(seed=seeds, window=st.integers(40, 64), overlap=st.integers(22, 28))
def test_things_that_overlap_each_other_stay_apart(seed, window, overlap):
    """Crowns in a crowd: of any two, less than half is shared."""
    rng = np.random.default_rng(seed)
    shape = Shape2d(100, 110)
    low = rng.uniform(0, 88, (60, 2))
    boxes = shapely.box(*low.T, *(low + rng.uniform(6, 12, (60, 2))).T)
    kept = []
    for box in boxes:
        if all(_share(box, other) < 0.3 for other in kept):
            kept.append(box)
    finder = Perfect(np.array(kept, object), np.ones(len(kept), np.uint8), "boxes")
    looks = Reach((SPEC,), 0, 1, True)
    layout = layout_of(shape, tiling_for_things(looks, window, min(overlap, window - 1)), 48)
    _assert_each_once(*_merged(finder, layout, "boxes"), finder)


def _share(one, other):
    common = one.intersection(other).area
    return common / (one.area + other.area - common)


def test_files_and_their_order(tmp_path):
    rng = np.random.default_rng(3)
    shape = Shape2d(190, 170)
    shapes = _drawn(rng, "boxes", shape, 60, 20)
    finder = Perfect(shapes, rng.integers(1, 3, len(shapes)).astype(np.uint8), "boxes")
    place = EqualArea(UTM, AFFINE, tuple(shape))
    made = []
    for name, turn in (("forth", 1), ("back", -1)):
        work = _work(tmp_path / name / "work", finder, shape, 40, 10)
        folder = tmp_path / name
        work.folder.mkdir(parents=True)
        for part in work.units()[::turn]:
            work.do(part)
        vectors = Vectors(folder, place, NAMES, ("parquet", "gpkg", "fgb"))
        made.append(find_things(work, vectors, JOINS["boxes"], _quiet))
        assert (folder / "things.parquet").exists()
    assert made[0] == made[1]
    for file in ("things.parquet", "things.fgb", "things.json"):
        forth, back = ((tmp_path / name / file).read_bytes() for name in ("forth", "back"))
        assert forth == back, file
    tables = [
        gpd.read_parquet(tmp_path / "forth" / "things.parquet"),
        gpd.read_file(tmp_path / "forth" / "things.gpkg"),
        gpd.read_file(tmp_path / "forth" / "things.fgb").sort_values("id"),
    ]
    for table in tables:
        assert table.crs == UTM
        assert len(table) == len(shapes) == made[0].things
        assert list(table["id"]) == list(range(1, len(table) + 1))
        np.testing.assert_allclose(table["area_m2"], table.area, rtol=2e-3)
        assert set(table["name"]) == set(NAMES.values())
    back = tables[0].geometry.affine_transform([2, 0, 0, -2, -1e6, 1e7])
    _assert_each_once(back.to_numpy(), tables[0]["code"].to_numpy(np.uint8), finder)
    tops = tables[0].geometry.bounds["maxy"].to_numpy()
    assert (np.diff(tops) <= 1e-6).all()
    summary = json.loads((tmp_path / "forth" / "things.json").read_text())
    assert summary["by_class"] == {
        name: int((finder.codes == code).sum()) for code, name in NAMES.items()
    }


def test_what_lies_outside_the_area_is_left_out(tmp_path):
    shapes = shapely.box([10, 60], [10, 60], [20, 70], [20, 70])
    finder = Perfect(shapes, np.uint8([1, 1]), "boxes")
    shape = Shape2d(100, 100)
    work = _work(tmp_path / "work", finder, shape, 40, 12)
    place = EqualArea(UTM, AFFINE, tuple(shape))
    vectors = Vectors(tmp_path, place, NAMES, outline=shapely.box(0, 0, 62, 66))
    assert find_things(work, vectors, JOINS["boxes"], _quiet).things == 1


def test_nothing_at_all(tmp_path):
    finder = Perfect(np.empty(0, object), np.zeros(0, np.uint8), "boxes")
    work = _work(tmp_path / "work", finder, Shape2d(90, 90), 40, 12)
    vectors = Vectors(tmp_path, EqualArea(UTM, AFFINE, (90, 90)), NAMES)
    assert find_things(work, vectors, JOINS["boxes"], _quiet).things == 0
    table = gpd.read_parquet(tmp_path / "things.parquet")
    assert (len(table), table.crs) == (0, UTM)


def _pieces(window, *boxes, scores=None):
    shapes = np.array([shapely.box(*box) for box in boxes], object)
    count = len(boxes)
    given = np.full(count, 0.9, np.float32) if scores is None else np.float32(scores)
    return Pieces(window, shapes, np.ones(count, np.uint8), given)


def test_a_cut_thing_is_taken_from_the_window_where_it_is_whole():
    """The piece is surer than the whole, and is a poor fit."""
    left, right = Window(0, 0, Shape2d(60, 60)), Window(0, 40, Shape2d(60, 60))
    merger = Merger(Shape2d(60, 100), JOINS["boxes"])
    found = merger.push(
        [
            _pieces(left, (45, 10, 60, 30), scores=[0.95]),
            _pieces(right, (44, 11, 72, 30), scores=[0.6]),
        ],
        None,
    )
    assert shapely.bounds(found.shapes).tolist() == [[44, 11, 72, 30]]
    assert not found.joined.any()


def test_a_sliver_of_a_thing_that_is_whole_elsewhere_is_no_thing():
    left, right = Window(0, 0, Shape2d(60, 60)), Window(0, 40, Shape2d(60, 60))
    rows = [_pieces(left, (30, 10, 44, 30)), _pieces(right, (40, 10, 43, 15))]
    found = Merger(Shape2d(60, 100), JOINS["boxes"]).push(rows, None)
    assert shapely.bounds(found.shapes).tolist() == [[30, 10, 44, 30]]


def test_what_every_window_cuts_is_put_together():
    windows = [Window(0, col, Shape2d(40, 40)) for col in (0, 30, 60)]
    rows = [
        _pieces(windows[0], (20, 5, 40, 25)),
        _pieces(windows[1], (30, 5, 70, 25)),
        _pieces(windows[2], (60, 5, 80, 25)),
    ]
    found = Merger(Shape2d(40, 100), JOINS["boxes"]).push(rows[::-1], None)
    assert shapely.bounds(found.shapes).tolist() == [[20, 5, 80, 25]]
    assert found.joined.all()


def test_memory_does_not_grow_with_the_map():
    """Things are given and forgotten some rows of windows behind the front."""
    shape = Shape2d(4000, 60)
    boxes = shapely.box(10, np.arange(5, 3990, 20), 22, np.arange(5, 3990, 20) + 12)
    finder = Perfect(boxes, np.ones(len(boxes), np.uint8), "boxes")
    looks = Reach((SPEC,), 0, 1, True)
    layout = layout_of(shape, tiling_for_things(looks, 60, 20), 400)
    merger, count, most = Merger(shape, JOINS["boxes"]), 0, 0
    tops = [*layout.rows.starts, None]
    for number, top in enumerate(tops[:-1]):
        window = layout.window(number, 0)
        row = [pieces_of(finder.seen(window), window, shape)]
        count += len(merger.push(row, tops[number + 1]))
        held = (merger._settled, merger._wholes, merger._things, merger._parents, merger._live)
        most = max(most, *(len(each) for each in held))
        assert top is not None
    assert count == len(boxes)
    assert most <= 12


@pytest.mark.parametrize("kind", ["boxes", "instances"])
def test_pieces_come_back_as_they_were_written(tmp_path, kind):
    rng = np.random.default_rng(1)
    shape = Shape2d(80, 80)
    shapes = _drawn(rng, kind, shape, 12, 20)
    finder = Perfect(shapes, np.ones(len(shapes), np.uint8), kind)
    windows = [Window(0, 0, Shape2d(50, 50)), Window(30, 30, Shape2d(50, 50))]
    found = [pieces_of(finder.seen(window), window, shape) for window in windows]
    empty = Pieces(
        Window(0, 30, Shape2d(50, 50)), found[0].shapes[:0], np.uint8([]), np.float32([])
    )
    write_pieces(tmp_path / "a.npz", [*found, empty])
    for ours, theirs in zip([*found, empty], read_pieces(tmp_path / "a.npz"), strict=True):
        assert ours.window == theirs.window
        assert shapely.equals(ours.shapes, theirs.shapes).all()
        np.testing.assert_array_equal(ours.scores, theirs.scores)


def test_what_cannot_be_is_refused():
    with pytest.raises(
        ContractError, match="windows of 64 pixels cannot share 64; valid are 0 to 63"
    ):
        tiling_for_things(Reach((SPEC,), 0, 1, True), 64, 64)
    with pytest.raises(DataError, match="no format of things 'shp'; valid: parquet, gpkg, fgb"):
        ThingSettings(formats=("shp",))
