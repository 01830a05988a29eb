"""Chips cut from a cube, and their store on disk."""

import json
from dataclasses import dataclass

import geopandas as gpd
import numpy as np
import pytest
from odc.geo.geobox import GeoBox

from earthloom.chips.index import open_index
from earthloom.chips.label_burn import Burned
from earthloom.chips.make import INDEX, Cutting, Labelled, make_chips
from earthloom.chips.splits import BlockSplit, Shares
from earthloom.chips.store import ChipWriter, open_chips
from earthloom.errors import ContractError, DataError, LabelError
from earthloom.grid import Area, place_of, window_box
from earthloom.sample import IGNORE, Chip, Layer, LayerSpec, Moments, Shape2d, Window

DATES = ("2023-05", "2023-06")
FINE = LayerSpec("optical", 10.0, ("red", "nir"), "1", DATES, (660.0, 840.0))
COARSE = LayerSpec("optical", 20.0, ("swir",), "1", DATES, (1610.0,), factor=2)
SPECS = {spec.key: spec for spec in (FINE, COARSE)}
DAYS = np.array([19_500, 19_530], np.int32)
BOX = GeoBox.from_bbox((600_000, 5_400_000, 600_280, 5_400_200), crs="EPSG:32632", resolution=10)


def _silent(done, total, detail=""):
    pass


class NoisyCube:
    """A cube of noise that depends on the place alone."""

    specs = SPECS
    shape = Shape2d(*BOX.shape)

    def window(self, window):
        return {key: self._layer(spec, window.coarser(spec.factor)) for key, spec in SPECS.items()}

    def _layer(self, spec, window):
        full = Shape2d(self.shape.rows // spec.factor + 40, self.shape.cols // spec.factor + 40)
        rng = np.random.default_rng(spec.factor)
        pixels = rng.random((2, len(spec.bands), *full)).astype(np.float32)
        valid = rng.random((2, *full)) > 0.3
        pixels[~valid[:, None].repeat(len(spec.bands), 1)] = np.nan
        rows = slice(window.row, window.row + window.shape.rows)
        cols = slice(window.col, window.col + window.shape.cols)
        return Layer(spec, pixels[..., rows, cols], valid[..., rows, cols], DAYS)


@dataclass(frozen=True)
class PixelLabels:
    """Labels of pixels (row, column, code, and a weight where it is not 1) of the base grid."""

    pixels: tuple[tuple[float, ...], ...]

    def during(self, period):
        return self

    def burn(self, box):
        codes, weight = np.zeros(box.shape, np.uint8), np.zeros(box.shape, np.float32)
        left, top = ~BOX.affine * (box.affine * (0, 0))
        for row, col, code, *weights in self.pixels:
            at = (row - round(top), col - round(left))
            if 0 <= at[0] < box.shape.y and 0 <= at[1] < box.shape.x:
                codes[at], weight[at] = code, weights[0] if weights else code != IGNORE
        return Burned(codes, weight, np.zeros(box.shape, np.bool_))


def _labelled(*pixels, name="lake"):
    return Labelled(Area(name, BOX, None), NoisyCube(), PixelLabels(pixels))


def _make(folder, *sources, size=8, stride=None, by_place=False, **more):
    folder.mkdir(exist_ok=True)
    cutting = Cutting(size, stride or size, by_place, **more)
    count = make_chips(sources, cutting, folder, _silent)
    store = open_chips(folder)
    assert len(store) == count
    return store


def test_windows_with_labels_become_chips(tmp_path):
    store = _make(tmp_path, _labelled((0, 0, 1), (3, 4, 2), (9, 17, 2)))
    assert list(store.ids) == ["lake_0_0", "lake_8_16"]
    np.testing.assert_array_equal(np.argwhere(store[0].label), [[0, 0], [3, 4]])
    assert store[1].label[1, 1] == 2
    assert store.specs == SPECS


def test_store_holds_what_was_cut(tmp_path):
    store = _make(tmp_path, _labelled((9, 17, 2)))
    chip, wanted = store[0], NoisyCube().window(Window(8, 16, Shape2d(8, 8)))
    for key, layer in wanted.items():
        np.testing.assert_array_equal(chip.layers[key].pixels, layer.pixels)
        np.testing.assert_array_equal(chip.layers[key].valid, layer.valid)
        np.testing.assert_array_equal(chip.layers[key].days, DAYS)
        assert chip.layers[key].spec == layer.spec
    assert chip.place == place_of(window_box(BOX, Window(8, 16, Shape2d(8, 8))))
    assert chip.moments is None


def test_labels_beyond_the_area_are_not_taken(tmp_path):
    """The area has 20 x 28 pixels; the last windows reach over its edges."""
    store = _make(tmp_path, _labelled((19, 27, 1), (20, 27, 2), (19, 28, 2)))
    (chip,) = [store[k] for k in range(len(store))]
    np.testing.assert_array_equal(np.argwhere(chip.label), [[3, 3]])


def test_overlapping_chips(tmp_path):
    store = _make(tmp_path, _labelled((5, 5, 1)), stride=4)
    assert list(store.ids) == ["lake_0_0", "lake_0_4", "lake_4_0", "lake_4_4"]
    assert all((store[k].label == 1).sum() == 1 for k in range(4))


def test_groups_are_blocks_or_places(tmp_path):
    every = [(row, col, 1) for row in range(0, 20, 8) for col in range(0, 28, 8)]
    blocks = _make(tmp_path / "a", _labelled(*every))
    assert blocks.groups[0] == blocks.groups[1] == "lake/0_0"
    assert set(blocks.groups) == {"lake/0_0", "lake/0_1", "lake/1_0", "lake/1_1"}
    sources = [_labelled((0, 0, 1)), _labelled((0, 0, 2), (8, 8, 1), name="hill")]
    places = _make(tmp_path / "b", *sources, by_place=True)
    assert list(places.groups) == ["lake", "hill", "hill"]


def test_index_describes_every_chip(tmp_path):
    store = _make(tmp_path, _labelled((0, 0, 1), (3, 4, 2), (4, 4, 2), (9, 17, 2)))
    table = gpd.read_parquet(tmp_path / INDEX).sort_values("number", ignore_index=True)
    assert list(table.id) == list(store.ids)
    assert table.crs.to_authority() == ("OGC", "CRS84")
    assert list(table.label_codes[0]) == [1, 2]
    assert list(table.label_counts[0]) == [1, 2]
    assert str(table.first_day[0])[:10] == "2023-05-23"
    assert (table.valid_fraction > 0.4).all()
    assert table.to_crs(32632).geometry[0].area == pytest.approx(6400, rel=0.01)


def test_same_chips_same_bytes(tmp_path):
    for name in "ab":
        _make(tmp_path / name, _labelled((0, 0, 1), (9, 17, 2)))
    files, others = (
        sorted(
            path.relative_to(tmp_path / name)
            for path in (tmp_path / name).rglob("*")
            if path.is_file()
        )
        for name in "ab"
    )
    assert files == others
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_weights_come_along_and_what_is_ignored_is_no_class(tmp_path):
    labels = ((0, 0, 1, 0.5), (0, 1, 2, 0.0), (0, 2, IGNORE), (9, 9, 2), (17, 17, IGNORE))
    store = _make(tmp_path, _labelled(*labels))
    assert list(store.ids) == ["lake_0_0", "lake_8_8"]
    assert store[0].label[0, :3].tolist() == [1, 2, IGNORE]
    assert store[0].weight[0, :2].tolist() == [0.5, 0.0]
    assert store[0].usable_label[0, :3].tolist() == [1, 0, 0]
    assert store[1].weight is None
    assert open_index(tmp_path / INDEX).classes == (1, 2)
    assert open_index(tmp_path / INDEX).histograms().dense().sum() == 2


def test_splits_stand_in_the_index(tmp_path):
    every = [(row, col, 1 + (row > 8)) for row in range(0, 20, 4) for col in range(0, 28, 4)]
    split = BlockSplit(80.0, 10.0, Shares(0.0, 0.4))
    _make(tmp_path, _labelled(*every), size=4, split=split, seed=3)
    index = open_index(tmp_path / INDEX)
    splits = index.column("split")
    assert set(splits) == {"train", "test", "none"}
    assert index.ids(index.query(splits=["test"])) == [
        name for name, part in zip(index.column("id"), splits) if part == "test"
    ]


@pytest.mark.parametrize(
    ("size", "stride", "words"),
    [
        (7, 8, "chips.size is 7, but the layers need a multiple of 2; near it are: 6, 8"),
        (8, 3, "chips.stride is 3, but .* near it are: 2, 4"),
        (1, 2, "near it are: 2"),
    ],
)
def test_sizes_that_would_cut_pixels(size, stride, words, tmp_path):
    with pytest.raises(ContractError, match=words):
        _make(tmp_path, _labelled((0, 0, 1)), size=size, stride=stride)


def test_no_labels_at_all(tmp_path):
    with pytest.raises(LabelError, match=r"no labels in the area lake \(10\.\d+, 48\.\d+"):
        _make(tmp_path, _labelled())


def test_moments_of_a_place_come_back_with_its_chips(tmp_path):
    moments = Moments(np.arange(6, dtype=np.float32), np.eye(6, dtype=np.float32))
    writer = ChipWriter(tmp_path, SPECS, Shape2d(8, 8), 2, {"lake": moments})
    window = Window(0, 0, Shape2d(8, 8))
    for name in ("lake", "hill"):
        chip = Chip(
            id=name,
            shape=window.shape,
            layers=NoisyCube().window(window),
            label=np.ones(window.shape, np.uint8),
            place=place_of(window_box(BOX, window)),
        )
        writer.add(chip, name)
    writer.finish()
    store = open_chips(tmp_path)
    np.testing.assert_array_equal(store[0].moments.mean, moments.mean)
    np.testing.assert_array_equal(store[0].moments.covariance, moments.covariance)
    assert store[1].moments is None


def test_chips_do_not_share_memory_with_the_store(tmp_path):
    store = _make(tmp_path, _labelled((0, 0, 1)))
    store[0].label[:] = 9
    store[0].layers[FINE.key].pixels[:] = 9
    assert store[0].label.max() == 1
    assert np.nanmax(store[0].layers[FINE.key].pixels) < 2


def test_folders_that_hold_no_chips(tmp_path):
    with pytest.raises(DataError, match="holds no chips"):
        open_chips(tmp_path)
    (tmp_path / "store.json").write_text(json.dumps({"layers": []})[:5])
    with pytest.raises(DataError, match="holds no chips"):
        open_chips(tmp_path)
