"""Chips side by side as tensors, ready for an encoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from earthloom.errors import ContractError
from earthloom.sample.chip import Chip


@dataclass(frozen=True)
class LayerBatch:
    """One layer of every chip of a batch."""

    pixels: Tensor
    """(B, T, C, H, W) float32 in the layer's unit; NaN where `valid` is False."""
    valid: Tensor
    """(B, T, H, W) bool."""
    days: Tensor
    """(B, T) int32, days since 1970-01-01."""


@dataclass(frozen=True)
class Batch:
    """A batch of chips; all have the same layers and the same shape."""

    ids: tuple[str, ...]
    layers: Mapping[str, LayerBatch]
    label: Tensor | None
    """(B, H, W) int64 class codes on the base grid, 0 where unlabelled; None without labels."""
    mean: Tensor | None = None
    """(B, N) float32, see `Moments`; None where chips have none."""
    covariance: Tensor | None = None
    """(B, N, N) float32."""

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch on another device."""
        layers = {
            key: LayerBatch(layer.pixels.to(device), layer.valid.to(device), layer.days.to(device))
            for key, layer in self.layers.items()
        }
        others = (
            None if each is None else each.to(device)
            for each in (self.label, self.mean, self.covariance)
        )
        return Batch(self.ids, layers, *others)


def collate(chips: Sequence[Chip]) -> Batch:
    """Puts chips of the same layers and shape side by side; ContractError if they differ."""
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
    moments = [chip.moments for chip in chips if chip.moments is not None]
    if moments and len(moments) < len(chips):
        raise ContractError("a batch cannot mix chips with and without moments of their places")
    return Batch(
        ids=tuple(chip.id for chip in chips),
        layers=layers,
        label=label,
        mean=torch.from_numpy(np.stack([each.mean for each in moments])) if moments else None,
        covariance=(
            torch.from_numpy(np.stack([each.covariance for each in moments])) if moments else None
        ),
    )
