"""A cube is the same whatever dies while it is made: workers, the client, a file, a scene."""

import multiprocessing
import os
import shutil
import signal
import time

import numpy as np
import pytest
from distributed import Client

from earthloom.cube.build import CubeWork, failed_scenes
from earthloom.cube.store import write_tile
from earthloom.errors import EarthloomError
from earthloom.workers import Cluster, Threads

STAGE = "cube/tiny"
PATIENCE = 120


class Mortal(CubeWork):
    """Work on which three processes die: before a unit, within its files, and after it."""

    def do(self, unit):
        if multiprocessing.parent_process() is None:
            return super().do(unit)
        if self._first("before"):
            os.kill(os.getpid(), signal.SIGKILL)
        if self._first("within"):
            shard = self.path / self.plans[unit.plan].spec.key / "pixels" / "c" / "0" / "0"
            shard.mkdir(parents=True, exist_ok=True)
            (shard / "0.0123.partial").write_bytes(b"half of a shard")
            os.kill(os.getpid(), signal.SIGKILL)
        reasons = super().do(unit)
        if self._first("after"):
            os.kill(os.getpid(), signal.SIGKILL)
        return reasons

    def _first(self, name):
        try:
            (self.path.parents[2] / f"died {name}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


def test_workers_that_are_killed_lose_nothing(build, cluster, quiet, tree, tmp_path, monkeypatch):
    monkeypatch.setattr("earthloom.cube.build.CubeWork", Mortal)
    build(tmp_path, Cluster(cluster.scheduler_address))
    died = sorted(tmp_path.glob("died *"))
    assert len(died) == 3
    for each in died:
        each.unlink()
    assert tree(tmp_path) == quiet


def _stamps(folder):
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.is_file() and "/c/" in path.as_posix()
    }


@pytest.mark.parametrize("where", ["threads", "cluster"])
def test_a_client_that_is_killed_goes_on(where, build, client, cluster, quiet, tree, tmp_path):
    """What it had finished is not done again, and the bytes are the same."""
    address = cluster.scheduler_address if where == "cluster" else None
    workers = Cluster(address) if address else Threads(2)
    for count in (6, 20):
        assert client(tmp_path, address, dies_at=count)[0] == -signal.SIGKILL
    (ledger,) = (tmp_path / f"{STAGE}.partial").glob("*.units")
    done = set(ledger.read_text().splitlines())
    assert len(done) == 20
    units = []
    build(tmp_path, workers, lambda number, total, detail="": units.append(number))
    assert units[0] == 21
    assert len(units) == units[-1] - 20
    assert tree(tmp_path) == quiet


def test_a_kill_between_the_last_tile_and_the_manifest_costs_nothing(
    build, quiet, tree, tmp_path, monkeypatch
):
    def stop(partial):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("earthloom.stages._sweep", stop)
        with pytest.raises(KeyboardInterrupt):
            build(tmp_path)
    stamps = _stamps(tmp_path / f"{STAGE}.partial")
    ticks = []
    build(tmp_path, tick=lambda *numbers: ticks.append(numbers))
    assert ticks == []
    assert _stamps(tmp_path / STAGE) == stamps
    assert tree(tmp_path) == quiet


def test_ctrl_c_calls_back_what_was_handed_in(build, cluster, quiet, tree, tmp_path):
    def interrupt(done, total, detail=""):
        if done == 3:
            raise KeyboardInterrupt

    workers = Cluster(cluster.scheduler_address)
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, workers, interrupt)
    assert not (tmp_path / STAGE).exists()
    with Client(cluster.scheduler_address, set_as_default=False) as client:
        deadline = time.monotonic() + PATIENCE
        while any(client.processing().values()) and time.monotonic() < deadline:
            pass
        assert not any(client.processing().values())
    build(tmp_path, workers)
    assert tree(tmp_path) == quiet


def test_tiles_of_another_job_do_not_get_in(build, planned, quiet, tree, tmp_path):
    """A worker still does a unit of a project that was changed and started anew meanwhile."""
    _, plans = planned
    late = []

    def tick(done, total, detail=""):
        (path,) = (tmp_path / f"{STAGE}.partial").glob("cube.zarr.????????????????")
        late.append(path)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, Threads(1), tick, inputs="older")

    def meanwhile(done, total, detail=""):
        spec = plans[0].spec
        work = CubeWork("", tuple(plans), late[0])
        unit = work.units(planned[0])[0]
        shape = unit.window.shape
        image = np.zeros((len(spec.bands), *shape), np.float32)
        with pytest.raises(FileNotFoundError):
            write_tile(late[0], spec.key, 0, unit.window, image, np.ones(shape, np.uint8))

    build(tmp_path, Threads(1), meanwhile)
    assert tree(tmp_path) == quiet


def test_a_truncated_scene_is_counted_alike_everywhere(
    build, cluster, planned, tiny_archive, quiet, tree, tmp_path
):
    """And the unit is not taken as done: repaired, the cube is as if nothing had been."""
    archive = shutil.copytree(tiny_archive, tmp_path / "archive")
    scene = next(scene for plan in planned[1] for step in plan.steps for scene in step.scenes)
    victim = archive / scene.bands["B04"].href
    whole = victim.read_bytes()
    os.truncate(victim, 200)
    outs = {}
    for name, workers in (
        ("threads", Threads(2)),
        ("cluster", Cluster(cluster.scheduler_address)),
    ):
        build(tmp_path / name, workers, archive=archive)
        outs[name] = tree(tmp_path / name)
        failed = failed_scenes(tmp_path / name / STAGE)
        assert set(failed) == {scene.id}
        assert str(tmp_path) not in str(failed)
    assert outs["threads"] == outs["cluster"] != quiet
    ledgers = []

    def kill_late(done, total, detail=""):
        if done == total - 1:
            ledgers.extend((tmp_path / "again" / f"{STAGE}.partial").glob("*.units"))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "again", Threads(2), kill_late, archive=archive)
    assert ledgers
    victim.write_bytes(whole)
    build(tmp_path / "again", Threads(2), archive=archive)
    assert tree(tmp_path / "again") == quiet


def test_two_that_write_the_same_tile_at_once_leave_it_whole(build, planned, tmp_path, quiet, tree):
    """Each unit by four threads at the same time, as a straggler and its second try are."""

    class Fourfold:
        def run(self, work, units):
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(4) as pool:
                for unit in units:
                    results = list(pool.map(work, [unit] * 4))
                    assert results.count(results[0]) == 4
                    yield unit, results[0]

    build(tmp_path, Fourfold())
    assert tree(tmp_path) == quiet


def test_an_error_of_a_unit_is_the_error_of_the_job(build, cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("earthloom.cube.build.CubeWork", Broken)
    with pytest.raises(EarthloomError, match=r"^the tile is odd$"):
        build(tmp_path, Cluster(cluster.scheduler_address))
    assert not (tmp_path / STAGE).exists()


class Broken(CubeWork):
    def do(self, unit):
        if unit.step == 1:
            raise EarthloomError("the tile is odd")
        return super().do(unit)
