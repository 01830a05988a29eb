"""Readers of single datasets give what the files hold, with dates and groups."""

import json

import h5py
import numpy as np
import pytest
import rasterio
from published import PUBLISHED
from published_own import MADOS
from published_parts import rgb, rng, write

from earthloom.datasets import load_entry, open_dataset
from earthloom.errors import DataError, LabelError
from earthloom.sample.target import SceneClasses

pytestmark = pytest.mark.filterwarnings("ignore:Dataset has no geotransform")


WAYS = ("ascending", "descending")


def opened(name, folder, split=None):
    PUBLISHED[name](folder)
    return open_dataset(name, folder, split)


def dates(chip, key):
    return chip.layers[key].days.astype("datetime64[D]").astype(str).tolist()


def test_pastis_pads_dates_and_tells_them(tmp_path):
    samples = opened("pastis", tmp_path, "test")
    (chip,) = (samples[at] for at in range(len(samples)))
    layer = chip.layers["sentinel-2-l2a_10m"]
    stored = np.load(tmp_path / "PASTIS-R/DATA_S2/S2_10005.npy")
    assert len(stored) == 43
    np.testing.assert_allclose(layer.pixels[:43], stored * 1e-4, rtol=1e-6)
    assert layer.valid[:43].all()
    assert not layer.valid[43:].any()
    assert dates(chip, "sentinel-2-l2a_10m")[:2] == ["2018-09-17", "2018-09-22"]
    values = np.load(tmp_path / "PASTIS-R/ANNOTATIONS/TARGET_10005.npy")[0]
    np.testing.assert_array_equal(chip.label, np.where(values == 19, 0, values + 1))
    assert chip.group == "fold-5"
    train = open_dataset("pastis", tmp_path, "train")
    assert sorted(set(train.groups)) == ["fold-1", "fold-2", "fold-3"]


def test_pastis_without_dates_and_images(tmp_path):
    PUBLISHED["pastis"](tmp_path)
    file = tmp_path / "PASTIS-R/metadata.geojson"
    table = json.loads(file.read_text())
    for each in table["features"]:
        each["properties"]["dates-S2"] = json.dumps(each["properties"]["dates-S2"])
    del table["features"][3]["properties"]["dates-S2"]
    file.write_text(json.dumps(table))
    (tmp_path / "PASTIS-R/DATA_S2/S2_10002.npy").unlink()
    train = open_dataset("pastis", tmp_path, "train")
    assert train.report.sentence() == "3 found, 2 kept; 1 without an image"
    assert dates(train[0], "sentinel-2-l2a_10m")[0] == "2018-09-17"
    assert set(open_dataset("pastis", tmp_path, "val")[0].layers["sentinel-2-l2a_10m"].days) == {0}


def test_cropharvest_by_sensor(tmp_path):
    samples = opened("cropharvest", tmp_path)
    chip = samples[2]
    with h5py.File(tmp_path / "features/arrays/2_togo.h5") as store:
        table = store["array"][:]
    radar = chip.layers["sentinel-1-grd-db_10m"].pixels[..., 0, 0]
    np.testing.assert_allclose(radar, 10 ** (table[:, :2] / 10), rtol=1e-5)
    optical = chip.layers["sentinel-2-l1c_10m"].pixels[..., 0, 0]
    np.testing.assert_allclose(optical, table[:, 2:13] * 1e-4, rtol=1e-5)
    assert chip.layers["srtm-elevation_30m"].pixels.ravel().tolist() == [350]
    assert chip.layers["srtm-slope_30m"].pixels.ravel().tolist() == [2.5]
    # The series ends 2022-02-01: its last 30 days are around 2022-01-17.
    assert dates(chip, "sentinel-2-l1c_10m")[-1] == "2022-01-17"
    assert [samples[at].label.item() for at in range(4)] == [1, 1, 2, 2]
    assert len(set(samples.groups)) == 4


def test_geobench_takes_bands_by_name(tmp_path):
    samples = opened("m-cashew-plant", tmp_path, "valid")
    chip = samples[0]
    with h5py.File(tmp_path / "m-cashew-plant/id_10.hdf5") as store:
        narrow = store["08A - Vegetation Red Edge_2019-11-20"][:]
        label = store["label"][:]
    layer = chip.layers["sentinel-2-l2a_10m"]
    np.testing.assert_allclose(layer.pixels[0, layer.spec.bands.index("B8A")], narrow * 1e-4)
    np.testing.assert_array_equal(chip.label, label)
    assert dates(chip, "sentinel-2-l2a_10m") == ["2019-11-20"]
    with h5py.File(tmp_path / "m-cashew-plant/id_10.hdf5", "r+") as store:
        del store["03 - Green_2019-11-20"]
    with pytest.raises(DataError, match="has no array '03 - Green'; it has: 01 - Coastal"):
        samples[0]


def test_geobench_classes_of_scenes(tmp_path):
    samples = opened("m-eurosat", tmp_path)
    assert list(samples.targets) == [SceneClasses((5,)), SceneClasses((1,))]
    file = tmp_path / "m-eurosat/label_map.json"
    file.write_text(json.dumps({"Forest": ["id_00"]}))
    found = open_dataset("m-eurosat", tmp_path / "m-eurosat")
    assert list(found.targets) == [SceneClasses((2,))]
    assert found.report.skipped == {"without a label": 1}
    file.write_text(json.dumps({"Lava": ["id_00"]}))
    with pytest.raises(LabelError, match=r"label_map.json has the class 'Lava'; known: AnnualCrop"):
        open_dataset("m-eurosat", tmp_path)


def test_geobench_several_classes(tmp_path):
    samples = opened("m-bigearthnet", tmp_path)
    names = [samples.classes[code - 1] for code in samples.targets[0].codes]
    assert names == ["Port areas", "Pastures"]


def test_hls_names_tell_date_and_tile(tmp_path):
    samples = opened("hls-burn-scars", tmp_path, "val")
    chip = samples[0]
    assert dates(chip, "hls-s30_30m") == ["2020-09-01"]
    assert chip.group == "T11SKU"
    assert chip.place is not None


def test_hls_crops_are_three_dates_of_six_bands(tmp_path):
    chip = opened("hls-crops", tmp_path)[0]
    layer = chip.layers["hls-s30_30m"]
    with rasterio.open(next(tmp_path.rglob("training_chips/*_merged.tif"))) as file:
        np.testing.assert_allclose(layer.pixels[1, 2], file.read(9) * 1e-4, rtol=1e-6)
    assert dates(chip, "hls-s30_30m") == ["2022-03-18", "2022-06-06", "2022-09-24"]


def test_sen1floods11_dates_of_each_sensor(tmp_path):
    chip = opened("sen1floods11", tmp_path)[0]
    assert dates(chip, "sentinel-1-grd-db_10m") == ["2018-09-18"]
    assert dates(chip, "sentinel-2-l1c_10m") == ["2018-09-19"]
    other = open_dataset("sen1floods11", tmp_path, "bolivia")[0]
    assert other.group == "Bolivia"
    assert other.layers["sentinel-2-l1c_10m"].days.tolist() == [0]


@pytest.mark.shared
def test_sen1floods11_on_a_real_chip(tmp_path, shared_data):
    real = shared_data / "sen1floods11_sample"
    base = tmp_path / "data/flood_events/HandLabeled"
    base.mkdir(parents=True)
    for ours, theirs in (("S1Hand", "S1"), ("S2Hand", "S2"), ("LabelHand", "Labels")):
        (base / ours).symlink_to(real / "sample" / theirs)
    (tmp_path / "Sen1Floods11_Metadata.geojson").symlink_to(real / "Sen1Floods11_Metadata.geojson")
    lists = tmp_path / "splits/flood_handlabeled"
    lists.mkdir(parents=True)
    (lists / "flood_train_data.txt").write_text("Spain_7370579\n")
    chip = open_dataset("sen1floods11", tmp_path)[0]
    assert dates(chip, "sentinel-1-grd-db_10m") == ["2019-09-17"]
    assert dates(chip, "sentinel-2-l1c_10m") == ["2019-09-18"]
    assert set(np.unique(chip.label)) <= {0, 1, 2}


def test_biomassters_keeps_months_apart(tmp_path):
    samples = opened("biomassters", tmp_path)
    chip = samples[0]
    assert chip.layers["sentinel-2-l2a_10m"].valid.all(axis=(1, 2)).nonzero()[0].tolist() == [
        1, 7, 8, 11,
    ]  # fmt: skip
    with rasterio.open(tmp_path / "train_features/0003d2eb_S1_07.tif") as file:
        stored = file.read()
    ascending, descending = (chip.layers[f"sentinel-1-{way}_10m"] for way in WAYS)
    np.testing.assert_allclose(ascending.pixels[7], 10 ** (stored[:2] / 10), rtol=1e-5)
    assert ascending.valid.all()
    assert not descending.valid[:, :, :3].any()
    assert descending.valid[:, :, 3:].all()
    with rasterio.open(tmp_path / "train_agbm/0003d2eb_agbm.tif") as file:
        np.testing.assert_array_equal(samples.targets[0].values, file.read(1))
    assert open_dataset("biomassters", tmp_path, "test").targets[0] is None


def test_mados_keeps_its_resolutions(tmp_path):
    samples = opened("mados", tmp_path, "val")
    chip = samples[0]
    for gsd, wavelengths in MADOS.items():
        layer = chip.layers[f"sentinel-2-rayleigh-corrected_{gsd}m"]
        for at, wavelength in enumerate(wavelengths):
            file = tmp_path / f"MADOS/Scene_1/{gsd}/Scene_1_L2R_rhorc_{wavelength}_7.tif"
            with rasterio.open(file) as source:
                np.testing.assert_array_equal(layer.pixels[0, at], source.read(1))
    assert layer.spec.wavelengths_nm == (442.7,)
    next(tmp_path.rglob("Scene_1_L2R_rhorc_665_7.tif")).unlink()
    with pytest.raises(DataError, match="1 found, 0 kept; 1 not whole"):
        open_dataset("mados", tmp_path, "val")


def test_pairs_lie_in_their_order(tmp_path):
    samples = opened("xview2", tmp_path)
    chip = samples[0]
    stem = "hurricane-harvey_00000000"
    for at, when in enumerate(("pre", "post")):
        with rasterio.open(tmp_path / f"train/images/{stem}_{when}_disaster.png") as file:
            pixels = chip.layers["aerial-rgb_0.5m"].pixels[at]
            np.testing.assert_array_equal(pixels, file.read())
    with rasterio.open(tmp_path / f"train/targets/{stem}_post_disaster_target.png") as file:
        np.testing.assert_array_equal(chip.label, file.read(1) + 1)
    write(tmp_path / "train/images/flood_1_pre_disaster.png", rgb(rng("more")))
    found = open_dataset("xview2", tmp_path)
    assert found.report.sentence() == "2 found, 1 kept; 1 without a second date"


def test_fields_of_whatever_countries(tmp_path):
    samples = opened("fields-of-the-world", tmp_path)
    assert [samples[at].id for at in range(2)] == ["austria/g0_00012_4", "south_africa/g0_00012_4"]
    assert list(samples.groups) == ["austria", "south_africa"]
    assert samples[0].layers["sentinel-2-l2a_10m"].pixels.shape[:2] == (2, 4)


def test_flair_heights_are_metres(tmp_path):
    chip = opened("flair-1", tmp_path)[0]
    with rasterio.open(next(tmp_path.rglob("flair_aerial_train/**/*.tif"))) as file:
        stored = file.read()
    colours, heights = chip.layers["aerial-rgbi_0.2m"], chip.layers["bd-ortho-height_0.2m"]
    np.testing.assert_array_equal(colours.pixels[0], stored[:4])
    np.testing.assert_allclose(heights.pixels[0, 0], stored[4] / 5, rtol=1e-6)
    assert chip.group == "D004_2021"


def test_ships_are_turned_to_the_right(tmp_path):
    boxes = opened("hrsc2016", tmp_path).targets[0]
    np.testing.assert_allclose(boxes.corners[0], [[3, 4], [13, 4], [13, 8], [3, 8]], atol=1e-5)
    # A quarter turn takes the upper left corner to the upper right.
    np.testing.assert_allclose(boxes.corners[1], [[9, 5], [9, 11], [7, 11], [7, 5]], atol=1e-3)
    assert boxes.codes.tolist() == [1, 1]
    assert len(open_dataset("hrsc2016", tmp_path, "trainval")) == 2


@pytest.mark.parametrize(
    ("name", "file", "words"),
    [
        ("pastis", "PASTIS-R/metadata.geojson", "metadata.geojson is not JSON"),
        ("cropharvest", "labels.geojson", "labels.geojson is not JSON"),
        ("cropharvest", "features/arrays/0_togo.h5", "0_togo.h5 cannot be read"),
        ("hrsc2016", "HRSC2016/FullDataSet/Annotations/100000001.xml", "no annotation of HRSC2016"),
        ("m-eurosat", "m-eurosat/id_00.hdf5", "id_00.hdf5 cannot be read"),
        ("fields-of-the-world", "austria/chips_austria.parquet", "the table .* cannot be read"),
    ],
)
def test_a_broken_file_is_one_line(name, file, words, tmp_path):
    PUBLISHED[name](tmp_path)
    (tmp_path / file).write_bytes(b"nothing of the kind")
    with pytest.raises((DataError, LabelError), match=words) as error:
        open_dataset(name, tmp_path)
    assert "\n" not in str(error.value)


def test_nothing_there_is_said(tmp_path):
    (tmp_path / "training").mkdir()
    with pytest.raises(DataError, match=r"there is no hls-burn-scars in .*: 0 found, 0 kept"):
        open_dataset("hls-burn-scars", tmp_path)
    assert load_entry("hls-burn-scars").splits["train"] == "training"
