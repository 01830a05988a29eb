"""A light decoder that is asked for a band by what it measures, and for a date by its season."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earthloom.encoders.loom.bands import CODE, BandFacts, codes_of

_YEAR = 365.2425
_HARMONICS = 2


class Answer(nn.Module):
    """Features of pixels and a question to a value.

    The value is the product of what a small network makes of the features and what another one
    makes of the question: kind, wavelength, width, polarisation and ground sampling distance of the
    band, season of the date. So any sensor can be asked for, and all bands and dates at little more
    than the cost of one. A coarser layer's pixel is asked of the mean over the ground it shows.
    """

    def __init__(self, channels: int, width: int) -> None:
        """`channels` F of the features; `width` D in which both meet."""
        super().__init__()
        self.lift = nn.Sequential(
            nn.LayerNorm(channels),
            nn.Linear(channels, 2 * width),
            nn.GELU(),
            nn.Linear(2 * width, width),
        )
        asked = CODE + 2 * _HARMONICS + 1
        self.ask = nn.Sequential(
            nn.Linear(asked, 2 * width), nn.GELU(), nn.Linear(2 * width, width + 1)
        )

    def keys(self, features: Tensor) -> Tensor:
        """(B, D, H, W) of features (B, F, H, W): what all questions are put to."""
        lifted: Tensor = self.lift(features.permute(0, 2, 3, 1))
        return lifted.permute(0, 3, 1, 2)

    def forward(
        self, keys: Tensor, facts: Sequence[BandFacts], days: Tensor, moves: bool, factor: int
    ) -> Tensor:
        """(B, T, C, H / factor, W / factor) values in the common range.

        `days` (B, T) since 1970; without any meaning for what does not move in time.
        """
        query: Tensor = self.ask(self._questions(facts, days, moves))
        if factor > 1:
            keys = F.avg_pool2d(keys, factor)
        count, dates, bands = query.shape[:3]
        flat = torch.bmm(query[..., :-1].flatten(1, 2), keys.flatten(2).to(query.dtype))
        values = flat + query[..., -1:].flatten(1, 2)
        return values.reshape(count, dates, bands, *keys.shape[-2:])

    def _questions(self, facts: Sequence[BandFacts], days: Tensor, moves: bool) -> Tensor:
        codes = codes_of(facts).to(days.device)
        angle = days.float()[..., None] * (2 * math.pi / _YEAR)
        angles = angle * torch.arange(1, _HARMONICS + 1, device=days.device)
        told = angle.new_full((*days.shape, 1), float(moves))
        season = torch.cat([angles.sin() * told, angles.cos() * told, told], dim=-1)
        count, dates = days.shape
        shape = (count, dates, len(codes), -1)
        return torch.cat([codes[None, None].expand(shape), season[:, :, None].expand(shape)], -1)
