"""Loom: the encoder that takes any sensor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earthloom.encoders.base import (
    Encoder,
    Features,
    Level,
    Statistics,
    base_shape,
    mask_on_base_grid,
    on_base_grid,
    seen_in,
)
from earthloom.encoders.loom.bands import BandFacts, facts_of
from earthloom.encoders.loom.body import Body, Stage, radius_of
from earthloom.encoders.loom.ranges import Range, range_of, standardised
from earthloom.encoders.loom.stem import PixelStem
from earthloom.errors import ContractError, choices
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch, LayerBatch

CHANNELS = 64
"""Features of a pixel."""


@dataclass(frozen=True)
class Size:
    """How large a Loom is."""

    stem: int
    """Channels of a single observation."""
    heads: int
    """Queries over dates."""
    stages: tuple[Stage, ...]
    """From stride 4 on, each of twice the stride."""
    ratio: int = 4
    """How much wider than its stage a block is inside."""
    up: int = 96
    """Channels of the way up."""


SIZES: Mapping[str, Size] = {
    "tiny": Size(32, 8, (Stage(64, 1, 3), Stage(128, 2, 3), Stage(256, 4, 3), Stage(384, 1, 3))),
    "small": Size(
        48, 12, (Stage(96, 2, 3), Stage(192, 2, 3), Stage(448, 7, 3), Stage(640, 2, 3)), up=128
    ),
    "base": Size(
        64, 16, (Stage(128, 3, 3), Stage(256, 3, 3), Stage(768, 12, 3), Stage(1152, 2, 3)), up=192
    ),
}
"""By name."""
FIRST = 4
"""Stride of the first stage."""


@final
class Loom(Encoder):
    name = "loom"

    def __init__(
        self,
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        size: str = "tiny",
    ) -> None:
        super().__init__(layers, statistics)
        if size not in SIZES:
            raise ContractError(f"loom's size is '{size}'; valid are: {choices(SIZES)}")
        self.size, shape = size, SIZES[size]
        self._facts = {layer.key: facts_of(layer) for layer in layers}
        self._ranges = {e.key: range_of(e.unit, self._facts[e.key]) for e in layers}
        self.stem = PixelStem(shape.stem, shape.heads)
        self.body = Body(shape.stem, shape.stages, FIRST, shape.ratio, shape.up)
        self.fine = nn.Conv2d(shape.stem, CHANNELS, 1)
        self.coarse = nn.Linear(shape.up, CHANNELS)
        self.last = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self._stages = shape.stages

    @property
    def radius(self) -> int:
        coarsest = max(layer.factor for layer in self.layers)
        return radius_of(self._stages, FIRST) + FIRST + (coarsest if coarsest > 1 else 0)

    @property
    def alignment(self) -> int:
        return math.lcm(self._coarsest, *(layer.factor for layer in self.layers))

    @property
    def _coarsest(self) -> int:
        return FIRST * 2 ** (len(self._stages) - 1)

    @property
    def channels(self) -> int:
        return CHANNELS

    @property
    def pyramid(self) -> tuple[Level, ...]:
        return tuple(Level(s.width, FIRST * 2**n) for n, s in enumerate(self._stages))

    def config(self) -> dict[str, Any]:
        return {"size": self.size}

    def forward(self, batch: Batch) -> Features:
        shape = base_shape(self.layers, batch)
        seen = seen_in(self.layers, batch)
        found, weights = [], []
        for spec in self.layers:
            total, weight = self._layer(spec, batch.layers[spec.key])
            found.append(on_base_grid(self.stem.average(total, weight), shape))
            weights.append(on_base_grid(weight, shape))
        w = sum(weights)
        pixels = sum(found) + self.stem.filled(w)
        stages, up = self.body(pixels)
        large = F.interpolate(
            self.coarse(up).permute(0, 3, 1, 2), scale_factor=FIRST, mode="bilinear"
        )
        out = self.last(F.relu(self.fine(pixels) + large))
        return Features(out.float(), seen)

    def _layer(self, spec, layer):
        given = torch.where(layer.valid[:, :, None], layer.pixels, 0.0)
        values = self._ranges[spec.key](given)
        return self.stem(
            values,
            layer.valid,
            layer.days,
            self._facts[spec.key],
            layer.measured,
            spec.dates != ("static",),
        )
