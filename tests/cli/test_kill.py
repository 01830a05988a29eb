"""A run that is killed goes on from where it was, and ends with the same bytes."""

import json
import os
import shutil
import time

import pytest
import torch

from earthloom import verbs
from earthloom.project import load_project

MOMENTS = (
    "search.partial",
    "cube/tiny.partial",
    "cube/tiny",
    "chips.partial",
    "fit/all.partial",
    "fit/all",
    "map/tiny.partial/work",
    "map/tiny",
    "assess.partial",
    "assess",
)
"""Folders and files whose appearance is the moment of a kill."""


@pytest.fixture
def threads():
    """One thread, as the processes of these tests have; sums depend on how they are parted."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _kill_when(running, path):
    """SIGKILL as soon as a path is there; True if the process was still at work."""
    while running.alive and not path.exists():
        time.sleep(0.0005)
    working = running.alive
    running.kill()
    running.wait()
    return working


def test_killed_at_every_stage_it_ends_with_the_same_bytes(
    tmp_path, new_project, start, cli, finished, tree, left
):
    """One project, killed again and again, each time a little further on."""
    new_project(tmp_path)
    out = tmp_path / "out"
    killed = [_kill_when(start(tmp_path, "run", "-q"), out / moment) for moment in MOMENTS]
    assert sum(killed) >= len(MOMENTS) // 2, "too few of the kills came while the run was at work"
    done = cli(tmp_path, "run", "-q")
    assert done.code == 0, done.stderr
    assert tree(out) == tree(finished / "out")
    assert left(out) == []


@pytest.mark.parametrize("moment", ["cube/tiny.partial", "map/tiny.partial"])
def test_killed_while_a_stage_is_replaced(
    moment, tmp_path, new_project, start, cli, finished, tree, left
):
    """The older result stays, whole, until the newer one is."""
    shutil.copytree(finished / "out", tmp_path / "out")
    other = {"name": "ridge", "radius": 0, "random_features": 16}
    dates = {"start": "2023-07-01", "end": "2023-07-31"}
    change = {"dates": dates} if moment.startswith("cube") else {"model": other}
    new_project(tmp_path, **change)
    before = tree(tmp_path / "out" / "map" / "tiny")
    _kill_when(start(tmp_path, "run", "-q"), tmp_path / "out" / moment)
    assert tree(tmp_path / "out" / "map" / "tiny") == before
    new_project(tmp_path)
    done = cli(tmp_path, "run", "-q")
    assert done.code == 0, done.stderr
    assert tree(tmp_path / "out") == tree(finished / "out")
    assert left(tmp_path / "out") == []


def test_two_folders_and_the_python_api_give_the_same_bytes(
    tmp_path, new_project, finished, tree, threads
):
    summary = verbs.run(load_project(new_project(tmp_path / "elsewhere")))
    assert summary["failed_scenes"] == {}
    assert tree(tmp_path / "elsewhere" / "out") == tree(finished / "out")


def _stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.name != "run.json"}


def test_a_second_run_changes_nothing(tmp_path, new_project, cli, finished, tree):
    shutil.copytree(finished, tmp_path / "again")
    out = tmp_path / "again" / "out"
    stamps, bytes_before = _stamps(out / "map"), tree(out)
    done = cli(tmp_path / "again", "run")
    assert done.code == 0, done.stderr
    assert tree(out) == bytes_before
    assert _stamps(out / "map") == stamps
    assert set(json.loads((out / "run.json").read_text())["stages"].values()) == {"unchanged"}
    assert "built" not in done.stderr


@pytest.mark.parametrize(
    ("change", "built"),
    [
        ({"assess": "points"}, {"assess"}),
        ({"map": {"window": 96}}, {"map/tiny", "collection", "assess"}),
        ({"model": {"name": "ridge", "radius": 0, "random_features": 16}}, None),
    ],
    ids=["assess", "map", "model"],
)
def test_a_changed_setting_builds_only_what_depends_on_it(
    change, built, tmp_path, new_project, cli, finished
):
    shutil.copytree(finished / "out", tmp_path / "out")
    project = load_project(finished / "project.yaml")
    if change == {"assess": "points"}:
        change = {"assess": project.assess.as_inputs() | {"points": 150}}
    new_project(tmp_path, **change)
    done = cli(tmp_path, "run", "-q")
    assert done.code == 0, done.stderr
    stages = json.loads((tmp_path / "out" / "run.json").read_text())["stages"]
    fresh = {name for name, state in stages.items() if state == "built"}
    assert fresh == (built or {"fit/all", "map/tiny", "collection", "assess"})


def test_a_result_whose_file_was_damaged_is_built_again(tmp_path, cli, finished, tree):
    shutil.copytree(finished, tmp_path / "copy")
    out = tmp_path / "copy" / "out"
    weights = out / "fit" / "all" / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    done = cli(tmp_path / "copy", "run", "-q")
    assert done.code == 0, done.stderr
    assert tree(out) == tree(finished / "out")
