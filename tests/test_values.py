"""A project that maps numbers: from its file to the report."""

import json
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import rasterio
import yaml

from earthloom import verbs
from earthloom.archive.simulated import SimulationSpec, simulate
from earthloom.errors import LabelError, ProjectError
from earthloom.project import load_project

SAMPLE = {"method": "sample", "points": 150, "apart_m": 20}
FOLDS = {"method": "folds", "by": "blocks", "folds": 2, "baselines": ["mean", "forest"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A simulated archive of 1.3 km, and plots whose biomass is known."""
    folder = tmp_path_factory.mktemp("values")
    simulate(
        folder / "archive", SimulationSpec(size_m=1300, sentinel2_items=12, sentinel1_items=12)
    )
    with rasterio.open(folder / "archive" / "truth" / "biomass.tif") as source:
        truth = source.read(1)
        random = np.random.default_rng(0)
        row, col = (random.integers(0, size, 400) for size in truth.shape)
        x, y = source.transform * (col + 0.5, row + 0.5)
        points = gpd.points_from_xy(x, y, crs=source.crs)
    table = gpd.GeoDataFrame({"biomass": truth[row, col].astype(float)}, geometry=points)
    table["same"], table["words"] = 7.0, "high"
    table.to_file(folder / "plots.gpkg")
    return folder


def _content(**changes) -> dict:
    return {
        "name": "biomass",
        "archive": {"kind": "catalog", "path": "archive/catalog.json"},
        "area": "archive/area.geojson",
        "dates": {"start": "2023-04-01", "end": "2023-09-30"},
        "sensors": [{"name": "sentinel-2-l2a", "bands": ["B03", "B04", "B08"], "every": "period"}],
        "task": {"kind": "pixel-value", "unit": "t/ha", "quantity": "biomass", "link": "sqrt"},
        "labels": {"path": "plots.gpkg", "column": "biomass"},
        "chips": {"size": 20},
        "model": {"name": "ridge", "random_features": 64},
        "assess": FOLDS,
    } | changes


def _project(folder: Path, **changes):
    file = folder / "project.yaml"
    file.write_text(yaml.safe_dump(_content(**changes)))
    return load_project(file)


def test_from_plots_to_a_tested_map(folder):
    summary = verbs.run(_project(folder))
    out = folder / "out"
    with rasterio.open(out / "map" / "biomass" / "value.tif") as source:
        assert source.descriptions == ("value", "low", "high")
        value, low, high = source.read()
    seen = ~np.isnan(value)
    assert seen.mean() > 0.5
    assert (value[seen] >= 0).all()
    assert (low[seen] <= value[seen]).all()
    assert (value[seen] <= high[seen]).all()
    figures = json.loads((out / "assess" / "accuracy.json").read_text())
    assert summary["rmse"] == figures["model"]["rmse"]
    assert figures["model"]["rmse"] < 0.9 * figures["mean"]["rmse"]
    assert figures["model"]["coverage"] == pytest.approx(0.9, abs=0.1)
    assert set(figures["model"]["folds"]) == set(figures["forest"]["folds"])
    report = (out / "assess" / "report.html").read_text()
    assert "Biomass in t/ha" in report
    before = {path: path.read_bytes() for path in (out / "assess").glob("*.html")}
    verbs.run(_project(folder))
    assert {path: path.read_bytes() for path in (out / "assess").glob("*.html")} == before


def test_a_sample_of_the_map_gives_the_mean_of_the_area(folder):
    truth = "archive/truth/biomass.tif"
    drawn = verbs.assess(_project(folder, assess=SAMPLE))
    sample = gpd.read_file(drawn["sample_to_label"])
    assert len(sample) == 150
    with rasterio.open(folder / truth) as source:
        there = sample.to_crs(source.crs).geometry
        sample["reference"] = [v[0] for v in source.sample(zip(there.x, there.y, strict=True))]
    sample.to_file(folder / "filled.gpkg")
    found = verbs.assess(_project(folder, assess=SAMPLE | {"reference": "filled.gpkg"}))
    by_raster = verbs.assess(_project(folder, assess=SAMPLE | {"reference": truth, "truth": truth}))
    assert found["area_mean"] == pytest.approx(by_raster["area_mean"])
    assert found["area_total"]["unit"] == "t"
    assert "true_mean_within_interval" in by_raster


@pytest.mark.parametrize("model", ["forest", "boosted", "unet"])
def test_every_model_gives_an_interval(folder, model):
    small = {"forest": {"trees": 20}, "boosted": {"rounds": 10}, "unet": {"steps": 5, "width": 4}}
    project = _project(folder, model={"name": model, **small[model]})
    made = verbs.map(project)["maps"]["biomass"]["value"]
    with rasterio.open(made) as source:
        value, low, high = source.read()
    seen = ~np.isnan(value)
    assert (low[seen] <= high[seen]).all()
    assert (high[seen] > low[seen]).mean() > 0.9


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ("height", "have no column 'height'; they have: biomass, same, words"),
        ("words", "has 'high' in column 'words', which is no number"),
        ("same", "labelled pixels have the same biomass, 7 t/ha"),
    ],
)
def test_labels_that_are_of_no_use_are_named(folder, column, message):
    labels = {"path": "plots.gpkg", "column": column}
    with pytest.raises(LabelError, match=message):
        verbs.fit(_project(folder, labels=labels, out="out-wrong"))


def test_plots_elsewhere_are_named(folder):
    table = gpd.read_file(folder / "plots.gpkg")
    table.geometry = table.geometry.translate(50_000, 0)
    table.to_file(folder / "far.gpkg")
    labels = {"path": "far.gpkg", "column": "biomass"}
    with pytest.raises(LabelError, match="no labels in the area biomass"):
        verbs.fit(_project(folder, labels=labels, out="out-far"))


CLASSES = [
    {"code": 1, "name": "a", "colour": "#000000"},
    {"code": 2, "name": "b", "colour": "#ffffff"},
]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": None}, "'classes' is missing"),
        ({"task": {"kind": "pixel-value"}}, "task.unit: this key is missing"),
        (
            {"task": {"kind": "height"}},
            "'height' is not valid; valid: 'pixel-class', 'pixel-value'",
        ),
        ({"classes": CLASSES}, "takes no 'classes'"),
        ({"task": {"kind": "pixel-class"}}, "'classes' is missing"),
        ({"task": None, "classes": CLASSES}, "the baseline 'mean' is for maps of numbers"),
        ({"model": {"name": "boosted-change"}}, "valid: ridge, forest, boosted, unet"),
        ({"assess": FOLDS | {"focus": "a"}}, "assess.focus is a class"),
        ({"assess": FOLDS | {"baselines": ["change-vectors"]}}, "valid: mean, forest"),
        ({"map": {"polygons": {}}}, "map.polygons are made of classes"),
        ({"labels": {"path": "a.tif", "background": "a"}}, "labels.background is for classes"),
    ],
)
def test_what_does_not_fit_together_is_an_error(tmp_path, changes, message):
    content = {k: v for k, v in _content(**changes).items() if v is not None}
    (tmp_path / "project.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ProjectError, match=message):
        load_project(tmp_path / "project.yaml")
