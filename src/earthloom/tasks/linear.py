"""Logistic regression as a head."""

from typing import Any, final

import torch
from torch import Tensor

from earthloom.tasks.heads import DenseHead
from earthloom.tasks.ridge import NEVER


@final
class LinearHead(DenseHead):
    """One linear map of standardised features to logits.

    Its tensors come from `earthloom.fit.shallow.linear.fit_logistic`.
    """

    name = "linear"

    mean: Tensor
    """(F,) of the training rows."""
    scale: Tensor
    """(F,) one over their standard deviation; 0 for a feature that never varied."""
    weights: Tensor
    """(F, K), per standard deviation of a feature."""
    bias: Tensor
    """(K,)."""
    temperature: Tensor
    """() what logits are divided by, so that they are calibrated."""
    absent: Tensor
    """(K,) bool: classes without a training row."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.channels, self.classes = channels, classes
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("weights", torch.zeros(channels, classes))
        self.register_buffer("bias", torch.zeros(classes))
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("absent", torch.zeros(classes, dtype=torch.bool))

    def config(self) -> dict[str, Any]:
        return {"channels": self.channels, "classes": self.classes}

    def forward(self, features: Tensor) -> Tensor:
        rows = (features.movedim(1, -1).float() - self.mean) * self.scale
        logits = (rows @ self.weights + self.bias) / self.temperature
        return logits.masked_fill(self.absent, NEVER).movedim(-1, 1)
