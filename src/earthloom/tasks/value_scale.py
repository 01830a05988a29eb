"""From numbers in a unit to numbers that a network predicts well, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.errors import ContractError, LabelError, choices


@dataclass(frozen=True)
class Link:
    """A rising function of a value that a network predicts in its place.

    As it rises, quantiles and intervals stay what they are; the mean does not: with any link but
    `identity` a squared error's best value is below the mean of skewed values.
    """

    there: Callable[[Tensor], Tensor]
    back: Callable[[Tensor], Tensor]
    least: float
    """The lowest value that it takes."""
    open_below: bool = False
    """Whether that lowest value itself is left out."""

    def takes(self, values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each value is one that it takes."""
        return values > self.least if self.open_below else values >= self.least


LINKS: Mapping[str, Link] = {
    "identity": Link(lambda v: v, lambda v: v, -np.inf),
    "sqrt": Link(torch.sqrt, lambda v: v.clamp(min=0) ** 2, 0.0),
    "log": Link(torch.log, torch.exp, 0.0, open_below=True),
    "log1p": Link(torch.log1p, lambda v: torch.expm1(v).clamp(min=0), 0.0),
}
"""`sqrt` and `log1p` for what is never below 0, such as a height; `log` for what is above 0. No
answer is ever below the link's least value."""


@dataclass(frozen=True)
class Scale:
    """A link, and the mean and standard deviation of training values behind it."""

    link: str = "identity"
    """One of `LINKS`."""
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        if self.link not in LINKS:
            raise ContractError(f"link '{self.link}' is not known; choose from: {choices(LINKS)}")
        if not self.std > 0:
            raise ContractError(f"a standard deviation is above 0, not {self.std:g}")

    def standardised(self, values: Tensor) -> Tensor:
        """Values in their unit to standard deviations from the mean; NaN stays."""
        return (LINKS[self.link].there(values) - self.mean) / self.std

    def in_unit(self, standardised: Tensor) -> Tensor:
        """The inverse of `standardised`."""
        return LINKS[self.link].back(standardised * self.std + self.mean)

    def fitted(self, values: Iterable[NDArray[np.float32]], unit: str) -> Scale:
        """The same link with mean and standard deviation of values, a batch at a time.

        NaN is passed over. LabelError if nothing is left, or for values that the link does not
        take. Values that are all the same have a standard deviation of 1.
        """
        link, moments = LINKS[self.link], RunningMoments()
        for each in values:
            known = each[~np.isnan(each)].astype(np.float64)
            refused = known[~(link.takes(known) & np.isfinite(known))]
            if len(refused):
                raise LabelError(
                    f"link '{self.link}' takes values {'above' if link.open_below else 'from'} "
                    f"{link.least:g} on, but one is {refused[0]:g} {unit}".rstrip()
                )
            moments.add(link.there(torch.from_numpy(known)).numpy())
        if not moments.count:
            raise LabelError("the training chips have no value that is known; one is needed")
        std = float(np.sqrt(moments.variance))
        # Values that differ by rounding alone are the same.
        same = std <= 1e-9 * max(abs(moments.mean), 1e-30)
        return Scale(self.link, moments.mean, 1.0 if same else std)


@dataclass
class RunningMoments:
    """Mean and variance of numbers that come in batches (Chan et al. 1979)."""

    count: float = 0.0
    """Sum of what the numbers count, which is 1 each unless said otherwise."""
    mean: float = 0.0
    squares: float = 0.0
    """Sum of squared distances from the mean."""

    def add(self, values: NDArray[np.float64], weights: NDArray[np.float64] | None = None) -> None:
        """Takes some more numbers, without NaN, each of which counts `weights`, above 0; None for
        once."""
        if not values.size:
            return
        each = np.ones(values.shape) if weights is None else weights
        added = float(each.sum())
        mean = float(np.average(values, weights=weights))
        squares = float((each * (values - mean) ** 2).sum())
        total = self.count + added
        step = mean - self.mean
        self.squares += squares + step**2 * self.count * added / total
        self.mean += step * added / total
        self.count = total

    @property
    def variance(self) -> float:
        """Of the numbers themselves, not of a population that they were drawn from."""
        return self.squares / self.count if self.count else 0.0
