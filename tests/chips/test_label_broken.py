"""Broken label files: each ends in one line for a person, or in skips that are counted."""

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import rasterio
import shapely
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from odc.geo.geobox import GeoBox

from earthloom.chips.labels import RasterLabels, read_label_table, read_labels
from earthloom.errors import LabelError
from earthloom.project import Labels as LabelSettings
from earthloom.project import LandClass

CLASSES = (
    LandClass(code=3, name="water", colour="#0000ff"),
    LandClass(code=7, name="forest", colour="#00ff00"),
)
BOX = GeoBox.from_bbox((600_000, 5_400_000, 600_100, 5_400_080), crs="EPSG:32632", resolution=10)
LEFT, TOP = 600_000, 5_400_080
HERE = shapely.box(LEFT, TOP - 40, LEFT + 40, TOP)
FAR = shapely.box(LEFT + 5000, TOP, LEFT + 5040, TOP + 40)
BOW = shapely.Polygon([(LEFT, TOP), (LEFT + 40, TOP - 40), (LEFT + 40, TOP), (LEFT, TOP - 40)])
SPIKE = shapely.Polygon([(LEFT, TOP), (LEFT + 40, TOP), (LEFT, TOP)])
POINT = shapely.Point(LEFT + 75, TOP - 75)


def _read(path, **given_):
    return read_labels(path, LabelSettings(path=str(path), **given_), CLASSES, BOX)


def _file(folder, classes, shapes, name="a.gpkg", crs=32632, **columns):
    path = folder / name
    table = gpd.GeoDataFrame({"class": classes, **columns}, geometry=shapes, crs=crs)
    table.to_parquet(path) if path.suffix == ".parquet" else table.to_file(path)
    return path


def _line(error):
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("empty.csv", b"", "empty.csv cannot be read"),
        ("empty.parquet", b"", "empty.parquet cannot be read"),
        ("empty.gpkg", b"", "empty.gpkg cannot be read"),
        ("empty.geojson", b"", "empty.geojson cannot be read"),
        ("empty.tif", b"", "empty.tif cannot be read"),
        ("noise.parquet", b"PAR1 and then noise PAR1", "noise.parquet cannot be read"),
        ("noise.gpkg", bytes(range(256)) * 20, "noise.gpkg cannot be read"),
        ("head.csv", b"lon,lat,class\n", "hold no features"),
        ("none.geojson", b'{"type": "FeatureCollection", "features": []}', "hold no features"),
        ("half.geojson", b'{"type": "FeatureCollection", "features": [', "cannot be read"),
        ("short.csv", b"lon,lat,class\n9,48\n", "short.csv cannot be read: CSV parse error"),
        ("words.csv", b"lon,lat,class\neast,48,water\n", "invalid value 'east'"),
        ("blank.csv", b"lon,lat,class\n,48,water\n", "feature 1 .* has no geometry, or NaN"),
        ("nan.csv", b"lon,lat,class\n9,48,water\nnan,48,water\n", "feature 2 .* NaN in it"),
        ("metres.csv", b"lon,lat,class\n600000,5400000,water\n", "600000, 5.4e[+]06, .*no degrees"),
        ("xy.csv", b"x,y,class\n1,2,water\n", "no CRS; their columns 'x' and 'y' need one"),
        ("where.csv", b"a,b,class\n1,2,water\n", "no columns lon and lat or .*: a, b, class"),
        ("col.csv", b"lon,lat,kind\n9,48,water\n", "no column 'class'; they have: lon, lat, kind"),
        ("class.csv", b"lon,lat,class\n9,48,\n", "feature 1 .* no class [(]NaN[)]"),
        ("latin.csv", "lon,lat,class\n9,48,w\xe4sser\n".encode("latin-1"), "cannot be read"),
    ],
)
def test_files_that_are_refused(name, content, words, tmp_path):
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(LabelError, match=words) as error:
        _read(path)
    assert str(path) in _line(error)


@pytest.mark.parametrize("name", ["a.gpkg", "a.parquet", "a.geojson"])
def test_an_unknown_class_is_named_with_a_near_one(name, tmp_path):
    path = _file(tmp_path, ["water", "forrest"], [HERE, HERE], name)
    words = "unknown class 'forrest' in feature 2 .*: 3 water, 7 forest; did you mean 'forest'"
    with pytest.raises(LabelError, match=words):
        _read(path, broken="skip")


def test_no_crs(tmp_path):
    table = gpd.GeoDataFrame({"class": ["water"]}, geometry=[HERE])
    with pytest.warns(UserWarning, match="crs"):
        table.to_file(tmp_path / "a.shp")
    table.to_parquet(tmp_path / "a.parquet")
    for name in ("a.shp", "a.parquet"):
        with pytest.raises(LabelError, match=f"{name} have no CRS; save them with one"):
            _read(tmp_path / name)
        assert (_read(tmp_path / name, crs="EPSG:32632").onto(BOX)[:4, :4] == 3).all()
        with pytest.raises(LabelError, match=r"the CRS 'EPSG:1' of the labels .* is not known"):
            _read(tmp_path / name, crs="EPSG:1")


def test_polygons_that_cross_themselves_are_repaired_and_counted(tmp_path):
    labels = _read(_file(tmp_path, ["water", "forest"], [BOW, POINT]))
    assert (labels.report.repaired, labels.report.kept) == (1, 2)
    found = labels.onto(BOX)
    # Both triangles of the bow, and not what lies above and below its knot.
    assert found[1:3, 0].tolist() == found[1:3, 3].tolist() == [3, 3]
    assert found[0, 1:3].tolist() == found[3, 1:3].tolist() == [0, 0]


def test_a_polygon_without_area_is_refused_or_skipped(tmp_path):
    path = _file(tmp_path, ["water", "forest"], [HERE, SPIKE])
    with pytest.raises(LabelError, match=r"feature 2 .* without any area"):
        _read(path)
    assert _read(path, broken="skip").report.skipped == {"geometry": 1}


def test_what_lies_outside_is_counted(tmp_path):
    labels = _read(_file(tmp_path, ["water", "forest", "forest"], [HERE, FAR, FAR.centroid]))
    assert labels.report.skipped == {"outside": 2}
    assert labels.report.sentence() == "3 labels read, 1 kept; 2 outside the area"
    assert set(np.unique(labels.onto(BOX))) == {0, 3}


def test_mixed_kinds_of_geometry(tmp_path):
    line = shapely.LineString([(LEFT + 2, TOP - 65), (LEFT + 97, TOP - 65)])
    many = shapely.MultiPoint([(LEFT + 55, TOP - 5), (LEFT + 65, TOP - 5)])
    both = shapely.GeometryCollection([POINT, shapely.box(LEFT + 80, TOP - 20, LEFT + 100, TOP)])
    solid = shapely.force_3d(HERE, 250.0)
    shapes = [solid, line, many, both]
    path = _file(tmp_path, ["water", "forest", "forest", "water"], shapes, "a.geojson")
    found = _read(path).onto(BOX)
    assert (found[:4, :4] == 3).all()
    assert (found[6] == 7).all()
    assert found[0, 5:7].tolist() == [7, 7]
    assert (found[:2, 8:] == 3).all()
    assert found[7, 7] == 3
    assert (found > 0).sum() == 16 + 10 + 2 + 4 + 1


def test_lines_with_and_without_a_buffer(tmp_path):
    """All pixels that the line touches, or those whose centre is within the metres."""
    line = shapely.LineString([(LEFT + 5, TOP - 31), (LEFT + 95, TOP - 31)])
    path = _file(tmp_path, ["forest"], [line])
    thin = _read(path).onto(BOX)
    assert [(row > 0).sum() for row in thin] == [0, 0, 0, 10, 0, 0, 0, 0]
    wide = _read(path, buffer_m=12.0).onto(BOX)
    assert [(row > 0).sum() for row in wide] == [0, 0, 10, 10, 0, 0, 0, 0]


def test_three_that_disagree(tmp_path):
    """The first and the last say the same, the one between does not: that is a dispute."""
    labels = _read(_file(tmp_path, ["water", "forest", "water"], [HERE, HERE, HERE]))
    burned = labels.burn(BOX)
    assert burned.code.max() == 0
    assert burned.disputed.sum() == 16


def test_empty_and_missing_geometries(tmp_path):
    shapes = [HERE, None, shapely.Polygon()]
    path = _file(tmp_path, ["water", "water", "forest"], shapes, "a.geojson")
    with pytest.raises(LabelError, match=r"feature 2 .* has no geometry, or NaN in it; 2 of 3"):
        _read(path)
    labels = _read(path, broken="skip")
    assert labels.report.skipped == {"geometry": 2}
    assert (labels.onto(BOX) == 3).sum() == 16


def test_weights_and_confidence(tmp_path):
    shapes = [shapely.Point(LEFT + 10 * col + 5, TOP - 5) for col in range(4)]
    path = _file(tmp_path, ["water"] * 4, shapes, w=[2.0, 1.0, 1.0, -1.0], c=[0.5, 0.2, 0.9, 0.9])
    columns = {"weight_column": "w", "confidence_column": "c"}
    with pytest.raises(LabelError, match=r"feature 4 .* has -1.0 in column 'w', not a number from"):
        _read(path, **columns)
    labels = _read(path, broken="skip", least_confidence=0.3, **columns)
    assert labels.report.skipped == {"confidence": 1, "weight": 1}
    np.testing.assert_allclose(labels.burn(BOX).weight[0, :4], [1.0, 0, 0.9, 0])


def test_ignore_and_background(tmp_path):
    """Ignored pixels are never of the background, nor of another label; disputes neither."""
    inner = shapely.box(LEFT + 10, TOP - 30, LEFT + 30, TOP - 10)
    over = shapely.box(LEFT + 30, TOP - 40, LEFT + 50, TOP)
    path = _file(tmp_path, ["water", "cloud", "forest"], [HERE, inner, over])
    labels = _read(path, ignore=["cloud"], background="forest")
    burned = labels.burn(BOX)
    assert (burned.code[1:3, 1:3] == 255).all()
    assert burned.disputed.sum() == 4
    assert (burned.code[:4, 3] == 0).all()
    assert (burned.code[4:] == 7).all()
    np.testing.assert_array_equal(labels.onto(BOX) == 0, (burned.code == 255) | burned.disputed)
    with pytest.raises(LabelError, match="background: the project has no class 'woods'"):
        _read(path, background="woods")


def _raster(path, codes, **given_):
    profile = {"height": codes.shape[0], "width": codes.shape[1], "count": 1}
    georeference = {"crs": "EPSG:32632", "transform": BOX.affine} | given_
    with rasterio.open(path, "w", "GTiff", dtype=codes.dtype, **profile, **georeference) as out:
        out.write(codes, 1)
    return path


def test_rasters_of_a_scheme(tmp_path):
    """CORINE's codes are greater than a byte, and a mapping takes what is finer as well."""
    codes = np.zeros(BOX.shape, np.int16)
    codes[0, :6] = [311, 312, 512, 523, 112, -9]
    path = _raster(tmp_path / "a.tif", codes, nodata=-9)
    labels = _read(path, scheme="corine", mapping={"forest": (31,), "water": ("Water bodies", 52)})
    assert isinstance(labels, RasterLabels)
    assert labels.onto(BOX)[0, :7].tolist() == [7, 7, 3, 3, 0, 0, 0]
    codes[0, 0] = 999
    with pytest.raises(LabelError, match="hold the value 999, which is no class"):
        _read(_raster(path, codes, nodata=-9), scheme="corine", mapping={"forest": (31,)}).onto(BOX)
    with pytest.raises(LabelError, match="no class of the scheme corine; did you mean 'Forests'"):
        _read(path, scheme="corine", mapping={"forest": ("Forrests",)})
    with pytest.raises(LabelError, match=r"the project has no class 'forst'.*'forest'"):
        _read(path, scheme="corine", mapping={"forst": (31,)})
    with pytest.raises(LabelError, match="none of the project's classes is called as one"):
        _read(path, scheme="corine")
    with pytest.raises(
        LabelError, match=r"'31' for more than one class|'Forests' for more than one"
    ):
        _read(path, scheme="corine", mapping={"forest": (31,), "water": ("Forests",)})


def test_a_published_mapping(tmp_path):
    classes = (
        LandClass(code=1, name="Coniferous forest", colour="#00ff00"),
        LandClass(code=2, name="Marine waters", colour="#0000ff"),
    )
    path = _file(tmp_path, [312, 521, 211], [HERE, POINT, FAR])
    labels = read_labels(
        path, LabelSettings(scheme="corine", mapping="bigearthnet-19"), classes, BOX
    )
    assert labels.report.skipped == {"unmapped": 1}
    assert set(np.unique(labels.onto(BOX))) == {0, 1, 2}


def test_zero_can_be_a_class(tmp_path):
    """As Dynamic World's water is; beyond the raster there is no label all the same."""
    codes = np.zeros((4, 10), np.uint8)
    codes[0, :2] = [1, 255]
    path = _raster(tmp_path / "a.tif", codes)
    labels = _read(path, scheme="dynamic-world", mapping={"water": (0,), "forest": ("Trees",)})
    assert labels.burn(BOX).code[0, :3].tolist() == [7, 255, 3]
    assert labels.onto(BOX)[0, :3].tolist() == [7, 0, 3]
    assert (labels.onto(BOX)[4:] == 0).all()


def test_a_raster_of_floats_with_nan(tmp_path):
    codes = np.full(BOX.shape, np.nan, np.float32)
    codes[0, :2] = [3, 7]
    labels = _read(_raster(tmp_path / "a.tif", codes))
    assert labels.onto(BOX)[0, :3].tolist() == [3, 7, 0]
    codes[0, 2] = 3.5
    with pytest.raises(LabelError, match=r"hold the value 3.5, which is no class"):
        _read(_raster(tmp_path / "b.tif", codes)).onto(BOX)


def test_values_that_are_lists(tmp_path):
    path = tmp_path / "a.parquet"
    pd.DataFrame({"lon": [9.0], "lat": [48.0], "class": [["water", "forest"]]}).to_parquet(path)
    with pytest.raises(LabelError, match=r"column 'class' .* holds no plain values"):
        _read(path)


def test_the_reference_of_a_report_is_read_as_ever(tmp_path):
    path = _file(tmp_path, [3, 7], [POINT, POINT])
    table = read_label_table(path, "class", CLASSES)
    assert table.code.tolist() == [3, 7]
    assert table.geometry.x.tolist() == [POINT.x, POINT.x]


NAMES = ("plain.csv", "plain.parquet", "geo.parquet", "a.gpkg", "a.geojson", "a.tif")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of a sound file of each kind."""
    folder = tmp_path_factory.mktemp("whole")
    rows = pd.DataFrame({"x": [LEFT + 5.0] * 20, "y": [TOP - 5.0] * 20, "class": ["water"] * 20})
    rows.to_csv(folder / "plain.csv", index=False)
    rows.to_parquet(folder / "plain.parquet")
    points = gpd.GeoDataFrame(rows, geometry=gpd.points_from_xy(rows.x, rows.y, crs=32632))
    points.to_parquet(folder / "geo.parquet")
    for name in ("a.gpkg", "a.geojson"):
        _file(folder, ["water", "forest"], [HERE, POINT], name)
    _raster(folder / "a.tif", np.full(BOX.shape, 3, np.uint8))
    return {name: (folder / name).read_bytes() for name in NAMES}


SHAPES = (HERE, FAR, BOW, SPIKE, POINT, None, shapely.Polygon(), shapely.force_3d(POINT, 1.0),
          shapely.LineString([(LEFT, TOP), (LEFT + 90, TOP - 70)]), BOW.union(POINT.buffer(9)),
          shapely.MultiPolygon([HERE, HERE]), shapely.Point(np.inf, 0))  # fmt: skip
VALUES = ("water", "forest", "3", "7.0", "255", None, "lava", "")


@given(
    st.lists(st.tuples(st.sampled_from(SHAPES), st.sampled_from(VALUES)), min_size=1, max_size=8),
    st.sampled_from(["error", "skip"]),
    st.sampled_from(["a.geojson", "a.parquet", "a.gpkg"]),
    st.sampled_from([0.0, 15.0]),
)
@pytest.mark.filterwarnings("ignore:Infinite or NaN")
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_file_ends_in_a_line_or_a_count(tmp_path_factory, features, broken, name, buffer_m):
    shapes, values = zip(*features)
    path = tmp_path_factory.mktemp("fuzz") / name
    table = gpd.GeoDataFrame({"class": list(values)}, geometry=list(shapes), crs=32632)
    table.to_parquet(path) if name.endswith("parquet") else table.to_file(path)
    try:
        labels = _read(path, broken=broken, buffer_m=buffer_m)
    except LabelError as error:
        said = str(error)
    else:
        said = ""
    if said:
        assert "\n" not in said
        assert str(path) in said
        assert broken == "error" or {"lava", ""} & set(values)
        return
    report = labels.report
    assert report.read == len(features)
    assert report.kept == report.read - sum(report.skipped.values()) >= 0
    found = labels.onto(BOX)
    assert set(np.unique(found)) <= {0, 3, 7}
    assert len(labels.table.to_crs(4326)) >= report.kept


@given(st.sampled_from(NAMES), st.floats(0, 1), st.binary(max_size=40), st.booleans())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@pytest.mark.filterwarnings("ignore")
def test_files_that_were_cut_or_overwritten(tmp_path_factory, whole, name, at, noise, cut):
    """Whatever bytes stand in a file: labels, or one line."""
    content = whole[name]
    place = int(at * len(content))
    rest = b"" if cut else content[place + len(noise) :]
    path = tmp_path_factory.mktemp("noise") / name
    path.write_bytes(content[:place] + noise + rest)
    try:
        labels = _read(path, **({"crs": "EPSG:32632"} if name.startswith("plain") else {}))
        labels.onto(BOX)
        said = ""
    except LabelError as error:
        said = str(error)
    assert "\n" not in said
    assert not said or str(path) in said


@pytest.mark.parametrize(
    ("given_", "words"),
    [
        ({"end_column": "to"}, "'end_column' needs 'date_column'"),
        ({"x": "east"}, "'x' and 'y' are given together"),
        ({"least_confidence": 0.5}, "'least_confidence' needs 'confidence_column'"),
        ({"mapping": "corine"}, "needs 'scheme'"),
    ],
)
def test_settings_that_do_not_fit(given_, words):
    with pytest.raises(ValueError, match=words):
        LabelSettings(**given_)
