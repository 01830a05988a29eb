"""Texture against scikit-image, window by window."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.feature import graycomatrix, graycoprops

from earthloom.cube.harmonise.texture import MEASURES, TextureSettings, glcm, quantise
from earthloom.errors import DataError

ANGLES = (0, np.pi / 4, np.pi / 2, 3 * np.pi / 4)
NAMES = {"asm": "ASM"}


def oracle(window: np.ndarray, levels: int, distance: int) -> list[float]:
    """The measures of one window, as scikit-image has them, in the order of ours.

    It measures a diagonal by its length, so that it is asked for the root of 2 times as far.
    """
    matrices = [
        graycomatrix(window.astype(np.uint8), [far], [angle], levels, symmetric=True, normed=True)
        for angle, far in zip(ANGLES, distance * np.array([1, np.sqrt(2), 1, np.sqrt(2)]))
    ]
    return [
        float(np.mean([graycoprops(matrix, NAMES.get(measure, measure)) for matrix in matrices]))
        for measure in MEASURES
    ]


@settings(max_examples=30, deadline=None)
@given(
    st.integers(0, 10_000),
    st.sampled_from([2, 5, 16]),
    st.sampled_from([(3, 1), (5, 1), (7, 2)]),
)
def test_as_scikit_image(seed, levels, size):
    window, distance = size
    rng = np.random.default_rng(seed)
    image = rng.uniform(0, 1, (15, 13)).astype(np.float32)
    chosen = TextureSettings(0.0, 1.0, levels, window, distance)
    texture = glcm(image, chosen)
    grey, half = quantise(image, chosen), window // 2
    for row, col in [(half, half), (7, 6), (14 - half, 12 - half)]:
        part = grey[row - half : row + half + 1, col - half : col + half + 1]
        expected = oracle(part, levels, distance)
        assert texture[:, row, col] == pytest.approx(expected, rel=1e-4, abs=1e-5)


def test_at_the_rim_the_window_is_cut():
    image = np.random.default_rng(1).uniform(0, 1, (10, 10)).astype(np.float32)
    chosen = TextureSettings(0.0, 1.0, 8, 5)
    assert glcm(image, chosen)[:, 0, 9] == pytest.approx(
        oracle(quantise(image, chosen)[:3, 7:], 8, 1), rel=1e-4, abs=1e-5
    )


def test_a_flat_window():
    texture = glcm(np.full((9, 9), 0.55, np.float32), TextureSettings(0.0, 1.0, 10, 5))
    values = dict(zip(MEASURES, texture[:, 4, 4]))
    assert values == pytest.approx(
        {
            "contrast": 0,
            "homogeneity": 1,
            "entropy": 0,
            "correlation": 1,
            "asm": 1,
            "variance": 0,
            "mean": 5,
        },
        abs=1e-6,
    )


def test_levels_are_fixed_and_open_at_both_ends():
    image = np.array([[-5.0, 0.0, 0.24, 0.25, 0.99, 1.0, 7.0, np.nan]], np.float32)
    levels = quantise(image, TextureSettings(0.0, 1.0, 4, 3))
    assert levels.tolist() == [[0, 0, 0, 1, 3, 3, 3, -1]]


def test_what_was_not_seen_counts_for_nothing():
    rng = np.random.default_rng(2)
    image = rng.uniform(0, 1, (20, 20)).astype(np.float32)
    image[:, 10:] = np.nan
    texture = glcm(image, TextureSettings(0.0, 1.0, 8, 5))
    assert np.isnan(texture[:, :, 10:]).all()
    cut = glcm(image[:, :10].copy(), TextureSettings(0.0, 1.0, 8, 5))
    np.testing.assert_array_equal(texture[:, :, :10], cut)
    lonely = np.full((9, 9), np.nan, np.float32)
    lonely[4, 4] = 0.5
    assert np.isnan(glcm(lonely, TextureSettings(0.0, 1.0, 8, 5))).all()


def test_tiles_with_a_margin_are_as_the_whole():
    image = np.random.default_rng(3).uniform(0, 1, (40, 40)).astype(np.float32)
    chosen = TextureSettings(0.0, 1.0, 16, 7)
    whole, m = glcm(image, chosen), chosen.margin
    tile = glcm(image[10 - m : 30 + m, 5 - m : 25 + m].copy(), chosen)
    np.testing.assert_array_equal(tile[:, m:-m, m:-m], whole[:, 10:30, 5:25])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"high": 0.0}, "low < high"),
        ({"levels": 1}, "2 to 64"),
        ({"window": 4}, "odd"),
        ({"distance": 7}, "distance"),
    ],
)
def test_settings_are_checked(changes, words):
    with pytest.raises(DataError, match=words):
        TextureSettings(**({"low": 0.0, "high": 1.0} | changes))
