"""Chips put into memory that is there already: one chip's part of a batch, filled in place."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import ContractError
from earthloom.sample.chip import UNLABELLED, Chip, Layer, Moments
from earthloom.sample.place import Place
from earthloom.sample.samples import Samples, Subset
from earthloom.sample.target import Target


@dataclass(frozen=True)
class LayerRoom:
    """Where one layer of one chip goes; T is the most dates that a chip has."""

    pixels: NDArray[np.float32]
    """(T, C, H, W) for the bands that are asked for."""
    valid: NDArray[np.bool_]
    """(T, H, W)."""
    days: NDArray[np.int32]
    """(T,); 0 for dates that the chip does not have."""
    dated: NDArray[np.bool_]
    """(T,); False for dates that the chip does not have, all of them for a missing sensor."""
    bands: tuple[int, ...] | None = None
    """Positions of the wanted bands among the stored ones; None for all as they are."""

    def leave_out(self, first: int = 0) -> None:
        """Marks the dates from `first` on as not there: NaN, not valid, not dated."""
        self.pixels[first:] = np.nan
        self.valid[first:] = False
        self.days[first:] = 0
        self.dated[first:] = False

    def check(self, key: str, times: int, shape: tuple[int, ...]) -> None:
        """ContractError if `times` dates of `shape` (H, W) do not go in."""
        if times > len(self.days) or shape != self.valid.shape[1:]:
            raise ContractError(
                f"layer {key} has {times} dates of {shape} pixels; the batch has room for "
                f"{len(self.days)} dates of {self.valid.shape[1:]}"
            )


@dataclass(frozen=True)
class ChipRoom:
    """Where one chip goes."""

    layers: Mapping[str, LayerRoom]
    """Of the layers that are asked for."""
    label: NDArray[np.int64]
    """(H, W) on the base grid."""
    weight: NDArray[np.float32]
    """(H, W) of the label; left as it is by a chip without weights, whose notes say so."""


@dataclass(frozen=True)
class ChipNotes:
    """What is known of a chip besides its arrays."""

    id: str
    place: Place | None
    moments: Moments | None
    labelled: bool
    weighted: bool = False
    """Whether its label has weights; None count as 1 beside chips that have some."""
    target: Target | None = None
    """Its answer, see `Chip.target`; of another size each, so it has no room in the batch."""


@runtime_checkable
class Fills(Protocol):
    """Samples that can put a chip where it is wanted without making it first."""

    def fill(self, index: int, room: ChipRoom) -> ChipNotes: ...


def fill(samples: Samples, index: int, room: ChipRoom) -> ChipNotes:
    """Puts a chip where it is wanted, without a copy on the way where the samples can."""
    if isinstance(samples, Subset):
        return fill(samples.samples, samples.indices[index], room)
    if isinstance(samples, Fills):
        return samples.fill(index, room)
    return put(samples[index], room)


def put(chip: Chip, room: ChipRoom) -> ChipNotes:
    """Copies a chip; what it does not have is marked as not there.

    ContractError for a chip of another shape than the batch's.
    """
    if tuple(chip.shape) != room.label.shape:
        raise ContractError(
            f"chip {chip.id} has the shape {tuple(chip.shape)}; the batch has room for chips of "
            f"{room.label.shape}: earthloom.sample.fitted.Fitted brings all to one size"
        )
    for key, place in room.layers.items():
        layer = chip.layers.get(key)
        if layer is None:
            place.leave_out()
        else:
            _put_layer(layer, place)
    if chip.label is None:
        room.label[:] = UNLABELLED
    else:
        np.copyto(room.label, chip.label)
    if chip.weight is not None:
        np.copyto(room.weight, chip.weight)
    return ChipNotes(
        chip.id,
        chip.place,
        chip.moments,
        labelled=chip.label is not None,
        weighted=chip.weight is not None,
        target=chip.target,
    )


def _put_layer(layer: Layer, room: LayerRoom) -> None:
    times = len(layer.days)
    room.check(layer.spec.key, times, layer.valid.shape[1:])
    bands = slice(None) if room.bands is None else list(room.bands)
    room.pixels[:times] = layer.pixels[:, bands]
    room.valid[:times] = layer.valid
    room.days[:times] = layer.days
    room.dated[:times] = True
    room.leave_out(times)
