"""What a layer's bands are like, as unlabelled chips have shown."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from earthloom.encoders.loom.fill import Fill, fill
from earthloom.sample import JointSums

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

    def measure(self, sums: JointSums) -> None:
        """Takes both from bands that were seen, if they were often enough."""
        if sums.count >= _ENOUGH * len(self.mean):
            for own, measured in zip((self.mean, self.covariance), sums.moments(), strict=True):
                own.copy_(torch.from_numpy(measured))

    def fill(self, measured: Tensor | None) -> Fill | None:
        """What bands that were not `measured` (B, C) are filled with, if any were not and it is
        known."""
        if measured is None or bool(self.mean.isnan().any()):
            return None
        return fill(self.covariance, self.mean, measured)
