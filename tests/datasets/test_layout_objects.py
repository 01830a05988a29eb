"""Boxes and outlines of Pascal VOC, YOLO and DOTA, and what all layouts have in common."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from layout_files import image, yolo
from published import SIDE, voc

from earthloom.datasets import read_layout
from earthloom.errors import DataError, LabelError


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
        ("0 0.5 0.5 0.1 0.1 0.9", "line 2: 6 values; a box has 5"),
        ("0 0.1 0.1 0.5 -0.1 2.5 0.4 0.1 0.3", "line 2: 2.5 is not between 0 and 1"),
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
    yolo(tmp_path, "0 0.5 0.5 0.2 0.4\n")
    ring = read_layout("yolo-instances", tmp_path).targets[0].polygons[0][0]
    np.testing.assert_allclose(ring, [[8, 3], [12, 3], [12, 7], [8, 7]], atol=1e-5)
    yolo(tmp_path, "1 0 0 1 0 1\n")
    with pytest.raises(LabelError, match="line 1: 6 values; an outline has its class"):
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


def test_voc_as_tools_write_it(tmp_path):
    """Other encodings, a document type, no pose, corners that count from 0, lists with suffixes."""
    image(tmp_path / "JPEGImages/a b.png")
    voc(tmp_path / "Annotations/a b.xml", "a b", [("forêt", (0, 2, SIDE + 1, 6))])
    file = tmp_path / "Annotations/a b.xml"
    text = '<?xml version="1.0" encoding="latin-1"?>\n<!DOCTYPE annotation>\n' + file.read_text()
    file.write_bytes(text.encode("latin-1"))
    (tmp_path / "ImageSets/Main").mkdir(parents=True)
    (tmp_path / "ImageSets/Main/train.txt").write_text("a b.png\n")
    samples = read_layout("voc", tmp_path, split="train")
    assert samples.classes == ("forêt",)
    assert samples.targets[0].bounds.tolist() == [[0, 1, SIDE, 6]]
    assert samples.report.changed == {"boxes cut at the edge of their image": 1}
    file.write_text('<!DOCTYPE a [<!ENTITY b "c">]><annotation/>')
    with pytest.raises(DataError, match="1 whose labels cannot be read"):
        read_layout("voc", tmp_path)
    with pytest.raises(DataError, match=r"no list .* of the split 'val'; there are: train"):
        read_layout("voc", tmp_path, split="val")


CENTRE = "<cx>8</cx><cy>6</cy><w>4</w><h>2</h><angle>1.5707963</angle>"
CORNERS = "".join(
    f"<x_{side}>{x}</x_{side}><y_{side}>{y}</y_{side}>"
    for side, (x, y) in {
        "left_top": (9, 4), "right_top": (9, 8), "right_bottom": (7, 8), "left_bottom": (7, 4),
    }.items()
)  # fmt: skip


@pytest.mark.parametrize("box", [CENTRE, CORNERS])
def test_turned_boxes_of_voc(box, tmp_path):
    image(tmp_path / "JPEGImages/a.png")
    (tmp_path / "Annotations").mkdir()
    thing = "<object><name>ship</name><robndbox>{}</robndbox></object>"
    file = tmp_path / "Annotations/a.xml"
    file.write_text(f"<annotation><filename>a.png</filename>{thing.format(box)}</annotation>")
    samples = read_layout("voc", tmp_path)
    assert samples.task == "oriented-boxes"
    corners = [[9, 4], [9, 8], [7, 8], [7, 4]]
    np.testing.assert_allclose(samples.targets[0].corners[0], corners, atol=1e-5)
    file.write_text(file.read_text().replace(">8<", ">x<"))
    with pytest.raises(LabelError, match=r"object 1: <.*> is 'x', not a number"):
        read_layout("voc", tmp_path)


SETTINGS = {
    "ultralytics": "path: ../datasets/sea # root\ntrain: images/train\ntest:\nnames:\n  0: car\n",
    "another machine": "path: /home/me/sea\ntrain: /home/me/sea/images/train\nnames: [car]\n",
    "folders": "train: [images/train, images/more]\nnames: {'0': car}\n",
    "list": "train: train.txt\nnames: [car]\n",
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_settings_of_yolo_as_tools_write_them(kind, tmp_path):
    yolo(tmp_path, "0 0.5 0.5 0.2 0.4\n")
    image(tmp_path / "images/more/c.png")
    (tmp_path / "data.yaml").rename(tmp_path / "sea.yaml")
    (tmp_path / "sea.yaml").write_text(SETTINGS[kind])
    (tmp_path / "train.txt").write_text("./images/train/a.png\n/data/images/train/empty.png\n")
    samples = read_layout("yolo", tmp_path)
    assert len(samples) == (3 if kind == "folders" else 2)
    assert len(samples.targets[0].codes) == 1
    assert "1 images without a label file" in samples.report.sentence() or kind == "folders"
    (tmp_path / "more.yml").write_text("names: [a]")
    with pytest.raises(DataError, match=r"has several settings; name one as 'data': more.yml, sea"):
        read_layout("yolo", tmp_path)


def test_a_split_is_never_taken_for_another(tmp_path):
    yolo(tmp_path, "")
    (tmp_path / "data.yaml").write_text("train: images/train\nval: ../val/images\nnames: [car]\n")
    with pytest.raises(DataError, match=r"names ../val/images, which is not there"):
        read_layout("yolo", tmp_path, split="val")


def test_darknet_and_names_beside(tmp_path):
    image(tmp_path / "obj_train_data/a.png")
    (tmp_path / "obj_train_data/a.txt").write_text("1 0.5 0.5 0.25 0.5\n")
    (tmp_path / "train.txt").write_text("data/obj_train_data/a.png\n")
    (tmp_path / "obj.names").write_text("car\nship\n")
    (tmp_path / "obj.data").write_text(
        "classes = 2\ntrain = data/train.txt\nnames = data/obj.names\nbackup = backup/\n"
    )
    samples = read_layout("yolo", tmp_path)
    assert samples.classes == ("car", "ship")
    assert samples.targets[0].bounds.tolist() == [[6, 4, 10, 12]]
    (tmp_path / "obj.data").unlink()
    with pytest.raises(DataError, match=r"name a 'split', which is '' where all lie in .*images"):
        read_layout("yolo", tmp_path)
    (tmp_path / "obj_train_data").rename(tmp_path / "images")
    assert read_layout("yolo", tmp_path, split="").classes == ("car", "ship")
    (tmp_path / "images/a.txt").unlink()
    with pytest.raises(
        DataError, match=r"none of 1 images has a label file, such as .*labels/a.txt"
    ):
        read_layout("yolo", tmp_path, split="")


def test_dota_as_it_is_found(tmp_path):
    image(tmp_path / "train/images/P1.png")
    (tmp_path / "train/labelTxt-v1.5").mkdir()
    (tmp_path / "train/labelTxt-v1.5/P1.txt").write_text(
        "imagesource:GoogleEarth\ngsd:0.14\n-3 1 5 1 5 3 -3 3 small vehicle 0\n"
        "90 90 95 90 95 94 90 94 ship 0\n1 1 1 1 1 1 1 1 ship 0\n1 1 5 1 5 3 1 3 ship\n"
    )
    with pytest.raises(DataError, match=r"no folder .*labelTxt; .* are: images, labelTxt-v1.5"):
        read_layout("dota", tmp_path, split="train")
    samples = read_layout("dota", tmp_path, split="train", labels="labelTxt-v1.5")
    assert samples.classes == ("ship", "small vehicle")
    assert samples.targets[0].bounds.tolist() == [[-3, 1, 5, 3], [1, 1, 5, 3]]
    assert samples.report.changed == {
        "boxes or outlines without extent left out": 1,
        "boxes or outlines outside their image left out": 1,
    }


def test_a_table_of_boxes(tmp_path):
    """As DeepForest has it: an image whose edges are empty shows nothing, a box is cut."""
    for name in ("a.png", "b.png"):
        image(tmp_path / "train" / name)
    lines = ["image_path,xmin,ymin,xmax,ymax,label", "a.png,1,2,5,6,Tree", "a.png,-3,0,4,4,Palm"]
    table = tmp_path / "train.csv"
    table.write_text("\n".join([*lines, "b.png,,,,,", "lost.png,1,1,2,2,Tree"]))
    samples = read_layout("box-table", tmp_path, table="train.csv", images="train")
    assert (samples.task, samples.classes) == ("boxes", ("Palm", "Tree"))
    np.testing.assert_array_equal(samples.targets[0].bounds, [[1, 2, 5, 6], [0, 0, 4, 4]])
    assert samples.targets[0].codes.tolist() == [2, 1]
    assert len(samples.targets[1].codes) == 0
    assert samples.report.skipped == {"without an image": 1}
    assert samples.report.changed == {"boxes cut at the edge of their image": 1}
    with pytest.raises(LabelError, match="has the class 'Tree'; classes are: Oak"):
        read_layout("box-table", tmp_path, table="train.csv", images="train", classes=["Oak"])
    table.write_text("\n".join([*lines, "a.png,5,5,2,2,Tree"]))
    with pytest.raises(LabelError, match=r"train\.csv, row 3: the box 5, 5, 2, 2 .* ends before"):
        read_layout("box-table", tmp_path, table="train.csv", images="train")
    table.write_text("file,xmin,ymin,xmax,ymax,label\na.png,1,2,5,6,Tree\n")
    with pytest.raises(DataError, match=r"no column image, .*; name one by 'image'; it has: file"):
        read_layout("box-table", tmp_path, table="train.csv", images="train")
