"""A head that is solved, not trained: ridge regression on linear and random Fourier features."""

from typing import Any, final

import torch
from torch import Tensor

from earthloom.tasks.heads import DenseHead

_CLIP = 6.0
"""Features beyond so many standard deviations are held there: a line should not run away on a pixel
that is like nothing in the training data."""

_ROWS = 2_048
"""Pixels that are scored at a time: with 2048 random features 8 MiB, which a cache can hold."""

NEVER = -30.0
"""Logit of a class that no training pixel had; its probability is then zero to nine digits."""


@final
class RidgeHead(DenseHead):
    """One linear map of standardised features and of random Fourier features of them.

    Random Fourier features: Rahimi and Recht 2007.

    Its tensors come from `earthloom.fit.ridge.solve_ridge`.
    """

    name = "ridge"

    mean: Tensor
    """(F,) of the training pixels."""
    scale: Tensor
    """(F,) one over their standard deviation; 0 for a feature that never varied."""
    frequencies: Tensor
    """(F, M / 2), per standard deviation of a feature."""
    weights: Tensor
    """(1 + F + M, K): of the constant, the linear and the random features."""
    temperature: Tensor
    """() what scores are divided by, so that their softmax is a calibrated probability."""
    absent: Tensor
    """(K,) bool: classes without a training pixel."""

    def __init__(self, channels: int, classes: int, random_features: int) -> None:
        super().__init__()
        self.channels, self.classes, self.random_features = channels, classes, random_features
        half = random_features // 2
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("frequencies", torch.zeros(channels, half))
        self.register_buffer("weights", torch.zeros(1 + channels + 2 * half, classes))
        self.register_buffer("temperature", torch.ones(()))
        self.register_buffer("absent", torch.zeros(classes, dtype=torch.bool))

    def config(self) -> dict[str, Any]:
        return {
            "channels": self.channels,
            "classes": self.classes,
            "random_features": self.random_features,
        }

    def forward(self, features: Tensor) -> Tensor:
        rows = features.movedim(1, -1).reshape(-1, self.channels)
        scores = torch.cat([self._scores(part) for part in torch.split(rows, _ROWS)])
        logits = (scores / self.temperature).masked_fill(self.absent, NEVER)
        batch, _, *size = features.shape
        return logits.reshape(batch, *size, self.classes).movedim(-1, 1)

    def _scores(self, rows: Tensor) -> Tensor:
        """(N, F) to (N, K): `expand(rows) @ weights`, without putting the parts side by side."""
        half = self.frequencies.shape[1]
        constant, linear, cosine, sine = torch.split(self.weights, [1, self.channels, half, half])
        rows = self.standardise(rows)
        scores = torch.addmm(constant, rows, linear / self.channels**0.5)
        if half:
            angles = rows @ self.frequencies
            scores = torch.addmm(scores, angles.cos(), cosine / half**0.5)
            scores = torch.addmm(scores, angles.sin(), sine / half**0.5)
        return scores

    def standardise(self, rows: Tensor) -> Tensor:
        """Features (N, F) in standard deviations from the training pixels' mean."""
        return ((rows - self.mean) * self.scale).clamp(-_CLIP, _CLIP)

    def expand(self, rows: Tensor) -> Tensor:
        """Features (N, F) to what the scores are linear in, (N, 1 + F + M).

        The linear part and the random part are each of about unit length, so that one penalty
        weighs both alike.
        """
        rows = self.standardise(rows)
        parts = [torch.ones_like(rows[:, :1]), rows / self.channels**0.5]
        half = self.frequencies.shape[1]
        if half:
            angles = rows @ self.frequencies
            parts += [angles.cos() / half**0.5, angles.sin() / half**0.5]
        return torch.cat(parts, dim=1)
