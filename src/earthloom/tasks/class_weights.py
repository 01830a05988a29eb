"""How much each class weighs in a loss, from how often it is labelled."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import ContractError, choices


class ClassWeighting(ABC):
    """A rule that makes weights of counts; a frozen dataclass of numbers alone."""

    name: ClassVar[str]

    @abstractmethod
    def raw(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        """(K,) weights, up to a factor, of classes with counts (K,) of one and more."""

    def of(self, counts: tuple[float, ...]) -> NDArray[np.float64]:
        """(K,) weights whose mean over the classes that are labelled is 1.

        A class without labels has nothing to weigh, and weighs 0. Without any labels all weigh 1.
        """
        known = np.asarray(counts, np.float64)
        present = known > 0
        if not present.any():
            return np.ones(len(known))
        weights = np.where(present, self.raw(np.maximum(known, 1)), 0.0)
        scaled: NDArray[np.float64] = weights / weights[present].mean()
        return scaled

    def config(self) -> dict[str, Any]:
        """What `weighting_from` makes the same rule of."""
        return {"name": self.name, **vars(self)}


@final
@dataclass(frozen=True)
class Unweighted(ClassWeighting):
    """Every label counts the same, so that frequent classes lead."""

    name: ClassVar[str] = "none"

    def raw(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.ones_like(counts)


@final
@dataclass(frozen=True)
class InverseRoot(ClassWeighting):
    """Weights fall with the root of a class's count: between equal labels and equal classes."""

    name: ClassVar[str] = "inverse-root"

    def raw(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        weights: NDArray[np.float64] = 1 / np.sqrt(counts)
        return weights


@final
@dataclass(frozen=True)
class Inverse(ClassWeighting):
    """Weights fall with a class's count, so that every class counts the same."""

    name: ClassVar[str] = "inverse"

    def raw(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 / counts


@final
@dataclass(frozen=True)
class EffectiveNumber(ClassWeighting):
    """The inverse of the effective number of labels, (1 - beta^n) / (1 - beta) (Cui et al. 2019).

    It is `Inverse` for classes of far fewer than 1 / (1 - beta) labels, and `Unweighted` for those
    of far more; so beta is to be near 1 where the labels are pixels.
    """

    name: ClassVar[str] = "effective-number"
    beta: float = 0.9999

    def __post_init__(self) -> None:
        if not 0 <= self.beta < 1:
            raise ContractError(f"beta of the effective number is {self.beta}; valid are 0 to <1")

    def raw(self, counts: NDArray[np.float64]) -> NDArray[np.float64]:
        # expm1 and log1p, because 1 - beta^n loses its digits where beta is near 1.
        logarithm = np.log1p(self.beta - 1) if self.beta else -np.inf
        weights: NDArray[np.float64] = (1 - self.beta) / -np.expm1(counts * logarithm)
        return weights


WEIGHTINGS: dict[str, type[ClassWeighting]] = {
    each.name: each for each in (Unweighted, InverseRoot, Inverse, EffectiveNumber)
}
"""By `ClassWeighting.name`."""


def weighting_from(config: Mapping[str, Any]) -> ClassWeighting:
    """The rule that `config` was asked of; ContractError for a name that none has."""
    arguments = dict(config)
    name = arguments.pop("name")
    if name not in WEIGHTINGS:
        raise ContractError(f"unknown class weights '{name}'; known: {choices(WEIGHTINGS)}")
    return WEIGHTINGS[name](**arguments)
