"""Regular series against slow solvers, laws, and real NDVI with observations hidden."""

import json
from datetime import datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.interpolate import Akima1DInterpolator

from earthloom.cube.series import SMOOTHINGS, Reach, middles, regular, v_curve, whittaker
from earthloom.errors import DataError

METHODS = ("linear", "nearest", "akima", "whittaker")


def fill(method, values, valid, days, targets, reach=Reach(), smoothing=1e4):
    if method == "whittaker":
        return whittaker(values, valid, days, targets, smoothing, reach=reach)
    return regular(values, valid, days, targets, method, reach)


@st.composite
def series(draw, least=2):
    """Values (T, P), valid, and days, of which some may be the same."""
    times, pixels = draw(st.integers(least, 14)), draw(st.integers(1, 70))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = random.normal(0.4, 0.2, (times, pixels)).astype(np.float32)
    valid = random.random((times, pixels)) < draw(st.sampled_from([0.3, 0.8, 1.0]))
    values[~valid] = draw(st.sampled_from([np.nan, 1e30, 0]))
    days = np.sort(random.choice(times * 12, times, replace=False)) + 18000
    return values, valid, days


def dense(values, valid, days, targets, smoothing, envelope=0):
    """Whittaker's smoother of one pixel by dense matrices."""
    nodes = np.unique(np.concatenate([days, targets])).astype(float)
    differences = np.zeros((max(len(nodes) - 2, 0), len(nodes)))
    for i in range(len(nodes) - 2):
        a, b, c = nodes[i : i + 3]
        second = 2 / ((a - b) * (a - c)), 2 / ((b - a) * (b - c)), 2 / ((c - a) * (c - b))
        differences[i, i : i + 3] = np.array(second) * np.sqrt((c - a) / 2)
    weights, observed = np.zeros(len(nodes)), np.zeros(len(nodes))
    at = np.searchsorted(nodes, days)
    weights[at], observed[at] = valid, np.where(valid, values, 0)
    matrix = np.diag(weights) + smoothing * differences.T @ differences
    for _ in range(envelope + 1):
        curve = np.linalg.solve(matrix, weights * observed)
        observed = np.maximum(observed, curve)
    return curve[np.searchsorted(nodes, targets)]


@settings(deadline=None, max_examples=40)
@given(series(), st.floats(1, 6), st.integers(0, 2))
def test_the_smoother_solves_its_equations(drawn, power, envelope):
    values, valid, days = drawn
    targets = np.arange(days[0] + 3, days[-1], 10)
    reach = Reach(hold_days=1e4)
    curve = whittaker(values, valid, days, targets, 10**power, envelope, reach)
    for x in range(min(values.shape[1], 5)):
        if valid[:, x].sum() < 2:
            assert np.isnan(curve[:, x]).all()
        else:
            slow = dense(values[:, x], valid[:, x], days, targets, 10**power, envelope)
            np.testing.assert_allclose(curve[:, x], slow, atol=1e-4)


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=20)
@given(drawn=series(), level=st.floats(-1, 1, width=32))
def test_constants_are_kept(method, drawn, level):
    values, valid, days = drawn
    flat = np.where(valid, np.float32(level), values)
    out = fill(method, flat, valid, days, np.arange(days[0] - 30, days[-1] + 30, 5))
    known = out[~np.isnan(out)]
    np.testing.assert_allclose(known, level, atol=1e-5)


@pytest.mark.parametrize("method", ["linear", "akima", "whittaker"])
@settings(deadline=None, max_examples=20)
@given(drawn=series())
def test_straight_lines_are_kept(method, drawn):
    values, valid, days = drawn
    line = ((days - 18000) * 0.01).astype(np.float32)[:, None]
    targets = np.arange(days[0], days[-1] + 1)
    out = fill(method, np.where(valid, line, values), valid, days, targets)
    wanted = np.broadcast_to(((targets - 18000) * 0.01)[:, None], out.shape)
    np.testing.assert_allclose(out[~np.isnan(out)], wanted[~np.isnan(out)], atol=1e-4)


@settings(deadline=None, max_examples=20)
@given(series())
def test_hardly_any_smoothing_follows_each_observation(drawn):
    values, valid, days = drawn
    out = whittaker(values, valid, days, days, 1e-6)
    enough = valid.sum(axis=0) >= 2
    shown = valid & enough
    np.testing.assert_allclose(out[shown], values[shown], atol=1e-4)


@settings(deadline=None, max_examples=20)
@given(series(least=3))
def test_endless_smoothing_is_the_straight_line_of_least_squares(drawn):
    values, valid, days = drawn
    out = whittaker(values, valid, days, days, 1e9)
    when = (days - days[0]).astype(float)
    for x in range(min(values.shape[1], 5)):
        shown = valid[:, x]
        if shown.sum() >= 2:
            line = np.polyfit(when[shown], values[shown, x].astype(float), 1)
            inside = ~np.isnan(out[:, x])
            assert inside[shown].all()
            np.testing.assert_allclose(out[inside, x], np.polyval(line, when)[inside], atol=2e-3)


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=20)
@given(drawn=series(), limit=st.integers(1, 60), hold=st.integers(0, 40))
def test_nothing_is_said_of_long_gaps(method, drawn, limit, hold):
    values, valid, days = drawn
    targets = np.arange(days[0] - 50, days[-1] + 50)
    out = fill(method, values, valid, days, targets, Reach(limit, hold))
    for x in range(min(values.shape[1], 4)):
        when = days[valid[:, x]]
        if len(when) < 2:
            continue
        for day, value in zip(targets, out[:, x], strict=True):
            after = np.searchsorted(when, day)
            if day in when:
                known = True
            elif after in (0, len(when)):
                known = np.abs(when - day).min() <= hold
            else:
                known = when[after] - when[after - 1] <= limit
            assert np.isnan(value) != known


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=15)
@given(drawn=series(), seed=st.integers(0, 99))
def test_order_of_pixels_and_of_targets_plays_no_part(method, drawn, seed):
    values, valid, days = drawn
    random = np.random.default_rng(seed)
    order = random.permutation(values.shape[1])
    targets = random.permutation(np.arange(days[0], days[-1] + 1, 7))
    out = fill(method, values, valid, days, targets)
    other = fill(method, values[:, order], valid[:, order], days, np.sort(targets))
    np.testing.assert_array_equal(out[np.argsort(targets)][:, order], other)


@settings(deadline=None, max_examples=30)
@given(series())
def test_interpolation_is_numpys_and_scipys(drawn):
    values, valid, days = drawn
    targets = np.arange(days[0], days[-1] + 1)
    linear = regular(values, valid, days, targets, "linear", Reach(hold_days=1e4))
    akima = regular(values, valid, days, targets, "akima")
    nearest = regular(values, valid, days, targets, "nearest", Reach(hold_days=1e4))
    for x in range(min(values.shape[1], 5)):
        when, known = days[valid[:, x]].astype(float), values[valid[:, x], x].astype(float)
        if len(when) == 0:
            assert np.isnan(linear[:, x]).all()
            continue
        np.testing.assert_allclose(linear[:, x], np.interp(targets, when, known), atol=1e-6)
        closest = np.abs(targets[:, None] - when[None]).argmin(axis=1)
        np.testing.assert_allclose(nearest[:, x], known[closest], atol=1e-6)
        if len(when) > 2:
            inside = (targets >= when[0]) & (targets <= when[-1])
            slow = Akima1DInterpolator(when, known)(targets[inside])
            np.testing.assert_allclose(akima[inside, x], slow, atol=1e-5)


def test_the_v_curve_is_lowest_where_it_says():
    random = np.random.default_rng(2)
    days = np.sort(random.choice(360, 40, replace=False))
    truth = 0.5 + 0.3 * np.sin(2 * np.pi * days / 365)
    values = (truth[:, None] + random.normal(0, 0.05, (40, 70))).astype(np.float32)
    valid = random.random(values.shape) < 0.8
    chosen = v_curve(values, valid, days)
    for x in range(5):
        points = []
        for amount in SMOOTHINGS:
            curve = dense(values[:, x], valid[:, x], days, days, amount)
            fitted = ((curve - values[:, x])[valid[:, x]] ** 2).sum()
            step = days[2:] - days[:-2]
            before, after = np.diff(days)[:-1], np.diff(days)[1:]
            second = (np.diff(curve)[1:] / after - np.diff(curve)[:-1] / before) * 2 / step
            points.append((np.log(fitted), np.log((second**2 * step / 2).sum())))
        lengths = np.linalg.norm(np.diff(points, axis=0), axis=1)
        best = int(lengths.argmin())
        assert chosen[x] == pytest.approx(
            np.sqrt(SMOOTHINGS[best] * SMOOTHINGS[best + 1]), rel=1e-5
        )
    smooth = whittaker(values, valid, days, days, chosen, reach=Reach(hold_days=365))
    rough = regular(values, valid, days, days, "linear", Reach(hold_days=365))
    assert np.abs(smooth - truth[:, None]).mean() < 0.7 * np.abs(rough - truth[:, None]).mean()


def test_an_envelope_rises_over_clouds():
    days = np.arange(0, 360, 10)
    truth = (0.5 + 0.3 * np.sin(2 * np.pi * days / 365)).astype(np.float32)
    cloudy = truth.copy()
    cloudy[[4, 11, 20, 30]] -= 0.3
    valid = np.ones((36, 1), np.bool_)
    plain = whittaker(cloudy[:, None], valid, days, days, 1e4)[:, 0]
    above = whittaker(cloudy[:, None], valid, days, days, 1e4, envelope=4)[:, 0]
    at = [4, 11, 20, 30]
    assert np.abs(above - truth)[at].mean() < 0.4 * np.abs(plain - truth)[at].mean()
    assert above.mean() > plain.mean()


def test_observations_of_a_day_are_averaged():
    values = np.array([[0.2, 0.2], [0.4, 0.5], [0.6, 0.9]], np.float32)
    valid = np.array([[True, True], [True, False], [True, True]])
    out = regular(values, valid, [10, 10, 20], [10, 15, 20])
    np.testing.assert_allclose(out, [[0.3, 0.2], [0.45, 0.55], [0.6, 0.9]], rtol=1e-6)


def test_bands_share_what_is_valid():
    random = np.random.default_rng(0)
    values = random.random((6, 3, 4, 5)).astype(np.float32)
    valid = random.random((6, 4, 5)) < 0.7
    days = np.arange(0, 60, 10)
    out = whittaker(values, valid, days, [5, 25])
    assert out.shape == (2, 3, 4, 5)
    for band in range(3):
        np.testing.assert_array_equal(
            out[:, band], whittaker(values[:, band], valid, days, [5, 25])
        )


def test_time_steps_stand_for_their_middle_days():
    # The first ten days of a month, and one day alone.
    bounds = np.array([[100, 110], [200, 201]])
    np.testing.assert_array_equal(middles(bounds), [104, 200])


def test_what_does_not_fit_is_said():
    ones = np.ones((3, 2), np.float32)
    valid = ones > 0
    with pytest.raises(DataError, match="must ascend"):
        regular(ones, valid, [1, 3, 2], [2])
    with pytest.raises(DataError, match=r"values \(3, 2\).*do not fit together"):
        regular(ones, valid[:2], [1, 2, 3], [2])
    with pytest.raises(DataError, match="smoothing must be above 0, not 0"):
        whittaker(ones, valid, [1, 2, 3], [2], smoothing=0)
    with pytest.raises(DataError, match="two or more"):
        v_curve(ones, valid, [1, 2, 3], [10])


@pytest.mark.shared
def test_hidden_observations_of_real_ndvi_are_restored(shared_data):
    """68 dates of Sentinel-2 over Slovenia; a fifth of what was clear is hidden."""
    folder = shared_data / "eolearn_testpatch" / "TestEOPatch"
    ndvi = np.load(folder / "data" / "NDVI.npy")[..., 0]
    valid = np.load(folder / "mask" / "IS_VALID.npy")[..., 0].astype(np.bool_)
    stamps = [
        datetime.fromisoformat(stamp)
        for stamp in json.loads((folder / "timestamps.json").read_text())
    ]
    days = np.array([(stamp - datetime(1970, 1, 1)).days for stamp in stamps])
    # Scenes of the same day are hidden together, or one would give the other away.
    once = np.unique(days)
    draws = np.random.default_rng(0).random((len(once), *valid.shape[1:])) < 0.2
    hidden = valid & draws[np.searchsorted(once, days)]
    reach = Reach(hold_days=60)
    errors = {}
    for method in METHODS:
        restored = fill(method, ndvi, valid & ~hidden, days, once, reach)
        gap = np.abs(restored[np.searchsorted(once, days)] - ndvi)[hidden]
        errors[method] = float(np.nanmean(gap))
        assert np.isnan(gap).mean() < 0.01
    errors["climatology"] = _climatology(ndvi, valid & ~hidden, stamps, hidden)
    assert errors["whittaker"] < 0.95 * errors["nearest"]
    assert errors["whittaker"] < 1.05 * errors["linear"]
    assert errors["whittaker"] < errors["climatology"]


def _climatology(ndvi, kept, stamps, hidden):
    """The error of each pixel's mean of the same month of all years."""
    months = np.array([stamp.month for stamp in stamps])
    total, number = 0.0, 0
    for month in np.unique(months):
        of_month = months == month
        count = kept[of_month].sum(axis=0)
        mean = np.where(kept[of_month], ndvi[of_month], 0).sum(axis=0) / np.maximum(count, 1)
        gap = np.abs(ndvi[of_month] - mean)[hidden[of_month] & (count > 0)]
        total, number = total + float(gap.sum()), number + len(gap)
    return total / number
