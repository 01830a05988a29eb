"""What a layer's bands are like, as unlabelled chips have shown."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from earthloom.encoders.loom.fill import Fill, fill

_ENOUGH = 30
"""Observations for each band, from which on their covariance is trusted."""


class Known(nn.Module):
    """Mean and covariance of bands in the common range; NaN before any are measured."""

    mean: Tensor
    """(C,)."""
    covariance: Tensor
    """(C, C)."""

    def __init__(self, bands: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.full((bands,), torch.nan))
        self.register_buffer("covariance", torch.full((bands, bands), torch.nan))

    def fill(self, measured: Tensor | None) -> Fill | None:
        """What bands that were not `measured` (B, C) are filled with, if any were not and it is
        known."""
        if measured is None or bool(self.mean.isnan().any()):
            return None
        return fill(self.covariance, self.mean, measured)


class Tally:
    """Running sums of numbers that come in parts."""

    def __init__(self, size: int) -> None:
        self.count = 0
        self.total = torch.zeros(size, dtype=torch.float64)
        self.products = torch.zeros(size, size, dtype=torch.float64)

    def add(self, values: Tensor) -> None:
        """Of (N, C)."""
        values = values.double()
        self.count += len(values)
        self.total += values.sum(dim=0)
        self.products += values.T @ values

    def tell(self, known: Known) -> None:
        """Writes mean and covariance, if enough was seen."""
        if self.count >= _ENOUGH * len(self.total):
            mean = self.total / self.count
            known.mean.copy_(mean)
            known.covariance.copy_(self.products / self.count - torch.outer(mean, mean))
