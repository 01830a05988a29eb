"""Each chip as a whole has a number: a yield, a share, a wealth index."""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.encoders import Features
from earthloom.sample import Chip
from earthloom.sample.batch import Batch
from earthloom.sample.target import SceneValue, Target
from earthloom.tasks.base import chip_weights, raw_scenes
from earthloom.tasks.heads import Head
from earthloom.tasks.values import ValueTask


@final
@dataclass(frozen=True)
class SceneValueTask(ValueTask):
    """The task of telling a number of each chip; answers are (B, 3), see `values.PLANES`.

    A chip whose target is of another kind, or NaN, is one whose number is not known. A chip counts
    as much as the mean of its `Chip.weight`.
    """

    name = "scene-value"

    def values_of(self, target: Target | None) -> NDArray[np.float32] | None:
        if not isinstance(target, SceneValue):
            return None
        self.check_unit(target)
        return np.array([target.value], np.float32)

    def truth_of(self, batch: Batch) -> Tensor | None:
        known = [self.values_of(target) for target in batch.targets]
        if all(each is None for each in known):
            return None
        unknown = np.full(1, np.nan, np.float32)
        return torch.from_numpy(
            np.concatenate([unknown if each is None else each for each in known])
        )

    def weight_of(self, batch: Batch) -> Tensor | None:
        return chip_weights(batch)

    def known_of(self, chip: Chip) -> NDArray[np.float32] | None:
        return self.values_of(chip.target) if chip.weight is None or chip.weight.any() else None

    def raw(self, head: Head, features: Features) -> tuple[Tensor, Tensor]:
        return raw_scenes(head, features), features.seen.any(dim=(-2, -1))
