"""Boxes, parcels and classes of whole images."""

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from earthloom.chips.label_objects import (
    boxes_of,
    parcels_of,
)
from earthloom.chips.label_scenes import (
    class_shares,
    read_scene_labels,
    scene_class,
    scene_classes,
)
from earthloom.chips.labels import Vocabulary, read_labels
from earthloom.errors import LabelError
from earthloom.grid import window_box
from earthloom.project import Labels as LabelSettings
from earthloom.project import LandClass
from earthloom.sample import Shape2d, Window

CLASSES = (
    LandClass(code=3, name="water", colour="#0000ff"),
    LandClass(code=7, name="forest", colour="#00ff00"),
)
WORDS = Vocabulary.of(LabelSettings(), CLASSES)
BOX = GeoBox.from_bbox((600_000, 5_400_000, 600_100, 5_400_080), crs="EPSG:32632", resolution=10)


def _rectangle(row, col, rows, cols):
    x, y = 600_000 + 10 * col, 5_400_080 - 10 * row
    return shapely.box(x, y - 10 * rows, x + 10 * cols, y)


@pytest.fixture
def labels(tmp_path):
    shapes = [_rectangle(1, 1, 3, 4), _rectangle(2, 4, 2, 3), _rectangle(6, 8, 4, 4)]
    table = gpd.GeoDataFrame({"class": ["water", "forest", "forest"]}, geometry=shapes, crs=32632)
    path = tmp_path / "a.gpkg"
    table.to_file(path)
    return read_labels(path, LabelSettings(), CLASSES, BOX)


def test_boxes_in_pixels_of_a_chip(labels):
    """Cut at the edges, and left out where too little is in."""
    found = boxes_of(labels, BOX)
    assert found.bounds.tolist() == [[1, 1, 5, 4], [4, 2, 7, 4], [8, 6, 10, 8]]
    assert found.codes.tolist() == [3, 7, 7]
    assert boxes_of(labels, BOX, least_share=0.3).codes.tolist() == [3, 7]
    part = boxes_of(labels, window_box(BOX, Window(2, 2, Shape2d(4, 4))))
    assert part.bounds.tolist() == [[0, 0, 3, 2], [2, 0, 4, 2]]


def test_parcels_are_numbered_and_do_not_overlap(labels):
    found = parcels_of(labels, BOX)
    assert found.codes.tolist() == [3, 7, 7]
    assert found.features.tolist() == [1, 2, 3]
    wanted = np.zeros(BOX.shape, int)
    wanted[1:4, 1:5], wanted[2:4, 4:7], wanted[6:, 8:] = 1, 2, 3
    wanted[2:4, 4] = 0
    np.testing.assert_array_equal(found.ids, wanted)
    # A window numbers its own, and says which features they are.
    part = parcels_of(labels, window_box(BOX, Window(6, 6, Shape2d(2, 4))))
    assert (part.ids.max(), part.features.tolist()) == (1, [3])
    none = parcels_of(labels, window_box(BOX, Window(0, 0, Shape2d(1, 1))))
    assert (none.ids.max(), len(none.codes)) == (0, 0)


@given(st.lists(st.sampled_from([0, 3, 7, 255]), min_size=1, max_size=30))
def test_classes_of_a_scene(values):
    label = np.array([values], np.uint8)
    shares = class_shares(label, (3, 7))
    known = [value for value in values if value in (3, 7)]
    assert shares.sum() == pytest.approx(1 if known else 0)
    assert scene_classes(label, (3, 7)).tolist() == [3 in known, 7 in known]
    one = scene_class(label, (3, 7))
    assert one == 0 or known.count(one) > len(known) / 2
    assert one != 0 or known.count(3) == known.count(7)


def test_a_table_of_scenes(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("file,class\na.jpg,water|forest\nb.jpg,3\nc.jpg,forest\nc.jpg,7\n")
    found = read_scene_labels(path, "file", "class", WORDS)
    assert found.images == ("a.jpg", "b.jpg", "c.jpg")
    assert found.codes == (3, 7)
    assert found.shown.tolist() == [[True, True], [True, False], [False, True]]
    with pytest.raises(LabelError, match=r"the image a.jpg has 2 classes, not one; 1 of 3"):
        found.single()
    path.write_text("file,class\na.jpg,water\nb.jpg,forest\n")
    assert read_scene_labels(path, "file", "class", WORDS).single().tolist() == [3, 7]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "cannot be read"),
        ("file,class\n", "hold no images"),
        ("name,class\na,water\n", "no column 'file'; they have: name, class"),
        ("file,class\na,\n", "row 1 .* no image or no class"),
        ("file,class\na,water|forrest\n", "unknown class 'forrest' in row 1 .*mean 'forest'"),
    ],
)
def test_broken_tables_of_scenes(text, words, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(text)
    with pytest.raises(LabelError, match=words):
        read_scene_labels(path, "file", "class", WORDS)
