"""The main job from end to end: what a person gets who runs one project file."""

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from html import unescape
from pathlib import Path

import numpy as np
import pystac
import pytest
import rasterio
from odc.geo.geobox import GeoBox
from pystac.validation import JsonSchemaSTACValidator
from rasterio.features import geometry_mask
from rio_cogeo.cogeo import cog_validate

from earthloom.chips.index import open_index
from earthloom.cube import open_cube
from earthloom.grid import project_outline, read_outline
from earthloom.maps.cog import StripWriter
from earthloom.project import Labels
from earthloom.sample import Shape2d
from earthloom.world import CLASSES

VERBS = (
    "run",
    "simulate",
    "search",
    "cube",
    "chips",
    "fit",
    "map",
    "assess",
    "export-model",
    "publish",
    "demo",
    "serve",
    "doctor",
)


def _read(path):
    with rasterio.open(path) as source:
        return source.read(), source


@pytest.fixture(scope="module")
def map_folder(finished):
    return finished / "out" / "map" / "tiny"


@pytest.fixture(scope="module")
def classes(map_folder):
    return _read(map_folder / "map.tif")[0][0]


@pytest.fixture(scope="module")
def shares(map_folder):
    return _read(map_folder / "probability.tif")[0]


def test_one_command_says_what_it_made(finished, tmp_path, python_m):
    """`python -m earthloom run` on a project that is done, as a person starts it."""
    folder = shutil.copytree(finished, tmp_path / "project")
    done = python_m(folder, "run", "--json")
    assert done.code == 0, done.stderr
    summary = json.loads(done.stdout.splitlines()[-1])
    for name in ("map", "probability", "stac_item"):
        assert (folder / summary["maps"]["tiny"][name]).exists()
    assert (folder / summary["report"]).exists()
    assert 0.5 < summary["overall_accuracy"]["value"] <= 1
    assert summary["failed_scenes"] == {}
    assert "unchanged" in done.stderr


def test_one_command_names_a_mistake(tmp_path, python_m, new_project):
    file = new_project(tmp_path, labels={"path": "labels.gpkg", "colum": "class"})
    line = file.read_text().splitlines().index("  colum: class") + 1
    done = python_m(tmp_path, "run")
    assert done.code == 2
    assert done.stderr == (
        f"earthloom: error: project.yaml, line {line}: labels.colum: there is no such key; "
        f"valid keys here: {', '.join(Labels.model_fields)}\n"
    )


def test_a_simulated_archive_is_found_again(tmp_path, new_project, tiny_archive, cli):
    """The archive that a project names is made once; here it is there already."""
    shutil.copytree(tiny_archive, tmp_path / "archive")
    settings = {"kind": "simulated", "size_m": 1280, "sentinel2_items": 12, "sentinel1_items": 12}
    new_project(tmp_path, area="archive")
    text = (tmp_path / "project.yaml").read_text()
    start, end = text.index("archive:"), text.index("area:")
    block = "archive: " + json.dumps(settings) + "\n"
    (tmp_path / "project.yaml").write_text(text[:start] + block + text[end:])
    done = cli(tmp_path, "search", "--json", "-q")
    assert done.code == 0, done.stderr
    counts = json.loads(done.stdout.splitlines()[-1])["scenes"]["tiny"]
    assert counts == {"cop-dem-glo-30": 1, "sentinel-1-rtc": 2, "sentinel-2-l2a": 3}


@pytest.mark.parametrize("name", ["map.tif", "probability.tif"])
def test_rasters_are_cloud_optimised(name, map_folder):
    valid, errors, warnings = cog_validate(map_folder / name, strict=True)
    assert valid, (errors, warnings)


def test_overviews_when_the_map_is_large_enough(tmp_path):
    """COGs of more than one block have overviews."""
    box = GeoBox.from_bbox((0, 0, 6000, 5400), crs="EPSG:32632", resolution=10)
    writer = StripWriter(tmp_path / "large.tif", box, ["class"], 0)
    pixels = np.random.default_rng(0).integers(0, 5, (1, *box.shape), np.uint8)
    for row in range(0, box.shape.y, 250):
        writer.write(row, pixels[:, row : row + 250])
    writer.finish("MODE")
    valid, errors, warnings = cog_validate(tmp_path / "large.tif", strict=True)
    assert valid, (errors, warnings)
    with rasterio.open(tmp_path / "large.tif") as source:
        assert source.overviews(1) == [2, 4]
        np.testing.assert_array_equal(source.read(), pixels)
    assert [path.name for path in tmp_path.iterdir()] == ["large.tif"]


def test_nothing_is_said_outside_of_the_area_or_where_nothing_was_seen(
    finished, tiny_archive, map_folder, classes, shares
):
    with rasterio.open(map_folder / "map.tif") as source:
        assert source.nodata == 0
        transform, crs, shape = source.transform, source.crs, source.shape
    assert crs.to_epsg() == 32632
    cube = open_cube(finished / "out" / "cube" / "tiny" / "cube.zarr", Shape2d(*shape))
    outline = read_outline(tiny_archive / "area.geojson")

    box = GeoBox(shape, transform, crs)
    outside = geometry_mask([project_outline(outline, box)], shape, transform)
    assert outside.any()
    assert (classes[outside] == 0).all()
    assert (shares[:, outside] == 255).all()
    seen = np.zeros(shape, np.bool_)
    for key, spec in cube.specs.items():
        if spec.dates != ("static",):
            layer = (cube.counts(key) > 0).any(axis=0)
            wide = layer.repeat(spec.factor, 0).repeat(spec.factor, 1)
            seen |= wide[: shape[0], : shape[1]]
    np.testing.assert_array_equal(classes > 0, seen & ~outside)
    np.testing.assert_array_equal(shares[0] != 255, classes > 0)


def test_probabilities_sum_to_one_and_agree_with_the_map(map_folder, classes, shares):
    with rasterio.open(map_folder / "probability.tif") as source:
        assert source.scales == (1 / 250,) * len(CLASSES)
        assert source.nodata == 255
        assert source.descriptions == tuple(each.name for each in CLASSES)
    said = classes > 0
    total = shares[:, said].astype(int).sum(axis=0)
    assert np.abs(total - 250).max() <= len(CLASSES) / 2
    codes = np.array([each.code for each in CLASSES])
    highest = shares[:, said].max(axis=0)
    own = np.take_along_axis(shares[:, said], np.searchsorted(codes, classes[said])[None], axis=0)[
        0
    ]
    assert (own == highest).all()


def test_classes_have_names_and_colours(map_folder, classes):
    with rasterio.open(map_folder / "map.tif") as source:
        table = source.colormap(1)
    for each in CLASSES:
        colour = tuple(int(each.colour[i : i + 2], 16) for i in (1, 3, 5))
        assert table[each.code] == (*colour, 255)
    # GDAL's colour tables in GeoTIFF know no transparency; nodata is transparent anyway.
    assert table[0][:3] == (0, 0, 0)
    root = ET.parse(map_folder / "map.tif.aux.xml").getroot()
    names = [category.text or "" for category in root.iter("Category")]
    assert names[0] == "no data"
    assert {each.code: names[each.code] for each in CLASSES} == {c.code: c.name for c in CLASSES}
    assert set(np.unique(classes)) <= {0, *(each.code for each in CLASSES)}


def test_item_is_valid_stac_and_its_assets_exist(map_folder, finished):
    content = json.loads((map_folder / "item.json").read_text())
    # The schemas of extensions are on the web; that of the core comes with pystac.
    JsonSchemaSTACValidator().validate_core(
        content, pystac.STACObjectType.ITEM, content["stac_version"]
    )
    item = pystac.Item.from_file(map_folder / "item.json")
    assert set(item.assets) == {"map", "probability"}
    with rasterio.open(map_folder / "map.tif") as source:
        assert content["properties"]["proj:shape"] == list(source.shape)
        assert content["properties"]["proj:transform"] == list(source.transform)[:6]
        assert content["properties"]["proj:code"] == "EPSG:32632"
    for asset in item.assets.values():
        assert (map_folder / asset.href).exists()
    listed = json.loads((finished / "out" / "search" / "scenes.json").read_text())["tiny"]
    assert content["properties"]["earthloom:scenes"] == [scene["id"] for scene in listed]
    assert content["properties"]["start_datetime"].startswith("2023-07-01")
    assert content["properties"]["end_datetime"].startswith("2023-08-31")


def test_results_hold_no_path_of_this_machine(finished):
    """Else the same project in another folder would give other bytes."""
    for file in (finished / "out").rglob("*"):
        if file.suffix in (".json", ".html") and file.name != "run.json":
            assert str(finished) not in file.read_text(encoding="utf-8"), file


def test_a_saved_model_maps_another_area(
    finished, tmp_path, new_project, tiny_archive, cli, map_folder, tree
):
    """The other area is a part of the first: there both maps say the same, pixel by pixel."""
    new_project(tmp_path)
    west, south, east, north = read_outline(tiny_archive / "area.geojson").bounds
    middle = (west + east) / 2
    model = finished / "out" / "fit" / "all"
    before = tree(finished / "out")
    done = cli(
        tmp_path,
        *("map", "-q", "--json", "--model", model, "--out", tmp_path / "other"),
        *("--area", f"{west},{south},{middle},{north}"),
    )
    assert done.code == 0, done.stderr
    made = json.loads(done.stdout.splitlines()[-1])["maps"]["tiny"]["map"]
    assert made == str(tmp_path / "other" / "map" / "tiny" / "map.tif")
    assert tree(finished / "out") == before
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "other" / "fit").exists()
    with rasterio.open(made) as part, rasterio.open(map_folder / "map.tif") as whole:
        assert part.width < whole.width
        window = whole.window(*part.bounds)
        there = whole.read(1, window=window, boundless=True)
        here = part.read(1)
    both = (here > 0) & (there > 0)
    assert both.mean() > 0.5
    np.testing.assert_array_equal(here[both], there[both])


def test_every_verb_has_help(cli, tmp_path):
    done = cli(tmp_path, "--help")
    assert done.code == 0
    for verb in VERBS:
        assert f" {verb} " in done.stdout
        help_text = cli(tmp_path, verb, "--help")
        assert (help_text.code, help_text.stderr) == (0, ""), verb
        assert "Usage: earthloom " + verb in help_text.stdout
    assert cli(tmp_path, "mpa").code == 2


def test_help_imports_nothing_heavy():
    """Help and tab completion are there at once; so is a mistake in the project file."""
    code = (
        "import sys, earthloom.cli as cli\n"
        "sys.argv = ['earthloom', '--help']\n"
        "try:\n    cli.main()\nexcept SystemExit: pass\n"
        "helped = {name.partition('.')[0] for name in sys.modules}\n"
        "import earthloom.project\n"
        "print('LOADED', *{name.partition('.')[0] for name in sys.modules})\n"
        "print('HELPED', *helped)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, helped = (set(line.split()[1:]) for line in done.stdout.splitlines()[-2:])
    heavy = {
        "torch",
        "rasterio",
        "geopandas",
        "pandas",
        "xarray",
        "zarr",
        "sklearn",
        "odc",
        "numba",
    }
    assert not loaded & heavy
    # Sensor tables, which a project file names, come with numpy; help does not.
    assert not helped & {*heavy, "numpy", "pydantic"}


def test_a_test_that_was_set_aside(tmp_path, cli, new_project):
    """`chips.split` is in the index, the model has not seen the test, and leaks are reported."""
    split = {"by": "blocks", "block_m": 300, "buffer_m": 20, "val": 0.0, "test": 0.4}
    new_project(
        tmp_path,
        chips={"size": 20, "split": split},
        assess={"method": "folds", "by": "split", "baselines": ["forest"]},
    )
    done = cli(tmp_path, "run", "-q", "--json")
    assert done.code == 0, done.stderr
    index = open_index(tmp_path / "out" / "chips" / "index.parquet")
    parts = dict(zip(*np.unique(index.column("split"), return_counts=True), strict=True))
    assert parts["train"] > 0
    assert parts["test"] > 0
    card = json.loads((tmp_path / "out" / "fit" / "test" / "card.json").read_text("utf-8"))
    whole = json.loads((tmp_path / "out" / "fit" / "all" / "card.json").read_text("utf-8"))
    train = index.histograms().dense(index.query(splits=["train"])).sum()
    assert sum(card["record"]["labels"].values()) == train
    assert sum(whole["record"]["labels"].values()) == index.histograms().dense().sum()
    figures = json.loads((tmp_path / "out" / "assess" / "accuracy.json").read_text("utf-8"))
    tested = index.histograms().dense(index.query(splits=["test"])).sum()
    assert np.sum(figures["model"]["confusion"]) == tested
    assert list(figures["leaks"]) == ["test"]
    report = unescape((tmp_path / "out" / "assess" / "report.html").read_text("utf-8"))
    assert "Is the test honest?" in report
    assert json.loads(done.stdout)["tests_with_warnings"] == bool(figures["leaks"]["test"])
    for sentence in figures["leaks"]["test"]:
        assert sentence in report


def test_a_split_needs_its_assessment(tmp_path, cli, new_project):
    new_project(tmp_path, assess={"method": "folds", "by": "split"})
    done = cli(tmp_path, "run")
    assert done.code == 2
    assert "'assess.by: split' needs 'chips.split'" in done.stderr


def test_results_are_no_address(tmp_path, cli, new_project):
    new_project(tmp_path, out="s3://bucket/out")
    done = cli(tmp_path, "run")
    assert done.code == 2
    assert "send results to s3://bucket/out with 'earthloom publish'" in done.stderr


def test_publish_refuses_what_is_no_store(tmp_path, cli, new_project):
    new_project(tmp_path)
    done = cli(tmp_path, "publish", "s3://bucket/maps")
    assert done.code != 0
    assert "map" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_network_is_exported_and_a_ridge_is_not(tmp_path, cli, new_project, finished):
    """The ridge is that of the finished project, on whose cube and chips the network is fitted."""
    folder = shutil.copytree(finished, tmp_path / "project")
    done = cli(folder, "export-model", "onnx", "-q")
    assert done.code == 1
    assert "network" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    model = {"name": "unet", "width": 4, "levels": 1, "steps": 2, "batch": 2}
    new_project(folder, model=model)
    done = cli(folder, "export-model", "onnx", "-q", "--json")
    assert done.code == 0, done.stderr
    made = json.loads(done.stdout)
    assert {Path(file).name for file in made["files"]} == {"model.onnx", "model-int8.onnx"}
    assert min(each["difference"] for each in made["measured"].values()) < 1e-4
