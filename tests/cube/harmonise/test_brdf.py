"""BRDF normalisation: kernels against closed forms, and laws of c."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earthloom.archive.scene import Angles
from earthloom.cube.harmonise.brdf import (
    c_factor,
    li_sparse,
    modelled,
    normalise,
    ross_thick,
    unweighted,
    usual_sun_zenith,
    weights,
)
from earthloom.errors import DataError
from earthloom.sensors import load_sensor

S2 = load_sensor("sentinel-2-l2a")
ANGLES = Angles(sun_zenith=35.0, sun_azimuth=150.0, view_zenith=9.0, view_azimuth=105.0)

zeniths = st.floats(0, 75)
azimuths = st.floats(0, 360)


def test_kernels_under_the_zenith_are_zero():
    assert ross_thick(0, 0, 0) == pytest.approx(0, abs=1e-12)
    assert li_sparse(0, 0, 0) == pytest.approx(0, abs=1e-12)


def test_kernels_from_above_with_the_sun_at_45_degrees():
    """By hand: the phase is 45 degrees, and cos t = 2 / (1 + sqrt 2)."""
    assert ross_thick(45, 0, 0) == pytest.approx(-0.0458621, abs=2e-6)
    assert li_sparse(45, 0, 0) == pytest.approx(-1.1068192, abs=2e-6)


@given(st.floats(0, 75))
def test_kernels_in_the_hot_spot_have_a_closed_form(zenith):
    """With the sun behind the sensor: no phase, crowns hide their own shadows."""
    secant = 1 / np.cos(np.radians(zenith))
    assert ross_thick(zenith, zenith, 0) == pytest.approx(np.pi / 4 * (secant - 1), abs=1e-7)
    # arccos near 1 and sqrt near 0 leave a small error.
    assert li_sparse(zenith, zenith, 0) == pytest.approx(secant**2 - secant, abs=1e-5)


@given(zeniths, zeniths, azimuths)
def test_kernels_are_reciprocal_and_even(sun, view, azimuth):
    for kernel in (ross_thick, li_sparse):
        value = kernel(sun, view, azimuth)
        assert kernel(view, sun, azimuth) == pytest.approx(value, abs=1e-6)
        assert kernel(sun, view, -azimuth) == pytest.approx(value, abs=1e-6)


@given(st.sampled_from(sorted(weights())), zeniths, azimuths)
def test_c_is_one_from_above(band, sun, azimuth):
    assert c_factor(band, sun, 0.0, azimuth) == pytest.approx(1.0, abs=1e-9)
    assert c_factor(band, sun, 0.0, azimuth, sun) == pytest.approx(1.0, abs=1e-9)


@given(st.sampled_from(sorted(weights())), st.floats(20, 60), st.floats(1, 12))
def test_land_is_darker_away_from_the_sun(band, sun, view):
    """Backscatter is brighter than nadir in every band, so c lowers it; forward raises it."""
    assert c_factor(band, sun, view, 0.0) < 1 < c_factor(band, sun, view, 180.0)


@given(zeniths, st.floats(0, 12), azimuths, st.floats(10, 60))
def test_what_the_model_says_is_undone(sun, view, azimuth, out):
    seen = modelled("red", sun, view, azimuth)
    expected = modelled("red", out, 0.0, 0.0)
    assert seen * c_factor("red", sun, view, azimuth, out) == pytest.approx(expected)


def test_arrays_of_angles_are_as_scalars():
    sun, view, azimuth = (
        np.array([[20.0, 50.0]]),
        np.array([[2.0, 11.0]]),
        np.array([[10.0, 200.0]]),
    )
    factors = c_factor("nir", sun, view, azimuth)
    assert factors.shape == (1, 2)
    assert factors[0, 1] == pytest.approx(c_factor("nir", 50.0, 11.0, 200.0))


def test_bands_without_weights_stay():
    pixels = np.full((len(S2.bands), 2, 2), 0.25, np.float32)
    pixels[:, 0, 0] = np.nan
    out = normalise(pixels, S2.bands, ANGLES)
    assert set(unweighted(S2.bands)) == {"B01", "B09"}
    for image, band in zip(out, S2.bands):
        assert (image[1, 1] == np.float32(0.25)) == (band.name in ("B01", "B09"))
        assert np.isnan(image[0, 0])


def test_two_passes_over_one_place_come_together():
    """What two overlapping orbits see of mean land differs by some per cent, and then not."""
    west = replace(ANGLES, view_azimuth=285.0)
    seen = [
        np.array([[[modelled(str(b.common_name), 35.0, 9.0, a.view_azimuth - 150.0)]]], np.float32)
        for a in (ANGLES, west)
        for b in S2.bands[3:4]
    ]
    assert abs(seen[0] / seen[1] - 1) > 0.02
    both = [normalise(s, S2.bands[3:4], a) for s, a in zip(seen, (ANGLES, west))]
    assert both[0] == pytest.approx(both[1], rel=1e-6)


def test_view_angles_are_needed():
    with pytest.raises(DataError, match="no view angles"):
        normalise(np.zeros((1, 1, 1), np.float32), S2.bands[3:4], Angles(30.0, 140.0))


def test_the_usual_sun():
    assert usual_sun_zenith(0.0) == pytest.approx(31.0076)
    assert 40 < usual_sun_zenith(45.0) < 55
