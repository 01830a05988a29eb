"""Where a chip lies, as features: an encoder of its own, which no model has unless it asks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, final

import torch
from torch import Tensor, nn

from earthloom.encoders.base import Encoder, Features, Statistics, base_shape, seen_in
from earthloom.encoders.compose import Config
from earthloom.encoders.location_harmonics import harmonics, middles_of
from earthloom.encoders.planes import cells_of, share_in_cells
from earthloom.errors import ContractError
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch

MOST_DEGREES = 40
"""Of spherical harmonics; those of degree 40 tell about 4.5 degrees apart."""
_FIRST_FREQUENCY = 30.0
"""Of the first layer's sines, as Sitzmann et al. (2020) have it."""


@final
class Location(Encoder):
    """Spherical harmonics of a chip's middle and a network of sines (SIREN).

    "Geographic Location Encoding with Spherical Harmonics and Sinusoidal Representation Networks"
    (Russwurm et al. 2024): (degrees + 1)^2 real harmonics, on which neither the poles nor the date
    line are an edge. Every pixel of a chip has the same features, and its pixels play no part. A
    chip without a place has features 0 and is not seen, so that a fusion leaves this branch out.
    """

    name = "location"

    def __init__(
        self,
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        degrees: int = 10,
        width: int = 64,
        depth: int = 2,
        stride: int = 1,
    ) -> None:
        """`degrees`: the highest of the harmonics. `width`: of the sine layers, and features F.
        `depth`: how many there are. `stride`: of the features, that of the encoder beside it, so
        that a fusion of both does not get finer. ContractError for numbers that make no network."""
        super().__init__(layers, statistics)
        if not 0 <= degrees <= MOST_DEGREES:
            raise ContractError(f"degrees is {degrees}; valid are 0 to {MOST_DEGREES}")
        for what, number in (("width", width), ("depth", depth), ("stride", stride)):
            if number < 1:
                raise ContractError(f"{what} is {number}; valid are whole numbers from 1")
        self.degrees, self.width, self.depth, self._stride = degrees, width, depth, stride
        sizes = [(degrees + 1) ** 2, *[width] * depth]
        self.net = nn.Sequential(
            *(_Sines(a, b, first=n == 0) for n, (a, b) in enumerate(pairwise(sizes))),
            nn.Linear(width, width),
        )

    @property
    def radius(self) -> int:
        return 0

    @property
    def stride(self) -> int:
        return self._stride

    @property
    def alignment(self) -> int:
        return math.lcm(self._stride, *(layer.factor for layer in self.layers))

    @property
    def is_local(self) -> bool:
        """False: a chip's middle moves with its edges."""
        return False

    @property
    def channels(self) -> int:
        return self.width

    def config(self) -> dict[str, Any]:
        return {
            "degrees": self.degrees,
            "width": self.width,
            "depth": self.depth,
            "stride": self._stride,
        }

    def forward(self, batch: Batch) -> Features:
        """ContractError for a batch that was made without asking for places."""
        shape = base_shape(self.layers, batch)
        rows, cols = cells_of(shape.rows, shape.cols, self._stride)
        seen = share_in_cells(seen_in(self.layers, batch), self._stride) > 0
        if len(batch.places) != len(seen):
            raise ContractError(
                f"the encoder '{self.name}' needs the place of each of {len(seen)} chips; the "
                f"batch has {len(batch.places)}"
            )
        middles, known = middles_of(batch.places)
        known = known.to(seen.device)
        weight = next(self.parameters())
        vector = self.at(middles.to(weight.device)) * known[:, None]
        pixels = vector[:, :, None, None].expand(-1, -1, rows, cols)
        return Features(
            pixels,
            seen & known[:, None, None],
            vector=vector,
            stride=self._stride,
            shape=shape,
        )

    def at(self, middles: Tensor) -> Tensor:
        """(B, F) features of longitudes and latitudes (B, 2) in degrees, float64.

        Always in the precision of the weights: a sine of 30 times a number has no digit left of
        one in bfloat16.
        """
        basis = harmonics(middles, self.degrees)
        weight = next(self.parameters())
        with torch.autocast(weight.device.type, enabled=False):
            features: Tensor = self.net(basis.to(weight.dtype))
        return features


def located(encoder: Config, keys: Sequence[str], stride: int = 1, width: int = 64) -> Config:
    """A config in which an encoder over the layers `keys` is fused with the place, see `Fused`.

    `stride` is that of the encoder. Location is in a model only where a caller asks for it here: a
    model that knows where it is can cheat a split that does not hold regions out.
    """
    place = {"name": Location.name, "stride": stride}
    branches = [{"keys": list(keys), "encoder": dict(each)} for each in (encoder, place)]
    return {"name": "fused", "branches": branches, "width": width}


class _Sines(nn.Module):
    """sin(w (A x + b)), with the weights that keep each layer's inputs alike (Sitzmann et al. 2020,
    section 3.2)."""

    def __init__(self, inputs: int, outputs: int, first: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs)
        self.frequency = _FIRST_FREQUENCY if first else 1.0
        bound = 1 / inputs if first else math.sqrt(6 / inputs)
        nn.init.uniform_(self.linear.weight, -bound, bound)

    def forward(self, values: Tensor) -> Tensor:
        return torch.sin(self.frequency * self.linear(values))
