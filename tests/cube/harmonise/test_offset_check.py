"""Wrong offsets are found in scenes of the simulated world, and right ones are left alone."""

from types import MappingProxyType

import numpy as np
import pytest
import rasterio

from earthloom.cube.harmonise.offset_check import (
    SceneStatistics,
    check_offsets,
    scene_statistics,
)
from earthloom.sensors import Band, load_sensor
from earthloom.world import BANDS, Shape, WorldSpec, make_world, observe

S2 = load_sensor("sentinel-2-l2a")
CHOSEN = [S2.band(name) for name in BANDS]
DAYS = (40, 95, 130, 165, 190, 220, 250, 290, 330)


@pytest.fixture(scope="module")
def scenes():
    """Reflectance and what was seen, on days of all seasons with their own haze."""
    world = make_world(WorldSpec(seed=5, shape=Shape(160, 160)))
    made = {}
    for day in DAYS:
        sky = world.sky(day, 0.3)
        image = observe(world.reflectance(day), BANDS, sky, world.illumination(day))
        made[f"day-{day:03}"] = (image, (sky.thickness < 0.1) & (sky.sunlight > 0.7))
    return made


def statistics(scenes, errors=(), offsets=None, chosen=CHOSEN):
    """By scene, with an error added to the reflectance of some."""
    places = [BANDS.index(band.name) for band in chosen]
    found = {}
    for name, (image, seen) in scenes.items():
        error = dict(errors).get(name, 0.0)
        offset = (offsets or {}).get(name, -0.1)
        pixels = (image[places] + error).astype(np.float32)
        found[name] = scene_statistics(pixels, seen, chosen, offset)
    return found


@pytest.mark.parametrize("offset", [0.0, -0.1])
def test_right_offsets_raise_no_alarm(scenes, offset):
    offsets = dict.fromkeys(scenes, offset)
    assert check_offsets(statistics(scenes, offsets=offsets)) == []


def test_a_mix_of_right_offsets_raises_no_alarm(scenes):
    offsets = {name: (0.0, -0.1)[place % 2] for place, name in enumerate(scenes)}
    assert check_offsets(statistics(scenes, offsets=offsets)) == []


@pytest.mark.parametrize("day", DAYS)
@pytest.mark.parametrize(
    "names", [("B02", "B03", "B04", "B08"), ("B04", "B08", "B11"), BANDS], ids=len
)
def test_one_that_was_lowered_twice(scenes, day, names):
    """The item says -0.1, but the numbers hold no offset."""
    name = f"day-{day:03}"
    chosen = [S2.band(each) for each in names]
    findings = check_offsets(statistics(scenes, {name: -0.1}, chosen=chosen))
    assert [(f.scene, f.expected, f.found) for f in findings] == [(name, -0.1, 0.0)]
    assert "take 0 in place of -0.1" in findings[0].suggestion


@pytest.mark.parametrize("day", DAYS)
def test_one_that_was_not_lowered(scenes, day):
    """The item says 0, but the numbers hold the offset."""
    name = f"day-{day:03}"
    findings = check_offsets(statistics(scenes, {name: 0.1}, {name: 0.0}))
    assert [(f.scene, f.expected, f.found) for f in findings] == [(name, 0.0, -0.1)]


@pytest.mark.parametrize("wrong", [6, 9])
def test_most_or_all_were_lowered_twice(scenes, wrong):
    """The right ones are not taken for the wrong ones."""
    names = sorted(scenes)[:wrong]
    findings = check_offsets(statistics(scenes, dict.fromkeys(names, -0.1)))
    assert [f.scene for f in findings] == names


def test_a_single_scene_lowered_twice(scenes):
    one = {"day-190": scenes["day-190"]}
    assert [f.found for f in check_offsets(statistics(one, {"day-190": -0.1}))] == [0.0]
    assert check_offsets(statistics(one)) == []


def test_snow_cloud_and_haze_raise_no_alarm(scenes):
    """They raise bands unequally: snow and cloud the visible ones, haze the blue."""
    changed = dict(scenes)
    infrared = np.array([band.name in ("B11", "B12") for band in CHOSEN])[:, None, None]
    image, seen = scenes["day-040"]
    changed["snow"] = (np.where(infrared, 0.1, 0.75) + 0.1 * image, seen)
    changed["cloud"] = (np.where(infrared, 0.35, 0.5) + 0.3 * image, seen)
    wavelength = np.array([band.wavelength_nm for band in CHOSEN])[:, None, None]
    changed["haze"] = (image + 0.13 * (wavelength / 490) ** -1.3, seen)
    for offset in (0.0, -0.1):
        offsets = dict.fromkeys(changed, offset)
        assert check_offsets(statistics(changed, offsets=offsets)) == []


def test_a_desert_raises_no_alarm(scenes):
    """Bright land without a dark pixel."""
    bright = {name: (image * 0.3 + 0.2, seen) for name, (image, seen) in scenes.items()}
    for offset in (0.0, -0.1):
        assert check_offsets(statistics(bright, offsets=dict.fromkeys(bright, offset))) == []


def test_too_little_is_not_judged():
    low = MappingProxyType({"B02": -0.09, "B03": -0.09, "B04": -0.09})
    assert check_offsets({"a": SceneStatistics(low, 10, -0.1)}) == []
    two = MappingProxyType({"B02": -0.09, "B03": -0.09})
    assert check_offsets({"a": SceneStatistics(two, 10_000, -0.1)}) == []
    assert len(check_offsets({"a": SceneStatistics(low, 10_000, -0.1)})) == 1


def test_statistics_are_of_what_was_seen():
    pixels = np.linspace(0, 1, 200, dtype=np.float32).reshape(2, 10, 10)
    seen = np.ones((10, 10), bool)
    seen[0] = False
    pixels[1, 9, 9] = np.nan
    power = Band(name="VV", kind="backscatter", unit="linear power", gsd=10)
    found = scene_statistics(pixels, seen, [CHOSEN[0], power], -0.1)
    assert found.pixels == 89
    assert set(found.low) == {"B02"}
    assert found.low["B02"] == pytest.approx(np.quantile(pixels[0].ravel()[10:99], 0.01))
    assert scene_statistics(pixels, ~seen & seen, [CHOSEN[0], power], 0.0).pixels == 0


def read_low_bands(folder, names):
    """Physical reflectance of real level 1C bands, a quarter of the first one's pixels."""
    images = []
    for name in names:
        with rasterio.open(next(folder.glob(f"*_{name}.tif"))) as file:
            half = (file.height // 2, file.width // 2)
            images.append(file.read(1, out_shape=images[0].shape if images else half))
    return np.stack(images).astype(np.float32) / np.float32(10_000)


@pytest.mark.shared
def test_real_scenes(shared_data):
    """No alarm on 22 real scenes; most of them, lowered, are found each by itself."""
    names = ("B02", "B03", "B04", "B08", "B11", "B12")
    chosen, found = [S2.band(name) for name in names], []
    for folder in sorted(shared_data.glob("oscd/*/imgs_*")):
        pixels = read_low_bands(folder, names)
        seen = (pixels > 0).all(axis=0)
        for offset in (0.0, -0.1):
            right = scene_statistics(pixels, seen, chosen, offset)
            assert check_offsets({folder.parent.name: right}) == []
        lowered = scene_statistics(pixels - np.float32(0.1), seen, chosen, -0.1)
        found.append(bool(check_offsets({folder.parent.name: lowered})))
    assert len(found) == 22
    assert np.mean(found) > 0.7


@pytest.mark.shared
def test_real_dates_of_one_place(shared_data):
    """Five dates of a place without water, one of them under haze: no alarm; wrong ones found."""
    dates = np.load(shared_data / "eolearn_testpatch" / "REFERENCE_SCENES.npy")
    # Bands B01 to B08, B8A, B09 to B12.
    pixels = dates[..., [1, 2, 3, 7, 11, 12]].transpose(0, 3, 1, 2)
    chosen = [S2.band(name) for name in ("B02", "B03", "B04", "B08", "B11", "B12")]
    seen = np.ones(pixels.shape[2:], bool)

    def check(error: float, wrong: int | None, offset: float) -> list[str]:
        stats = {
            str(date): scene_statistics(
                image + np.float32(error * (date == wrong)), seen, chosen, offset
            )
            for date, image in enumerate(pixels)
        }
        return [finding.scene for finding in check_offsets(stats)]

    assert check(0.0, None, 0.0) == check(0.0, None, -0.1) == []
    for date in (1, 2, 3, 4):
        assert check(-0.1, date, -0.1) == [str(date)]
    for date in (2, 3, 4):
        assert check(0.1, date, 0.0) == [str(date)]
