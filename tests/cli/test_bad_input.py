"""Bad input on the command line: one line that names it, a code, and nothing half-written."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import geopandas as gpd
import numpy as np
import pytest
import shapely

from earthloom.world import CLASSES

SOURCE = Path(__file__).parents[2] / "src" / "earthloom"
UTM = 32632


@pytest.fixture
def archive(tiny_archive, tmp_path):
    """An archive to damage: its files are links, so put another file in place of one."""
    return Path(shutil.copytree(tiny_archive, tmp_path / "archive", copy_function=os.link))


def _put(path, content):
    path.unlink(missing_ok=True)
    path.write_bytes(content)


def _cut_in_half(path):
    content = path.read_bytes()
    _put(path, content[: len(content) // 2])


def _scene(archive, day):
    (folder,) = (archive / "sentinel-2-l2a").glob(f"*_{day}T??????_R*")
    return folder


def _asset(archive, day, band):
    (file,) = _scene(archive, day).glob(f"*{band}*.tif")
    return file


def one_line(done, *words, code=1):
    """A documented code, one line of error that holds the words, and no traceback."""
    assert done.code == code, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("earthloom: error: ")
    for word in words:
        assert str(word) in lines[0], f"{word!r} is not in: {lines[0]}"


@pytest.fixture
def refused(tmp_path, new_project, finished, cli, tree):
    """Runs a project with mistakes over the results of a good one, which must stay as they are."""

    def run(*words, code=1, archive=None, **changes):
        folder = tmp_path / "project"
        shutil.copytree(finished / "out", folder / "out")
        new_project(folder, archive, **changes)
        done = cli(folder, "run", "--quiet")
        one_line(done, *words, code=code)
        assert done.stdout == ""
        for stage in ("map/tiny", "fit/all", "assess"):
            assert tree(folder / "out" / stage) == tree(finished / "out" / stage)

    return run


# -- the project file --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"sensors": [{"name": "sentinel-2-l2a", "bands": ["B04", "B99"]}]},
            ("sensors.0.bands", "'B99'", "B04, B05", "line "),
        ),
        ({"sensors": [{"name": "sentinel-9"}]}, ("'sentinel-9'", "sentinel-2-l1c, ", "line ")),
        ({"seed": float("nan")}, ("seed", "nan", "line 2")),
        (
            {"assess": {"method": "sample", "apart_m": float("nan")}},
            ("assess.apart_m", "nan", "line "),
        ),
        ({"area": [11.0, 48.0, float("nan"), 49.0]}, ("area", "nan", "line ")),
    ],
    ids=["band", "sensor", "nan seed", "nan distance", "nan bounds"],
)
def test_value_that_is_not_valid(changes, words, refused):
    refused("project.yaml", *words, code=2, **changes)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"name: [a", ("line 1", "YAML")),
        (b"", ("mapping", "archive")),
        (b"name: \xff\xfe\x00", ("project.yaml",)),
        (b"name: a\x00b", ("project.yaml",)),
        (None, ("project.yaml", "No such file")),
    ],
    ids=["bracket", "empty", "bytes", "null byte", "missing"],
)
def test_file_that_is_no_project(content, words, tmp_path, cli):
    if content is not None:
        (tmp_path / "project.yaml").write_bytes(content)
    one_line(cli(tmp_path, "run", "-q"), *words, code=2)


def test_options_that_do_not_fit(tmp_path, new_project, cli):
    new_project(tmp_path)
    for options, word in (
        (("--start", "2023-01-01"), "--end"),
        (("--area", "1,2,3,north"), "1,2,3,north"),
        (("--area", "11.19,48.89,11.2,48.9"), "--out"),
    ):
        done = cli(tmp_path, "map", *options)
        assert done.code == 2
        assert word in done.stderr
        assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


# -- bands, CRS, area --------------------------------------------------------------------------


def test_band_that_the_archive_lacks(archive, refused):
    for item in (archive / "sentinel-2-l2a").glob("*/*.json"):
        content = json.loads(item.read_text())
        content["assets"] = {k: v for k, v in content["assets"].items() if k not in ("B11",)}
        _put(item, json.dumps(content).encode())
    refused("sentinel-2-l2a", "B11", "B04, B05", archive=archive)


def test_crs_that_is_none(refused):
    refused("EPSG:999999", "auto, native", grid={"crs": "EPSG:999999"})


def test_labels_without_crs(archive, refused, tmp_path):
    file = tmp_path / "labels.shp"
    gpd.GeoDataFrame({"class": ["water"]}, geometry=[shapely.Point(11.2, 48.9)]).to_file(file)
    refused(file, "CRS", "EPSG:4326", labels={"path": str(file)})


def _area_file(path, geometry):
    feature = {"type": "Feature", "properties": {}, "geometry": shapely.geometry.mapping(geometry)}
    path.write_text(json.dumps({"type": "FeatureCollection", "features": [feature]}))
    return str(path)


@pytest.mark.parametrize(
    ("geometry", "words"),
    [
        (shapely.box(660_000, 5_400_000, 661_000, 5_401_000), ("not lie on the Earth", "660000")),
        (shapely.Point(11.2, 48.9), ("empty", "1 features")),
        (shapely.LineString([(11.2, 48.9), (11.21, 48.9)]), ("empty",)),
    ],
    ids=["metres for degrees", "a point", "a line"],
)
def test_area_that_is_none(geometry, words, refused, tmp_path):
    file = _area_file(tmp_path / "area.geojson", geometry)
    refused(file, *words, area=file)


def test_area_outside_the_archive(refused):
    refused(
        "sentinel-2-l2a", "20.0000", "2023-07-01", "12 scenes", "11.", area=[20.0, 10.0, 20.1, 10.1]
    )


def test_area_across_no_ground(refused):
    refused("west", "(11.3, 48.9, 11.2, 49.0)", area=[11.3, 48.9, 11.2, 49.0])


def test_truncated_area_file(refused, tmp_path):
    file = tmp_path / "area.geojson"
    _area_file(file, shapely.box(11.19, 48.89, 11.2, 48.9))
    _cut_in_half(file)
    refused(file, area=str(file))


def test_truncated_catalog(archive, refused):
    _cut_in_half(archive / "catalog.json")
    refused(archive / "catalog.json", archive=archive)


def test_truncated_item(archive, refused):
    item = next(_scene(archive, 20230803).glob("*.json"))
    _cut_in_half(item)
    refused(archive / "catalog.json", archive=archive)


# -- scenes that do not load --------------------------------------------------------------------


@pytest.mark.parametrize("damage", [_cut_in_half, Path.unlink, lambda path: _put(path, b"")])
def test_scene_that_does_not_load(damage, archive, tmp_path, new_project, cli, finished, tree):
    """The map is made without the scene, which is named; other layers are as they would be."""
    damage(_asset(archive, 20230803, "B04"))
    new_project(tmp_path, archive)
    scene = _scene(archive, 20230803).name
    done = cli(tmp_path, "run", "-q", "--json")
    assert done.code == 3
    assert "Traceback" not in done.stderr
    errors = [x for x in done.stderr.splitlines() if x.startswith("earthloom: error: ")]
    assert len(errors) == 1
    assert scene in done.stderr
    assert list(json.loads(done.stdout.splitlines()[-1])["failed_scenes"]) == [scene]
    assert (tmp_path / "out" / "map" / "tiny" / "map.tif").exists()
    ours = tree(tmp_path / "out" / "cube" / "tiny")
    whole = tree(finished / "out" / "cube" / "tiny")
    changed = {name for name in ours | whole if ours.get(name) != whole.get(name)}
    changed -= {"manifest.json", "coverage.json"}
    assert changed
    assert all(name.startswith("cube.zarr/sentinel-2-l2a_10m/") for name in changed)


def test_scene_that_does_not_load_is_accepted_then_repaired(
    archive, tiny_archive, tmp_path, new_project, cli, finished, tree
):
    file = _asset(archive, 20230803, "B04")
    _cut_in_half(file)
    new_project(tmp_path, archive, failed_scenes="accept")
    done = cli(tmp_path, "run", "-q")
    assert done.code == 0
    assert done.stderr.startswith(
        f"earthloom: warning: scene {_scene(archive, 20230803).name} did not load: "
    )
    _put(file, _asset(tiny_archive, 20230803, "B04").read_bytes())
    done = cli(tmp_path, "run", "-q")
    assert (done.code, done.stderr) == (0, "")
    mapped = "map/tiny/map.tif"
    assert tree(tmp_path / "out")[mapped] == tree(finished / "out")[mapped]


def test_no_scene_loads(archive, refused):
    files = [*archive.glob("sentinel-*/*/*.tif"), *archive.glob("cop-*/*/*.tif")]
    for file in files:
        file.unlink()
    refused("none of the", "loads", archive=archive)


# -- labels -------------------------------------------------------------------------------------


def _points(classes, crs=4326, at=None):
    at = at or [shapely.Point(11.199 + 0.001 * n, 48.9) for n in range(len(classes))]
    return gpd.GeoDataFrame({"class": classes}, geometry=at, crs=crs)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (_points(["water", "lava"]), ("'lava'", "feature 2", CLASSES[0].name, CLASSES[-1].name)),
        (_points([1.0, 99.0]), ("99", "feature 2", CLASSES[0].name)),
        (_points([1.0, np.nan]), ("NaN", "feature 2", "'class'", CLASSES[0].name)),
        (_points(["water", None]), ("NaN", "feature 2", CLASSES[0].name)),
        (
            _points(["water", "water"], at=[shapely.Point(11.2, 48.9), shapely.Point()]),
            ("feature 2", "geometry"),
        ),
        (
            _points(["water", "water"], at=[shapely.Point(11.2, 48.9), shapely.Point(11, np.nan)]),
            ("feature 2", "NaN"),
        ),
        (
            _points(["water"], at=[shapely.Point(20.0, 10.0)]),
            ("no labels in the area", "20.0000", "11."),
        ),
        (_points(["water", "water"]), ("two classes", "water")),
        (_points([]), ("no features",)),
        (_points(["water"]).rename(columns={"class": "kind"}), ("'class'", "kind")),
    ],
    ids=[
        "unknown name",
        "unknown code",
        "NaN code",
        "no name",
        "no place",
        "NaN place",
        "elsewhere",
        "one class",
        "nothing",
        "no column",
    ],
)
def test_labels_that_cannot_be(table, words, refused, tmp_path):
    file = tmp_path / "labels.gpkg"
    table.to_file(file)
    refused(*words, labels={"path": str(file)})


def test_labels_whose_coordinates_are_in_another_crs(refused, tmp_path):
    """Metres that are said to be degrees lie nowhere on the Earth."""
    file = tmp_path / "labels.gpkg"
    _points(["water"], at=[shapely.Point(660_000, 5_400_000)]).to_file(file)
    refused("no labels in the area", "660000", labels={"path": str(file)})


def test_truncated_labels(archive, refused):
    _cut_in_half(archive / "labels.gpkg")
    refused(archive / "labels.gpkg", archive=archive)


def test_missing_labels(archive, refused):
    (archive / "labels.gpkg").unlink()
    refused(archive / "labels.gpkg", "does not exist", archive=archive)


def test_truncated_reference(archive, tmp_path, new_project, finished, cli, tree):
    _cut_in_half(archive / "truth" / "class.tif")
    shutil.copytree(finished / "out", tmp_path / "out")
    new_project(tmp_path, archive)
    one_line(cli(tmp_path, "assess", "-q"), archive / "truth" / "class.tif")
    assert tree(tmp_path / "out" / "assess") == tree(finished / "out" / "assess")


# -- models -------------------------------------------------------------------------------------


def _without_weights(folder):
    (folder / "model.safetensors").unlink()


def _cut_weights(folder):
    _cut_in_half(folder / "model.safetensors")


def _cut_card(folder):
    _cut_in_half(folder / "card.json")


def _other_card(folder):
    (folder / "card.json").write_text("{}")


@pytest.mark.parametrize("damage", [_without_weights, _cut_weights, _cut_card, _other_card])
def test_damaged_model(damage, tmp_path, finished, cli, tree):
    folder = Path(shutil.copytree(finished, tmp_path / "project"))
    model = Path(shutil.copytree(finished / "out" / "fit" / "all", tmp_path / "model"))
    damage(model)
    one_line(cli(folder, "map", "-q", "--model", model), model)
    assert tree(folder / "out" / "map") == tree(finished / "out" / "map")


def test_model_that_asks_for_other_layers(tmp_path, finished, new_project, cli):
    new_project(tmp_path, sensors=[{"name": "sentinel-2-l2a", "bands": ["B03"]}])
    done = cli(tmp_path, "map", "-q", "--model", finished / "out" / "fit" / "all")
    one_line(done, "expects", "B03")
    assert not (tmp_path / "out" / "map" / "tiny").exists()


def test_no_pickle_is_read():
    """What loads a pickle runs whatever stands in it."""
    forbidden = re.compile(
        r"^\s*(import|from)\s+(pickle|cPickle|dill|cloudpickle|joblib|shelve|marshal)\b"
        r"|\bjoblib\.(load|dump)|read_pickle|allow_pickle\s*=\s*True|weights_only\s*=\s*False",
        re.MULTILINE,
    )
    for file in SOURCE.rglob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert not forbidden.search(text), f"{file}: {forbidden.search(text)}"
        for call, needed in ((r"\btorch\.load\(", "weights_only=True"), (r"\bnp\.load\(", "")):
            for found in re.finditer(call, text):
                arguments = text[found.start() : text.index("\n", found.end())]
                wanted = needed or "allow_pickle=False"
                assert wanted in arguments, f"{file}: {arguments} without {wanted}"


# -- the machine --------------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 600 kB, with the group that may write to it."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=600k", "tmpfs", str(folder)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk cannot be mounted here: {error}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_full_disk(small_disk, tmp_path, new_project, cli):
    new_project(tmp_path)
    done = cli(tmp_path, "run", "-q", "--out", small_disk / "out")
    one_line(done, "disk is full", small_disk, "'out'")
    stages = [path.parent for path in (small_disk / "out").rglob("manifest.json")]
    assert all(not stage.name.endswith(".partial") for stage in stages)
    assert not list((small_disk / "out").glob("map/tiny"))


def test_full_disk_while_the_map_is_replaced(
    small_disk, tmp_path, new_project, cli, finished, tree
):
    """What was whole stays whole."""
    out = small_disk / "out"
    out.mkdir()
    for stage in ("map", "search"):
        shutil.copytree(finished / "out" / stage, out / stage)
    filled = small_disk / "filled"
    filled.write_bytes(bytes(shutil.disk_usage(small_disk).free - 20_000))
    new_project(tmp_path, dates={"start": "2023-05-01", "end": "2023-08-31"})
    done = cli(tmp_path, "run", "-q", "--out", out)
    one_line(done, "disk is full", out)
    assert tree(out / "map" / "tiny") == tree(finished / "out" / "map" / "tiny")


def test_out_that_is_a_file(tmp_path, new_project, cli):
    new_project(tmp_path)
    (tmp_path / "out").write_text("a file")
    one_line(cli(tmp_path, "run", "-q"), "out/search")
    assert (tmp_path / "out").read_text() == "a file"


@pytest.mark.parametrize("moment", ["cube/tiny.partial", "fit/all.partial", "assess.partial"])
def test_ctrl_c(moment, tmp_path, new_project, start, cli, finished, tree, left):
    new_project(tmp_path)
    running = start(tmp_path, "run", "-q")
    while running.alive and not (tmp_path / "out" / moment).exists():
        time.sleep(0.0005)
    os.kill(running.pid, signal.SIGINT)
    done = running.wait()
    one_line(done, "stopped", "goes on", code=130)
    done = cli(tmp_path, "run", "-q")
    assert done.code == 0, done.stderr
    assert tree(tmp_path / "out") == tree(finished / "out")
    assert left(tmp_path / "out") == []
