"""The training rows themselves as a head: what is near decides."""

from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor

from earthloom.tasks.heads import DenseHead
from earthloom.tasks.links import link_of

_ROWS = 2_048
"""Rows that are compared with all training rows at a time."""


@final
class NeighboursHead(DenseHead):
    """The mean answer of the nearest training rows, found exactly (Fix and Hodges 1951).

    A training row that stands for two counts as two neighbours. Its tensors come from
    `earthloom.fit.shallow.neighbours.fit_neighbours`.
    """

    name = "neighbours"

    mean: Tensor
    """(F,) of the training rows."""
    scale: Tensor
    """(F,) one over their standard deviation; 0 for a feature that never varied."""
    rows: Tensor
    """(N, F) training rows as `place` has them."""
    answers: Tensor
    """(N, K) float32: 1 for a class that a row is of, else 0; or its value."""
    repeats: Tensor
    """(N,) float32: how many rows each stands for."""
    smoothing: Tensor
    """() float32: how many neighbours the training rows as a whole count for."""
    prior: Tensor
    """(K,) float32: mean answer of all training rows."""

    def __init__(
        self, channels: int, outputs: int, count: int, neighbours: int, cosine: bool, link: str
    ) -> None:
        super().__init__()
        self.channels, self.outputs, self.count = channels, outputs, count
        self.neighbours, self.cosine = neighbours, cosine
        self.link, self._linked = link, link_of(link)
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.register_buffer("rows", torch.zeros(count, channels))
        self.register_buffer("answers", torch.zeros(count, outputs))
        self.register_buffer("repeats", torch.ones(count))
        self.register_buffer("smoothing", torch.zeros(()))
        self.register_buffer("prior", torch.zeros(outputs))

    def config(self) -> dict[str, Any]:
        return {
            "channels": self.channels,
            "outputs": self.outputs,
            "count": self.count,
            "neighbours": self.neighbours,
            "cosine": self.cosine,
            "link": self.link,
        }

    def forward(self, features: Tensor) -> Tensor:
        batch, _, *size = features.shape
        flat = features.movedim(1, -1).reshape(-1, self.channels).float()
        found = torch.cat([self._means(part) for part in torch.split(flat, _ROWS)])
        return self._linked(found).reshape(batch, *size, self.outputs).movedim(-1, 1)

    def place(self, features: Tensor) -> Tensor:
        """Features (N, F) where distances are measured: standardised, with cosines of length 1."""
        rows = (features - self.mean) * self.scale
        return F.normalize(rows, dim=-1) if self.cosine else rows

    def distances(self, placed: Tensor) -> Tensor:
        """(n, N) what rises with the distance of placed rows (n, F) to each training row.

        Half the squared distance without the part that is the same for all training rows.
        """
        return torch.addmm(self.rows.square().sum(dim=1) / 2, placed, self.rows.T, alpha=-1)

    def _means(self, features: Tensor) -> Tensor:
        distances = self.distances(self.place(features))
        nearest = distances.topk(min(self.neighbours, self.count), largest=False, sorted=True)
        found = mean_answers(
            self.answers[nearest.indices], self.repeats[nearest.indices], self.neighbours
        )
        return smoothed(found, self.smoothing, self.prior, self.neighbours)


def mean_answers(answers: Tensor, repeats: Tensor, neighbours: int) -> Tensor:
    """(n, K) mean of the answers (n, m, K) of rows, nearest first, that stand for so many (n, m).

    The last one counts as far as there is need of it.
    """
    before = repeats.cumsum(dim=1) - repeats
    counted = torch.minimum(repeats, (neighbours - before).clamp(min=0))
    total = (counted[:, :, None] * answers).sum(dim=1)
    return total / counted.sum(dim=1, keepdim=True).clamp(min=1e-12)


def smoothed(found: Tensor, smoothing: Tensor, prior: Tensor, neighbours: int) -> Tensor:
    """(n, K) means drawn towards what is so of all training rows."""
    return (neighbours * found + smoothing * prior) / (neighbours + smoothing)
