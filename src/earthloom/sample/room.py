"""Memory for batches: made once, filled again and again, and never while somebody looks at it."""

import weakref
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.errors import ContractError
from earthloom.sample.batch import Batch, LayerBatch, moments_side_by_side, targets_side_by_side
from earthloom.sample.chip import Chip, LayerSpec
from earthloom.sample.fill import ChipNotes, ChipRoom, LayerRoom, put
from earthloom.sample.place import Shape2d

_LABEL, _WEIGHT = "label", "weight"
_PARTS = ("pixels", "valid", "days", "dated")

Bands = Mapping[str, tuple[int, ...] | None]
"""Positions of the wanted bands of each wanted layer; None for all as they are stored."""


@dataclass(frozen=True)
class RoomPlan:
    """How large a batch is at most, and what of its chips is wanted."""

    specs: Mapping[str, LayerSpec]
    """The layers as the samples have them, with the most dates."""
    bands: Bands
    shape: Shape2d
    """Of the base grid."""
    size: int
    """Chips at most."""

    def tensors(self) -> dict[tuple[str, str], Tensor]:
        """Empty memory for a whole batch, by layer and part."""
        made: dict[tuple[str, str], Tensor] = {
            (_LABEL, ""): torch.empty((self.size, *self.shape), dtype=torch.int64),
            # Where no chip has weights this costs memory only if it is pinned: pages that are never
            # written are never there.
            (_WEIGHT, ""): torch.empty((self.size, *self.shape)),
        }
        for key, chosen in self.bands.items():
            spec = self.specs[key]
            times = len(spec.dates)
            bands = len(spec.bands) if chosen is None else len(chosen)
            size = (self.shape.rows // spec.factor, self.shape.cols // spec.factor)
            made[key, "pixels"] = torch.empty((self.size, times, bands, *size))
            made[key, "valid"] = torch.empty((self.size, times, *size), dtype=torch.bool)
            made[key, "days"] = torch.empty((self.size, times), dtype=torch.int32)
            made[key, "dated"] = torch.empty((self.size, times), dtype=torch.bool)
        return made


class BatchRoom:
    """Memory for one batch."""

    def __init__(self, plan: RoomPlan, tensors: Mapping[tuple[str, str], Tensor]) -> None:
        self.plan, self.tensors = plan, tensors
        self._arrays: dict[tuple[str, str], NDArray[Any]] = {
            name: tensor.numpy() for name, tensor in tensors.items()
        }

    def of(self, number: int) -> ChipRoom:
        """Where the chip of this number goes."""
        layers = {
            key: LayerRoom(
                self._arrays[key, "pixels"][number],
                self._arrays[key, "valid"][number],
                self._arrays[key, "days"][number],
                self._arrays[key, "dated"][number],
                chosen,
            )
            for key, chosen in self.plan.bands.items()
        }
        label, weight = (self._arrays[what, ""][number] for what in (_LABEL, _WEIGHT))
        return ChipRoom(layers, label, weight)

    def batch(self, notes: Sequence[ChipNotes], done: Callable[[], None] | None = None) -> Batch:
        """The first chips as a batch, without a copy.

        `done` is called once when the last tensor that shows this memory, a view of one included,
        is gone.
        """
        weighted = any(each.weighted for each in notes)
        for number, each in enumerate(notes):
            if weighted and not each.weighted:
                self._arrays[_WEIGHT, ""][number] = 1.0
        # A new array object each time: the tensor made of it, and every view of that tensor, keep
        # it alive, so its end is the end of them all.
        views = {name: array[: len(notes)] for name, array in self._arrays.items()}
        if done is not None:
            _when_all_gone(list(views.values()), done)
        tensors = {name: torch.from_numpy(view) for name, view in views.items()}
        mean, covariance = moments_side_by_side([each.moments for each in notes])
        labelled = any(each.labelled for each in notes)
        return Batch(
            ids=tuple(each.id for each in notes),
            layers={
                key: LayerBatch(*(tensors[key, part] for part in _PARTS)) for key in self.plan.bands
            },
            label=tensors[_LABEL, ""] if labelled else None,
            mean=mean,
            covariance=covariance,
            places=tuple(each.place for each in notes),
            weight=tensors[_WEIGHT, ""] if weighted else None,
            targets=targets_side_by_side(each.target for each in notes),
        )


class Rooms:
    """As many rooms as are in use at once; one that is left is used again."""

    def __init__(
        self, plan: RoomPlan, make: Callable[[RoomPlan], Mapping[tuple[str, str], Tensor]]
    ) -> None:
        self._plan, self._make = plan, make
        self._free: deque[BatchRoom] = deque()
        self.made = 0
        """Rooms made so far."""

    def take(self) -> BatchRoom:
        """A room that nobody looks at."""
        try:
            return self._free.popleft()
        except IndexError:
            self.made += 1
            return BatchRoom(self._plan, self._make(self._plan))

    def give_back(self, room: BatchRoom) -> None:
        """Says that a room may be used again."""
        self._free.append(room)


def plain_memory(plan: RoomPlan) -> Mapping[tuple[str, str], Tensor]:
    """Memory of this process."""
    return plan.tensors()


def pinned_memory(plan: RoomPlan) -> Mapping[tuple[str, str], Tensor]:
    """Memory that a GPU reads by itself, at the full speed of its bus."""
    return {name: tensor.pin_memory() for name, tensor in plan.tensors().items()}


def shared_memory(plan: RoomPlan) -> Mapping[tuple[str, str], Tensor]:
    """Memory that worker processes write to."""
    return {
        name: tensor.share_memory_()  # type: ignore[no-untyped-call]
        for name, tensor in plan.tensors().items()
    }


def collate_ragged(chips: Sequence[Chip], specs: Mapping[str, LayerSpec]) -> Batch:
    """Chips of one shape side by side, padded to `specs` where dates or whole sensors are missing.

    `specs` are those of the samples, with the most dates. A chip without label is unlabelled
    throughout where another one has a label, one without weights has 1 throughout where another one
    has some. ContractError for chips of different shapes.
    """
    first = chips[0]
    plan = RoomPlan(specs, dict.fromkeys(specs), first.shape, len(chips))
    room = BatchRoom(plan, plan.tensors())
    for chip in chips:
        if chip.shape != first.shape:
            raise ContractError(
                f"chip {chip.id} has the shape {tuple(chip.shape)}; chip {first.id} beside it "
                f"has {tuple(first.shape)}"
            )
    return room.batch([put(chip, room.of(number)) for number, chip in enumerate(chips)])


def _when_all_gone(views: list[NDArray[Any]], done: Callable[[], None]) -> None:
    left = [None] * len(views)

    def one_gone() -> None:
        left.pop()
        if not left:
            done()

    for view in views:
        weakref.finalize(view, one_gone).atexit = False
