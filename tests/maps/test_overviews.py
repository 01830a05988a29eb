"""Overviews stand for the pixels under them."""

from collections import Counter

import numpy as np
import pytest
import rasterio
import rasterio.shutil
from hypothesis import given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox
from rasterio.shutil import copy

from earthloom.maps import overviews
from earthloom.maps.cog import StripWriter
from earthloom.maps.overviews import HALVED

BOX = GeoBox((1500, 1100), rasterio.Affine(10, 0, 5e5, 0, -10, 5e6), "EPSG:32633")


def _slow(image, nodata, stands_for):
    """Every pixel of the overview from those under it, one at a time."""
    bands, rows, cols = image.shape
    half = np.empty((bands, -(-rows // 2), -(-cols // 2)), image.dtype)
    for band, row, col in np.ndindex(half.shape):
        under = image[band, 2 * row : 2 * row + 2, 2 * col : 2 * col + 2].ravel()
        seen = under[~((under == nodata) | (under != under))]
        half[band, row, col] = stands_for(seen) if len(seen) else nodata
    return half


def _mode(seen):
    return Counter(seen.tolist()).most_common(1)[0][0]


@settings(deadline=None, max_examples=60)
@given(
    rows=st.integers(1, 9),
    cols=st.integers(1, 9),
    kind=st.sampled_from([("uint8", 0), ("uint8", 255), ("int8", -128), ("float32", np.nan)]),
    name=st.sampled_from(sorted(HALVED)),
    seed=st.integers(0, 99),
)
def test_a_pixel_stands_for_four(rows, cols, kind, name, seed):
    dtype, nodata = kind
    if name == "MODE" and dtype != "uint8":
        return
    rng = np.random.default_rng(seed)
    image = rng.integers(1, 5, (2, rows, cols)).astype(dtype)
    image[rng.random(image.shape) < 0.3] = nodata
    found = HALVED[name](image, nodata)
    assert found.dtype == image.dtype
    if name == "MODE":
        np.testing.assert_array_equal(found, _slow(image, nodata, _mode))
    elif dtype == "float32":
        np.testing.assert_allclose(found, _slow(image, nodata, np.mean), rtol=1e-6)
    else:
        wanted = _slow(image, nodata, lambda seen: np.floor(seen.astype(float).mean() + 0.5))
        np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize(
    ("name", "dtype", "nodata"), [("MODE", "uint8", 0), ("AVERAGE", "int8", -128)]
)
def test_a_cog_holds_the_overviews_that_were_made(tmp_path, monkeypatch, name, dtype, nodata):
    monkeypatch.setattr(overviews, "_PIECE_BYTES", 512 * 512)
    image = np.random.default_rng(0).integers(1, 90, (2, *BOX.shape)).astype(dtype)
    image[:, 300:700, 200:600] = nodata
    writer = StripWriter(tmp_path / "a.tif", BOX, ("x", "y"), nodata, dtype)
    writer.write(0, image[:, :700])
    writer.write(700, image[:, 700:])
    writer.finish(name)
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]
    wanted = image
    with rasterio.open(tmp_path / "a.tif") as source:
        assert source.descriptions == ("x", "y")
        assert source.overviews(1) == [2, 4, 8]
        np.testing.assert_array_equal(source.read(), image)
    for level in range(3):
        wanted = HALVED[name](wanted, nodata)
        with rasterio.open(tmp_path / "a.tif", overview_level=level) as source:
            np.testing.assert_array_equal(source.read(), wanted)


def test_what_a_killed_run_left_is_no_hindrance(tmp_path, monkeypatch):
    image = np.random.default_rng(0).integers(1, 9, (1, *BOX.shape)).astype(np.uint8)

    def made():
        writer = StripWriter(tmp_path / "a.tif", BOX, ("x",), 0)
        writer.write(0, image)
        writer.finish("MODE")
        return (tmp_path / "a.tif").read_bytes()

    wanted = made()
    with monkeypatch.context() as patch:
        patch.setattr(rasterio.shutil, "copy", _killed)
        with pytest.raises(KeyboardInterrupt):
            made()
    assert len(list(tmp_path.iterdir())) > 2
    assert made() == wanted
    assert [path.name for path in tmp_path.iterdir()] == ["a.tif"]


def _killed(source, target, driver, **options):
    if driver == "COG":
        raise KeyboardInterrupt
    return copy(source, target, driver=driver, **options)
