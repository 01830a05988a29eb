"""A client in a process of its own: it makes the cube, and may be killed or held short.

`conftest.py` runs this file with the names `FOLDER`, `ARCHIVE`, `PLANNED`, `ADDRESS`, `DIES_AT`,
`BYTES_MOST` and `ANSWER` set.
"""

import os
import resource
import signal
from pathlib import Path

import cloudpickle

import earthloom.cube.build as building
from earthloom.errors import StageError
from earthloom.stages import run_stage
from earthloom.workers import Cluster, Threads

building.TILE = 64
shape, plans = cloudpickle.loads(PLANNED)  # noqa: F821
workers = Cluster(ADDRESS) if ADDRESS else Threads(1)  # noqa: F821
if BYTES_MOST is not None:  # noqa: F821
    resource.setrlimit(resource.RLIMIT_FSIZE, (BYTES_MOST, BYTES_MOST))  # noqa: F821


def tick(done, total, detail=""):
    if done == DIES_AT:  # noqa: F821
        os.kill(os.getpid(), signal.SIGKILL)


def make(folder):
    building.build_cube(ARCHIVE, plans, shape, folder, tick, workers)  # noqa: F821


try:
    run_stage(Path(FOLDER), "cube/tiny", {"inputs": 0}, make)  # noqa: F821
except StageError as error:
    ANSWER.put(str(error))  # noqa: F821
else:
    ANSWER.put("")  # noqa: F821
