"""A first project file from answers."""

from datetime import date

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from earthloom.cli import app
from earthloom.errors import ProjectError
from earthloom.initialise import Answers, archive_lines, gather, to_fill_in, write_project
from earthloom.initialise.subject import Classes, Values
from earthloom.project import load_project

ANSWERS = Answers(
    archive="https://stac.example.org/v1",
    sensors=("sentinel-2-l2a", "cop-dem-glo-30"),
    area="11.0,48.8,11.3,49.0",
    start=date(2023, 1, 1),
    end=date(2023, 6, 30),
    labels="labels.gpkg",
    subject=Classes(("forest", "water")),
)


def changed(**changes):
    return Answers(**(vars(ANSWERS) | changes))


def test_the_answers_stand_in_the_file(tmp_path):
    project = write_project(tmp_path / "valley.yaml", ANSWERS)
    assert project == load_project(tmp_path / "valley.yaml")
    assert project.name == "valley"
    assert (project.archive.kind, project.archive.url) == ("api", "https://stac.example.org/v1")
    assert project.area == (11.0, 48.8, 11.3, 49.0)
    assert (project.dates.start, project.dates.end) == (date(2023, 1, 1), date(2023, 6, 30))
    assert [each.name for each in project.sensors] == ["sentinel-2-l2a", "cop-dem-glo-30"]
    assert [(each.code, each.name) for each in project.classes] == [(1, "forest"), (2, "water")]
    assert "#" in (tmp_path / "valley.yaml").read_text()
    assert [path.name for path in tmp_path.iterdir()] == ["valley.yaml"]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    names=st.lists(st.text(min_size=1, max_size=12), min_size=2, max_size=5, unique=True),
    labels=st.text(st.characters(exclude_categories=["C"]), min_size=1, max_size=20),
)
def test_any_words_come_back_as_they_were(names, labels, tmp_path):
    """Whatever a class or a file is called, the file says so and is valid YAML."""
    wanted = changed(subject=Classes(tuple(names)), labels=labels)
    project = write_project(tmp_path / "project.yaml", wanted, force=True)
    assert [each.name for each in project.classes] == names
    assert project.labels.path == labels


@pytest.mark.parametrize(
    ("source", "section"),
    [
        ("simulated", {"kind": "simulated", "path": "archive"}),
        ("a/catalog.json", {"kind": "catalog", "path": "a/catalog.json"}),
        ("items.parquet", {"kind": "geoparquet", "path": "items.parquet"}),
        ("http://x.org/api", {"kind": "api", "url": "http://x.org/api"}),
        ("https://x.org/catalog.json", {"kind": "catalog", "path": "https://x.org/catalog.json"}),
        (
            "https://planetarycomputer.microsoft.com/api/stac/v1",
            {
                "kind": "api",
                "url": "https://planetarycomputer.microsoft.com/api/stac/v1",
                "sign": {"kind": "planetary-computer"},
            },
        ),
    ],
)
def test_kinds_of_archives(source, section):
    assert yaml.safe_load("\n".join(archive_lines(source))) == section


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"archive": "somewhere"}, "'somewhere' is no archive; valid: the address of a STAC API"),
        ({"sensors": ("landsat",)}, "unknown sensor 'landsat'; known are: "),
        ({"start": date(2024, 1, 1)}, "'end' .* must not be before 'start'"),
        ({"subject": Classes(("a", "a"))}, "each class needs a name of its own"),
    ],
)
def test_wrong_answers_leave_nothing_behind(changes, words, tmp_path):
    with pytest.raises(ProjectError, match=words):
        write_project(tmp_path / "project.yaml", changed(**changes))
    assert list(tmp_path.iterdir()) == []


def test_what_is_given_is_not_asked():
    asked = []

    def ask(question, default):
        asked.append(question)
        return default

    given = {"archive": "simulated", "start": "2023-03-01", "classes": "a, b"}
    answers = gather(given, ask)
    assert (answers.start, answers.end) == (date(2023, 3, 1), date(2023, 12, 31))
    assert answers.subject == Classes(("a", "b"))
    assert len(asked) == 5
    with pytest.raises(ProjectError, match="'soon' is not a day as YYYY-MM-DD"):
        gather({"start": "soon"}, ask)
    with pytest.raises(ProjectError, match="two classes or more; given: forest"):
        gather({"classes": "forest"}, ask)
    with pytest.raises(ProjectError, match="unknown task 'boxes'; known are: class, value"):
        gather({"task": "boxes"}, ask)
    with pytest.raises(ProjectError, match="'classes' has no place in a map of the task 'value'"):
        gather({"task": "value", "classes": "a, b"}, ask)


def test_a_map_of_numbers(tmp_path):
    """A column is called as what is measured, unless it is given; all is in the file."""
    given = {"task": "pixel-value", "archive": "simulated", "quantity": "canopy height"}
    answers = gather(given | {"unit": "m"}, lambda question, default: default)
    assert answers.subject == Values("canopy height", "m", "canopy height")
    project = write_project(tmp_path / "project.yaml", answers)
    assert (project.task.kind, project.task.unit) == ("pixel-value", "m")
    assert project.task.quantity == "canopy height"
    assert (project.labels.path, project.labels.column) == ("plots.gpkg", "canopy height")
    assert project.assess.baselines == ("mean",)
    assert not project.classes
    bare = write_project(tmp_path / "bare.yaml", changed(subject=Values("share", "1", "y")))
    assert (bare.task.unit, bare.labels.column) == ("1", "y")


def test_the_sampled_assessment_in_the_comments_is_valid(tmp_path):
    """What stands in the file to be put in place of the three lines above it."""
    file = tmp_path / "project.yaml"
    write_project(file, changed(subject=Values("biomass", "t/ha", "biomass")))
    kept, _, rest = file.read_text().partition("  method: folds")
    told = [line[4:] for line in rest.splitlines() if line.startswith(("  # method", "  # ref"))]
    file.write_text(kept + "".join(f"  {line}\n" for line in told))
    assert load_project(file).assess.method == "sample"
    assert load_project(file).assess.reference == "truth.tif"


def test_what_is_not_there_yet_is_told(tmp_path):
    project = write_project(tmp_path / "project.yaml", changed(area="valley.geojson"))
    area, labels = to_fill_in(project)
    assert area == "valley.geojson: the outline of what is mapped"
    assert labels.startswith("labels.gpkg: points or polygons with a column 'class'")
    (tmp_path / "labels.gpkg").write_text("")
    assert to_fill_in(project) == [area]
    done = run(tmp_path, "--yes", "--force", "--task", "value", "--unit", "kg/m2")
    assert done.exit_code == 0, done.output
    assert "still to be put there: plots.gpkg: points or polygons with a column" in done.output
    assert load_project(tmp_path / "project.yaml").task.unit == "kg/m2"
    assert "still" not in run(tmp_path, "--yes", "--force").output


def run(folder, *arguments, answers=""):
    return CliRunner().invoke(app, ["init", str(folder / "project.yaml"), *arguments], answers)


def test_the_verb_asks(tmp_path):
    answers = "\n".join(["", "https://x.org/v1", "", "1,2,3,4", "", "", "", "forest, water"]) + "\n"
    done = run(tmp_path, answers=answers)
    assert done.exit_code == 0, done.output
    project = load_project(tmp_path / "project.yaml")
    assert project.archive.url == "https://x.org/v1"
    assert project.area == (1, 2, 3, 4)
    assert [each.name for each in project.classes] == ["forest", "water"]
    assert "sentinel-1-rtc" in done.output


def test_the_verb_takes_flags(tmp_path):
    done = run(tmp_path, "--yes", "--sensor", "sentinel-1-rtc", "--start", "2023-05-01")
    assert done.exit_code == 0, done.output
    project = load_project(tmp_path / "project.yaml")
    assert [each.name for each in project.sensors] == ["sentinel-1-rtc"]
    assert project.dates.start == date(2023, 5, 1)
    assert project.archive.kind == "simulated"


def test_a_file_is_never_overwritten_unasked(tmp_path):
    file = tmp_path / "project.yaml"
    file.write_text("mine")
    done = run(tmp_path, "--yes")
    assert isinstance(done.exception, ProjectError)
    assert "overwrite it with --force" in str(done.exception)
    with pytest.raises(ProjectError, match="exists"):
        write_project(file, ANSWERS)
    assert file.read_text() == "mine"
    assert run(tmp_path, "--yes", "--force").exit_code == 0
    assert load_project(file).archive.kind == "simulated"


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(ProjectError, match="no folder to write it to"):
        write_project(tmp_path / "none" / "project.yaml", ANSWERS)
