"""The part of `maps.py` that runs on a dask cluster of processes: scaling, and kills."""

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

STEPS = Path(__file__).with_name("maps_steps.py")
ONE_THREAD = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1")
KILLS = 3


@dataclass(frozen=True)
class Job:
    """A map of part of a scene, made by the workers of a cluster."""

    folder: Path
    """Of the scene."""
    size: int
    area: int
    plan: str
    out: Path
    part: int = 1536
    """Pixels, both ways, of a part."""

    def command(self, step: str, *more: str) -> list[str]:
        """The command of a step in a process of its own, with one thread."""
        return [
            sys.executable, str(STEPS), step, str(self.folder), str(self.size),
            "--area", str(self.area), "--plan", self.plan, "--part", str(self.part),
            "--threads", "1", *more,
        ]  # fmt: skip

    def start(self, address: str, name: str) -> subprocess.Popen[str]:
        """The client, which hands the parts to workers and puts them together."""
        command = self.command("classes", "--scheduler", address, "--out", str(self.out / name))
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=ONE_THREAD)


@contextmanager
def cluster(count: int, scratch: Path) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """A scheduler and workers of one thread each: its address, and the workers' nannies."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tcp://127.0.0.1:{port}"
    python = [sys.executable, "-m"]
    scheduler = [*python, "distributed.cli.dask_scheduler", "--host", address, "--no-dashboard"]
    worker = [*python, "distributed.cli.dask_worker", address, "--nthreads", "1", "--no-dashboard"]
    worker += ["--memory-limit", "0", "--local-directory", str(scratch)]
    # The workers unpickle what the steps hand over, but nothing of the steps themselves.
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": ONE_THREAD}
    processes = [subprocess.Popen(scheduler, **quiet)]
    try:
        processes += [subprocess.Popen(worker, **quiet) for _ in range(count)]
        _wait_for(address, count)
        yield address, processes[1:]
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(60)


def _wait_for(address: str, count: int) -> None:
    from distributed import Client

    deadline = time.monotonic() + 120
    while True:
        try:
            with Client(address, timeout=10) as client:
                client.wait_for_workers(count, timeout=110)
                return
        except OSError:
            if time.monotonic() > deadline:
                raise


def scaling(job: Job, scratch: Path) -> dict[str, float]:
    """The speed-up of a second worker over that of a second bare process of forward passes."""
    walls, bare = [], []
    for count in (1, 2):
        bare.append(_bare(job, count))
        with cluster(count, scratch) as (address, _):
            shutil.rmtree(job.out / "scaling", ignore_errors=True)
            walls.append(_finished(job.start(address, "scaling"))["seconds"])
    alone, together = bare
    ours, theirs = walls[0] / walls[1], 2 * alone / together
    print(f"workers    1: {walls[0]:.1f} s, 2: {walls[1]:.1f} s, speed-up {ours:.2f}")
    print(f"bare       1: {alone:.1f} s, 2 at once: {together:.1f} s, speed-up {theirs:.2f}")
    return {"scaling_2": ours / theirs, "speed_up_2": ours, "bare_speed_up_2": theirs}


def _bare(job: Job, count: int) -> float:
    """Seconds of forward passes by so many processes at once, the slowest of them."""
    processes = [
        subprocess.Popen(
            job.command("forward", "--windows", "150"),
            stdout=subprocess.PIPE,
            text=True,
            env=ONE_THREAD,
        )
        for _ in range(count)
    ]
    return max(_finished(process)["measured"] for process in processes)


def kills(job: Job, scratch: Path) -> dict[str, object]:
    """Whether a map is the same after kills of workers and of the client as without any."""
    with cluster(2, scratch) as (address, nannies):
        start = time.monotonic()
        _finished(job.start(address, "plain"))
        seconds = time.monotonic() - start
        client, killed = job.start(address, "killed"), 0
        for number in range(KILLS):
            time.sleep(seconds / 6)
            killed += _kill_a_worker(nannies[number % len(nannies)])
        client.send_signal(signal.SIGKILL)
        client.wait()
        left = len(list((job.out / "killed" / "work").rglob("*.npz")))
        _finished(job.start(address, "killed"))
    same = _digest(job.out / "plain" / "map.tif") == _digest(job.out / "killed" / "map.tif")
    print(f"kills      {killed} of workers, 1 of the client, {left} parts were left; same: {same}")
    return {"kill_equal": same and killed == KILLS, "killed_workers": killed, "parts_left": left}


def _kill_a_worker(nanny: subprocess.Popen[bytes]) -> int:
    """Kills the worker that a nanny looks after; how many there were to kill."""
    workers = [
        child
        for child in psutil.Process(nanny.pid).children(recursive=True)
        if "resource_tracker" not in " ".join(child.cmdline())
    ]
    for worker in workers[:1]:
        worker.kill()
    return len(workers[:1])


def _finished(process: subprocess.Popen[str]) -> dict[str, float]:
    text, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{process.args} failed")
    return json.loads(text.splitlines()[-1])


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
