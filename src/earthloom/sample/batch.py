"""Chips side by side as tensors, ready for an encoder."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from earthloom.errors import ContractError
from earthloom.sample.chip import IGNORE, UNLABELLED, Chip, Moments
from earthloom.sample.place import Place
from earthloom.sample.target import Target


@dataclass(frozen=True)
class LayerBatch:
    """One layer of every chip of a batch; T is the most dates that a chip has."""

    pixels: Tensor
    """(B, T, C, H, W) float32 in the layer's unit; NaN where `valid` is False."""
    valid: Tensor
    """(B, T, H, W) bool; False throughout on dates that a chip does not have."""
    days: Tensor
    """(B, T) int32, days since 1970-01-01; 0 on dates that a chip does not have."""
    dated: Tensor | None = None
    """(B, T) bool: False on dates that a chip does not have, on all of them where it lacks the
    sensor. None where every chip has every date."""
    measured: Tensor | None = None
    """(B, C) bool: False for bands that were left out, which then hold the training pixels' mean.
    None where every chip has every band."""

    @property
    def present(self) -> Tensor:
        """(B,) bool: whether a chip has this sensor at all."""
        if self.dated is None:
            return torch.ones(len(self.pixels), dtype=torch.bool, device=self.pixels.device)
        return self.dated.any(dim=1)

    def to(self, device: torch.device | str) -> "LayerBatch":
        """The same layer on another device."""
        return LayerBatch(
            self.pixels.to(device),
            self.valid.to(device),
            self.days.to(device),
            _moved(self.dated, device),
            _moved(self.measured, device),
        )


@dataclass(frozen=True)
class Batch:
    """A batch of chips of one shape, with the same layers; one may lack a sensor or a date."""

    ids: tuple[str, ...]
    layers: Mapping[str, LayerBatch]
    label: Tensor | None
    """(B, H, W) int64 class codes on the base grid, 0 where unlabelled, `IGNORE` where they must
    not be used; None without labels."""
    mean: Tensor | None = None
    """(B, N) float32, see `Moments`; None where chips have none."""
    covariance: Tensor | None = None
    """(B, N, N) float32."""
    places: tuple[Place | None, ...] = ()
    """Of each chip, or empty where nobody asked for them."""
    weight: Tensor | None = None
    """(B, H, W) float32: how much the label of a pixel counts, see `Chip.weight`; 1 throughout for
    chips without weights. None where no chip has any."""
    targets: tuple[Target | None, ...] = ()
    """Of each chip, see `Chip.target`, as numpy arrays, which stay where they are when a batch goes
    to a GPU; empty where no chip has any."""

    @property
    def usable_label(self) -> Tensor | None:
        """(B, H, W) the label, 0 where it does not count: `IGNORE`, or weight 0."""
        if self.label is None:
            return None
        unused = self.label == IGNORE
        if self.weight is not None:
            unused = unused | (self.weight == 0)
        return self.label.masked_fill(unused, UNLABELLED)

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        layers = {key: layer.to(device) for key, layer in self.layers.items()}
        label, mean, covariance, weight = (
            _moved(each, device) for each in (self.label, self.mean, self.covariance, self.weight)
        )
        return Batch(self.ids, layers, label, mean, covariance, self.places, weight, self.targets)


def _moved(tensor: Tensor | None, device: torch.device | str) -> Tensor | None:
    return None if tensor is None else tensor.to(device)


def moments_side_by_side(
    moments: Sequence[Moments | None],
) -> tuple[Tensor | None, Tensor | None]:
    """(B, N) means and (B, N, N) covariances; None without any, ContractError if some lack them."""
    known = [each for each in moments if each is not None]
    if known and len(known) < len(moments):
        raise ContractError("a batch cannot mix chips with and without moments of their places")
    if not known:
        return None, None
    return (
        torch.from_numpy(np.stack([each.mean for each in known])),
        torch.from_numpy(np.stack([each.covariance for each in known])),
    )


def weights_side_by_side(chips: Sequence[Chip]) -> Tensor | None:
    """(B, H, W) float32, 1 throughout for chips without weights; None where no chip has any."""
    if all(chip.weight is None for chip in chips):
        return None
    return torch.from_numpy(
        np.stack(
            [
                np.ones(chip.shape, np.float32) if chip.weight is None else chip.weight
                for chip in chips
            ]
        )
    )


def targets_side_by_side(targets: Iterable[Target | None]) -> tuple[Target | None, ...]:
    """The answers of chips; empty where no chip has any."""
    known = tuple(targets)
    return () if all(target is None for target in known) else known


def collate(chips: Sequence[Chip]) -> Batch:
    """Puts chips of the same layers and shape side by side; ContractError if they differ.

    `earthloom.sample.room.collate_ragged` takes chips that lack sensors or dates.
    """
    first = chips[0]
    for chip in chips:
        if chip.layers.keys() != first.layers.keys() or chip.shape != first.shape:
            raise ContractError(
                f"chip {chip.id} has layers {sorted(chip.layers)} and shape {tuple(chip.shape)}; "
                f"chip {first.id} beside it has {sorted(first.layers)} and {tuple(first.shape)}"
            )
    layers = {
        key: LayerBatch(
            pixels=torch.from_numpy(np.stack([chip.layers[key].pixels for chip in chips])),
            valid=torch.from_numpy(np.stack([chip.layers[key].valid for chip in chips])),
            days=torch.from_numpy(np.stack([chip.layers[key].days for chip in chips])),
        )
        for key in first.layers
    }
    labels = [chip.label for chip in chips if chip.label is not None]
    if labels and len(labels) < len(chips):
        raise ContractError("a batch cannot mix chips with and without labels")
    label = torch.from_numpy(np.stack(labels).astype(np.int64)) if labels else None
    mean, covariance = moments_side_by_side([chip.moments for chip in chips])
    return Batch(
        ids=tuple(chip.id for chip in chips),
        layers=layers,
        label=label,
        mean=mean,
        covariance=covariance,
        places=tuple(chip.place for chip in chips),
        weight=weights_side_by_side(chips),
        targets=targets_side_by_side(chip.target for chip in chips),
    )
