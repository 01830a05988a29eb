"""Coverage against counts by hand, on cubes written for the purpose and on real masks."""

import json
from datetime import date, datetime

import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from odc.geo.geobox import GeoBox

from earthloom.cube import LayerPlan, Step, open_cube
from earthloom.cube.blind import blind_places, to_geojson
from earthloom.cube.coverage import CoverageAssessment, assess_coverage, coverage_of
from earthloom.cube.coverage_store import read_coverage, write_coverage
from earthloom.cube.coverage_tally import MOST, longest_gap
from earthloom.cube.store import CubeWriter, write_tile
from earthloom.errors import DataError
from earthloom.grid import Area
from earthloom.sample import LayerSpec, Shape2d, Window
from earthloom.sensors import load_sensor

SENSOR = load_sensor("sentinel-2-l2a")
shares = st.sampled_from([0.1, 0.25, 0.5, 0.75, 1.0])
series = st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5)).flatmap(
    lambda shape: arrays(np.bool_, shape)
)


def _box(rows, cols):
    return GeoBox.from_bbox(
        (500_000, 5_000_000, 500_000 + 10 * cols, 5_000_000 + 10 * rows),
        crs="EPSG:32632",
        resolution=10,
    )


@pytest.fixture
def write(tmp_path):
    """Writes a cube of counts (T, H, W), with its `coverage.json`."""

    def write(counts, spans, labels=None, name="cube", **said):
        times, rows, cols = counts.shape
        labels = labels or [str(number) for number in range(1, times + 1)]
        spec = LayerSpec(SENSOR.name, 10, ("B04",), "1", tuple(labels), (664.6,))
        steps = [Step(label, *span, ()) for label, span in zip(labels, spans)]
        plan = LayerPlan(spec, SENSOR, _box(rows, cols), "median", tuple(steps))
        folder = tmp_path / name
        path, whole = folder / "cube.zarr", Window(0, 0, Shape2d(rows, cols))
        writer = CubeWriter(path, [plan], -(-max(rows, cols) // 128) * 128)
        for step, image in enumerate(counts):
            pixels = np.where(image > 0, 0.1, np.nan).astype(np.float32)[None]
            write_tile(path, spec.key, step, whole, pixels, image)
        writer.finish()
        record = {"failed": {}, "layers": {spec.key: {label: [] for label in labels}}} | said
        (folder / "coverage.json").write_text(json.dumps(record))
        return open_cube(path, Shape2d(rows, cols)), folder

    return write


def months(first, last, year=2023):
    """First and last days of months; each step lies in one."""
    return [(date(year, m, 1), date(year, m, 28)) for m in range(first, last + 1)]


def days(*ordinals):
    return [(date.fromordinal(each), date.fromordinal(each)) for each in ordinals]


# -- the assessment ----------------------------------------------------------------------------


@settings(deadline=None)
@given(series, shares, shares, st.integers(1, 5))
def test_assessment_is_its_definition_however_cut(clear, spatial, temporal, rows):
    found = assess_coverage(
        (clear[:, row : row + rows] for row in range(0, clear.shape[1], rows)), spatial, temporal
    )
    assert found.spatial == (clear.mean(axis=0) >= spatial - 1e-9).mean()
    assert found.temporal == (clear.mean(axis=(1, 2)) >= temporal - 1e-9).mean()
    assert found.high == (found.spatial >= spatial and found.temporal >= temporal)
    assert CoverageAssessment.from_json(json.loads(json.dumps(found.to_json()))) == found


@settings(deadline=None)
@given(series, shares)
def test_more_clean_pixels_never_lower_coverage(clear, share):
    more = clear.copy()
    more[0] = True
    before, after = (assess_coverage([each], share, share) for each in (clear, more))
    assert after.spatial >= before.spatial
    assert after.temporal >= before.temporal


def test_verdicts():
    clear = np.zeros((4, 10, 10), np.bool_)
    assert assess_coverage([clear]).verdict == "low"
    clear[:2] = True
    half = assess_coverage([clear])
    assert (half.spatial, half.temporal, half.verdict) == (1.0, 0.5, "high")
    assert assess_coverage([clear], 0.6, 0.5).verdict == "low"
    assert half.to_json()["temporal_percent"] == 50.0


def test_nothing_to_assess():
    for strips in ([], [np.zeros((0, 3, 3), np.bool_)], [np.zeros((3, 0, 3), np.bool_)]):
        with pytest.raises(DataError, match="no date, or no pixel"):
            assess_coverage(strips)
    with pytest.raises(DataError, match="above 0 and at most 1, not 0"):
        assess_coverage([np.ones((1, 1, 1), np.bool_)], 0.0)


# -- gaps --------------------------------------------------------------------------------------


def _gap_by_days(clean, spans, last):
    """Each day is either in a step that saw the pixel or not; the longest run of those not."""
    seen = np.zeros(last + 1, np.bool_)
    for saw, (start, end) in zip(clean, spans):
        seen[start : end + 1] |= saw
    runs = "".join("." if each else "x" for each in seen).split(".")
    return max(map(len, runs))


@st.composite
def spans_and_clean(draw):
    lengths = draw(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 30)), min_size=1))
    spans, at = [], 0
    for wait, length in lengths:
        start = at + (wait if spans else 0)
        spans.append((start, start + length))
        at = start + length + 1
    clean = draw(arrays(np.bool_, (len(spans), 4)))
    return spans, clean


@settings(deadline=None)
@given(spans_and_clean())
def test_gaps_against_a_calendar(case):
    spans, clean = case
    last = spans[-1][1]
    wanted = [_gap_by_days(clean[:, pixel], spans, last) for pixel in range(4)]
    assert longest_gap(clean, spans, last).tolist() == wanted


# -- coverage of a cube ------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(30, 50), (431, 260), (250, 910)])
def test_counts_by_hand(shape, write):
    """Areas smaller than the picture, and larger, with blocks that fit no strip."""
    rng = np.random.default_rng(0)
    counts = rng.integers(0, 4, (3, *shape)).astype(np.uint8)
    counts[:, :20, :11] = 0
    (found,) = coverage_of(*write(counts, months(5, 7), ["2023-05", "2023-06", "2023-07"]))
    block = -(-max(shape) // MOST)
    assert max(found.counts.shape[1:]) <= MOST
    assert found.months == ("2023-05", "2023-06", "2023-07")
    for row, col in [(0, 0), (2, 3), (found.gap.shape[0] - 1, found.gap.shape[1] - 1)]:
        part = counts[:, row * block : (row + 1) * block, col * block : (col + 1) * block]
        np.testing.assert_allclose(found.counts[:, row, col], part.mean(axis=(1, 2)), rtol=1e-6)
        np.testing.assert_allclose(found.shown[row, col], (part > 0).mean(), rtol=1e-6)
    np.testing.assert_allclose(found.total, found.counts.sum(axis=0), rtol=1e-6)
    assert found.pixels == shape[0] * shape[1]
    assert [step.seen for step in found.steps] == (counts > 0).mean(axis=(1, 2)).tolist()
    np.testing.assert_allclose(found.mean, counts.sum(axis=0).mean())
    total = counts.sum(axis=0)
    assert found.never == (total == 0).mean()
    assert dict(found.observations) == dict(zip(*np.unique(total, return_counts=True)))
    assert found.observed(0.5) == np.sort(total, axis=None)[(total.size - 1) // 2]
    assert found.assessment == assess_coverage([counts > 0])
    corners = found.box.boundingbox
    assert (corners.left, corners.top) == (500_000, 5_000_000 + 10 * shape[0])


def test_dates_of_one_month_add_up(write):
    counts = np.ones((4, 3, 3), np.uint8)
    first = date(2023, 3, 30).toordinal()
    (found,) = coverage_of(*write(counts, days(first, first + 1, first + 2, first + 5)))
    assert found.months == ("2023-03", "2023-04")
    assert (found.counts[0] == 2).all()
    assert (found.counts[1] == 2).all()
    assert found.months_seen == (1.0, 1.0)
    assert found.gaps == ((2, 9),)
    assert found.days == 6


def test_a_step_longer_than_a_month_stands_for_itself(write):
    spans = [(date(2023, 1, 1), date(2023, 6, 30)), (date(2023, 7, 1), date(2023, 7, 31))]
    counts = np.array([[[0, 1]], [[1, 0]]], np.uint8)
    (found,) = coverage_of(*write(counts, spans, ["first", "second"]))
    assert found.months == ("first", "second")
    assert found.gaps == ((31, 1), (181, 1))
    assert found.gap_reached(0.5) == 31
    assert found.gap_reached(0.6) == 181


def test_an_area_leaves_the_rest_out(write):
    counts = np.zeros((2, 40, 60), np.uint8)
    counts[0, :, :30] = 1
    box = _box(40, 60)
    left = shapely.box(box.boundingbox.left, box.boundingbox.bottom, 500_300, box.boundingbox.top)
    outline = _to_degrees(left)
    cube, folder = write(counts, months(5, 6), ["2023-05", "2023-06"])
    (found,) = coverage_of(cube, folder, Area("half", box, outline))
    assert found.pixels == 40 * 30
    assert [step.seen for step in found.steps] == [1.0, 0.0]
    assert np.isnan(found.counts[:, :, 30:]).all()
    assert (found.counts[0, :, :30] == 1).all()
    assert np.isnan(found.gap[:, 30:]).all()
    nowhere = Area("away", box, shapely.box(20, 20, 21, 21))
    with pytest.raises(DataError, match="no pixel"):
        coverage_of(cube, folder, nowhere)


def _to_degrees(shape):
    return gpd.GeoSeries([shape], crs=32632).to_crs(4326).iloc[0]


def test_scenes_that_failed_or_were_superseded(write):
    counts = np.ones((2, 2, 2), np.uint8)
    key = f"{SENSOR.name}_10m"
    cube, folder = write(
        counts,
        months(5, 6),
        ["2023-05", "2023-06"],
        failed={"b": "cannot be read", "radar": "of another layer"},
        superseded={"a1": "a"},
        layers={key: {"2023-05": ["a", "b"], "2023-06": []}},
    )
    (found,) = coverage_of(cube, folder)
    assert found.failed == {"b": "cannot be read"}
    assert found.superseded == {"a1": "a"}
    assert [(step.scenes, step.failed) for step in found.steps] == [(("a",), ("b",)), ((), ())]
    assert found.scenes == 1


def test_a_folder_without_coverage(write):
    cube, folder = write(np.ones((1, 2, 2), np.uint8), months(5, 5))
    (folder / "coverage.json").unlink()
    with pytest.raises(DataError, match=r"has no coverage\.json"):
        coverage_of(cube, folder)


def test_saved_and_read_again(write, tmp_path):
    counts = np.random.default_rng(1).integers(0, 3, (2, 40, 30)).astype(np.uint8)
    box = _box(40, 30)
    area = Area("part", box, _to_degrees(shapely.box(500_000, 5_000_000, 500_200, 5_000_300)))
    saved = coverage_of(*write(counts, months(5, 6), failed={"x": "why"}), area)
    file = tmp_path / "coverage-of.json"
    write_coverage(file, saved)
    ((was,), (read,)) = saved, read_coverage(file)
    for name in ("counts", "shown", "gap"):
        np.testing.assert_array_equal(getattr(read, name), getattr(was, name))
    for name in (
        "steps",
        "gaps",
        "observations",
        "months",
        "months_seen",
        "assessment",
        "pixels",
        "failed",
    ):
        assert getattr(read, name) == getattr(was, name)
    assert read.box == was.box
    first = file.read_bytes()
    write_coverage(file, (read,))
    assert file.read_bytes() == first


@pytest.mark.parametrize("text", ["", "{}", '{"version": 9, "layers": []}', '{"version": 1}'])
def test_files_that_hold_no_coverage(text, tmp_path):
    file = tmp_path / "other.json"
    file.write_text(text)
    with pytest.raises(DataError, match=r"other\.json (does not hold the coverage|has version 9)"):
        read_coverage(file)


# -- blind places ------------------------------------------------------------------------------


def test_blind_places_are_where_nothing_was_seen(write):
    counts = np.ones((8, 30, 30), np.uint8)
    counts[:, 2:6, 3:10] = 0
    counts[:, 6, 10] = 0  # touches the corner alone: a place of its own
    counts[1:, 20:25, 20:25] = 0
    (found,) = coverage_of(*write(counts, months(1, 8)))
    places = blind_places(found)
    assert [place.kind for place in places] == ["never", "never", "rarely"]
    np.testing.assert_allclose([place.area_ha for place in places], [0.28, 0.01, 0.25])
    np.testing.assert_allclose([place.share for place in places], [0, 0, 1 / 8])
    (west, _, _, north) = _to_degrees(shapely.box(500_030, 5_000_240, 500_100, 5_000_280)).bounds
    np.testing.assert_allclose(places[0].outline.bounds[0], west, atol=1e-6)
    np.testing.assert_allclose(places[0].outline.bounds[3], north, atol=1e-6)
    collection = json.loads(to_geojson(places))
    assert [each["properties"]["kind"] for each in collection["features"]] == [
        "never",
        "never",
        "rarely",
    ]
    read = shapely.from_geojson(json.dumps(collection["features"][0]["geometry"]))
    assert read.equals_exact(shapely.set_precision(places[0].outline, 1e-7), 1e-7)


def test_what_is_seen_well_has_no_blind_place(write):
    (found,) = coverage_of(*write(np.ones((4, 5, 5), np.uint8), months(1, 4)))
    assert blind_places(found) == ()
    assert json.loads(to_geojson(())) == {"type": "FeatureCollection", "features": []}
    with pytest.raises(DataError, match="rarely seen is not 1"):
        blind_places(found, 1.0)


def test_what_lies_outside_the_area_is_no_blind_place(write):
    counts = np.zeros((2, 20, 20), np.uint8)
    counts[:, :, :10] = 1
    cube, folder = write(counts, months(1, 2))
    area = Area("left", _box(20, 20), _to_degrees(shapely.box(500_000, 5e6, 500_100, 5_000_200)))
    (found,) = coverage_of(cube, folder, area)
    assert blind_places(found) == ()


# -- real masks --------------------------------------------------------------------------------


@pytest.mark.shared
def test_68_real_dates(shared_data, write):
    """Sentinel-2 over Slovenia: cloud masks and the patch's own count of valid observations."""
    patch = shared_data / "eolearn_testpatch" / "TestEOPatch"
    times = [
        datetime.fromisoformat(each)
        for each in json.loads((patch / "timestamps.json").read_text(encoding="utf-8"))
    ]
    clear = np.load(patch / "mask" / "IS_VALID.npy")[..., 0]
    clouds = np.load(patch / "mask" / "CLM.npy")[..., 0]
    np.testing.assert_array_equal(clear, clouds == 0)
    # One day has two images: a step holds a day.
    order = sorted({time.date() for time in times})
    by_day = np.stack(
        [
            sum(clear[i].astype(np.uint8) for i, t in enumerate(times) if t.date() == d)
            for d in order
        ]
    )
    assert len(order) == len(times) - 1
    (found,) = coverage_of(*write(by_day, [(day, day) for day in order]))
    np.testing.assert_array_equal(
        found.total, np.load(patch / "mask_timeless" / "VALID_COUNT.npy")[..., 0]
    )
    for month, counts in zip(found.months, found.counts):
        of_month = [f"{time:%Y-%m}" == month for time in times]
        np.testing.assert_array_equal(counts, clear[of_month].sum(axis=0))
        seen = found.months_seen[found.months.index(month)]
        assert seen == clear[of_month].any(axis=0).mean()
    assert (found.observed(0.0), found.observed(1.0)) == (37, 44)
    assert found.assessment == assess_coverage([by_day > 0])
    assert found.assessment.verdict == "high"
    assert blind_places(found) == ()
    seen = [[d for d, image in zip(order, by_day) if image[50, 50]]]
    gaps = [(b - a).days - 1 for a, b in zip(seen[0], seen[0][1:])]
    ends = [(seen[0][0] - order[0]).days, (order[-1] - seen[0][-1]).days]
    assert found.gap[50, 50] == max(gaps + ends)
