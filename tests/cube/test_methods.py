"""Composites against slow definitions, and what must hold for all of them."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from earthloom.cube.harmonic import YEAR, Waves, fit_harmonics
from earthloom.cube.methods import (
    METHODS,
    BestPixel,
    Observations,
    find_method,
    geometric_median,
)
from earthloom.cube.percentiles import percentiles
from earthloom.errors import DataError
from earthloom.sensors import Band

BANDS = (
    Band("B02", "reflectance", "1", 10, common_name="blue"),
    Band("B04", "reflectance", "1", 10, common_name="red"),
    Band("B08", "reflectance", "1", 10, common_name="nir"),
)
CHOOSING = ("medoid", "nearest-median", "best-pixel", "max-ndvi")
MEDIAN_LIKE = (*CHOOSING, "geomedian", "p10", "p50", "p90", "min", "max")
SCALING = ("medoid", "nearest-median", "geomedian", "p25", "min", "max", "harmonic")

values = st.integers(1, 1000).map(lambda n: np.float32(n) / np.float32(1000))
shapes = st.tuples(st.integers(1, 9), st.just(3), st.integers(1, 2), st.integers(1, 3))


@st.composite
def observations(draw):
    """A few dates, with gaps."""
    shape = draw(shapes)
    pixels = draw(arrays(np.float32, shape, elements=values, fill=values))
    hidden = draw(arrays(np.bool_, (shape[0], *shape[2:])))
    pixels[np.broadcast_to(hidden[:, None], shape)] = np.nan
    days = draw(st.lists(st.integers(0, 800), min_size=shape[0], max_size=shape[0], unique=True))
    distance = draw(arrays(np.float32, (shape[0], *shape[2:]), elements=st.integers(0, 3000)))
    return Observations(pixels, BANDS, np.array(days, np.int32), 180, distance)


def take(seen, order):
    return Observations(
        seen.pixels[order], seen.bands, seen.days[order], seen.target_day, seen.distance_m[order]
    )


def series(observed, row, col):
    """What was seen of one pixel: (n, C)."""
    pixel = observed.pixels[:, :, row, col].astype(np.float64)
    return pixel[~np.isnan(pixel).any(axis=1)]


def pixels_of(observed):
    return np.ndindex(observed.pixels.shape[2:])


@pytest.mark.parametrize("name", sorted(METHODS))
@settings(deadline=None, max_examples=25)
@given(observed=observations())
def test_bands_counts_and_gaps_are_as_said(name, observed):
    method = METHODS[name]
    image, count = method(observed)
    seen = ~np.isnan(observed.pixels).any(axis=1)
    assert (image.dtype, count.dtype) == (np.float32, np.uint8)
    assert len(image) == len(method.bands(BANDS))
    assert len({band.name for band in method.bands(BANDS)}) == len(image)
    np.testing.assert_array_equal(count, seen.sum(axis=0))
    assert np.isnan(image[:, count < method.least]).all()
    if "harmonic" not in name:
        assert not np.isnan(image[:, count >= method.least]).any()


@pytest.mark.parametrize("name", sorted(METHODS))
@settings(deadline=None, max_examples=25)
@given(observed=observations(), random=st.randoms(use_true_random=False))
def test_order_of_dates_plays_no_part(name, observed, random):
    order = list(range(len(observed.pixels)))
    random.shuffle(order)
    image, count = METHODS[name](observed)
    other, other_count = METHODS[name](take(observed, order))
    np.testing.assert_array_equal(count, other_count)
    if "harmonic" in name:
        np.testing.assert_allclose(image, other, rtol=1e-3, atol=1e-4)
    elif name == "geomedian":
        np.testing.assert_allclose(image, other, atol=1e-6)
    else:
        np.testing.assert_array_equal(image, other)


@pytest.mark.parametrize("name", sorted(METHODS))
@settings(deadline=None, max_examples=15)
@given(observed=observations(), at=st.integers(0, 9))
def test_dates_that_show_nothing_play_no_part(name, observed, at):
    at = min(at, len(observed.pixels))
    blind = Observations(
        np.insert(observed.pixels, at, np.nan, axis=0),
        BANDS,
        np.insert(observed.days, at, 20),
        observed.target_day,
        np.insert(observed.distance_m, at, 0, axis=0),
    )
    image, count = METHODS[name](observed)
    other, other_count = METHODS[name](blind)
    np.testing.assert_array_equal(count, other_count)
    np.testing.assert_allclose(image, other, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", MEDIAN_LIKE)
@settings(deadline=None, max_examples=20)
@given(observed=observations())
def test_results_lie_between_the_least_and_the_greatest(name, observed):
    image, count = METHODS[name](observed)
    low, _ = METHODS["min"](observed)
    high, _ = METHODS["max"](observed)
    some = count > 0
    assert (image[:, some] >= low[:, some]).all()
    assert (image[:, some] <= high[:, some]).all()


@pytest.mark.parametrize("name", CHOOSING)
@settings(deadline=None, max_examples=20)
@given(observed=observations())
def test_a_chosen_observation_is_one_of_them(name, observed):
    image, _ = METHODS[name](observed)
    for row, col in pixels_of(observed):
        candidates = series(observed, row, col)
        if len(candidates):
            assert (candidates == image[:, row, col]).all(axis=1).any()


@pytest.mark.parametrize("name", SCALING)
@settings(deadline=None, max_examples=15)
@given(observed=observations(), power=st.integers(-6, 6))
def test_scaled_observations_give_a_scaled_image(name, observed, power):
    factor = np.float32(2.0**power)  # exact, so that equals stay equal
    scaled = Observations(observed.pixels * factor, BANDS, observed.days)
    image, _ = METHODS[name](observed)
    other, _ = METHODS[name](scaled)
    np.testing.assert_allclose(other, image * factor, rtol=1e-5, atol=1e-6 * float(factor))


@settings(deadline=None, max_examples=40)
@given(observations())
def test_the_medoid_has_the_least_sum_of_distances(observed):
    image, _ = METHODS["medoid"](observed)
    near, _ = METHODS["nearest-median"](observed)
    for row, col in pixels_of(observed):
        each = series(observed, row, col)
        if not len(each):
            continue
        cost = np.linalg.norm(each[:, None] - each[None], axis=2).sum(axis=1)
        chosen = np.linalg.norm(each - image[:, row, col], axis=1).sum()
        assert chosen <= cost.min() * (1 + 1e-6) + 1e-9
        apart = np.linalg.norm(each - np.median(each, axis=0), axis=1)
        nearest = np.linalg.norm(near[:, row, col] - np.median(each, axis=0))
        assert nearest <= apart.min() + 1e-6


@settings(deadline=None, max_examples=40)
@given(observations(), st.integers(0, 2**32 - 1))
def test_no_point_beats_the_geometric_median(observed, seed):
    image, _ = geometric_median(observed, tolerance=1e-7, most=5000)
    random = np.random.default_rng(seed)
    for row, col in pixels_of(observed):
        each = series(observed, row, col)
        if not len(each):
            continue
        centre = image[:, row, col].astype(np.float64)
        best = np.linalg.norm(each - centre, axis=1).sum()
        shifts = random.normal(0, random.choice([1e-3, 1e-2, 0.1]), (50, 3))
        others = np.concatenate([each, np.median(each, axis=0)[None], centre + shifts])
        costs = np.linalg.norm(each[None] - others[:, None], axis=2).sum(axis=1)
        assert best <= costs.min() + 2e-5


def test_the_default_tolerance_is_near_enough():
    pixels = np.random.default_rng(1).random((7, 3, 20, 20)).astype(np.float32)
    rough, _ = METHODS["geomedian"](Observations(pixels, BANDS))
    fine, _ = geometric_median(Observations(pixels, BANDS), tolerance=1e-9, most=20000)
    assert np.abs(rough - fine).max() < 2e-3  # reflectance


@settings(deadline=None, max_examples=60)
@given(observations(), st.lists(st.floats(0, 100), min_size=1, max_size=3))
def test_percentiles_are_numpys_own(observed, wanted):
    images, _ = percentiles(observed.pixels, wanted)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pixels that were never seen
        slow = np.nanpercentile(observed.pixels.astype(np.float64), wanted, axis=0)
    np.testing.assert_allclose(images, slow, rtol=2e-7, atol=1e-7)


def test_percentiles_over_many_blocks():
    random = np.random.default_rng(0)
    pixels = random.random((11, 2, 30, 100)).astype(np.float32)
    pixels[np.broadcast_to((random.random((11, 1, 30, 100)) < 0.25), pixels.shape)] = np.nan
    images, _ = percentiles(pixels, (5, 50))
    np.testing.assert_allclose(
        images, np.nanpercentile(pixels.astype(np.float64), (5, 50), axis=0), atol=1e-7
    )


def test_maximum_ndvi_is_the_greenest_date():
    pixels = np.zeros((3, 3, 1, 2), np.float32)
    pixels[:, 1] = [[[0.1, 0.1]], [[0.05, np.nan]], [[0.0, -0.2]]]
    pixels[:, 2] = [[[0.3, 0.1]], [[0.5, 0.5]], [[0.0, 0.1]]]  # the last sums to nothing
    image, _ = METHODS["max-ndvi"](Observations(pixels, BANDS))
    np.testing.assert_array_equal(image[1], np.array([[0.05, 0.1]], np.float32))
    with pytest.raises(DataError, match=r"needs a red and a nir band.*B02 \(blue\)"):
        METHODS["max-ndvi"](Observations(pixels[:, :1], BANDS[:1]))


def test_the_best_pixel_weighs_day_distance_and_haze():
    pixels = np.zeros((3, 3, 1, 1), np.float32)
    pixels[:, 2, 0, 0] = [0.1, 0.2, 0.3]
    days = np.array([181, 250, 180 + round(YEAR) + 15], np.int32)

    def nir(distances=None, blue=(0, 0, 0), weights=BestPixel()):
        hazy = pixels.copy()
        hazy[:, 0, 0, 0] = blue
        far = None if distances is None else np.array(distances, np.float32)[:, None, None]
        observed = Observations(hazy, BANDS, days, 180, far)
        score = weights.score(observed)[:, 0, 0]
        return round(float(pixels[np.argmax(score), 2, 0, 0]), 1)

    assert nir() == 0.1  # nearest to the target day
    assert nir(blue=(0.3, 0, 0)) == 0.3  # hazy, and the same season of another year is as good
    assert nir(distances=(10, 3000, 10)) == 0.1
    assert nir(distances=(10, 3000, 10), weights=BestPixel(distance=2)) == 0.2


@pytest.mark.parametrize("robust", [False, True])
def test_harmonics_are_numpys_least_squares(robust):
    random = np.random.default_rng(3)
    days = np.sort(random.choice(700, 25, replace=False)) + 18000
    pixels = random.random((25, 2, 3, 4)).astype(np.float32)
    pixels[random.random(25) < 0.2, :, 1, 1] = np.nan
    waves = Waves(2, trend=True, origin_day=18000, robust=robust)
    fit = fit_harmonics(pixels, days, waves)
    design = waves.design(days)
    for row, col in np.ndindex(3, 4):
        for band in range(2):
            y = pixels[:, band, row, col].astype(np.float64)
            shown = ~np.isnan(y)
            slow, weights = _least_squares(design[shown], y[shown], robust)
            np.testing.assert_allclose(fit.coefficients[:, band, row, col], slow, atol=2e-5)
            left = y[shown] - design[shown] @ slow
            rmse = np.sqrt((weights * left**2).sum() / (weights.sum() - 6))
            np.testing.assert_allclose(fit.rmse[band, row, col], rmse, atol=2e-5)


def _least_squares(design, y, robust):
    weights = np.ones(len(y))
    for _ in range(31 if robust else 1):
        root = np.sqrt(weights)
        solution = np.linalg.lstsq(design * root[:, None], y * root, rcond=None)[0]
        final = weights
        left = np.abs(y - design @ solution)
        free = len(y) - design.shape[1]
        middle = np.sort(left)[len(y) - free :][(free - 1) // 2]
        weights = (1 - np.minimum(left / (4.685 * middle / 0.6745), 1) ** 2) ** 2
    return solution, final


def test_a_robust_fit_forgets_a_cloud():
    days = np.arange(0, 360, 12) + 19000
    waves = Waves(1, robust=True)
    truth = waves.design(days) @ [0.3, -0.1, 0.05]
    clean = truth + np.random.default_rng(0).normal(0, 0.005, len(days))
    clean[[5, 17]] += 0.5
    stack = clean.astype(np.float32)[:, None, None, None]
    robust = fit_harmonics(stack, days, waves)
    plain = fit_harmonics(stack, days, Waves(1))
    assert np.abs(robust.at(days)[:, 0, 0, 0] - truth).max() < 0.01
    assert np.abs(plain.at(days)[:, 0, 0, 0] - truth).max() > 0.05
    assert robust.rmse.item() < 0.01


def test_harmonics_say_nothing_of_too_few_or_one_season():
    days = np.array([100, 101, 102, 103, 104])
    stack = np.random.default_rng(0).random((5, 1, 1, 2)).astype(np.float32)
    stack[2:, :, :, 1] = np.nan
    assert np.isnan(fit_harmonics(stack, days).coefficients).all()


def test_names():
    names = [band.name for band in METHODS["harmonic-2"].bands(BANDS[:1])]
    assert names == ["B02_mean", "B02_cos1", "B02_sin1", "B02_cos2", "B02_sin2", "B02_rmse"]
    assert find_method("p12.5").name == "p12.5"
    assert find_method("medoid") is METHODS["medoid"]
    for wrong in ("p101", "p-1", "middle"):
        with pytest.raises(DataError, match=f"no composite '{wrong}'; there are: medoid, .*p100"):
            find_method(wrong)
    with pytest.raises(DataError, match="101 is not a percentile"):
        percentiles(np.zeros((1, 1, 1, 1), np.float32), (101,))


@pytest.mark.parametrize("name", ["harmonic", "best-pixel"])
def test_what_a_method_needs_is_asked_for(name):
    with pytest.raises(DataError, match=f"'{name}' needs the days"):
        METHODS[name](Observations(np.zeros((1, 3, 1, 1), np.float32), BANDS))
    if name == "best-pixel":
        days = np.zeros(1, np.int32)
        with pytest.raises(DataError, match="needs the day that it aims at"):
            METHODS[name](Observations(np.zeros((1, 3, 1, 1), np.float32), BANDS, days))
