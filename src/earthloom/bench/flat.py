"""Chips of one small shape, such as histograms, as one row of numbers."""

from collections.abc import Mapping
from typing import Any, final

import torch
import torch.nn.functional as F

from earthloom.encoders import Encoder, Statistics
from earthloom.encoders.base import Features, seen_in
from earthloom.errors import ContractError
from earthloom.sample import LayerSpec, Samples, Shape2d
from earthloom.sample.batch import Batch

_MOST = 8192
"""Numbers of a chip."""


@final
class FlatChip(Encoder):
    """All numbers of a chip side by side, standardised by band; 0 where not valid.

    `Features.vector` holds them for the chip as a whole, `Features.pixels` the bands of all dates.
    """

    name = "flat"

    def __init__(
        self,
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        rows: int,
        cols: int,
    ) -> None:
        """For chips of this shape; ContractError for a single pixel, and for
        more than 8192 numbers."""
        super().__init__(layers, statistics)
        self.chip = Shape2d(rows, cols)
        if rows * cols == 1:
            raise ContractError("flat does not serve single pixels, of which it would be 'raw'")
        if self.scene_channels > _MOST:
            raise ContractError(
                f"flat does not serve chips of {self.scene_channels} numbers; most are {_MOST}"
            )

    @property
    def radius(self) -> int:
        return 0

    @property
    def channels(self) -> int:
        return sum(len(layer.bands) * len(layer.dates) for layer in self.layers)

    @property
    def scene_channels(self) -> int:
        whole = self.chip.rows * self.chip.cols
        return sum(len(e.bands) * len(e.dates) * (whole // e.factor**2) for e in self.layers)

    def config(self) -> dict[str, Any]:
        return {"rows": self.chip.rows, "cols": self.chip.cols}

    def forward(self, batch: Batch) -> Features:
        seen = seen_in(self.layers, batch)
        if tuple(seen.shape[-2:]) != tuple(self.chip):
            raise ContractError(
                f"flat was made for chips of {self.chip.rows} x {self.chip.cols} pixels, not "
                f"{seen.shape[-2]} x {seen.shape[-1]}"
            )
        images = [
            self.normalised(each, batch.layers[each.key]).flatten(1, 2) for each in self.layers
        ]
        vector = torch.cat([image.flatten(1) for image in images], dim=1)
        pixels = [F.interpolate(image, size=tuple(self.chip)) for image in images]
        return Features(torch.cat(pixels, dim=1), seen, vector=vector)


def make_flat(
    layers: tuple[LayerSpec, ...],
    statistics: Mapping[str, Statistics],
    samples: Samples,
    seed: int,
) -> Encoder:
    """For the shape of the training samples."""
    rows, cols = samples[0].shape
    return FlatChip(layers, statistics, rows, cols)
