"""Every observation of a pixel to one vector: bands to a sum, dates to an average.

All of it is said of single pixels, and costs so much a band and so much a date.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earthloom.encoders.loom.bands import CODE, BandFacts, codes_of

_HIDDEN = 128
_YEAR = 365.2425
_HARMONICS = 2
_SPAN_DAYS = 30.0
"""Dates closer than this hardly differ in their position in time."""
_FILL = -3.0
"""Weight of the fill at first, before its sigmoid: a twentieth of a date's."""


class SpectralStem(nn.Module):
    """Weights of bands that follow from what the bands are.

    A small network makes of each band's numbers a vector that its value is multiplied with, and one
    that is added (dynamic weights: Xiong et al. 2024, DOFA; there of patches, here of pixels). The
    mean over the bands that are there goes on; how many they are is among the numbers. So the order
    of bands does not matter, and a band that is not there is as if it had never been.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.made = nn.Sequential(
            nn.Linear(CODE + 1, _HIDDEN),
            nn.GELU(),
            nn.Linear(_HIDDEN, 2 * width),
        )
        with torch.no_grad():
            # Bands of a scene rise and fall together, so that their mean keeps most of its spread.
            self.made[2].weight.mul_(4.0)  # type: ignore[operator, union-attr]

    def forward(self, codes: Tensor, measured: Tensor | None) -> tuple[Tensor, Tensor]:
        """Weights (N, width, C) and what is added (N, width), for codes (C, K).

        `measured` (B, C) bool says which bands there are; N is then B, and 1 without.
        """
        there = codes.new_ones(1, len(codes)) if measured is None else measured.to(codes.dtype)
        count = there.sum(dim=1, keepdim=True).clamp_min(1)
        told = torch.log10(count)[..., None].expand(-1, len(codes), 1)
        made = self.made(torch.cat([codes.expand(len(there), -1, -1), told], dim=-1))
        share = (there / count)[..., None]
        weight, added = (made * share).split(self.width, dim=-1)
        return weight.mT, added.sum(dim=1)


class Dates(nn.Module):
    """The dates that a pixel was seen on, averaged by attention with learned queries.

    As in the lightweight temporal attention of Garnot and Landrieu (2020), a query a head, and a
    head for each group of channels; here of single pixels, and with sigmoids in the place of the
    softmax, so that the sums of several sensors, each on its own grid, can be added up.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.season = nn.Linear(2 * _HARMONICS, width, bias=False)
        self.query = nn.Linear(width, heads)
        nn.init.normal_(self.query.weight, std=width**-0.5)

    def waves(self, days: Tensor, moves: bool) -> Tensor:
        """(B, T, width) what the season adds; 0 for what does not change in time."""
        angle = days.to(self.season.weight.dtype) * (2 * math.pi / _YEAR)
        angles = torch.stack([angle * (each + 1) for each in range(_HARMONICS)], dim=-1)
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1)
        added: Tensor = self.season(waves if moves else waves * 0)
        return added


def positions_in_time(days: Tensor, valid: Tensor) -> Tensor:
    """(B, T, H, W) where a date lies among those on which the pixel was seen, from -1 to 1.

    0 for the only one, and near 0 for dates that lie close together. Dates on which the pixel was
    not seen play no part, and have no meaning.
    """
    at = days.float()[..., None, None]
    first = torch.where(valid, at, math.inf).amin(dim=1, keepdim=True)
    last = torch.where(valid, at, -math.inf).amax(dim=1, keepdim=True)
    half = (last - first) / 2
    found = (at - (last - half)) / (half + _SPAN_DAYS)
    return torch.where(valid, found, 0.0)


class PixelStem(nn.Module):
    """All observations of a layer to sums over its dates: the first half of an average."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.bands = SpectralStem(width)
        self.dates = Dates(width, heads)
        self.fill = nn.Parameter(torch.randn(width) * 0.5)
        self.fill_weight = nn.Parameter(torch.full((heads,), _FILL))

    def forward(
        self,
        values: Tensor,
        valid: Tensor,
        days: Tensor,
        facts: Sequence[BandFacts],
        measured: Tensor | None,
        moves: bool,
    ) -> tuple[Tensor, Tensor]:
        """Weighted sums (B, width, H, W) over dates, and sums of weights (B, heads, H, W).

        `values` (B, T, C, H, W) are in the common range, 0 where not valid; `valid` (B, T, H, W),
        `days` (B, T), `measured` (B, C) bool or None.
        """
        time = BandFacts("position in time", facts[0].gsd)
        weight, added, when = self._weights([*facts, time], measured, values)
        shape = values.shape[-2:]
        position = positions_in_time(days, valid).flatten(2) if moves else None
        bias = added[:, None] + self.dates.waves(days, moves)
        flat, seen = values.flatten(3), valid.flatten(2)
        total = values.new_zeros(len(values), self.heads, self.width // self.heads, flat.shape[-1])
        weights = values.new_zeros(len(values), self.heads, flat.shape[-1])
        for date in range(values.shape[1]):
            image = torch.matmul(weight, flat[:, date]) + bias[:, date, :, None]
            if position is not None:
                image = torch.addcmul(image, when[..., None], position[:, date, None])
            image = F.relu(image, inplace=True)
            score = torch.matmul(self.dates.query.weight, image)
            score = (score + self.dates.query.bias[:, None]).sigmoid_() * seen[:, date, None]
            parts = image.unflatten(1, (self.heads, -1))
            total = torch.addcmul(total, parts, score[:, :, None])
            weights = weights + score
        return total.flatten(1, 2).unflatten(-1, shape), weights.unflatten(-1, shape)

    def _weights(
        self, facts: Sequence[BandFacts], measured: Tensor | None, like: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(N, width, C) of the bands, (N, width) what is added, (N, width) of the position."""
        codes = codes_of(facts).to(like)
        if measured is not None:
            measured = F.pad(measured, (0, 1), value=True)
        weight, added = self.bands(codes, measured)
        return weight[..., :-1], added, weight[..., -1]

    def average(self, total: Tensor, weights: Tensor) -> Tensor:
        """(B, width, H, W): sums of one layer over sums of weights; 0 where it saw nothing."""
        least = self.fill_weight.sigmoid()[:, None, None, None]
        parts = total.unflatten(1, (self.heads, -1))
        return (parts / (weights[:, :, None] + least)).flatten(1, 2)

    def filled(self, weights: Tensor) -> Tensor:
        """(B, width, H, W): the learned fill, as far as no layer saw a pixel."""
        least = self.fill_weight.sigmoid()[:, None, None, None]
        share = least / (weights[:, :, None] + least)
        return (self.fill.unflatten(0, (self.heads, -1))[..., None, None] * share).flatten(1, 2)
