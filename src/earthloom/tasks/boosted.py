"""Boosted trees as a head, evaluated by matrix products: no pickle is kept."""

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor

from earthloom.tasks.heads import DenseHead
from earthloom.tasks.ridge import NEVER

_ROWS = 4096
"""Cells that are put to all questions at a time."""


@final
class BoostedHead(DenseHead):
    """Gradient-boosted trees (Friedman 2001), whose sums are logits of classes, or a value.

    With one sum and `two_classes` it is the second class's logit, and the first one's is 0. Tree t
    adds to sum t modulo `sums`.

    A tree asks each cell all of its questions at once. A matrix of +1 where a leaf lies on the left
    of a question and -1 where on its right turns the answers into a count that only the right leaf
    reaches (the GEMM strategy of Nakandala et al. 2020, "A Tensor Compiler for Unified Machine
    Learning Prediction Serving"): a few large products in place of many small steps. Its tensors
    come from `earthloom.fit.boosted.boost`.
    """

    name = "boosted"

    feature: Tensor
    """(trees, questions) int64: which feature a question is about."""
    threshold: Tensor
    """(trees, questions) float32: yes, to the left, if the feature is not above it."""
    sides: Tensor
    """(trees, questions, leaves) float32: +1 left, -1 right, 0 where a leaf is not below it."""
    lefts: Tensor
    """(trees, leaves) float32: how many times the way to a leaf turns left."""
    values: Tensor
    """(trees, leaves) float32: what a leaf adds to its sum."""
    start: Tensor
    """() float32: the sum before any tree; (sums,) where there are several."""

    def __init__(
        self,
        channels: int,
        trees: int,
        leaves: int,
        sums: int = 1,
        two_classes: bool = True,
        outputs: int = 2,
        columns: Sequence[int] | None = None,
    ) -> None:
        """`columns` are the outputs that there were training rows of; None for all."""
        super().__init__()
        self.channels, self.trees, self.leaves = channels, trees, leaves
        self.sums, self.two_classes, self.outputs = sums, two_classes, outputs
        self.columns = list(range(outputs)) if columns is None else list(columns)
        questions = leaves - 1
        self.register_buffer("feature", torch.zeros(trees, questions, dtype=torch.int64))
        self.register_buffer("threshold", torch.full((trees, questions), torch.inf))
        self.register_buffer("sides", torch.zeros(trees, questions, leaves))
        # No cell reaches a leaf that a smaller tree does not have.
        self.register_buffer("lefts", torch.full((trees, leaves), torch.inf))
        self.register_buffer("values", torch.zeros(trees, leaves))
        self.register_buffer("start", torch.zeros(() if sums == 1 else sums))

    def config(self) -> dict[str, Any]:
        return {
            "channels": self.channels,
            "trees": self.trees,
            "leaves": self.leaves,
            "sums": self.sums,
            "two_classes": self.two_classes,
            "outputs": self.outputs,
            "columns": self.columns,
        }

    def forward(self, features: Tensor) -> Tensor:
        batch, _, rows, cols = features.shape
        flat = features.movedim(1, 0).reshape(self.channels, -1)
        parts = torch.split(flat, _ROWS, dim=1)
        found = [
            torch.cat([self._sum(part, number) for part in parts]).reshape(batch, rows, cols)
            for number in range(self.sums)
        ]
        if self.two_classes:
            found = [torch.zeros_like(found[0]), *found]
        logits = torch.stack(found, dim=1)
        if self.outputs == len(found):
            return logits
        whole = logits.new_full((batch, self.outputs, rows, cols), NEVER)
        whole[:, self.columns] = logits
        return whole

    def _sum(self, cells: Tensor, number: int) -> Tensor:
        """(F, N) to (N,)."""
        feature, threshold, sides, lefts, values = (
            each[number :: self.sums]
            for each in (self.feature, self.threshold, self.sides, self.lefts, self.values)
        )
        asked = cells[feature.flatten()].reshape(*feature.shape, -1)
        yes = (asked <= threshold[..., None]).to(sides.dtype)
        turns = torch.bmm(sides.mT, yes)  # (trees, leaves, N)
        there = (turns == lefts[..., None]).to(values.dtype)
        start = self.start if self.sums == 1 else self.start[number]
        return start + values.flatten() @ there.flatten(0, 1)
