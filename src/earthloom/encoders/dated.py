"""One encoder for every date, and what it makes of them fused."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, final

import torch
import torch.nn.functional as F
from torch import Tensor

from earthloom.encoders.around import Around
from earthloom.encoders.base import (
    Features,
    Level,
    Statistics,
    base_shape,
    mask_on_base_grid,
)
from earthloom.encoders.compose import build, config_of, moves
from earthloom.encoders.dates import DATES
from earthloom.encoders.planes import days_of, present_in, rows_of, share_in_cells, spread
from earthloom.errors import ContractError, choices
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch, LayerBatch


@final
class Dated(Around):
    """The same encoder sees each date alone; its features are fused in latent space.

    Its pyramid is fused level by level. Layers that do not change in time go with every date. A
    date without a valid pixel has no influence: it has no weight, and in training the encoder is
    not shown it, as it would move the statistics of batch normalisation.
    """

    name = "dated"

    def __init__(
        self,
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        encoder: Mapping[str, Any],
        dates: str = "attention",
    ) -> None:
        """`encoder`: name and config of the one for a single date. `dates`: one of
        `earthloom.encoders.dates.DATES`. ContractError for another, and where layers that change
        in time have not the same number of dates."""
        super().__init__(layers, statistics)
        self.times = _times(layers)
        single = tuple(replace(e, dates=("1",)) if moves(e) else e for e in layers)
        self.encoder = build(encoder, single, statistics)
        if dates not in DATES:
            raise ContractError(f"dates is '{dates}'; valid are: {choices(DATES)}")
        self._dates = dates
        own = Level(self.encoder.channels, self.encoder.stride)
        self.fusion = DATES[dates]((*self.encoder.pyramid, own))

    def config(self) -> dict[str, Any]:
        return {"encoder": config_of(self.encoder), "dates": self._dates}

    def forward(self, batch: Batch) -> Features:
        single, seen = self._each_date(batch), self._seen(batch)
        each = self._encoded(single)
        images = [
            image.reshape(-1, self.times, *image.shape[1:])
            for image in (*each.pyramid, each.pixels)
        ]
        strides = [level.stride for level in self.fusion.levels]
        shares = [
            _fitting(share_in_cells(seen, stride), image)
            for stride, image in zip(strides, images, strict=True)
        ]
        moving = [spec for spec in self.layers if moves(spec)]
        fused = self.fusion(images, shares, days_of(moving, batch))
        return Features(
            fused[-1],
            (shares[-1] > 0).any(dim=1),
            tuple(fused[:-1]),
            self._vector(each, seen),
            self.stride,
            each.shape,
        )

    def _each_date(self, batch: Batch) -> Batch:
        """Every date of every chip as a chip of its own, B T of them."""
        layers = {}
        for spec in self.layers:
            layer, times = batch.layers[spec.key], self.times
            if not moves(spec):
                layers[spec.key] = LayerBatch(
                    layer.pixels.repeat_interleave(times, dim=0),
                    layer.valid.repeat_interleave(times, dim=0),
                    layer.days.repeat_interleave(times, dim=0),
                    _repeated(layer.dated, times),
                    _repeated(layer.measured, times),
                )
                continue
            layers[spec.key] = LayerBatch(
                layer.pixels.flatten(0, 1)[:, None],
                layer.valid.flatten(0, 1)[:, None],
                layer.days.flatten(0, 1)[:, None],
                None if layer.dated is None else layer.dated.flatten(0, 1)[:, None],
                _repeated(layer.measured, times),
            )
        ids = tuple(f"{name} {time}" for name in batch.ids for time in range(self.times))
        places = tuple(place for place in batch.places for _ in range(self.times))
        return Batch(ids, layers, label=None, places=places)

    def _encoded(self, single: Batch) -> Features:
        if not self.training:
            features: Features = self.encoder(single)
            return features
        moving = [spec for spec in self.layers if moves(spec)]
        present = present_in(single, moving).nonzero()[:, 0]
        if not len(present):
            present = torch.arange(len(single.ids), device=present.device)
        shown: Features = self.encoder(rows_of(single, self.layers, present))
        return spread(shown, present, len(single.ids))

    def _seen(self, batch: Batch) -> Tensor:
        """(B, T, H, W) bool: where any layer that changes in time was seen on a date."""
        shape = base_shape(self.layers, batch)
        moving = [batch.layers[spec.key] for spec in self.layers if moves(spec)]
        masks = [mask_on_base_grid(layer.valid, shape) for layer in moving]
        return torch.stack(masks).any(dim=0)

    def _vector(self, each: Features, seen: Tensor) -> Tensor | None:
        """(B, V) the mean of the dates' vectors, weighed by the share of the chip that was seen."""
        if each.vector is None:
            return None
        share = seen.float().mean(dim=(-2, -1))
        vectors = each.vector.reshape(-1, self.times, each.vector.shape[-1])
        return (vectors * share[..., None]).sum(dim=1) / share.sum(dim=1).clamp_min(1e-6)[:, None]


def _times(layers: tuple[LayerSpec, ...]) -> int:
    """Dates of the layers that change in time."""
    counts = {layer.key: len(layer.dates) for layer in layers if moves(layer)}
    if len(set(counts.values())) != 1:
        listed = choices(f"{key} has {count}" for key, count in counts.items())
        raise ContractError(
            f"one encoder for every date needs layers of the same dates, but {listed}; "
            "choose fusion feature or hybrid, or dates stack"
        )
    return next(iter(counts.values()))


def _fitting(share: Tensor, image: Tensor) -> Tensor:
    """(B, T, h, w) as large as an image whose window was padded: there, nothing was seen."""
    rows, cols = image.shape[-2] - share.shape[-2], image.shape[-1] - share.shape[-1]
    return F.pad(share, (0, cols, 0, rows))


def _repeated(tensor: Tensor | None, times: int) -> Tensor | None:
    return None if tensor is None else tensor.repeat_interleave(times, dim=0)
