"""Boosted trees as a head, evaluated by matrix products: no pickle is kept."""

from typing import Any, final

import torch
from torch import Tensor

from earthloom.tasks.heads import DenseHead

_ROWS = 4096
"""Cells that are put to all questions at a time."""


@final
class BoostedHead(DenseHead):
    """Gradient-boosted trees for two classes (Friedman 2001): their sum is the second's logit.

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
    """(trees, leaves) float32: what a leaf adds to the logit."""
    start: Tensor
    """() float32: the logit before any tree."""

    def __init__(self, channels: int, trees: int, leaves: int) -> None:
        super().__init__()
        self.channels, self.trees, self.leaves = channels, trees, leaves
        questions = leaves - 1
        self.register_buffer("feature", torch.zeros(trees, questions, dtype=torch.int64))
        self.register_buffer("threshold", torch.full((trees, questions), torch.inf))
        self.register_buffer("sides", torch.zeros(trees, questions, leaves))
        # No cell reaches a leaf that a smaller tree does not have.
        self.register_buffer("lefts", torch.full((trees, leaves), torch.inf))
        self.register_buffer("values", torch.zeros(trees, leaves))
        self.register_buffer("start", torch.zeros(()))

    def config(self) -> dict[str, Any]:
        return {"channels": self.channels, "trees": self.trees, "leaves": self.leaves}

    def forward(self, features: Tensor) -> Tensor:
        batch, _, rows, cols = features.shape
        flat = features.movedim(1, 0).reshape(self.channels, -1)
        logits = [self._logit(part) for part in torch.split(flat, _ROWS, dim=1)]
        second = torch.cat(logits).reshape(batch, rows, cols)
        return torch.stack([torch.zeros_like(second), second], dim=1)

    def _logit(self, cells: Tensor) -> Tensor:
        """(F, N) to (N,)."""
        asked = cells[self.feature.flatten()].reshape(*self.feature.shape, -1)
        yes = (asked <= self.threshold[..., None]).to(self.sides.dtype)
        turns = torch.bmm(self.sides.mT, yes)  # (trees, leaves, N)
        there = (turns == self.lefts[..., None]).to(self.values.dtype)
        return self.start + self.values.flatten() @ there.flatten(0, 1)
