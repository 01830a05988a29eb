"""TorchGeo's readers as chips: dates and layers of several kinds, and rasters cut by a grid."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from published import PUBLISHED
from published_parts import write
from rasterio.transform import from_origin
from rasterio.warp import transform

from earthloom.datasets import open_dataset
from earthloom.datasets.registry import TABLES
from earthloom.datasets.torchgeo_grid import _starts
from earthloom.errors import DataError

pytest.importorskip("torchgeo")
NLCD = (11, 12, 21, 22, 23, 24, 31, 41, 42, 43, 52, 71, 81, 82, 90, 95)


def opened(name, folder, split=None):
    PUBLISHED[name](folder)
    return open_dataset(name, folder, split)


def day_of(layer):
    return str(layer.days[0].astype("datetime64[D]"))


def test_a_layer_is_one_of_two_dates(tmp_path):
    chip = opened("bright-dfc2025", tmp_path, "val")[0]
    base = tmp_path / "dfc25_track2_trainval/train"
    name = "turkey-earthquake_00000001"
    for key, part in (("aerial-rgb", "pre"), ("capella-umbra-8bit", "post")):
        with rasterio.open(base / f"{part}-event/{name}_{part}_disaster.tif") as file:
            np.testing.assert_array_equal(chip.layers[f"{key}_0.5m"].pixels[0], file.read())
    assert chip.place is not None
    assert open_dataset("bright-dfc2025", tmp_path, "test")[0].label is None


def test_a_reader_tells_the_date(tmp_path):
    chip = opened("copernicus-bench-cloud-s2", tmp_path)[0]
    assert day_of(chip.layers["sentinel-2-l1c_10m"]) == "2018-06-18"


@pytest.mark.parametrize(
    ("name", "id_"),
    [
        ("cloud-cover", "000000_teaa"),
        ("treesatai", "000000_Abies_alba_1_83831_WEFL_NLF"),
        ("copernicus-bench-dfc2020-s1", "000000_ROIs0000_validation_dfc_0_p2"),
        ("copernicus-bench-cloud-s2", None),
    ],
)
def test_a_name_alone_tells_the_place(name, id_, tmp_path):
    chip = opened(name, tmp_path, "test")[0]
    assert chip.place.crs == "EPSG:32633"
    assert chip.place.transform[2::3] == (5e5, 5e6)
    assert id_ in (None, chip.id)


def test_boxes_of_one_class_alone(tmp_path):
    boxes = opened("nasa-marine-debris", tmp_path).targets[0]
    assert boxes.bounds.tolist() == [[1, 2, 7, 9]]  # the other has no width
    assert boxes.codes.tolist() == [1]


def test_outlines_of_vhr10(tmp_path):
    samples = opened("vhr10-instances", tmp_path)
    assert [samples.classes[code - 1] for code in samples.targets[1].codes] == ["vehicle"]
    assert samples.targets[1].polygons[0][0].tolist() == [[0, 0], [3, 0], [3, 3]]


@given(st.integers(1, 200), st.integers(1, 50))
def test_squares_cover_a_side(side, size):
    starts = list(_starts(side, size))
    if side < size:
        assert not starts
        return
    seen = Counter(at for start in starts for at in range(start, start + size))
    assert set(seen) == set(range(side))
    assert len(starts) == -(-side // size)


def labels_at(chip, file, count=40):
    """Values of a map at the centres of some of a chip's pixels, and the chip's codes there."""
    draw = np.random.default_rng(0)
    rows, cols = draw.integers(0, chip.shape.rows, (2, count))
    a, _, c, _, e, f = chip.place.transform
    with rasterio.open(file) as source:
        x, y = transform(chip.place.crs, source.crs, c + a * (cols + 0.5), f + e * (rows + 0.5))
        values = [each[0] for each in source.sample(zip(x, y, strict=True))]
    return values, chip.label[rows, cols]


def test_labels_lie_where_the_map_has_them(tmp_path):
    samples = opened("naip-nlcd", tmp_path)
    assert len(samples) == 4
    assert set(samples.groups) == {"m_4509533_ne_33_060_20230629"}
    with rasterio.open(next(tmp_path.glob("m_*.tif"))) as file:
        stored = file.read()
    for at, (row, col) in enumerate(((0, 0), (0, 44), (44, 0), (44, 44))):
        chip = samples[at]
        pixels = chip.layers["naip_1m"].pixels[0]
        np.testing.assert_array_equal(pixels, stored[:, row : row + 256, col : col + 256])
        values, codes = labels_at(chip, next(tmp_path.glob("Annual*.tif")))
        np.testing.assert_array_equal([NLCD[code - 1] for code in codes], values)
    assert day_of(chip.layers["naip_1m"]) == "2023-06-29"


def test_clouds_of_a_landsat_scene(tmp_path):
    samples = opened("l8-biome", tmp_path)
    chip = samples[0]
    assert chip.place.crs == "EPSG:3857"
    assert day_of(chip.layers["landsat-oli-c2-l1_30m"]) == "2014-04-11"
    assert set(np.unique(chip.label)) <= {0, 1, 2, 3, 4}
    unseen = ~chip.layers["landsat-oli-c2-l1_30m"].valid[0]
    assert (chip.label[unseen] == 0).all()


def test_a_scene_that_is_too_small(tmp_path):
    PUBLISHED["naip-nlcd"](tmp_path)
    file = next(tmp_path.glob("m_*.tif"))
    write(file, np.full((4, 200, 300), 9, np.uint8), placed=True, step=1.0)
    with pytest.raises(DataError, match="1 found, 0 kept; 1 smaller than 256 pixels"):
        open_dataset("naip-nlcd", tmp_path)


@pytest.mark.shared
def test_a_grid_over_real_images(tmp_path, shared_data):
    name = "m_4709963_se_14_1_20200831.tif"
    real = shared_data / "opengeos_naip_timeseries" / name
    (tmp_path / name).symlink_to(real)
    with rasterio.open(real) as file:
        image, left, top, crs = file.read(), file.bounds.left, file.bounds.top, file.crs
    area = np.resize(np.array(NLCD, np.uint8), (30, 40))
    with rasterio.open(
        tmp_path / "Annual_NLCD_LndCov_2020_CU_C1V1.tif", "w", driver="GTiff", count=1, height=30,
        width=40, dtype="uint8", crs=crs, transform=from_origin(left - 300, top + 300, 150, 150),
    ) as file:  # fmt: skip
        file.write(area, 1)
    with pytest.raises(DataError, match="pixels are 5 m wide, but the entry says 1 m; images of"):
        open_dataset("naip-nlcd", tmp_path)
    text = (TABLES / "naip-nlcd.toml").read_text().replace("naip-nlcd", "coarse")
    table = tmp_path / "coarse.dataset.toml"
    table.write_text(text.replace("gsd = 1", "gsd = 5"))
    samples = open_dataset("coarse", tmp_path, tables=tmp_path)
    assert len(samples) == 3 * 4
    chip = samples[5]
    row, col = map(int, chip.id.rsplit("_", 2)[1:])
    pixels = chip.layers["naip_5m"].pixels[0]
    wanted = replace(chip.place, transform=(5, 0, left + 5 * col, 0, -5, top - 5 * row))
    assert chip.place == wanted
    np.testing.assert_array_equal(pixels, image[:, row : row + 256, col : col + 256])
    values, codes = labels_at(chip, tmp_path / "Annual_NLCD_LndCov_2020_CU_C1V1.tif")
    np.testing.assert_array_equal([NLCD[code - 1] for code in codes], values)
    assert day_of(chip.layers["naip_5m"]) == "2020-08-31"
