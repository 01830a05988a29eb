"""The command line in processes of its own.

A process spends most of its time on imports. So the processes of these tests are forked from one
that has imported everything and done nothing; each is still a process that can be killed. A few
tests start `python -m earthloom` instead, as a person does.
"""

import hashlib
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

CHILD = Path(__file__).with_name("child.py")
PATIENCE = 300
"""Seconds after which a process is taken to hang; no test asserts on time."""


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Running:
    """A command that may still run."""

    process: BaseProcess
    files: tuple[Path, Path]

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.is_alive()

    def kill(self) -> None:
        """SIGKILL."""
        self.process.kill()

    def wait(self) -> Done:
        self.process.join(PATIENCE)
        if self.process.exitcode is None:
            self.process.kill()
            self.process.join()
            pytest.fail(f"the command hangs; it said: {self.files[1].read_text('utf-8')}")
        stdout, stderr = (file.read_text("utf-8") for file in self.files)
        return Done(self.process.exitcode, stdout, stderr)


Start = Callable[..., Running]
Cli = Callable[..., Done]


@pytest.fixture(scope="session")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts a command in a folder: `start(folder, "run", "project.yaml")`."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["earthloom.cli", "earthloom.verbs", "earthloom.assess.report"])
    logs = tmp_path_factory.mktemp("logs")
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    count = 0

    def start(folder: Path, *arguments: object) -> Running:
        nonlocal count
        count += 1
        files = (logs / f"{count}.out", logs / f"{count}.err")
        # A command may be killed before it has opened them.
        for file in files:
            file.touch()
        names = {
            "ARGUMENTS": [str(each) for each in arguments],
            "FOLDER": str(folder),
            "STDOUT": str(files[0]),
            "STDERR": str(files[1]),
        }
        process = context.Process(target=runpy.run_path, args=(str(CHILD), names))
        process.start()
        return Running(process, files)

    yield start
    os.environ.pop("OMP_NUM_THREADS")
    if before is not None:
        os.environ["OMP_NUM_THREADS"] = before


@pytest.fixture(scope="session")
def cli(start: Start) -> Cli:
    """Runs a command in a folder to its end."""

    def run(folder: Path, *arguments: object) -> Done:
        return start(folder, *arguments).wait()

    return run


@pytest.fixture(scope="session")
def python_m() -> Cli:
    """Runs `python -m earthloom` in a folder, as a person does."""

    def run(folder: Path, *arguments: object) -> Done:
        command = [sys.executable, "-m", "earthloom", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        return Done(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def finished(
    tmp_path_factory: pytest.TempPathFactory, new_project: Callable[..., Path], cli: Cli
) -> Path:
    """The folder of a small project that has run without a break. Not to be changed."""
    folder = tmp_path_factory.mktemp("finished")
    new_project(folder)
    done = cli(folder, "run", "--quiet")
    assert done.code == 0, done.stderr
    return folder


def tree_of(folder: Path, leave_out: tuple[str, ...] = ("run.json",)) -> dict[str, str]:
    """SHA-256 of every file by its path, times and hosts (`run.json`) left out."""
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.relative_to(folder).as_posix() not in leave_out
    }


def leftovers(folder: Path) -> list[Path]:
    """What a finished run must not leave behind."""
    ends = (".partial", ".old", ".key", ".strips.tif")
    return [path for path in folder.rglob("*") if path.name.endswith(ends)]


@pytest.fixture(scope="session")
def tree() -> Callable[[Path], dict[str, str]]:
    return tree_of


@pytest.fixture(scope="session")
def left() -> Callable[[Path], list[Path]]:
    return leftovers
