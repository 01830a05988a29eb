"""A running average of the weights, which is steadier than the weights themselves."""

from collections.abc import Mapping

import torch
from torch import Tensor


class Average:
    """Exponential moving average (Polyak and Juditsky 1992; Tarvainen and Valpola 2017).

    After step t (from 1) the decay is min(decay, (1 + t) / (10 + t)): a short training would be
    mostly its random start otherwise. Tensors that are not floating point, and those that are
    means already (buffers), are not averaged: give it parameters alone.
    """

    def __init__(self, values: Mapping[str, Tensor], decay: float) -> None:
        self._decay = decay
        self.taken = 0
        """Steps taken so far."""
        self.values = {name: value.detach().clone() for name, value in values.items()}

    @torch.no_grad()
    def update(self, values: Mapping[str, Tensor]) -> None:
        """Takes the weights after a step."""
        self.taken += 1
        decay = min(self._decay, (1 + self.taken) / (10 + self.taken))
        own = list(self.values.values())
        new = [values[name].detach() for name in self.values]
        torch._foreach_lerp_(own, new, 1 - decay)

    def load(self, values: Mapping[str, Tensor], taken: int) -> None:
        """Goes on from there."""
        for name, value in self.values.items():
            value.copy_(values[name])
        self.taken = taken
