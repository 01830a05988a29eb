"""One encoder for each group of layers, and their features fused; or some of the layers alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from earthloom.encoders.around import Around
from earthloom.encoders.base import Encoder, Features, Statistics, base_shape, seen_in
from earthloom.encoders.compose import build, config_of
from earthloom.encoders.planes import (
    cells_of,
    only_layers,
    present_in,
    resampled,
    rows_of,
    share_in_cells,
    spread,
)
from earthloom.errors import ContractError, choices
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch


@final
class Fused(Encoder):
    """Features of several encoders, each over layers of its own, gated on what was seen.

    Every branch's features become `width` numbers, of which a pixel takes a weighted mean over the
    branches that saw it, with weights that follow from the features (gated fusion, Arevalo et al.
    2017). What a branch did not see has no weight: a missing sensor leaves the others' mean, and no
    zeros in its place; in training its branch is not shown such chips. Features have the finest
    stride of the branches.
    """

    name = "fused"

    def __init__(
        self,
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        branches: Sequence[Mapping[str, Any]],
        width: int = 64,
    ) -> None:
        """`branches`: of each the `keys` of its layers, and name and config of its `encoder`.
        `width`: features F. ContractError where the branches leave a layer out, or name another."""
        super().__init__(layers, statistics)
        named = {key for branch in branches for key in branch["keys"]}
        left = [layer.key for layer in layers if layer.key not in named]
        if left:
            raise ContractError(f"no branch takes layer {choices(left)}; add it to one of them")
        self.branches = nn.ModuleList(
            build(branch["encoder"], _chosen(layers, branch["keys"]), statistics)
            for branch in branches
        )
        self.width = width
        self.norm = nn.ModuleList(_ChannelNorm(each.channels) for each in self._encoders)
        self.project = nn.ModuleList(nn.Conv2d(e.channels, width, 1) for e in self._encoders)
        self.gate = nn.ModuleList(nn.Conv2d(width, 1, 1) for _ in branches)

    @property
    def _encoders(self) -> list[Encoder]:
        return [branch for branch in self.branches if isinstance(branch, Encoder)]

    @property
    def radius(self) -> int:
        # Bilinear resampling looks at one more cell.
        coarsest = max(each.stride for each in self._encoders)
        more = coarsest if coarsest > self.stride else 0
        return max(each.radius for each in self._encoders) + more

    @property
    def stride(self) -> int:
        return min(each.stride for each in self._encoders)

    @property
    def alignment(self) -> int:
        return math.lcm(*(each.alignment for each in self._encoders))

    @property
    def is_local(self) -> bool:
        return all(each.is_local for each in self._encoders)

    @property
    def channels(self) -> int:
        return self.width

    def config(self) -> dict[str, Any]:
        branches = [
            {"keys": [layer.key for layer in each.layers], "encoder": config_of(each)}
            for each in self._encoders
        ]
        return {"branches": branches, "width": self.width}

    def forward(self, batch: Batch) -> Features:
        shape = base_shape(self.layers, batch)
        rows, cols = cells_of(shape.rows, shape.cols, self.stride)
        states, gates = [], []
        for at, encoder in enumerate(self._encoders):
            features = self._encoded(encoder, batch)
            state = self.project[at](self.norm[at](features.pixels)).float()
            state = resampled(state, encoder.stride, self.stride)[..., :rows, :cols]
            times = encoder.stride // self.stride
            seen = features.seen.repeat_interleave(times, -2).repeat_interleave(times, -1)
            states.append(state)
            gate = self.gate[at](state).float()
            gates.append(gate.masked_fill(~seen[:, None, :rows, :cols], -torch.inf))
        weights = _softmax(torch.stack(gates))
        pixels = (torch.stack(states) * weights).sum(dim=0)
        # What does not change in time is features, and no sight of anything.
        return Features(
            pixels,
            share_in_cells(seen_in(self.layers, batch), self.stride) > 0,
            stride=self.stride,
            shape=shape,
        )

    def _encoded(self, encoder: Encoder, batch: Batch) -> Features:
        part = only_layers(batch, encoder.layers)
        if self.training:
            present = present_in(part, encoder.layers).nonzero()[:, 0]
            if 0 < len(present) < len(batch.ids):
                shown: Features = encoder(rows_of(part, encoder.layers, present))
                return spread(shown, present, len(batch.ids))
        features: Features = encoder(part)
        return features


@final
class SomeLayers(Around):
    """An encoder over some of the layers that a model has.

    The members of a model are for the same layers; one that answers from a single sensor leaves
    the others' alone, and has seen only what its own has.
    """

    name = "some-layers"

    def __init__(
        self,
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        keys: Sequence[str],
        encoder: Mapping[str, Any],
    ) -> None:
        """`keys`: of its layers. `encoder`: name and config of the one over them."""
        super().__init__(layers, statistics)
        self.encoder = build(encoder, _chosen(layers, keys), statistics)

    def config(self) -> dict[str, Any]:
        keys = [layer.key for layer in self.encoder.layers]
        return {"keys": keys, "encoder": config_of(self.encoder)}

    def forward(self, batch: Batch) -> Features:
        features: Features = self.encoder(only_layers(batch, self.encoder.layers))
        return features


class _ChannelNorm(nn.LayerNorm):
    """Over the channels of (B, F, h, w), so that no branch is louder than another."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.movedim(1, -1)).movedim(-1, 1)


def _chosen(layers: tuple[LayerSpec, ...], keys: Sequence[str]) -> tuple[LayerSpec, ...]:
    known = {layer.key: layer for layer in layers}
    unknown = [key for key in keys if key not in known]
    if unknown or not keys:
        raise ContractError(
            f"no layers {choices(unknown)} for an encoder of their own; on offer are: "
            f"{choices(known)}"
        )
    return tuple(known[key] for key in keys)


def _softmax(gates: Tensor) -> Tensor:
    """Over the first axis; 0 where every gate is closed (-inf)."""
    top = gates.amax(dim=0, keepdim=True)
    weight = (gates - torch.where(top.isfinite(), top, 0.0)).exp()
    return weight / weight.sum(dim=0, keepdim=True).clamp_min(1e-12)
