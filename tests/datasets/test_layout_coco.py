"""Boxes and outlines of COCO: polygons, run-length masks, and files as tools write them."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from layout_files import coco
from published import SIDE
from rasterio.features import rasterize

from earthloom.datasets import read_layout
from earthloom.errors import DataError, LabelError
from earthloom.sample.target import Instances


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
    assert crowd.report.changed == {"crowds left out": 1}
    assert "2 kept; 1 without an image; 1 crowds left out" in crowd.report.sentence()


@pytest.mark.parametrize("text", ["{", "[]", '{"images": 3, "categories": []}'])
def test_a_file_that_is_no_coco(text, tmp_path):
    (tmp_path / "val.json").write_text(text)
    with pytest.raises(LabelError, match="are no COCO file"):
        read_layout("coco", tmp_path, annotations="val.json")


def write_coco(folder, content):
    (folder / "val.json").write_text("\ufeff" + json.dumps(content), encoding="utf-8")


def open_coco(folder, layout="coco", images="val"):
    return read_layout(layout, folder, annotations="val.json", images=images)


def test_boxes_are_cut_at_the_edges_and_counted(tmp_path):
    content = coco(tmp_path)
    boxes = [[-2, 2, 5, 4], [10, 2.5, 50, 4], [100, 2, 5, 4], [2, 2, 0, 4], [0, 0, SIDE, SIDE]]
    content["annotations"] = [
        {"id": at, "image_id": 4, "category_id": 30, "bbox": box} for at, box in enumerate(boxes)
    ]
    write_coco(tmp_path, content)
    samples = open_coco(tmp_path)
    expected = [[0, 2, 3, 6], [10, 2.5, SIDE, 6.5], [0, 0, SIDE, SIDE]]
    np.testing.assert_array_equal(samples.targets[0].bounds, expected)
    assert samples.report.changed == {
        "boxes cut at the edge of their image": 2,
        "boxes or outlines outside their image left out": 1,
        "boxes or outlines without extent left out": 1,
    }


def test_crowds_are_no_boxes_and_outlines_have_some(tmp_path):
    content = coco(tmp_path)
    crowd = {"id": 8, "image_id": 4, "category_id": 11, "bbox": [0, 0, 9, 9], "iscrowd": 1}
    content["annotations"].append(crowd)
    del content["annotations"][0]["bbox"]
    write_coco(tmp_path, content)
    samples = open_coco(tmp_path)
    assert samples.targets[0].bounds.tolist() == [[2, 3, 6, 8]]
    assert samples.report.changed == {"crowds left out": 1}


def test_images_of_coco_are_found_as_tools_name_them(tmp_path):
    content = coco(tmp_path)
    for image_, name in zip(content["images"], ("..\\val\\a.jpg", "upload/7/empty.jpg", "no.jpg")):
        image_["file_name"] = name
    write_coco(tmp_path, content)
    assert len(open_coco(tmp_path)) == 2
    (tmp_path / "val.json").rename(tmp_path / "val/val.json")
    beside = read_layout("coco", tmp_path, annotations="val/val.json")
    assert beside.report.skipped["without an image"] == 2
    with pytest.raises(DataError, match=r"none of the 3 images .* such as .*elsewhere/no.jpg; say"):
        read_layout("coco", tmp_path, annotations="val/val.json", images="elsewhere/")
    with pytest.raises(DataError, match=r"No such file or directory; beside it: val.json"):
        read_layout("coco", tmp_path, annotations="val/train.json")


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("image_id", 70, "annotation 1: the image 70 is none of the 3 in 'images'"),
        ("category_id", 7, "annotation 1: the category 7 is not there; there are: 30 ship, 11 car"),
        ("bbox", [1, 2, 3], "annotation 1 has no 'bbox' of left, top, width, height"),
        ("bbox", [9, 2, -3, 4], "annotation 1: the box 9, 2, 6, 6 .* ends before it begins"),
        ("bbox", [9, 2, float("nan"), 4], "annotation 1: the box 9, 2, nan, 6"),
        ("segmentation", [[1, 2, 3, 4, 5]], "annotation 1: .* finite numbers x, y, x, y"),
        (
            "segmentation",
            {"counts": [1, 2], "size": [9, 9]},
            r"has \(9, 9\) pixels, its image \(16, 16",
        ),
        ("segmentation", {"counts": [1, 2], "size": [SIDE] * 2}, "runs are of 3 pixels, not 256"),
        ("segmentation", {"counts": "PP~", "size": [SIDE] * 2}, "the letter '~' is none"),
        ("segmentation", {"counts": "P", "size": [SIDE] * 2}, "mask breaks off"),
    ],
)
def test_annotations_that_cannot_be_right(key, value, words, tmp_path):
    content = coco(tmp_path)
    content["annotations"][0][key] = value
    write_coco(tmp_path, content)
    layout = "coco-instances" if key == "segmentation" else "coco"
    with pytest.raises(LabelError, match=words):
        open_coco(tmp_path, layout)


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6), density=st.floats(0.05, 0.95), packed=st.booleans())
def test_run_length_masks_become_the_same_pixels(seed, density, packed, tmp_path_factory):
    """Encoded by pycocotools, whatever holes and islands there are; rasterio draws them again."""
    from pycocotools import mask as encoder

    folder = tmp_path_factory.getbasetemp() / "runs"
    if not (folder / "val").is_dir():
        coco(folder)
    mask = np.random.default_rng(seed).random((SIDE, SIDE)) < density
    mask[0, 0] = True
    column = np.concatenate([[False], mask.T.ravel()])
    edges = np.flatnonzero(np.diff(column.astype(int))) if mask.any() else []
    runs = np.diff([0, *edges, mask.size]).tolist()
    segmentation = {"counts": runs, "size": [SIDE, SIDE]}
    if packed:
        coded = encoder.encode(np.asfortranarray(mask.astype(np.uint8)))
        segmentation["counts"] = coded["counts"].decode()
    content = coco(folder)
    content["annotations"][0]["segmentation"] = segmentation
    write_coco(folder, content)
    (rings,) = open_coco(folder, "coco-instances").targets[0].polygons
    shapes = [{"type": "Polygon", "coordinates": [[*ring, ring[0]]]} for ring in rings]
    drawn = [rasterize([shape], out_shape=mask.shape) for shape in shapes]
    np.testing.assert_array_equal(np.sum(drawn, axis=0), mask)


def test_outlines_without_corners_are_counted(tmp_path):
    content = coco(tmp_path)
    for number, segmentation in ((2, []), (3, [[1, 1, 5, 1]]), (4, [[-9, 1, -5, 1, -5, 5]])):
        note = {**content["annotations"][0], "id": number, "segmentation": segmentation}
        content["annotations"].append(note)
    write_coco(tmp_path, content)
    samples = open_coco(tmp_path, "coco-instances")
    assert len(samples.targets[0].codes) == 1
    assert list(samples.report.changed.values()) == [2, 1]
