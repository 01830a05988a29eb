"""The file that says a pretraining, and the command line."""

import io
import json
import subprocess
import sys

import pytest

from earthloom.errors import ProjectError
from earthloom.pretrain import OBJECTIVES, SOURCES
from earthloom.pretrain.command import main
from earthloom.pretrain.config import EXAMPLE, RECIPES, load_config
from earthloom.pretrain.registry import chosen
from earthloom.pretrain.settings import table_of

TINY = """
folder = "out"
size = "tiny"
steps = 2
batch = 2
log_every = 1
look_chips = 4
accelerator = "cpu"
devices = 2
[[data]]
name = "simulated"
chips = 8
side = 24
landscape = 48
chips_each = 2
sensors = ["sentinel-2-10m", "landsat"]
[[objectives]]
name = "masked"
width = 8
[[objectives]]
name = "joint"
weight = 0.5
classes = 11
"""


@pytest.fixture
def written(tmp_path):
    def write(text):
        file = tmp_path / "pretrain.toml"
        file.write_text(text)
        return file

    return write


@pytest.mark.parametrize("name", OBJECTIVES)
def test_objectives_are_told_by_tables_and_back(name):
    made = OBJECTIVES[name]()
    assert chosen(OBJECTIVES, table_of(made), "here") == made


def test_the_example_is_valid(written):
    settings = load_config(written(EXAMPLE))
    assert settings.folder.name == "pretrained"
    assert settings.folder.parent == written(EXAMPLE).parent
    assert [each.name for each in settings.objective.objectives] == ["masked", "joint"]
    assert settings.objective.weights == (1.0, 0.3)
    assert settings.sources[0].chips == 20_000


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("steps = 2\n", "stepps = 2\n", "'stepps' is not known; valid are: folder, size"),
        ("steps = 2\n", 'steps = "2"\n', "steps is '2'; valid is: int"),
        ('size = "tiny"', 'size = "huge"', "size is 'huge'; valid are: tiny, small, base"),
        ('name = "masked"', 'name = "mask"', "name is 'mask'; valid are: masked, contrast, joint"),
        ('name = "simulated"', 'name = "real"', "name is 'real'; valid are: simulated, series"),
        ("width = 8", "depth = 8", "'depth' is not known; valid are: places, dates"),
        ("weight = 0.5", "weight = -1", "valid is a number above 0 for each"),
        ('folder = "out"', "", "folder is not given"),
        ("[[objectives]]", "[[aims]]", "'aims' is not known"),
        ("batch = 2", 'precision = "fp8"', "precision is 'fp8'; valid is: fp32, bf16"),
        ("side = 24", "side = 25", "side is 25; valid are multiples of 3"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_valid(old, new, message, written):
    with pytest.raises(ProjectError) as caught:
        load_config(written(TINY.replace(old, new)))
    assert message in str(caught.value)
    assert "pretrain.toml" in str(caught.value)


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_files_of_pretrainings(name, tmp_path):
    out = io.StringIO()
    assert main(["recipe", name], out) == 0
    file = tmp_path / "recipe.toml"
    file.write_text(out.getvalue())
    assert load_config(file).size in name


def test_sources_are_known_by_their_names():
    assert set(SOURCES) == {"simulated", "series", "store"}
    assert all(kind.name == name for name, kind in SOURCES.items())


def test_errors_are_one_line(written, capsys):
    assert main(["run", str(written("steps = "))]) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_two_processes_train_one_network(written):
    """DDP over gloo, from the command line: one file of weights, with its card."""
    file = written(TINY)
    ran = subprocess.run(
        [sys.executable, "-m", "earthloom.pretrain", "run", str(file)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    out = io.StringIO()
    assert main(["card", str(file.parent / "out" / "weights.safetensors")], out) == 0
    card = json.loads(out.getvalue())
    assert card["chips_seen"] == 8
    assert ran.stdout.count("step 2 of 2") == 1
    assert card["settings"]["devices"] == 2
