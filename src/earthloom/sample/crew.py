"""Who fills a batch: the caller, threads, or processes. All of them give the same batch."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np
import torch.multiprocessing
from numpy.typing import NDArray

from earthloom.errors import DataError, EarthloomError
from earthloom.sample.fill import ChipNotes, fill
from earthloom.sample.room import BatchRoom
from earthloom.sample.samples import Samples

Pending = Callable[[], list[ChipNotes]]
"""Waits until a batch is filled; raises what went wrong."""


class Crew(Protocol):
    """Fills batches one after the other."""

    def begin(self, room: BatchRoom, rows: NDArray[np.int64]) -> Pending:
        """Starts to put the chips of these rows into a room, in their order."""
        ...

    def close(self) -> None: ...


class Threads:
    """Threads of this process; with none, the caller does the work when it waits."""

    def __init__(self, samples: Samples, count: int) -> None:
        self._samples = samples
        self._pool = ThreadPoolExecutor(count, "chips") if count else None
        self._count = count

    def begin(self, room: BatchRoom, rows: NDArray[np.int64]) -> Pending:
        parts = _parts(rows, self._count)
        if self._pool is None:
            return lambda: _joined([fill_part(self._samples, room, rows, at) for at in parts])
        begun = [self._pool.submit(fill_part, self._samples, room, rows, at) for at in parts]
        return lambda: _joined([each.result() for each in begun])

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown()


class Processes:
    """Processes of their own; they write into memory that is shared with this one."""

    def __init__(self, samples: Samples, count: int) -> None:
        context = torch.multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        self._rooms: dict[int, BatchRoom] = {}
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(samples, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)

    def begin(self, room: BatchRoom, rows: NDArray[np.int64]) -> Pending:
        number = id(room)
        known = number in self._rooms
        self._rooms[number] = room
        asked = list(zip(self._pipes, _parts(rows, len(self._pipes)), strict=False))
        for pipe in self._pipes if not known else []:
            pipe.send((number, room.plan, dict(room.tensors)))
        for pipe, at in asked:
            pipe.send((number, rows, at))
        return lambda: _joined(_answers([pipe for pipe, _ in asked]))

    def close(self) -> None:
        for pipe in self._pipes:
            pipe.close()
        for process in self._processes:
            process.join()


Part = list[tuple[int, ChipNotes]]
"""Positions in a batch, with what is known of the chips there."""


def fill_part(
    samples: Samples, room: BatchRoom, rows: NDArray[np.int64], at: NDArray[np.intp]
) -> Part:
    """Fills some positions of a batch."""
    return [(int(n), fill(samples, int(rows[n]), room.of(int(n)))) for n in at]


def _parts(rows: NDArray[np.int64], count: int) -> list[NDArray[np.intp]]:
    """Positions for each of `count` workers: neighbours on disk are read one after the other."""
    near = np.argsort(rows, kind="stable")
    return [part for part in np.array_split(near, max(count, 1)) if len(part)]


def _joined(parts: list[Part]) -> list[ChipNotes]:
    by_position = {at: notes for part in parts for at, notes in part}
    return [by_position[at] for at in range(len(by_position))]


def _answers(pipes: list[Connection]) -> list[Part]:
    """One answer from each pipe; all are taken before an error among them is raised."""
    try:
        answers = [pipe.recv() for pipe in pipes]
    except EOFError as error:
        raise DataError("a worker that reads chips has ended; was it out of memory?") from error
    for answer in answers:
        if isinstance(answer, Exception):
            raise answer
    return answers


def _work(samples: Samples, pipe: Connection) -> None:
    """What a worker process does until its pipe is closed."""
    rooms: dict[int, BatchRoom] = {}
    while True:
        try:
            message: tuple[Any, ...] = pipe.recv()
        except EOFError:
            return
        number, second, third = message
        if number not in rooms:
            rooms[number] = BatchRoom(second, third)
            continue
        try:
            pipe.send(fill_part(samples, rooms[number], second, third))
        except EarthloomError as error:
            pipe.send(error)
        except Exception as error:  # Told to the caller, who must not wait for ever.
            pipe.send(DataError(f"a worker could not read chips: {error!r}"))
