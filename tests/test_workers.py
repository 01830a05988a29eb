"""Units are done, each once as far as anyone sees, wherever and however often they are tried."""

import os
import signal
import time
from pathlib import Path

import pytest
from distributed import LocalCluster
from hypothesis import given
from hypothesis import strategies as st

from earthloom.errors import DataError, StageError
from earthloom.workers import Cluster, Ledger, Threads, workers_at

PATIENCE = 120


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=":0",
        silence_logs=50,
        scheduler_kwargs={"allowed_failures": 1},
    ) as made:
        yield made


@pytest.fixture
def address(cluster):
    return cluster.scheduler_address


class Meeting:
    """Work in a folder where processes leave marks for each other."""

    def __init__(self, folder):
        self.folder = Path(folder)

    def first(self, name):
        """True for the one who asks first."""
        try:
            (self.folder / name).touch(exist_ok=False)
        except FileExistsError:
            return False
        return True

    def wait_for(self, pattern, count=1):
        deadline = time.monotonic() + PATIENCE
        while len(list(self.folder.glob(pattern))) < count:
            if time.monotonic() > deadline:
                raise TimeoutError(pattern)
            time.sleep(0.01)


class Slow(Meeting):
    def do(self, unit):
        """The first try of unit 5 ends only when a second one has."""
        if unit == 5:
            if self.first("slow"):
                self.wait_for("second")
            else:
                (self.folder / "second").touch()
        return unit * unit


class Together(Meeting):
    def do(self, unit):
        """Ends when two processes are at work."""
        self.first(f"process {os.getpid()}")
        self.wait_for("process *", 2)
        return unit


class Deadly(Meeting):
    def do(self, unit):
        """Unit 2 kills its process, always or (where there is a mark) once."""
        always = not (self.folder / "once").exists()
        if unit == 2 and (always or self.first("died")):
            os.kill(os.getpid(), signal.SIGKILL)
        return -unit


class Greedy(Meeting):
    def do(self, unit):
        """Unit 2 takes ever more memory, always or once, up to 3 GB."""
        always = not (self.folder / "once").exists()
        if unit == 2 and (always or self.first("took")):
            held = [bytearray(b"x") * 2**25 for _ in range(90)]
            raise AssertionError(f"nobody minds {len(held)} pieces of 32 MiB")
        return -unit


class Counting:
    """Work that knows how often it was loaded in this process."""

    loads = 0

    def __setstate__(self, state):
        type(self).loads += 1

    def __getstate__(self):
        return {"nothing": None}

    def do(self, unit):
        return type(self).loads


def test_every_unit_has_its_result(address):
    units = list(range(-50, 50))
    for workers in (Threads(3), Cluster(address)):
        assert dict(workers.run(abs, units)) == {unit: abs(unit) for unit in units}
        assert list(workers.run(abs, [])) == []


def test_work_is_loaded_once_in_each_process(address):
    loads = {count for _, count in Cluster(address).run(Counting().do, range(20))}
    assert loads == {1}


def test_what_takes_long_is_done_a_second_time(address, tmp_path):
    found = dict(Cluster(address).run(Slow(tmp_path).do, range(12)))
    assert found == {unit: unit * unit for unit in range(12)}
    assert (tmp_path / "second").exists()


def test_workers_that_are_added_help(tmp_path):
    with LocalCluster(
        n_workers=0, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as cluster:
        cluster.scale(1)
        results = Cluster(cluster.scheduler_address).run(abs, range(30))
        first = next(results)
        cluster.scale(2)
        assert dict([first, *results]) == {unit: unit for unit in range(30)}
        found = dict(Cluster(cluster.scheduler_address).run(Together(tmp_path).do, range(6)))
        assert len(found) == 6
        assert len(list(tmp_path.glob("process *"))) == 2


@pytest.mark.parametrize("kind", [Deadly, Greedy])
@pytest.mark.parametrize("times", ["once", "always"])
def test_a_unit_of_which_workers_die(kind, times, tmp_path):
    """Once is nothing; again and again is an error that names it and says what to do."""
    if times == "once":
        (tmp_path / "once").touch()
    with LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        memory_limit="400MB",
        dashboard_address=":0",
        silence_logs=50,
        scheduler_kwargs={"allowed_failures": 0 if times == "always" else 3},
    ) as cluster:
        results = Cluster(cluster.scheduler_address).run(kind(tmp_path).do, range(8))
        if times == "once":
            assert dict(results) == {unit: -unit for unit in range(8)}
        else:
            with pytest.raises(StageError, match=r"died of 2 again.*--memory-limit.*window"):
                list(results)


def _refuses(unit):
    if unit == 3:
        raise DataError("unit 3 is bad")
    return unit


def _times_out(unit):
    raise TimeoutError("a server that does not answer")


def test_the_first_error_ends_it_all(address):
    for workers in (Threads(2), Cluster(address)):
        with pytest.raises(DataError, match=r"^unit 3 is bad$"):
            list(workers.run(_refuses, range(8)))
        with pytest.raises(TimeoutError, match="does not answer"):
            list(workers.run(_times_out, [1]))


def test_a_scheduler_that_is_lost_is_named(capfd):
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        dashboard_address=":0",
        silence_logs=50,
        scheduler_port=0,
    ) as cluster:
        address = cluster.scheduler_address
        results = Cluster(address).run(time.sleep, [0.02] * 500)
        next(results)
        cluster.close()
        with pytest.raises(StageError, match=f"scheduler at {address} was lost.*same command"):
            list(results)
    assert "Traceback" not in capfd.readouterr().err


def test_a_scheduler_that_does_not_answer_is_named(monkeypatch):
    monkeypatch.setattr("earthloom.workers.PATIENCE", 1)
    with pytest.raises(StageError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:9"):
        list(Cluster("tcp://127.0.0.1:9").run(len, ["a"]))


def test_another_version_on_a_worker_is_named(address, monkeypatch):
    """Also one that comes after all were asked."""
    monkeypatch.setattr("earthloom.__version__", "9.9")
    for _ in range(2):
        with pytest.raises(StageError, match=r"has Earthloom .*, but this machine has 9\.9"):
            list(Cluster(address).run(len, ["a"]))
        monkeypatch.setattr("earthloom.workers._Job._check_versions", lambda job: None)


def test_a_worker_without_earthloom_is_named(tmp_path):
    """Such a worker dies of what it is sent, again and again, if nobody looks before.

    A worker may load the file twice, so what it calls is bound when it is read.
    """
    blocks = tmp_path / "blocks.py"
    blocks.write_text(
        "import sys\nimport distributed.versions as versions\n"
        "sys.modules['earthloom'] = None\n"
        "def known(name, known=versions._version_cached):\n"
        "    return None if name == 'earthloom' else known(name)\n"
        "versions._version_cached = known\n"
    )
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        dashboard_address=":0",
        silence_logs=50,
        preload=[str(blocks)],
    ) as cluster:
        results = Cluster(cluster.scheduler_address).run(len, ["a"])
        with pytest.raises(StageError, match="lacks Earthloom, but this machine has"):
            list(results)


def test_it_says_why_nothing_goes_on(monkeypatch):
    said = []
    with LocalCluster(
        n_workers=0, threads_per_worker=1, dashboard_address=":0", silence_logs=50
    ) as cluster:

        def hear(notice):
            said.append(notice)
            cluster.scale(1)

        monkeypatch.setattr("earthloom.workers.QUIET", 0.0)
        monkeypatch.setattr("earthloom.workers.say", hear)
        address = cluster.scheduler_address
        assert list(Cluster(address).run(len, ["ab"])) == [("ab", 2)]
    assert said == [f"waiting for workers at {address}: it has none"]


def test_where_work_is_done(monkeypatch):
    monkeypatch.delenv("EARTHLOOM_SCHEDULER", raising=False)
    assert workers_at() == Threads()
    assert workers_at("tcp://10.0.0.1:8786") == Cluster("tcp://10.0.0.1:8786")
    monkeypatch.setenv("EARTHLOOM_SCHEDULER", "tcp://10.0.0.2:8786")
    assert workers_at() == Cluster("tcp://10.0.0.2:8786")


NAMES = st.lists(st.text(st.characters(exclude_characters="\n\r", codec="utf-8"), min_size=1))


@given(names=NAMES, cut=st.integers(0, 400))
def test_a_ledger_forgets_at_most_what_was_torn(names, cut, tmp_path_factory):
    path = tmp_path_factory.mktemp("ledger") / "units"
    ledger = Ledger(path)
    ledger.begin()
    for name in names:
        ledger.add(name)
    whole = path.read_bytes()
    assert all(name in Ledger(path) for name in names)
    path.write_bytes(whole[: max(len(whole) - cut, 0)])
    again = Ledger(path)
    kept = whole[: max(len(whole) - cut, 0)].count(b"\n")
    assert all(name in again for name in names[:kept])
    again.add("next")
    known = Ledger(path)
    assert "next" in known
    assert all(name in known for name in names[:kept])
    assert len(path.read_bytes().splitlines()) >= 1
