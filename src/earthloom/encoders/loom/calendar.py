"""What a pixel was like at each time of the year, by windows of the calendar."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from earthloom.encoders.loom.bands import BandFacts
from earthloom.encoders.loom.slots import SLOTS, Filled, slot_of

_YEAR = 365.2425
WINDOWS = 36
"""Of the year: ten days each, as reports on crops have them."""
_WEIGHTS = ((1.0, 120.0), (1e-2, 24.0), (1e-4, 4.0), (1e-6, 0.0))
"""How much dates count, and the sharpness of it: weights have sunk to exp(-1/2) after 5, 12 and 29
days, and the last are even. A window without a date near it is filled from those on both sides, one
without these from the season around it, and one without a season from all dates."""
_LEAST = 1e-12


@dataclass(frozen=True)
class Seasons:
    """The windows of a year, or one of all times, for the slots of some layers.

    Means are of those dates alone on which a pixel was seen (normalised convolution: Knutsson and
    Westin 1993), so that a series has the same numbers however irregular it is. Where the content
    decides which dates count, as in `PixelStem`, the order within a season is lost; here it stays.
    Nothing here is learnt.
    """

    slots: tuple[int, ...]
    """K of `SLOTS`, in their order."""
    windows: int
    """M."""

    @staticmethod
    def of(layers: Sequence[Sequence[BandFacts]], many: bool) -> Seasons:
        """For bands of layers; `many`: whether any layer has several dates."""
        found = {slot_of(band) for facts in layers for band in facts}
        return Seasons(tuple(sorted(found)), WINDOWS if many else 1)

    @property
    def width(self) -> int:
        """Numbers M K of a pixel."""
        return self.windows * len(self.slots)

    def weights(self, days: Tensor, moves: bool) -> Tensor:
        """(B, M, T) of days (B, T) since 1970-01-01; even for what does not move in time."""
        if self.windows == 1:
            return torch.ones_like(days, dtype=torch.float32)[:, None]
        middles = torch.arange(self.windows, device=days.device) * (2 * math.pi / self.windows)
        angles = days.float()[:, None] * (2 * math.pi / _YEAR)
        near = (angles - middles[:, None]).cos() - 1 if moves else torch.zeros_like(angles)
        parts = [share * (sharpness * near).exp() for share, sharpness in _WEIGHTS]
        return torch.stack(parts).sum(dim=0).expand(-1, self.windows, -1)

    def sums(
        self, slots: Sequence[Tensor], valid: Tensor, weights: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Sums (B, M k, N) and their weights (B, M, N): of `slots`, T of (B, k, N), which are 0
        where not `valid` (B, T, N), by `weights` (B, M, T)."""
        if self.windows == 1:
            # No layer has more than one date.
            (only,) = slots
            return only, valid
        total = torch.bmm(weights, torch.stack(list(slots), dim=1).flatten(2))
        return total.reshape(len(total), -1, valid.shape[-1]), torch.bmm(weights, valid)

    def means(self, layers: Sequence[tuple[Tensor, Tensor, Filled]]) -> Tensor:
        """(B, M K, N) of the sums of layers and their weights; 0 where nothing was seen."""
        if len(layers) == 1 and len(layers[0][2].means) == 1:
            # The only layer fills all slots.
            total, within, _ = layers[0]
            inverse = 1 / within.clamp_min(_LEAST)
            return (self._apart(total) * inverse[:, :, None]).flatten(1, 2)
        count, _, size = layers[0][0].shape
        sizes = (count, self.windows, len(self.slots), size)
        every, weight = (torch.zeros(sizes, device=layers[0][0].device) for _ in range(2))
        for total, within, own in layers:
            there = own.there[:, None, :, None]
            parts = self._apart(total) * there
            every = every.index_add(2, own.at, parts)
            weight = weight.index_add(2, own.at, (within[:, :, None] * there).expand_as(parts))
        return (every / weight.clamp_min(_LEAST)).flatten(1, 2)

    def _apart(self, total: Tensor) -> Tensor:
        """(B, M, k, N) float32."""
        return total.float().reshape(len(total), self.windows, -1, total.shape[-1])


class Told(nn.Module):
    """What a network is told of the calendar: a few learnt sums over windows and slots."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width, WINDOWS, len(SLOTS)))
        nn.init.normal_(self.weight, std=(WINDOWS * len(SLOTS)) ** -0.5)

    def forward(self, seasons: Seasons) -> Tensor:
        """(width, M K) that the means of some slots are multiplied with."""
        chosen = self.weight[:, :, list(seasons.slots)]
        if seasons.windows == 1:
            # As if every window had seen the only date.
            chosen = chosen.sum(dim=1, keepdim=True)
        return chosen.flatten(1)
