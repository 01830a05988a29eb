"""Points, polygons and rasters onto a grid."""

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import shapely
from odc.geo.geobox import GeoBox

from earthloom.chips.labels import RasterLabels, read_labels
from earthloom.errors import LabelError
from earthloom.grid import coarser, window_box
from earthloom.project import Labels as LabelSettings
from earthloom.project import LandClass
from earthloom.sample import Shape2d, Window

CLASSES = (
    LandClass(code=3, name="water", colour="#0000ff"),
    LandClass(code=7, name="forest", colour="#00ff00"),
)
BOX = GeoBox.from_bbox((600_000, 5_400_000, 600_100, 5_400_080), crs="EPSG:32632", resolution=10)
LEFT, TOP = 600_000, 5_400_080


def _point(row, col):
    return shapely.Point(LEFT + 10 * col + 5, TOP - 10 * row - 5)


def _rectangle(row, col, rows, cols):
    return shapely.box(
        LEFT + 10 * col, TOP - 10 * (row + rows), LEFT + 10 * (col + cols), TOP - 10 * row
    )


def _table(classes, geometry, crs=32632):
    return gpd.GeoDataFrame({"class": classes}, geometry=geometry, crs=32632).to_crs(crs)


def _onto(path, box=BOX, **settings):
    labels = read_labels(path, LabelSettings(path=str(path), **settings), CLASSES, box)
    return (labels if isinstance(labels, RasterLabels) else labels.to(box)).onto(box)


@pytest.fixture
def file(tmp_path):
    return tmp_path / "labels.gpkg"


@pytest.mark.parametrize("crs", [32632, 4326, 3035])
def test_a_point_labels_its_pixel_in_any_crs(crs, file):
    _table(["water", "forest"], [_point(0, 0), _point(7, 9)], crs).to_file(file)
    wanted = np.zeros(BOX.shape, np.uint8)
    wanted[0, 0], wanted[7, 9] = 3, 7
    np.testing.assert_array_equal(_onto(file), wanted)


def test_a_polygon_labels_the_pixels_whose_centre_it_holds(file):
    _table(["forest"], [_rectangle(2, 3, 3, 4).buffer(4.9, join_style="mitre")]).to_file(file)
    wanted = np.zeros(BOX.shape, np.uint8)
    wanted[2:5, 3:7] = 7
    np.testing.assert_array_equal(_onto(file), wanted)


@pytest.mark.parametrize("values", [[3, 7], ["3", "7"], [3.0, 7.0], ["water", "forest"]])
def test_classes_by_name_or_code(values, file):
    _table(values, [_point(0, 0), _point(1, 1)]).to_file(file)
    found = _onto(file)
    assert (found[0, 0], found[1, 1]) == (3, 7)


def test_what_two_features_call_differently_is_not_labelled(file):
    shapes = [_rectangle(0, 0, 4, 4), _rectangle(2, 2, 4, 4), _point(0, 0), _point(1, 1)]
    _table(["water", "forest", "water", "forest"], shapes).to_file(file)
    wanted = np.zeros(BOX.shape, np.uint8)
    wanted[:4, :4] = 3
    wanted[2:6, 2:6] = 7
    wanted[2:4, 2:4] = 0
    wanted[1, 1] = 0
    np.testing.assert_array_equal(_onto(file), wanted)


def test_all_layers_of_a_file_count(file):
    _table(["water"], [_point(0, 0)]).to_file(file, layer="points")
    _table(["forest"], [_rectangle(4, 4, 2, 2)], 4326).to_file(file, layer="polygons")
    found = _onto(file)
    assert found[0, 0] == 3
    assert (found[4:6, 4:6] == 7).all()
    assert (found > 0).sum() == 5


def test_another_column(file):
    _table(["water"], [_point(0, 0)]).rename(columns={"class": "kind"}).to_file(file)
    assert _onto(file, column="kind")[0, 0] == 3
    with pytest.raises(LabelError, match="no column 'class'; they have: kind"):
        _onto(file)


def test_windows_agree_with_the_whole(file):
    shapes = [_rectangle(1, 1, 5, 3), _point(7, 9), _rectangle(3, 2, 2, 6)]
    _table(["water", "forest", "water"], shapes).to_file(file)
    whole = _onto(file)
    window = Window(2, 1, Shape2d(4, 7))
    np.testing.assert_array_equal(_onto(file, window_box(BOX, window)), whole[2:6, 1:8])


def _raster(path, codes, crs="EPSG:32632", transform=BOX.affine):
    rows, cols = codes.shape
    profile = {"width": cols, "height": rows, "count": 1, "dtype": codes.dtype}
    with rasterio.open(path, "w", driver="GTiff", crs=crs, transform=transform, **profile) as out:
        out.write(codes, 1)
    return path


@pytest.fixture
def codes():
    return np.random.default_rng(0).choice([0, 3, 7], BOX.shape).astype(np.uint8)


def test_a_raster_on_the_grid_is_itself(codes, tmp_path):
    np.testing.assert_array_equal(_onto(_raster(tmp_path / "a.tif", codes)), codes)


def test_a_coarser_raster_is_its_nearest_pixel(codes, tmp_path):
    coarse = coarser(BOX, 2)
    path = _raster(tmp_path / "a.tif", codes[:4, :5], transform=coarse.affine)
    np.testing.assert_array_equal(_onto(path), codes[:4, :5].repeat(2, 0).repeat(2, 1))


def test_beyond_a_raster_nothing_is_labelled(codes, tmp_path):
    path = _raster(tmp_path / "a.tif", codes)
    beyond = window_box(BOX, Window(-4, -4, Shape2d(8, 8)))
    found = _onto(path, beyond)
    assert (found[:4] == 0).all()
    assert (found[:, :4] == 0).all()
    np.testing.assert_array_equal(found[4:, 4:], codes[:4, :4])


def test_a_value_that_is_no_class_is_named(codes, tmp_path):
    codes[2, 2] = 9
    with pytest.raises(LabelError, match=r"value 9, which is no class.*classes are: 3, 7"):
        _onto(_raster(tmp_path / "a.tif", codes))


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
def test_a_raster_without_crs_must_be_said_to_lie_on_the_grid(codes, tmp_path):
    path = _raster(tmp_path / "a.tif", codes, None, rasterio.Affine.identity())
    with pytest.raises(LabelError, match=r"have no CRS.*on_grid: true"):
        _onto(path)
    np.testing.assert_array_equal(_onto(path, on_grid=True), codes)
    small = _raster(tmp_path / "b.tif", codes[:4], None, rasterio.Affine.identity())
    with pytest.raises(LabelError, match="have 4 x 10 pixels, but the base grid has 8 x 10"):
        _onto(small, on_grid=True)


def test_files_that_are_no_labels(tmp_path):
    for name in ("none.gpkg", "none.tif"):
        with pytest.raises(LabelError, match=f"{name} does not exist"):
            _onto(tmp_path / name)
    for name in ("text.gpkg", "text.tif", "text.geojson"):
        (tmp_path / name).write_text("text")
        with pytest.raises(LabelError, match=f"{name} cannot be read"):
            _onto(tmp_path / name)
