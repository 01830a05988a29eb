"""A cube of many small units, how it looks when nothing goes wrong, and a cluster to break."""

import hashlib
import multiprocessing
import runpy
from collections.abc import Callable, Iterator
from pathlib import Path

import cloudpickle
import pytest
from distributed import LocalCluster

from earthloom.archive import StaticCatalog
from earthloom.areas import areas_of, scenes_of
from earthloom.cube import build_cube, plan_layers
from earthloom.project import load_project
from earthloom.sample import Shape2d
from earthloom.stages import StageResult, run_stage
from earthloom.workers import Threads

STAGE = "cube/tiny"
CHILD = Path(__file__).with_name("child.py")
PATIENCE = 120
"""Seconds after which a process is taken to hang; no test asserts on time."""
Build = Callable[..., StageResult]


def silent(done, total, detail=""):
    pass


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch):
    """Many units; what a unit is, is decided where they are handed out."""
    monkeypatch.setattr("earthloom.cube.build.TILE", 64)


@pytest.fixture(scope="session")
def planned(new_project, tiny_archive, tmp_path_factory):
    """The area's shape, and the plans of its cube."""
    dates = {"start": "2023-06-01", "end": "2023-08-31"}
    project = load_project(new_project(tmp_path_factory.mktemp("chaos"), dates=dates))
    archive = StaticCatalog(tiny_archive / "catalog.json")
    (area,) = areas_of(project, archive)
    scenes = scenes_of(project, archive, area)
    return Shape2d(*area.box.shape), plan_layers(project, area.box, scenes)


@pytest.fixture
def build(planned, tiny_archive) -> Build:
    """Makes the cube as a stage of a folder: `build(out, workers, tick)`."""
    shape, plans = planned

    def run(out, workers=None, tick=silent, archive=tiny_archive, inputs=0):
        def make(folder):
            build_cube(str(archive), plans, shape, folder, tick, workers)

        return run_stage(out, STAGE, {"inputs": inputs}, make)

    return run


@pytest.fixture
def client(planned, tiny_archive):
    """Makes the cube in a process of its own: its exit code, and its error in words.

    `client(out, address=None, dies_at=None, bytes_most=None)`
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["earthloom.cube.build", "earthloom.workers"])

    def run(out, address=None, dies_at=None, bytes_most=None):
        answer = context.SimpleQueue()
        names = {
            "FOLDER": str(out),
            "ARCHIVE": str(tiny_archive),
            "PLANNED": cloudpickle.dumps(planned),
            "ADDRESS": address,
            "DIES_AT": dies_at,
            "BYTES_MOST": bytes_most,
            "ANSWER": answer,
        }
        child = context.Process(target=runpy.run_path, args=(str(CHILD), names))
        child.start()
        child.join(PATIENCE)
        code = child.exitcode
        if code is None:
            child.kill()
            pytest.fail("the client hangs")
        return code, "" if answer.empty() else answer.get()

    return run


def tree_of(folder: Path) -> dict[str, str]:
    """SHA-256 of every file by its path."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


@pytest.fixture(scope="session")
def tree() -> Callable[[Path], dict[str, str]]:
    return tree_of


_quiet: dict[str, str] = {}


@pytest.fixture
def quiet(build, tmp_path_factory) -> dict[str, str]:
    """The files of a build in which nothing goes wrong."""
    if not _quiet:
        out = tmp_path_factory.mktemp("quiet")
        build(out, Threads(2))
        _quiet.update(tree_of(out))
    return _quiet


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    """Two workers, each a process with a nanny that starts it again when it dies.

    Gone after the file's tests: idle workers take time from all tests that come after.
    """
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as made:
        yield made
