"""Answers of every kind, how they are compared and drawn, and chips of many sizes with answers."""

from dataclasses import dataclass

import numpy as np
import shapely
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from earthloom.sample import Chip, Layer, LayerSpec, Place, Shape2d
from earthloom.sample.target import (
    Boxes,
    Counts,
    Instances,
    PixelValues,
    SceneClasses,
    SceneValue,
)

EIGHTHS = st.integers(-16, 160).map(lambda eighths: eighths / 8)
"""Coordinates that float32 holds exactly, wherever they are moved to."""


def _codes(count):
    return arrays.arrays(np.uint8, count, elements=st.integers(1, 9))


@st.composite
def boxes_within(draw, rows, cols, most=6):
    """Upright boxes on whole pixels of a chip, none of them empty."""
    found = []
    for _ in range(draw(st.integers(0, most))):
        left, top = draw(st.integers(0, cols - 1)), draw(st.integers(0, rows - 1))
        right, bottom = draw(st.integers(left + 1, cols)), draw(st.integers(top + 1, rows))
        found.append((left, top, right, bottom))
    bounds = np.array(found, np.float32).reshape(-1, 4)
    return Boxes.upright(bounds, draw(_codes(len(found))))


@st.composite
def boxes(draw):
    count = draw(st.integers(0, 4))
    corners = draw(arrays.arrays(np.float32, (count, 4, 2), elements=st.floats(-9, 30, width=32)))
    return Boxes(corners, draw(_codes(count)))


def rings(count=st.integers(3, 6), elements=EIGHTHS):
    return count.flatmap(lambda n: arrays.arrays(np.float32, (n, 2), elements=elements))


@st.composite
def instances(draw, rows, cols):
    count = draw(st.integers(0, 4))
    which = draw(st.sampled_from(["polygons", "ids", "both"]))
    polygons = tuple(tuple(draw(st.lists(rings(), min_size=1, max_size=3))) for _ in range(count))
    ids = draw(arrays.arrays(np.int32, (rows, cols), elements=st.integers(0, count)))
    return Instances(
        draw(_codes(count)),
        None if which == "ids" else polygons,
        None if which == "polygons" else ids,
    )


@st.composite
def counts(draw):
    codes = draw(st.lists(st.integers(1, 200), max_size=5, unique=True))
    numbers = draw(arrays.arrays(np.float32, len(codes), elements=st.floats(0, 1000, width=32)))
    return Counts(np.array(codes, np.uint8), numbers)


@st.composite
def pixel_values(draw, rows, cols):
    elements = st.floats(-1000, 1000, width=32) | st.just(np.nan)
    return PixelValues(draw(arrays.arrays(np.float32, (rows, cols), elements=elements)), "m")


def scene_classes():
    return st.sets(st.integers(1, 300), max_size=5).map(
        lambda codes: SceneClasses(tuple(sorted(codes)))
    )


def scene_values():
    return st.builds(SceneValue, st.floats(), st.sampled_from(["t/ha", "1", "µg m⁻³"]))


def targets(rows, cols):
    """Of every kind, or none."""
    return st.one_of(
        st.none(),
        scene_classes(),
        scene_values(),
        pixel_values(rows, cols),
        boxes(),
        instances(rows, cols),
        counts(),
    )


def assert_same(found, wanted):
    """Two answers are the same in kind, numbers and types."""
    assert type(found) is type(wanted)
    for what, expected in () if wanted is None else vars(wanted).items():
        came = getattr(found, what)
        if what == "polygons" and expected is not None:
            assert [len(each) for each in came] == [len(each) for each in expected]
            for one, other in zip(sum(came, ()), sum(expected, ()), strict=True):
                assert one.dtype == other.dtype
                np.testing.assert_array_equal(one, other)
        elif isinstance(expected, np.ndarray):
            assert came.dtype == expected.dtype
            np.testing.assert_array_equal(came, expected)
        else:
            assert came == expected or (came != came and expected != expected)


def image_of_boxes(found, rows, cols):
    """(rows, cols) codes of boxes on whole pixels, later ones over earlier ones."""
    image = np.zeros((rows, cols), np.uint8)
    for (left, top, right, bottom), code in zip(found.bounds.astype(int), found.codes, strict=True):
        image[max(top, 0) : bottom, max(left, 0) : right] = code
    return image


def image_of_polygons(things, rows, cols):
    """(rows, cols) numbers of things at the pixels' centres, later ones over earlier ones."""
    y, x = np.mgrid[:rows, :cols] + 0.5
    image = np.zeros((rows, cols), np.int32)
    for number, parts in enumerate(things.polygons, start=1):
        for ring in parts:
            image[shapely.contains_xy(shapely.make_valid(shapely.Polygon(ring)), x, y)] = number
    return image


def star(random, centre, radius, corners=7):
    """A simple polygon around a point, mostly not convex; no corner at a pixel's centre."""
    angles = (np.arange(corners) + 0.9 * random.random(corners)) / corners * 2 * np.pi
    radii = radius * (0.3 + 0.7 * random.random(corners))
    ring = np.stack([radii * np.cos(angles), radii * np.sin(angles)], axis=1) + centre
    return ring.astype(np.float32)


FINE = LayerSpec("optical", 10.0, ("red", "nir"), "1", ("1", "2"), (660.0, 840.0))
COARSE = LayerSpec("radar", 20.0, ("vv",), "linear power", ("1",), (None,), factor=2)
RAGGED_SPECS = {spec.key: spec for spec in (FINE, COARSE)}


def make_ragged(number, rows, cols):
    random = np.random.default_rng(number)
    layers = {}
    for spec in RAGGED_SPECS.values():
        shape = (len(spec.dates), rows // spec.factor, cols // spec.factor)
        pixels = random.random((shape[0], len(spec.bands), *shape[1:]), np.float32)
        days = np.arange(len(spec.dates), dtype=np.int32)
        layers[spec.key] = Layer(spec, pixels, np.ones(shape, np.bool_), days)
    boxes = Boxes.upright(
        np.array([[0, 0, 2, 2], [1, 0, cols, rows]], np.float32), np.array([4, 2], np.uint8)
    )
    return Chip(
        id=f"chip-{number}",
        shape=Shape2d(rows, cols),
        layers=layers,
        label=image_of_boxes(boxes, rows, cols),
        group=f"group-{number}",
        place=Place("EPSG:32632", (10.0, 0.0, 0.0, 0.0, -10.0, 0.0), Shape2d(rows, cols)),
        weight=random.random((rows, cols), np.float32),
        target=boxes,
    )


@dataclass(frozen=True)
class Ragged:
    """Chips of different sizes."""

    sizes: tuple[tuple[int, int], ...]

    @property
    def specs(self):
        return RAGGED_SPECS

    @property
    def groups(self):
        return [f"group-{number}" for number in range(len(self))]

    def __len__(self):
        return len(self.sizes)

    def __getitem__(self, index):
        return make_ragged(index, *self.sizes[index])
