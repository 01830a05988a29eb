"""Losses of one class among several, over whatever is labelled: pixels or whole chips."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from earthloom.errors import ContractError, choices


@dataclass(frozen=True)
class Labelled:
    """What has a label, one row each; N is 1 or more."""

    logits: Tensor
    """(N, K) float."""
    truth: Tensor
    """(N,) int64 class index of each."""
    class_weights: Tensor
    """(K,) how much each class weighs, of the logits' type and device."""
    counts: Tensor | None = None
    """(N,) how often each row counts, above 0: one of 2 is the same row twice. None for 1."""

    def logarithms(self) -> Tensor:
        """(N, K) log p of each class."""
        # Over few classes torch is ten times faster where these are the first axis in memory.
        return self.logits.T.contiguous().log_softmax(dim=0).T

    def shares(self) -> Tensor:
        """(N, K) p of each class."""
        return self.logits.T.contiguous().softmax(dim=0).T

    def mean(self, each: Tensor) -> Tensor:
        """() mean of (N,), by counts and by the weights of the true classes."""
        return self.total(self.class_weights[self.truth] * each)

    def total(self, weighed: Tensor) -> Tensor:
        """() sum of (N,), by counts, over the sum of the weights of the true classes.

        Where no class here weighs anything it is not divided.
        """
        weights = self.class_weights[self.truth]
        if self.counts is not None:
            weights, weighed = weights * self.counts, weighed * self.counts
        whole = weights.sum()
        return weighed.sum() / torch.where(whole > 0, whole, torch.ones_like(whole))

    def by_class(self) -> Tensor:
        """(N, K) the truth as zeros and, where a row is of the class, its count."""
        one_hot = F.one_hot(self.truth, self.logits.shape[1]).to(self.logits.dtype)
        return one_hot if self.counts is None else one_hot * self.counts[:, None]


class Criterion(ABC):
    """A loss; a frozen dataclass of JSON values alone."""

    name: ClassVar[str]

    @abstractmethod
    def __call__(self, labelled: Labelled) -> Tensor:
        """() mean loss, 0 and above."""

    def config(self) -> dict[str, Any]:
        """What `criterion_from` makes the same loss of."""
        return {"name": self.name, **vars(self)}


@final
@dataclass(frozen=True)
class CrossEntropy(Criterion):
    """Weighted mean of -log p of the true class; what a calibrated model is fitted with.

    `smoothing` is the part of the truth that is spread evenly over all classes (Szegedy et al.
    2016), for labels with errors.
    """

    name: ClassVar[str] = "cross-entropy"
    smoothing: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.smoothing < 1:
            raise ContractError(f"label smoothing is {self.smoothing}; valid are 0 to <1")

    def __call__(self, labelled: Labelled) -> Tensor:
        logarithm = labelled.logarithms()
        each = -logarithm.gather(1, labelled.truth[:, None])[:, 0]
        if not self.smoothing:
            return labelled.mean(each)
        # As torch does: what is spread over the classes weighs as they do, and the mean is by the
        # weights of the true ones.
        spread = -(logarithm * labelled.class_weights).mean(dim=1)
        return (1 - self.smoothing) * labelled.mean(each) + self.smoothing * labelled.total(spread)


@final
@dataclass(frozen=True)
class Focal(Criterion):
    """Cross-entropy times (1 - p)^gamma, p of the true class (Lin et al. 2017).

    What is told well already hardly counts, so that many easy rows do not drown few hard ones.
    """

    name: ClassVar[str] = "focal"
    gamma: float = 2.0

    def __post_init__(self) -> None:
        if self.gamma < 0:
            raise ContractError(f"gamma of the focal loss is {self.gamma}; valid are 0 and above")

    def __call__(self, labelled: Labelled) -> Tensor:
        logarithm = labelled.logarithms().gather(1, labelled.truth[:, None])[:, 0]
        # 1 - p by expm1, and never 0: the slope of 0^gamma is not finite for gamma below 1.
        missing = (-torch.expm1(logarithm)).clamp(min=torch.finfo(logarithm.dtype).eps)
        return -labelled.mean(missing**self.gamma * logarithm)


@final
@dataclass(frozen=True)
class SoftDice(Criterion):
    """1 - F1 with probabilities for decisions, the mean of the classes there (Milletari et al.
    2016). It keeps a rare class, such as change, from being drowned; class weights play no part.
    """

    name: ClassVar[str] = "dice"
    smoothing: float = 1.0
    """Rows that are added to both sides of the fraction, so that few rows do not jump."""

    def __post_init__(self) -> None:
        if self.smoothing < 0:
            raise ContractError(
                f"smoothing of the Dice loss is {self.smoothing}; valid are 0 and above"
            )

    def __call__(self, labelled: Labelled) -> Tensor:
        truth = labelled.by_class()
        share = labelled.shares()
        overlap = (share * truth).sum(dim=0)
        if labelled.counts is not None:
            share = share * labelled.counts[:, None]
        size = truth.sum(dim=0)
        dice = (2 * overlap + self.smoothing) / (share.sum(dim=0) + size + self.smoothing)
        return (1 - dice[size > 0]).mean()


@final
@dataclass(frozen=True)
class Lovasz(Criterion):
    """The Lovász extension of 1 - IoU, the mean of the classes there (Berman et al. 2018).

    It is what to take where IoU decides; class weights play no part. It sorts all rows for each
    class, and is best added to a cross-entropy, which says more at the start.
    """

    name: ClassVar[str] = "lovasz"

    def __call__(self, labelled: Labelled) -> Tensor:
        truth = labelled.by_class()
        share = labelled.shares()
        at = torch.nonzero(truth.sum(dim=0) > 0)[:, 0]
        truth, share = truth[:, at], share[:, at]
        counts = labelled.counts
        sizes = torch.ones_like(labelled.logits[:, 0]) if counts is None else counts
        errors, order = ((truth > 0).to(share.dtype) - share).abs().sort(dim=0, descending=True)
        with torch.no_grad():
            slope = _jaccard_slope(truth.gather(0, order), sizes[order])
        return (errors * slope).sum(dim=0).mean()


def _jaccard_slope(truth: Tensor, sizes: Tensor) -> Tensor:
    """(N, C) by how much 1 - IoU rises as rows, the worst first, become errors one by one.

    truth (N, C): a row's count where it is of the class, else 0; sizes (N, C): its count.
    """
    # Sums of many rows lose the small steps between them in float32.
    dtype = truth.dtype
    truth, sizes = truth.double(), sizes.double()
    total = truth.sum(dim=0)
    missed, wrong = truth.cumsum(dim=0), (sizes - truth).cumsum(dim=0)
    loss = 1 - (total - missed) / (total + wrong)
    loss[1:] = loss[1:] - loss[:-1]
    return loss.to(dtype)


@final
@dataclass(frozen=True)
class Sum(Criterion):
    """Several losses added, each times its factor."""

    name: ClassVar[str] = "sum"
    parts: tuple[Criterion, ...]
    factors: tuple[float, ...] = ()
    """One a part; empty for 1 each."""

    def __post_init__(self) -> None:
        if not self.parts or (self.factors and len(self.factors) != len(self.parts)):
            raise ContractError(
                f"a sum of {len(self.parts)} losses has {len(self.factors)} factors; "
                "valid are one or more losses, and as many factors or none"
            )

    def __call__(self, labelled: Labelled) -> Tensor:
        factors = self.factors or (1.0,) * len(self.parts)
        each = [factor * part(labelled) for factor, part in zip(factors, self.parts, strict=True)]
        return torch.stack(each).sum()

    def config(self) -> dict[str, Any]:
        parts = [part.config() for part in self.parts]
        return {"name": self.name, "parts": parts, "factors": list(self.factors)}


CRITERIA: dict[str, type[Criterion]] = {
    each.name: each for each in (CrossEntropy, Focal, SoftDice, Lovasz, Sum)
}
"""By `Criterion.name`."""

ENTROPY_AND_DICE = Sum((CrossEntropy(), SoftDice()))
"""The default of pixels: one half is calibrated, the other cares for rare classes."""


def criterion_from(config: Mapping[str, Any]) -> Criterion:
    """The loss that `config` was asked of; ContractError for a name that none has."""
    arguments = dict(config)
    name = arguments.pop("name")
    if name not in CRITERIA:
        raise ContractError(f"unknown loss '{name}'; known: {choices(CRITERIA)}")
    if name == Sum.name:
        parts = tuple(criterion_from(part) for part in arguments["parts"])
        return Sum(parts, tuple(arguments.get("factors", ())))
    return CRITERIA[name](**arguments)
