"""Chips as batches, in the order of a sampler: read ahead, into memory that is used again.

The order depends on the sampler alone: any number of workers gives the same batches, and any number
of ranks the same chips at each step of all ranks together. Needs numpy and torch.
"""

import zlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
import torch.distributed
from numpy.typing import NDArray
from torch import Tensor

from earthloom.errors import ContractError
from earthloom.sample import LayerSpec, Samples, Shape2d, Subset
from earthloom.sample.batch import Batch
from earthloom.sample.crew import Crew, Pending, Processes, Threads
from earthloom.sample.needs import Needs
from earthloom.sample.room import (
    BatchRoom,
    RoomPlan,
    Rooms,
    pinned_memory,
    plain_memory,
    shared_memory,
)


class Order(Protocol):
    """In which order chips are drawn; `earthloom.chips.sampling.Sampler` is one."""

    def order(self, epoch: int) -> NDArray[np.int64]:
        """(length,) row numbers of an epoch for all ranks together, the same at every call."""
        ...


@runtime_checkable
class _Shaped(Protocol):
    @property
    def shape(self) -> Shape2d: ...


@dataclass(frozen=True)
class Loading:
    """How chips are read."""

    batch_size: int
    """Chips a batch, on each rank."""
    workers: int = 0
    """What fills batches beside the caller's own thread; 0 for nothing, then nothing is read
    ahead."""
    processes: bool = False
    """Whether workers are processes: for samples whose reading holds Python's lock. Reading a
    `ChipStore` does not, and threads need neither a start nor memory of their own."""
    prefetch: int = 1
    """Batches that are filled ahead of the one that was asked for."""
    pinned: bool | None = None
    """Whether batches lie in pinned memory; None: where a GPU is there."""
    even: bool = True
    """Whether all ranks get as many chips, and the few of an epoch that are left over none."""
    ranks: tuple[int, int] | None = None
    """Rank and world size; None: those of torch.distributed, where it is initialised."""

    def __post_init__(self) -> None:
        for name, least in (("batch_size", 1), ("workers", 0), ("prefetch", 0)):
            if getattr(self, name) < least:
                raise ContractError(f"{name} is {least} or more, not {getattr(self, name)}")


class Loader:
    """Batches of one epoch at a time; each new iteration is the next epoch.

    A batch's tensors are the caller's for as long as anything refers to them, a view included;
    their memory is filled again only after that. `state_dict` says where a run stands after the
    batch that was handed out last, `load_state_dict` goes on with the next one.
    """

    def __init__(
        self,
        samples: Samples,
        order: Order,
        loading: Loading,
        needs: Needs | None = None,
    ) -> None:
        """`needs` are the model's; ContractError where the samples do not meet them.

        Only needed layers and bands are read then, in the model's own order.
        """
        self._samples, self._order, self._loading = samples, order, loading
        shape = _shape_of(samples)
        wanted = dict.fromkeys(samples.specs) if needs is None else needs.bands_in(samples.specs)
        if needs is not None:
            needs.check_shape(shape)
        self._plan = RoomPlan(samples.specs, wanted, shape, loading.batch_size)
        self._rooms = Rooms(self._plan, self._memory())
        self._crew: Crew | None = None
        self._epoch, self._position = 0, 0
        self._resumed = False
        self._known: tuple[int, NDArray[np.int64]] | None = None

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        """The layers of the batches, as they are handed out."""
        return {key: _chosen(self._plan.specs[key], at) for key, at in self._plan.bands.items()}

    def __len__(self) -> int:
        """Batches of a whole epoch, for this rank."""
        rows = len(self._rows(self._epoch, 0))
        return -(-rows // self._loading.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        self._begin_epoch()
        rows, size = self._rows(self._epoch, self._position), self._loading.batch_size
        firsts = range(0, len(rows), size)
        ahead = self._loading.prefetch if self._loading.workers else 0
        waiting: deque[tuple[BatchRoom, Pending]] = deque()
        try:
            for number, first in enumerate(firsts, start=1):
                waiting.append(self._begin(rows[first : first + size]))
                if len(waiting) > ahead:
                    last = number == len(firsts) and not ahead
                    yield self._deliver(*waiting.popleft(), last)
            while waiting:
                yield self._deliver(*waiting.popleft(), not waiting)
        finally:
            # Nothing may write into a room that is used again.
            for room, pending in waiting:
                pending()
                self._rooms.give_back(room)

    def set_epoch(self, epoch: int) -> None:
        """The epoch that the next iteration is."""
        self._epoch, self._position, self._resumed = epoch, 0, False

    def state_dict(self) -> dict[str, int]:
        """Where the run stands; the same for every rank."""
        order = self._order_of(self._epoch)
        return {
            "epoch": self._epoch,
            "position": self._position,
            "order": zlib.crc32(order.tobytes()),
        }

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """Goes on from there, with any number of workers and ranks.

        ContractError if the sampler draws another order than the one that was stopped.
        """
        epoch, position = int(state["epoch"]), int(state["position"])
        came = zlib.crc32(self._order_of(epoch).tobytes())
        if came != state["order"]:
            raise ContractError(
                f"the run was stopped in an order of chips with the checksum {state['order']}, but "
                f"the sampler draws one of {came} in epoch {epoch}; give it the same seed and chips"
            )
        self._epoch, self._position, self._resumed = epoch, position, True

    def close(self) -> None:
        """Ends the workers; the next iteration starts new ones."""
        if self._crew is not None:
            self._crew.close()
            self._crew = None

    def _begin_epoch(self) -> None:
        """Goes on where a stopped run stood, or begins an epoch."""
        if not self._resumed:
            self._position = 0
        elif self._position and not len(self._rows(self._epoch, self._position)):
            self._epoch, self._position = self._epoch + 1, 0
        self._resumed = False

    def _order_of(self, epoch: int) -> NDArray[np.int64]:
        if self._known is None or self._known[0] != epoch:
            self._known = (epoch, np.asarray(self._order.order(epoch), np.int64))
        return self._known[1]

    def _rows(self, epoch: int, position: int) -> NDArray[np.int64]:
        """This rank's row numbers from a position of the common order on."""
        rank, world = _ranks() if self._loading.ranks is None else self._loading.ranks
        left = self._order_of(epoch)[position:]
        if self._loading.even:
            left = left[: len(left) // world * world]
        return left[rank::world]

    def _begin(self, rows: NDArray[np.int64]) -> tuple[BatchRoom, Pending]:
        if self._crew is None:
            kind = Processes if self._loading.processes and self._loading.workers else Threads
            self._crew = kind(self._samples, self._loading.workers)
        room = self._rooms.take()
        return room, self._crew.begin(room, rows)

    def _deliver(self, room: BatchRoom, pending: Pending, last: bool) -> Batch:
        notes = pending()
        world = (_ranks() if self._loading.ranks is None else self._loading.ranks)[1]
        self._position += len(notes) * world
        if last:
            # Now, not when a further batch is asked for: Lightning knows the length and asks none.
            self._epoch, self._position = self._epoch + 1, 0
        return room.batch(notes, done=lambda: self._rooms.give_back(room))

    def _memory(self) -> Callable[[RoomPlan], Mapping[tuple[str, str], Tensor]]:
        if self._loading.processes and self._loading.workers:
            return shared_memory
        pinned = self._loading.pinned
        if pinned is None:
            pinned = torch.cuda.is_available()
        return pinned_memory if pinned else plain_memory


def _ranks() -> tuple[int, int]:
    """Rank and world size of this process."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    return 0, 1


def _shape_of(samples: Samples) -> Shape2d:
    """Of the base grid of every chip."""
    if isinstance(samples, Subset):
        return _shape_of(samples.samples)
    return samples.shape if isinstance(samples, _Shaped) else samples[0].shape


def _chosen(spec: LayerSpec, at: tuple[int, ...] | None) -> LayerSpec:
    return spec if at is None else spec.with_bands(at)
