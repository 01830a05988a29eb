"""What is trained: an encoder and the parts of its objectives, as one module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from earthloom.encoders.base import Statistics
from earthloom.encoders.loom import Loom
from earthloom.fit.statistics import statistics_of
from earthloom.pretrain.objective import Draw, Part
from earthloom.sample import LayerSpec, Samples, Subset
from earthloom.sample.batch import Batch

_STATISTICS_CHIPS = 64
"""Whose pixels make the statistics."""


def flat_statistics(layers: tuple[LayerSpec, ...]) -> dict[str, Statistics]:
    """Mean 0 and spread 1 of every band."""
    return {e.key: Statistics((0.0,) * len(e.bands), (1.0,) * len(e.bands)) for e in layers}


def faces_of(loom: Loom, opened: Sequence[Samples]) -> list[Loom]:
    """A Loom for each source's layers and statistics; all share their weights."""
    some = [Subset(each, range(min(_STATISTICS_CHIPS, len(each)))) for each in opened]
    return [loom.over(tuple(each.specs.values()), statistics_of(each)) for each in some]


class Given:
    """What a step is given. No dataclass: Lightning would look for tensors in it, to copy them."""

    def __init__(self, batch: Batch, source: int, draw: Draw) -> None:
        self.batch, self.source, self.draw = batch, source, draw


class Learner(nn.Module):
    """One Loom with a face for each source, which all share their weights, under an objective."""

    def __init__(self, faces: Sequence[Loom], part: Part) -> None:
        super().__init__()
        self.faces, self.part = nn.ModuleList(faces), part

    @property
    def loom(self) -> Loom:
        """The face for the first source."""
        first = self.faces[0]
        assert isinstance(first, Loom)
        return first

    @property
    def every_face(self) -> list[Loom]:
        """One for each source."""
        return [face for face in self.faces if isinstance(face, Loom)]

    def forward(self, given: Given) -> tuple[Tensor, Tensor]:
        """() the loss of a batch, and (N,) what is seen of it, by `Part.names`."""
        face = self.faces[given.source]
        assert isinstance(face, Loom)
        loss = self.part(face, given.batch, given.draw)
        seen = torch.stack([loss.seen[name].detach().float() for name in self.part.names])
        return loss.total, seen

    def trained(self) -> dict[str, nn.Parameter]:
        """All parameters, each once."""
        return dict(self.named_parameters())

    @torch.no_grad()
    def put(self, values: Mapping[str, Tensor]) -> None:
        """Overwrites parameters."""
        own = self.trained()
        for name, value in values.items():
            own[name].copy_(value)

    def groups(self, weight_decay: float) -> list[dict[str, object]]:
        """Parameters for an optimiser: norms and biases do not decay."""
        trained = list(self.trained().values())
        return [
            {"params": [p for p in trained if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
        ]
