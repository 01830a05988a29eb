"""What tasks of numbers share: unit, standardisation, criterion, interval."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.encoders import Features
from earthloom.errors import ContractError, LabelError
from earthloom.sample import Chip, Samples, chips_of
from earthloom.sample.batch import Batch
from earthloom.sample.target import PixelValues, SceneValue, Target
from earthloom.tasks.base import Task
from earthloom.tasks.heads import Head
from earthloom.tasks.value_criteria import Criterion, Huber, criterion_from_json
from earthloom.tasks.value_scale import Scale
from earthloom.tasks.value_scores import ValueScore

PLANES = ("value", "low", "high")
"""The planes of an answer, in the task's unit; the ends of the interval are NaN without one."""


@dataclass(frozen=True)
class ValueTask(Task[Tensor]):
    """A number of each chip or pixel, in a unit, with an interval where the criterion gives one.

    ContractError for settings that do not go together.
    """

    unit: str
    quantity: str = "value"
    """What is measured: `height`, `yield`."""
    criterion: Criterion = field(default_factory=Huber)
    level: float = 0.9
    """Share of truths that the interval is to hold."""
    scale: Scale = Scale()
    """Link and standardisation; `fitted` finds mean and standard deviation."""
    correction: float | None = None
    """Standard deviations by which both ends of the interval are moved out, see `corrected`."""

    main = "r2"

    def __post_init__(self) -> None:
        if not 0 < self.level < 1:
            raise ContractError(f"the level of an interval is above 0 and below 1: {self.level:g}")
        self.criterion.check(self.level)

    @property
    def outputs(self) -> int:
        return self.criterion.outputs

    @property
    def has_interval(self) -> bool:
        """Whether answers hold an interval."""
        return self.criterion.has_interval or self.correction is not None

    @abstractmethod
    def values_of(self, target: Target | None) -> NDArray[np.float32] | None:
        """The truth of one chip, NaN where it is not known; None where its target says nothing of
        this task. ContractError for another unit."""

    @abstractmethod
    def truth_of(self, batch: Batch) -> Tensor | None:
        """(B,) or (B, H, W) float32 the truth of a batch, NaN where it is not known; None where no
        chip's target says anything of this task."""

    @abstractmethod
    def weight_of(self, batch: Batch) -> Tensor | None:
        """(B,) or (B, H, W) how much each number of `truth_of` counts, 0 for one that is not used;
        None where all count 1."""

    @abstractmethod
    def known_of(self, chip: Chip) -> NDArray[np.float32] | None:
        """The same numbers as `values_of`, NaN also where they do not count."""

    @abstractmethod
    def raw(self, head: Head, features: Features) -> tuple[Tensor, Tensor]:
        """(B, P, ...) what the head gives, and (B, ...) bool where anything was seen."""

    def fitted(self, samples: Samples) -> Self:
        return replace(self, scale=self.scale.fitted(self._known(samples), self.unit))

    def loss(self, head: Head, features: Features, batch: Batch) -> Tensor:
        raw, seen = self.raw(head, features)
        truth = self.truth_of(batch)
        if truth is None:
            return raw.sum() * 0.0
        truth = truth.to(raw.device)
        if truth.shape != seen.shape:
            raise ContractError(
                f"the truth of a batch is {tuple(truth.shape)}, but the network answers for "
                f"{tuple(seen.shape)}; both are on the base grid"
            )
        known, weight = seen & ~truth.isnan(), self.weight_of(batch)
        if weight is not None:
            weight = weight.to(raw.device)
            known = known & (weight > 0)
        if not known.any():
            return raw.sum() * 0.0
        picked = raw.movedim(1, -1)[known]
        losses = self.criterion.losses(picked, self.scale.standardised(truth[known]))
        if weight is None:
            return losses.mean()
        return (losses * weight[known]).sum() / weight[known].sum()

    def answer(self, head: Head, features: Features) -> Tensor:
        """(B, 3, ...) float32 value, low and high in the unit; NaN where nothing was seen."""
        raw, seen = self.raw(head, features)
        value = self.criterion.value(raw)
        low, high = self.criterion.interval(raw, self.level)
        if self.correction is not None:
            if not self.criterion.has_interval:
                low = high = value
            # A correction inwards must not turn an interval round.
            low = torch.minimum(low - self.correction, value)
            high = torch.maximum(high + self.correction, value)
        planes = self.scale.in_unit(torch.stack([value, low, high], dim=1))
        return torch.where(seen[:, None], planes, torch.nan)

    def score(self) -> ValueScore:
        return ValueScore(self.truth_of, self.weight_of, self.level)

    def corrected(self, answers: Iterable[tuple[Tensor, Batch]]) -> Self:
        """The same task with intervals that hold their level on new data like these.

        Conformalised quantile regression (Romano et al. 2019); without an interval of the
        criterion's own, split conformal prediction around the value (Lei et al. 2018). `answers`
        are those of this very task to batches that the model was not fitted on, with their truths.
        The promise is for numbers that could be exchanged for each other, which neighbouring pixels
        are not: take held-out places. ContractError for a task that is corrected already,
        LabelError where too few truths are known for the level.
        """
        if self.correction is not None:
            raise ContractError("the intervals of this task are corrected already")
        found = [np.zeros((2, 0)), *(self._nonconformity(*pair) for pair in answers)]
        scores, weights = np.concatenate(found, axis=1)
        order = np.argsort(scores, kind="stable")
        # A truth of weight 2 stands there twice.
        ranks = np.cumsum(weights[order])
        count = float(ranks[-1]) if len(ranks) else 0.0
        # 10 times 0.9 is 9, whatever the last digit says.
        rank = math.ceil((count + 1) * self.level - 1e-9)
        if rank > count + 1e-9:
            least = math.ceil(self.level / (1 - self.level) - 1e-9)
            raise LabelError(
                f"intervals that hold {self.level:g} of truths take {least} known ones or more to "
                f"correct them by, but there are {count:g}"
            )
        at = int(np.searchsorted(ranks, rank - 1e-9 * count))
        return replace(self, correction=float(scores[order][at]))

    def config(self) -> dict[str, Any]:
        return {
            "unit": self.unit,
            "quantity": self.quantity,
            "criterion": self.criterion.to_json(),
            "level": self.level,
            "scale": vars(self.scale),
            "correction": self.correction,
        }

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        changed = {
            "criterion": criterion_from_json(config["criterion"]),
            "scale": Scale(**config["scale"]),
        }
        return cls(**{**config, **changed})

    def check_unit(self, target: SceneValue | PixelValues) -> None:
        """ContractError if a target is in another unit."""
        if target.unit != self.unit:
            raise ContractError(
                f"the task predicts {self.quantity} in '{self.unit}', but a chip's values are in "
                f"'{target.unit}'"
            )

    def _known(self, samples: Samples) -> Iterator[NDArray[np.float32]]:
        for chip in chips_of(samples):
            values = self.known_of(chip)
            if values is not None:
                yield values

    def _nonconformity(self, answer: Tensor, batch: Batch) -> NDArray[np.float64]:
        """(2, N) standard deviations that each known truth lies outside its interval, below 0
        inside, and how much it counts."""
        known = self.truth_of(batch)
        if known is None:
            return np.zeros((2, 0))
        truth, weight = self.scale.standardised(known.double().cpu()), self.weight_of(batch)
        each = torch.ones_like(truth) if weight is None else weight.double().cpu()
        standard = self.scale.standardised(answer.cpu().double())
        value, low, high = standard.unbind(dim=1)
        if not self.criterion.has_interval:
            low = high = value
        outside = torch.maximum(low - truth, truth - high)
        at = ~outside.isnan() & (each > 0)
        scores: NDArray[np.float64] = torch.stack([outside[at], each[at]]).numpy()
        return scores
