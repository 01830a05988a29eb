"""Loom: the encoder that takes any sensor."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

import numpy as np
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
from earthloom.encoders.loom.calendar import Seasons, Told
from earthloom.encoders.loom.fill import Fill, fill
from earthloom.encoders.loom.known import Known
from earthloom.encoders.loom.pieces import Averaged, Enlarged, Piece, Whole, pieces_of, turned_round
from earthloom.encoders.loom.ranges import range_of, standardised, usual_of
from earthloom.encoders.loom.sizes import FIRST, LEARNT, SIZES
from earthloom.encoders.loom.slots import slot_of
from earthloom.encoders.loom.spread import Spread, half_whitening
from earthloom.encoders.loom.stem import Observations, PixelStem, Sums, Weights
from earthloom.encoders.planes import share_in_cells
from earthloom.errors import ContractError, choices
from earthloom.sample import JointSums, LayerSpec, Samples, Shape2d, Subset, chips_of
from earthloom.sample.batch import Batch, LayerBatch

_ACQUAINTANCES = 1024
"""Chips that tell what bands are like, at most: spread over all that there are."""


@final
class Loom(Encoder):
    """Any set of layers, of any bands and dates, to features of each pixel of the base grid: 64
    that are learnt, and means of parts of the spectrum in windows of the year (see `Seasons`), of
    which a pretraining knows only how they go together (see `Spread`).

    Bands are told by what they measure: wavelength and width, or frequency and polarisation, kind
    and ground sampling distance (see `bands`); values come to a common range by their unit alone
    (see `ranges`), and only those in a unit without a rule, such as digital numbers, by the
    statistics; else these say alone what a band that a sample lacks is usually like, unless chips
    were shown to `acquaint`. So the weights are the same whatever the layers are. A pixel's
    observations are summed over bands and averaged over dates before anything looks at its
    surroundings, which a U-shaped network then does.

    What was not seen has no influence. Where nothing was seen there is a learned fill, and how much
    was seen is told. `Features.vector` is the mean of what is learnt of pixels, of the coarsest
    stage, and of the windows of the year, where seen. Nothing is normalised over an image: beyond
    the radius nothing has an effect on a pixel, so that maps have no seams.
    """

    name = "loom"

    turn: Tensor

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
        names = [name for name, _ in self.named_buffers()]
        self._statistics = {
            layer.key: own for layer, *own in zip(layers, names[::2], names[1::2], strict=True)
        }
        self.known = nn.ModuleList(Known(len(layer.bands)) for layer in layers)
        many = any(len(layer.dates) > 1 for layer in layers)
        self.seasons = Seasons.of(list(self._facts.values()), many)
        given = shape.stem + shape.heads + shape.told
        self.stem = PixelStem(shape.stem, shape.heads)
        self.told = Told(shape.told)
        self.spread = Spread()
        self.register_buffer("turn", torch.eye(len(self.seasons.slots)), persistent=False)
        self.register_load_state_dict_post_hook(_shown_anew)  # type: ignore[no-untyped-call]
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
        return LEARNT + self.seasons.width

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
        return self.learnt_scene_channels + self.seasons.width

    @property
    def learnt_scene_channels(self) -> int:
        """Those of a vector that are no means of windows of the year."""
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
        for name in ("stem", "told", "spread", "body", "head"):
            setattr(other, name, getattr(self, name))
        other.show()
        return other.train(self.training)

    def ranged(self, spec: LayerSpec, pixels: Tensor) -> Tensor:
        """(B, T, C, H, W) in the common range in which the network sees a layer's pixels; NaN stays
        NaN."""
        return self._range(spec)(pixels.flatten(3)).reshape(pixels.shape)

    def forward(self, batch: Batch, calendar: bool = True) -> Features:
        """Features of a batch; without the `calendar` what is learnt alone, as objectives see it:
        64 numbers of a pixel, and a vector without windows of the year."""
        shape, seen = base_shape(self.layers, batch), seen_in(self.layers, batch)
        step = math.lcm(FIRST, *(layer.factor for layer in self.layers))
        pieces = pieces_of(len(seen), shape, step, seen.device, self.seasons.windows > 1)
        width = self.channels if calendar else LEARNT
        # As most of it is made: what is learnt with the channels last, windows of the year first.
        features = Averaged(pieces, seen, width, channels_last=width < 2 * LEARNT)
        telling = self.told(self.seasons)
        mixing = self._mixing(telling)
        telling = telling if mixing is None else None
        observed = self._observed(batch, pieces, shape, telling, features if calendar else None)
        kept, patches = self._patched(observed, pieces, len(seen), shape, mixing)
        stages, around = self.body(patches)
        around = Enlarged(self.head.coarse(around), FIRST, shape)
        weights = self.head.weights(mixing)
        for piece, own in kept:
            features.put(piece, self.head(own, around.of(piece), weights).mT)
        levels = _covering([stage.permute(0, 3, 1, 2).float() for stage in stages])
        share = share_in_cells(seen, self._coarsest)
        mean = features.mean()
        parts = [mean[:, :LEARNT], _mean(levels[-1], share), mean[:, LEARNT:]]
        return Features(features.made(), seen, levels, torch.cat(parts, dim=1))

    @torch.no_grad()
    def even(self, pixels: Tensor) -> None:
        """Turns what is learnt of a pixel so that in pixels (N, 64) like these small spreads are
        less small beside large ones, see `half_whitening`. No function of it is lost or won."""
        self.head.turn(half_whitening(torch.cov(pixels.T)))

    @torch.no_grad()
    def acquaint(self, samples: Samples) -> Loom:
        """Measures on unlabelled chips, 1024 at most, what their bands are like and how they go
        together; those that a sample lacks are filled accordingly from now on. Gives itself.

        A layer that was seen fewer than 30 times for each of its bands stays unknown.
        """
        sums = [JointSums(len(spec.bands)) for spec in self.layers]
        numbers = np.linspace(0, len(samples) - 1, min(len(samples), _ACQUAINTANCES)).astype(int)
        for chip in chips_of(Subset(samples, numbers.tolist())):
            for spec, own in zip(self.layers, sums, strict=True):
                layer = chip.layers[spec.key]
                pixels = torch.from_numpy(layer.pixels)[None].to(self.turn.device)
                ranged = self.ranged(spec, pixels)[0].cpu().numpy().astype(np.float64)
                own.add(ranged.swapaxes(0, 1)[:, layer.valid])
        for spec, own in zip(self.layers, sums, strict=True):
            self._known(spec).measure(own)
        return self

    def show(self) -> None:
        """Takes the turn of the slots from `spread`, after that has changed."""
        self.turn = self.spread.turn(self.seasons.slots)

    @property
    def _coarsest(self) -> int:
        """Stride of the coarsest stage."""
        return self.pyramid[-1].stride

    def _mixing(self, telling: Tensor) -> Tensor | None:
        """(D + heads + told, D + heads + M K) from a pixel with its means to one with the sums that
        the network is told of them; None where the means are more than the sums."""
        told, means = telling.shape
        if told < means:
            return None
        rest = SIZES[self.size].stem + SIZES[self.size].heads
        same = torch.eye(rest).to(telling)
        return F.pad(same, (0, means, 0, told)) + F.pad(telling, (rest, 0, rest, 0))

    def _observed(
        self,
        batch: Batch,
        pieces: Sequence[Piece],
        shape: Shape2d,
        telling: Tensor | None,
        features: Averaged | None,
    ) -> Iterator[tuple[Piece, Tensor]]:
        """Pieces, and (b, n, C) what was seen of their pixels, see `PixelStem.fused`, and the sums
        of the calendar that `telling` (told, M K) makes, or all of it; which also goes straight to
        `features`, if there are any. In the format of products, each of which would else make it
        so by itself."""
        weights = {spec.key: self._weights(spec, batch.layers[spec.key]) for spec in self.layers}
        coarse = {
            spec.key: self._coarse(spec, batch.layers[spec.key], weights[spec.key])
            for spec in self.layers
            if spec.factor > 1
        }
        filling, dtype = self._fill(batch, weights), _product_dtype(self.turn.device)
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
            year = self.seasons.means(
                [
                    (each.windows, each.within, weights[spec.key].slots.of(piece.samples))
                    for spec, each in zip(self.layers, sums, strict=True)
                ]
            )
            if filling is not None:
                year = filling.of(piece.samples)(year)
            if features is not None:
                features.put(piece, self._turned(year), LEARNT)
            told = year if telling is None else torch.bmm(telling.expand(len(year), -1, -1), year)
            parts = [part.to(dtype) for part in (*self.stem.fused(sums), told)]
            yield piece, turned_round(torch.cat(parts, dim=1))

    def _patched(
        self,
        observed: Iterator[tuple[Piece, Tensor]],
        pieces: Sequence[Piece],
        count: int,
        shape: Shape2d,
        mixing: Tensor | None,
    ) -> tuple[list[tuple[Piece, Tensor]], Tensor]:
        """What was observed, and the patches (B, h, w, C') that the body makes of it."""
        weight = self.body.weight(mixing)
        rows, cols = (-(-side // FIRST) for side in shape)
        sizes, dtype = (count, len(weight), rows, cols), _product_dtype(weight.device)
        kept = []
        patches = Whole(pieces, sizes, dtype, channels_last=True)
        for piece, values in observed:
            kept.append((piece, values))
            image = values.reshape(len(values), -1, shape.cols, values.shape[2])
            patches.put(piece.coarser(FIRST), self.body.patched(image, weight).permute(0, 3, 1, 2))
        return kept, patches.made().permute(0, 2, 3, 1)

    def _fill(self, batch: Batch, weights: Mapping[str, Weights]) -> Fill | None:
        """What the slots that samples lack are filled with; None where none is lacking."""
        if all(layer.measured is None for layer in batch.layers.values()):
            return None
        there = self.turn.new_zeros(len(batch.ids), len(self.turn))
        for each in weights.values():
            there[:, each.slots.at] = there[:, each.slots.at].maximum(each.slots.there)
        if bool(there.all()):
            return None
        at = [slot_of(each) for spec in self.layers for each in self._facts[spec.key]]
        bands = torch.cat([self._usual(spec) for spec in self.layers])
        usual = [bands[[each == slot for each in at]].mean() for slot in self.seasons.slots]
        return fill(self.spread.among(self.seasons.slots), torch.stack(usual), there)

    def _usual(self, spec: LayerSpec) -> Tensor:
        """(C,) what a layer's bands are on average: as was measured, or else by its statistics."""
        mean, std = (self.get_buffer(name) for name in self._statistics[spec.key])
        known = self._known(spec).mean
        return torch.where(known.isnan(), usual_of(self._range(spec), mean, std), known)

    def _known(self, spec: LayerSpec) -> Known:
        known = self.known[self.layers.index(spec)]
        assert isinstance(known, Known)
        return known

    def _turned(self, year: Tensor) -> Tensor:
        """(B, M K, N) means of slots after the turn."""
        windows = year.reshape(-1, len(self.turn), year.shape[-1])
        return torch.bmm(self.turn.expand(len(windows), -1, -1), windows).reshape(year.shape)

    def _weights(self, spec: LayerSpec, layer: LayerBatch) -> Weights:
        facts, filling = self._facts[spec.key], self._known(spec).fill(layer.measured)
        return self.stem.weights(
            facts, layer.days, layer.measured, filling, moves(spec), self.seasons
        )

    def _coarse(self, spec: LayerSpec, layer: LayerBatch, weights: Weights) -> Sums:
        """(B, ..., h, w) of a coarser layer, on its own grid."""
        count, shape = len(layer.days), Shape2d(*layer.valid.shape[-2:])
        pieces = pieces_of(count, shape, 1, layer.days.device, self.seasons.windows > 1)
        wholes: list[Whole] = []
        for piece in pieces:
            parts = self._sums(spec, layer, weights, piece).parts
            wholes = wholes or [Whole(pieces, (count, part.shape[1], *shape)) for part in parts]
            for whole, part in zip(wholes, parts, strict=True):
                whole.put(piece, part)
        return Sums(*(whole.made() for whole in wholes))

    def _sums(self, spec: LayerSpec, layer: LayerBatch, weights: Weights, piece: Piece) -> Sums:
        """Of a piece of a layer's own grid, (b, ..., n)."""
        seen = Observations(
            piece.of(layer.pixels).flatten(3),
            piece.of(layer.valid).flatten(2),
            layer.days[piece.samples],
        )
        own = weights.of(piece.samples)
        sums: Sums = self.stem(seen, own, self._range(spec), self.seasons)
        return sums

    def _range(self, spec: LayerSpec) -> Callable[[Tensor], Tensor]:
        """What brings a layer to the common range: in a unit without a rule its statistics."""
        rule = self._ranges[spec.key]
        if rule is not None:
            return rule
        mean, std = (self.get_buffer(name)[:, None] for name in self._statistics[spec.key])
        return lambda values: standardised(values, mean, std)


def _product_dtype(device: torch.device) -> torch.dtype:
    """Of what products are given, as autocast has it."""
    kind = device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else torch.float32


def _shown_anew(loom: Loom, keys: object) -> None:
    """What is done when weights were loaded."""
    loom.show()


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
