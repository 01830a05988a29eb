"""How slots of the calendar go together, and turns after which numbers do so less."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from earthloom.encoders.loom.calendar import Seasons
from earthloom.encoders.loom.slots import SLOTS

_LEAST = 1e-3
"""What a direction's variance is taken for at least, as a share of the largest."""


def half_whitening(covariance: Tensor) -> Tensor:
    """(D, D) float64 that takes numbers with such a covariance (D, D) to ones whose spread in each
    direction is the root of what it was, and that stay as near to the old ones as they can.

    Half of the way of ZCA (Bell and Sejnowski 1997). Linear heads that are held to small weights
    hardly see directions of little spread, and where all spreads are alike they see noise.
    """
    values, axes = torch.linalg.eigh(covariance.double())
    usual = values.clamp_min(0).mean().clamp_min(1e-12)
    turn: Tensor = (axes * (values.clamp_min(_LEAST * float(values[-1])) / usual) ** -0.25) @ axes.T
    return turn


class Spread(nn.Module):
    """How slots go together among the chips of a pretraining; before any, none does."""

    slots: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("slots", torch.eye(len(SLOTS)))

    def turn(self, shown: Sequence[int]) -> Tensor:
        """(K, K) for the slots of some layers, see `half_whitening`."""
        return half_whitening(self.among(shown)).to(self.slots.dtype)

    def among(self, slots: Sequence[int]) -> Tensor:
        """(K, K) covariance of slots."""
        at = list(slots)
        return self.slots[at][:, at]

    @torch.no_grad()
    def reset(self) -> None:
        """None goes with another again."""
        self.slots.copy_(torch.eye(len(SLOTS)))

    @torch.no_grad()
    def measure(self, *kinds: Sequence[tuple[Seasons, Tensor]]) -> None:
        """Takes covariances from means (N, M K), not turned, of several sources alike.

        Of two slots the first kind of sources tells that shows them together. A slot that none of
        them shows goes with none, and has a usual spread.
        """
        size = len(SLOTS)
        covariance = torch.zeros(size, size)
        known = torch.zeros(size, size, dtype=torch.bool)
        for years in kinds:
            found, shown = _covariance(years)
            covariance = torch.where(shown & ~known, found, covariance)
            known |= shown
        seen = known.diagonal()
        if seen.any():
            covariance.diagonal()[~seen] = covariance.diagonal()[seen].mean()
            self.slots.copy_(covariance)


def _covariance(years: Sequence[tuple[Seasons, Tensor]]) -> tuple[Tensor, Tensor]:
    """(S, S) covariances, and (S, S) bool which slots were shown together."""
    size = len(SLOTS)
    total, count = torch.zeros(size, size), torch.zeros(size, size)
    for seasons, means in years:
        shown = torch.tensor(seasons.slots)
        flat = (means - means.mean(dim=0)).cpu().reshape(-1, len(shown))
        at = shown[:, None], shown[None]
        total[at] += flat.T @ flat / len(flat)
        count[at] += 1
    return total / count.clamp_min(1), count > 0
