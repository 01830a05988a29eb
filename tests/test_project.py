"""The project file: a mistake is named with its line, its value and the valid choices."""

import re

import pytest

from earthloom.demo import write_demo
from earthloom.errors import ProjectError
from earthloom.project import load_project
from earthloom.sensors import known_sensors

TEXT = """\
name: lake
seed: 1
archive: {kind: catalog, path: catalog.json}
area: [10.0, 45.0, 10.1, 45.1]
dates: {start: 2023-01-01, end: 2023-12-31}
grid:
  crs: auto
  resolution: 10
sensors:
  - name: sentinel-2-l2a
    bands: [B03, B08]
  - name: sentinel-1-rtc
classes:
  - {code: 1, name: water, colour: "#2f74b5"}
  - {code: 2, name: land, colour: "#4f9d3f"}
labels: {path: labels.gpkg}
model: {name: ridge}
assess: {method: sample}
"""

OWN_SENSOR = """\
name = "drone"
title = "A camera under a drone"
source = "its maker"
[[bands]]
name = "red"
kind = "reflectance"
unit = "1"
gsd = 0.1
"""


def _write(folder, text=TEXT):
    (folder / "project.yaml").write_text(text, encoding="utf-8")
    return folder / "project.yaml"


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("seed: 1", "sede: 1", 2, r"sede: there is no such key; valid keys here: name, seed, out"),
        ("resolution", "resolutoin", 8, r"grid\.resolutoin: .*valid keys here: crs, resolution,"),
        (
            "bands: [",
            "band: [",
            11,
            r"\.band: .*: name, bands, every, by, mask, .*max_cloud",
        ),
        ("{name: ridge}", "{name: ridge, trees: 3}", 17, r"keys here: name, radius, random_feat"),
        ("assess: {method: sample}\n", "", 1, "assess: this key is missing"),
        ("    bands: [B03, B08]", "    bands: B03", 11, r"sensors\.0\.bands: 'B03': .*tuple"),
        ("- name: sentinel-1-rtc", "- every: date", 12, r"sensors\.1\.name: this key is missing"),
        ("seed: 1", "seed: one", 2, r"seed: 'one': .*integer"),
        ("seed: 1", "seed: -1", 2, r"seed: -1: .*greater than or equal to 0"),
        ("seed: 1", "seed: 1.5", 2, r"seed: 1\.5: .*integer"),
        ("resolution: 10", "resolution: .inf", 8, r"grid\.resolution: inf: .*finite"),
        ("resolution: 10", "resolution: 0", 8, r"grid\.resolution: 0: .*greater than 0"),
        ("{name: ridge}", "{name: magic}", 17, "'magic' is not valid; valid: .*ridge.*forest"),
        ("{name: ridge}", "{radius: 2}", 17, "the key 'name' is missing"),
        ("kind: catalog", "kind: ftp", 3, "'ftp' is not valid; valid: .*simulated.*catalog"),
        ("bands: [B03, B08]", "every: week", 11, "unknown 'week'; valid: .*date.*month"),
        ("method: sample", "method: guess", 18, "'guess' is not valid; valid: .*sample.*folds"),
        ("code: 2", "code: 1", 13, "each class needs a code of its own; twice: 1"),
        ("name: land", "name: water", 13, "each class needs a name of its own; twice: water"),
        ("code: 2", "code: 0", 15, r"classes\.1\.code: 0: .*greater than or equal to 1"),
        ("code: 2", "code: 300", 15, r"classes\.1\.code: 300: .*less than or equal to 254"),
        ("#4f9d3f", "green", 15, r"classes\.1\.colour: 'green'"),
        ("sentinel-1-rtc", "sentinel-3", 12, "unknown sensor 'sentinel-3'; known are: .*modis"),
        ("B08]", "B88]", 11, "has no band 'B88'; its bands are: B01, B02"),
        ("2023-12-31", "2022-12-31", 5, r"'end' \(2022-12-31\) must not be before 'start'"),
        ("2023-12-31", "2023-02-30", 5, r"dates\.end: '2023-02-30'"),
        ("[10.0, 45.0, 10.1, 45.1]", "[10.0, 45.0]", 4, "area"),
        ("name: lake", "name: ../lake", 1, r"name: '\.\./lake'"),
        ("seed: 1", "seed: [1", 3, "not valid YAML"),
    ],
)
def test_mistake_is_named(old, new, line, words, tmp_path):
    assert TEXT.count(old) == 1
    file = _write(tmp_path, TEXT.replace(old, new))
    with pytest.raises(ProjectError) as caught:
        load_project(file)
    message = str(caught.value)
    assert f"{file}, line {line}: " in message
    assert re.search(words, message), message
    assert "pydantic" not in message


def test_more_mistakes_are_counted(tmp_path):
    text = TEXT.replace("seed: 1", "seed: -1").replace("code: 2", "code: 0")
    with pytest.raises(ProjectError, match=r"line 2.*\(and 1 more\)"):
        load_project(_write(tmp_path, text))


@pytest.mark.parametrize("text", ["", "- a\n- b\n", "just words"])
def test_file_that_is_no_mapping(text, tmp_path):
    with pytest.raises(ProjectError, match="a project is a mapping of keys such as name, seed"):
        load_project(_write(tmp_path, text))


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("(?P<place>.*)/x.tif", "must have a group"),
        ("(?P<band>.*", "not a regular expression"),
        ("(?P<band>.*)[.]tif", "dates are needed"),
    ],
)
def test_pattern_of_a_folder(pattern, words, tmp_path):
    archive = f"{{kind: folder, path: x, sensor: sentinel-2-l1c, pattern: '{pattern}'}}"
    text = TEXT.replace("{kind: catalog, path: catalog.json}", archive)
    with pytest.raises(ProjectError, match=f"line 3.*{words}"):
        load_project(_write(tmp_path, text))


def test_paths_are_relative_to_the_file(tmp_path):
    project = load_project(_write(tmp_path))
    assert project.path("labels.gpkg") == tmp_path / "labels.gpkg"
    assert project.out_folder == tmp_path / "out"
    assert project.path("/elsewhere").as_posix() == "/elsewhere"


def test_changes_go_before_the_file(tmp_path):
    project = load_project(
        _write(tmp_path), out="there", dates={"start": "2024-01-01", "end": "2024-02-01"}
    )
    assert project.out == "there"
    assert project.dates.start.year == 2024


def test_change_that_is_not_valid_is_named(tmp_path):
    with pytest.raises(ProjectError, match="'end'"):
        load_project(_write(tmp_path), dates={"start": "2024-02-01", "end": "2024-01-01"})


def test_settings_are_frozen(tmp_path):
    project = load_project(_write(tmp_path))
    with pytest.raises(ValueError, match="frozen"):
        project.seed = 2


def test_sensor_of_the_projects_folder(tmp_path):
    (tmp_path / "drone.sensor.toml").write_text(OWN_SENSOR)
    text = TEXT.replace("- name: sentinel-1-rtc", "- {name: drone, bands: [red]}")
    project = load_project(_write(tmp_path, text))
    assert project.sensor("drone").title == "A camera under a drone"
    assert "drone" in known_sensors(tmp_path)


@pytest.mark.parametrize("seed", [0, 7])
def test_the_demonstration_is_valid(seed, tmp_path):
    project = load_project(write_demo(tmp_path, 2000, seed))
    assert project.seed == seed
    assert project.archive.size_m == 2000
    assert project.assess.method == "sample"
