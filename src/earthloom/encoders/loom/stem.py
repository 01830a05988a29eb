"""Every observation of a pixel to one vector: bands to a sum, dates to an average.

All of it is said of single pixels, and costs so much a band and so much a date.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earthloom.encoders.loom.bands import CODE, BandFacts, codes_of
from earthloom.encoders.loom.calendar import Seasons
from earthloom.encoders.loom.fill import Fill
from earthloom.encoders.loom.slots import Filled, filled

_HIDDEN = 128
_YEAR = 365.2425
_HARMONICS = 2
_SPAN_DAYS = 30.0
"""Dates closer than this hardly differ in their position in time."""
_FILL = -3.0
"""Weight of the fill at first, before its sigmoid: a twentieth of a date's."""


@dataclass(frozen=True)
class Observations:
    """Some pixels of a layer."""

    pixels: Tensor
    """(B, T, C, N) in the layer's unit; anything where not valid."""
    valid: Tensor
    """(B, T, N) bool."""
    days: Tensor
    """(B, T)."""


@dataclass(frozen=True)
class Weights:
    """What a layer's observations are multiplied with."""

    bands: Tensor
    """(1 or B, D, C)."""
    rest: Tensor
    """(B, T, D, 2): what the position in time is multiplied with, and what is added on a
    date."""
    year: Tensor
    """(B, M, T) how much a date counts in a window of the year."""
    slots: Filled
    """What the layer fills."""

    def of(self, samples: slice) -> "Weights":
        """Those of some samples."""
        bands = self.bands if len(self.bands) == 1 else self.bands[samples]
        return Weights(bands, self.rest[samples], self.year[samples], self.slots.of(samples))


@dataclass(frozen=True)
class Sums:
    """What the observations of a layer add up to: both halves of averages."""

    total: Tensor
    """(B, D, ...) weighted sums over dates."""
    shares: Tensor
    """(B, heads, ...) sums of weights."""
    windows: Tensor
    """(B, M k, ...) weighted sums over dates, of windows of the year."""
    within: Tensor
    """(B, M, ...) sums of their weights."""

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """All of them."""
        return self.total, self.shares, self.windows, self.within


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
        self.inner = nn.Linear(CODE + 1, _HIDDEN)
        self.outer = nn.Linear(_HIDDEN, 2 * width)
        with torch.no_grad():
            # Bands of a scene rise and fall together, so that their mean keeps most of its spread.
            self.outer.weight.mul_(4.0)

    def forward(self, codes: Tensor, measured: Tensor | None) -> tuple[Tensor, Tensor]:
        """Weights (N, width, C) and what is added (N, width), for codes (C, K).

        `measured` (B, C) bool says which bands there are; N is then B, and 1 without.
        """
        there = codes.new_ones(1, len(codes)) if measured is None else measured.to(codes.dtype)
        count = there.sum(dim=1, keepdim=True).clamp_min(1)
        told = torch.log10(count)[..., None].expand(-1, len(codes), 1)
        given = torch.cat([codes.expand(len(there), -1, -1), told], dim=-1)
        made = self.outer(F.gelu(self.inner(given))) * (there / count)[..., None]
        weight, added = made.split(self.width, dim=-1)
        return weight.mT, added.sum(dim=1)


class PixelStem(nn.Module):
    """The observations of a layer to sums over its dates, and sums to an average.

    As in the lightweight temporal attention of Garnot and Landrieu (2020), there is a learned query
    a head, and a head for each group of channels; here of single pixels, and with sigmoids in the
    place of the softmax, so that the sums of several sensors, each on its own grid, add up.
    On the way the sums of the calendar are taken, see `Seasons`.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.bands = SpectralStem(width)
        self.season = nn.Linear(2 * _HARMONICS, width, bias=False)
        self.query = nn.Linear(width, heads)
        nn.init.normal_(self.query.weight, std=width**-0.5)
        self.least = nn.Parameter(torch.full((heads,), _FILL))

    def weights(
        self,
        facts: Sequence[BandFacts],
        days: Tensor,
        measured: Tensor | None,
        fill: Fill | None,
        moves: bool,
        seasons: Seasons,
    ) -> Weights:
        """Of a layer; `days` (B, T), `measured` (B, C) bool and what fills others, or None."""
        slots = filled(facts, seasons.slots, measured, fill, self.least)
        time = BandFacts("position in time", facts[0].gsd)
        codes = codes_of([*facts, time]).to(self.least)
        if measured is not None:
            measured = F.pad(measured, (0, 1), value=True)
        weight, added = self.bands(codes, measured)
        angle = days.to(weight.dtype)[..., None] * (2 * math.pi / _YEAR)
        angles = angle * torch.arange(1, _HARMONICS + 1, device=angle.device)
        # What does not change in time has no season.
        waves = torch.cat([angles.sin(), angles.cos()], dim=-1) * float(moves)
        bias = added[:, None] + self.season(waves)
        position = weight[:, None, :, -1].expand_as(bias)
        rest = torch.stack([position, bias], dim=-1)
        return Weights(weight[..., :-1], rest, seasons.weights(days, moves), slots)

    def forward(
        self,
        seen: Observations,
        weights: Weights,
        ranged: Callable[[Tensor], Tensor],
        seasons: Seasons,
    ) -> Sums:
        """Sums over all dates; `ranged` brings values (B, C, N) to the common range."""
        count, dates, _, size = seen.pixels.shape
        position = positions_in_time(seen.days, seen.valid) if dates > 1 else None
        total, shares, slots = None, None, []
        weight = bands = weights.bands.expand(count, -1, -1)
        means, added, query = (
            each.expand(count, -1, -1)
            for each in (weights.slots.means, weights.slots.added, self.query.weight)
        )
        for date in range(dates):
            valid = seen.valid[:, date, None].float()
            # Five times as fast as torch.where on a processor.
            values = ranged((seen.pixels[:, date] * valid).nan_to_num_())
            slots.append(torch.baddbmm(added, means, values) * valid)
            rest = weights.rest[:, date]
            if position is not None:
                values = torch.cat([values, position[:, date, None]], dim=1)
                weight = torch.cat([bands, rest[..., :1]], dim=-1)
            image = torch.baddbmm(rest[..., 1:], weight, values).relu_()
            share = torch.baddbmm(self.query.bias[:, None], query, image).sigmoid() * valid
            parts, each = image.reshape(count, self.heads, -1, size), share[:, :, None]
            if total is None:
                # What several dates add up to is kept in float32.
                total = parts * (each if dates > 1 else each.to(parts.dtype))
            else:
                total = torch.addcmul(total, parts, each)
            shares = share if shares is None else shares + share
        assert total is not None
        assert shares is not None
        windows, within = seasons.sums(slots, seen.valid.to(slots[0].dtype), weights.year)
        return Sums(total.flatten(1, 2), shares, windows, within)

    def fused(self, layers: Sequence[Sums]) -> tuple[Tensor, Tensor]:
        """(B, D, N) the averages of layers added up, and (B, heads, N) how much was seen, 0 to 1,
        of all layers together.

        A layer that saw nothing adds nothing, and where no layer saw anything all is 0, the last
        channels too: so what a network adds to its inputs is the learned fill.
        """
        least = self.least.sigmoid()[:, None]
        added, shares = None, torch.zeros_like(layers[0].shares)
        for each in layers:
            count, _, size = each.total.shape
            parts = each.total.reshape(count, self.heads, -1, size)
            average = parts * (1 / (each.shares + least))[:, :, None].to(parts.dtype)
            added = average if added is None else added + average
            shares = shares + each.shares
        assert added is not None
        return added.flatten(1, 2), shares / (shares + least)


def positions_in_time(days: Tensor, valid: Tensor) -> Tensor:
    """(B, T, N) where a date lies among those on which the pixel was seen, from -1 to 1.

    Near 0 for dates that lie close together, and where not seen.
    """
    at = days.float()[..., None]
    first = torch.where(valid, at, math.inf).amin(dim=1, keepdim=True)
    last = torch.where(valid, at, -math.inf).amax(dim=1, keepdim=True)
    half = (last - first) / 2
    return torch.where(valid, (at - (last - half)) / (half + _SPAN_DAYS), 0.0)
