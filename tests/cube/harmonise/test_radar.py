"""Decibels and speckle filters: laws, slow oracles, masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earthloom.cube.harmonise.radar import (
    boxcar,
    from_db,
    lee,
    multitemporal,
    refined_lee,
    to_db,
)
from earthloom.errors import DataError

LOOKS = 4.4


def speckled(power: np.ndarray, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return (power * rng.gamma(LOOKS, 1 / LOOKS, power.shape)).astype(np.float32)


def looks_of(image: np.ndarray) -> float:
    """Equivalent number of looks of homogeneous land."""
    return float(image.mean() ** 2 / image.var())


FILTERS = {
    "boxcar": lambda image: boxcar(image, 7),
    "lee": lambda image: lee(image, LOOKS),
    "refined": lambda image: refined_lee(image, LOOKS),
    "multitemporal": lambda image: multitemporal(image[None])[0],
}
every_filter = pytest.mark.parametrize("calm", FILTERS.values(), ids=FILTERS)


@given(st.floats(1e-6, 1e3))
def test_decibels_there_and_back(power):
    image = np.full((1, 2), power, np.float32)
    db, lost = to_db(image)
    assert db == pytest.approx(10 * np.log10(power), abs=1e-4)
    assert from_db(db) == pytest.approx(power, rel=1e-5)
    assert lost == 0


def test_what_has_no_logarithm_is_masked_and_counted():
    db, lost = to_db(np.array([[0.1, 0.0, -0.02, np.nan]], np.float32))
    assert lost == 2
    assert np.isnan(db).tolist() == [[False, True, True, True]]
    assert np.isnan(from_db(db)[0, 3])


@every_filter
def test_homogeneous_speckle_is_calmed_about_its_mean(calm):
    image = speckled(np.full((1, 120, 120), 0.1, np.float32))
    inner = calm(image)[:, 5:-5, 5:-5]
    assert inner.mean() == pytest.approx(0.1, rel=0.03)
    assert looks_of(image) == pytest.approx(LOOKS, rel=0.1)
    if calm is not FILTERS["multitemporal"]:
        assert looks_of(inner) > 3 * LOOKS


def test_many_dates_calm_each_other():
    """The more dates, the more looks; one date alone stays as it is."""
    stack = np.stack([speckled(np.full((1, 90, 90), p, np.float32), k) for k, p in LEVELS])
    assert multitemporal(stack[:1]) == pytest.approx(stack[:1], rel=1e-4)
    four, eight = multitemporal(stack[:4]), multitemporal(stack)
    for date, (_, power) in enumerate(LEVELS):
        assert eight[date].mean() == pytest.approx(power, rel=0.03)
    assert LOOKS * 2 < looks_of(four[0]) < looks_of(eight[0])


LEVELS = list(enumerate(np.geomspace(0.02, 0.3, 8)))


def test_edges_stay():
    """Beside an edge, adaptive filters are nearer to the truth than the boxcar."""
    truth = np.full((1, 100, 100), 0.05, np.float32)
    truth[:, :, 50:] = 0.5
    truth[:, 70:, :] = 0.02
    image = speckled(truth)
    edge = np.zeros(truth.shape, bool)
    edge[:, 5:66, 47:53] = True

    def error(result: np.ndarray) -> float:
        return float(np.sqrt(np.mean(np.log(result[edge] / truth[edge]) ** 2)))

    assert error(refined_lee(image, LOOKS)) < 0.7 * error(boxcar(image, 7))
    assert error(lee(image, LOOKS)) < error(boxcar(image, 7))
    # Far from edges nothing is lost against the plain filter.
    flat = np.s_[:, 10:60, 10:40]
    assert looks_of(refined_lee(image, LOOKS)[flat]) > 3 * LOOKS


@every_filter
def test_what_was_not_seen_stays_so_and_spoils_nothing(calm):
    image = speckled(np.full((1, 60, 60), 0.1, np.float32))
    image[:, 20:30, 20:40] = np.nan
    image[:, 50, 50] = np.nan
    out = calm(image)
    assert (np.isnan(out) == np.isnan(image)).all()
    assert np.nanmean(out) == pytest.approx(0.1, rel=0.05)
    assert np.nanmax(out) < np.nanmax(image) * 1.01


@every_filter
def test_an_image_without_speckle_stays(calm):
    image = np.full((2, 30, 30), 0.2, np.float32)
    assert calm(image) == pytest.approx(image, rel=1e-5)


def test_lee_by_hand():
    """One pixel, its window summed up the slow way."""
    image = speckled(np.full((1, 15, 15), 0.1, np.float32), 3)
    image[0, 6, 9] = np.nan
    window = image[0, 4:11, 4:11].astype(np.float64)
    mean, variance = np.nanmean(window), np.nanvar(window)
    signal = max(variance - mean**2 / LOOKS, 0) / (1 + 1 / LOOKS)
    expected = mean + signal / variance * (image[0, 7, 7] - mean)
    assert lee(image, LOOKS)[0, 7, 7] == pytest.approx(expected, rel=1e-5)


def test_refined_lee_takes_the_half_on_the_pixels_own_side():
    """Beside a step from 1 to 9, without speckle, each side keeps its own value."""
    image = np.ones((1, 20, 20), np.float32)
    image[:, :, 10:] = 9.0
    out = refined_lee(image, LOOKS)
    assert out[0, 10, 9] == pytest.approx(1.0)
    assert out[0, 10, 10] == pytest.approx(9.0)
    assert refined_lee(image.transpose(0, 2, 1).copy(), LOOKS) == pytest.approx(
        out.transpose(0, 2, 1)
    )


def test_dates_that_lack_a_pixel_count_less():
    stack = np.stack([speckled(np.full((1, 40, 40), p, np.float32), k) for k, p in LEVELS[:3]])
    stack[1, :, 10:20] = np.nan
    out = multitemporal(stack)
    assert (np.isnan(out) == np.isnan(stack)).all()
    alone = multitemporal(stack[[0, 2]])
    assert out[0, 0, 14, 20] == pytest.approx(alone[0, 0, 14, 20], rel=1e-5)


@pytest.mark.parametrize("window", [0, 4])
def test_windows_are_odd(window):
    image = np.ones((1, 8, 8), np.float32)
    with pytest.raises(DataError, match="odd"):
        lee(image, LOOKS, window)
    with pytest.raises(DataError, match="odd"):
        multitemporal(image[None], window)
    with pytest.raises(DataError, match="looks"):
        refined_lee(image, 0.0)
