"""A support vector machine as a head: no pickle is kept, no scikit-learn is needed to predict."""

from typing import Any, final

import torch
from torch import Tensor

from earthloom.tasks.heads import DenseHead
from earthloom.tasks.ridge import NEVER

_ROWS = 2_048
"""Rows that are compared with all support vectors at a time."""


@final
class MachineHead(DenseHead):
    """Support vectors under a Gaussian kernel (Cortes and Vapnik 1995), for classes or a value.

    Every two classes have a machine of their own; a class's score is its wins, and a little for how
    sure they were, as scikit-learn's `decision_function` of the shape `ovr` has it. Its tensors
    come from `earthloom.fit.shallow.machine`.
    """

    name = "machine"

    mean: Tensor
    """(F,) of the training rows."""
    scale: Tensor
    """(F,) one over their standard deviation; 0 for a feature that never varied."""
    support: Tensor
    """(S, F) support vectors, standardised, class after class."""
    dual: Tensor
    """(C - 1, S) their parts in the machines of their class against each of the others; (1, S) for
    a value."""
    intercept: Tensor
    """(C (C - 1) / 2,), of classes 0 and 1, 0 and 2 and so on; (1,) for a value."""
    present: Tensor
    """(C,) int64: index of each class that there were training rows of."""
    gamma: Tensor
    """() of the kernel exp(-gamma d^2)."""
    temperature: Tensor
    """() what scores are divided by, so that their softmax is a calibrated probability."""

    def __init__(self, channels: int, outputs: int, sizes: list[int], vectors: int) -> None:
        """`sizes` are the support vectors of each class; none for a value."""
        super().__init__()
        self.channels, self.outputs = channels, outputs
        self.sizes, self.vectors = list(sizes), vectors
        classes = len(sizes)
        pairs = classes * (classes - 1) // 2 if classes else 1
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("support", torch.zeros(vectors, channels))
        self.register_buffer("dual", torch.zeros(max(classes - 1, 1), vectors))
        self.register_buffer("intercept", torch.zeros(pairs))
        self.register_buffer("present", torch.zeros(classes, dtype=torch.int64))
        self.register_buffer("gamma", torch.ones(()))
        self.register_buffer("temperature", torch.ones(()))

    def config(self) -> dict[str, Any]:
        return {
            "channels": self.channels,
            "outputs": self.outputs,
            "sizes": self.sizes,
            "vectors": self.vectors,
        }

    def forward(self, features: Tensor) -> Tensor:
        batch, _, *size = features.shape
        flat = features.movedim(1, -1).reshape(-1, self.channels).float()
        found = torch.cat([self._outputs(part) for part in torch.split(flat, _ROWS)])
        return found.reshape(batch, *size, self.outputs).movedim(-1, 1)

    def kernel(self, features: Tensor) -> Tensor:
        """(N, S) of features (N, F) with each support vector."""
        rows = (features - self.mean) * self.scale
        squares = rows.square().sum(dim=1)[:, None] + self.support.square().sum(dim=1)
        distances = (squares - 2 * rows @ self.support.T).clamp(min=0)
        return torch.exp(-self.gamma * distances)

    def scores(self, features: Tensor) -> Tensor:
        """(N, C) of the classes that there were training rows of."""
        kernels = torch.split(self.kernel(features), self.sizes, dim=1)
        duals = torch.split(self.dual, self.sizes, dim=1)
        parts = [kernel @ dual.T for kernel, dual in zip(kernels, duals, strict=True)]
        classes = len(self.sizes)
        wins = torch.zeros(len(features), classes, device=features.device)
        sums = torch.zeros_like(wins)
        for number, (first, second) in enumerate(torch.combinations(torch.arange(classes))):
            margin = parts[first][:, second - 1] + parts[second][:, first] + self.intercept[number]
            wins[:, first] += margin >= 0
            wins[:, second] += margin < 0
            sums[:, first] += margin
            sums[:, second] -= margin
        if classes == 2:
            # Nothing is won or lost between two, so that only the margin tells.
            return sums
        return wins + sums / (3 * (sums.abs() + 1))

    def _outputs(self, features: Tensor) -> Tensor:
        if not self.sizes:
            return self.kernel(features) @ self.dual.T + self.intercept
        logits = torch.full((len(features), self.outputs), NEVER, device=features.device)
        logits[:, self.present] = self.scores(features) / self.temperature
        return logits
