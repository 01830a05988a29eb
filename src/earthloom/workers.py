"""Does many pieces of work that stand alone: in threads here, or on the workers of a cluster.

A piece of work (a unit) gives the same each time it is done, and writes its files whole or not at
all. So it may be done twice, in any order and anywhere, and what is done may be counted in a file
(`Ledger`), from which a run that was killed goes on.
"""

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, ThreadPoolExecutor, wait
from concurrent.futures import Future as LocalFuture
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from queue import Empty, SimpleQueue
from statistics import median
from threading import Lock
from typing import TYPE_CHECKING, Any, Generic, NoReturn, Protocol, TypeVar

import earthloom
from earthloom.errors import StageError
from earthloom.progress import say

if TYPE_CHECKING:
    from distributed import Client, Future

Unit = TypeVar("Unit")
Result = TypeVar("Result")


SCHEDULER = "EARTHLOOM_SCHEDULER"
"""Environment variable that holds the address of a dask scheduler."""
PATIENCE = 20
"""Seconds that a scheduler has to answer."""
LOOK = 1.0
"""Seconds between two looks at the cluster: what workers there are, and what takes long."""
STRAGGLER = 3.0
"""Times the median that a unit takes before it is done a second time, where workers are idle."""
_LEAST_SECONDS = 2.0
"""That a unit takes before it counts as slow; less is not worth a second try."""
QUIET = 10.0
"""Seconds without news after which it is said why nothing goes on."""
GATHER = 10.0
"""Seconds that a result may take from its worker; if that has died, it is made again."""
GIVEN_UP = 2
"""Times that the scheduler gives a unit up, each time after the death of several workers, before
the job ends. Once may be the fault of another unit that waited at the same worker: the scheduler
blames all that a dead worker had. So from then on the unit is done while no other is."""


class Workers(Protocol):
    """Where work is done."""

    def run(
        self, work: Callable[[Unit], Result], units: Sequence[Unit]
    ) -> Iterator[tuple[Unit, Result]]:
        """Each unit with its result, as they are done; the first error ends it all.

        `work` may be called more than once on a unit, also at the same time, so it must do the
        same each time.
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
        running: dict[LocalFuture[Result], Unit] = {}
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

    Workers may come, go and die while it runs: what one had not finished is done by others. A unit
    that takes very long while others are idle is done a second time, and the first result counts.
    """

    address: str
    """Of the scheduler, such as `tcp://10.0.0.1:8786`."""

    def run(
        self, work: Callable[[Unit], Result], units: Sequence[Unit]
    ) -> Iterator[tuple[Unit, Result]]:
        """See `Workers`. StageError if the scheduler does not answer or is lost, if workers have
        another version of Earthloom, and if workers die of the same unit again and again."""
        if not units:
            return
        with _connected(self.address) as client:
            yield from _Job(client, self.address, work, units).results()


def workers_at(address: str | None = None) -> Workers:
    """The cluster at a scheduler's address, or at that in the environment; else this machine."""
    address = address or os.environ.get(SCHEDULER)
    return Cluster(address) if address else Threads()


class Ledger:
    """The names of units that are done, in a file that grows by a line for each.

    Only the process that hands units out writes to it. A kill loses at most the last line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._names: set[str] = set()
        if path.exists():
            whole, _, torn = path.read_bytes().rpartition(b"\n")
            self._names = {line.decode() for line in whole.split(b"\n")} - {""}
            if torn:
                os.truncate(path, len(whole) + bool(whole))

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def begin(self) -> None:
        """Makes the file, empty: what units need is there."""
        self.path.write_bytes(b"")
        self._names = set()

    def add(self, name: str) -> None:
        """A unit is done; its name is one line."""
        with self.path.open("ab") as lines:
            lines.write(name.encode() + b"\n")
        self._names.add(name)


class _Held(Generic[Unit, Result]):
    """Work on a worker: sent once as bytes, made once in each process, so that what it opens or
    loads (files, a model) serves all units that the process does."""

    def __init__(self, content: bytes, version: str) -> None:
        self._content, self._version = content, version
        self._work: Callable[[Unit], Result] | None = None
        self._lock = Lock()

    def __reduce__(self) -> tuple[type["_Held[Unit, Result]"], tuple[bytes, str]]:
        return _Held, (self._content, self._version)

    def do(self, unit: Unit) -> tuple[Result, float]:
        """A unit's result and the seconds that it took."""
        began = time.monotonic()
        result = self._made()(unit)
        return result, time.monotonic() - began

    def _made(self) -> Callable[[Unit], Result]:
        from distributed import get_worker
        from distributed.protocol.pickle import loads

        if earthloom.__version__ != self._version:
            worker = get_worker().address
            raise StageError(_other_version(worker, earthloom.__version__, self._version))
        with self._lock:
            if self._work is None:
                self._work = loads(self._content)
            return self._work


def _do(held: _Held[Unit, Result], unit: Unit) -> tuple[Result, float]:
    return held.do(unit)


@dataclass(frozen=True)
class _Try:
    """A unit that was handed in."""

    unit: int
    future: "Future[Any]"
    since: float = field(default_factory=time.monotonic)


class _Job(Generic[Unit, Result]):
    """The units of one `Cluster.run` on their way."""

    def __init__(
        self,
        client: "Client",
        address: str,
        work: Callable[[Unit], Result],
        units: Sequence[Unit],
    ) -> None:
        from distributed.protocol.pickle import dumps

        self._client, self._address, self._units = client, address, units
        self._content = dumps(work)
        self._waiting = deque(range(len(units)))
        self._suspects: deque[int] = deque()
        self._tries: dict[Any, _Try] = {}
        self._seconds: list[float] = []
        self._given_up: Counter[int] = Counter()
        self._events: SimpleQueue[Future[Any]] = SimpleQueue()
        self._threads = 0
        self._idle_since = float("inf")
        self._looked = float("-inf")
        self._checked = False
        self._heard = time.monotonic()
        self._told = ""

    def results(self) -> Iterator[tuple[Unit, Result]]:
        """Each unit with its result, as they are done."""
        while self._waiting or self._suspects or self._tries:
            if time.monotonic() - self._looked > LOOK:
                self._look()
            self._hand_out()
            try:
                future = self._events.get(timeout=LOOK)
            except Empty:
                continue
            self._heard = time.monotonic()
            yield from self._settle(future)

    def _hand_out(self) -> None:
        """Keeps the workers busy; with what may have killed some, one at a time. Nothing is sent
        before workers were looked at: one that lacks Earthloom dies of it, and then is not to be
        asked."""
        if not self._checked:
            return
        if self._suspects:
            if not self._tries:
                self._hand_in(self._suspects.popleft())
            return
        while self._waiting and len(self._tries) < max(2 * self._threads, 8):
            self._hand_in(self._waiting.popleft())

    @cached_property
    def _held(self) -> "Future[_Held[Unit, Result]]":
        """The work, on a worker from when the first unit is handed in."""
        return self._client.submit(_Held, self._content, earthloom.__version__, pure=False)

    def _hand_in(self, unit: int, elsewhere: Sequence[str] = ()) -> None:
        """Lets a unit be done; rather on the workers `elsewhere`, if there are some."""
        future = self._client.submit(
            _do,
            self._held,
            self._units[unit],
            pure=False,
            workers=list(elsewhere) or None,
            allow_other_workers=bool(elsewhere),
        )
        self._tries[future.key] = _Try(unit, future)
        future.add_done_callback(self._events.put)

    def _settle(self, future: "Future[Any]") -> Iterator[tuple[Unit, Result]]:
        """The result of a try that has ended, unless it died or another was first."""
        attempt = self._tries.pop(future.key, None)
        if attempt is None:
            return
        try:
            result, seconds = future.result(GATHER)
        except Exception as error:
            self._missing(attempt, error)
            return
        self._seconds.append(seconds)
        for key in [key for key, other in self._tries.items() if other.unit == attempt.unit]:
            self._tries.pop(key).future.cancel()
        yield self._units[attempt.unit], result

    def _missing(self, attempt: _Try, error: Exception) -> None:
        """Says what becomes of a try without a result."""
        if attempt.future.status == "error":
            self._failed(attempt.unit, error)
        elif isinstance(error, TimeoutError):
            self._tries[attempt.future.key] = attempt
            attempt.future.add_done_callback(self._events.put)
        else:
            self._lost(error)

    def _failed(self, unit: int, error: Exception) -> None:
        """Ends the job, or hands a unit in again of which workers died."""
        from distributed import KilledWorker

        name = self._units[unit]
        if not isinstance(error, KilledWorker | MemoryError):
            raise error
        self._check_versions()
        self._given_up[unit] += 1
        if self._given_up[unit] >= GIVEN_UP:
            raise StageError(
                f"workers of {self._address} died of {name} again and again, most often of too "
                "little memory; give each worker more memory or fewer threads (dask worker "
                "--memory-limit, --nthreads), or set a smaller window in the project file, and "
                "run again: what is done is kept"
            ) from error
        if all(other.unit != unit for other in self._tries.values()):
            self._suspects.append(unit)

    def _look(self) -> None:
        """What workers there are, and what takes too long while some are idle."""
        self._looked = time.monotonic()
        try:
            threads = self._client.nthreads()
            self._threads = sum(threads.values())
            if self._threads and not self._checked:
                self._check_versions()
                self._checked = True
            self._tell(self._halted())
            if self._seconds and not self._waiting:
                self._hurry(threads, self._client.processing())
        except (OSError, CancelledError) as error:
            self._lost(error)

    def _check_versions(self) -> None:
        """Looks whether workers have what this machine has. One that has no Earthloom at all cannot
        say so itself: it dies of what it is sent. It waits for all of them, so it is seldom done.
        """
        versions: Any = self._client.get_versions(packages=["earthloom"])
        for worker, known in versions["workers"].items():
            version = known["packages"].get("earthloom")
            if version != earthloom.__version__:
                raise StageError(_other_version(worker, version, earthloom.__version__))

    def _halted(self) -> str:
        """Why nothing goes on; empty if something does."""
        if self._looked - self._heard < QUIET:
            return ""
        if self._threads == 0:
            return f"waiting for workers at {self._address}: it has none"
        workers = self._client.scheduler_info()["workers"].values()
        paused = all(each["status"] == "paused" for each in workers)
        return f"all workers at {self._address} pause: their memory is nearly full" * paused

    def _hurry(self, threads: Mapping[str, int], keys: Mapping[str, Sequence[Any]]) -> None:
        """Hands in a second time what is not done long after workers became idle, be it slow
        itself or behind something slow. `threads` and what they have to do, by worker."""
        free = sum(max(count - len(keys.get(name, ())), 0) for name, count in threads.items())
        self._idle_since = min(self._idle_since, self._looked) if free else float("inf")
        limit = max(STRAGGLER * median(self._seconds), _LEAST_SECONDS)
        tries = Counter(each.unit for each in self._tries.values())
        slow = [
            (key, each.unit)
            for key, each in self._tries.items()
            if tries[each.unit] == 1 and self._looked - max(each.since, self._idle_since) > limit
        ]
        for key, unit in slow[:free]:
            self._hand_in(unit, [name for name in threads if key not in keys.get(name, ())])

    def _tell(self, notice: str) -> None:
        """Says something once, until it has changed."""
        if notice and notice != self._told:
            say(notice)
        self._told = notice

    def _lost(self, error: BaseException) -> NoReturn:
        raise StageError(
            f"the dask scheduler at {self._address} was lost; what is done is kept: "
            "start it again, and run the same command"
        ) from error


def _other_version(worker: str, version: str | None, ours: str) -> str:
    has = f"has Earthloom {version}" if version else "lacks Earthloom"
    return f"the worker at {worker} {has}, but this machine has {ours}; install the same on both"


@contextmanager
def _connected(address: str) -> Iterator["Client"]:
    """A client of a scheduler; what it handed in is called back when it closes."""
    from distributed import Client

    with _hushed():
        try:
            client: Any = Client(address, timeout=PATIENCE, set_as_default=False)
        except (OSError, ValueError) as error:
            raise StageError(f"no dask scheduler answers at {address}: {error}") from error
        with client:
            yield client


@contextmanager
def _hushed() -> Iterator[None]:
    """Keeps dask from telling, line by line, what `_Job` says in one."""
    loggers = [logging.getLogger(name) for name in ("distributed", "distributed.client")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before):
            logger.setLevel(level)
