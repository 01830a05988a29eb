"""What a pixel was like at each time of the year, by windows of the calendar."""

import math

import torch
from torch import Tensor, nn

_YEAR = 365.2425
_NARROW, _WIDE = 30.0, 2.0
"""Sharpness of a window: its weight has sunk to exp(-1/2) after 11 days, or after 41."""
_SHARES = (1.0, 1e-2, 1e-4)
"""How much narrow, wide and even weights count: a window without a date near it is filled from the
season around it, and one without a season from all dates."""
_LEAST = 1e-12


class Calendar(nn.Module):
    """Means of `kinds` mixtures of bands in `windows` of the year; nothing here is learnt.

    A mean is one of those dates alone on which the pixel was seen (normalised convolution: Knutsson
    and Westin 1993), so that a series has the same numbers however irregular it is. Where the
    content decides which dates count, as in `PixelStem`, the order within a season is lost; here it
    stays.
    """

    middles: Tensor

    def __init__(self, kinds: int, windows: int) -> None:
        super().__init__()
        self.kinds, self.windows = kinds, windows
        middles = 2 * math.pi * torch.arange(windows) / windows
        self.register_buffer("middles", middles, persistent=False)

    @property
    def width(self) -> int:
        """Channels of the means."""
        return self.windows * self.kinds

    def weights(self, days: Tensor, moves: bool) -> Tensor:
        """(B, M, T) of days (B, T) since 1970-01-01; even for what does not move in time."""
        angles = days.to(self.middles.dtype)[:, None] * (2 * math.pi / _YEAR)
        near = (angles - self.middles[:, None]).cos() - 1 if moves else torch.zeros_like(angles)
        narrow, wide, even = _SHARES
        weights = narrow * (_NARROW * near).exp() + wide * (_WIDE * near).exp() + even
        return weights.expand(-1, self.windows, -1)

    def forward(self, mixed: Tensor, valid: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Sums (B, M K, N) and their weights (B, M, N): of `mixed` (B, T, K, N), which is 0 where
        not `valid` (B, T, N), by `weights` (B, M, T)."""
        total = torch.bmm(weights, mixed.flatten(2))
        return total.reshape(len(total), -1, mixed.shape[-1]), torch.bmm(weights, valid)

    def means(self, total: Tensor, weight: Tensor) -> Tensor:
        """(B, M K, N) of sums and their weights; 0 where nothing was seen."""
        parts = total.reshape(len(total), self.windows, self.kinds, -1)
        return (parts * (1 / weight.clamp_min(_LEAST))[:, :, None]).flatten(1, 2)
