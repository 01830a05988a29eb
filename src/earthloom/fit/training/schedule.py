"""How the learning rate runs over a training: functions of the step alone, so nothing to keep."""

import math
from dataclasses import asdict, dataclass
from typing import Any, Protocol, runtime_checkable

from earthloom.errors import ContractError

MOMENTUM = 0.9
"""The first beta of AdamW where a schedule says nothing else."""


@runtime_checkable
class Schedule(Protocol):
    """A share of the learning rate for every step; a frozen dataclass."""

    def factor(self, step: int, steps: int) -> float:
        """What the learning rate is multiplied by in step `step`, 0 to `steps` - 1."""
        ...

    def momentum(self, step: int, steps: int) -> float:
        """The first beta of AdamW in that step."""
        ...


@dataclass(frozen=True)
class OneCycle:
    """Up, then down to almost nothing, both by a cosine; momentum runs the other way.

    Smith and Topin (2019), "Super-convergence"; the same numbers as torch's `OneCycleLR`.
    """

    rise: float = 0.3
    """Share of the steps in which the rate goes up."""
    first: float = 1 / 25
    """Share of the learning rate at the first step."""
    last: float = 1 / 25e4
    """Share at the last step."""
    least_momentum: float = 0.85
    most_momentum: float = 0.95

    def __post_init__(self) -> None:
        _share("rise", self.rise)

    def factor(self, step: int, steps: int) -> float:
        return self._between(step, steps, self.first, 1.0, self.last)

    def momentum(self, step: int, steps: int) -> float:
        most, least = self.most_momentum, self.least_momentum
        return self._between(step, steps, most, least, most)

    def _between(self, step: int, steps: int, first: float, top: float, last: float) -> float:
        summit = self.rise * steps - 1
        if step <= summit:
            return _cosine(first, top, step / summit if summit else 1.0)
        # One step, or none above the summit: there is nothing to come down.
        down = steps - 1 - summit
        return _cosine(top, last, (step - summit) / down if down else 1.0)


@dataclass(frozen=True)
class Cosine:
    """Up in a straight line, then down by a cosine: Loshchilov and Hutter (2017), "SGDR", without
    restarts."""

    warm_up: float = 0.05
    """Share of the steps in which the rate goes up."""
    last: float = 0.01
    """Share of the learning rate at the last step."""

    def __post_init__(self) -> None:
        _share("warm_up", self.warm_up)

    def factor(self, step: int, steps: int) -> float:
        warm = math.ceil(self.warm_up * steps)
        if step < warm:
            return (step + 1) / warm
        return _cosine(1.0, self.last, (step - warm) / max(steps - 1 - warm, 1))

    def momentum(self, step: int, steps: int) -> float:
        return MOMENTUM


@dataclass(frozen=True)
class Constant:
    """Up in a straight line, then the same throughout."""

    warm_up: float = 0.0
    """Share of the steps in which the rate goes up."""

    def __post_init__(self) -> None:
        _share("warm_up", self.warm_up)

    def factor(self, step: int, steps: int) -> float:
        warm = math.ceil(self.warm_up * steps)
        return min((step + 1) / warm, 1.0) if warm else 1.0

    def momentum(self, step: int, steps: int) -> float:
        return MOMENTUM


def schedule_card(schedule: Schedule) -> dict[str, Any]:
    """What a schedule is, as JSON values."""
    numbers: dict[str, Any] = asdict(schedule)  # type: ignore[call-overload]
    return {"name": type(schedule).__name__} | numbers


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _share(name: str, value: float) -> None:
    if not 0 <= value < 1:
        raise ContractError(f"{name} is {value}; valid is a share from 0 to below 1")
