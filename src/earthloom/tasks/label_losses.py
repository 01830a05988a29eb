"""Losses of several labels at once, each of which a chip has or has not."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from earthloom.errors import ContractError, choices


class LabelCriterion(ABC):
    """A loss of several labels; a frozen dataclass of numbers alone."""

    name: ClassVar[str]

    @abstractmethod
    def each(self, logits: Tensor, truth: Tensor) -> Tensor:
        """(N, K) loss of each label, from logits (N, K) and truth (N, K) of 0 and 1."""

    def __call__(
        self, logits: Tensor, truth: Tensor, class_weights: Tensor, counts: Tensor | None = None
    ) -> Tensor:
        """() mean over all rows and labels, by class weights (K,) and by how often each row counts
        (N,), None for once; N is 1 or more."""
        weighed = self.each(logits, truth) * class_weights
        if counts is None:
            return weighed.sum() / (class_weights.sum() * len(logits))
        counts = counts.to(weighed)
        return (weighed * counts[:, None]).sum() / (class_weights.sum() * counts.sum())

    def config(self) -> dict[str, Any]:
        """What `label_criterion_from` makes the same loss of."""
        return {"name": self.name, **vars(self)}


@final
@dataclass(frozen=True)
class BinaryCrossEntropy(LabelCriterion):
    """-log p of what is true, for each label by itself; gives calibrated probabilities."""

    name: ClassVar[str] = "binary-cross-entropy"

    def each(self, logits: Tensor, truth: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(logits, truth, reduction="none")


@final
@dataclass(frozen=True)
class BinaryFocal(LabelCriterion):
    """Binary cross-entropy times (1 - p)^gamma, p of what is true (Lin et al. 2017)."""

    name: ClassVar[str] = "binary-focal"
    gamma: float = 2.0

    def __post_init__(self) -> None:
        _check_powers(self.gamma)

    def each(self, logits: Tensor, truth: Tensor) -> Tensor:
        entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        return _missing(entropy) ** self.gamma * entropy


@final
@dataclass(frozen=True)
class Asymmetric(LabelCriterion):
    """A focal loss that lets go of what is absent sooner than of what is present (Ridnik et al.
    2021): of many labels a chip has few.

    Probabilities of absent labels are lowered by `margin` first, so that those below it do not
    count at all.
    """

    name: ClassVar[str] = "asymmetric"
    gamma_present: float = 0.0
    gamma_absent: float = 4.0
    margin: float = 0.05

    def __post_init__(self) -> None:
        _check_powers(self.gamma_present, self.gamma_absent)
        if not 0 <= self.margin < 1:
            raise ContractError(f"the margin of absent labels is {self.margin}; valid are 0 to <1")

    def each(self, logits: Tensor, truth: Tensor) -> Tensor:
        present = -F.logsigmoid(logits)
        least = torch.finfo(logits.dtype).eps
        share = (logits.sigmoid() - self.margin).clamp(min=0, max=1 - least)
        # Not a power of 0, whose slope is not finite for powers below 1.
        absent = -torch.log1p(-share) * share.clamp(min=least) ** self.gamma_absent
        lost = present * _missing(present) ** self.gamma_present
        return truth * lost + (1 - truth) * absent


LABEL_CRITERIA: dict[str, type[LabelCriterion]] = {
    each.name: each for each in (BinaryCrossEntropy, BinaryFocal, Asymmetric)
}
"""By `LabelCriterion.name`."""


def label_criterion_from(config: Mapping[str, Any]) -> LabelCriterion:
    """The loss that `config` was asked of; ContractError for a name that none has."""
    arguments = dict(config)
    name = arguments.pop("name")
    if name not in LABEL_CRITERIA:
        raise ContractError(f"unknown loss of labels '{name}'; known: {choices(LABEL_CRITERIA)}")
    return LABEL_CRITERIA[name](**arguments)


def _missing(entropy: Tensor) -> Tensor:
    """1 - p from -log p, and never 0: the slope of 0^gamma is not finite for gamma below 1."""
    return (-torch.expm1(-entropy)).clamp(min=torch.finfo(entropy.dtype).eps)


def _check_powers(*gammas: float) -> None:
    for gamma in gammas:
        if gamma < 0:
            raise ContractError(f"gamma of a focal loss is {gamma}; valid are 0 and above")
