"""The probability sample of a map."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from rasterio.transform import from_origin

from earthloom.assess.sample import SampleDesign, draw_sample, rows_at, write_points
from earthloom.errors import DataError, LabelError

CODES = (1, 2, 3)
TRANSFORM = from_origin(600_000, 5_400_000, 10, 10)


@pytest.fixture(scope="module")
def codes():
    """A map of 700 x 300 pixels: mostly class 1, some of 2, little of 3, some without."""
    random = np.random.default_rng(0)
    return random.choice([0, 1, 2, 3], (700, 300), p=[0.1, 0.7, 0.195, 0.005]).astype(np.uint8)


@pytest.fixture(scope="module")
def path(codes, tmp_path_factory):
    return _write(tmp_path_factory.mktemp("map") / "map.tif", codes)


def _write(path, codes, crs="EPSG:32632", transform=TRANSFORM):
    rows, cols = codes.shape
    profile = {"width": cols, "height": rows, "count": 1, "dtype": "uint8", "nodata": 0}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **profile) as file:
        file.write(codes, 1)
    return path


@pytest.fixture(scope="module")
def training():
    points = [shapely.Point(600_000 + x, 5_400_000 - y) for x, y in ((905, 1005), (2500, 6000))]
    table = gpd.GeoDataFrame({"code": [1, 2]}, geometry=points, crs=32632)
    return table.to_crs(4326)


def test_points_lie_on_the_class_they_are_drawn_of(path, codes):
    sample = draw_sample(path, CODES, None, SampleDesign(400, 30, 0, seed=1))
    points = sample.points
    np.testing.assert_array_equal(codes[points.row, points.col], points.map_code)
    assert not points.duplicated(["row", "col"]).any()
    np.testing.assert_allclose(points.geometry.x, 600_005 + 10 * points.col)
    np.testing.assert_allclose(points.geometry.y, 5_399_995 - 10 * points.row)
    assert sample.pixel_area_ha == pytest.approx(0.01)
    counted = {code: int((codes == code).sum()) for code in CODES}
    assert sample.stratum_pixels == sample.eligible_pixels == counted


def test_points_are_dealt_by_area_above_the_minimum(path, codes):
    sample = draw_sample(path, CODES, None, SampleDesign(400, 30, 0, seed=1))
    found = sample.points.map_code.value_counts()
    total = sum(sample.eligible_pixels.values())
    for code in CODES:
        assert found[code] == 30 + round((400 - 90) * sample.eligible_pixels[code] / total)
    assert abs(len(sample.points) - 400) <= len(CODES)


def test_minimum_goes_before_the_number_of_points(path):
    sample = draw_sample(path, CODES, None, SampleDesign(60, 40, 0, seed=1))
    assert sample.points.map_code.value_counts().to_dict() == {1: 40, 2: 40, 3: 40}


def test_no_more_points_than_pixels(tmp_path):
    codes = np.ones((20, 20), np.uint8)
    codes[0, :3] = 2
    path = _write(tmp_path / "map.tif", codes)
    sample = draw_sample(path, CODES, None, SampleDesign(100, 10, 0, seed=1))
    assert sample.points.map_code.value_counts()[2] == 3
    assert 3 not in sample.stratum_pixels


@pytest.mark.parametrize("apart", [0, 100, 1500])
def test_points_keep_their_distance_from_training_labels(apart, path, training):
    sample = draw_sample(path, CODES, training, SampleDesign(900, 50, apart, seed=1))
    away = min(sample.points.distance(point).min() for point in training.to_crs(32632).geometry)
    assert away > apart
    assert sum(sample.eligible_pixels.values()) < sum(sample.stratum_pixels.values())


def test_a_training_pixel_is_never_drawn(path, training, codes):
    """Even at a distance of nothing; here every pixel is drawn."""
    design = SampleDesign(10**6, 2, 0, seed=1)
    sample = draw_sample(path, CODES, training, design)
    drawn = set(zip(sample.points.row, sample.points.col))
    assert (100, 90) not in drawn
    assert (600, 250) not in drawn
    assert len(drawn) > 0.99 * (codes > 0).sum()


def test_same_seed_same_points(path, training):
    design = SampleDesign(200, 20, 50, seed=5)
    one, two = (draw_sample(path, CODES, training, design).points for _ in range(2))
    assert one.equals(two)
    other = draw_sample(path, CODES, training, SampleDesign(200, 20, 50, seed=6)).points
    assert not one.equals(other)


def test_every_pixel_of_a_class_may_be_drawn(tmp_path):
    """Over many seeds all are, about as often as each other."""
    path = _write(tmp_path / "map.tif", np.ones((6, 5), np.uint8))
    times = np.zeros((6, 5))
    for seed in range(200):
        points = draw_sample(path, (1,), None, SampleDesign(20, 6, 0, seed)).points
        times[points.row, points.col] += 1
    share = times / 200
    assert share.min() > 0.5
    assert share.max() < 0.8


def test_nowhere_is_far_enough(path, training):
    with pytest.raises(LabelError, match=r"at least 100000 m from a training label.*apart_m"):
        draw_sample(path, CODES, training, SampleDesign(100, 10, 100_000, seed=1))


def test_degrees_have_no_area(tmp_path):
    path = _write(
        tmp_path / "map.tif", np.ones((4, 4), np.uint8), "EPSG:4326", from_origin(11, 48, 0.1, 0.1)
    )
    with pytest.raises(DataError, match="grid in degrees"):
        draw_sample(path, CODES, None, SampleDesign(20, 2, 0, seed=1))


def test_a_filled_in_sample_is_found_again_by_its_places(path, tmp_path):
    points = draw_sample(path, CODES, None, SampleDesign(60, 10, 0, seed=1)).points
    mixed = points.sample(frac=1, random_state=0).to_crs(4326)
    write_points(tmp_path / "filled.gpkg", mixed)
    filled = gpd.read_file(tmp_path / "filled.gpkg")
    rows = rows_at(tmp_path / "filled.gpkg", filled, points)
    for column in ("row", "col", "map_code"):
        np.testing.assert_array_equal(filled[column].to_numpy()[rows], points[column])
    with pytest.raises(LabelError, match=rf"lacks 2 of {len(points)} sample points; it was made"):
        rows_at(tmp_path / "filled.gpkg", filled.drop(index=rows[[3, 5]]), points)


def test_the_same_points_are_the_same_file(path, tmp_path):
    points = draw_sample(path, CODES, None, SampleDesign(20, 2, 0, seed=1)).points
    for name in ("a.gpkg", "b.gpkg"):
        write_points(tmp_path / name, points)
    assert (tmp_path / "a.gpkg").read_bytes() == (tmp_path / "b.gpkg").read_bytes()
