"""Every pixel has a number: a height, a biomass, a share of cover."""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.encoders import Features
from earthloom.errors import ContractError
from earthloom.sample import Chip
from earthloom.sample.batch import Batch
from earthloom.sample.target import PixelValues, Target
from earthloom.tasks.base import raw_pixels
from earthloom.tasks.heads import Head
from earthloom.tasks.values import PLANES, ValueTask


@final
@dataclass(frozen=True)
class PixelValueTask(ValueTask):
    """The task of telling a number of each pixel; answers are (B, 3, H, W), see `values.PLANES`.

    Few pixels need to be known: NaN is passed over, and so is a chip whose target is of another
    kind. A pixel counts as much as `Chip.weight` says: one of 2 is the same pixel twice.
    """

    name = "pixel-value"

    @property
    def planes(self) -> tuple[str, ...]:
        """What of an answer a map holds: the interval where there is one."""
        return PLANES if self.has_interval else PLANES[:1]

    def values_of(self, target: Target | None) -> NDArray[np.float32] | None:
        if not isinstance(target, PixelValues):
            return None
        self.check_unit(target)
        return target.values

    def truth_of(self, batch: Batch) -> Tensor | None:
        known = [self.values_of(target) for target in batch.targets]
        shapes = {each.shape for each in known if each is not None}
        if not shapes:
            return None
        if len(shapes) > 1:
            raise ContractError(f"pixel values of a batch have several shapes: {sorted(shapes)}")
        unknown = np.full(shapes.pop(), np.nan, np.float32)
        planes = [unknown if values is None else values for values in known]
        return torch.from_numpy(np.stack(planes).astype(np.float32, copy=False))

    def weight_of(self, batch: Batch) -> Tensor | None:
        return batch.weight

    def known_of(self, chip: Chip) -> NDArray[np.float32] | None:
        values = self.values_of(chip.target)
        if values is None or chip.weight is None:
            return values
        return np.where(chip.weight > 0, values, np.float32(np.nan))

    def raw(self, head: Head, features: Features) -> tuple[Tensor, Tensor]:
        raw = raw_pixels(head, features)
        return raw, features.on_base_grid(features.seen)
