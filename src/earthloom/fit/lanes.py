"""Windows on several processor cores: one thread each, and the same bytes however many."""

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Barrier
from typing import final

import torch
from torch import Tensor


@dataclass(frozen=True)
class Pending:
    """Probabilities that are being made."""

    parts: tuple[Callable[[], Tensor], ...]

    def result(self) -> Tensor:
        """Waits for them: (B, K, H, W) float32 on the processor."""
        return torch.cat([part() for part in self.parts])


@final
class Lanes:
    """Threads that evaluate windows, each on one core.

    Sums that torch shares out among threads are rounded in another order for another number of
    threads. Here a window is one thread's work from beginning to end, so its bytes do not hang on
    the number of cores; and two windows side by side wait less for each other than two halves of
    one.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        before = torch.get_num_threads()
        self._pool = ThreadPoolExecutor(count, "lane", initializer=_one_core)
        together = Barrier(count)
        for waiting in [self._pool.submit(together.wait) for _ in range(count)]:
            waiting.result()  # now all threads are there
        # What a lane set for itself, torch also keeps for threads to come.
        torch.set_num_threads(before)

    def begin(self, pieces: Sequence[Callable[[], Tensor]]) -> Pending:
        """Starts on pieces of work; their results come in the order of the pieces."""
        futures: list[Future[Tensor]] = [self._pool.submit(piece) for piece in pieces]
        return Pending(tuple(future.result for future in futures))

    def close(self) -> None:
        """Ends the threads."""
        self._pool.shutdown()


def lanes_here() -> int:
    """As many lanes as torch would use threads here: the cores, unless OMP_NUM_THREADS says less,
    as it does on the workers of a cluster that share a machine."""
    return torch.get_num_threads()


def _one_core() -> None:
    # A thread takes over the number for all at its first work, unless it was asked before.
    torch.get_num_threads()
    torch.set_num_threads(1)
