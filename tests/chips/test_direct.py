"""Chips straight from COGs: the same pixels as any other way, each block decoded once."""

from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
import rasterio
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.transform import from_origin

from earthloom.archive import Asset, Scene
from earthloom.chips.direct import DirectChips, Shuffle
from earthloom.chips.draws import Draws, Share, draw_windows, regions_of, shuffle
from earthloom.chips.grids import survey
from earthloom.chips.physical import Overlap, Units, pour, pour_slowly
from earthloom.cube.read import Reader
from earthloom.errors import ContractError
from earthloom.grid import window_box
from earthloom.sample import LayerSpec, Shape2d, Window
from earthloom.sample.batch import collate

FINE = LayerSpec("sentinel-2-l2a", 10, ("B04", "B08"), "1", ("1",), (665.0, 833.0))
COARSE = LayerSpec("sentinel-2-l2a", 20, ("B11",), "1", ("1",), (1610.0,), factor=2)
SIZE = 64
SHAPES = ((320, 256), (256, 256), (300, 330), (256, 384))


def _write(path: Path, pixels: np.ndarray, metres: float, corner: int) -> Asset:
    rows, cols = pixels.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=cols, height=rows, count=1, dtype=pixels.dtype,
        crs="EPSG:32632", transform=from_origin(600_000 + 9000 * corner, 5_500_020, metres, metres),
        nodata=0, tiled=True, blockxsize=128, blockysize=128, compress="deflate", predictor=2,
    ) as file:  # fmt: skip
        file.write(pixels, 1)
    return Asset(path.name, path.stat().st_size, scale=1e-4, offset=-0.1, nodata=0)


def _scene(folder: Path, number: int, shape: tuple[int, int]) -> Scene:
    random = np.random.default_rng(number)
    bands = {}
    for name, factor in (("B04", 1), ("B08", 1), ("B11", 2)):
        size = tuple(-(-side // factor) for side in shape)
        pixels = random.integers(1, 9000, size).astype(np.uint16)
        pixels[20 // factor : 60 // factor, 10 // factor : 70 // factor] = 0
        bands[name] = _write(folder / f"s{number}_{name}.tif", pixels, 10 * factor, number)
    time = datetime(2023, 6, 1 + number, 10, tzinfo=UTC)
    return Scene(
        id=f"s{number}", sensor="sentinel-2-l2a", time=time, day=time.date(), bounds=None,
        place="", cloud_cover=None, bands=bands, quality=None,
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scenes")


@pytest.fixture(scope="module")
def scenes(folder):
    return [_scene(folder, number, shape) for number, shape in enumerate(SHAPES)]


def _direct(folder, scenes, seed=3, threads=2, specs=(FINE, COARSE), **options):
    reader = Reader(str(folder))
    found = survey(reader, scenes, specs)
    return DirectChips(reader, found.grids, SIZE, seed, threads=threads, **options)


def _same(ours, theirs):
    assert ours.id == theirs.id
    for key, layer in ours.layers.items():
        np.testing.assert_array_equal(layer.pixels, theirs.layers[key].pixels)
        np.testing.assert_array_equal(layer.valid, theirs.layers[key].valid)


def _expected(reader, scene, spec, base, window):
    box = window_box(base, window)
    if spec.factor > 1:
        corner = window.coarser(spec.factor)
        coarse = reader_box(reader, scene, spec)
        box = window_box(coarse, corner)
    pixels = np.stack([reader.physical(scene.bands[band], box) for band in spec.bands])
    valid = np.isfinite(pixels).all(axis=0)
    return np.where(valid, pixels, np.nan), valid


def reader_box(reader, scene, spec):
    from earthloom.cube.read import native_box

    return native_box(reader.root, scene.bands[spec.bands[0]])


def test_pixels_are_those_of_the_reader(folder, scenes):
    direct = _direct(folder, scenes)
    reader = Reader(str(folder))
    order = direct.order(0)
    by_id = {scene.id: scene for scene in scenes}
    seen_invalid = False
    for at, chip in enumerate(direct.chips(0)):
        scene = by_id[chip.id.partition("_")[0]]
        base = reader_box(reader, scene, FINE)
        window = Window(int(order.row[at]), int(order.col[at]), Shape2d(SIZE, SIZE))
        for spec in (FINE, COARSE):
            pixels, valid = _expected(reader, scene, spec, base, window)
            layer = chip.layers[spec.key]
            np.testing.assert_array_equal(layer.pixels[0], pixels)
            np.testing.assert_array_equal(layer.valid[0], valid)
            seen_invalid |= not valid.all()
        assert layer.days[0] == (scene.day - date(1970, 1, 1)).days
        assert chip.place.transform[2] == base.affine.c + 10 * window.col
    assert at == len(order) - 1
    assert seen_invalid


def test_bands_of_other_pixels_are_resampled_as_the_reader_does(folder, scenes):
    spec = replace(FINE, bands=("B04", "B11"), wavelengths_nm=(665.0, 1610.0))
    direct = _direct(folder, scenes[:1], specs=(spec,))
    reader = Reader(str(folder))
    order = direct.order(0)
    base = reader_box(reader, scenes[0], FINE)
    for at, chip in enumerate(direct.chips(0)):
        window = Window(int(order.row[at]), int(order.col[at]), Shape2d(SIZE, SIZE))
        pixels, valid = _expected(reader, scenes[0], spec, base, window)
        np.testing.assert_array_equal(chip.layers[spec.key].valid[0], valid)
        np.testing.assert_allclose(chip.layers[spec.key].pixels[0], pixels, atol=1e-5)


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_threads_change_nothing(folder, scenes, threads):
    one = list(_direct(folder, scenes, threads=1).chips(1))
    for ours, theirs in zip(_direct(folder, scenes, threads=threads).chips(1), one, strict=True):
        _same(ours, theirs)


def test_epochs_and_seeds_differ(folder, scenes):
    direct = _direct(folder, scenes)
    places = {tuple(direct.order(epoch).row) for epoch in range(3)}
    places.add(tuple(_direct(folder, scenes, seed=4).order(0).row))
    assert len(places) == 4


@pytest.mark.parametrize("start", [0, 1, 33, 75])
def test_it_goes_on_where_it_stopped(folder, scenes, start):
    whole = list(_direct(folder, scenes).chips(2))
    rest = list(_direct(folder, scenes).chips(2, start))
    assert len(rest) == len(whole) - start
    for ours, theirs in zip(rest, whole[start:], strict=True):
        _same(ours, theirs)


def test_batches_hold_the_chips_in_order(folder, scenes):
    direct = _direct(folder, scenes)
    chips = list(direct.chips(0, start=10))
    place = 0
    for batch in direct.batches(10, 0, start=10):
        expected = collate(chips[place : place + len(batch.ids)])
        assert batch.ids == expected.ids
        for key, layer in expected.layers.items():
            assert torch.equal(batch.layers[key].days, layer.days)
            assert torch.equal(batch.layers[key].valid, layer.valid)
            torch.testing.assert_close(
                batch.layers[key].pixels, layer.pixels, rtol=0, atol=0, equal_nan=True
            )
        place += len(batch.ids)
    assert place == len(chips)


def test_shares_are_parts_of_the_whole(folder, scenes):
    direct = _direct(folder, scenes)
    whole = [chip.id for chip in direct.chips(0)]
    parts = [chip.id for rank in range(3) for chip in direct.chips(0, share=Share(rank, 3))]
    assert parts == whole[: len(whole) // 3 * 3]


def test_each_block_is_decoded_once_and_its_memory_used_again(folder, scenes):
    direct = _direct(folder, scenes, shuffle=Shuffle(chips=20))
    for _ in direct.batches(8, 0, ahead=1):
        pass
    counts = direct.served.cache
    assert set(counts.decoded.values()) == {1}
    assert direct.served.chips == len(direct.order(0))
    stored = sum(rows * cols for rows, cols in SHAPES) * 2 * 2
    assert counts.peak_bytes < stored


@pytest.mark.parametrize("limit", [1_320_000, 1_600_000])
def test_a_small_cache_holds_its_bound_and_changes_no_pixel(tmp_path, limit):
    scenes = [_scene(tmp_path, 0, (700, 640))]
    expected = {chip.id: chip for chip in _direct(tmp_path, scenes).chips(0)}
    small = _direct(tmp_path, scenes, shuffle=Shuffle(60, limit))
    for chip in small.chips(0):
        _same(chip, expected[chip.id])
    counts = small.served.cache
    assert 0 < counts.peak_bytes <= limit
    assert max(counts.decoded.values()) > 1


def test_a_cache_too_small_for_one_chip_is_refused(folder, scenes):
    direct = _direct(folder, scenes, shuffle=Shuffle(cache_bytes=50_000))
    with pytest.raises(ContractError, match=r"50,000 bytes is too small"):
        next(direct.chips(0))


@pytest.fixture
def damaged(tmp_path):
    """Two scenes: of the first a file is gone, of the second one is cut short."""
    scenes = [_scene(tmp_path, number, (512, 512)) for number in range(2)]
    (tmp_path / "s0_B08.tif").unlink()
    cut = tmp_path / "s1_B04.tif"
    cut.write_bytes(cut.read_bytes()[: cut.stat().st_size * 2 // 3])
    return tmp_path, scenes


def test_damaged_files_are_masked_and_counted(damaged):
    folder, scenes = damaged
    direct = _direct(folder, scenes)
    chips = list(direct.chips(0))
    gone = [chip for chip in chips if chip.id.startswith("s0")]
    cut = [chip for chip in chips if chip.id.startswith("s1")]
    assert gone
    assert not any(chip.layers[FINE.key].valid.any() for chip in gone)
    assert all(np.isnan(chip.layers[FINE.key].pixels).all() for chip in gone)
    assert any(chip.layers[COARSE.key].valid.any() for chip in gone)
    seen = [chip.layers[FINE.key].valid.any() for chip in cut]
    assert any(seen)
    assert not all(chip.layers[FINE.key].valid.all() for chip in cut)
    assert len(gone) <= direct.served.broken_chips <= len(chips)
    assert set(direct.served.failed) == {"s0_B08.tif", "s1_B04.tif"}


def test_a_scene_without_any_file_has_no_grid(tmp_path):
    scenes = [_scene(tmp_path, number, (256, 256)) for number in range(2)]
    for file in tmp_path.glob("s0_*"):
        file.unlink()
    found = survey(Reader(str(tmp_path)), scenes, (FINE,))
    assert [grid.scene.id for grid in found.grids] == ["s1"]
    assert "does not exist" in found.unreadable["s0"]


def test_windows_that_do_not_fit_are_refused(folder, scenes):
    windows = Draws(np.array([0, 1]), np.array([0, 200]), np.array([0, 0]))
    with pytest.raises(ContractError, match="window 1 at row 200"):
        _direct(folder, scenes, windows=windows)
    with pytest.raises(ContractError, match="multiples of 2"):
        _direct(folder, scenes, windows=replace(windows, row=np.array([0, 7])))


def test_given_windows_are_served_each_epoch(folder, scenes):
    windows = Draws(np.array([0, 1, 3]), np.array([0, 10, 64]), np.array([2, 0, 320]))
    direct = _direct(folder, scenes, windows=windows)
    names = {"s0_0_2", "s1_10_0", "s3_64_320"}
    assert {chip.id for chip in direct.chips(0)} == names
    assert {chip.id for chip in direct.chips(1)} == names


@settings(max_examples=40, deadline=None)
@given(
    shapes=st.lists(st.tuples(st.integers(64, 900), st.integers(64, 900)), min_size=1, max_size=9),
    lanes=st.integers(1, 6),
    side=st.integers(64, 500),
    seed=st.integers(0, 9),
)
def test_no_more_regions_are_open_than_lanes(shapes, lanes, side, seed):
    random = np.random.default_rng(seed)
    scenes = [Shape2d(*shape) for shape in shapes]
    draws = draw_windows(scenes, 64, 2, random)
    region = regions_of(draws, scenes, 64, side, random)
    order = shuffle(region, lanes, random)
    assert sorted(order) == list(range(len(draws)))
    served = region[order]
    first = {each: int(np.flatnonzero(served == each)[0]) for each in set(served)}
    last = {each: int(np.flatnonzero(served == each)[-1]) for each in set(served)}
    for at in range(len(served)):
        assert sum(first[each] <= at <= last[each] for each in first) <= lanes


def test_pixels_are_drawn_once_on_average():
    shapes = [Shape2d(512, 512), Shape2d(256, 768)]
    counts = [np.zeros(shape) for shape in shapes]
    for seed in range(20):
        draws = draw_windows(shapes, 64, 1, np.random.default_rng(seed))
        for scene, row, col in zip(draws.scene, draws.row, draws.col, strict=True):
            counts[scene][row : row + 64, col : col + 64] += 1
    assert all(count.mean() == pytest.approx(20) for count in counts)
    assert all(count[64:-64, 64:-64].min() > 0 for count in counts)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float32", "int32", "float64"])
def test_the_compiled_way_is_the_slow_way(dtype):
    random = np.random.default_rng(1)
    stored = random.integers(0, 120, (3, 40, 50)).astype(dtype)
    if np.dtype(dtype).kind == "f":
        stored[0, 3, 4], stored[1, 9, 9] = np.nan, np.inf
    assets = tuple(Asset(f"{n}.tif", None, scale=0.1 * n + 0.01, offset=-n) for n in range(3))
    units = Units.of(assets, [0, None, 7])
    part = Overlap(2, 3, 5, 1, Shape2d(30, 40))
    results = []
    for way in (pour, pour_slowly):
        pixels, valid = np.full((3, 40, 44), -9, np.float32), np.zeros((40, 44), np.bool_)
        way(stored, units, part, pixels, valid)
        results.append((pixels, valid))
    np.testing.assert_array_equal(results[0][0], results[1][0])
    np.testing.assert_array_equal(results[0][1], results[1][1])
    assert np.isnan(results[0][0]).any()


def test_brightness_goes_the_slow_way():
    stored = np.full((1, 4, 4), 300, np.uint16)
    asset = Asset("b.tif", None, scale=0.1, transform="brightness", constants=(774.9, 1321.1))
    pixels, valid = np.empty((1, 4, 4), np.float32), np.empty((4, 4), np.bool_)
    pour(stored, Units.of((asset,), [None]), Overlap(0, 0, 0, 0, Shape2d(4, 4)), pixels, valid)
    assert pixels[0, 0, 0] == pytest.approx(1321.1 / np.log(774.9 / 30 + 1), rel=1e-5)
    assert valid.all()
