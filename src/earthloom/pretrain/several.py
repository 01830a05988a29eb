"""Several objectives at once: the sum of their losses, by weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from earthloom.encoders.loom import Loom
from earthloom.errors import ContractError, choices
from earthloom.pretrain.objective import Draw, Loss, Objective, Part
from earthloom.sample.batch import Batch


@dataclass(frozen=True)
class Sum:
    """Objectives with their weights; an objective itself."""

    name: ClassVar[str] = "sum"
    objectives: tuple[Objective, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        names = [each.name for each in self.objectives]
        if not names or len(set(names)) < len(names):
            raise ContractError(
                f"the objectives are {choices(names)}; valid is one or more, each once"
            )
        if len(self.weights) != len(names) or any(not weight > 0 for weight in self.weights):
            raise ContractError(
                f"the objectives {choices(names)} have the weights {choices(self.weights)}; valid "
                "is a number above 0 for each"
            )

    def part(self, loom: Loom) -> Part:
        parts = {each.name: each.part(loom) for each in self.objectives}
        return SumPart(parts, self.weights)


@final
class SumPart(Part):
    """The parts of all of them."""

    def __init__(self, parts: dict[str, Part], weights: tuple[float, ...]) -> None:
        super().__init__()
        self.parts = nn.ModuleDict(parts)
        self._weights = weights
        self.names = tuple(f"{name}_{seen}" for name, part in parts.items() for seen in part.names)

    def forward(self, loom: Loom, batch: Batch, draw: Draw) -> Loss:
        losses = {name: part(loom, batch, draw.of(name)) for name, part in self.parts.items()}
        totals = [
            weight * loss.total for weight, loss in zip(self._weights, losses.values(), strict=True)
        ]
        seen = {
            f"{name}_{part}": value
            for name, loss in losses.items()
            for part, value in loss.seen.items()
        }
        return Loss(sum(totals[1:], start=totals[0]), seen)
