"""How many things of each class there are, by a density whose sum is their number."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self, final

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from earthloom.encoders import Features
from earthloom.errors import ContractError, LabelError, choices
from earthloom.sample import Samples, Shape2d, chips_of
from earthloom.sample.batch import Batch
from earthloom.sample.target import Boxes, Counts, Instances, Target, counts_of
from earthloom.tasks.base import Score, Task, chip_weights, raw_pixels
from earthloom.tasks.density import centres_of, density_of
from earthloom.tasks.heads import Head
from earthloom.tasks.value_scores import Errors


@final
@dataclass(frozen=True)
class CountTask(Task[Tensor]):
    """The task of telling how many things there are, and where.

    Answers are densities (B, K, H, W), things of each class per pixel; `numbers_in` sums them up.
    Chips teach places where their targets are boxes or instances, and numbers alone where they are
    counts. Things of other classes are passed over. Places count as much as `Chip.weight` says, and
    numbers as much as its mean over the chip.
    """

    codes: tuple[int, ...]
    names: tuple[str, ...]
    sigma: float = 2.0
    """Standard deviation of a thing's kernel, pixels of the base grid."""
    rates: tuple[float, ...] | None = None
    """(K,) things per pixel in the training data, found by `fitted`; the unit of the head."""

    name = "counts"
    main = "r2"
    unit = "1/pixel"

    def __post_init__(self) -> None:
        if not self.codes or len(set(self.codes)) != len(self.codes):
            raise ContractError(f"class codes must differ, but are: {choices(self.codes)}")
        if len(self.names) != len(self.codes):
            raise ContractError(f"{len(self.codes)} class codes do not fit {len(self.names)} names")
        if not self.sigma > 0:
            raise ContractError(f"a kernel has a sigma above 0 pixels, not {self.sigma:g}")

    @property
    def outputs(self) -> int:
        return len(self.codes)

    @property
    def planes(self) -> tuple[str, ...]:
        """Names of an answer's planes: the classes."""
        return self.names

    def numbers_of(self, target: Target | None) -> NDArray[np.float32] | None:
        """(K,) how many of each class a chip shows; None where its target does not say."""
        if isinstance(target, Boxes | Instances):
            target = counts_of(target)
        if not isinstance(target, Counts):
            return None
        found = dict(zip(target.codes.tolist(), target.numbers.tolist(), strict=True))
        return np.array([found.get(code, 0.0) for code in self.codes], np.float32)

    def density_of(self, target: Target | None, shape: Shape2d) -> NDArray[np.float32] | None:
        """(K, H, W) things per pixel; None where a chip's target does not say where things are."""
        if not isinstance(target, Boxes | Instances):
            return None
        index = {code: number for number, code in enumerate(self.codes)}
        planes = np.array([index.get(code, -1) for code in target.codes.tolist()], np.intp)
        ours = planes >= 0
        centres = centres_of(target)[ours]
        return density_of(centres, planes[ours], shape, len(self.codes), self.sigma)

    def fitted(self, samples: Samples) -> Self:
        pixels, total = 0, np.zeros(len(self.codes))
        for chip in chips_of(samples):
            numbers = self.numbers_of(chip.target)
            if numbers is not None and (chip.weight is None or chip.weight.any()):
                pixels += chip.shape.rows * chip.shape.cols
                total += numbers
        if not total.any():
            raise LabelError(f"the training chips hold no thing of: {choices(self.names)}")
        # A class that is not there counts as half a thing.
        return replace(self, rates=tuple((np.maximum(total, 0.5) / pixels).tolist()))

    def loss(self, head: Head, features: Features, batch: Batch) -> Tensor:
        """The squared error of densities, plus the absolute error of their sums where things are
        counted, each in units of its mean in the training data (as Idrees et al. 2018 add them
        up)."""
        density, seen = self._density(head, features)
        shape = Shape2d(*density.shape[-2:])
        rates, weights = self._rates(density), self._weights(density, batch)
        each = weights.mean(dim=(-2, -1))
        losses, counting = [], []
        for number, target in enumerate(batch.targets):
            counted = self.numbers_of(target)
            if counted is None or not each[number] > 0:
                continue
            here = density[number]
            truth = torch.from_numpy(counted).to(here.device)
            most = rates * shape.rows * shape.cols
            loss = ((here * seen[number]).sum(dim=(-2, -1)) - truth).abs().div(most).mean()
            placed = self.density_of(target, shape)
            if placed is not None:
                known = seen[number] * weights[number]
                loss = loss + self._placed_loss(here, placed, known, rates)
            losses.append(loss)
            counting.append(each[number])
        if not losses:
            return density.sum() * 0.0
        share = torch.stack(counting)
        return (torch.stack(losses) * share).sum() / share.sum()

    def answer(self, head: Head, features: Features) -> Tensor:
        density, seen = self._density(head, features)
        return torch.where(seen[:, None], density, torch.nan)

    def score(self) -> CountScore:
        return CountScore(self)

    def config(self) -> dict[str, Any]:
        return {"codes": self.codes, "names": self.names, "sigma": self.sigma, "rates": self.rates}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        rates = config["rates"]
        return cls(
            tuple(config["codes"]),
            tuple(config["names"]),
            config["sigma"],
            None if rates is None else tuple(rates),
        )

    def _density(self, head: Head, features: Features) -> tuple[Tensor, Tensor]:
        """(B, K, H, W) things per pixel, never below 0, and (B, H, W) bool where seen."""
        raw = raw_pixels(head, features)
        density = F.softplus(raw) * self._rates(raw)[:, None, None]
        return density, features.on_base_grid(features.seen)

    def _rates(self, like: Tensor) -> Tensor:
        rates = self.rates or (1.0,) * len(self.codes)
        return torch.tensor(rates, dtype=like.dtype, device=like.device)

    def _weights(self, density: Tensor, batch: Batch) -> Tensor:
        """(B, H, W) how much each pixel counts, 1 where nothing is said."""
        if batch.weight is None:
            return torch.ones_like(density[:, 0])
        return batch.weight.to(density)

    def _placed_loss(
        self, density: Tensor, placed: NDArray[np.float32], weights: Tensor, rates: Tensor
    ) -> Tensor:
        """Mean squared error by weights (H, W), in units of what one thing's kernel alone has."""
        truth = torch.from_numpy(placed).to(density.device)
        at = weights > 0
        if not at.any():
            return density.sum() * 0.0
        squared = (((density - truth)[:, at] ** 2) * weights[at]).sum(dim=-1) / weights[at].sum()
        # The integral of a squared Gaussian kernel, times how often kernels come.
        usual = rates / (4 * math.pi * self.sigma**2)
        return (squared / usual).mean()


def numbers_in(answer: Tensor) -> Tensor:
    """(B, K) how many things each chip shows: the sum of a density (B, K, H, W) where seen."""
    return answer.nansum(dim=(-2, -1))


@final
class CountScore(Score[Tensor]):
    """Errors of numbers of things, each chip and class a pair that counts as much as the chip;
    `answered` is the share of chips with known numbers of which anything was seen."""

    def __init__(self, task: CountTask) -> None:
        self._task, self._errors = task, Errors()
        self._known = self._answered = 0.0

    def update(self, answer: Tensor, batch: Batch) -> None:
        numbers = numbers_in(answer.double()).cpu().numpy()
        seen = (~answer.isnan()).any(dim=1).flatten(1).any(dim=1).cpu().numpy()
        weights = chip_weights(batch)
        each = np.ones(len(numbers)) if weights is None else weights.double().cpu().numpy()
        for found, anything, counts, target in zip(numbers, seen, each, batch.targets):
            truth = self._task.numbers_of(target)
            if truth is None or not counts > 0:
                continue
            self._known += float(counts)
            if anything:
                self._answered += float(counts)
                self._errors.add(found, truth.astype(np.float64), np.full(len(truth), counts))

    def compute(self) -> Mapping[str, float]:
        share = self._answered / self._known if self._known else math.nan
        return self._errors.metrics() | {"answered": share}
