"""Folders as strangers have them: what would come out wrong in silence is inferred or refused."""

import io

import numpy as np
import pandas as pd
import pytest
import rasterio
from hypothesis import given
from hypothesis import strategies as st
from layout_files import image
from published import SIDE, rgb, rng, write

from earthloom.datasets import Imagery, read_layout
from earthloom.errors import DataError, LabelError
from earthloom.sensors import known_sensors

RGBN = ["B02", "B03", "B04", "B08"]


def stack(*numbers: int) -> np.ndarray:
    """(C, 8, 8) of one number a band."""
    return np.stack([np.full((8, 8), each, np.uint16) for each in numbers])


@pytest.mark.parametrize("sensor", sorted(known_sensors()))
def test_every_band_of_a_sensor_is_another_band_of_the_file(sensor):
    try:
        imagery = Imagery.of(sensor)
    except DataError:  # bands of several units must be named
        return
    assert len(set(imagery.indexes)) == len(imagery.spec.bands)


def test_all_bands_of_a_sensor_in_one_file(tmp_path):
    numbers = range(500, 6500, 500)
    write(tmp_path / "a/1.tif", stack(*numbers), placed=True)
    samples = read_layout("scenes", tmp_path, "sentinel-2-l2a")
    (layer,) = samples[0].layers.values()
    assert layer.spec.key == "sentinel-2-l2a_10m"  # not the 60 m of its first band
    np.testing.assert_allclose(layer.pixels[0, :, 0, 0], np.array(numbers) / 1e4, atol=1e-6)


def test_bands_beyond_those_that_are_known(tmp_path):
    write(tmp_path / "a/1.tif", stack(*range(500, 7000, 500)))  # 13 bands, as of Level-1C
    with pytest.raises(DataError, match=r"with 13 band\(s\), but 12 are needed.* as 'bands'"):
        read_layout("scenes", tmp_path, "sentinel-2-l2a")
    some = read_layout("scenes", tmp_path, "sentinel-2-l2a", ["B01", "B02"])
    assert some.report.read == ("the first 2 of 13 bands",)


@given(order=st.permutations(range(4)))
def test_files_that_name_their_bands(order, tmp_path_factory):
    folder = tmp_path_factory.mktemp("named")
    stored = stack(*(1000 * (each + 1) for each in order))
    write(folder / "a/1.tif", stored, placed=True)
    with rasterio.open(folder / "a/1.tif", "r+") as file:
        file.descriptions = tuple(["B2", "b3", "B04", "nir"][each] for each in order)
    samples = read_layout("scenes", folder, "sentinel-2-l2a", RGBN)
    (layer,) = samples[0].layers.values()
    np.testing.assert_allclose(layer.pixels[0, :, 0, 0], [0.1, 0.2, 0.3, 0.4], atol=1e-6)
    assert bool(samples.report.read) == (list(order) != [0, 1, 2, 3])
    with pytest.raises(DataError, match="but 4 are needed: B02, B03, B04, B11"):
        read_layout("scenes", folder, "sentinel-2-l2a", [*RGBN[:3], "B11"])


def test_a_fourth_band_is_no_mask_of_itself(tmp_path):
    stored = np.stack([np.full((SIDE, SIDE), 9, np.uint8)] * 3 + [np.zeros((SIDE, SIDE), np.uint8)])
    write(tmp_path / "a/1.tif", stored)  # GDAL calls the fourth band transparency
    (layer,) = read_layout("scenes", tmp_path, "aerial-rgbi")[0].layers.values()
    assert layer.valid.all()


def test_nothing_is_said_of_minus_9999(tmp_path):
    stored = np.full((4, 8, 8), 0.3, np.float32)
    stored[:, :2] = -9999
    write(tmp_path / "a/1.tif", stored)
    given = ("scenes", tmp_path, "sentinel-2-l2a", RGBN)
    with pytest.raises(DataError, match="-9999 alone stands in 25 %: was nothing seen there"):
        read_layout(*given, scale=1.0)
    (layer,) = read_layout(*given, scale=1.0, nodata=-9999)[0].layers.values()
    assert layer.valid[0, :, 0].tolist() == [False] * 2 + [True] * 6


def test_codes_are_the_same_in_every_split_of_folders(tmp_path):
    for place in ("train/a/1", "train/b/2", "val/b/3"):
        image(tmp_path / f"{place}.png")
    samples = read_layout("scenes", tmp_path, split="val")
    assert (samples.classes, samples.targets[0].codes) == (("a", "b"), (2,))


@pytest.mark.parametrize("layout", ["image-table", "box-table"])
def test_codes_are_the_same_in_every_split_of_a_table(layout, tmp_path):
    rows = [{"image": f"{each}.png", "label": each, "split": each} for each in "ab"]
    frame = pd.DataFrame(rows).assign(xmin=1, ymin=1, xmax=5, ymax=5)
    frame.to_csv(tmp_path / "t.csv", index=False)
    for each in "ab":
        image(tmp_path / f"{each}.png")
    options = {"label": "label"} if layout == "image-table" else {}
    samples = read_layout(layout, tmp_path, table="t.csv", split="b", **options)
    assert samples.classes == ("a", "b")
    assert list(samples.targets[0].codes) == [2]


def test_codes_are_the_same_in_every_split_of_boxes(tmp_path):
    for split, name in (("train", "plane"), ("val", "ship")):
        image(tmp_path / f"{split}/images/1.png")
        (tmp_path / split / "labelTxt").mkdir()
        (tmp_path / split / "labelTxt/1.txt").write_text(f"1 1 5 1 5 5 1 5 {name} 0\n")
    dota = read_layout("dota", tmp_path, split="val")
    assert (dota.classes, dota.targets[0].codes.tolist()) == (("plane", "ship"), [2])
    (tmp_path / "Annotations").mkdir()
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    for at, name in enumerate(("plane", "ship")):
        image(tmp_path / f"JPEGImages/{at}.jpg")
        box = "<xmin>1</xmin><ymin>1</ymin><xmax>5</xmax><ymax>5</ymax>"
        (tmp_path / f"Annotations/{at}.xml").write_text(
            f"<annotation><object><name>{name}</name><bndbox>{box}</bndbox></object></annotation>"
        )
    (tmp_path / "ImageSets/Main/test.txt").write_text("1\n")
    voc = read_layout("voc", tmp_path, split="test")
    assert (voc.classes, voc.targets[0].codes.tolist()) == (("plane", "ship"), [2])


def test_boxes_of_an_image_of_another_size(tmp_path):
    image(tmp_path / "Annotations/a.jpg")
    (tmp_path / "Annotations/a.xml").write_text(
        "<annotation><size><width>99</width><height>99</height></size></annotation>"
    )
    with pytest.raises(DataError, match="1 of another size than their labels say"):
        read_layout("voc", tmp_path, images="")


def test_boxes_as_shares_are_no_pixels(tmp_path):
    text = "image,xmin,ymin,xmax,ymax,label\na.png,0.1,0.2,0.5,0.9,x\n"
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(LabelError, match=r"all edges lie from 0 to 0.9"):
        read_layout("box-table", tmp_path, table="t.csv")


def test_one_folder_more_and_names_that_tell_the_class(tmp_path):
    for name in ("forest/a", "water/b"):
        image(tmp_path / "one/eurosat/2750" / f"{name}.png")
    for name in ("harbor_001", "harbor_002", "air port (3)", "air port (4)"):
        image(tmp_path / "flat" / f"{name}.png")
    one = read_layout("scenes", tmp_path / "one")
    assert (one.classes, one.report.read) == (
        ("forest", "water"), ("the folders in '2750' are the classes",)
    )  # fmt: skip
    flat = read_layout("scenes", tmp_path / "flat")
    assert flat.classes == ("air port", "harbor")
    assert [each.codes for each in flat.targets] == [(1,), (1,), (2,), (2,)]
    image(tmp_path / "ids/ab.png")
    image(tmp_path / "ids/cd.png")
    with pytest.raises(DataError, match=r"names such as ab.png tell none"):
        read_layout("scenes", tmp_path / "ids")


@pytest.mark.parametrize("cell", ["['dry', 'wet land']", "['dry' 'wet land']", ["dry", "wet land"]])
def test_cells_that_are_lists(cell, tmp_path):
    image(tmp_path / "S2/a.png")
    rows = pd.DataFrame({"path": ["/data/of/others/S2/a.png"], "tags": [cell]})
    rows.to_parquet(tmp_path / "t.parquet")
    samples = read_layout("image-table", tmp_path, table="t.parquet", image="path", label="tags")
    assert (samples.task, samples.classes) == ("scene-labels", ("dry", "wet land"))


def test_files_that_are_no_images_are_shown(tmp_path):
    rows = pd.DataFrame({"image": [{"bytes": b"x", "path": "a.jpg"}], "label": [0]})
    rows.to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match="holds images themselves, but their paths are read"):
        read_layout("image-table", tmp_path, table="t.parquet", label="label")
    image(tmp_path / "images/a.png")
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks/a.geojson").write_text("{}")
    with pytest.raises(DataError, match=r"masks such as a.geojson, which is no image"):
        read_layout("masks", tmp_path, classes=["a", "b"])


def test_a_number_that_is_none(tmp_path):
    image(tmp_path / "a.png")
    (tmp_path / "t.csv").write_text("image,h\na.png,-9999\n")
    with pytest.raises(LabelError, match=r"holds -9999 in 1 row\(s\), which stands for no number"):
        read_layout("image-table", tmp_path, table="t.csv", value="h")


def test_masks_that_count_from_0(tmp_path):
    image(tmp_path / "images/a.png")
    write(tmp_path / "masks/a.png", rng("m").integers(0, 2, (SIDE, SIDE)).astype(np.uint8))
    with pytest.raises(LabelError, match=r"hold 0 and never 2: .* say values=\[0, 1\]"):
        read_layout("masks", tmp_path, classes=["ground", "roof"])
    named = read_layout("masks", tmp_path, classes=["ground", "roof"], values=[0, 1])
    assert set(np.unique(named[0].label)) == {1, 2}
    assert not read_layout("masks", tmp_path, classes=["a", "b"], unlabelled=[0])[0].label.min()


def test_names_of_a_list_that_are_not_there(tmp_path):
    image(tmp_path / "images/a.png")
    write(tmp_path / "masks/a.png", np.ones((SIDE, SIDE), np.uint8))
    (tmp_path / "train.txt").write_text("a\nlost\n")
    samples = read_layout("masks", tmp_path, split="train", classes=["x", "y"])
    assert samples.report.skipped == {"without an image": 1}


@pytest.mark.parametrize("most", [1, 255])
def test_two_dates_with_a_mask_of_change(most, tmp_path):
    mask = rng("change").integers(0, 2, (SIDE, SIDE)).astype(np.uint8)
    for name in ("a", "b"):
        for kind in ("A", "B"):
            write(tmp_path / "train" / kind / f"{name}.png", rgb(rng(kind + name)))
        write(tmp_path / "train/label" / f"{name}.png", mask * most * (name == "b"))
    samples = read_layout("change", tmp_path, split="train")
    assert (samples.task, samples.classes) == ("change", ("no change", "change"))
    np.testing.assert_array_equal(samples[1].label, mask + 1)
    (layer,) = samples[1].layers.values()
    np.testing.assert_array_equal(layer.pixels[1], rgb(rng("Bb")))
    assert samples.specs[layer.spec.key] == layer.spec
    assert layer.spec.dates == ("1", "2")


def test_numbers_of_pixels(tmp_path):
    heights = rng("h").random((SIDE, SIDE)).astype(np.float32)
    heights[0] = np.nan
    image(tmp_path / "images/a.png")
    write(tmp_path / "heights/a.tif", heights)
    samples = read_layout("pixel-values", tmp_path, unit="m", values="heights", size=8)
    assert (samples.task, len(samples)) == ("pixel-value", (SIDE // 8) ** 2)
    np.testing.assert_array_equal(samples.targets[0].values, heights[:8, :8])
    heights[3] = -9999
    write(tmp_path / "heights/a.tif", heights)
    with pytest.raises(LabelError, match="holds -9999, which stands for no number"):
        samples.targets[0]


def test_series_in_rows(tmp_path):
    text = """id,date,crop,lon,lat,B2,B04
p,2020-02-01,soy,10,45,3000,1000
p,2020-01-01,soy,10,45,2000,
q,2020-03-01,maize,11,45,1000,4000
"""
    rows = pd.read_csv(io.StringIO(text))
    rows.to_csv(tmp_path / "t.csv", index=False)
    samples = read_layout("series", tmp_path, "sentinel-2-l2a", table="t.csv")
    assert samples.classes == ("maize", "soy")
    (layer,) = samples[0].layers.values()
    assert layer.spec.bands == ("B02", "B04")
    np.testing.assert_allclose(layer.pixels[1, :, 0, 0], [0.3, 0.1], atol=1e-6)
    assert layer.valid.ravel().tolist() == [False, True]  # in the order of the dates
    assert samples[1].label.tolist() == [[1]]
    assert [bool(each.any()) for each in samples[1].layers[layer.spec.key].valid] == [True, False]
    rows.assign(crop=["soy", "maize", "maize"]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(LabelError, match="the series 'p' is of 2 classes"):
        read_layout("series", tmp_path, "sentinel-2-l2a", table="t.csv")
