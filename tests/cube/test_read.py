"""Pixels in physical units, against what rasterio reads by hand."""

import numpy as np
import pytest
import rasterio
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from earthloom.archive import Asset
from earthloom.cube.read import Reader, native_box
from earthloom.errors import DataError
from earthloom.grid import coarser, window_box
from earthloom.sample import Shape2d, Window
from earthloom.sensors import Quality, State


def read_band(root, asset, box):
    return Reader(root).physical(asset, box)


def read_clear(root, asset, quality, box):
    flags = Reader(root).stored(asset, box, continuous=False)
    numbers = np.where(flags.there, flags.values, 0).astype(int)
    return flags.there & ~quality.where(numbers, quality.hides)


BOX = GeoBox.from_bbox((600_000, 5_400_000, 600_240, 5_400_160), crs="EPSG:32632", resolution=10)


@pytest.fixture
def write(tmp_path):
    def write(pixels, name="band.tif", box=BOX, nodata=0, crs="EPSG:32632"):
        rows, cols = pixels.shape
        profile = {"width": cols, "height": rows, "count": 1, "dtype": pixels.dtype}
        with rasterio.open(
            tmp_path / name,
            "w",
            driver="GTiff",
            nodata=nodata,
            crs=crs,
            transform=box.affine,
            **profile,
        ) as file:
            file.write(pixels, 1)
        return name

    return write


@pytest.fixture
def stored():
    pixels = np.random.default_rng(0).integers(1, 12_000, BOX.shape).astype(np.uint16)
    pixels[3, 4:7] = 0
    return pixels


@pytest.mark.parametrize(("scale", "offset"), [(1.0, 0.0), (0.0001, 0.0), (0.0001, -0.1)])
def test_own_grid_gives_own_values(scale, offset, write, stored, tmp_path):
    asset = Asset(write(stored), None, scale, offset, 0)
    wanted = np.where(stored == 0, np.nan, stored * np.float32(scale) + np.float32(offset))
    np.testing.assert_allclose(read_band(str(tmp_path), asset, BOX), wanted, rtol=1e-6)


def test_dark_pixels_are_not_clipped(write, tmp_path):
    """Reflectance may fall below zero where the atmosphere was taken off too far."""
    asset = Asset(write(np.full(BOX.shape, 500, np.uint16)), None, 0.0001, -0.1, 0)
    np.testing.assert_allclose(read_band(str(tmp_path), asset, BOX), -0.05, rtol=1e-5)


def test_nodata_of_the_file_where_the_asset_names_none(write, stored, tmp_path):
    asset = Asset(write(stored), None)
    assert (np.isnan(read_band(str(tmp_path), asset, BOX)) == (stored == 0)).all()


def test_infinite_is_nodata(write, tmp_path):
    pixels = np.ones(BOX.shape, np.float32)
    pixels[0, 0], pixels[0, 1], pixels[0, 2] = np.inf, -np.inf, np.nan
    asset = Asset(write(pixels, nodata=None), None)
    found = np.isnan(read_band(str(tmp_path), asset, BOX))
    assert found[0, :3].all()
    assert found.sum() == 3


def test_window_over_the_edge_is_not_seen_there(write, stored, tmp_path):
    asset = Asset(write(stored), None, 1.0, 0.0, 0)
    window = window_box(BOX, Window(-3, 20, Shape2d(8, 8)))
    found = read_band(str(tmp_path), asset, window)
    assert np.isnan(found[:3]).all()
    assert np.isnan(found[:, 4:]).all()
    np.testing.assert_array_equal(found[4:, :4], stored[1:5, 20:])


def test_coarser_grid_is_the_mean(write, tmp_path):
    pixels = np.random.default_rng(1).integers(1, 9000, BOX.shape).astype(np.uint16)
    asset = Asset(write(pixels), None, 1.0, 0.0, 0)
    found = read_band(str(tmp_path), asset, coarser(BOX, 2))
    rows, cols = BOX.shape
    wanted = pixels.reshape(rows // 2, 2, cols // 2, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(found, wanted, rtol=1e-5)


QUALITY = Quality("SCL", 20, (State("fill", (0,)), State("vegetation", (4,)), State("cloud", (8,))))


def test_clear_is_what_is_neither_invalid_nor_outside(write, tmp_path):
    coarse = coarser(BOX, 2)
    classes = np.random.default_rng(2).choice([0, 4, 8], coarse.shape).astype(np.uint8)
    asset = Asset(write(classes, box=coarse), None)
    np.testing.assert_array_equal(
        read_clear(str(tmp_path), asset, QUALITY, BOX), (classes == 4).repeat(2, 0).repeat(2, 1)
    )
    beside = window_box(BOX, Window(0, 1000, Shape2d(4, 4)))
    assert not read_clear(str(tmp_path), asset, QUALITY, beside).any()


def test_native_box_is_the_files_grid(write, stored, tmp_path):
    assert native_box(str(tmp_path), Asset(write(stored), None)) == BOX


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_files_that_do_not_say_where_they_lie(write, stored, tmp_path):
    asset = Asset(write(stored, crs=None), None)
    for read in (lambda: read_band(str(tmp_path), asset, BOX), lambda: native_box(tmp_path, asset)):
        with pytest.raises(DataError, match=r"band\.tif has no CRS"):
            read()


def test_files_that_are_not_there_or_no_images(tmp_path):
    (tmp_path / "text.tif").write_text("text")
    for name in ("none.tif", "text.tif"):
        with pytest.raises(DataError, match=f"{name} (does not exist|is not an image|cannot be)"):
            read_band(str(tmp_path), Asset(name, None), BOX)


@settings(deadline=None, max_examples=15)
@given(st.floats(-0.4, 0.4), st.floats(1, 3), st.floats(-2000, 2000))
def test_there_and_back_again(tmp_path_factory, phase, waves, east):
    """A smooth image in a neighbouring zone and back is itself, but for two interpolations."""
    folder = tmp_path_factory.mktemp("back")
    home = GeoBox.from_bbox(
        (790_000 + east, 5_400_000, 791_500 + east, 5_401_500), crs="EPSG:32632", resolution=10
    )
    rows, cols = np.mgrid[: home.shape.y, : home.shape.x] / home.shape.x
    image = np.sin(2 * np.pi * (waves * (rows + 0.5 * cols) + phase)).astype(np.float32)
    west, south, right, north = home.to_crs("EPSG:32633").boundingbox.bbox
    away = GeoBox.from_bbox(
        (west - 200, south - 200, right + 200, north + 200), crs="EPSG:32633", resolution=10
    )
    _write(folder / "home.tif", image, home)
    there = read_band(str(folder), Asset("home.tif", None), away)
    _write(folder / "away.tif", there, away)
    back = read_band(str(folder), Asset("away.tif", None), home)
    inner = (slice(5, -5), slice(5, -5))
    assert not np.isnan(back[inner]).any()
    np.testing.assert_allclose(back[inner], image[inner], atol=0.02)


def _write(path, pixels, box):
    profile = {"width": box.shape.x, "height": box.shape.y, "count": 1, "dtype": "float32"}
    grid = {"crs": str(box.crs), "transform": box.affine, "nodata": float("nan")}
    with rasterio.open(path, "w", driver="GTiff", **profile, **grid) as file:
        file.write(pixels, 1)
