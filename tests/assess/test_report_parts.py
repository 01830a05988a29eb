"""The parts of reports: words, counts of observations, pictures, and the report on folds."""

import json
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pytest
from odc.geo.geobox import GeoBox

from earthloom.assess.folds import FoldScores
from earthloom.assess.folds_report import FoldsReportInputs, PlaceInputs, write_folds_report
from earthloom.assess.map_figures import map_picture
from earthloom.assess.observations import layer_counts, scenes_by_month
from earthloom.assess.pictures import Raster, coloured, read_codes, read_confidence, true_colour_of
from earthloom.assess.words import (
    hectares,
    out_of_100,
    percent,
    range_percent,
    rounded_hectares,
    without_folders,
)
from earthloom.cube import Cube, LayerPlan, Step, open_cube
from earthloom.cube.build import COVERAGE
from earthloom.cube.store import CubeWriter, write_tile
from earthloom.grid import Area
from earthloom.maps import MAP, PROBABILITY
from earthloom.maps.cog import StripWriter
from earthloom.project import FoldsAssessment, LandClass, load_project
from earthloom.sample import LayerSpec, Shape2d, Window
from earthloom.sensors import load_sensor
from earthloom.tasks import PixelClasses

BOX = GeoBox.from_bbox((500_000, 5_000_000, 500_600, 5_000_400), crs="EPSG:32632", resolution=10)
TASK = PixelClasses((1, 2), ("no change", "change"), ((232, 228, 218), (200, 16, 46)))


def plain(text: str) -> str:
    return text.replace("\u202f", " ")


@pytest.mark.parametrize(
    ("share", "said"), [(0.953, "95.3 %"), (1.0, "100.0 %"), (0.99999, "99.9 %"), (None, "–")]
)
def test_percent_never_rounds_to_all(share: float | None, said: str) -> None:
    assert plain(percent(share)) == said


def test_areas_are_grouped_and_rounded_for_sentences() -> None:
    assert plain(hectares(12345.6)) == "12 346 ha"
    assert plain(hectares(3.14)) == "3.1 ha"
    assert plain(rounded_hectares(4213.7)) == "4 210 ha"
    assert plain(rounded_hectares(0)) == "0 ha"


def test_shares_of_a_hundred_share_their_decimals() -> None:
    assert out_of_100(0.953, 0.931, 0.969) == ("95", "93", "97")
    assert out_of_100(0.986, 0.979, 0.994) == ("98.6", "97.9", "99.4")


def test_an_interval_that_is_not_there_is_a_dash() -> None:
    assert range_percent({"value": None, "low": None, "high": None}) == "–"


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("'/home/ada/archive/B02.tif' is cut short", "'B02.tif' is cut short"),
        ("archive/S2/B02.tif lacks a CRS", "archive/S2/B02.tif lacks a CRS"),
        ("https://host/a/b.tif: 404", "https://host/a/b.tif: 404"),
        (r"C:\data\x\B02.tif: unreadable", "B02.tif: unreadable"),
    ],
)
def test_messages_lose_absolute_folders_alone(message: str, said: str) -> None:
    assert without_folders(message) == said


def make_cube(folder: Path, labels: tuple[str, ...], bands: tuple[str, ...]) -> Cube:
    """Two time steps; step n was seen n times in the left half, never in the right one."""
    sensor = load_sensor("sentinel-2-l2a")
    wavelengths = tuple(sensor.band(band).wavelength_nm for band in bands)
    spec = LayerSpec(sensor.name, 10.0, bands, "1", labels, wavelengths)
    day = date(2020, 1, 1)
    steps = tuple(Step(label, day, day, ()) for label in labels)
    plan = LayerPlan(spec, sensor, BOX, "median", steps)
    writer = CubeWriter(folder / "cube.zarr", [plan], max(BOX.shape))
    rows, cols = BOX.shape
    for step in range(len(labels)):
        count = np.zeros((rows, cols), np.uint8)
        count[:, : cols // 2] = step + 1
        image = np.where(count > 0, 0.1 * (step + 1), np.nan).astype(np.float32)
        window = Window(0, 0, Shape2d(rows, cols))
        stacked = np.stack([image] * len(bands))
        write_tile(folder / "cube.zarr", spec.key, step, window, stacked, count)
    writer.finish()
    (folder / COVERAGE).write_text(json.dumps({"failed": {}, "layers": {}}))
    return open_cube(folder / "cube.zarr", Shape2d(rows, cols))


@pytest.fixture
def cube(tmp_path: Path) -> Cube:
    return make_cube(tmp_path, ("1", "2"), ("B02", "B03", "B04"))


def test_observations_are_counted_within_the_area_alone(cube: Cube) -> None:
    (whole,) = layer_counts(cube, Area("a", BOX, None))
    assert whole.mean == (0.5, 1.0)
    assert whole.seen == (0.5, 0.5)
    assert (whole.least, whole.median, whole.most, whole.never) == (0, 0, 3, 0.5)
    left = BOX[:, : BOX.shape.x // 2].extent.to_crs(4326).geom
    (half,) = layer_counts(cube, Area("a", BOX, left))
    assert half.never < 0.02
    assert half.median == 3
    assert np.isnan(half.total[:, -5:]).all()


def test_scenes_are_counted_by_sensor_and_month() -> None:
    from earthloom.archive import Scene

    scenes = [
        Scene(f"s{time.day}", "sentinel-2-l2a", time, time.date(), None, "", None, {}, None)
        for time in (datetime(2023, 5, day, 10, tzinfo=UTC) for day in (1, 11, 21))
    ]
    (row,) = scenes_by_month(scenes, {"s11": "cut short", "other": "not here"})
    assert row.used[4] == 2
    assert row.failed[4] == 1
    assert sum(row.used) == 2


def test_true_colour_needs_three_visible_bands(tmp_path: Path, cube: Cube) -> None:
    look = true_colour_of(cube)
    assert look is not None
    assert look.bands == ("B04", "B03", "B02")
    assert true_colour_of(make_cube(tmp_path / "nir", ("1",), ("B08", "B04"))) is None


def test_a_thumbnail_is_the_mean_of_what_was_seen_in_each_block(cube: Cube) -> None:
    key = "sentinel-2-l2a_10m"
    full = cube.thumbnail(key, 1, ["B04"], most=60)
    assert full.shape == (1, *BOX.shape)
    small = cube.thumbnail(key, 1, ["B04", "B02"], most=9)
    assert small.shape == (2, 6, 9)
    assert np.allclose(small[:, :, :4], 0.2)
    # The block that is half seen has the value of its seen half, those beyond have none.
    assert np.allclose(small[:, :, 4], 0.2)
    assert np.isnan(small[:, :, 5:]).all()


def write_map(folder: Path, codes: np.ndarray) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    writer = StripWriter(folder / MAP, BOX, ["class"], 0)
    writer.write(0, codes[None])
    writer.finish("MODE")
    shares = StripWriter(folder / PROBABILITY, BOX, TASK.names, 255)
    change = np.where(codes == 2, 200, 100)
    shares.write(0, np.where(codes == 0, 255, np.stack([250 - change, change])).astype(np.uint8))
    shares.finish("AVERAGE")


def test_maps_are_read_no_larger_than_they_are_shown(tmp_path: Path) -> None:
    codes = np.ones(BOX.shape, np.uint8)
    codes[:, 30:] = 2
    codes[:10] = 0
    write_map(tmp_path, codes)
    small = read_codes(tmp_path / MAP, 20)
    assert small.values.shape == (13, 20)
    assert small.box.extent.geom.equals_exact(BOX.extent.geom, 1e-3)
    assert set(np.unique(small.values)) == {0, 1, 2}
    sure = read_confidence(tmp_path / PROBABILITY, 100).values
    assert np.isnan(sure[:10].astype(float)).all()
    assert np.allclose(sure[20:, :20].astype(float), 0.6)
    assert np.allclose(sure[20:, 40:].astype(float), 0.8)


def test_blank_pixels_are_transparent() -> None:
    classes = (LandClass(code=7, name="water", colour="#0000ff"),)
    image = coloured(np.array([[0, 7]], np.uint8), classes)
    assert image.tolist() == [[[0, 0, 0, 0], [0, 0, 255, 255]]]


@pytest.mark.parametrize("crs", ["EPSG:32632", "EPSG:4326", "EPSG:3035"])
def test_a_map_picture_has_degrees_and_a_scale_in_any_crs(crs: str) -> None:
    from urllib.parse import unquote

    box = BOX.to_crs(crs) if crs != "EPSG:32632" else BOX
    image = np.full((*box.shape, 4), 200, np.uint8)
    svg = unquote(map_picture(Raster(image, box), 5.0, "a map").address)
    assert "° E" in svg
    assert "° N" in svg
    assert ">200 m<" in svg


PROJECT = """
name: cities
archive: {kind: folder, path: ., sensor: sentinel-2-l2a, pattern: '(?P<band>B..)_(?P<date>.{8})'}
sensors: [{name: sentinel-2-l2a, bands: [B02, B03, B04], every: date}]
classes:
  - {code: 1, name: no change, colour: "#e8e4da"}
  - {code: 2, name: change, colour: "#c8102e"}
labels: {path: "{place}.tif"}
model: {name: ridge}
assess: {method: folds, by: place, focus: change, baselines: [change-vectors]}
"""


class Known:
    """Labels that are an array."""

    def __init__(self, codes: np.ndarray) -> None:
        self._codes = codes

    def onto(self, box: GeoBox) -> np.ndarray:
        return self._codes


def folds_inputs(folder: Path, cube: Cube) -> FoldsReportInputs:
    (folder / "project.yaml").write_text(PROJECT, encoding="utf-8")
    project = load_project(folder / "project.yaml")
    assert isinstance(project.assess, FoldsAssessment)
    codes = np.ones(BOX.shape, np.uint8)
    codes[:, 40:] = 2
    write_map(folder / "map", codes)
    ours = {"paris": np.array([[900, 20], [40, 60]]), "pisa": np.array([[800, 90], [10, 30]])}
    theirs = {"paris": np.array([[800, 30], [140, 50]]), "pisa": np.array([[700, 20], [110, 100]])}
    figures = {
        "classes": list(TASK.names),
        "model": FoldScores(ours).summary(TASK, "change"),
        "change-vectors": FoldScores(theirs).summary(TASK, "change"),
        "leaks": {"paris": [], "pisa": ["test chips lie 20 m from training chips"]},
    }
    places = [
        PlaceInputs(Area("paris", BOX, None), cube, folder / "map", Known(codes), []),
        PlaceInputs(Area("rome", BOX, None), cube, folder / "map", None, []),
    ]
    return FoldsReportInputs(project, project.assess, figures, places, {})


def test_the_folds_report_shows_scores_and_places(tmp_path: Path, cube: Cube) -> None:
    inputs = folds_inputs(tmp_path, cube)
    write_folds_report(tmp_path / "a.html", inputs)
    write_folds_report(tmp_path / "b.html", inputs)
    html = (tmp_path / "a.html").read_text(encoding="utf-8")
    assert html == (tmp_path / "b.html").read_text(encoding="utf-8")
    text = plain(html)
    assert "this model marks as “change” about 64 are so" in text
    assert "against 0.50 for change-vector analysis" in text
    assert "ahead of change-vector analysis in 1 of 2" in text
    assert "Mapped by a model that has not seen this place: 94.1 % right" in text
    assert "There is no reference here" in text
    assert "test chips lie 20 m from training chips." in text
    assert html.count("data:image/jpeg") == 4
    assert html.count("data:image/png") == 4
    assert "<script" not in html


def test_the_folds_report_can_do_without_places_and_focus(tmp_path: Path, cube: Cube) -> None:
    inputs = folds_inputs(tmp_path, cube)
    assess = inputs.assess.model_copy(update={"focus": None, "baselines": ()})
    bare = FoldsReportInputs(inputs.project, assess, inputs.figures, [], {})
    write_folds_report(tmp_path / "a.html", bare)
    text = plain((tmp_path / "a.html").read_text(encoding="utf-8"))
    assert "Of every 100 labelled pixels in places that it had not seen" in text
    assert "The places</h2>" not in text
