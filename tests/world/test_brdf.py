"""Laws of the directional reflectance, of the bands of other instruments and of the warmth."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from earthloom.world import BANDS, Geometry, Shape, Sun, World, WorldSpec, instruments, make_world
from earthloom.world.brdf import anisotropy, kernels
from earthloom.world.classes import CODES
from earthloom.world.heat import air_temperature
from earthloom.world.sky import Sky, observe_through, optics_at, optics_of
from earthloom.world.spectra import WAVELENGTH, materials

ZENITHS = st.floats(0, 75)
AZIMUTHS = st.floats(0, 360)


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(WorldSpec(seed=5, shape=Shape(128, 128)))


def geometry(sun_zenith: float, view_zenith: float, azimuth: float) -> Geometry:
    return Geometry(Sun(150.0, 90.0 - sun_zenith), view_zenith, 150.0 + azimuth)


def test_kernels_are_those_of_the_literature() -> None:
    """Values of Lucht et al. (2000), used for nadir normalisation at 45 degrees."""
    found = kernels(geometry(45, 0, 0))
    assert found.volume == pytest.approx(-0.0458, abs=1e-4)
    assert found.geometric == pytest.approx(-1.1068, abs=5e-4)


def test_kernels_vanish_in_the_zenith() -> None:
    found = kernels(geometry(0, 0, 0))
    assert found.volume == pytest.approx(0, abs=1e-12)
    assert found.geometric == pytest.approx(0, abs=1e-12)


@given(ZENITHS, ZENITHS, AZIMUTHS)
def test_sun_and_sensor_can_change_places(sun: float, view: float, azimuth: float) -> None:
    one, other = kernels(geometry(sun, view, azimuth)), kernels(geometry(view, sun, azimuth))
    assert one.volume == pytest.approx(other.volume, abs=1e-9)
    assert one.geometric == pytest.approx(other.geometric, abs=1e-9)


@given(ZENITHS, ZENITHS, AZIMUTHS)
def test_kernels_know_no_left_and_right(sun: float, view: float, azimuth: float) -> None:
    one, other = kernels(geometry(sun, view, azimuth)), kernels(geometry(sun, view, -azimuth))
    assert one.volume == pytest.approx(other.volume, abs=1e-9)
    assert one.geometric == pytest.approx(other.geometric, abs=1e-9)


@given(st.floats(10, 70), st.floats(5, 60))
def test_backscatter_is_brighter(sun: float, view: float) -> None:
    """With the sun behind the sensor no shadow is seen."""
    reference = geometry(sun, 0, 0)
    ratio = anisotropy(geometry(sun, view, 0), reference)
    forward = anisotropy(geometry(sun, view, 180), reference)
    land = [code for name, code in CODES.items() if name != "water"]
    assert (ratio[land] > forward[land]).all()


@given(st.floats(15, 95), st.floats(0, 62), AZIMUTHS)
def test_reflectance_stays_positive(sun: float, view: float, azimuth: float) -> None:
    ratio = anisotropy(geometry(sun, view, azimuth), geometry(sun, 0, 0))
    assert ratio.shape == (12, len(BANDS))
    assert (ratio > 0.25).all()
    assert (ratio < 3).all()
    assert (ratio[CODES["water"]] == 1).all()


def test_world_in_its_own_geometry_is_unchanged(world: World) -> None:
    plain = world.reflectance(180)
    same = world.reflectance(180, geometry=Geometry(world.sun(180)))
    np.testing.assert_array_equal(plain, same)
    seen = world.reflectance(180, geometry=Geometry(world.sun(180), 10.6, 106.0))
    change = seen / plain - 1
    assert 0.01 < np.abs(change).mean() < 0.2


def test_sentinel2_sees_itself() -> None:
    image = np.random.default_rng(0).uniform(0, 1, (10, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(instruments()["msi"].look(image), image)


@pytest.mark.parametrize("name", ["oli", "modis"])
def test_other_bands_are_like_their_neighbours(name: str) -> None:
    """A band lies near what the line between Sentinel-2's bands says, in every material."""
    sensor = instruments()[name]
    for material, spectrum in materials().items():
        between = np.interp(sensor.centre, WAVELENGTH, spectrum)
        seen = sensor.look(spectrum.astype(np.float32)[:, None, None])[:, 0, 0]
        inside = sensor.centre > WAVELENGTH[0] - 30  # beyond, there is no line
        assert np.abs(seen - between)[inside].max() < 0.07, material
        assert (seen > 0).all()


def test_bands_at_the_same_place_agree(world: World) -> None:
    surface = world.reflectance(180)
    oli = instruments()["oli"]
    seen = oli.look(surface)
    for ours, theirs in (("nir08", "B8A"), ("swir16", "B11"), ("swir22", "B12")):
        gap = seen[oli.bands.index(ours)] - surface[BANDS.index(theirs)]
        assert np.abs(gap).max() < 0.01
    assert np.abs(seen[3] - surface[BANDS.index("B04")]).mean() > 5e-4, "red is not the same band"
    assert seen.min() > 0


def clear_sky(sunlight: float = 1.0) -> Sky:
    nothing = np.zeros((1, 3), np.float32)
    return Sky(Sun(150, 40), nothing, nothing, nothing + np.float32(sunlight), nothing, 1000)


def test_air_between_the_bands_is_the_air_of_the_bands() -> None:
    here, there = optics_of(BANDS), optics_at(WAVELENGTH)
    for field in ("droplets", "ice", "diffuse", "path", "veil"):
        np.testing.assert_allclose(getattr(here, field), getattr(there, field), rtol=1e-6)


def test_slopes_are_lit_as_they_are() -> None:
    surface = np.full((10, 1, 3), 0.3, np.float32)
    relief = np.array([[0.0, 1.0, 1.5]], np.float32)
    optics = optics_of(BANDS)
    seen = observe_through(surface, optics, clear_sky(), relief, flattened=False)
    np.testing.assert_allclose(seen[:, 0, 1], 0.3, rtol=1e-6)
    np.testing.assert_allclose(seen[:, 0, 0], 0.3 * optics.diffuse, rtol=1e-5)
    direct = 1 - optics.diffuse
    np.testing.assert_allclose(seen[:, 0, 2], 0.3 * (1 + 0.5 * direct), rtol=1e-5)
    rest = observe_through(surface, optics, clear_sky(), relief)
    assert np.ptp(rest[0]) < np.ptp(seen[0]), "a correction leaves less"


def test_warmth_follows_season_ground_and_water(world: World) -> None:
    assert air_temperature(200) - air_temperature(17) == pytest.approx(21, abs=0.1)
    summer, winter = world.temperature(196), world.temperature(15)
    assert 5 < float(np.median(summer) - np.median(winter)) < 40
    code = world.class_map(196)
    forest = summer[code == CODES["broadleaf forest"]]
    assert summer[code == CODES["built-up"]].mean() > forest.mean() + 2
    assert winter.min() > 265
    assert summer.max() < 330
