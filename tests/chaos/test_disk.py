"""A disk that is full: one line, nothing half-written, and the next run goes on."""

import subprocess
from pathlib import Path

import pytest

from earthloom.errors import StageError
from earthloom.workers import Cluster, Threads

STAGE = "cube/tiny"


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a file system of 160 kB, where one may be mounted."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount here")
    if done.returncode:
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _enlarge(folder: Path) -> None:
    subprocess.run(["mount", "-o", "remount,size=50m", str(folder)], check=True)


@pytest.mark.parametrize("where", ["threads", "cluster"])
def test_a_full_disk_is_one_line(where, build, cluster, small_disk, quiet, tree):
    workers = Threads(2) if where == "threads" else Cluster(cluster.scheduler_address)
    with pytest.raises(StageError, match="disk is full") as caught:
        build(small_disk, workers)
    assert "\n" not in str(caught.value)
    assert not (small_disk / STAGE).exists()
    _enlarge(small_disk)
    build(small_disk, workers)
    assert tree(small_disk) == quiet


@pytest.mark.parametrize("bytes_most", [100, 3000, 9000])
def test_files_that_may_not_grow_are_one_line(bytes_most, build, client, quiet, tree, tmp_path):
    """Whichever file is the first that does not fit."""
    code, message = client(tmp_path, bytes_most=bytes_most)
    assert code == 0
    assert "disk is full" in message
    assert "\n" not in message
    assert not (tmp_path / STAGE).exists()
    build(tmp_path)
    assert tree(tmp_path) == quiet
