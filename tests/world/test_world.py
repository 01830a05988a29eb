"""Laws of the simulated Earth: what is asked twice is the same, and nature's rules hold in it."""

import ast
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import earthloom.world
from earthloom.world import (
    BANDS,
    CLASSES,
    Shape,
    World,
    WorldSpec,
    block_mean,
    make_world,
    observe,
)
from earthloom.world.relief import falls
from earthloom.world.sun import illumination, sun_at

SMALL = WorldSpec(seed=7, shape=Shape(192, 160))


@pytest.fixture(scope="module")
def world() -> World:
    return make_world(SMALL)


@pytest.fixture(scope="module")
def default_worlds() -> list[World]:
    """Worlds of the default size; coarse pixels, for speed."""
    spec = WorldSpec(shape=Shape(500, 500), resolution=20.0)
    return [make_world(replace(spec, seed=seed)) for seed in (0, 1, 2)]


def test_imports_numpy_alone() -> None:
    folder = Path(earthloom.world.__file__).parent
    allowed = sys.stdlib_module_names | {"numpy", "earthloom"}
    for file in folder.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in names:
                assert name.split(".")[0] in allowed, f"{file.name} imports {name}"
                if name.startswith("earthloom"):
                    assert name.startswith("earthloom.world"), f"{file.name} imports {name}"


def test_loads_nothing_else() -> None:
    code = (
        "import sys, earthloom.world; "
        "print([m for m in ('scipy', 'rasterio', 'torch', 'xarray') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_same_seed_same_world(world: World) -> None:
    again = make_world(SMALL)
    assert np.array_equal(world.parcels, again.parcels)
    assert np.array_equal(world.elevation, again.elevation)
    assert np.array_equal(world.reflectance(150), again.reflectance(150))
    assert np.array_equal(world.backscatter(150), again.backscatter(150))
    assert np.array_equal(world.sky(150).thickness, again.sky(150).thickness)


def test_another_seed_another_world(world: World) -> None:
    other = make_world(replace(SMALL, seed=8))
    assert (world.class_map(1) != other.class_map(1)).mean() > 0.5


def test_shapes_and_ranges(world: World) -> None:
    shape = (192, 160)
    for day in (1, 100, 200, 366):
        reflectance = world.reflectance(day)
        assert reflectance.shape == (10, *shape)
        assert reflectance.dtype == np.float32
        assert reflectance.min() > 0
        assert reflectance.max() < 0.9
        power = world.backscatter(day)
        assert power.shape == (2, *shape)
        assert power.dtype == np.float32
        decibel = 10 * np.log10(power)
        assert decibel.min() > -35
        assert decibel.max() < 6
        assert (power[0] > power[1]).mean() > 0.99, "VV is stronger than VH"
    assert world.class_map(1).dtype == np.uint8
    assert world.parcels.dtype == np.int32
    assert world.parcels.min() == 1


def test_bands_are_picked_by_name(world: World) -> None:
    every = world.reflectance(150)
    assert np.array_equal(world.reflectance(150, ("B11", "B02")), every[[8, 0]])


@pytest.mark.parametrize("shape", [Shape(64, 64), Shape(40, 300), Shape(128, 130)])
def test_any_size(shape: Shape) -> None:
    world = make_world(WorldSpec(seed=3, shape=shape))
    assert world.reflectance(180, ("B04",)).shape == (1, shape.rows, shape.cols)
    assert world.sky(20).thickness.shape == (shape.rows, shape.cols)


def test_every_class_has_its_part(default_worlds: list[World]) -> None:
    for world in default_worlds:
        parts = np.bincount(world.class_map(366).ravel(), minlength=12) / world.parcels.size
        assert parts[0] == 0
        for land in CLASSES:
            assert 0.02 <= parts[land.code] <= 0.30, (world.spec.seed, land.name, parts[land.code])


def test_parcels_have_one_class_at_first(world: World) -> None:
    first = world.class_map(0)
    for parcel in np.unique(world.parcels)[::17]:
        assert np.unique(first[world.parcels == parcel]).size == 1


def test_water_flows_downhill(default_worlds: list[World]) -> None:
    for world in default_worlds:
        river, *brooks = world.relief.courses
        assert falls(river)
        assert all(falls(brook) for brook in brooks)
        assert river.bed[0] - river.bed[-1] > 3
        row = (river.y / world.spec.resolution).astype(int)
        col = (river.x / world.spec.resolution).astype(int)
        along = world.elevation[row, col]
        assert along[:50].mean() > along[-50:].mean()
        assert np.diff(along).max() < 0.5, "the river's surface has no steps up"


def test_events_are_in_the_class_map(default_worlds: list[World]) -> None:
    for world in default_worlds:
        kinds = {event.kind for event in world.events}
        assert kinds == {"clear-cut", "new-built-up", "flood", "burn"}
        for event in world.events:
            assert event.mask.sum() * world.spec.resolution**2 > 2e4
            before = world.class_map(event.day - 1)[event.mask]
            after = world.class_map(event.day)[event.mask]
            assert (after == event.class_after).all()
            assert (before != after).all()
            assert np.bincount(before).argmax() == event.class_before
            if event.end_day is not None:
                assert np.array_equal(world.class_map(event.end_day)[event.mask], before)


def test_nothing_else_changes(world: World) -> None:
    touched = np.zeros(world.parcels.shape, bool)
    for event in world.events:
        touched |= event.mask
    assert np.array_equal(world.class_map(1)[~touched], world.class_map(366)[~touched])


def test_events_show_in_reflectance(default_worlds: list[World]) -> None:
    world = default_worlds[0]
    flood = next(event for event in world.events if event.kind == "flood")
    inner = flood.mask
    near = [world.reflectance(day, ("B11",))[0][inner].mean() for day in (flood.day - 1, flood.day)]
    assert near[1] < 0.5 * near[0], "water is dark in the short-wave infrared"


def test_seasons(default_worlds: list[World]) -> None:
    world = default_worlds[0]

    def greenness(day: int, name: str) -> float:
        code = next(land.code for land in CLASSES if land.name == name)
        here = world.class_map(day) == code
        red, near = world.reflectance(day, ("B04", "B08"))
        return float(((near - red) / (near + red))[here].mean())

    assert greenness(200, "broadleaf forest") > greenness(30, "broadleaf forest") + 0.3
    assert abs(greenness(200, "needleleaf forest") - greenness(30, "needleleaf forest")) < 0.15
    assert greenness(215, "maize") > greenness(130, "maize") + 0.4
    assert greenness(140, "winter cereal") > greenness(225, "winter cereal") + 0.4
    assert greenness(200, "water") < 0


def test_rapeseed_flowers(default_worlds: list[World]) -> None:
    world = default_worlds[0]
    rape = world.class_map(1) == 9
    (green, blue), (later_green, later_blue) = (
        (band[rape].mean() for band in world.reflectance(day, ("B03", "B02"))) for day in (125, 160)
    )
    assert green / blue > 1.5 * later_green / later_blue


def test_biomass(default_worlds: list[World]) -> None:
    world = default_worlds[0]
    codes = world.class_map(366)
    mass = world.biomass(366)
    assert mass.min() >= 0
    forest = mass[(codes == 3) | (codes == 4)]
    assert 100 < forest.mean() < 350
    assert forest.std() > 30
    assert mass[codes == 1].max() == 0
    cut = next(event for event in world.events if event.kind == "clear-cut")
    assert world.biomass(cut.day)[cut.mask].mean() < 0.2 * world.biomass(1)[cut.mask].mean()


def test_parcels_of_a_crop_differ(default_worlds: list[World]) -> None:
    world = default_worlds[0]
    near = world.reflectance(160, ("B08",))[0]
    maize = world.class_map(1) == 8
    count = np.bincount(world.parcels[maize])
    mean = np.bincount(world.parcels[maize], near[maize]) / np.maximum(count, 1)
    assert mean[count > 20].std() > 0.015


def test_shadows_fall_away_from_the_sun() -> None:
    """Where the shadow lies relative to its cloud, by cross-correlation, for several days."""
    size = 400
    world = make_world(WorldSpec(seed=5, shape=Shape(size, size), resolution=20.0))
    for day in (80, 170, 260):
        sky = world.sky(day, cover=0.15)
        cloud = (sky.thickness > 0.5).astype(float)
        shadow = (sky.sunlight < 0.7).astype(float)
        assert 0.02 < shadow.mean() < 0.6
        cloud, shadow = cloud - cloud.mean(), shadow - shadow.mean()
        power = np.fft.rfft2(shadow) * np.conj(np.fft.rfft2(cloud))
        row, col = np.unravel_index(np.fft.irfft2(power).argmax(), cloud.shape)
        south, east = ((value + size // 2) % size - size // 2 for value in (int(row), int(col)))
        length = sky.height * np.tan(np.radians(sky.sun.zenith)) / 20
        azimuth = np.radians(sky.sun.azimuth)
        assert abs(south - np.cos(azimuth) * length) <= 3
        assert abs(east + np.sin(azimuth) * length) <= 3
        assert south < 0, "the sun stands in the south, shadows fall to the north"


@pytest.mark.parametrize("cover", [0.0, 0.2, 0.6, 1.0])
def test_clouds_cover_what_was_asked(world: World, cover: float) -> None:
    assert abs(float((world.sky(190, cover).thickness > 0).mean()) - cover) < 0.25


def test_a_clear_sky_changes_little(world: World) -> None:
    sky = world.sky(190, cover=0.0)
    clear = replace(sky, cirrus=0 * sky.cirrus, haze=0 * sky.haze)
    surface = world.reflectance(190)
    assert np.allclose(observe(surface, BANDS, clear), surface, atol=1e-6)


def test_clouds_are_brighter_with_thickness(world: World) -> None:
    sky = world.sky(190, cover=0.0)
    surface = world.reflectance(190, ("B02", "B11"))
    seen = [
        observe(surface, ("B02", "B11"), replace(sky, thickness=sky.thickness + thick))
        for thick in (0.0, 1.0, 5.0, 40.0)
    ]
    blue = [image[0].mean() for image in seen]
    assert blue == sorted(blue)
    assert blue[-1] > 0.6
    assert seen[-1][1].mean() < seen[-1][0].mean(), "droplets absorb in the infrared"


def test_sun_at_known_places() -> None:
    """Noon heights at the solstices are 90 - latitude +- 23.44 degrees."""
    for day, tilt in ((172, 23.44), (355, -23.44)):
        sun = sun_at(day, 12.0, 48.9)
        assert abs(sun.elevation - (90 - 48.9 + tilt)) < 0.3
        assert abs(sun.azimuth - 180) < 1
    assert sun_at(172, 9.0, 48.9).azimuth < 135


def test_slopes_to_the_sun_are_lit() -> None:
    y, _ = np.mgrid[:20, :20].astype(np.float32)
    sun = sun_at(100, 12.0, 48.9)
    assert illumination(-2 * y, 10.0, sun).mean() > 1, "a southern slope"
    assert illumination(2 * y, 10.0, sun).mean() < 1
    assert np.allclose(illumination(0 * y, 10.0, sun), 1)


def test_block_mean() -> None:
    values = np.arange(48, dtype=np.float32).reshape(2, 4, 6)
    expected = values.reshape(2, 2, 2, 3, 2).mean(axis=(2, 4))
    assert np.allclose(block_mean(values, 2), expected)
