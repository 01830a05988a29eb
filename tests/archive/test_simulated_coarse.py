"""Landsat and MODIS of the simulated Earth: their numbers are the world's, their bits the sky's."""

from dataclasses import replace
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import rasterio
from shapely.geometry import box

from earthloom.archive import simulated_landsat, simulated_modis
from earthloom.archive.catalog import StaticCatalog
from earthloom.archive.simulated import Faults, SimulationSpec, simulate
from earthloom.archive.simulated_faults import Departure
from earthloom.archive.simulated_landsat import (
    LANDSAT,
    QUALITY,
    Footprints,
    landsat_grid,
    landsat_sun,
    oli,
    sense_landsat,
)
from earthloom.archive.simulated_modis import (
    MODIS,
    NODATA,
    STATE,
    STATE_NODATA,
    Bins,
    modis,
    plan_modis,
    sense_modis,
)
from earthloom.archive.simulated_plan import SceneGrid, plan_landsat
from earthloom.archive.simulated_scenes import CLEAR, CLOUD, SHADOW, THIN
from earthloom.archive.simulated_tasks import Studio, open_studio
from earthloom.errors import ArchiveError
from earthloom.sensors import Meaning, Quality, load_sensor
from earthloom.world import Geometry, Shape, Sky, Sun
from earthloom.world.noise import Extent, Random
from earthloom.world.sun import illumination

SPEC = SimulationSpec(
    seed=4,
    size_m=2560,
    sentinel2_items=1,
    sentinel1_items=0,
    landsat_items=4,
    modis_items=3,
    points_per_class=1,
    polygons_per_class=0,
    faults=Faults(brdf=True),
)


@pytest.fixture(scope="module")
def studio() -> Studio:
    return open_studio(SPEC)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return simulate(tmp_path_factory.mktemp("coarse"), SPEC, workers=1).parent


@pytest.fixture
def no_sky(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither clouds nor haze."""

    def make(rng: Random, extent: Extent, day: float, sun: Sun, cover: float | None) -> Sky:
        nothing = np.zeros((extent.shape.rows, extent.shape.cols), np.float32)
        return Sky(sun, nothing, nothing, nothing + 1, nothing, 1000.0)

    for module in (simulated_landsat, simulated_modis):
        monkeypatch.setattr(module, "make_sky", make)


def quality_of(sensor: str) -> Quality:
    found = load_sensor(sensor).quality
    assert found is not None
    return found


def rest_of_relief(studio: Studio, sun: Sun) -> np.ndarray:
    """What terrain correction leaves, as the sky's module says."""
    relief = illumination(studio.world.elevation, studio.world.spec.resolution, sun)
    return np.asarray(0.7 + 0.3 * np.clip(relief, 0.2, 2.0))


def test_landsat_lies_on_its_own_grid(studio: Studio) -> None:
    home, grid = studio.layout.home, landsat_grid(studio.layout.home)
    assert grid.west % 30 == 15
    assert grid.north % 30 == 15
    assert box(*home.bounds).contains(box(*grid.bounds))
    assert box(*grid.bounds).area > 0.95 * box(*home.bounds).area


@pytest.mark.parametrize(("east", "north"), [(0, 0), (12.5, -7), (-20, 3)])
def test_footprints_are_means_and_lie_off_as_told(east: float, north: float) -> None:
    home = SceneGrid(32632, 600_000, 5_400_000, 10.0, Shape(60, 66))
    grid = landsat_grid(home)
    x = home.west + (np.arange(66) + 0.5) * 10 - 600_300
    y = home.north - (np.arange(60) + 0.5) * 10 - 5_399_700
    ramp = (2 * x[None] + 3 * y[:, None]).astype(np.float32)
    seen = Footprints(home, grid, east, north).mean(ramp)
    middle_x = grid.west + (np.arange(grid.shape.cols) + 0.5) * 30 - 600_300
    middle_y = grid.north - (np.arange(grid.shape.rows) + 0.5) * 30 - 5_399_700
    wanted = 2 * (middle_x[None] - east) + 3 * (middle_y[:, None] - north)
    inner = slice(1, -1)
    np.testing.assert_allclose(seen[inner, inner], wanted[inner, inner], atol=0.02)
    same = Footprints(home, grid, east, north).mean(np.ones((60, 66), np.float32))
    np.testing.assert_allclose(same, 1, rtol=1e-6)


@pytest.mark.usefixtures("no_sky")
def test_landsat_reflectance_is_the_worlds(studio: Studio) -> None:
    acquisition = plan_landsat(SPEC)[2]
    home, grid = studio.layout.home, landsat_grid(studio.layout.home)
    scene = sense_landsat(studio.world, acquisition, home, "x")
    sensor = load_sensor(LANDSAT)
    under = Footprints(home, grid)
    rest = under.mean(rest_of_relief(studio, landsat_sun(acquisition, 48.9)).astype(np.float32))
    surface = under.mean(oli().look(studio.world.reflectance(acquisition.day)))
    seen = scene.truth != 255
    for band, truth in zip(oli().bands, surface, strict=True):
        table = sensor.band(band)
        read = scene.bands[band] * table.scale + table.offset
        gap = (read - truth * rest)[seen]
        noise = 0.0005 + 0.003 * float(truth[seen].max())
        assert abs(gap.mean()) < 3e-4, band
        assert gap.std() < noise + table.scale, band
    warm = scene.bands["lwir11"][seen] * sensor.band("lwir11").scale + 149.0
    inside = studio.world.temperature(acquisition.day, landsat_sun(acquisition, 48.9))
    assert warm.mean() == pytest.approx(inside.mean(), abs=1)
    assert set(np.unique(scene.quality[seen])) <= {21824, 21952}, "clear, and clear water"


def test_landsat_bits_tell_the_sky(studio: Studio) -> None:
    """USGS's bits, decoded with the sensor's table, against the true mask."""
    table = quality_of(LANDSAT)
    hits: dict[Meaning, list[float]] = {"cloud": [], "shadow": []}
    for acquisition in plan_landsat(replace(SPEC, landsat_items=8)):
        half = replace(acquisition, cloud=0.4)
        scene = sense_landsat(studio.world, half, studio.layout.home, "x")
        seen = scene.truth != 255
        np.testing.assert_array_equal(table.where(scene.quality, {"fill"}), ~seen)
        for meaning, value in (("cloud", CLOUD), ("shadow", SHADOW)):
            said, true = table.where(scene.quality, {meaning})[seen], scene.truth[seen] == value
            if meaning == "cloud":
                true |= (scene.truth[seen] == THIN) & said
            if true.sum() > 50:
                hits[meaning].append(float((said & true).sum() / (said | true).sum()))
        # Next to clouds is dilated, never cloud itself.
        near = table.where(scene.quality, {"adjacent"})
        assert not (near & table.where(scene.quality, {"cloud"})).any()
        confidence = scene.quality[seen] >> 8 & 3
        np.testing.assert_array_equal(confidence == 3, (scene.quality[seen] >> 3 & 1) == 1)
    assert np.mean(hits["cloud"]) > 0.8
    assert np.mean(hits["shadow"]) > 0.5


def test_landsat_passes_are_of_two_platforms_and_paths() -> None:
    passes = plan_landsat(replace(SPEC, landsat_items=40))
    assert {each.platform for each in passes} == {"8", "9"}
    assert {each.orbit.number for each in passes} == {192, 193}
    for platform in "89":
        days = [
            each.day for each in passes if (each.platform, each.orbit.number) == (platform, 193)
        ]
        assert {int(step) % 16 for step in np.diff(days)} == {0}


def test_bins_are_means(studio: Studio) -> None:
    bins = studio.bins
    shape = studio.layout.home.shape
    ones = bins.mean(np.ones((shape.rows, shape.cols), np.float32))
    np.testing.assert_allclose(ones[bins.inside], 1)
    assert bins.inside.any()
    # The mean of a pixel's own eastings is the easting of its middle, in the world's CRS.
    home, grid = studio.layout.home, bins.grid
    rows, cols = np.nonzero(bins.inside)
    x = grid.west + (cols + 0.5) * grid.resolution
    y = grid.north - (rows + 0.5) * grid.resolution
    east, north = rasterio.warp.transform(grid.crs, home.crs, x.tolist(), y.tolist())
    own_x = np.broadcast_to((np.arange(shape.cols) + 0.5) * 10, (shape.rows, shape.cols))
    own_y = np.broadcast_to((np.arange(shape.rows) + 0.5)[:, None] * 10, own_x.shape)
    found_x = bins.mean(own_x.astype(np.float32))[bins.inside] + home.west
    found_y = home.north - bins.mean(own_y.astype(np.float32))[bins.inside]
    np.testing.assert_allclose(found_x, east, atol=6)
    np.testing.assert_allclose(found_y, north, atol=6)


@pytest.mark.usefixtures("no_sky")
def test_modis_reflectance_is_the_worlds(studio: Studio) -> None:
    look = replace(plan_modis(SPEC)[1])
    down = replace(look, geometry=replace(look.geometry, view_zenith=0.0))
    scene = sense_modis(studio.world, down, studio.bins, "x")
    rest = rest_of_relief(studio, look.geometry.sun)
    surface = modis().look(studio.world.reflectance(look.day)) * rest
    inside = studio.bins.inside
    sensor = load_sensor(MODIS)
    for band, truth in zip(modis().bands, surface, strict=True):
        wanted = studio.bins.mean(truth.astype(np.float32))[inside]
        read = scene.bands[band][inside] * sensor.band(band).scale
        assert np.abs(read - wanted).max() < 5 * (0.0006 + 0.004 * wanted.max()) + 1e-4, band
        assert (scene.bands[band][~inside] == NODATA).all()
    table = quality_of(MODIS)
    assert not table.where(scene.state[scene.state != STATE_NODATA], {"cloud", "shadow"}).any()


@pytest.mark.usefixtures("no_sky")
def test_modis_is_brighter_with_the_sun_behind_it(studio: Studio) -> None:
    look = plan_modis(SPEC)[1]
    sun = look.geometry.sun
    means = []
    for turn in (0, 180):
        geometry = Geometry(sun, 45.0, (sun.azimuth + turn) % 360)
        there = replace(look, geometry=geometry)
        scene = sense_modis(studio.world, there, studio.bins, "x", Departure(geometry=geometry))
        red = scene.bands["sur_refl_b01"][studio.bins.inside]
        means.append(float(red.mean()))
    assert means[0] > 1.15 * means[1]


def test_modis_state_tells_the_sky(studio: Studio) -> None:
    table = quality_of(MODIS)
    look = plan_modis(SPEC)[1]
    for cloud, wanted in ((0.0, 0.0), (1.0, 1.0)):
        scene = sense_modis(studio.world, replace(look, cloud=cloud), studio.bins, "x")
        there = scene.state != STATE_NODATA
        assert table.where(scene.state, {"cloud"})[there].mean() == wanted
        assert (scene.truth == (CLOUD if cloud else CLEAR))[studio.bins.inside].mean() > 0.8


def test_a_window_without_a_whole_pixel_is_refused() -> None:
    with pytest.raises(ArchiveError, match="no pixel of MODIS"):
        Bins(SceneGrid(32632, 600_000, 5_400_000, 10.0, Shape(40, 40)))


def test_modis_looks_from_both_sides_and_all_angles() -> None:
    looks = plan_modis(replace(SPEC, modis_items=365))
    assert len(looks) == 365
    zeniths = [look.geometry.view_zenith for look in looks]
    assert min(zeniths) < 5 < 55 < max(zeniths) < 65
    assert {look.geometry.view_azimuth for look in looks} == {99.0, 279.0}
    assert all(look.time.timetuple().tm_yday == look.day for look in looks)


@pytest.mark.parametrize(
    ("collection", "count", "quality"), [(LANDSAT, 4, QUALITY), (MODIS, 3, STATE)]
)
def test_items_are_scenes_of_their_sensor(
    archive: Path, collection: str, count: int, quality: str
) -> None:
    sensor = load_sensor(collection)
    scenes = StaticCatalog(archive / "catalog.json").search(
        sensor, date(2023, 1, 1), date(2023, 12, 31), box(-180, -90, 180, 90)
    )
    assert len(scenes) == count
    for scene in scenes:
        assert set(scene.bands) == {band.name for band in sensor.bands}
        assert scene.quality is not None
        assert Path(scene.quality.href).stem == quality
        for name, asset in scene.bands.items():
            table = sensor.band(name)
            assert (asset.scale, asset.offset) == (table.scale, table.offset)
            with rasterio.open(archive / asset.href) as file:
                assert file.nodata == asset.nodata == table.nodata
                assert file.read(1).shape == file.shape
        assert scene.angles is not None
        assert scene.angles.view_zenith is not None
        assert scene.angles.view_zenith > 1
        assert scene.bounds is not None
        assert box(*scene.bounds).intersects(box(11.1, 48.8, 11.3, 49.0))
