"""From what trees and neighbours count to what a task's answer is made of."""

from collections.abc import Callable, Mapping

from torch import Tensor

from earthloom.errors import ContractError, choices

_LEAST = 1e-9
"""Probability whose logarithm stands for that of a class that nothing votes for."""


def _log(shares: Tensor) -> Tensor:
    return shares.clamp(min=_LEAST).log()


def _logit(shares: Tensor) -> Tensor:
    inside = shares.double().clamp(_LEAST, 1 - _LEAST)
    return (inside.log() - (1 - inside).log()).float()


def _same(values: Tensor) -> Tensor:
    return values


LINKS: Mapping[str, Callable[[Tensor], Tensor]] = {"log": _log, "logit": _logit, "none": _same}
"""`log` of the shares of classes that sum to one, `logit` of shares of classes each alone, `none`
for values."""


def link_of(name: str) -> Callable[[Tensor], Tensor]:
    """The link of this name; ContractError if there is none."""
    if name not in LINKS:
        raise ContractError(f"a head's link '{name}' is not known; choose from: {choices(LINKS)}")
    return LINKS[name]
