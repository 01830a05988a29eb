"""The minimum mapping unit, against a slow oracle that looks at the whole map after each step."""

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from earthloom.maps.patches import label_patches, strip_rows
from earthloom.maps.sieve import sieve_map

images = arrays(
    np.uint8, st.tuples(st.integers(1, 10), st.integers(1, 10)), elements=st.integers(0, 4)
)


def patches_of(codes, diagonal):
    """Code and pixels of each patch."""
    near = np.ones((3, 3)) if diagonal else None
    for code in np.unique(codes[codes > 0]):
        labels, count = ndimage.label(codes == code, structure=near)
        for number in range(1, count + 1):
            yield code, labels == number


def slowly_sieved(codes, least, diagonal):
    """One patch after the other, the smallest first; all patches are found anew after each."""
    codes = codes.copy()
    while True:
        small = [
            (patch.sum(), np.flatnonzero(patch)[0], patch)
            for _, patch in patches_of(codes, diagonal)
            if patch.sum() < least
        ]
        if not small:
            return codes
        patch = min(small, key=lambda each: each[:2])[2]
        border = np.zeros(256, int)
        padded, inside = np.pad(codes, 1), np.pad(patch, 1)
        for step in ((0, 1), (1, 0), (0, -1), (-1, 0)):
            beside = np.roll(inside, step, (0, 1)) & ~inside & (padded > 0)
            border += np.bincount(padded[beside], minlength=256)
        codes[patch] = border.argmax() if border.any() else 0


def sieved(codes, folder, least_pixels, diagonal=False, height=None):
    rows, cols = codes.shape
    profile = {
        "driver": "GTiff", "width": cols, "height": rows, "count": 1, "dtype": "uint8",
        "crs": "EPSG:32632", "transform": Affine(10, 0, 0, 0, -10, 0),
    }  # fmt: skip
    source, target = folder / "map.tif", folder / "sieved.tif"
    with rasterio.open(source, "w", **profile) as file:
        file.write(codes, 1)
    areas = np.full(rows, 100.0)
    done = sieve_map(
        source, target, least_pixels * 100, areas, diagonal, height or rows, lambda *_: None
    )
    with rasterio.open(target) as file:
        return file.read(1), done


@settings(deadline=None, max_examples=120)
@given(images, st.integers(1, 9), st.booleans(), st.integers(1, 10))
def test_fast_is_slow_whatever_the_strips(tmp_path_factory, codes, least, diagonal, height):
    folder = tmp_path_factory.getbasetemp()
    found, done = sieved(codes, folder, least, diagonal, height)
    np.testing.assert_array_equal(found, slowly_sieved(codes, least, diagonal))
    _, whole = sieved(codes, folder, least, diagonal)
    assert done == whole
    assert done.dropped_m2 == 100 * ((codes > 0) & (found == 0)).sum()
    assert all(patch.sum() >= least for _, patch in patches_of(found, diagonal))


@settings(deadline=None, max_examples=80)
@given(images, st.booleans())
def test_patches_are_numbered_by_their_first_pixels(codes, diagonal):
    patches = label_patches(codes, diagonal)
    np.testing.assert_array_equal(np.unique(patches.labels), np.arange(patches.count))
    _, first = np.unique(patches.labels, return_index=True)
    np.testing.assert_array_equal(patches.first, first)
    assert (np.diff(first) > 0).all()
    near = np.ones((3, 3)) if diagonal else None
    for code in np.unique(codes):
        labels, count = ndimage.label(codes == code, structure=near)
        there = codes == code
        pairs = np.unique(np.stack([labels[there], patches.labels[there]]), axis=1)
        assert pairs.shape[1] == count


def test_a_speck_takes_the_class_round_it(tmp_path):
    codes = np.full((5, 5), 2, np.uint8)
    codes[2, 2], codes[0, 0] = 1, 3
    found, done = sieved(codes, tmp_path, 2)
    assert (found == 2).all()
    assert (done.joined, done.joined_m2, done.dropped) == (2, 200.0, 0)


def test_a_speck_alone_is_dropped_and_counted(tmp_path):
    codes = np.zeros((5, 5), np.uint8)
    codes[2, 2] = 1
    found, done = sieved(codes, tmp_path, 2)
    assert (found == 0).all()
    assert (done.joined, done.dropped, done.dropped_m2) == (0, 1, 100.0)


def test_nothing_is_changed_where_nothing_is_small(tmp_path):
    codes = np.repeat([[1], [2]], 3, axis=0).repeat(4, axis=1).astype(np.uint8)
    found, done = sieved(codes, tmp_path, 12)
    np.testing.assert_array_equal(found, codes)
    assert done.joined == done.dropped == 0


def test_specks_may_become_large_together(tmp_path):
    """A row of specks of two classes, none of them large, has the larger class in the end."""
    codes = np.zeros((3, 9), np.uint8)
    codes[1] = [1, 2, 1, 1, 2, 1, 1, 2, 1]
    found, done = sieved(codes, tmp_path, 9)
    assert (found[1] == 1).all()
    assert done.dropped == 0


@pytest.mark.parametrize(("rows", "cols"), [(10, 10), (1, 10**7), (50_000, 20_000), (300, 12_000)])
def test_strips_fit_in_memory(rows, cols):
    height = strip_rows(rows, cols)
    assert 1 <= height <= rows
    assert height == 1 or height * cols <= 4_000_000
    assert height == rows or height < 256 or height % 256 == 0
