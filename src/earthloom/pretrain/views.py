"""Two views of each chip: other sensors, other dates, another piece of the ground, turned."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from earthloom.encoders.base import base_shape
from earthloom.encoders.compose import moves
from earthloom.pretrain.hiding import sensors_in
from earthloom.sample import LayerSpec, Shape2d
from earthloom.sample.batch import Batch, LayerBatch

_KEPT_DATES = 0.7
"""Of the dates of a view that are drawn without a look at the season."""


@dataclass(frozen=True)
class Cut:
    """A piece of the base grid, and how it is turned; the same for all chips of a batch."""

    row: int
    col: int
    size: Shape2d
    mirrored: bool
    quarters: int
    """Right angles, after it was mirrored."""

    def of(self, image: Tensor, factor: int = 1) -> Tensor:
        """(..., h', w') of an image (..., h, w) whose pixels are `factor` wide."""
        top, left = self.row // factor, self.col // factor
        rows, cols = self.size.rows // factor, self.size.cols // factor
        piece = image[..., top : top + rows, left : left + cols]
        piece = piece.flip(-1) if self.mirrored else piece
        return torch.rot90(piece, self.quarters, dims=(-2, -1)) if self.quarters else piece

    def back(self, image: Tensor) -> Tensor:
        """(..., h, w) of the base grid, as the chip lies: neither turned nor mirrored."""
        if self.quarters:
            image = torch.rot90(image, -self.quarters, dims=(-2, -1))
        return image.flip(-1) if self.mirrored else image


@dataclass(frozen=True)
class View:
    """What one of two looks sees of a batch."""

    batch: Batch
    cut: Cut

    def shared(self, image: Tensor, other: View) -> Tensor:
        """(..., h, w) the part of this view's image (..., H, W) that both views show, as the chip
        lies."""
        top, left = max(self.cut.row, other.cut.row), max(self.cut.col, other.cut.col)
        bottom = min(_end(self.cut).rows, _end(other.cut).rows)
        right = min(_end(self.cut).cols, _end(other.cut).cols)
        whole, row, col = self.cut.back(image), self.cut.row, self.cut.col
        return whole[..., top - row : bottom - row, left - col : right - col]


@dataclass(frozen=True)
class Views:
    """How two views are drawn."""

    crop: float
    """Share of a chip's rows and of its columns; two pieces always overlap."""
    seasons: float
    """Share of the chips of which one view has the earlier dates and the other the later ones."""

    def __call__(
        self, layers: Sequence[LayerSpec], batch: Batch, random: Generator
    ) -> tuple[View, View]:
        """Sensors and dates are drawn for each chip, the piece of the ground for all together."""
        shape = base_shape(layers, batch)
        step = math.lcm(*(spec.factor for spec in layers))
        cuts = [_draw_cut(shape, step, self.crop, random) for _ in range(2)]
        seen = self._seen(layers, batch, random)
        first, second = (
            View(_cut_batch(layers, batch, kept, cut), cut)
            for kept, cut in zip(seen, cuts, strict=True)
        )
        return first, second

    def _seen(
        self, layers: Sequence[LayerSpec], batch: Batch, random: Generator
    ) -> list[dict[str, Tensor]]:
        """For each view, which dates of each layer it has, (B, T) bool."""
        names, there = sensors_in(layers, batch)
        sensors = _sensors(there.cpu(), random)
        dates = _dates(layers, batch, self.seasons, random)
        found = []
        for own, kept in zip(sensors, dates, strict=True):
            view = {s.key: kept[s.key] & own[:, names.index(s.sensor), None] for s in layers}
            left = torch.stack([_any_left(batch.layers[key], view[key]) for key in view])
            # A chip without anything left keeps its sensors' dates, all of them.
            lost = ~left.any(dim=0)[:, None]
            found.append(
                {s.key: view[s.key] | (lost & own[:, names.index(s.sensor), None]) for s in layers}
            )
        return found


def _draw_cut(shape: Shape2d, step: int, share: float, random: Generator) -> Cut:
    rows, cols = (_kept(side, step, share) for side in shape)
    row, col = (
        int(torch.randint((side - kept) // step + 1, (), generator=random)) * step
        for side, kept in zip(shape, (rows, cols), strict=True)
    )
    turns, mirrored = torch.randint(4, (), generator=random), torch.rand((), generator=random) < 0.5
    quarters = int(turns) if rows == cols else int(turns) // 2 * 2
    return Cut(row, col, Shape2d(rows, cols), bool(mirrored), quarters)


def _kept(side: int, step: int, share: float) -> int:
    """Pixels of a side that are kept: whole steps, and more than half, so that views overlap."""
    kept = max(round(side * share / step), 1) * step
    return min(kept, side) if 2 * kept > side else side


def _sensors(there: Tensor, random: Generator) -> tuple[Tensor, Tensor]:
    """(B, S) bool for each view: a third of the sensors in one, in the other, in both."""
    draws = torch.rand(there.shape, generator=random)
    views = []
    for kept in (draws < 2 / 3, draws >= 1 / 3):
        lost = ~(kept & there).any(dim=1, keepdim=True)
        views.append(kept | lost)
    return views[0], views[1]


def _dates(
    layers: Sequence[LayerSpec], batch: Batch, seasons: float, random: Generator
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """(B, T) bool of each layer for each view: by season, or by chance."""
    count = len(batch.ids)
    by_season = torch.rand(count, generator=random) < seasons
    swapped = torch.rand(count, generator=random) < 0.5
    middle = _middle_days(layers, batch)
    views: tuple[dict[str, Tensor], dict[str, Tensor]] = ({}, {})
    for spec in layers:
        days = batch.layers[spec.key].days.cpu()
        early = (days < middle[:, None]) ^ swapped[:, None]
        for view, season in zip(views, (early, ~early), strict=True):
            chance = torch.rand(days.shape, generator=random) < _KEPT_DATES
            drawn = torch.where(by_season[:, None], season, chance)
            view[spec.key] = drawn if moves(spec) else torch.ones_like(drawn)
    return views


def _middle_days(layers: Sequence[LayerSpec], batch: Batch) -> Tensor:
    """(B,) the median of the days on which a chip was seen; 0 where it never was."""
    moving = [batch.layers[spec.key] for spec in layers if moves(spec)]
    if not moving:
        return torch.zeros(len(batch.ids))
    days = torch.cat([layer.days for layer in moving], dim=1).float()
    seen = torch.cat([layer.valid.flatten(2).any(dim=2) for layer in moving], dim=1)
    return torch.where(seen, days, torch.nan).nanmedian(dim=1).values.nan_to_num(0.0).cpu()


def _any_left(layer: LayerBatch, kept: Tensor) -> Tensor:
    """(B,) bool: whether something was seen on the dates that are kept."""
    return (layer.valid.flatten(2).any(dim=2).cpu() & kept).any(dim=1)


def _cut_batch(
    layers: Sequence[LayerSpec], batch: Batch, kept: dict[str, Tensor], cut: Cut
) -> Batch:
    cut_layers = {}
    for spec in layers:
        layer = batch.layers[spec.key]
        shown = kept[spec.key].to(layer.valid.device)[:, :, None, None]
        valid = cut.of(layer.valid & shown, spec.factor)
        pixels = cut.of(layer.pixels, spec.factor)
        pixels = torch.where(valid[:, :, None], pixels, torch.nan)
        cut_layers[spec.key] = replace(layer, pixels=pixels, valid=valid)
    label = None if batch.label is None else cut.of(batch.label)
    return replace(batch, layers=cut_layers, label=label, weight=None, targets=(), places=())


def _end(cut: Cut) -> Shape2d:
    return Shape2d(cut.row + cut.size.rows, cut.col + cut.size.cols)
