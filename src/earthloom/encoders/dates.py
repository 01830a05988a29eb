"""Images of several dates to one, where each date has had the same encoder.

In all of them a date counts in a cell as much as it was seen there, and one without a valid pixel
not at all.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import final

import torch
from torch import Tensor, nn

from earthloom.encoders.base import Level
from earthloom.encoders.planes import resampled

_YEAR = 365.25
_PERIODS = tuple(_YEAR * 2.0**power for power in range(-4, 5))
"""Days after which a date's code comes again, from three weeks to sixteen years: those within a
year tell the season, those beyond it tell years apart."""
_HEADS = 16
"""Most heads of the attention, as in the paper."""
_KEY = 8
"""Length of a head's keys, as in the paper."""


class DateFusion(nn.Module, ABC):
    """(B, T, F, h, w) of every image to (B, F, h, w)."""

    def __init__(self, levels: Sequence[Level]) -> None:
        """`levels`: of the images: those of a pyramid, finest first, then that of the features."""
        super().__init__()
        self.levels = tuple(levels)

    @abstractmethod
    def forward(
        self, images: Sequence[Tensor], shares: Sequence[Tensor], days: Tensor
    ) -> list[Tensor]:
        """`images`: (B, T, F_i, h_i, w_i); `shares`: (B, T, h_i, w_i) float32, the share of a cell
        that was seen on a date; `days`: (B, T). Each image to (B, F_i, h_i, w_i), 0 in cells that
        were never seen."""


@final
class DateMean(DateFusion):
    """The mean over dates."""

    def forward(
        self, images: Sequence[Tensor], shares: Sequence[Tensor], days: Tensor
    ) -> list[Tensor]:
        return [_weighted(image, share) for image, share in zip(images, shares, strict=True)]


@final
class DateMax(DateFusion):
    """The largest value of each feature over the dates that saw anything of a cell."""

    def forward(
        self, images: Sequence[Tensor], shares: Sequence[Tensor], days: Tensor
    ) -> list[Tensor]:
        made = []
        for image, share in zip(images, shares, strict=True):
            seen = (share > 0)[:, :, None]
            most = torch.where(seen, image, -torch.inf).amax(dim=1)
            made.append(torch.where(seen.any(dim=1), most, 0.0))
        return made


@final
class DateAttention(DateFusion):
    """Lightweight temporal attention (Garnot and Landrieu 2020), learned at the coarsest image and
    carried to the finer ones, as in the U-TAE (Garnot and Landrieu 2021).

    Each head has a learned query, keys from the features and the date, and a share of the channels.
    Dates are coded by their days alone, not by their position or the first of the series: so their
    order has no influence, and dates that were not seen have none.
    """

    def __init__(self, levels: Sequence[Level]) -> None:
        super().__init__(levels)
        # The features may be cut to the window, which a pyramid's levels cover with its padding.
        self._at = max(len(levels) - 2, 0)
        channels = [level.channels for level in levels]
        common = math.gcd(*channels)
        self.heads = max(n for n in range(1, min(_HEADS, common) + 1) if common % n == 0)
        # Without biases: what is the same on every date changes no weight of any.
        self.norm = nn.LayerNorm(channels[self._at], bias=False)
        self.code = nn.Linear(2 * len(_PERIODS), channels[self._at], bias=False)
        self.key = nn.Linear(channels[self._at], self.heads * _KEY, bias=False)
        self.query = nn.Parameter(torch.randn(self.heads, _KEY) * 2**0.5 / _KEY**0.5)

    def forward(
        self, images: Sequence[Tensor], shares: Sequence[Tensor], days: Tensor
    ) -> list[Tensor]:
        scores, made = self._scores(images[self._at], days), []
        for image, share, level in zip(images, shares, self.levels, strict=True):
            fine = resampled(scores.flatten(0, 1), self.levels[self._at].stride, level.stride)
            fine = fine[..., : image.shape[-2], : image.shape[-1]]
            made.append(
                self._attended(image, share, fine.reshape(*scores.shape[:2], *fine.shape[1:]))
            )
        return made

    def _scores(self, image: Tensor, days: Tensor) -> Tensor:
        """(B, T, G, h, w) of the coarsest image, before the softmax."""
        state = self.norm(image.movedim(2, -1))  # (B, T, h, w, F)
        state = state + self.code(code_of(days).to(state.dtype))[:, :, None, None]
        keys = self.key(state).reshape(*state.shape[:-1], self.heads, _KEY)
        scores: Tensor = torch.einsum("bthwgk,gk->btghw", keys, self.query) / _KEY**0.5
        return scores

    def _attended(self, image: Tensor, share: Tensor, scores: Tensor) -> Tensor:
        """(B, F, h, w) of (B, T, F, h, w): the softmax over dates weighs them by their share."""
        shown = share[:, :, None] > 0
        top = torch.where(shown, scores, -torch.inf).amax(dim=1, keepdim=True)
        above = torch.where(shown, scores - torch.where(top.isfinite(), top, 0.0), 0.0)
        weight = above.exp() * share[:, :, None]
        weight = weight / weight.sum(dim=1, keepdim=True).clamp_min(1e-6)
        batch, times, _, *size = image.shape
        grouped = image.reshape(batch, times, self.heads, -1, *size)  # (B, T, G, F / G, h, w)
        return (grouped * weight[:, :, :, None]).sum(dim=1).flatten(1, 2)


def code_of(days: Tensor) -> Tensor:
    """(B, T) days since 1970-01-01 to (B, T, 2 P): sine and cosine of P periods."""
    periods = torch.tensor(_PERIODS, device=days.device)
    angle = 2 * math.pi * (days[..., None].to(torch.float32) / periods)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def _weighted(image: Tensor, share: Tensor) -> Tensor:
    weight = share[:, :, None]
    return (image * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1e-6)


DATES: Mapping[str, type[DateFusion]] = {
    "mean": DateMean,
    "max": DateMax,
    "attention": DateAttention,
}
"""By the value of the parameter `dates`."""
