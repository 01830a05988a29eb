"""Every entry is read from files in its published layout, and gives what it says."""

import importlib.util
import pickle
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from answers import assert_same
from published import PUBLISHED

from earthloom.datasets import known_datasets, load_entry, open_dataset
from earthloom.datasets.torchgeo import TorchGeoItems, _paths_of
from earthloom.errors import DataError
from earthloom.sample.target import Boxes, Instances, SceneClasses, SceneValue

TORCHGEO = importlib.util.find_spec("torchgeo") is not None
KINDS = {
    "scene-class": SceneClasses,
    "scene-labels": SceneClasses,
    "scene-value": SceneValue,
    "boxes": Boxes,
    "oriented-boxes": Boxes,
    "instances": Instances,
}
REAL = {
    "oscd-early": ("oscd", 9),
    "modis-mt-9": ("timeseries_labelled", 2115),
    "modis-cerrado-11": ("timeseries_labelled", 2459),
    "modis-ieda": ("timeseries_labelled", 7043),
    "modis-prodes": ("timeseries_labelled", 617),
    "dubai": ("dubai_seg", 54),
    "neon-trees": ("neon_trees", 20),
    "sen1floods11-hand": ("sen1floods11_sample/sample", 1),
    "bigearthnet-native": ("bigearthnet_sample/s2-tiny", 3),
    "lsms-poverty": ("africa_poverty_tabular", 2925),
    "taizhou": ("landsat_cd_taizhou_nanjing", 1),
}
"""The folder of each, and how many samples it holds."""


def published(name: str) -> object:
    needs = load_entry(name).source.kind == "torchgeo"
    skip = pytest.mark.skipif(needs and not TORCHGEO, reason="needs torchgeo")
    return pytest.param(name, marks=skip)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    made: dict[str, Path] = {}

    def folder(name: str) -> Path:
        if name not in made:
            made[name] = tmp_path_factory.mktemp(name.replace(".", "_"))
            PUBLISHED[name](made[name])
        return made[name]

    return folder


def check(samples, entry):
    """What every dataset promises."""
    assert samples.classes == entry.classes
    assert samples.task == entry.task
    assert dict(samples.specs) == {layer.spec.key: layer.spec for layer in entry.layers}
    assert len(samples.groups) == len(samples) == len(samples.targets) > 0
    chip, target = samples[0], samples.targets[0]
    assert_same(chip.target, target)
    assert chip.group == samples.groups[0] != ""
    assert set(chip.layers) == set(samples.specs)
    for key, layer in chip.layers.items():
        assert layer.spec == samples.specs[key]
        assert layer.pixels.dtype == np.float32
        rows, cols = layer.valid.shape[-2:]
        assert (rows * layer.spec.factor, cols * layer.spec.factor) == tuple(chip.shape)
        seen = np.broadcast_to(layer.valid[:, None], layer.pixels.shape)
        assert np.isnan(layer.pixels[~seen]).all()
        assert np.isfinite(layer.pixels[seen]).all()
    if entry.task in KINDS:
        assert isinstance(target, KINDS[entry.task])
    elif chip.label is not None:
        assert chip.label.shape == tuple(chip.shape)
        assert chip.label.max() <= len(entry.classes)


@pytest.mark.parametrize("name", [published(name) for name in PUBLISHED])
def test_an_entry_on_its_published_layout(name, folders):
    entry = load_entry(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for split in entry.splits:
            samples = open_dataset(name, folders(name), split)
            check(pickle.loads(pickle.dumps(samples)), entry)  # as workers get them


def test_every_entry_is_tested():
    assert {*PUBLISHED, *REAL} == set(known_datasets())
    assert {name for name in known_datasets() if load_entry(name).real} == set(REAL)


@pytest.mark.shared
@pytest.mark.parametrize("name", REAL)
def test_an_entry_on_real_data(name, shared_data):
    folder, count = REAL[name]
    samples = open_dataset(name, shared_data / folder)
    assert len(samples) == samples.report.kept == count
    samples = pickle.loads(pickle.dumps(samples))  # as workers get them
    check(samples, load_entry(name))


@pytest.mark.parametrize("name", [published("eurosat"), published("loveda")])
def test_files_that_are_not_there(name, tmp_path):
    with pytest.raises(DataError, match=f"finds no {name} in"):
        open_dataset(name, tmp_path)


def test_a_split_that_is_not_published(tmp_path):
    with pytest.raises(DataError, match="has no split 'dev'; published are: train, val, test"):
        open_dataset("eurosat", tmp_path, "dev")


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="there is no folder"):
        open_dataset("aid", tmp_path / "no")


def test_oriented_boxes_of_dota(folders):
    boxes = open_dataset("dota-v1.0", folders("dota-v1.0"), "val").targets[0]
    np.testing.assert_array_equal(boxes.corners[0], [[2, 1], [8, 3], [7, 6], [1, 4]])
    assert boxes.codes.tolist() == [11, 1]


def test_boxes_of_dior_count_pixels_from_one(folders):
    boxes = open_dataset("dior", folders("dior")).targets[0]
    np.testing.assert_array_equal(boxes.bounds, [[2, 3, 8, 10], [0, 0, 16, 16]])
    assert boxes.codes.tolist() == [20, 1]


needs_torchgeo = pytest.mark.skipif(not TORCHGEO, reason="needs torchgeo")


@needs_torchgeo
def test_torchgeo_gives_physical_units_places_and_classes(folders):
    samples = open_dataset("eurosat", folders("eurosat"), "test")
    import rasterio

    chip = samples[3]
    with rasterio.open(next(folders("eurosat").rglob("Highway_3.tif"))) as file:
        stored = file.read()
    layer = chip.layers["sentinel-2-l1c_10m"]
    np.testing.assert_allclose(layer.pixels[0], stored * 1e-4, rtol=1e-6)
    assert samples.targets[3] == SceneClasses((4,))
    assert samples.classes[3] == "Highway"
    assert chip.place is not None
    assert chip.place.crs == "EPSG:32633"


@needs_torchgeo
def test_torchgeo_gives_dates_where_files_tell_them(folders):
    days = open_dataset("oscd", folders("oscd"))[0].layers["sentinel-2-l1c_10m"].days
    assert days.astype("datetime64[D]").astype(str).tolist() == ["2016-01-20", "2018-03-28"]
    day = open_dataset("bigearthnet", folders("bigearthnet"))[0].layers["sentinel-2-l2a_10m"].days
    assert day.astype("datetime64[D]").astype(str).tolist() == ["2017-06-13"]


@needs_torchgeo
def test_torchgeo_several_labels(folders):
    samples = open_dataset("bigearthnet", folders("bigearthnet"))
    names = [samples.classes[code - 1] for code in samples.targets[0].codes]
    assert names == ["Pastures", "Marine waters"]


@needs_torchgeo
def test_torchgeo_masks_become_codes(folders):
    import rasterio

    chip = open_dataset("loveda", folders("loveda"), "val")[0]
    mask = folders("loveda") / "Val/Rural/masks_png/1.png"  # Rural comes first
    with warnings.catch_warnings(action="ignore"), rasterio.open(mask) as file:
        np.testing.assert_array_equal(chip.label, file.read(1))
    assert open_dataset("loveda", folders("loveda"), "test")[0].label is None


@needs_torchgeo
def test_torchgeo_backscatter_is_linear_power(folders):
    import rasterio

    chip = open_dataset("sen12ms", folders("sen12ms"))[0]
    file = next((folders("sen12ms") / "ROIs1158_spring/s1_1").glob("*.tif"))
    with rasterio.open(file) as source:
        power = 10 ** (source.read() / 10)
    found = chip.layers["sentinel-1-grd-db_10m"].pixels[0]
    np.testing.assert_allclose(found, power, rtol=1e-5)


class Unsorted:
    """A reader that lists files as a file system might."""

    files = (["b.png", "B"], ["a.png", "A"], ["c.png", "C"])

    def __init__(self) -> None:
        self.files = list(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict:
        value = ord(self.files[index][1])
        return {"image": np.full((3, 2, 2), value), "label": np.array(index)}


def test_the_order_is_that_of_the_names():
    entry = replace(load_entry("aid"), source=replace(load_entry("eurosat").source))
    items = TorchGeoItems(entry, Unsorted(), _paths_of(Unsorted()))
    chips = [items.chip(at) for at in range(3)]
    assert [chip.id for chip in chips] == ["000000_a", "000001_b", "000002_c"]
    values = [chr(int(chip.layers["aerial-rgb_1m"].pixels[0, 0, 0, 0])) for chip in chips]
    assert values == ["A", "B", "C"]
    assert [items.target(at).codes for at in range(3)] == [(2,), (1,), (3,)]


@needs_torchgeo
def test_values_of_another_scale_are_refused(tmp_path):
    import rasterio

    PUBLISHED["eurosat"](tmp_path)
    for path in tmp_path.rglob("*.tif"):
        with rasterio.open(path, "r+") as file:
            file.write((file.read() // 25).astype(np.uint16))  # of 8 bits, as exports often are
    with pytest.raises(DataError, match=r"do not look like its unit '1'.*scaled otherwise"):
        open_dataset("eurosat", tmp_path)
    assert len(open_dataset("eurosat", tmp_path, check=False)) == 10


@needs_torchgeo
def test_a_missing_class_would_shift_the_others(tmp_path):
    import shutil

    PUBLISHED["firerisk"](tmp_path)
    shutil.rmtree(tmp_path / "FireRisk/train/Low")
    with pytest.raises(DataError, match="the folders of classes are High, Moderate"):
        open_dataset("firerisk", tmp_path)


@needs_torchgeo
def test_a_broken_file_is_one_line(tmp_path):
    PUBLISHED["loveda"](tmp_path)
    samples = open_dataset("loveda", tmp_path)
    for path in tmp_path.rglob("Train/*/images_png/*.png"):
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"loveda: sample 000001_\d cannot be read: [^\n]+$"):
        samples[1]


@pytest.mark.skipif(TORCHGEO, reason="only without torchgeo")
def test_without_torchgeo_the_error_says_how_to_get_it(tmp_path):
    with pytest.raises(DataError, match="pip install torchgeo"):
        open_dataset("eurosat", tmp_path)
