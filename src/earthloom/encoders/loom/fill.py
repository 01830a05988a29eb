"""What is expected of numbers that a sample lacks, given its others."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

_LEAST = 1e-3
"""What a direction's variance is taken for at least, as a share of the largest."""


@dataclass(frozen=True)
class Fill:
    """What numbers that a sample lacks are filled with."""

    matrix: Tensor
    """(B, K, K) that numbers are multiplied with, whatever those are that are lost."""
    added: Tensor
    """(B, K, 1)."""
    some: Tensor
    """(B, 1) whether a sample has any, 0 or 1."""

    def of(self, samples: slice) -> Fill:
        """That of some samples."""
        return Fill(self.matrix[samples], self.added[samples], self.some[samples])

    def __call__(self, year: Tensor) -> Tensor:
        """(B, M K, N) of as many."""
        windows = year.reshape(len(year), -1, self.matrix.shape[-1], year.shape[-1])
        filled: Tensor = self.matrix[:, None] @ windows + self.added[:, None]
        return filled.flatten(1, 2)


def fill(covariance: Tensor, usual: Tensor, there: Tensor) -> Fill:
    """So that numbers which are not `there` (B, K) have what is expected of them, given the others;
    for numbers with such a `covariance` (K, K) and mean, `usual` (K,).

    They are taken for normally distributed.
    """
    with torch.autocast(there.device.type, enabled=False):
        there = there.to(usual)
        seen, lost = torch.diag_embed(there), torch.diag_embed(1 - there)
        covariance = _positive(covariance)
        # Lost numbers stand alone on the diagonal, so that the matrix can be inverted.
        known = torch.linalg.inv(seen @ covariance @ seen + lost)
        expected = lost @ covariance @ seen @ known
        added = (lost - expected @ seen) @ usual[:, None]
        return Fill(seen + expected, added, there.amax(dim=1, keepdim=True))


def _positive(covariance: Tensor) -> Tensor:
    """The same (S, S) without directions of hardly any spread, or of less than none, as there may
    be where parts come from several sources."""
    values, axes = torch.linalg.eigh(covariance.double())
    positive: Tensor = (axes * values.clamp_min(_LEAST * float(values[-1]))) @ axes.T
    return positive.to(covariance)
