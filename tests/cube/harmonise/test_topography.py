"""Terrain correction: slopes by hand, shadows by a slow oracle, laws of the correction."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from earthloom.archive.scene import Angles
from earthloom.cube.harmonise.topography import (
    cast_shadow,
    correct,
    fit_c,
    slope_aspect,
    terrain_of,
    terrain_sums,
)
from earthloom.errors import DataError
from earthloom.world import Extent, Shape
from earthloom.world.noise import fractal

PIXEL = 30.0
SUN = Angles(sun_zenith=50.0, sun_azimuth=160.0)


def plane(east: float, north: float, size: int = 12) -> np.ndarray:
    """Heights that rise by `east` and `north` metres a metre."""
    row, col = np.mgrid[:size, :size]
    return (500 + PIXEL * (east * col - north * row)).astype(np.float32)


def mountains(seed: int = 0, size: int = 120) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return 900 + 130 * fractal(rng, Extent(Shape(size, size), PIXEL), 1500.0, 4.4)


def simulate(height: np.ndarray, bands: int = 2, seed: int = 1) -> np.ndarray:
    """Reflectance of land under sun and sky: proportional to cos i + c, c = 0.2 and 0.5."""
    rng = np.random.default_rng(seed)
    terrain, level = terrain_of(height, PIXEL, SUN), np.cos(np.radians(SUN.sun_zenith))
    ground = 0.2 * np.exp(0.1 * rng.standard_normal((bands, *height.shape)))
    sky = np.array([0.2, 0.5])[:bands, None, None]
    return (ground * (terrain.cos_i + sky) / (level + sky)).astype(np.float32)


@given(st.floats(-1, 1), st.floats(-1, 1))
def test_slope_and_aspect_of_a_plane(east, north):
    slope, aspect = slope_aspect(plane(east, north), PIXEL)
    assert slope[5, 5] == pytest.approx(np.arctan(np.hypot(east, north)), abs=1e-4)
    if np.hypot(east, north) > 0.01:
        downhill = np.arctan2(-east, -north)
        assert np.cos(aspect[5, 5] - downhill) == pytest.approx(1, abs=1e-4)


def test_slopes_that_face_the_sun():
    """A plane at right angles to the sun's rays has cos i = 1, level ground cos z."""
    tilt = np.tan(np.radians(SUN.sun_zenith))
    azimuth = np.radians(SUN.sun_azimuth)
    facing = plane(-tilt * np.sin(azimuth), -tilt * np.cos(azimuth))
    assert terrain_of(facing, PIXEL, SUN).cos_i[5, 5] == pytest.approx(1, abs=1e-5)
    level = terrain_of(plane(0, 0), PIXEL, SUN)
    assert level.cos_i == pytest.approx(np.cos(np.radians(50)), abs=1e-6)
    assert level.lit.all()


def test_a_wall_throws_its_shadow_away_from_the_sun():
    """100 m high, sun in the south at 45 degrees: 100 m to the north lie in shadow."""
    height = np.zeros((20, 9), np.float32)
    height[15, :] = 105.0
    shadow = cast_shadow(height, 10.0, Angles(45.0, 180.0))
    assert shadow[5:15].all()
    assert not shadow[:4].any()
    assert not shadow[15:].any()


def oracle_shadow(height: np.ndarray, angles: Angles, reach: float) -> np.ndarray:
    """One pixel at a time, with an interpolation that is not ours."""
    from scipy.ndimage import map_coordinates

    azimuth, up = np.radians(angles.sun_azimuth), 1 / np.tan(np.radians(angles.sun_zenith))
    row, col = np.mgrid[: height.shape[0], : height.shape[1]].astype(float)
    shadow = np.zeros(height.shape, bool)
    for step in range(1, int(reach / PIXEL) + 1):
        r, c = row - step * np.cos(azimuth), col + step * np.sin(azimuth)
        inside = (r >= 0) & (c >= 0) & (r <= len(height) - 1) & (c <= height.shape[1] - 1)
        land = map_coordinates(height.astype(float), [r, c], order=1, cval=-1e9)
        shadow |= inside & (land > height + step * PIXEL * up + 1e-3)
    return shadow


@pytest.mark.parametrize("azimuth", [0.0, 47.0, 160.0, 301.0])
def test_shadows_as_a_slow_search_finds_them(azimuth):
    height, angles = mountains(), Angles(72.0, azimuth)
    shadow = cast_shadow(height, PIXEL, angles, 900.0)
    expected = oracle_shadow(height, angles, 900.0)
    assert 0.01 < expected.mean() < 0.9
    assert (shadow != expected).mean() < 1e-3


def test_night_is_shadow():
    assert cast_shadow(plane(0, 0), PIXEL, Angles(95.0, 10.0)).all()


@settings(max_examples=25)
@given(st.floats(0, 3), st.sampled_from(["c", "scs+c"]), st.floats(0, 80))
def test_flat_land_stays(c, method, zenith):
    angles = Angles(zenith, 140.0)
    pixels = np.random.default_rng(0).uniform(-0.01, 0.6, (1, 12, 12)).astype(np.float32)
    pixels[0, 3, 4] = np.nan
    out = correct(pixels, terrain_of(plane(0, 0), PIXEL, angles), angles, (c,), method)
    np.testing.assert_allclose(out, pixels, rtol=1e-5)


def test_c_is_found_again():
    height = mountains()
    found = fit_c(terrain_sums(simulate(height), terrain_of(height, PIXEL, SUN)))
    assert found[0] == pytest.approx(0.2, abs=0.05)
    assert found[1] == pytest.approx(0.5, abs=0.1)


def test_sums_of_parts_are_those_of_the_whole():
    """So that c is one for a scene, whatever its tiles."""
    height = mountains()
    pixels, terrain = simulate(height), terrain_of(height, PIXEL, SUN)
    left, right = pixels.copy(), pixels.copy()
    left[:, :, 70:] = np.nan
    right[:, :, :70] = np.nan
    whole = terrain_sums(pixels, terrain)
    parts = terrain_sums(left, terrain) + terrain_sums(right, terrain)
    assert fit_c(parts) == pytest.approx(fit_c(whole))
    assert (parts.count == whole.count).all()


@pytest.mark.parametrize("method", ["c", "scs+c"])
def test_the_sun_is_taken_out(method):
    """Reflectance follows cos i before, and hardly after."""
    height = mountains()
    pixels, terrain = simulate(height), terrain_of(height, PIXEL, SUN)
    c = fit_c(terrain_sums(pixels, terrain))
    out = correct(pixels, terrain, SUN, c, method)
    for before, after in zip(pixels, out):
        known = np.isfinite(after)
        follows = np.corrcoef(before[known], terrain.cos_i[known])[0, 1]
        left = np.corrcoef(after[known], terrain.cos_i[known])[0, 1]
        assert follows > 0.4
        assert abs(left) < 0.35 * follows
        if method == "c":
            assert abs(left) < 0.05


def test_a_band_that_does_not_follow_the_sun_stays():
    height = mountains()
    terrain = terrain_of(height, PIXEL, SUN)
    pixels = np.random.default_rng(0).uniform(0.1, 0.2, (1, *height.shape)).astype(np.float32)
    c = fit_c(terrain_sums(pixels, terrain))
    assert c == (float("inf"),)
    out = correct(pixels, terrain, SUN, c)
    assert (out[:, terrain.lit] == pixels[:, terrain.lit]).all()


def test_shadow_and_unknown_heights_are_masked():
    angles = Angles(75.0, 160.0)
    height = mountains()
    height[60, 60] = np.nan
    terrain = terrain_of(height, PIXEL, angles)
    assert 0.02 < (~terrain.lit).mean() < 0.7
    out = correct(np.full((1, 120, 120), 0.2, np.float32), terrain, angles, (0.3,), "c")
    assert np.isnan(out[:, ~terrain.lit]).all()
    assert np.isnan(out[0, 60, 60])


def test_an_unknown_method_is_refused():
    terrain = terrain_of(plane(0, 0), PIXEL, SUN)
    with pytest.raises(DataError, match="'minnaert'; valid: c, scs"):
        correct(np.zeros((1, 12, 12), np.float32), terrain, SUN, (0.1,), "minnaert")
