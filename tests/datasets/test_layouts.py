"""The common layouts, by hand-made folders: what is read, what is counted, what is refused."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from published import SIDE, rgb, rng, voc, write

from earthloom.datasets import Imagery, read_layout
from earthloom.errors import DataError, LabelError
from earthloom.sample.target import Instances, SceneClasses, SceneValue


def image(path: Path, side: int = SIDE) -> Path:
    write(path, rgb(rng(path.name), side))
    return path


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


def test_masks_of_codes_and_of_colours(tmp_path):
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[:4] = 7
    image(tmp_path / "images/a_sat.png")
    image(tmp_path / "images/lost.png")
    write(tmp_path / "masks/a_mask.png", mask)
    options = {"classes": ["tree"], "image_suffix": "_sat", "mask_suffix": "_mask"}
    samples = read_layout("masks", tmp_path, values=[7], unlabelled=[0], **options)
    np.testing.assert_array_equal(samples[0].label, mask == 7)
    assert samples.report.sentence() == "2 found, 1 kept; 1 without a mask"
    write(tmp_path / "masks/a_mask.png", np.stack([mask * 8, mask, mask]))
    options |= {"colours": ["#380707"], "unlabelled_colours": ["#000000"]}
    np.testing.assert_array_equal(read_layout("masks", tmp_path, **options)[0].label, mask == 7)


def test_masks_in_pieces(tmp_path):
    stored, mask = rgb(rng("pieces"), 20), rng("m").integers(0, 3, (20, 20)).astype(np.uint8)
    write(tmp_path / "train/images/a.tif", stored, placed=True)
    write(tmp_path / "train/masks/a.png", mask)
    image(tmp_path / "train/images/b.png", side=7)
    write(tmp_path / "train/masks/b.png", mask[:7, :7])
    samples = read_layout("masks", tmp_path, split="train", size=8, classes=["a", "b"])
    assert samples.report.skipped == {"smaller than 8 pixels": 1}
    assert [chip.id for chip in (samples[at] for at in range(9))][:4] == [
        "images/a_0_0", "images/a_0_8", "images/a_0_12", "images/a_8_0",
    ]  # fmt: skip
    assert len(samples) == 9
    assert set(samples.groups) == {"images/a"}
    chip = samples[5]  # rows from 8, columns from 12
    np.testing.assert_array_equal(chip.label, mask[8:16, 12:20])
    pixels = chip.layers["aerial-rgb_0.2m"].pixels[0]
    np.testing.assert_array_equal(pixels, stored[:, 8:16, 12:20])
    assert chip.place.transform[2::3] == (5e5 + 120, 5e6 - 80)


def test_masks_that_do_not_fit(tmp_path):
    image(tmp_path / "images/a.png")
    write(tmp_path / "masks/a.png", np.full((SIDE, SIDE), 9, np.uint8))
    samples = read_layout("masks", tmp_path, classes=["tree"], check=False)
    with pytest.raises(LabelError, match="has the value 9 in 256 pixels, which is of no class"):
        samples[0]
    write(tmp_path / "masks/a.png", np.ones((8, SIDE), np.uint8))
    with pytest.raises(LabelError, match="has 8 x 16 pixels, but its image has 16 x 16"):
        samples[0]
    with pytest.raises(DataError, match="must be as #00ff7f"):
        read_layout("masks", tmp_path, classes=["tree"], colours=["red"])


def coco(folder: Path) -> dict:
    image(folder / "val/a.jpg")
    image(folder / "val/empty.jpg")
    return {
        "images": [
            {"id": 4, "file_name": "a.jpg"},
            {"id": 9, "file_name": "empty.jpg"},
            {"id": 2, "file_name": "lost.jpg"},
        ],
        "categories": [{"id": 30, "name": "ship"}, {"id": 11, "name": "car"}],
        "annotations": [
            {"id": 1, "image_id": 4, "category_id": 30, "bbox": [2, 3, 4, 5],
             "segmentation": [[2, 3, 6, 3, 6, 8], [2, 3, 4, 8, 2, 8]]},
        ],
    }  # fmt: skip


def test_coco_boxes(tmp_path):
    (tmp_path / "val.json").write_text(json.dumps(coco(tmp_path)))
    samples = read_layout("coco", tmp_path, annotations="val.json", images="val")
    assert samples.classes == ("car", "ship")
    np.testing.assert_array_equal(samples.targets[0].bounds, [[2, 3, 6, 8]])
    assert samples.targets[0].codes.tolist() == [2]
    assert samples.targets[1].corners.shape == (0, 4, 2)
    assert samples.report.sentence() == "3 found, 2 kept; 1 without an image"


def test_coco_instances(tmp_path):
    content = coco(tmp_path)
    (tmp_path / "val.json").write_text(json.dumps(content))
    samples = read_layout("coco-instances", tmp_path, annotations="val.json", images="val")
    things = samples.targets[0]
    assert isinstance(things, Instances)
    assert [ring.tolist() for ring in things.polygons[0]] == [
        [[2, 3], [6, 3], [6, 8]],
        [[2, 3], [4, 8], [2, 8]],
    ]
    content["annotations"].append(
        {"id": 2, "image_id": 9, "category_id": 11, "iscrowd": 1, "segmentation": {"counts": []}}
    )
    (tmp_path / "val.json").write_text(json.dumps(content))
    crowd = read_layout("coco-instances", tmp_path, annotations="val.json", images="val")
    assert crowd.targets[1].polygons == ()
    content["annotations"][0]["segmentation"] = {"counts": [1, 2], "size": [16, 16]}
    (tmp_path / "val.json").write_text(json.dumps(content))
    with pytest.raises(LabelError, match=r"annotation 1 of .* is a run-length mask"):
        read_layout("coco-instances", tmp_path, annotations="val.json", images="val")


@pytest.mark.parametrize("text", ["{", "[]", '{"images": 3, "categories": []}'])
def test_a_file_that_is_no_coco(text, tmp_path):
    (tmp_path / "val.json").write_text(text)
    with pytest.raises(LabelError, match="are no COCO file"):
        read_layout("coco", tmp_path, annotations="val.json")


def test_voc(tmp_path):
    image(tmp_path / "JPEGImages/1.png")
    voc(tmp_path / "Annotations/1.xml", "1.jpg", [("car", (1, 2, 5, 6)), ("", (2, 2, 3, 3))])
    voc(tmp_path / "Annotations/2.xml", "2.jpg", [("bus", (1, 1, 2, 2))])
    (tmp_path / "Annotations/3.xml").write_text("<annotation>")
    samples = read_layout("voc", tmp_path, unnamed="car")
    assert samples.classes == ("bus", "car")
    np.testing.assert_array_equal(samples.targets[0].bounds, [[0, 1, 5, 6], [1, 1, 3, 3]])
    assert samples.report.skipped == {
        "without an image": 1,
        "whose labels cannot be read": 1,
    }
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / "ImageSets/Main/train.txt").write_text("1  1\n\n")
    assert len(read_layout("voc", tmp_path, split="train", unnamed="car")) == 1
    with pytest.raises(DataError, match="there is no list"):
        read_layout("voc", tmp_path, split="val")


def yolo(folder: Path, text: str, names: str = "[car, ship]") -> None:
    write(folder / "images/train/a.png", rgb(rng("a"), 20)[:, :10])
    image(folder / "images/train/empty.png")
    (folder / "labels/train").mkdir(parents=True, exist_ok=True)
    (folder / "labels/train/a.txt").write_text(text)
    (folder / "data.yaml").write_text(f"path: ../elsewhere\ntrain: images/train\nnames: {names}\n")


def test_yolo(tmp_path):
    yolo(tmp_path, "1 0.5 0.5 0.2 0.4\n\n0 0 0 1 0 1 1 0 1\n", "{0: car, 1: ship}")
    samples = read_layout("yolo", tmp_path)
    assert samples.task == "oriented-boxes"
    boxes = samples.targets[0]  # of an image 20 wide and 10 high
    np.testing.assert_allclose(boxes.bounds, [[8, 3, 12, 7], [0, 0, 20, 10]], atol=1e-5)
    assert boxes.codes.tolist() == [2, 1]
    assert len(samples.targets[1].codes) == 0


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("2 0.5 0.5 0.1 0.1", "line 2: class 2 is not one of 0 to 1"),
        ("0 50 0.5 0.1 0.1", "line 2: 50 is not between 0 and 1"),
        ("0 0.5 0.5 0 0.1", "line 2: a box of 0 x 0.1 has no extent"),
        ("0 0.5 0.5 0.1", "line 2: 4 values"),
        ("0 0.5 0.5 x 0.1", "line 2: could not convert"),
        ("0 0.5 0.5 nan 0.1", "line 2: not all of .* are finite"),
    ],
)
def test_lines_that_are_no_yolo(line, words, tmp_path):
    yolo(tmp_path, f"0 0.5 0.5 0.1 0.1\n{line}\n")
    with pytest.raises(LabelError, match=words):
        read_layout("yolo", tmp_path)


def test_yolo_outlines(tmp_path):
    yolo(tmp_path, "1 0 0 1 0 0.5 0.5\n")
    (tmp_path / "data.yaml").unlink()
    samples = read_layout("yolo-instances", tmp_path, classes=["car", "ship"])
    assert samples.targets[0].codes.tolist() == [2]
    assert samples.targets[0].polygons[0][0].tolist() == [[0, 0], [20, 0], [10, 5]]
    assert samples.targets[1].polygons == ()
    yolo(tmp_path, "1 0 0 1 0\n")
    with pytest.raises(LabelError, match="line 1: 5 values; an outline has its class"):
        read_layout("yolo-instances", tmp_path)


def test_yolo_settings_that_do_not_fit(tmp_path):
    yolo(tmp_path, "")
    with pytest.raises(DataError, match="has no split 'test'; it has: train"):
        read_layout("yolo", tmp_path, split="test")
    (tmp_path / "data.yaml").write_text("train: images/train\nnames: 2\n")
    with pytest.raises(DataError, match="'names' must list the classes"):
        read_layout("yolo", tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        read_layout("yolo", tmp_path, data="dataset.yaml")


def test_dota(tmp_path):
    image(tmp_path / "images/P1.png")
    image(tmp_path / "images/P2.png")
    (tmp_path / "labelTxt").mkdir()
    lines = "gsd:null\n1 1 5 1 5 3 1 3 ship 0\n2 2 4 2 4 4 2 4 plane 1\n"
    (tmp_path / "labelTxt/P1.txt").write_text(lines)
    samples = read_layout("dota", tmp_path)
    assert samples.classes == ("plane", "ship")
    assert samples.targets[0].codes.tolist() == [2, 1]
    assert samples.report.skipped == {"without a label file": 1}
    assert read_layout("dota", tmp_path, difficult=False).targets[0].codes.tolist() == [2]
    with pytest.raises(LabelError, match="line 3: unknown class 'plane'; known: ship"):
        read_layout("dota", tmp_path, classes=["ship"])


def points(folder: Path, rows: list[dict]) -> None:
    pd.DataFrame(rows).to_csv(folder / "points.csv", index=False)


ROWS = [
    {"lon": 15.0001, "lat": 45.1, "kind": "b", "yield": 2.5, "r": 1, "g": 2, "b": 3, "place": "x"},
    {"lon": 15.0002, "lat": 45.1, "kind": None, "yield": 3.5, "r": 4, "g": 5, "b": 6, "place": "x"},
    {"lon": 99.0000, "lat": 45.1, "kind": "a", "yield": 4.5, "r": 7, "g": 8, "b": 9, "place": "y"},
]


def test_points_with_their_pixels(tmp_path):
    points(tmp_path, ROWS)
    options = {"table": "points.csv", "columns": ["r", "g", "b"]}
    samples = read_layout("points", tmp_path, label="kind", **options)
    assert samples.report.sentence() == "3 found, 2 kept; 1 without an answer"
    assert list(samples.targets) == [SceneClasses((2,)), SceneClasses((1,))]
    assert samples[1].layers["aerial-rgb_0.2m"].pixels.ravel().tolist() == [7, 8, 9]
    assert samples.groups == ("15,45", "99,45")
    samples = read_layout("points", tmp_path, value="yield", unit="t/ha", group="place", **options)
    assert samples.targets[2] == SceneValue(4.5, "t/ha")
    assert samples.groups == ("x", "x", "y")


def test_points_in_a_raster(tmp_path):
    from pyproj import Transformer

    stored = rgb(rng("raster"), 32)
    write(tmp_path / "image.tif", stored, placed=True)
    back = Transformer.from_crs("EPSG:32633", "EPSG:4326", always_xy=True)
    lon, lat = back.transform(5e5 + 10 * 8.5, 5e6 - 10 * 20.5)  # the pixel in row 20, column 8
    points(tmp_path, [{"lon": lon, "lat": lat, "kind": "a"}, {"lon": 0, "lat": 0, "kind": "a"}])
    samples = read_layout(
        "points", tmp_path, table="points.csv", label="kind", image="image.tif", size=5
    )
    assert samples.report.sentence() == "2 found, 1 kept; 1 outside the raster"
    chip = samples[0]
    pixels = chip.layers["aerial-rgb_0.2m"].pixels[0]
    np.testing.assert_array_equal(pixels, stored[:, 18:23, 6:11])
    assert chip.place.transform[2] == 5e5 + 60


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"table": "no.csv", "label": "kind", "columns": ["r"]}, "cannot be read"),
        ({"table": "points.csv", "columns": ["r"]}, "name one column of answers"),
        ({"table": "points.csv", "label": "kind"}, "pixels come from 'columns', or"),
        ({"table": "points.csv", "label": "class", "columns": ["r"]}, "has no column 'class'"),
        ({"table": "points.csv", "label": "kind", "columns": ["r"]}, "1 columns do not fit"),
        ({"table": "points.csv", "value": "kind", "columns": ["r", "g", "b"]}, "not a number"),
    ],
)
def test_points_that_do_not_fit(options, words, tmp_path):
    points(tmp_path, ROWS)
    with pytest.raises((DataError, LabelError), match=words):
        read_layout("points", tmp_path, **options)


def npy(values: np.ndarray) -> bytes:
    store = io.BytesIO()
    np.save(store, values)
    return store.getvalue()


def shard(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def png(folder: Path, values: np.ndarray) -> bytes:
    write(folder / "one.png", values)
    return (folder / "one.png").read_bytes()


def test_webdataset(tmp_path):
    pixels, mask = rgb(rng("web")), np.eye(SIDE, dtype=np.uint8)
    image_, mask_ = png(tmp_path, pixels), png(tmp_path, mask)
    meta = json.dumps({"season": "dry", "height": 3.5}).encode()
    whole = {"npy": npy(pixels), "png": image_, "mask.png": mask_, "cls": b"4\n", "json": meta}
    shard(tmp_path / "a-000.tar", {f"./x/000.{key}": value for key, value in whole.items()})
    shard(tmp_path / "a-001.tar", {"001.cls": b"2", "002.npy": npy(pixels), "002.cls": b"0"})
    samples = read_layout("webdataset", tmp_path, label="cls")
    assert samples.report.sentence() == "3 found, 2 kept; 1 without .npy"
    assert samples.classes == ("0", "4")
    assert [target.codes for target in samples.targets] == [(2,), (1,)]
    assert samples.groups == ("a-000.tar", "a-001.tar")
    for image in ("npy", "png"):
        found = read_layout("webdataset", tmp_path, image=image, mask="mask.png", classes=["diag"])
        np.testing.assert_array_equal(found[0].layers["aerial-rgb_0.2m"].pixels[0], pixels)
        np.testing.assert_array_equal(found[0].label, mask)
    turned = npy(np.moveaxis(pixels, 0, -1))
    shard(tmp_path / "b.tar", {"9.npy": turned, "9.cls": b"1"})
    last = read_layout("webdataset", tmp_path, shards="b*.tar", label="cls", channels_last=True)
    np.testing.assert_array_equal(last[0].layers["aerial-rgb_0.2m"].pixels[0], pixels)
    named = read_layout("webdataset", tmp_path, shards="a*.tar", label="json:season")
    assert named.classes == ("dry",)
    assert (
        read_layout("webdataset", tmp_path, shards="a*.tar", value="json:height").targets[0].value
        == 3.5
    )
    five = ["a", "b", "c", "d", "e"]
    assert read_layout("webdataset", tmp_path, shards="a*.tar", label="cls", classes=five).targets[
        0
    ].codes == (5,)


def test_shards_that_do_not_fit(tmp_path):
    with pytest.raises(DataError, match="there is no shard"):
        read_layout("webdataset", tmp_path, label="cls")
    shard(tmp_path / "a.tar", {"0.npy": npy(rgb(rng("web"))), "0.cls": b"1"})
    content = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "a.tar").write_bytes(content[:600])
    with pytest.raises(DataError, match=r"a\.tar cannot be read"):
        read_layout("webdataset", tmp_path, label="cls")
    pickled = npy(np.array([{"a": 1}], dtype=object))
    shard(tmp_path / "a.tar", {"0.npy": pickled, "0.cls": b"1"})
    with pytest.raises(DataError, match=r"a \.npy of .* cannot be read: [^\n]+"):
        read_layout("webdataset", tmp_path, label="cls")[0]


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
        ("kitti", {}, "unknown layout 'kitti'; known are: scenes, masks"),
        ("scenes", {"kind": 3}, "the layout 'scenes' has no option 'kind'; it has: split, classes"),
        ("coco", {}, "the layout 'coco' needs the option 'annotations'"),
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
    with pytest.raises(DataError, match=r"has 1 band\(s\), but 3 are needed"):
        read_layout("scenes", tmp_path)[0]


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


@given(x=st.floats(0.2, 0.8), y=st.floats(0.2, 0.8), w=st.floats(0.01, 0.3), h=st.floats(0.01, 0.3))
def test_yolo_boxes_keep_their_centre_and_size(x, y, w, h, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "law"
    yolo(folder, f"0 {x:.9f} {y:.9f} {w:.9f} {h:.9f}")
    left, top, right, bottom = read_layout("yolo", folder).targets[0].bounds[0]
    assert left + right == pytest.approx(2 * x * 20, abs=1e-4)
    assert top + bottom == pytest.approx(2 * y * 10, abs=1e-4)
    assert (right - left, bottom - top) == pytest.approx((w * 20, h * 10), abs=1e-4)


@given(
    things=st.lists(
        st.tuples(*[st.integers(0, 7)] * 2, *[st.integers(8, SIDE)] * 2, st.sampled_from("ab")),
        min_size=1, max_size=4,
    )
)  # fmt: skip
def test_a_box_is_the_same_in_every_layout(things, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "same"
    image(folder / "images/one.png")
    for name in ("labels", "labelTxt"):
        (folder / name).mkdir(exist_ok=True)
    categories = [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]
    annotations = [
        {"image_id": 1, "category_id": 1 + "ab".index(kind), "bbox": [x, y, right - x, low - y]}
        for x, y, right, low, kind in things
    ]
    listed = {"images": [{"id": 1, "file_name": "one.png"}], "categories": categories}
    (folder / "coco.json").write_text(json.dumps(listed | {"annotations": annotations}))
    boxes = [(kind, (x + 1, y + 1, right, low)) for x, y, right, low, kind in things]
    voc(folder / "Annotations/one.xml", "one.png", boxes)
    lines, turned = [], []
    for x, y, right, low, kind in things:
        centre = ((x + right) / 2, (y + low) / 2, right - x, low - y)
        shares = " ".join(str(each / SIDE) for each in centre)
        lines.append(f"{'ab'.index(kind)} {shares}")
        turned.append(f"{x} {y} {right} {y} {right} {low} {x} {low} {kind} 0")
    (folder / "labels/one.txt").write_text("\n".join(lines))
    (folder / "labelTxt/one.txt").write_text("\n".join(turned))
    found = [
        read_layout("coco", folder, annotations="coco.json", images="images", classes=["a", "b"]),
        read_layout("voc", folder, images="images", classes=["a", "b"]),
        read_layout("yolo", folder, split="", classes=["a", "b"]),
        read_layout("dota", folder, classes=["a", "b"]),
    ]
    expected = [[x, y, right, low] for x, y, right, low, _ in things]
    for samples in found:
        np.testing.assert_allclose(samples.targets[0].bounds, expected, atol=1e-5)
        corners = found[0].targets[0].corners
        np.testing.assert_allclose(samples.targets[0].corners, corners, atol=1e-5)
        assert samples.targets[0].codes.tolist() == ["ab".index(kind) + 1 for *_, kind in things]


def test_a_layer_must_have_the_bands():
    with pytest.raises(DataError, match=r"has the shape \(2, 4, 4\), but \(C, H, W\) with C = 3"):
        Imagery.of("aerial-rgb").layer(np.zeros((2, 4, 4)))
