"""Cloud detectors on skies whose clouds are known, and on real scenes with their masks."""

import numpy as np
import pytest

from earthloom.cube import clouds
from earthloom.cube.clouds import (
    ColdClouds,
    PotentialClouds,
    hidden_by_hook,
    hook_bands,
    hook_margin,
    known_detectors,
    load_detector,
)
from earthloom.cube.mask import MaskRule
from earthloom.errors import DataError, ProjectError
from earthloom.sensors import load_sensor
from earthloom.world import BANDS, WAVELENGTH, Shape, WorldSpec, make_world, observe

THICK = 0.5
"""Optical thickness from which on the simulated archive's truth says cloud."""
HOOKED = MaskRule(hook="potential-clouds")


def f1_of(said, true):
    return 2 * (said & true).sum() / (said.sum() + true.sum())


@pytest.fixture(scope="module")
def skies():
    """Images (C, H, W) of simulated days with their clouds (H, W)."""
    made = []
    for seed in (1, 2, 3):
        world = make_world(WorldSpec(seed=seed, shape=Shape(160, 160)))
        for day in (60, 150, 240):
            sky = world.sky(day, 0.4)
            image = observe(world.reflectance(day), BANDS, sky)
            made.append((image, sky.thickness + sky.cirrus >= THICK))
    return made


def test_finds_simulated_clouds(skies):
    said = np.stack([hidden_by_hook(HOOKED, image, BANDS, WAVELENGTH) for image, _ in skies])
    true = np.stack([cloud for _, cloud in skies])
    assert f1_of(said, true) > 0.85
    # No detection has an F1 of 0; to call everything a cloud is the best that knows nothing.
    assert f1_of(said, true) > f1_of(np.ones_like(true), true) + 0.2
    assert (said & ~true).sum() < 0.05 * (~true).sum()


def test_a_clear_sky_hides_little():
    world = make_world(WorldSpec(seed=5, shape=Shape(160, 160)))
    image = observe(world.reflectance(200), BANDS, world.sky(200, 0.0))
    assert hidden_by_hook(HOOKED, image, BANDS, WAVELENGTH).mean() < 0.05


def test_each_pixel_stands_alone_whatever_the_order_of_bands(skies):
    image, _ = skies[0]
    whole = PotentialClouds().probability(image, BANDS, WAVELENGTH)
    order = list(reversed(range(len(BANDS))))
    part = PotentialClouds().probability(
        image[order, 20:50, 30:70], [BANDS[k] for k in order], [WAVELENGTH[k] for k in order]
    )
    np.testing.assert_array_equal(part, whole[20:50, 30:70])


def test_what_was_not_measured_is_not_judged(skies):
    image = skies[0][0].copy()
    image[BANDS.index("B11"), :5] = np.nan
    probable = PotentialClouds().probability(image, BANDS, WAVELENGTH)
    assert np.isnan(probable[:5]).all()
    assert not np.isnan(probable[5:]).any()
    assert not hidden_by_hook(HOOKED, image, BANDS, WAVELENGTH)[:5].any()


def test_warm_ground_is_no_cloud(skies):
    image, _ = skies[0]
    warm = np.full((1, *image.shape[1:]), 310, np.float32)
    with_heat = np.concatenate([image, warm])
    said = PotentialClouds().probability(with_heat, (*BANDS, "B10"), (*WAVELENGTH, 10_900.0))
    assert (said == 0).all()
    cold = np.concatenate([image, warm - 40])
    np.testing.assert_array_equal(
        PotentialClouds().probability(cold, (*BANDS, "B10"), (*WAVELENGTH, 10_900.0)),
        PotentialClouds().probability(image, BANDS, WAVELENGTH),
    )


PLANCK = 14_387.8
"""Second radiation constant, um K."""


def _temperature(ground, ice, depth, micrometres):
    """Brightness temperature of ground under an ice cloud that neither reflects nor scatters."""

    def radiance(kelvin):
        return 1 / np.expm1(PLANCK / (micrometres * kelvin))

    through = np.exp(-depth)
    seen = through * radiance(ground) + (1 - through) * radiance(ice)
    return (PLANCK / (micrometres * np.log1p(1 / seen))).astype(np.float32)


def test_finds_cirrus_by_its_cold():
    """Ice absorbs more at 12 um than at 11 um, so thin cirrus looks colder there."""
    world = make_world(WorldSpec(seed=1, shape=Shape(160, 160)))
    skies = [world.sky(day) for day in range(1, 360, 15)]
    sky = max(skies, key=lambda each: each.cirrus.mean())
    ground = 285 + 8 * world.elevation / max(float(np.ptp(world.elevation)), 1)
    # Half of the thickness in visible light, of which ice scatters half forward.
    depth = 0.5 * 8 * sky.cirrus
    at_11 = _temperature(ground, 225.0, depth, 10.9)
    at_12 = _temperature(ground, 225.0, 1.15 * depth, 12.0)
    true = sky.cirrus > 0.16
    both = ColdClouds().probability(np.stack([at_11, at_12]), ("B10", "B11"), (10_900.0, 12_000.0))
    alone = ColdClouds().probability(at_11[None], ("B10",), (10_900.0,))
    assert 0.05 < true.mean() < 0.95
    assert f1_of(both >= 0.5, true) > f1_of(np.ones_like(true), true)
    assert f1_of(both >= 0.5, true) >= f1_of(alone >= 0.5, true)
    assert (both >= alone).all()


def test_the_gross_test_is_a_ramp():
    kelvin = np.array([[290, 273, 270, 267, 240, np.nan]], np.float32)
    found = ColdClouds().probability(kelvin[None], ("B10",), (10_900.0,))
    np.testing.assert_array_equal(found, [[0, 0, 0.5, 1, 1, np.nan]])


def test_a_rule_without_a_hook_hides_nothing():
    assert not hidden_by_hook(MaskRule(), np.ones((1, 3, 4), np.float32), ("B1",), (None,)).any()


def test_bands_that_are_not_there():
    image = np.zeros((2, 3, 3), np.float32)
    with pytest.raises(DataError, match=r"needs green, .* none of the bands B02, B04 measures"):
        PotentialClouds().probability(image, ("B02", "B04"), (492.4, 664.6))
    with pytest.raises(DataError, match="thermal infrared at 11 um"):
        ColdClouds().probability(image, ("VV", "VH"), (None, None))


def test_the_bands_to_read_for_a_detector():
    """A layer of 10 m holds none of the short-wave infrared; the sensor does."""
    bands = hook_bands(HOOKED, load_sensor("sentinel-2-l2a"))
    assert [band.name for band in bands] == ["B02", "B03", "B04", "B8A", "B11", "B12"]
    landsat = load_sensor("landsat-oli-c2-l1")
    assert not any(band.kind == "radiance" for band in hook_bands(HOOKED, landsat))
    assert hook_bands(MaskRule(), load_sensor("sentinel-2-l2a")) == ()
    with pytest.raises(DataError, match="needs thermal infrared at 11 um"):
        hook_bands(MaskRule(hook="cold-clouds"), load_sensor("sentinel-2-l2a"))
    with pytest.raises(DataError, match="needs blue"):
        hook_bands(HOOKED, load_sensor("sentinel-1-rtc"))


def test_unknown_detectors_are_named():
    with pytest.raises(ProjectError, match="unknown mask hook 'x'; known are: cold-clouds, pot"):
        load_detector("x")


class _Entry:
    name = "own"

    def __init__(self, what):
        self._what = what

    def load(self):
        if isinstance(self._what, Exception):
            raise self._what
        return self._what


class _Everything:
    margin = 0
    needs = ()
    uses = ()

    def probability(self, pixels, bands, wavelengths_nm):
        return np.ones(pixels.shape[1:], np.float32)


class _Neighbours(_Everything):
    margin = 2


class _WrongShape(_Everything):
    def probability(self, pixels, bands, wavelengths_nm):
        return np.ones(pixels.shape, np.float32)


@pytest.fixture
def installed(monkeypatch):
    """Makes a detector the entry point `own` of another package."""

    def install(what):
        monkeypatch.setattr(clouds, "entry_points", lambda group: [_Entry(what)])
        load_detector.cache_clear()

    yield install
    load_detector.cache_clear()


def test_another_packages_detector(installed):
    pixels, rule = np.zeros((2, 3, 4), np.float32), MaskRule(hook="own")
    installed(_Everything)
    assert "own" in known_detectors()
    assert hidden_by_hook(rule, pixels, ("a", "b"), (None, None)).all()
    installed(_WrongShape)
    with pytest.raises(DataError, match=r"'own' answered with shape \(2, 3, 4\)"):
        hidden_by_hook(rule, pixels, ("a", "b"), (None, None))
    installed(ImportError("no module named torch"))
    with pytest.raises(ProjectError, match=r"'own' does not load: .*torch"):
        hidden_by_hook(rule, pixels, ("a", "b"), (None, None))


def test_a_detector_that_looks_around_gets_its_margin(installed):
    pixels, rule = np.zeros((2, 9, 8), np.float32), MaskRule(hook="own")
    installed(_Neighbours)
    assert hook_margin(rule) == 2
    assert hidden_by_hook(rule, pixels, ("a", "b"), (None, None), margin=2).shape == (5, 4)
    with pytest.raises(DataError, match="'own' needs 2 pixels around a window; it was given 0"):
        hidden_by_hook(rule, pixels, ("a", "b"), (None, None))
    assert hook_margin(MaskRule()) == 0


@pytest.mark.shared
def test_real_scenes_against_a_learned_mask(shared_data):
    """Five dates of Sentinel-2 L1C; the reference is the cloud mask of s2cloudless, a model."""
    folder = shared_data / "eolearn_testpatch"
    scenes = np.load(folder / "REFERENCE_SCENES.npy").transpose(0, 3, 1, 2)
    table = load_l1c()
    patch = folder / "TestEOPatch"
    ndvi = np.load(patch / "data" / "NDVI.npy")[..., 0]
    masks = np.load(patch / "mask" / "CLM.npy")[..., 0].astype(bool)
    near, red = (scenes[:, list(table).index(band)] for band in ("B08", "B04"))
    said, true = [], []
    for scene, index in zip(scenes, (near - red) / (near + red)):
        # The scenes do not say their dates, but their NDVI is that of one date to the last bit.
        (date,) = np.flatnonzero(np.abs(ndvi - index).max(axis=(1, 2)) < 1e-5)
        true.append(masks[date])
        said.append(hidden_by_hook(HOOKED, scene, list(table), list(table.values())))
    said, true = np.stack(said), np.stack(true)
    assert true.mean(axis=(1, 2)).round(2).tolist().count(1.0) == 2
    assert f1_of(said, true) > 0.85
    assert said[~true].mean() < 0.001


def load_l1c():
    """Wavelengths of Sentinel-2's 13 bands in their usual order."""
    sensor = load_sensor("sentinel-2-l1c")
    return {band.name: band.wavelength_nm for band in sensor.bands}
