"""A cube made regular in time: what was seen is kept, gaps are filled as far as is asked."""

import numpy as np
import pytest

from earthloom.archive import StaticCatalog
from earthloom.areas import areas_of, scenes_of
from earthloom.cube import build_cube, open_cube, plan_layers
from earthloom.cube.coverage import coverage_of
from earthloom.cube.regularise import regular_cube
from earthloom.errors import ProjectError
from earthloom.project import SeriesChoice, load_project
from earthloom.sample import Shape2d, Window

KEY = "sentinel-2-l2a_10m"
YEAR = {"start": "2023-03-01", "end": "2023-10-31"}


@pytest.fixture(scope="module")
def by_date(new_project, tiny_archive, tmp_path_factory):
    """A cube of single dates: plans, shape and the cube."""
    folder = tmp_path_factory.mktemp("dates")
    sensors = [
        {"name": "sentinel-2-l2a", "bands": ["B04", "B08", "B11"], "every": "date"},
        {"name": "cop-dem-glo-30"},
    ]
    project = load_project(new_project(folder, dates=YEAR, sensors=sensors))
    catalog = StaticCatalog(tiny_archive / "catalog.json")
    (area,) = areas_of(project, catalog)
    plans = plan_layers(project, area.box, scenes_of(project, catalog, area))
    shape = Shape2d(*area.box.shape)
    build_cube(str(tiny_archive), plans, shape, folder / "cube", lambda *_: None)
    return plans, shape, open_cube(folder / "cube" / "cube.zarr", shape)


def _made(by_date, choice, folder, tick):
    plans, shape, cube = by_date
    made = regular_cube(cube, plans, {"sentinel-2-l2a": choice}, folder, tick)
    result = open_cube(folder / "cube.zarr", shape)
    return made, result, result.window(Window(0, 0, shape))


def test_months_without_gaps(by_date, tick, tmp_path):
    choice = SeriesChoice(method="linear", every="month", most_gap_days=400, hold_days=400)
    _, cube, layers = _made(by_date, choice, tmp_path, tick)
    layer = layers[KEY]
    assert layer.spec.dates[0] == "2023-03"
    seen_once = by_date[2].counts(KEY).any(axis=0)
    assert layer.valid[:, seen_once].all()
    assert not layer.valid[:, ~seen_once].any()
    counts = cube.counts(KEY)
    assert counts.sum() == by_date[2].counts(KEY).sum()
    assert (counts[:, seen_once] == 0).any()
    assert coverage_of(cube, tmp_path)[0].sensor == "sentinel-2-l2a"


def test_values_lie_between_those_around_them(by_date, tick, tmp_path):
    _, shape, cube = by_date
    choice = SeriesChoice(method="linear", every="month", most_gap_days=400, hold_days=400)
    _, _, layers = _made(by_date, choice, tmp_path, tick)
    observed, _, _ = cube.observed(KEY, Window(0, 0, shape))
    seen = ~np.isnan(observed).all(axis=(0, 1))
    low, high = np.nanmin(observed[..., seen], axis=0), np.nanmax(observed[..., seen], axis=0)
    pixels = layers[KEY].pixels[..., seen]
    assert (pixels >= low - 1e-6).all()
    assert (pixels <= high + 1e-6).all()


def test_a_long_gap_stays_one(by_date, tick, tmp_path):
    short = SeriesChoice(every="dekad", most_gap_days=20, hold_days=0)
    _, _, layers = _made(by_date, short, tmp_path / "short", tick)
    long = SeriesChoice(every="dekad", most_gap_days=200, hold_days=60)
    _, _, wide = _made(by_date, long, tmp_path / "long", tick)
    assert (layers[KEY].valid <= wide[KEY].valid).all()
    assert layers[KEY].valid.mean() < wide[KEY].valid.mean()


def test_without_a_length_the_steps_stay(by_date, tick, tmp_path):
    made, _, layers = _made(by_date, SeriesChoice(), tmp_path, tick)
    assert layers[KEY].spec.dates == by_date[0][0].spec.dates
    assert {plan.spec.key for plan in made} == {plan.spec.key for plan in by_date[0]}


def test_other_layers_are_taken_over(by_date, tick, tmp_path):
    _, _, layers = _made(by_date, SeriesChoice(), tmp_path, tick)
    before = by_date[2].window(Window(0, 0, by_date[1]))
    np.testing.assert_array_equal(
        layers["cop-dem-glo-30_10m"].pixels, before["cop-dem-glo-30_10m"].pixels
    )


def test_tiles_leave_no_trace(by_date, tick, tmp_path, monkeypatch):
    choice = SeriesChoice(every="16 days")
    _, _, whole = _made(by_date, choice, tmp_path / "whole", tick)
    monkeypatch.setattr("earthloom.cube.regularise.PIECE_BYTES", 200_000)
    _, _, tiled = _made(by_date, choice, tmp_path / "tiled", tick)
    np.testing.assert_array_equal(tiled[KEY].pixels, whole[KEY].pixels)


def test_an_irregular_length_is_refused(new_project, tmp_path):
    sensor = {"name": "sentinel-2-l2a", "series": {"every": "phenology"}}
    with pytest.raises(ProjectError, match=r"phenology.*no regular length"):
        load_project(new_project(tmp_path, sensors=[sensor]))
