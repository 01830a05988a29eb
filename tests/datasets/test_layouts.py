"""The doors of the common layouts: scenes, tables of images, series, and what is refused."""

import numpy as np
import pytest
from layout_files import image
from published import SIDE, rng, write

from earthloom.datasets import Imagery, read_layout
from earthloom.errors import DataError, LabelError
from earthloom.sample.target import SceneClasses, SceneValue


def test_scenes_in_folders(tmp_path):
    for name in ("forest", "water"):
        image(tmp_path / "train" / name / "a.png")
        image(tmp_path / "train" / name / "deep" / "b.tif")
    (tmp_path / "train/water/broken.jpg").write_bytes(b"nothing")
    samples = read_layout("scenes", tmp_path, split="train")
    assert samples.classes == ("forest", "water")
    assert [target.codes for target in samples.targets] == [(1,), (1,), (2,), (2,)]
    assert samples.report.sentence() == "5 found, 4 kept; 1 whose image cannot be read"
    chip = samples[0]
    assert chip.id == "forest/a"
    assert chip.layers["aerial-rgb_0.2m"].pixels.shape == (1, 3, SIDE, SIDE)


def test_splits_are_no_classes(tmp_path):
    image(tmp_path / "train/forest/a.png")
    image(tmp_path / "test/forest/a.png")
    with pytest.raises(DataError, match="holds the splits test, train; name one as 'split'"):
        read_layout("scenes", tmp_path)


def test_a_folder_of_no_class(tmp_path):
    image(tmp_path / "forest/a.png")
    with pytest.raises(LabelError, match="is of no class; classes are: water"):
        read_layout("scenes", tmp_path, classes=["water"])


def test_series(tmp_path):
    np.savez(
        tmp_path / "table.npz",
        X=np.full((2, 3, 2), 0.5, np.float32), bands=np.array(["nir", "ndvi"]),
        y=np.array(["soy", "maize"]), lon=np.array([1.5, 2.5]), lat=np.array([3.5, 4.5]),
        dates=np.array([["2020-01-01", "2020-02-01", "2020-03-01"]] * 2),
    )  # fmt: skip
    samples = read_layout("series", tmp_path, "modis-mod13q1", table="table.npz")
    assert samples.classes == ("maize", "soy")
    assert samples.specs["modis-mod13q1_250m"].bands == ("nir", "ndvi")
    assert samples[0].label.tolist() == [[2]]
    chosen = read_layout("series", tmp_path, "modis-mod13q1", ["ndvi"], table="table.npz")
    assert chosen.specs["modis-mod13q1_250m"].bands == ("ndvi",)


@pytest.mark.parametrize(
    ("layout", "options", "words"),
    [
        ("kitti", {}, "unknown layout 'kitti'; known are: scenes, image-table, masks"),
        ("scenes", {"kind": 3}, "the layout 'scenes' has no option 'kind'; it has: split, classes"),
        ("coco", {}, "the layout 'coco' needs the option 'annotations'; .* holds: \\(none\\)"),
        ("scenes", {"sensor": "no-such"}, "unknown sensor 'no-such'"),
        ("scenes", {"bands": ["B04"]}, "aerial-rgb has no band 'B04'"),
        ("masks", {"classes": ["a"]}, "has the folders 'images' and 'masks' in it"),
        ("voc", {}, "there is no folder .*Annotations"),
        ("dota", {}, "there is no folder .*images"),
        ("scenes", {}, "holds no folder of a class"),
    ],
)
def test_what_is_refused(layout, options, words, tmp_path):
    with pytest.raises(DataError, match=words):
        read_layout(layout, tmp_path, **options)


def test_an_image_with_too_few_bands(tmp_path):
    write(tmp_path / "a/grey.png", np.full((4, 4), 9, np.uint8))
    with pytest.raises(DataError, match="0 kept; 1 without the bands red, green, blue"):
        read_layout("scenes", tmp_path)
    image(tmp_path / "a/colours.png")
    samples = read_layout("scenes", tmp_path)
    assert samples.report.sentence() == "2 found, 1 kept; 1 without the bands red, green, blue"
    with pytest.raises(DataError, match=r"has 1 band\(s\), but 3 are needed: red, green, blue"):
        Imagery.of("aerial-rgb").read(tmp_path / "a/grey.png")


def test_bands_gsd_and_units_of_any_sensor(tmp_path):
    stored = np.arange(2 * 4 * 4).reshape(2, 4, 4).astype(np.uint16) * 100
    write(tmp_path / "a/one.tif", stored, placed=True)
    samples = read_layout("scenes", tmp_path, "sentinel-2-l2a", ["B08", "B04"], gsd=20)
    layer = samples[0].layers["sentinel-2-l2a_20m"]
    assert layer.spec.bands == ("B08", "B04")
    assert not layer.valid[0, 0, 0]  # the sensor's nodata is 0
    assert np.isnan(layer.pixels[0, :, 0, 0]).all()
    np.testing.assert_allclose(layer.pixels[0, 0, 1], stored[0, 1] * 1e-4)
    assert samples[0].place.crs == "EPSG:32633"


@pytest.mark.parametrize(
    ("sensor", "bands", "most"),
    [("aerial-rgb", (), 4000), ("sentinel-2-l2a", ("B04", "B03", "B02"), 255)],
)
def test_numbers_of_another_scale(sensor, bands, most, tmp_path):
    stored = rng("scale").integers(1, most + 1, (3, SIDE, SIDE)).astype(np.uint16)
    write(tmp_path / "a/one.tif", stored)
    with pytest.raises(DataError, match=r"do not look like its unit .*scaled otherwise"):
        read_layout("scenes", tmp_path, sensor, bands)
    assert len(read_layout("scenes", tmp_path, sensor, bands, check=False)) == 1


def test_a_layer_must_have_the_bands():
    with pytest.raises(DataError, match=r"has the shape \(2, 4, 4\), but \(C, H, W\) with C = 3"):
        Imagery.of("aerial-rgb").layer(np.zeros((2, 4, 4)))


def test_files_of_the_system_are_no_images(tmp_path):
    image(tmp_path / "Forêt dense/a b.PNG".replace("PNG", "png"))
    (tmp_path / "Forêt dense/a b.png").rename(tmp_path / "Forêt dense/a b.PNG")
    for name in ("._a b.PNG", ".DS_Store", "Thumbs.db", "a b.PNG.aux.xml", "a b.PNG.ovr"):
        (tmp_path / "Forêt dense" / name).write_bytes(b"x")
    image(tmp_path / ".ipynb_checkpoints/a.png")
    image(tmp_path / "__MACOSX/a.png")
    samples = read_layout("scenes", tmp_path)
    assert samples.classes == ("Forêt dense",)
    assert samples.report.sentence() == "1 found, 1 kept"


def test_a_list_says_the_split_of_scenes(tmp_path):
    for name in ("a/a_0", "a/a_1", "b/b_0", "b/same", "a/same"):
        image(tmp_path / f"{name}.png")
    (tmp_path / "train.txt").write_text("a_0.jpg\n./b/b_0.png\nlost.png\n")
    samples = read_layout("scenes", tmp_path, split="train")
    assert [samples[at].id for at in range(2)] == ["a/a_0", "b/b_0"]
    assert samples.report.skipped == {"without an image": 1}
    (tmp_path / "val.txt").write_text("same.png\n")
    with pytest.raises(LabelError, match=r"'same' may be a/same.png or b/same.png"):
        read_layout("scenes", tmp_path, split="val")
    with pytest.raises(DataError, match=r"there is no folder .*test; the folders .* are: a, b"):
        read_layout("scenes", tmp_path, split="test")


def test_images_with_a_palette_are_colours(tmp_path):
    import rasterio

    write(tmp_path / "a/1.tif", np.array([[0, 1], [1, 0]], np.uint8), placed=True)
    with rasterio.open(tmp_path / "a/1.tif", "r+") as file:
        file.write_colormap(1, {0: (1, 2, 3, 255), 1: (200, 100, 50, 255)})
    pixels = read_layout("scenes", tmp_path)[0].layers["aerial-rgb_10m"].pixels[0]
    assert pixels[:, 0, 0].tolist() == [1, 2, 3]
    assert pixels[:, 0, 1].tolist() == [200, 100, 50]


TABLE = """path;kind;tags;forest;water;height;set
0;a;dry wet;1;0;2,5;train
1.png;b;wet;0;1;3,5;val
lost.png;a;wet;0;0;1,5;train
0.png;;;1;1;;train
"""


@pytest.mark.parametrize(
    ("options", "task", "classes", "answers"),
    [
        ({"label": "kind"}, "scene-class", ("a", "b"), [SceneClasses((1,)), SceneClasses((2,))]),
        (
            {"label": "tags", "between": " "},
            "scene-labels",
            ("dry", "wet"),
            [SceneClasses((1, 2)), SceneClasses((2,))],
        ),
        (
            {"value": "height", "unit": "m"},
            "scene-value",
            (),
            [SceneValue(2.5, "m"), SceneValue(3.5, "m")],
        ),
        (
            {"labels": ["forest", "water"]},
            "scene-labels",
            ("forest", "water"),
            [SceneClasses((1,)), SceneClasses((2,)), SceneClasses((1, 2))],
        ),
    ],
)
def test_tables_of_images(options, task, classes, answers, tmp_path):
    for number in (0, 1):
        image(tmp_path / f"tiles/{number}.png")
    (tmp_path / "t.csv").write_text(TABLE)
    given = {"table": "t.csv", "image": "path", "images": "tiles", **options}
    samples = read_layout("image-table", tmp_path, **given)
    assert (samples.task, samples.classes) == (task, classes)
    assert list(samples.targets) == answers
    assert samples.report.skipped["without an image"] == 1
    train = read_layout("image-table", tmp_path, split="train", split_column="set", **given)
    assert len(train) == len(answers) - 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "name one kind of answer: 'label', 'labels' or 'value'; the columns are: path, kind"),
        ({"label": "sort"}, "has no column 'sort'; it has: path, kind"),
        ({"value": "kind"}, "the column 'kind' of .* holds 'a' in row 1, not a number"),
        ({"labels": ["height"]}, "the column 'height' of .* must hold 0 or 1"),
        ({"label": "kind", "split": "dev", "split_column": "set"}, "holds: train, val"),
        (
            {"label": "kind", "images": "pictures"},
            "no folder .*pictures; the folders .* are: tiles",
        ),
    ],
)
def test_tables_of_images_that_do_not_fit(options, words, tmp_path):
    image(tmp_path / "tiles/0.png")
    (tmp_path / "t.csv").write_text(TABLE)
    with pytest.raises((DataError, LabelError), match=words):
        read_layout(
            "image-table", tmp_path, table="t.csv", image="path", **{"images": "tiles", **options}
        )


def test_files_in_another_scale_say_so(tmp_path):
    stored = rng("scale").random((2, SIDE, SIDE)).astype(np.float32)
    stored[:, 0] = np.nan
    write(tmp_path / "a/1.tif", stored)
    given = ("scenes", tmp_path, "sentinel-2-l2a", ["B04", "B08"])
    with pytest.raises(DataError, match="scaled otherwise\\? Say so by 'scale'"):
        read_layout(*given)
    layer = read_layout(*given, scale=0.5)[0].layers["sentinel-2-l2a_10m"]
    np.testing.assert_allclose(layer.pixels[0], stored * 0.5)
    assert not layer.valid[0, 0].any()
    with pytest.raises(DataError, match="must be a number, but is '1'"):
        read_layout(*given, scale="1")
    with pytest.raises(DataError, match="above 0, but is 0"):
        read_layout(*given, scale=0)


def test_series_say_what_they_lack(tmp_path):
    np.savez(tmp_path / "t.npz", x=np.zeros(2))
    with pytest.raises(DataError, match=r"lacks the array.s. X, bands, y, .*present are: x"):
        read_layout("series", tmp_path, "modis-mod13q1", table="t.npz")
    np.savez(tmp_path / "t.npz", y=np.array([3, 4]))
    with pytest.raises(LabelError, match=r"as text, but holds 3; write y.astype"):
        read_layout("series", tmp_path, "modis-mod13q1", table="t.npz")
