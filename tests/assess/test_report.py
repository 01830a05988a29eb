"""The report on a map: what it says, and that it is complete in itself and deterministic."""

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from earthloom.archive import Scene
from earthloom.assess.area import Truth, accuracy_json
from earthloom.assess.estimate import estimate
from earthloom.assess.report import ReportInputs, write_report
from earthloom.cube import Cube, LayerPlan, Step, open_cube
from earthloom.cube.build import COVERAGE
from earthloom.cube.store import CubeWriter, write_tile
from earthloom.grid import Area, coarser
from earthloom.maps import CLASS_NODATA, MAP, PROBABILITY, PROBABILITY_NODATA
from earthloom.maps.cog import StripWriter
from earthloom.project import Project, load_project
from earthloom.sample import LayerSpec, Shape2d, Window
from earthloom.sensors import load_sensor
from earthloom.tasks import PixelClasses
from earthloom.tasks.class_scores import Confusion

CLASSES = {
    "water": "#2f74b5",
    "built-up & roads": "#c8313f",
    "broadleaf forest": "#4f9d3f",
    "needleleaf forest": "#1d5b36",
    "grassland <meadows>": "#a6d86a",
    "winter cereal": "#e8c96b",
}
TASK = PixelClasses(
    codes=tuple(range(1, len(CLASSES) + 1)),
    names=tuple(CLASSES),
    colours=tuple((int(c[1:3], 16), int(c[3:5], 16), int(c[5:], 16)) for c in CLASSES.values()),
)
PROJECT = """
name: valley
archive: {{kind: {archive}, path: archive}}
area: [10.0, 47.0, 10.1, 47.1]
dates: {{start: 2023-01-01, end: 2023-12-31}}
sensors:
  - {{name: sentinel-2-l2a, bands: [B02, B03, B04, B8A], max_cloud: 80}}
  - {{name: sentinel-1-rtc}}
classes:
{classes}
labels: {{path: labels.gpkg}}
model: {{name: ridge}}
assess: {{method: sample, reference: reference.tif}}
"""
MONTHS = tuple(f"2023-{month:02d}" for month in range(1, 13))


def make_project(folder: Path, archive: str) -> Project:
    """A project file with six classes, two of which need escaping in HTML."""
    listed = "\n".join(
        f'  - {{code: {code}, name: "{name}", colour: "{colour}"}}'
        for code, (name, colour) in enumerate(CLASSES.items(), start=1)
    )
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "project.yaml"
    file.write_text(PROJECT.format(archive=archive, classes=listed), encoding="utf-8")
    return load_project(file)


def make_area(size: int) -> Area:
    """A square of 10 m pixels, with a triangular piece outside the area."""
    box = GeoBox.from_bbox((570_000, 5_205_000, 570_000 + 10 * size, 5_205_000 + 10 * size),
                           crs="EPSG:32632", resolution=10)  # fmt: skip
    outline = box.extent.to_crs(4326).geom.convex_hull.buffer(-0.002)
    return Area("valley", box, outline)


def smooth(rng: np.random.Generator, size: int) -> NDArray[np.float64]:
    """(size, size) a random surface of a few long waves."""
    y, x = np.mgrid[:size, :size] / size
    field = np.zeros((size, size))
    for _ in range(12):
        fx, fy = rng.normal(0, 4, 2)
        field += np.sin(2 * np.pi * (fx * x + fy * y) + rng.uniform(0, 6.3))
    return field


def make_map(folder: Path, area: Area, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Writes both COGs; returns the classes (H, W)."""
    folder.mkdir(parents=True, exist_ok=True)
    size = area.box.shape.y
    logits = np.stack([2.5 * smooth(rng, size) for _ in CLASSES])
    shares = np.exp(logits - logits.max(axis=0))
    shares /= shares.sum(axis=0)
    codes = (shares.argmax(axis=0) + 1).astype(np.uint8)
    stored = np.rint(shares * 250).astype(np.uint8)
    hole = slice(size // 3, size // 3 + size // 12)
    codes[hole, hole] = CLASS_NODATA
    stored[:, hole, hole] = PROBABILITY_NODATA
    for name, bands, nodata, strip, overviews in (
        (MAP, ["class"], CLASS_NODATA, codes[None], "MODE"),
        (PROBABILITY, list(CLASSES), PROBABILITY_NODATA, stored, "AVERAGE"),
    ):
        writer = StripWriter(folder / name, area.box, bands, nodata)
        writer.write(0, strip)
        writer.finish(overviews)
    return codes


def make_cube(folder: Path, area: Area, rng: np.random.Generator) -> Cube:
    """A year of two optical layers and one of radar, with clouds."""
    size = area.box.shape.y
    plans = [
        _plan("sentinel-2-l2a", ("B02", "B03", "B04"), (490.0, 560.0, 665.0), "1", 1, area),
        _plan("sentinel-2-l2a", ("B8A",), (865.0,), "1", 2, area),
        _plan("sentinel-1-rtc", ("vv", "vh"), (None, None), "linear power", 1, area),
    ]
    writer = CubeWriter(folder / "cube.zarr", plans, size)
    ground = np.clip(0.08 + 0.02 * smooth(rng, size), 0, 1)
    for plan in plans:
        factor = plan.spec.factor
        for step in range(12):
            clear = rng.poisson(2 + 2 * np.sin(step / 4), (size // 10, size // 10))
            if plan.spec.sensor == "sentinel-1-rtc":
                clear[:] = 2
            count = np.kron(clear, np.ones((10 // factor, 10 // factor))).astype(np.uint8)
            image = np.stack([ground[::factor, ::factor]] * len(plan.spec.bands))
            image = np.where(count > 0, image, np.nan).astype(np.float32)
            window = Window(0, 0, Shape2d(*count.shape))
            write_tile(folder / "cube.zarr", plan.spec.key, step, window, image, count)
    writer.finish()
    (folder / COVERAGE).write_text(json.dumps({"failed": {}, "layers": {}}))
    return open_cube(folder / "cube.zarr", Shape2d(size, size))


def _plan(
    sensor: str,
    bands: tuple[str, ...],
    wavelengths: tuple[float | None, ...],
    unit: str,
    factor: int,
    area: Area,
) -> LayerPlan:
    spec = LayerSpec(sensor, 10.0 * factor, bands, unit, MONTHS, wavelengths, factor)
    steps = tuple(
        Step(month, date(2023, int(month[5:]), 1), date(2023, int(month[5:]), 28), ())
        for month in MONTHS
    )
    return LayerPlan(spec, load_sensor(sensor), coarser(area.box, factor), "median", steps)


def make_scenes() -> list[Scene]:
    """Sentinel-2 every ten days, Sentinel-1 every month."""
    days = [date(2023, month, day) for month in range(1, 13) for day in (3, 13, 23)]
    optical = [_scene("sentinel-2-l2a", day) for day in days]
    return optical + [_scene("sentinel-1-rtc", day) for day in days[::3]]


def _scene(sensor: str, day: date) -> Scene:
    noon = datetime.combine(day, time(12), UTC)
    return Scene(f"{sensor}_{day}", sensor, noon, day, None, "", None, {}, None)


def make_figures(area: Area, codes: NDArray[np.uint8], truth: bool) -> dict[str, Any]:
    """Figures of a sample whose reference is mostly what the map says."""
    rng = np.random.default_rng(5)
    pixels = np.array([(codes == code).sum() for code in TASK.codes])
    counts = np.zeros((len(CLASSES),) * 2, np.int64)
    for row, drawn in enumerate(np.maximum(600 * pixels / pixels.sum(), 15).astype(int)):
        wrong = np.full(len(CLASSES), 0.02)
        wrong[row] = 1 - 0.02 * (len(CLASSES) - 1) - 0.04 * row
        wrong[(row + 1) % len(CLASSES)] += 0.04 * row
        counts[row] = rng.multinomial(drawn, wrong)
    found = estimate(counts, pixels, 0.01)
    known = None
    if truth:
        whole = np.rint(counts / counts.sum(axis=1, keepdims=True) * pixels[:, None])
        area_ha = tuple((whole.sum(axis=0) * 0.01).tolist())
        known = Truth(Confusion(whole.astype(np.int64)), area_ha)
    figures = accuracy_json(found, TASK, known)
    return figures | {"points": int(counts.sum()), "eligible_share": 0.973}


def make_inputs(folder: Path, size: int = 120, truth: bool = False) -> ReportInputs:
    """All that a report needs, from nothing."""
    rng = np.random.default_rng(3)
    area = make_area(size)
    codes = make_map(folder / "map", area, rng)
    scenes = make_scenes()
    return ReportInputs(
        project=make_project(folder, "simulated"),
        figures=make_figures(area, codes, truth),
        map_folder=folder / "map",
        cube=make_cube(folder, area, rng),
        area=area,
        model_record={
            "labels": dict.fromkeys(CLASSES, 210),
            "pixels": 1260,
            "settings": {"name": "ridge"},
            "seed": 0,
            "solution": {"penalty": 0.013, "held_out_accuracy": 0.947},
        },
        scenes=scenes,
        failed={scenes[4].id: f"'{folder}/archive/S2/B02.tif' is cut short"},
    )


class Page(HTMLParser):
    """The parts of a page that a test asks about."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.images: list[Mapping[str, str | None]] = []
        self.tags: list[str] = []
        self.links: list[str] = []
        self._words: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "img":
            self.images.append(dict(attrs))
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self._words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self._words).replace("\u202f", " ").split())


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> ReportInputs:
    return make_inputs(tmp_path_factory.mktemp("place"), truth=True)


@pytest.fixture(scope="module")
def html(inputs: ReportInputs, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(path, inputs)
    return path.read_text(encoding="utf-8")


def test_the_answer_comes_first_in_plain_words(html: str, inputs: ReportInputs) -> None:
    text = Page(html).text
    overall = inputs.figures["overall_accuracy"]
    assert f"Of every 100 hectares of this map, about {100 * overall['value']:.0f} are" in text
    assert "The largest class is" in text
    assert "The map is weakest at" in text
    assert text.index("Of every 100 hectares") < text.index("The map, in the colours")


def test_it_says_what_a_reviewer_asks(html: str) -> None:
    text = Page(html).text
    for said in (
        "user’s accuracy", "producer’s accuracy", "95 % interval", "Olofsson", "Clear observations",
        "1 of them did not load", "sentinel-2-l2a_2023-02-13", "is cut short", "seed" , "UTM zone",
        "97.3 % of the mapped area could be drawn", "sentinel-1-rtc at 10 m", "held out accuracy",
    ):  # fmt: skip
        assert said.lower() in text.lower(), said


def test_it_is_complete_in_itself(html: str) -> None:
    page = Page(html)
    assert "script" not in page.tags
    assert "link" not in page.tags
    for link in page.links:
        beside_it = link == "coverage.html"
        assert beside_it or link.startswith(("data:image/", "https://doi.org/")), link[:60]
    assert "url(http" not in html
    assert "@import" not in html


def test_every_picture_has_words_and_a_size(html: str) -> None:
    images = Page(html).images
    assert len(images) >= 12
    for image in images:
        assert len(image["alt"] or "") > 15
        assert int(image["width"] or 0) > 100


def test_names_are_escaped(html: str) -> None:
    assert "grassland &lt;meadows&gt;" in html
    assert "<meadows>" not in html


def test_it_holds_no_folder_and_no_time_of_day(html: str, inputs: ReportInputs) -> None:
    assert str(inputs.map_folder.parent) not in html
    assert not re.search(r"\d\d:\d\d:\d\d", html)
    assert "matplotlib.org" not in html


def test_the_same_inputs_give_the_same_bytes_whatever_the_users_settings(
    html: str, inputs: ReportInputs, tmp_path: Path
) -> None:
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        write_report(tmp_path / "again.html", inputs)
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == html


def test_truth_is_said_to_be_the_simulations_alone(html: str) -> None:
    text = Page(html).text
    assert "Simulated data." in text
    assert "only because the world of this map is simulated" in text


def test_without_truth_there_is_no_check_and_without_points_no_praise(
    inputs: ReportInputs, tmp_path: Path
) -> None:
    figures = {key: value for key, value in inputs.figures.items() if key != "truth"}
    counts = np.asarray(figures["sample_counts"])
    counts[0] = 0
    figures |= {"sample_counts": counts.tolist(), "eligible_share": 0.2}
    project = make_project(tmp_path, archive="catalog")
    write_report(tmp_path / "r.html", replace(inputs, figures=figures, failed={}, project=project))
    text = Page((tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert "simulated" not in text.lower()
    assert "Every scene loaded." in text
    assert "Not tested: water" in text
    assert "only 20.0 % of the map" in text


def test_without_reference_it_says_that_there_is_no_accuracy(
    inputs: ReportInputs, tmp_path: Path
) -> None:
    figures = {"classes": inputs.figures["classes"], "points": 600}
    write_report(tmp_path / "r.html", replace(inputs, figures=figures))
    text = Page((tmp_path / "r.html").read_text(encoding="utf-8")).text
    assert "This map has no accuracy yet" in text
    assert "Fill in the column reference of each of the 600 points" in text
    assert "QGIS" in text
    assert "Overall accuracy" not in text
