"""Every pixel is of one of several classes: land cover, crops, water, change or no change."""

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from earthloom.errors import ContractError
from earthloom.sample import IGNORE, UNLABELLED

IGNORED = -1
"""Class index of a pixel without a label, or with one that must not be used; losses and metrics
pass it over."""


@dataclass(frozen=True)
class PixelClasses:
    """The task of telling every pixel's class.

    A class has a code (in labels and maps, from 1) and an index (in logits, from 0).
    """

    codes: tuple[int, ...]
    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]

    def __post_init__(self) -> None:
        for code, name in zip(self.codes, self.names, strict=True):
            if not UNLABELLED < code < IGNORE:
                raise ContractError(
                    f"class {name} has the code {code}; valid are {UNLABELLED + 1} to {IGNORE - 1}"
                )

    def indices(self, codes: Tensor) -> Tensor:
        """Class codes (any shape, int64) to class indices; `IGNORED` where there is no class."""
        table = torch.full((256,), IGNORED, dtype=torch.int64)
        table[torch.tensor(self.codes)] = torch.arange(len(self.codes))
        return table.to(codes.device)[codes]

    def loss(
        self,
        logits: Tensor,
        codes: Tensor,
        class_weights: Tensor,
        weight: Tensor | None = None,
    ) -> Tensor:
        """Weighted cross-entropy over labelled pixels plus soft Dice of the classes there.

        logits (B, K, H, W), codes (B, H, W), class_weights (K,); `weight` (B, H, W) says how much
        each pixel counts beside, see `Chip.weight`: one of weight 2 is the same pixel twice. The
        Dice term (Milletari et al. 2016) keeps a rare class, such as change, from being drowned.
        """
        target = self.indices(codes)
        labelled = target != IGNORED
        if weight is not None:
            labelled &= weight > 0
        if not labelled.any():
            return logits.sum() * 0.0
        flat = logits.movedim(1, -1)[labelled]
        truth = target[labelled]
        counts = None if weight is None else weight[labelled].to(flat.dtype)
        entropy = _cross_entropy(flat, truth, class_weights, counts)
        share = flat.softmax(-1)
        one_hot = F.one_hot(truth, len(self.codes)).to(share.dtype)
        present = one_hot.sum(0) > 0
        alike = share * one_hot
        if counts is not None:
            alike, share, one_hot = (each * counts[:, None] for each in (alike, share, one_hot))
        overlap = 2 * alike.sum(0) + 1
        dice = overlap / (share.sum(0) + one_hot.sum(0) + 1)
        return entropy + (1 - dice[present]).mean()


def _cross_entropy(
    logits: Tensor, truth: Tensor, class_weights: Tensor, counts: Tensor | None
) -> Tensor:
    """Mean over pixels (N, K) of class index (N,), weighted by class and by `counts` (N,)."""
    if counts is None:
        return F.cross_entropy(logits, truth, weight=class_weights)
    each = F.cross_entropy(logits, truth, weight=class_weights, reduction="none")
    return (counts * each).sum() / (counts * class_weights[truth]).sum()


def decide(
    probabilities: NDArray[np.float32], codes: tuple[int, ...], threshold: float | None = None
) -> NDArray[np.uint8]:
    """Class codes (H, W) from probabilities (K, H, W); `UNLABELLED` where they are NaN.

    With a threshold, of two classes the second is chosen where its probability reaches it;
    without, the most probable class.
    """
    if threshold is not None and len(codes) == 2:
        index = (probabilities[1] >= threshold).astype(np.intp)
    else:
        index = np.argmax(np.nan_to_num(probabilities, nan=-1.0), axis=0)
    chosen: NDArray[np.uint8] = np.asarray(codes, dtype=np.uint8)[index]
    chosen[np.isnan(probabilities[0])] = UNLABELLED
    return chosen
