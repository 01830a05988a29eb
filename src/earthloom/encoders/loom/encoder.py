"""Loom: the encoder that takes any sensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, replace
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
    seen_in,
)
from earthloom.encoders.compose import moves
from earthloom.encoders.loom.bands import BandFacts, facts_of
from earthloom.encoders.loom.body import Body, Head, reach_of
from earthloom.encoders.loom.calendar import Calendar
from earthloom.encoders.loom.pieces import Piece, Whole, pieces_of
from earthloom.encoders.loom.ranges import range_of, standardised
from earthloom.encoders.loom.sizes import FIRST, LEARNT, SIZES
from earthloom.encoders.loom.stem import Observations, PixelStem, Sums, Weights
from earthloom.encoders.planes import share_in_cells
from earthloom.errors import ContractError, choices
from earthloom.sample import LayerSpec, Shape2d
from earthloom.sample.batch import Batch, LayerBatch

_LEAST_SPREAD = 0.02
"""What whitening takes a number's spread for at least, as a share of the largest."""


@final
class Loom(Encoder):
    """Any set of layers, of any bands and dates, to features of each pixel of the base grid: 64
    that are learnt, and means of mixtures of bands in windows of the year (see `Calendar`).

    Bands are told by what they measure: wavelength and width, or frequency and polarisation, kind
    and ground sampling distance (see `bands`); values come to a common range by their unit alone
    (see `ranges`), and only those in a unit without a rule, such as digital numbers, by the
    statistics. So the weights are the same whatever the layers are. A pixel's observations are
    summed over bands and averaged over dates before anything looks at its surroundings, which a
    U-shaped network then does.

    What was not seen has no influence. Where nothing was seen there is a learned fill, and how much
    was seen is told. `Features.vector` is the mean of what is learnt of pixels, of the coarsest
    stage, and of the windows of the year, where seen. Nothing is normalised over an image: beyond
    the radius nothing has an effect on a pixel, so that maps have no seams.
    """

    name = "loom"

    def __init__(
        self,
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        size: str = "tiny",
    ) -> None:
        """`size`: one of `earthloom.encoders.loom.SIZES`. ContractError for another, for no layers,
        and for layers of classes."""
        super().__init__(layers, statistics)
        if size not in SIZES:
            raise ContractError(f"loom's size is '{size}'; valid are: {choices(SIZES)}")
        if not layers:
            raise ContractError("loom needs one layer or more, but got none")
        self.size, shape = size, SIZES[size]
        self._facts = {layer.key: facts_of(layer) for layer in layers}
        self._ranges = {e.key: range_of(e.unit, self._facts[e.key]) for e in layers}
        self._statistics = self._keep_needed()
        calendar = Calendar(shape.kinds, shape.windows)
        given = shape.stem + shape.heads + calendar.width
        self.stem = PixelStem(shape.stem, shape.heads, calendar)
        self.body = Body(given, shape.stages, FIRST, shape.ratio, shape.up)
        self.head = Head(given, shape.up, shape.hidden, LEARNT)

    @property
    def radius(self) -> int:
        coarsest = max(layer.factor for layer in self.layers)
        return reach_of(SIZES[self.size].stages, FIRST) + (2 * coarsest if coarsest > 1 else 0)

    @property
    def alignment(self) -> int:
        return math.lcm(self._coarsest, *(layer.factor for layer in self.layers))

    @property
    def channels(self) -> int:
        return LEARNT + self.stem.calendar.width

    @property
    def pyramid(self) -> tuple[Level, ...]:
        stages = enumerate(SIZES[self.size].stages)
        return tuple(Level(stage.width, FIRST * 2**number) for number, stage in stages)

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """Stages on the way down, those on the way up, and the head."""
        return (*self.body.stages, *self.body.up, self.head)

    @property
    def scene_channels(self) -> int:
        return self.learnt_scene_channels + self.stem.calendar.width

    @property
    def learnt_scene_channels(self) -> int:
        """Those of a vector that are no means of the calendar."""
        return LEARNT + SIZES[self.size].stages[-1].width

    def config(self) -> dict[str, Any]:
        return {"size": self.size}

    @property
    def facts(self) -> Mapping[str, tuple[BandFacts, ...]]:
        """What is known of each layer's bands, by the layer's key."""
        return self._facts

    def over(self, layers: tuple[LayerSpec, ...], statistics: Mapping[str, Statistics]) -> Loom:
        """A Loom for other layers that shares this one's weights: what one learns, both learn."""
        other = Loom(layers, statistics, self.size)
        other.stem, other.body, other.head = self.stem, self.body, self.head
        return other.train(self.training)

    def ranged(self, spec: LayerSpec, pixels: Tensor) -> Tensor:
        """(B, T, C, H, W) in the common range in which the network sees a layer's pixels; NaN stays
        NaN."""
        rule = self._ranges[spec.key] or self._by_statistics(spec)
        return rule(pixels.flatten(3)).reshape(pixels.shape)

    def forward(self, batch: Batch) -> Features:
        shape, seen = base_shape(self.layers, batch), seen_in(self.layers, batch)
        step = math.lcm(FIRST, *(layer.factor for layer in self.layers))
        pieces = pieces_of(len(seen), shape, step, seen.device)
        observed = self._observed(batch, pieces, shape)
        stages, around = self.body(observed)
        around = self.head.coarse(around).permute(0, 3, 1, 2)
        features = Whole(pieces, len(seen), shape)
        for piece in pieces:
            own = observed[piece.samples, piece.first : piece.last].flatten(1, 2)
            large = piece.enlarged(around, FIRST, shape).permute(0, 2, 3, 1).flatten(1, 2)
            year = own[..., -self.stem.calendar.width :].mT
            features.put(piece, torch.cat([self.head(own, large), year], dim=1))
        pixels = features.made()
        levels = _covering([stage.permute(0, 3, 1, 2).float() for stage in stages])
        share = share_in_cells(seen, self._coarsest)
        mean = _mean(pixels, seen)
        parts = [mean[:, :LEARNT], _mean(levels[-1], share), mean[:, LEARNT:]]
        return Features(pixels, seen, levels, torch.cat(parts, dim=1))

    def learnt(self, features: Features) -> Features:
        """Without the calendar, which no training changes by much: what an objective looks at."""
        assert features.vector is not None
        vector = features.vector[:, : self.learnt_scene_channels]
        return replace(features, pixels=features.pixels[:, :LEARNT], vector=vector)

    @torch.no_grad()
    def whiten(self, pixels: Tensor) -> None:
        """Rotates and scales what is learnt of a pixel, so that in pixels (N, 64) like these all
        numbers have a spread of 1 and none goes with another; those that hardly differ are not
        blown up. No function of the features is lost or won."""
        middle = (pixels - pixels.mean(dim=0)).double()
        values, turn = torch.linalg.eigh(middle.T @ middle / len(pixels))
        spread = values.clamp_min(0).sqrt()
        turned = turn / (spread + _LEAST_SPREAD * spread[-1])
        weight = self.head.last.weight
        weight.copy_((turned.flip(1).T @ weight.double()).to(weight.dtype))

    @property
    def _coarsest(self) -> int:
        """Stride of the coarsest stage."""
        return self.pyramid[-1].stride

    def _keep_needed(self) -> dict[str, list[str]]:
        """Names of a layer's mean and std; those that no value is standardised by leave the
        weights, which are then the same for all layers."""
        names = [name for name, _ in self.named_buffers()]
        found = {}
        for layer, *own in zip(self.layers, names[::2], names[1::2], strict=True):
            found[layer.key] = own
            for name in own if self._ranges[layer.key] is not None else ():
                self.register_buffer(name, self.get_buffer(name), persistent=False)
        return found

    def _observed(self, batch: Batch, pieces: Sequence[Piece], shape: Shape2d) -> Tensor:
        """(B, H, W, D + heads + M K) what was seen of each pixel, see `PixelStem.fused`."""
        weights = {spec.key: self._weights(spec, batch.layers[spec.key]) for spec in self.layers}
        coarse = {
            spec.key: self._coarse(spec, batch.layers[spec.key], weights[spec.key])
            for spec in self.layers
            if spec.factor > 1
        }
        whole = Whole(pieces, len(batch.ids), shape, last=True)
        for piece in pieces:
            sums = [
                Sums(
                    *(
                        piece.enlarged(part, spec.factor, shape).flatten(2)
                        for part in coarse[spec.key].parts
                    )
                )
                if spec.factor > 1
                else self._sums(spec, batch.layers[spec.key], weights[spec.key], piece)
                for spec in self.layers
            ]
            whole.put(piece, self.stem.fused(sums).mT)
        return whole.made()

    def _weights(self, spec: LayerSpec, layer: LayerBatch) -> Weights:
        return self.stem.weights(self._facts[spec.key], layer.days, layer.measured, moves(spec))

    def _coarse(self, spec: LayerSpec, layer: LayerBatch, weights: Weights) -> Sums:
        """(B, ..., h, w) of a coarser layer, on its own grid."""
        count, shape = len(layer.days), Shape2d(*layer.valid.shape[-2:])
        pieces = pieces_of(count, shape, 1, layer.days.device)
        wholes = [Whole(pieces, count, shape) for _ in fields(Sums)]
        for piece in pieces:
            sums = self._sums(spec, layer, weights, piece)
            for whole, part in zip(wholes, sums.parts, strict=True):
                whole.put(piece, part)
        return Sums(*(whole.made() for whole in wholes))

    def _sums(self, spec: LayerSpec, layer: LayerBatch, weights: Weights, piece: Piece) -> Sums:
        """Of a piece of a layer's own grid, (b, ..., n)."""
        seen = Observations(
            piece.of(layer.pixels).flatten(3),
            piece.of(layer.valid).flatten(2),
            layer.days[piece.samples],
        )
        rule = self._ranges[spec.key] or self._by_statistics(spec)
        sums: Sums = self.stem(seen, weights.of(piece.samples), rule)
        return sums

    def _by_statistics(self, spec: LayerSpec) -> Callable[[Tensor], Tensor]:
        """The common range of a layer in a unit without a rule."""
        mean, std = (self.get_buffer(name)[:, None] for name in self._statistics[spec.key])
        return lambda values: standardised(values, mean, std)


def _covering(levels: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Levels (B, C, h, w), each at twice the stride of the one before, over the window of the last:
    0 beyond the edge, where nothing is made of finer cells."""
    rows, cols = levels[-1].shape[-2:]
    found = []
    for number, level in enumerate(reversed(levels)):
        more = (rows << number) - level.shape[-2], (cols << number) - level.shape[-1]
        found.append(F.pad(level, (0, more[1], 0, more[0])) if any(more) else level)
    return tuple(reversed(found))


def _mean(image: Tensor, weight: Tensor) -> Tensor:
    """(B, C) of (B, C, H, W) by weights (B, H, W); 0 where all of them are 0."""
    flat = weight.flatten(1).to(image.dtype)
    total = torch.bmm(image.flatten(2), flat[..., None])[..., 0]
    return total.float() / flat.sum(dim=1, keepdim=True).clamp_min(1e-6)
