"""Does many pieces of work that stand alone: in threads here, or on the workers of a cluster."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Protocol, TypeVar

from earthloom.errors import StageError

Unit = TypeVar("Unit")
Result = TypeVar("Result")


SCHEDULER = "EARTHLOOM_SCHEDULER"
"""Environment variable that holds the address of a dask scheduler."""
PATIENCE = 20
"""Seconds that a scheduler has to answer."""


class Workers(Protocol):
    """Where work is done."""

    def run(
        self, work: Callable[[Unit], Result], units: Sequence[Unit]
    ) -> Iterator[tuple[Unit, Result]]:
        """Each unit with its result, as they are done; the first error ends it all.

        `work` may be called more than once on a unit, so it must do the same each time.
        """
        ...


@dataclass(frozen=True)
class Threads:
    """The cores of this machine. Decoding and the kernels run without the interpreter's lock."""

    count: int = os.cpu_count() or 1

    def run(
        self, work: Callable[[Unit], Result], units: Sequence[Unit]
    ) -> Iterator[tuple[Unit, Result]]:
        """See `Workers`."""
        waiting = iter(units)
        running: dict[Future[Result], Unit] = {}
        pool = ThreadPoolExecutor(self.count)
        try:
            while True:
                # Few are handed out ahead, so that an error does not wait for all the others.
                for unit in waiting:
                    running[pool.submit(work, unit)] = unit
                    if len(running) == 2 * self.count:
                        break
                if not running:
                    return
                done, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    yield running.pop(future), future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True)
class Cluster:
    """A dask.distributed cluster whose workers see the same files.

    A worker that dies is replaced by others: what it had not finished is done again.
    """

    address: str
    """Of the scheduler, such as `tcp://10.0.0.1:8786`."""

    def run(
        self, work: Callable[[Unit], Result], units: Sequence[Unit]
    ) -> Iterator[tuple[Unit, Result]]:
        """See `Workers`; StageError if the scheduler does not answer or gives a unit up."""
        from distributed import Client, KilledWorker, as_completed

        try:
            client = Client(self.address, timeout=PATIENCE)
        except OSError as error:
            raise StageError(f"no dask scheduler answers at {self.address}: {error}") from error
        with client:
            futures = client.map(work, units, pure=False)
            by_key = {future.key: unit for future, unit in zip(futures, units)}
            try:
                for future, result in as_completed(futures, with_results=True):
                    yield by_key[future.key], result
            except KilledWorker as error:
                raise StageError(
                    f"the cluster at {self.address} gave up on a tile, since several workers died "
                    f"of it (most often of too little memory): {error}"
                ) from error


def workers_at(address: str | None = None) -> Workers:
    """The cluster at a scheduler's address, or at that in the environment; else this machine."""
    address = address or os.environ.get(SCHEDULER)
    return Cluster(address) if address else Threads()
