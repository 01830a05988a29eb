"""Joint embedding: two views of a chip are to have the same features, and chips different ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earthloom.encoders import Features
from earthloom.encoders.loom import LEARNT, Loom
from earthloom.pretrain.looks import check_settings, projector, seen_by_all, shared_pixels
from earthloom.pretrain.objective import Draw, Loss, Part
from earthloom.pretrain.spread import spread_loss
from earthloom.pretrain.views import View, Views
from earthloom.sample import IGNORE, UNLABELLED
from earthloom.sample.batch import Batch


@dataclass(frozen=True)
class Joint:
    """Two views of a chip (other sensors, other dates, another piece, turned) through one encoder.

    Projections of their vectors, and of their pixels where both show the same ground (dense terms
    as of Bardes et al. 2022, VICRegL), are to be alike; `spread_loss` keeps them from becoming all
    alike. Where chips have a label, such as a free land-cover product, a linear layer learns the
    shares of its classes in the chip and in cells of it: soft labels, so that a product's wrong
    pixels and blurred borders matter little.
    """

    name: ClassVar[str] = "joint"
    crop: float = 0.75
    """Share of a chip's rows and of its columns that a view shows."""
    seasons: float = 0.5
    """Share of the chips of which one view has the earlier dates and the other the later ones."""
    chip: float = 1.0
    """Weight of the vectors' likeness."""
    dense: float = 1.0
    """Weight of the pixels' likeness."""
    spread: float = 10.0
    """Weight of what prevents collapse."""
    labels: float = 0.5
    """Weight of the soft labels; nothing where a chip has none."""
    classes: int = 0
    """Codes of the labels' classes are 1 to this; 0 to use no labels."""
    label_cell: int = 8
    """Pixels of the base grid, both ways, over which shares of classes are counted; a smaller chip
    is one cell."""
    width: int = 64
    """Of the projections."""
    directions: int = 64
    """On which the spread is looked at, drawn anew for each batch."""
    pixels: int = 2048
    """At most so many pixels of a batch are compared."""

    def __post_init__(self) -> None:
        check_settings(
            self,
            shares=("crop", "seasons"),
            weights=("chip", "dense", "spread", "labels", "classes"),
            counts=("label_cell", "width", "directions", "pixels"),
        )

    def part(self, loom: Loom) -> Part:
        return JointPart(self, LEARNT, loom.learnt_scene_channels)


@final
class JointPart(Part):
    """Projectors, and the linear layers of soft labels."""

    names = ("loss", "chip", "dense", "spread_chip", "spread_dense", "labels")

    def __init__(self, settings: Joint, channels: int, scene_channels: int) -> None:
        super().__init__()
        self.settings = settings
        self._views = Views(settings.crop, settings.seasons)
        self.chip = projector(scene_channels, settings.width)
        self.dense = projector(channels, settings.width)
        self.classes = (
            nn.ModuleList(
                nn.Linear(width, settings.classes) for width in (scene_channels, channels)
            )
            if settings.classes
            else None
        )

    def forward(self, loom: Loom, batch: Batch, draw: Draw) -> Loss:
        settings = self.settings
        views = self._views(loom.layers, batch, draw.random("views"))
        features = [loom(view.batch, calendar=False) for view in views]
        chips = self._chips(features)
        pixels = self._pixels(features, views, draw)
        terms = {
            "chip": _alike(*chips),
            "dense": _alike(*pixels),
            "spread_chip": self._spread(chips, draw),
            "spread_dense": self._spread(pixels, draw),
        }
        spread = (terms["spread_chip"] + terms["spread_dense"]) / 2
        total = settings.chip * terms["chip"] + settings.dense * terms["dense"]
        total = total + settings.spread * spread
        labels = self._labels(features, views)
        if labels is not None:
            total = total + settings.labels * labels
        unknown = total.new_tensor(torch.nan)
        terms |= {"loss": total, "labels": unknown if labels is None else labels}
        return Loss(total, {name: terms[name].detach() for name in self.names})

    def _chips(self, features: list[Features]) -> tuple[Tensor, Tensor]:
        """(N, D) projected vectors of the chips of which both views saw anything."""
        seen = seen_by_all(features)
        first, second = (self.chip(each.scene()[seen]) for each in features)
        return first, second

    def _pixels(
        self, features: list[Features], views: tuple[View, View], draw: Draw
    ) -> tuple[Tensor, Tensor]:
        """(N, D) projected pixels that both views saw; N is `pixels` at most."""
        found = shared_pixels(features, views, self.settings.pixels, draw.random("pixels"))
        return self.dense(found.first), self.dense(found.second)

    def _spread(self, projected: tuple[Tensor, Tensor], draw: Draw) -> Tensor:
        if not len(projected[0]):
            return projected[0].sum()
        both = [
            spread_loss(each, self.settings.directions, draw.random("directions"))
            for each in projected
        ]
        return (both[0] + both[1]) / 2

    def _labels(self, features: list[Features], views: tuple[View, View]) -> Tensor | None:
        """() cross-entropy to the shares of classes, of chips and of cells, mean over views."""
        if self.classes is None or views[0].batch.label is None:
            return None
        terms = [
            term
            for each, view in zip(features, views, strict=True)
            if view.batch.label is not None
            for term in self._label_terms(self.classes, each, view.batch.label)
        ]
        return torch.stack(terms).mean()

    def _label_terms(
        self, heads: nn.ModuleList, features: Features, label: Tensor
    ) -> tuple[Tensor, Tensor]:
        cell = min(self.settings.label_cell, *label.shape[-2:])
        shares, known = _shares(label, self.settings.classes, cell)
        seen = F.avg_pool2d(features.seen[:, None].float(), cell)
        cells = F.avg_pool2d(features.pixels, cell)
        of_chip = (shares * known).sum(dim=(2, 3)) / known.sum(dim=(2, 3)).clamp_min(1e-6)
        chips = _cross_entropy(heads[0](features.scene()), of_chip, known.flatten(1).sum(dim=1))
        by_cell = heads[1](cells.permute(0, 2, 3, 1)).flatten(0, 2)
        weight = (known * seen).flatten()
        return chips, _cross_entropy(by_cell, shares.permute(0, 2, 3, 1).flatten(0, 2), weight)


def _alike(first: Tensor, second: Tensor) -> Tensor:
    """() mean squared difference, for one number of a projection; 0 for none."""
    return (first.float() - second.float()).square().sum() / max(first.numel(), 1)


def _shares(label: Tensor, classes: int, cell: int) -> tuple[Tensor, Tensor]:
    """(B, K, h, w) shares of classes in cells of a label (B, H, W), and (B, 1, h, w) which share of
    a cell has a class. Codes above K have none."""
    known = (label != UNLABELLED) & (label != IGNORE) & (label <= classes)
    one_hot = F.one_hot(torch.where(known, label, 0), classes + 1)[..., 1:]
    counts = F.avg_pool2d(one_hot.permute(0, 3, 1, 2).float(), cell)
    part = F.avg_pool2d(known[:, None].float(), cell)
    return counts / part.clamp_min(1e-6), part


def _cross_entropy(logits: Tensor, shares: Tensor, weight: Tensor) -> Tensor:
    """() of (N, K) by weights (N,); 0 where all weights are 0."""
    each = -(shares * F.log_softmax(logits.float(), dim=1)).sum(dim=1)
    return (each * weight).sum() / weight.sum().clamp_min(1e-6)
