"""Every pixel is of one of several classes: land cover, crops, water, change or no change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.encoders import Features
from earthloom.errors import ContractError
from earthloom.sample import IGNORE, UNLABELLED, Samples, chips_of
from earthloom.sample.batch import Batch
from earthloom.tasks.base import Score, Task, raw_pixels
from earthloom.tasks.class_scores import ClassTally
from earthloom.tasks.class_weights import ClassWeighting, InverseRoot
from earthloom.tasks.classes import (
    IGNORED,
    check_classes,
    check_counts,
    check_fit,
    class_arguments,
    class_config,
    class_weights,
    colours_from,
    indices_of,
)
from earthloom.tasks.heads import Head
from earthloom.tasks.losses import ENTROPY_AND_DICE, Criterion, Labelled, criterion_from
from earthloom.tasks.mask_classes import OwnLossHead, PixelTruth

__all__ = ["IGNORED", "PixelClasses", "PixelScore", "decide"]


@final
@dataclass(frozen=True)
class PixelClasses(Task[Tensor]):
    """The task of telling every pixel's class.

    A class has a code (in labels and maps, from 1) and an index (in logits, from 0). Labels may be
    dense or sparse: pixels without one are passed over, as is `IGNORE`, and in the loss those where
    nothing was seen. The answer is the probability of each class (B, K, H, W), NaN where nothing
    was seen.
    """

    name: ClassVar[str] = "pixel-class"
    main: ClassVar[str] = "macro_f1"
    """Rare classes count as much as frequent ones."""
    codes: tuple[int, ...]
    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    criterion: Criterion = ENTROPY_AND_DICE
    weighting: ClassWeighting = InverseRoot()
    counts: tuple[int, ...] | None = None
    """(K,) labelled pixels of each class in the training samples; None before `fitted`, when all
    classes weigh the same."""

    def __post_init__(self) -> None:
        check_classes(self.codes, self.names, highest=IGNORE - 1)
        check_fit(self.counts, len(self.codes))

    @property
    def outputs(self) -> int:
        return len(self.codes)

    def indices(self, codes: Tensor) -> Tensor:
        """Class codes (any shape, int64) to class indices; `IGNORED` where there is no class."""
        return indices_of(codes, self.codes)

    def label_counts(self, samples: Samples) -> NDArray[np.int64]:
        """(n, K) pixels with a usable label of each class in each of n chips."""
        return label_counts(samples, self.codes)

    def counted(self, counts: NDArray[np.int64]) -> Self:
        """The same task with labelled pixels of each class (K,), see `label_counts`.

        LabelError if fewer than two classes are labelled.
        """
        check_counts(self.names, counts)
        return replace(self, counts=tuple(int(count) for count in counts))

    def fitted(self, samples: Samples) -> Self:
        return self.counted(self.label_counts(samples).sum(axis=0))

    def loss(self, head: Head, features: Features, batch: Batch) -> Tensor:
        """See `Task`; a head with a loss of its own is asked for that, whatever the criterion."""
        if isinstance(head, OwnLossHead):
            return head.loss(features, self._truth(features, batch))
        logits = raw_pixels(head, features)
        weights = class_weights(self.weighting, self.counts, logits, self.outputs)
        found = labelled_pixels(logits, self.codes, batch, features.on_base_grid(features.seen))
        if found is None:
            return logits.sum() * 0.0
        flat, truth, counts = found
        return self.criterion(Labelled(flat, truth, weights, counts))

    def answer(self, head: Head, features: Features) -> Tensor:
        shares = raw_pixels(head, features).softmax(dim=1)
        return torch.where(features.on_base_grid(features.seen)[:, None], shares, torch.nan)

    def _truth(self, features: Features, batch: Batch) -> PixelTruth:
        """What a head with a loss of its own learns from."""
        seen = features.on_base_grid(features.seen)
        known = torch.zeros_like(seen, dtype=torch.int64) if batch.label is None else batch.label
        index = self.indices(known).masked_fill(~seen, IGNORED)
        weights = class_weights(self.weighting, self.counts, features.pixels, self.outputs)
        return PixelTruth(index, weights.float(), batch.weight)

    def score(self) -> Score[Tensor]:
        return PixelScore(self.codes, ClassTally(self.names))

    def config(self) -> dict[str, Any]:
        own = {"criterion": self.criterion.config(), "colours": [list(c) for c in self.colours]}
        return class_config(self) | own

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        criterion = criterion_from(config["criterion"])
        return cls(colours=colours_from(config), criterion=criterion, **class_arguments(config))


@final
class PixelScore(Score[Tensor]):
    """Counts answers (B, K, H, W) against the labels of pixels; see `ClassTally`."""

    def __init__(self, codes: tuple[int, ...], tally: ClassTally) -> None:
        self._codes, self._tally = codes, tally

    def update(self, answer: Tensor, batch: Batch) -> None:
        found = labelled_pixels(answer, self._codes, batch)
        if found is not None:
            self._tally.add(*found)

    def compute(self) -> Mapping[str, float]:
        return self._tally.metrics()


def label_counts(samples: Samples, codes: tuple[int, ...]) -> NDArray[np.int64]:
    """(n, K) pixels with a usable label of each class in each of n chips."""
    counts = np.zeros((len(samples), 256), np.int64)
    for row, chip in zip(counts, chips_of(samples)):
        if chip.usable_label is not None:
            row += np.bincount(chip.usable_label.ravel(), minlength=256)
    return counts[:, list(codes)]


def labelled_pixels(
    values: Tensor, codes: tuple[int, ...], batch: Batch, seen: Tensor | None = None
) -> tuple[Tensor, Tensor, Tensor | None] | None:
    """Of values (B, P, H, W) those of pixels with a label (N, P), their class indices (N,) and how
    much each counts (N,), None for 1; None where no pixel has a label.

    `seen` (B, H, W) leaves out pixels that nothing is known of. ContractError where the labels lie
    on another grid.
    """
    if batch.label is None:
        return None
    if batch.label.shape[-2:] != values.shape[-2:]:
        (rows, cols), (height, width) = values.shape[-2:], batch.label.shape[-2:]
        raise ContractError(f"answers of {rows} x {cols} pixels have labels of {height} x {width}")
    truth = indices_of(batch.label, codes)
    labelled = truth != IGNORED
    if batch.weight is not None:
        labelled &= batch.weight > 0
    if seen is not None:
        labelled &= seen
    at = labelled.flatten().nonzero()[:, 0]
    if not len(at):
        return None
    counts = None if batch.weight is None else batch.weight.flatten()[at].to(values.dtype)
    # Classes first in memory, where losses are quick; a mask would be twice as slow.
    chosen = values.movedim(1, 0).flatten(1).index_select(1, at).T
    return chosen, truth.flatten()[at], counts


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
