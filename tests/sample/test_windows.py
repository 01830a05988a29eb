"""Windows of large images: every pixel and every thing is in one of them."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from answers import Ragged, make_ragged
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.errors import ContractError
from earthloom.sample import IGNORE, Shape2d, Subset
from earthloom.sample.target import Boxes, PixelValues
from earthloom.sample.windows import Windows

SIDES = st.integers(1, 12).map(lambda half: 2 * half)


def origin(chip):
    """First row and column that a chip's place tells."""
    return round(-chip.place.transform[5] / 10), round(chip.place.transform[2] / 10)


@settings(max_examples=50)
@given(
    sizes=st.lists(st.tuples(SIDES, SIDES), min_size=1, max_size=3),
    size=st.integers(2, 5).map(lambda half: 2 * half),
    overlap=st.sampled_from([0, 2]),
)
def test_every_pixel_is_in_a_window_where_its_name_says(sizes, size, overlap):
    images = Ragged(tuple(sizes))
    windows = Windows(images, size, overlap)
    seen = [np.zeros(shape, int) for shape in sizes]
    for index in range(len(windows)):
        chip, image = windows[index], windows.image_of(index)
        whole = images[image]
        row, col = origin(chip)
        assert chip.id == f"{whole.id}_{row}_{col}"
        assert chip.group == windows.groups[index] == whole.group
        assert chip.shape == windows.shape
        rows, cols = (min(size, side - at) for side, at in zip(whole.shape, (row, col)))
        np.testing.assert_array_equal(
            chip.label[:rows, :cols], whole.label[row : row + rows, col : col + cols]
        )
        assert (chip.label[rows:] == IGNORE).all()
        seen[image][row : row + rows, col : col + cols] += 1
    assert all((each > 0).all() for each in seen)


def test_images_that_windows_fill_are_cut_without_overlap():
    windows = Windows(Ragged(((8, 12),)), 4)
    corners = [origin(windows[index]) for index in range(len(windows))]
    assert corners == [(row, col) for row in (0, 4) for col in (0, 4, 8)]


def test_a_thing_is_whole_in_a_window_where_they_overlap():
    box = Boxes.upright(np.array([[3, 3, 5, 5]], np.float32), np.ones(1, np.uint8))

    class Boxed(Ragged):
        def __getitem__(self, index):
            return replace(super().__getitem__(index), target=box)

    def areas(overlap):
        found = Windows(Boxed(((8, 8),)), 4, overlap, least_seen=0.9)
        targets = [found[index].target for index in range(len(found))]
        return [float(np.prod(b[2:] - b[:2])) for each in targets for b in each.bounds]

    assert areas(0) == []
    assert areas(2) == [4.0]


class Counted:
    """Samples that count how often they are read."""

    def __init__(self):
        self.images, self.reads = Ragged(((8, 8), (8, 12))), 0
        self.specs, self.groups = self.images.specs, self.images.groups

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        self.reads += 1
        return self.images[index]


def test_windows_in_order_read_each_image_once():
    images = Counted()
    windows = Windows(images, 4, shapes=[Shape2d(8, 8), Shape2d(8, 12)])
    assert images.reads == 0
    values = [windows[index].target for index in range(len(windows))]
    assert (images.reads, len(values)) == (2, 10)


def test_copies_and_parts_are_the_same_windows():
    windows = Windows(Ragged(((8, 8), (6, 10))), 4)
    windows[0]
    copy = pickle.loads(pickle.dumps(windows))
    part = Subset(windows, [3, 1])
    for at, index in enumerate(part.indices):
        assert part[at].id == copy[index].id == windows[index].id
    with pytest.raises(IndexError):
        windows[len(windows)]


def test_values_go_with_the_window():
    class Valued(Ragged):
        def __getitem__(self, index):
            chip = make_ragged(index, *self.sizes[index])
            values = np.arange(chip.label.size, dtype=np.float32).reshape(chip.shape)
            return replace(chip, target=PixelValues(values, "m"))

    windows = Windows(Valued(((8, 8),)), 4)
    np.testing.assert_array_equal(windows[3].target.values[0], [36, 37, 38, 39])


@pytest.mark.parametrize(("size", "overlap"), [(5, 0), (4, 4), (4, 1), (0, 0), (4, -2)])
def test_sizes_that_cannot_be(size, overlap):
    words = f"windows of {size} pixels with an overlap of {overlap} cannot be cut; .* of 2"
    with pytest.raises(ContractError, match=words):
        Windows(Ragged(((8, 8),)), size, overlap)


def test_shapes_of_other_samples():
    with pytest.raises(ContractError, match="2 shapes are given for 1 samples"):
        Windows(Ragged(((8, 8),)), 4, shapes=[Shape2d(8, 8)] * 2)
