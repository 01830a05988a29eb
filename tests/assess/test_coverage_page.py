"""The page on coverage: what it says, what it shows, and that it stands alone."""

import json
import re
from datetime import date, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import unquote

import numpy as np
import pytest
from odc.geo.geobox import GeoBox

from earthloom.assess.coverage_page import (
    coverage_answer,
    coverage_context,
    verdict_sentence,
    write_coverage_page,
)
from earthloom.assess.page import _environment
from earthloom.cube import LayerPlan, Step, open_cube
from earthloom.cube.coverage import coverage_of
from earthloom.cube.store import CubeWriter, write_tile
from earthloom.sample import LayerSpec, Shape2d, Window
from earthloom.sensors import load_sensor

ROWS, COLS = 30, 50
BOX = GeoBox.from_bbox((500_000, 5_000_000, 500_500, 5_000_300), crs="EPSG:32632", resolution=10)
SENSOR = load_sensor("sentinel-2-l2a")


def plain(text: str) -> str:
    return text.replace("\u202f", " ")


@pytest.fixture
def covered(tmp_path):
    """Coverage of counts (T, H, W) in steps, with scenes that failed."""

    def covered(counts, steps, failed=None, superseded=None):
        spec = LayerSpec(SENSOR.name, 10, ("B04",), "1", tuple(s.label for s in steps), (664.6,))
        plan = LayerPlan(spec, SENSOR, BOX, "median", tuple(steps))
        path = tmp_path / "cube.zarr"
        writer = CubeWriter(path, [plan], 128)
        for step, image in enumerate(counts):
            pixels = np.where(image > 0, 0.1, np.nan).astype(np.float32)[None]
            write_tile(path, spec.key, step, Window(0, 0, Shape2d(ROWS, COLS)), pixels, image)
        writer.finish()
        scenes = {step.label: [f"scene-{step.label}"] for step in steps}
        record = {"failed": failed or {}, "superseded": superseded or {}, "layers": {}}
        record["layers"][spec.key] = scenes
        (tmp_path / "coverage.json").write_text(json.dumps(record))
        return coverage_of(open_cube(path, Shape2d(ROWS, COLS)), tmp_path)

    return covered


def monthly(count, year=2022):
    """Steps of calendar months."""
    firsts = [date(year + k // 12, k % 12 + 1, 1) for k in range(count + 1)]
    return [
        Step(f"{first:%Y-%m}", first, after - timedelta(days=1), ())
        for first, after in pairwise(firsts)
    ]


def half_blind(count):
    """The west is never seen, the east every third time."""
    counts = np.zeros((count, ROWS, COLS), np.uint8)
    counts[::3, :, COLS // 2 :] = 2
    return counts


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.images, self.text, self.loads = [], [], []

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        if tag == "img":
            self.images.append(given)
        self.loads += [given[name] for name in ("src", "href") if name in given]
        assert tag != "script"

    def handle_data(self, data):
        self.text.append(data)


def _read(file):
    page = _Page()
    page.feed(file.read_text(encoding="utf-8"))
    return page, plain(" ".join(" ".join(page.text).split()))


def test_a_half_blind_year(covered, tmp_path):
    failed = {"scene-2022-03": "/data/archive/B04.tif cannot be read: <broken>"}
    coverages = covered(half_blind(12), monthly(12), failed, {"old": "replaced by new"})
    file = tmp_path / "coverage.html"
    write_coverage_page(coverages, file, "Coverage of a place")
    page, text = _read(file)
    assert "Coverage by sentinel-2-l2a is low: 0 % of the area was seen clearly" in text
    assert "in 4 of the 12 months at least 50 % of the area was seen" in text
    assert "50.0 % of the area was never seen clearly" in text
    assert "There is 1 place (7.5 ha) never seen." in text
    assert "B04.tif cannot be read: <broken>" in text
    assert "/data/archive" not in text
    assert "replaced by new" in text
    assert "Simulated data" not in text
    assert all(address.startswith(("data:", "#")) for address in page.loads)
    assert all(image["alt"] for image in page.images)
    assert len(page.images) == 4


def test_verdicts_in_words(covered):
    counts = np.ones((4, ROWS, COLS), np.uint8)
    counts[3] = 0
    (high,) = covered(counts, monthly(4))
    assert plain(verdict_sentence(high)) == (
        "Coverage by sentinel-2-l2a is high: 100 % of the area was seen clearly in at least 50 % "
        "of the 4 months, and in 3 of the 4 months at least 50 % of the area was seen."
    )
    assert plain(coverage_answer([high])[-1]) == (
        "Every part of the area was seen clearly by sentinel-2-l2a at least once. The longest time "
        "without a clear view is 30 days."
    )


def test_gaps_in_words(covered):
    counts = np.ones((5, ROWS, COLS), np.uint8)
    assert "It has no gap: every month shows" in coverage_answer(covered(counts, monthly(5)))[-1]
    counts[1, :, :5] = 0
    told = coverage_answer(covered(counts, monthly(5)))[-1]
    assert "At least half of the area was seen in every month" in told
    assert "without a clear view is 28 days." in told
    told = coverage_answer(covered(half_blind(6), monthly(6)))[-1]
    assert "for at most 61 days on end; the longest such gap of any pixel is 181 days" in told


def test_a_sensor_is_judged_by_its_blindest_layer(covered):
    (blind,) = covered(half_blind(5), monthly(5))
    (seen,) = covered(np.ones((4, ROWS, COLS), np.uint8), monthly(4))
    sentences = coverage_answer([seen, blind])
    assert len(sentences) == 2
    assert " is low" in sentences[0]
    assert "never seen clearly" in sentences[1]


def _svg(image):
    return unquote(image["src"].partition(",")[2])


def test_each_month_has_its_map(covered, tmp_path):
    file = tmp_path / "page.html"
    write_coverage_page(covered(half_blind(12), monthly(12)), file, "A year")
    page, _ = _read(file)
    maps = _svg(page.images[0])
    assert len(re.findall("<image", maps)) == 12 + 1  # and the colour bar
    for name in ("Jan", "Jun", "Dec", "not seen once", "outside the area", "clear observations"):
        assert name in maps
    assert maps.count(">50 % seen") == 4
    assert maps.count(">0 % seen") == 8


def test_many_years_are_folded_into_one(covered, tmp_path):
    file = tmp_path / "page.html"
    (coverage,) = covered(half_blind(30), monthly(30))
    assert len(coverage.months) == 30
    write_coverage_page([coverage], file, "Years")
    page, _ = _read(file)
    maps = _svg(page.images[0])
    assert len(re.findall("<image", maps)) == 13
    assert "mean of the years" in maps


@pytest.mark.parametrize("count", [1, 5, 9])
def test_dates_and_few_of_them(count, covered, tmp_path):
    first = date(2023, 5, 3)
    days = [first + timedelta(days=11 * k) for k in range(count)]
    steps = [Step(str(k), day, day, ()) for k, day in enumerate(days, start=1)]
    file = tmp_path / "page.html"
    write_coverage_page(covered(half_blind(count), steps), file, "Dates", simulated=True)
    _, text = _read(file)
    assert f"of the {count} date" in text
    assert "Simulated data" in text


def test_nothing_was_seen(covered, tmp_path):
    file = tmp_path / "page.html"
    write_coverage_page(covered(np.zeros((2, ROWS, COLS), np.uint8), monthly(2)), file, "Dark")
    _, text = _read(file)
    assert "Coverage by sentinel-2-l2a is low: 0 % of the area" in text
    assert "The longest time without a clear view is 59 days." in text


def test_the_same_coverage_gives_the_same_bytes(covered, tmp_path):
    coverages = covered(half_blind(5), monthly(5))
    files = [tmp_path / "a.html", tmp_path / "b.html"]
    for file in files:
        write_coverage_page(coverages, file, "Twice")
    assert files[0].read_bytes() == files[1].read_bytes()


def test_the_reports_section_links_to_the_page(covered):
    context = coverage_context(covered(half_blind(5), monthly(5)), "coverage.html")
    source = (
        '{% from "coverage_part.html.j2" import coverage_section %}{{ coverage_section(coverage) }}'
    )
    html = _environment().from_string(source).render(coverage=context)
    assert '<a href="coverage.html">' in html
    assert "is low" in html
