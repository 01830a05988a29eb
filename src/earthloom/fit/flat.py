"""A network as one module of plain tensors: what compilers and exporters take."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from earthloom.errors import ContractError
from earthloom.fit.model import Member, Model, pixels_of
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch, LayerBatch


class FlatModel(nn.Module):
    """The members of a model side by side, on copies of their weights.

    A normalisation by what training saw (`norm: batch`) is a scale and a shift of each channel; it
    becomes one with the convolution before it, which saves a pass over the image. `forward` takes
    three tensors a layer, as `tensors_of` gives them, and returns what `Model.pixels` does
    (B, P, H, W), such as the members' mean probabilities; NaN where nothing was seen.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.layers, self.task = model.layers, model.task
        self.encoders = nn.ModuleList(copy.deepcopy(m.encoder) for m in model.members)
        self.heads = nn.ModuleList(copy.deepcopy(m.head) for m in model.members)
        self.eval()
        for part in list(self.modules()):
            if isinstance(part, nn.Sequential):
                _fold(part)

    def members(self) -> tuple[Member, ...]:
        """The copies as members of a model."""
        return tuple(Member(e, h) for e, h in zip(self.encoders, self.heads))  # type: ignore[arg-type]

    def forward(self, *tensors: Tensor) -> Tensor:
        return self.mean(batch_of(self.layers, tensors))

    def mean(self, batch: Batch) -> Tensor:
        """(B, P, H, W), the same as `Model.pixels`."""
        return pixels_of(self.members(), self.task, batch)


def _fold(steps: nn.Sequential) -> None:
    """Folds each normalisation of a sequence into the convolution right before it."""
    for at in range(len(steps) - 1):
        first, second = steps[at], steps[at + 1]
        if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
            steps[at] = fuse_conv_bn_eval(first, second)
            steps[at + 1] = nn.Identity()


class MaskedInside(FlatModel):
    """The same for elsewhere: one tensor a layer, its pixels (B, T, C, H, W) in the layer's unit,
    NaN where they were not seen. The mask is made of them inside."""

    def forward(self, *pixels: Tensor) -> Tensor:
        tensors: list[Tensor] = []
        for each in pixels:
            valid = ~torch.isnan(each).any(dim=2)
            tensors += [each, valid, torch.zeros(each.shape[:2], dtype=torch.int32)]
        return self.mean(batch_of(self.layers, tensors))


def tensors_of(layers: Sequence[LayerSpec], batch: Batch) -> list[Tensor]:
    """Pixels, mask and days of each layer; ContractError if a batch holds more than that."""
    found: list[Tensor] = []
    for spec in layers:
        layer = batch.layers[spec.key]
        if layer.dated is not None or layer.measured is not None:
            raise ContractError(
                f"layer {spec.key} of a batch lacks sensors, dates or bands; a compiled or "
                "exported model takes batches in which every chip has all of them"
            )
        found += [layer.pixels, layer.valid, layer.days]
    return found


def batch_of(layers: Sequence[LayerSpec], tensors: Sequence[Tensor]) -> Batch:
    """The inverse of `tensors_of`, without names of chips."""
    parts = {}
    for number, spec in enumerate(layers):
        pixels, valid, days = tensors[3 * number : 3 * number + 3]
        parts[spec.key] = LayerBatch(pixels, valid, days)
    return Batch((), parts, None)


def each_tensor(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """A batch with every tensor changed: cut, moved, pinned. Names and places stay."""

    def perhaps(tensor: Tensor | None) -> Tensor | None:
        return None if tensor is None else change(tensor)

    layers = {
        key: LayerBatch(
            change(layer.pixels),
            change(layer.valid),
            change(layer.days),
            perhaps(layer.dated),
            perhaps(layer.measured),
        )
        for key, layer in batch.layers.items()
    }
    return replace(
        batch,
        layers=layers,
        label=perhaps(batch.label),
        mean=perhaps(batch.mean),
        covariance=perhaps(batch.covariance),
        weight=perhaps(batch.weight),
    )


def windows_in(batch: Batch) -> int:
    """How many windows lie side by side in a batch."""
    return len(next(iter(batch.layers.values())).pixels)


def in_pieces(batch: Batch, size: int) -> list[tuple[Batch, int]]:
    """A batch in pieces of `size` windows, each with how many of its windows count.

    The last window of a smaller last piece is repeated, so that all have one shape.
    """
    pieces = []
    for first in range(0, windows_in(batch), size):
        at = torch.arange(first, min(first + size, windows_in(batch)))
        count = len(at)
        if count < size:
            at = torch.cat([at, at[-1:].expand(size - count)])
        pieces.append((taken(batch, at), count))
    return pieces


def taken(batch: Batch, at: Tensor) -> Batch:
    """The windows of a batch at positions (n,), with their places; as views where they lie side by
    side."""
    if batch.places:
        batch = replace(batch, places=tuple(batch.places[each] for each in at.tolist()))
    first, last = int(at[0]), int(at[-1])
    if last - first + 1 == len(at):
        return each_tensor(batch, lambda tensor: tensor[first : last + 1])
    return each_tensor(batch, lambda tensor: tensor[at.to(tensor.device)])
