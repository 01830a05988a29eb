"""A mosaic shows what its maps show."""

import shutil

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.warp import transform
from rasterio.windows import from_bounds

from earthloom.errors import DataError
from earthloom.maps import MAP, PROBABILITY
from earthloom.maps.mosaic import write_mosaic


def values(path, band=1):
    with rasterio.open(path) as source:
        return source.read(band)


def mosaic_of(folder, names, file=MAP):
    """The mosaic of maps in `folder`, in a folder beside it."""
    beside = folder.parent / "collection"
    beside.mkdir(exist_ok=True)
    return write_mosaic(beside, {name: folder / name for name in names}, file)


@pytest.fixture(scope="module")
def areas(tmp_path_factory, maps):
    folder = tmp_path_factory.mktemp("areas") / "map"
    folder.mkdir()
    for name in maps.boxes:
        maps.write(folder, name)
    return folder


@pytest.mark.parametrize("file", [MAP, PROBABILITY])
def test_maps_of_one_grid_keep_every_pixel(areas, file):
    made = mosaic_of(areas, ["west", "east"], file)
    with rasterio.open(made) as mosaic, rasterio.open(areas / "west" / file) as like:
        assert mosaic.driver == "VRT"
        assert mosaic.crs.to_epsg() == 32632
        assert mosaic.shape == (200, 400)
        assert (mosaic.nodata, mosaic.scales) == (like.nodata, like.scales)
        assert mosaic.descriptions == like.descriptions
        if file == MAP:
            assert mosaic.colormap(1)[2] == (0, 128, 0, 255)
        for band in range(1, like.count + 1):
            whole = mosaic.read(band)
            np.testing.assert_array_equal(whole[100:, :200], values(areas / "west" / file, band))
            np.testing.assert_array_equal(whole[:150, 300:], values(areas / "east" / file, band))
            assert (whole[:100, :200] == like.nodata).all()


def test_a_map_of_another_zone_is_brought_to_the_others_crs(areas, maps):
    made = mosaic_of(areas, ["west", "east", "zone"])
    rng = np.random.default_rng(0)
    with rasterio.open(made) as mosaic, rasterio.open(areas / "zone" / MAP) as own:
        assert mosaic.crs.to_epsg() == 32632
        rows, cols = rng.integers(2, own.height - 2, 300), rng.integers(2, own.width - 2, 300)
        x, y = own.transform * (cols + 0.5, rows + 0.5)
        there = np.column_stack(transform(own.crs, mosaic.crs, x, y))
        found = np.array([value[0] for value in mosaic.sample(there)])
        codes = own.read(1)
        near = np.stack([codes[rows + r, cols + c] for r in (-1, 0, 1) for c in (-1, 0, 1)])
        assert (found == near).any(axis=0).all()
        assert (found == codes[rows, cols]).mean() > 0.5
        west = maps.boxes["west"]
        window = from_bounds(*west.extent.geom.bounds, mosaic.transform)
        np.testing.assert_array_equal(mosaic.read(1, window=window), values(areas / "west" / MAP))


def test_a_mosaic_may_be_moved_with_its_maps(areas, tmp_path):
    made = mosaic_of(areas, ["west", "zone"])
    moved = shutil.copytree(areas.parent, tmp_path / "elsewhere")
    texts = list(moved.glob("collection/*.vrt"))
    assert len(texts) > 1
    assert not any(str(areas.parent) in text.read_text() for text in texts)
    np.testing.assert_array_equal(values(moved / "collection" / made.name), values(made))


def test_pixels_shifted_by_a_part_are_another_lattice(maps, tmp_path):
    box = GeoBox.from_bbox((602_004, 5_400_000, 603_004, 5_401_000), "EPSG:32632", resolution=10)
    maps.write(tmp_path, "west")
    maps.write(
        tmp_path, "shifted", GeoBox(box.shape, box.affine * box.affine.translation(0.4, 0), box.crs)
    )
    made = mosaic_of(tmp_path, ["west", "shifted"])
    assert made.with_name("mosaic-shifted-map.vrt").exists()
    assert (values(made)[:, :200] == values(tmp_path / "west" / MAP)).all()


def test_later_maps_lie_on_top_but_nodata_hides_nothing(maps, tmp_path):
    maps.write(tmp_path, "west")
    maps.write(tmp_path, "twin", maps.boxes["west"], seed=5)
    below, above = (values(tmp_path / name / MAP) for name in ("west", "twin"))
    made = values(mosaic_of(tmp_path, ["west", "twin"]))
    np.testing.assert_array_equal(made, np.where(above > 0, above, below))


def test_a_missing_map_is_told(areas):
    with pytest.raises(DataError, match=r"missing: .*nowhere/map.tif"):
        mosaic_of(areas, ["west", "nowhere"])
