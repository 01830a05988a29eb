"""Masked reconstruction: what is hidden of a chip, from what is left of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from earthloom.encoders.compose import moves
from earthloom.encoders.loom import LEARNT, Loom
from earthloom.errors import ContractError, choices
from earthloom.pretrain.answer import Answer
from earthloom.pretrain.hiding import (
    WAYS,
    Bands,
    Dates,
    Hidden,
    Places,
    Sensors,
    Way,
    hidden_values,
    hide,
    measured_values,
    visible,
)
from earthloom.pretrain.looks import check_settings
from earthloom.pretrain.objective import Draw, Loss, Part, mean_where
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch, LayerBatch

_LEAST_SEEN = 0.5
"""A token of which less was seen is not scored: the rest of it is cloud, and its edges are hazy."""


@dataclass(frozen=True)
class Masked:
    """Masked reconstruction over bands, dates, places and sensors (He et al. 2022, MAE; Cong et al.
    2022, SatMAE), scored on tokens that are worth it (Wang et al. 2025, SelectiveMAE).

    Each chip is hidden in one way. Values are those of the encoder's common range, and count where
    they were measured and are hidden. A token is a square of the ground on one date of a layer; its
    difficulty is how far its values lie from the easy guess, the mean of what is visible of the
    same band. Of each layer the most difficult share is scored; constant and cloudy tokens are not.
    """

    name: ClassVar[str] = "masked"
    places: float = 1.0
    """How often cells of the ground are hidden, against the other ways; 0 for never."""
    dates: float = 1.0
    bands: float = 1.0
    sensors: float = 1.0
    share: float = 0.5
    """Of what a way can hide."""
    cell: int = 12
    """Pixels of the base grid, both ways: what is hidden of the ground at once."""
    token: int = 12
    """Pixels of the base grid, both ways: what is scored at once."""
    scored: float = 0.6
    """Share of the hidden tokens of a layer that is scored, the most difficult first."""
    shown: float = 0.5
    """Weight of the values that are visible, against the hidden ones: features are to keep what
    they were shown."""
    width: int = 64
    """Of the decoder."""

    def __post_init__(self) -> None:
        weights = {name: getattr(self, name) for name in WAYS}
        if any(weight < 0 for weight in weights.values()) or not sum(weights.values()):
            raise ContractError(
                f"the ways of hiding have the weights {choices(weights.values())}; valid are 0 and "
                f"above, and one above 0, for: {choices(weights)}"
            )
        if not 0 < self.scored <= 1:
            raise ContractError(f"scored is {self.scored}; valid is above 0 and up to 1")
        if self.shown < 0:
            raise ContractError(f"shown is {self.shown}; valid is 0 and above")
        check_settings(self, counts=("cell", "token", "width"))
        _ = self.ways

    @property
    def ways(self) -> tuple[Way, ...]:
        """All of them, in the order of `WAYS`."""
        share = self.share
        return (Places(share, self.cell), Dates(share), Bands(share), Sensors(share))

    @property
    def weights(self) -> tuple[float, ...]:
        """Of `ways`."""
        return tuple(getattr(self, way.name) for way in self.ways)

    def part(self, loom: Loom) -> Part:
        return MaskedPart(self, LEARNT, [level.channels for level in loom.pyramid])


@dataclass(frozen=True)
class _Scores:
    """Of a layer."""

    loss: Tensor
    """() mean over scored values."""
    shown: Tensor
    """() mean over visible values."""
    easy: Tensor
    """() the same, of the easy guess."""
    scored: Tensor
    """() bool: whether there is anything."""
    share: Tensor
    """() of the hidden values that was scored."""


@final
class MaskedPart(Part):
    """The decoders, and what they are asked."""

    names = ("loss", "shown", "easy", "share")
    """`easy` is what the easy guess costs: a network that has learnt something costs less."""

    def __init__(self, settings: Masked, channels: int, levels: Sequence[int]) -> None:
        super().__init__()
        self.settings = settings
        self.answer = Answer(channels, settings.width)
        self.around = Answer(sum(levels), settings.width)

    def forward(self, loom: Loom, batch: Batch, draw: Draw) -> Loss:
        settings = self.settings
        hiding = hide(settings.ways, settings.weights, loom.layers, batch, draw.random("hide"))
        scores = [
            self._scores(loom, spec, batch.layers[spec.key], hiding[spec.key], guesses[spec.key])
            for guesses in self.guesses(loom, visible(batch, hiding))
            for spec in loom.layers
        ]
        there = torch.stack([each.scored for each in scores])
        terms = {
            name: mean_where(torch.stack([getattr(each, name) for each in scores]), there)
            for name in self.names
        }
        seen = {n: torch.where(there.any(), e.detach(), torch.nan) for n, e in terms.items()}
        return Loss(terms["loss"] + settings.shown * terms["shown"], seen)

    def guesses(self, loom: Loom, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """(B, T, C, h, w) of every layer, from what is visible in a batch: by the features, and by
        the levels."""
        features = loom(batch, calendar=False)
        around = self.around.keys(_joined(features.pyramid))
        finest = loom.pyramid[0].stride
        large = around.repeat_interleave(finest, dim=-2).repeat_interleave(finest, dim=-1)
        rows, cols = features.pixels.shape[-2:]
        return (
            self._asked(loom, batch, self.answer, self.answer.keys(features.pixels)),
            self._asked(loom, batch, self.around, large[..., :rows, :cols]),
        )

    def _asked(self, loom: Loom, batch: Batch, answer: Answer, keys: Tensor) -> dict[str, Tensor]:
        return {
            spec.key: answer(
                keys, loom.facts[spec.key], batch.layers[spec.key].days, moves(spec), spec.factor
            ).float()
            for spec in loom.layers
        }

    @torch.no_grad()
    def chosen(
        self, target: Tensor, easy: Tensor, wanted: Tensor, valid: Tensor, factor: int
    ) -> Tensor:
        """(B, T, C, h, w) bool: which of the `wanted` values are scored, by their tokens."""
        size = max(self.settings.token // factor, 1)
        away = torch.where(wanted, (target - easy) ** 2, 0.0).sum(dim=2)
        count = wanted.sum(dim=2).float()
        difficulty = _tokens(away, size) / _tokens(count, size).clamp_min(1e-6)
        open_ = (_tokens(count, size) > 0) & (_tokens(valid.float(), size) >= _LEAST_SEEN)
        if not open_.any():
            return torch.zeros_like(wanted)
        least = torch.quantile(difficulty[open_], 1 - self.settings.scored)
        kept = open_ & (difficulty >= least) & (difficulty > 0)
        rows, cols = valid.shape[-2:]
        whole = kept.repeat_interleave(size, dim=-2).repeat_interleave(size, dim=-1)
        return wanted & whole[:, :, None, :rows, :cols]

    def _scores(
        self, loom: Loom, spec: LayerSpec, layer: LayerBatch, hidden: Hidden, guess: Tensor
    ) -> _Scores:
        measured, wanted = measured_values(layer), hidden_values(layer, hidden)
        pixels = torch.where(measured, layer.pixels, 0.0)
        target = loom.ranged(spec, pixels).detach()
        easy = _easy(target, measured & ~wanted).expand_as(target)
        scored = self.chosen(target, easy, wanted, layer.valid, spec.factor)
        costs = F.smooth_l1_loss(guess, target, reduction="none")
        loss, shown = mean_where(costs, scored), mean_where(costs, measured & ~wanted)
        by_guess = mean_where(F.smooth_l1_loss(easy, target, reduction="none"), scored)
        share = scored.sum() / wanted.sum().clamp_min(1)
        return _Scores(loss, shown, by_guess, scored.any(), share)


def _joined(levels: Sequence[Tensor]) -> Tensor:
    """(B, F, h, w) all levels on the grid of the finest: to each of its cells those it lies in."""
    found = []
    for number, level in enumerate(levels):
        step = 2**number
        large = level.repeat_interleave(step, dim=-2).repeat_interleave(step, dim=-1)
        found.append(large)
    return torch.cat(found, dim=1)


def _easy(target: Tensor, seen: Tensor) -> Tensor:
    """(B, 1, C, 1, 1) mean of each band over what is visible of it; 0, the middle of the common
    range, where nothing is."""
    over = (1, 3, 4)
    count = seen.sum(dim=over, keepdim=True)
    return torch.where(seen, target, 0.0).sum(dim=over, keepdim=True) / count.clamp_min(1)


def _tokens(image: Tensor, size: int) -> Tensor:
    """(B, T, h', w') means over squares of `size` pixels of (B, T, h, w)."""
    return F.avg_pool2d(image, size, ceil_mode=True, count_include_pad=False)
