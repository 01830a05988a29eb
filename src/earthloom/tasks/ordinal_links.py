"""From K - 1 numbers to the probabilities of K classes that stand in an order."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from earthloom.errors import ContractError, choices
from earthloom.tasks.losses import Labelled


class Link(ABC):
    """How K - 1 outputs make K probabilities, and the loss that goes with it; frozen."""

    name: ClassVar[str]

    @abstractmethod
    def probabilities(self, raw: Tensor) -> Tensor:
        """(B, K, ...) that sum to one over K, from raw (B, K - 1, ...)."""

    @abstractmethod
    def loss(self, labelled: Labelled) -> Tensor:
        """() mean loss; the logits of `labelled` are (N, K - 1), its class weights (K,)."""

    def config(self) -> dict[str, Any]:
        """What `link_from` makes the same link of."""
        return {"name": self.name, **vars(self)}


@final
@dataclass(frozen=True)
class Cumulative(Link):
    """Every output asks whether the class is above one more rank, of all that is labelled.

    The loss is the sum of those K - 1 binary entropies (Niu et al. 2016). Cao et al. (2020) keep
    the answers in order by one direction in the features with K - 1 thresholds; here each output
    says by how much its logit lies below the one before, so that the order holds with any head and
    thresholds may differ from place to place.
    """

    name: ClassVar[str] = "cumulative"

    def probabilities(self, raw: Tensor) -> Tensor:
        above = self.logits(raw).sigmoid()
        ends = torch.ones_like(above[:, :1])
        shares = torch.cat([ends, above], dim=1) - torch.cat([above, 0 * ends], dim=1)
        return shares.clamp(min=0)

    def logits(self, raw: Tensor) -> Tensor:
        """(B, K - 1, ...) logits, falling, of being above each class but the last."""
        steps = torch.cat([raw[:, :1], -F.softplus(raw[:, 1:])], dim=1)
        return steps.cumsum(dim=1)

    def loss(self, labelled: Labelled) -> Tensor:
        logits = self.logits(labelled.logits)
        above = _is_above(labelled).to(logits.dtype)
        each = F.binary_cross_entropy_with_logits(logits, above, reduction="none")
        return labelled.mean(each.sum(dim=1))


@final
@dataclass(frozen=True)
class Conditional(Link):
    """Every output asks whether the class is above one more rank, of what is above the one before.

    The loss is -log p of the true class, of which each output learns from what reached its rank
    (Shi, Cao and Raschka 2021); the product of the outputs keeps the answers in order.
    """

    name: ClassVar[str] = "conditional"

    def probabilities(self, raw: Tensor) -> Tensor:
        return self.logarithms(raw).exp()

    def logarithms(self, raw: Tensor) -> Tensor:
        """(B, K, ...) log p of each class."""
        reached = F.logsigmoid(raw).cumsum(dim=1)
        start = torch.zeros_like(raw[:, :1])
        stayed = torch.cat([F.logsigmoid(-raw), start], dim=1)
        return torch.cat([start, reached], dim=1) + stayed

    def loss(self, labelled: Labelled) -> Tensor:
        logarithms = self.logarithms(labelled.logits)
        return -labelled.mean(logarithms.gather(1, labelled.truth[:, None])[:, 0])


LINKS: dict[str, type[Link]] = {each.name: each for each in (Cumulative, Conditional)}
"""By `Link.name`."""


def link_from(config: Mapping[str, Any]) -> Link:
    """The link that `config` was asked of; ContractError for a name that none has."""
    arguments = dict(config)
    name = arguments.pop("name")
    if name not in LINKS:
        raise ContractError(f"unknown ordinal link '{name}'; known: {choices(LINKS)}")
    return LINKS[name](**arguments)


def _is_above(labelled: Labelled) -> Tensor:
    """(N, K - 1) bool: whether the true class lies above each class but the last."""
    ranks = torch.arange(labelled.logits.shape[1], device=labelled.truth.device)
    return labelled.truth[:, None] > ranks
