"""What pretraining asks of an encoder: one protocol for settings, one class for what they train.

An `Objective` is settings, a frozen dataclass that a table of a configuration can say. Its `part`
is a module: the decoder or projector that is trained beside the encoder and thrown away
afterwards.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor, nn

from earthloom.encoders.loom import Loom
from earthloom.sample.batch import Batch


@dataclass(frozen=True)
class Draw:
    """Which random numbers a batch gets: they follow from these alone, so nothing is to be kept."""

    seed: int
    batch: int
    """Batches that went before, on this rank."""
    rank: int = 0

    def random(self, *purpose: str | int) -> torch.Generator:
        """Random numbers of a purpose, on the processor: the same wherever the network is."""
        text = " ".join(map(str, (self.seed, self.batch, self.rank, *purpose)))
        digest = hashlib.sha256(text.encode()).digest()
        return torch.Generator().manual_seed(int.from_bytes(digest[:7]))

    def of(self, name: str | int) -> Draw:
        """Other random numbers, for a part of an objective."""
        text = f"{self.seed} {name}"
        seed = int.from_bytes(hashlib.sha256(text.encode()).digest()[:6])
        return Draw(seed, self.batch, self.rank)


@dataclass(frozen=True)
class Loss:
    """What a batch costs."""

    total: Tensor
    """() what is minimised."""
    seen: Mapping[str, Tensor]
    """() each, without gradient, for the log: always the same names, NaN where a batch says
    nothing."""


class Part(nn.Module, ABC):
    """What an objective trains beside the encoder, and how it scores both."""

    names: tuple[str, ...]
    """Of what stands in `Loss.seen`."""

    @abstractmethod
    def forward(self, loom: Loom, batch: Batch, draw: Draw) -> Loss:
        """The loss of a batch; `loom` is not a part of this module, and is trained as well."""


class Objective(Protocol):
    """Settings of something to learn without labels; a frozen dataclass."""

    name: ClassVar[str]

    def part(self, loom: Loom) -> Part:
        """A fresh module, with random weights from torch's seed."""
        ...


def mean_where(values: Tensor, where: Tensor) -> Tensor:
    """() mean of values where `where` (the same shape, bool); 0 where that is nowhere."""
    kept = torch.where(where, values, 0.0)
    return kept.sum() / where.sum().clamp_min(1)
