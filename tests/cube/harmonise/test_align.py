"""Shifts of the simulated world, known exactly; real pairs; and what cannot be trusted."""

from pathlib import Path

import numpy as np
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from scipy.ndimage import fourier_shift

from earthloom.cube.harmonise.align import (
    AlignSettings,
    Shift,
    displacement,
    estimate_shift,
    shifted_box,
)
from earthloom.errors import DataError
from earthloom.world import Shape, World, WorldSpec, make_world, observe

BANDS = ("B03", "B04", "B08")
RIM = 10
PAIRS = [(100, 130), (130, 200), (60, 180), (220, 300)]
"""Days of the year, from spring to autumn."""


@pytest.fixture(scope="module")
def world():
    return make_world(WorldSpec(seed=3, shape=Shape(340, 340)))


def look(
    world: World, day: float, cover: float, shift: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """What a scene shows whose content lies `shift` pixels down and right of where it should.

    Through clouds, cut out as a mask that misses their thin rims, with noise.
    """
    sky = world.sky(day, cover)
    image = observe(world.reflectance(day, BANDS), BANDS, sky, world.illumination(day))
    image = np.stack([np.fft.ifft2(fourier_shift(np.fft.fft2(b), shift)).real for b in image])
    image = image + rng.standard_normal(image.shape) * (0.0008 + 0.004 * image)
    hidden = (sky.thickness + sky.cirrus > 0.1) | (sky.sunlight < 0.7)
    image[:, np.roll(hidden, np.rint(shift).astype(int), (0, 1))] = np.nan
    return image[:, RIM:-RIM, RIM:-RIM].astype(np.float32)


def test_shifts_between_seasons_under_clouds(world):
    """The goal: half of the errors below 0.1 pixels, 95 % below 0.3, and none untrusted."""
    rng = np.random.default_rng(0)
    errors = []
    for first, second in PAIRS:
        shift = rng.uniform(-3, 3, 2)
        reference = look(world, first, 0.2, (0, 0), rng)
        image = look(world, second, 0.25, tuple(shift), rng)
        found = estimate_shift(image, reference)
        assert found is not None, (first, second)
        errors.append(np.hypot(found.rows - shift[0], found.cols - shift[1]))
    assert np.median(errors) < 0.1
    assert np.quantile(errors, 0.95) < 0.3
    assert np.sqrt(np.mean(np.square(errors))) < 0.15


def test_there_and_back(world):
    rng = np.random.default_rng(1)
    first = look(world, 150, 0.1, (0, 0), rng)
    second = look(world, 190, 0.2, (1.37, -0.62), rng)
    there, back = estimate_shift(second, first), estimate_shift(first, second)
    assert there is not None
    assert back is not None
    assert there.rows == pytest.approx(-back.rows, abs=0.15)
    assert there.cols == pytest.approx(-back.cols, abs=0.15)


def test_an_image_lies_right_on_itself(world):
    image = world.reflectance(180, BANDS)
    found = estimate_shift(image, image)
    assert found is not None
    assert (found.rows, found.cols) == pytest.approx((0, 0), abs=1e-4)
    assert found.quality == 1


def test_another_place_is_not_trusted(world):
    other = make_world(WorldSpec(seed=8, shape=Shape(340, 340))).reflectance(180, BANDS)
    assert estimate_shift(other, world.reflectance(180, BANDS)) is None


def test_noise_is_not_trusted():
    rng = np.random.default_rng(2)
    first, second = rng.standard_normal((2, 2, 300, 300)).astype(np.float32)
    assert estimate_shift(second, first) is None


def test_a_shift_out_of_reach_is_not_trusted(world):
    image = world.reflectance(180, BANDS)
    moved = np.roll(image, (15, 0), (1, 2))
    assert estimate_shift(moved, image, AlignSettings(reach=5)) is None


@pytest.mark.parametrize("part", [0.0, 0.02])
def test_too_little_in_common_is_not_trusted(world, part):
    image = world.reflectance(180, BANDS)
    hidden = image.copy()
    hidden[:, :, int(340 * part) :] = np.nan
    assert estimate_shift(hidden, image) is None
    assert estimate_shift(image, hidden) is None


def test_a_flat_image_is_not_trusted():
    flat = np.full((1, 200, 200), 0.1, np.float32)
    assert estimate_shift(flat, flat) is None


def test_shapes_must_agree():
    with pytest.raises(DataError, match=r"\(1, 4, 4\)"):
        estimate_shift(np.zeros((1, 4, 4), np.float32), np.zeros((1, 4, 5), np.float32))


def test_the_grid_moves_with_the_image():
    """What lies 2 rows down and 3 columns right is read from there."""
    box = GeoBox.from_bbox((600_000, 5_400_000, 600_240, 5_400_160), "EPSG:32632", resolution=10)
    shift = Shift(rows=2.0, cols=3.0, quality=1.0, error=0.01, tiles_used=9)
    moved = displacement(shift, box)
    assert (moved.east, moved.north) == (30.0, -20.0)
    new = shifted_box(box, moved)
    assert new.shape == box.shape
    assert new.affine * (0, 0) == box.affine * (3, 2)
    coarse = box.zoom_out(2)
    assert shifted_box(coarse, moved).affine * (0, 0) == new.affine * (0, 0)


def read_pair(city: Path) -> list[np.ndarray]:
    """Both dates on the grid of the first, by their own georeference."""
    with rasterio.open(next((city / "imgs_1").glob("*_B04.tif"))) as first:
        grid = {"crs": first.crs, "transform": first.transform}
        grid |= {"width": min(first.width, 320), "height": min(first.height, 320)}
    pair = []
    for folder in ("imgs_1", "imgs_2"):
        bands = []
        for name in BANDS:
            with (
                rasterio.open(next((city / folder).glob(f"*_{name}.tif"))) as file,
                WarpedVRT(
                    file,
                    resampling=Resampling.bilinear,
                    src_nodata=0,
                    nodata=np.nan,
                    dtype="float32",
                    **grid,
                ) as warped,
            ):
                bands.append(warped.read(1))
        image = np.stack(bands) / np.float32(10_000)
        image[:, ~np.isfinite(image).all(axis=0)] = np.nan
        pair.append(image)
    return pair


@pytest.mark.shared
@pytest.mark.parametrize(
    ("city", "rows", "cols"),
    [("abudhabi", 1.2, 0.5), ("hongkong", 0.2, 0.3), ("saclay_e", 0.0, 0.9), ("paris", 0.0, 0.0)],
)
def test_real_pairs(shared_data, city, rows, cols):
    """The way back is the way there turned round; the sizes are as seen once, coarsely."""
    first, second = read_pair(shared_data / "oscd" / city)
    there, back = estimate_shift(second, first), estimate_shift(first, second)
    assert there is not None
    assert back is not None
    assert np.hypot(there.rows + back.rows, there.cols + back.cols) < 0.15
    assert (there.rows, there.cols) == pytest.approx((rows, cols), abs=0.25)
