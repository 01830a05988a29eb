"""What masked reconstruction hides of a chip, one small class a way of hiding.

Each way hides for every chip of a batch, and leaves something of every chip. What is hidden are
observations (a date of a pixel, in all bands) and bands (on all dates).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Protocol

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

from earthloom.encoders.base import base_shape
from earthloom.errors import ContractError
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch, LayerBatch

Layers = Sequence[LayerSpec]


@dataclass(frozen=True)
class Hidden:
    """What is hidden of a layer."""

    observations: Tensor
    """(B, T, h, w) bool."""
    bands: Tensor
    """(B, C) bool."""

    def of(self, chips: Tensor) -> Hidden:
        """Only of some chips, (B,) bool."""
        return Hidden(self.observations & chips[:, None, None, None], self.bands & chips[:, None])

    def __or__(self, other: Hidden) -> Hidden:
        return Hidden(self.observations | other.observations, self.bands | other.bands)


Hiding = Mapping[str, Hidden]
"""By the layer's key."""


class Way(Protocol):
    """A way of hiding; a frozen dataclass."""

    name: ClassVar[str]

    def __call__(self, layers: Layers, batch: Batch, random: Generator) -> Hiding:
        """What is hidden of every chip of a batch."""
        ...


def _share(name: str, share: float) -> None:
    if not 0 < share < 1:
        raise ContractError(f"share of {name} is {share}; valid is above 0 and below 1")


def nothing(layer: LayerBatch) -> Hidden:
    """Hides nothing."""
    bands = layer.valid.new_zeros(len(layer.valid), layer.pixels.shape[2])
    return Hidden(torch.zeros_like(layer.valid), bands)


@dataclass(frozen=True)
class Places:
    """Square cells of the ground, in all layers on all dates (tubes: Tong et al. 2022)."""

    name: ClassVar[str] = "places"
    share: float = 0.5
    cell: int = 12
    """Pixels of the base grid, both ways."""

    def __post_init__(self) -> None:
        _share(self.name, self.share)

    def __call__(self, layers: Layers, batch: Batch, random: Generator) -> Hiding:
        shape = base_shape(layers, batch)
        rows, cols = (max(-(-side // self.cell), 1) for side in shape)
        cells = _smallest(torch.rand(len(batch.ids), rows * cols, generator=random), self.share)
        coarse = cells.reshape(-1, 1, rows, cols).float()
        ground = F.interpolate(coarse, scale_factor=float(self.cell))
        ground = ground[..., : shape.rows, : shape.cols]
        found = {}
        for spec in layers:
            layer = batch.layers[spec.key]
            own = F.avg_pool2d(ground, spec.factor) if spec.factor > 1 else ground
            hidden = (own >= 0.5).to(layer.valid.device).expand_as(layer.valid)
            found[spec.key] = replace(nothing(layer), observations=hidden)
        return found


@dataclass(frozen=True)
class Dates:
    """Dates of each layer; one that the chip has is left."""

    name: ClassVar[str] = "dates"
    share: float = 0.5

    def __post_init__(self) -> None:
        _share(self.name, self.share)

    def __call__(self, layers: Layers, batch: Batch, random: Generator) -> Hiding:
        found = {}
        for spec in layers:
            layer = batch.layers[spec.key]
            there = layer.valid.flatten(2).any(dim=2).cpu()
            draws = torch.rand(there.shape, generator=random)
            hidden = _of_those(draws, there, self.share).to(layer.valid.device)
            whole = hidden[:, :, None, None].expand_as(layer.valid)
            found[spec.key] = replace(nothing(layer), observations=whole)
        return found


@dataclass(frozen=True)
class Bands:
    """Bands of each layer, on all dates; one is left."""

    name: ClassVar[str] = "bands"
    share: float = 0.5

    def __post_init__(self) -> None:
        _share(self.name, self.share)

    def __call__(self, layers: Layers, batch: Batch, random: Generator) -> Hiding:
        found = {}
        for spec in layers:
            layer = batch.layers[spec.key]
            there = _measured(layer).cpu()
            draws = torch.rand(there.shape, generator=random)
            hidden = _of_those(draws, there, self.share).to(layer.valid.device)
            found[spec.key] = replace(nothing(layer), bands=hidden)
        return found


@dataclass(frozen=True)
class Sensors:
    """Whole sensors, all their layers; one that the chip has is left."""

    name: ClassVar[str] = "sensors"
    share: float = 0.5

    def __post_init__(self) -> None:
        _share(self.name, self.share)

    def __call__(self, layers: Layers, batch: Batch, random: Generator) -> Hiding:
        names, there = sensors_in(layers, batch)
        draws = torch.rand(there.shape, generator=random)
        hidden = _of_those(draws, there.cpu(), self.share).to(there.device)
        found = {}
        for spec in layers:
            layer = batch.layers[spec.key]
            whole = hidden[:, names.index(spec.sensor), None, None, None].expand_as(layer.valid)
            found[spec.key] = replace(nothing(layer), observations=whole)
        return found


WAYS: Mapping[str, type[Way]] = {way.name: way for way in (Places, Dates, Bands, Sensors)}


def hide(
    ways: Sequence[Way], weights: Sequence[float], layers: Layers, batch: Batch, random: Generator
) -> Hiding:
    """One way for each chip, drawn by the weights from those that can hide anything of it."""
    # Drawn whether a chip has this way or not, so that one way's numbers move no other's.
    every = [way(layers, batch, random) for way in ways]
    able = torch.stack([_hides(own, layers, batch) for own in every], dim=1).cpu()
    chances = torch.tensor(weights) * able
    # Of a chip of which no way hides anything nothing is, whichever is drawn.
    chances = torch.where(chances.any(dim=1, keepdim=True), chances, torch.tensor(weights))
    drawn = torch.multinomial(chances, 1, generator=random)[:, 0]
    found = {spec.key: nothing(batch.layers[spec.key]) for spec in layers}
    for number, own in enumerate(every):
        for key, hidden in own.items():
            found[key] = found[key] | hidden.of((drawn == number).to(hidden.bands.device))
    return found


def _hides(hiding: Hiding, layers: Layers, batch: Batch) -> Tensor:
    """(B,) bool: whether anything that was measured of a chip is hidden."""
    each = [hidden_values(batch.layers[spec.key], hiding[spec.key]) for spec in layers]
    return torch.stack([values.flatten(1).any(dim=1) for values in each]).any(dim=0)


def visible(batch: Batch, hiding: Hiding) -> Batch:
    """The batch without what is hidden: NaN for observations, 0 for bands, which the masks say."""
    layers = {key: _visible(batch.layers[key], hidden) for key, hidden in hiding.items()}
    return replace(batch, layers=layers)


def hidden_values(layer: LayerBatch, hidden: Hidden) -> Tensor:
    """(B, T, C, h, w) bool: what was measured and is hidden."""
    either = hidden.observations[:, :, None] | hidden.bands[:, None, :, None, None]
    return either & measured_values(layer)


def measured_values(layer: LayerBatch) -> Tensor:
    """(B, T, C, h, w) bool: what was measured."""
    return layer.valid[:, :, None] & _measured(layer)[:, None, :, None, None]


def sensors_in(layers: Layers, batch: Batch) -> tuple[list[str], Tensor]:
    """Names of the S sensors of some layers, and whether a chip saw anything by them, (B, S)."""
    names = list(dict.fromkeys(spec.sensor for spec in layers))
    there = [
        torch.stack(
            [batch.layers[e.key].valid.flatten(1).any(dim=1) for e in layers if e.sensor == name]
        ).any(dim=0)
        for name in names
    ]
    return names, torch.stack(there, dim=1)


def _visible(layer: LayerBatch, hidden: Hidden) -> LayerBatch:
    valid = layer.valid & ~hidden.observations
    pixels = torch.where(hidden.bands[:, None, :, None, None], 0.0, layer.pixels)
    pixels = torch.where(valid[:, :, None], pixels, torch.nan)
    return replace(layer, pixels=pixels, valid=valid, measured=_measured(layer) & ~hidden.bands)


def _measured(layer: LayerBatch) -> Tensor:
    if layer.measured is not None:
        return layer.measured
    return layer.valid.new_ones(len(layer.valid), layer.pixels.shape[2])


def _smallest(draws: Tensor, share: float) -> Tensor:
    """(B, N) the share of each row with the smallest draws, at least one; not all of several."""
    return _of_those(draws, torch.ones_like(draws, dtype=torch.bool), share)


def _of_those(draws: Tensor, there: Tensor, share: float) -> Tensor:
    """(B, N) a share of those that are there: of two or more at least one, and never all."""
    count = there.sum(dim=1, keepdim=True)
    wanted = (count * share).round().clamp_min(1).minimum(count - 1)
    order = torch.where(there, draws, 2.0).argsort(dim=1).argsort(dim=1)
    return (order < wanted) & there
