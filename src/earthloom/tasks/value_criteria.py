"""Losses of numbers, and the value and interval that each of them can give.

A criterion works on standardised numbers: 0 is the mean of the training data, 1 its standard
deviation. Plane axis is 1 throughout, so that scenes (B, P) and pixels (B, P, H, W) are the same.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from earthloom.errors import ContractError, choices

_LOG_VARIANCE = 12.0
"""Limit of a predicted log variance, both ways, so that no loss overflows."""


class Criterion(ABC):
    """How far a prediction is from the truth, and what the prediction says."""

    name: ClassVar[str]

    @property
    def outputs(self) -> int:
        """Planes P that a head gives."""
        return 1

    @property
    def has_interval(self) -> bool:
        """Whether it gives an interval beside the value."""
        return False

    def check(self, level: float) -> None:  # noqa: B027 (most give an interval of any level)
        """ContractError if it cannot give an interval that holds a share `level` of truths."""

    @abstractmethod
    def losses(self, raw: Tensor, truth: Tensor) -> Tensor:
        """(B, ...) the loss of each number: raw (B, P, ...), truth (B, ...) without NaN."""

    def value(self, raw: Tensor) -> Tensor:
        """(B, ...) the value itself."""
        return raw[:, 0]

    def interval(self, raw: Tensor, level: float) -> tuple[Tensor, Tensor]:
        """(B, ...) both ends of the central interval; NaN for a criterion without one."""
        unknown = torch.full_like(raw[:, 0], torch.nan)
        return unknown, unknown

    def to_json(self) -> dict[str, Any]:
        """The criterion as JSON values."""
        return {"name": self.name} | asdict(self)  # type: ignore[call-overload,no-any-return]


@final
@dataclass(frozen=True)
class Squared(Criterion):
    """The squared error; its best value is the mean."""

    name: ClassVar[str] = "squared"

    def losses(self, raw: Tensor, truth: Tensor) -> Tensor:
        return (raw[:, 0] - truth) ** 2


@final
@dataclass(frozen=True)
class Absolute(Criterion):
    """The absolute error; its best value is the median, which outliers do not pull."""

    name: ClassVar[str] = "absolute"

    def losses(self, raw: Tensor, truth: Tensor) -> Tensor:
        return (raw[:, 0] - truth).abs()


@final
@dataclass(frozen=True)
class Huber(Criterion):
    """Squared near the truth, absolute far from it (Huber 1964)."""

    delta: float = 1.0
    """Standard deviations from which on it is absolute."""
    name: ClassVar[str] = "huber"

    def __post_init__(self) -> None:
        if not self.delta > 0:
            raise ContractError(f"a Huber loss has a delta above 0, not {self.delta:g}")

    def losses(self, raw: Tensor, truth: Tensor) -> Tensor:
        return F.huber_loss(raw[:, 0], truth, reduction="none", delta=self.delta)


@final
@dataclass(frozen=True)
class Gaussian(Criterion):
    """A normal distribution whose spread is predicted as well (Kendall and Gal 2017).

    Its loss is the negative log likelihood without its constant. With `beta` each term is weighted
    by the predicted variance to that power, without a gradient, so that what is predicted badly is
    still learnt (Seitzer et al. 2022).
    """

    beta: float = 0.5
    """0 for the likelihood itself, 1 for means that are learnt as by squared errors."""
    name: ClassVar[str] = "gaussian"

    def __post_init__(self) -> None:
        if not 0 <= self.beta <= 1:
            raise ContractError(f"beta of a Gaussian loss is 0 to 1, not {self.beta:g}")

    @property
    def outputs(self) -> int:
        return 2

    @property
    def has_interval(self) -> bool:
        return True

    def losses(self, raw: Tensor, truth: Tensor) -> Tensor:
        spread = _log_variance(raw)
        likelihood = 0.5 * ((raw[:, 0] - truth) ** 2 * torch.exp(-spread) + spread)
        return likelihood * torch.exp(self.beta * spread.detach())

    def interval(self, raw: Tensor, level: float) -> tuple[Tensor, Tensor]:
        at = torch.tensor((1 + level) / 2, dtype=torch.float64, device=raw.device)
        half = torch.exp(0.5 * _log_variance(raw)) * float(torch.special.ndtri(at))
        return raw[:, 0] - half, raw[:, 0] + half


def _log_variance(raw: Tensor) -> Tensor:
    """(B, ...) kept within limits by a curve that always has a gradient."""
    return _LOG_VARIANCE * torch.tanh(raw[:, 1] / _LOG_VARIANCE)


@final
@dataclass(frozen=True)
class Quantiles(Criterion):
    """Quantiles of what the truth may be, by the pinball loss (Koenker and Bassett 1978).

    They cannot cross: the head gives the median itself, and beside it the steps from each quantile
    to the next one away from the median, which softplus keeps above 0 (incremental quantile
    functions, Park et al. 2022).
    """

    levels: tuple[float, ...] = (0.05, 0.5, 0.95)
    """Rising, above 0 and below 1; the median is among them, and is the value."""
    name: ClassVar[str] = "quantiles"

    def __post_init__(self) -> None:
        rising = all(a < b for a, b in pairwise(self.levels))
        if not (rising and 0.5 in self.levels and self.levels[0] > 0 and self.levels[-1] < 1):
            raise ContractError(
                "levels of quantiles rise from above 0 to below 1 and hold 0.5, but are "
                f"{choices(f'{level:g}' for level in self.levels)}"
            )

    @property
    def outputs(self) -> int:
        return len(self.levels)

    @property
    def has_interval(self) -> bool:
        return len(self.levels) > 1

    def check(self, level: float) -> None:
        if self.has_interval:
            self._ends(level)

    def quantiles(self, raw: Tensor) -> Tensor:
        """(B, P, ...) the quantiles, rising along P."""
        middle = self.levels.index(0.5)
        median = raw[:, middle : middle + 1]
        below, above = F.softplus(raw[:, :middle]), F.softplus(raw[:, middle + 1 :])
        down = median - below.flip(1).cumsum(dim=1).flip(1)
        return torch.cat([down, median, median + above.cumsum(dim=1)], dim=1)

    def losses(self, raw: Tensor, truth: Tensor) -> Tensor:
        short = truth[:, None] - self.quantiles(raw)
        levels = torch.tensor(self.levels, dtype=short.dtype, device=short.device)
        levels = levels.reshape(1, -1, *(1,) * (short.ndim - 2))
        return torch.maximum(levels * short, (levels - 1) * short).mean(dim=1)

    def value(self, raw: Tensor) -> Tensor:
        return raw[:, self.levels.index(0.5)]

    def interval(self, raw: Tensor, level: float) -> tuple[Tensor, Tensor]:
        if not self.has_interval:
            return super().interval(raw, level)
        low, high = self._ends(level)
        quantiles = self.quantiles(raw)
        return quantiles[:, low], quantiles[:, high]

    def _ends(self, level: float) -> tuple[int, int]:
        """Where among the levels both ends of an interval stand."""
        ends = [
            next((n for n, each in enumerate(self.levels) if abs(each - end) < 1e-6), None)
            for end in ((1 - level) / 2, (1 + level) / 2)
        ]
        low, high = ends
        if low is None or high is None:
            raise ContractError(
                f"an interval of {level:g} takes the quantiles {(1 - level) / 2:g} and "
                f"{(1 + level) / 2:g}, but the levels are "
                f"{choices(f'{each:g}' for each in self.levels)}"
            )
        return low, high

    @staticmethod
    def of_interval(level: float) -> Quantiles:
        """The median, and both ends of the interval that holds a share `level` of truths."""
        return Quantiles((round((1 - level) / 2, 9), 0.5, round((1 + level) / 2, 9)))


CRITERIA: Mapping[str, type[Criterion]] = {
    each.name: each for each in (Squared, Absolute, Huber, Gaussian, Quantiles)
}
"""By `Criterion.name`."""


def criterion_from_json(value: Mapping[str, Any]) -> Criterion:
    """A criterion from what `to_json` made; ContractError for a name that is not known."""
    settings: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in value.items()}
    name = str(settings.pop("name"))
    if name not in CRITERIA:
        raise ContractError(f"criterion '{name}' is not known; choose from: {choices(CRITERIA)}")
    return CRITERIA[name](**settings)
