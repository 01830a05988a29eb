"""Physical units brought to one range, by rules that no data set has a say in.

So a sensor that training never saw comes as those that it saw. A value of a usual pixel is about
between -2 and 2 afterwards.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from earthloom.encoders.loom.bands import BandFacts

_LEAST_POWER = 1e-5
"""Backscatter below -50 dB is noise of the instrument."""
_TINY = 1e-6
_MOST = 10.0
"""Where values of no bounded curve end."""


@dataclass(frozen=True)
class Range:
    """(curve(value / step) - middle) / spread."""

    curve: Callable[[Tensor], Tensor]
    step: float
    middle: float
    spread: float

    def __call__(self, values: Tensor) -> Tensor:
        """The same shape, in the common range."""
        middle = values.new_tensor(-self.middle / self.spread)
        return torch.add(middle, self.curve(values / self.step), alpha=1 / self.spread)


def _arsinh(values: Tensor) -> Tensor:
    # torch.asinh is ten times as slow on a processor. What lies beyond 1000 steps ends there, so
    # that infinity is a number afterwards: enlargement multiplies all that is far off with 0.
    values = values.clamp(-1e3, 1e3)
    return torch.log(values + torch.addcmul(values.new_ones(()), values, values).sqrt())


def _decibels(power: Tensor) -> Tensor:
    return power.clamp_min(_LEAST_POWER).log10() * 10.0


REFLECTANCE = Range(_arsinh, 0.05, 1.6, 0.8)
"""Linear up to about 0.05, then logarithmic: a difference of two bands is then nearly the logarithm
of their ratio, as vegetation indices are. Below 0 all goes on as above."""
INDEX = Range(lambda values: values.clamp(-_MOST, _MOST), 1.0, 0.0, 0.5)


@dataclass(frozen=True)
class WithIndices:
    """Reflectances and indices beside each other, each by its own rule."""

    optical: tuple[bool, ...]
    """Of each band, whether it is a reflectance."""

    def __call__(self, values: Tensor) -> Tensor:
        """The same shape (B, C, N), in the common range."""
        optical = torch.tensor(self.optical, device=values.device)[:, None]
        return torch.where(optical, REFLECTANCE(values), INDEX(values))


RANGES: Mapping[str, Range] = {
    "linear power": Range(_decibels, 1.0, -13.0, 5.0),
    "dB": Range(lambda values: values.clamp(-60.0, 30.0), 1.0, -13.0, 5.0),
    "m": Range(_arsinh, 10.0, 2.0, 2.0),
    "K": Range(lambda values: values.clamp(130.0, 430.0), 1.0, 285.0, 15.0),
}
"""By unit."""


def range_of(unit: str, facts: tuple[BandFacts, ...]) -> Callable[[Tensor], Tensor] | None:
    """The rule for a layer; None for a unit without one, whose bands are standardised by the
    encoder's own statistics."""
    if unit != "1":
        return RANGES.get(unit)
    optical = tuple(each.kind == "optical" for each in facts)
    if all(optical) or not any(optical):
        return REFLECTANCE if any(optical) else INDEX
    return WithIndices(optical)


def standardised(values: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """(..., C, H, W) in standard deviations (C, 1, 1) from the mean, within bounds."""
    return ((values - mean) / std.clamp_min(1e-6)).clamp(-_MOST, _MOST)


def usual_of(rule: Callable[[Tensor], Tensor], mean: Tensor, std: Tensor) -> Tensor:
    """(C,) what values of bands are on average in the common range, by mean and spread (C,) before.

    That of two points with such a mean and spread, as curves are not straight between them: points
    of a log-normal distribution, as quantities that are never below 0 mostly have, where the mean
    is above 0.
    """
    least = mean.clamp_min(_TINY)
    width = (std / least).square().log1p()
    middle = least.log() - width / 2
    points = torch.stack([-width.sqrt(), width.sqrt()])
    points = torch.where(mean > 0, (middle + points).exp(), mean + points.sign() * std)
    return rule(points[..., None])[..., 0].mean(dim=0)
