"""Contrast: looks at one thing are to be alike, and those at others apart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

import torch
import torch.nn.functional as F
from torch import Tensor

from earthloom.encoders import Features
from earthloom.encoders.loom import Loom
from earthloom.errors import ContractError
from earthloom.pretrain.hiding import Bands, Dates, hide, visible
from earthloom.pretrain.looks import check_settings, projector, seen_by_all, shared_pixels
from earthloom.pretrain.objective import Draw, Loss, Part
from earthloom.pretrain.views import View, Views
from earthloom.sample import IGNORE, UNLABELLED
from earthloom.sample.batch import Batch

_APART = -1e4
"""Logit of a look with itself."""


@dataclass(frozen=True)
class Contrast:
    """Two views of a chip through one encoder; of the second, half of the dates or bands are
    hidden.

    Pixels' features, as they are, and projections of chips' vectors are compared by their angle
    (van den Oord et al. 2018), so that pixels spread over the sphere on which embedding fields lie
    (Wang and Isola 2020). A pixel's thing is its label where it has one, so that all of a kind are
    alike (Khosla et al. 2020), and otherwise itself; so it is with chips of one pixel. Other chips
    are things of their own.
    """

    name: ClassVar[str] = "contrast"
    crop: float = 0.75
    """Share of a chip's rows and of its columns that a view shows."""
    seasons: float = 0.3
    """Share of the chips of which one view has the earlier dates and the other the later ones."""
    hidden: float = 0.5
    """Of the dates, or of the bands, of a chip of the second view."""
    chip: float = 0.5
    """Weight of the vectors."""
    dense: float = 1.0
    """Weight of the pixels."""
    temperature: float = 0.15
    width: int = 64
    """Of the projections of vectors."""
    pixels: int = 512
    """At most so many pixels of each view are compared."""

    def __post_init__(self) -> None:
        check_settings(
            self,
            shares=("crop", "seasons"),
            weights=("chip", "dense"),
            counts=("width", "pixels"),
        )
        if not self.temperature > 0:
            raise ContractError(f"temperature is {self.temperature}; valid is above 0")
        _ = self.ways

    @property
    def ways(self) -> tuple[Dates, Bands]:
        """Of hiding something of the second view."""
        return Dates(self.hidden), Bands(self.hidden)

    def part(self, loom: Loom) -> Part:
        return ContrastPart(self, loom.learnt_scene_channels)


@final
class ContrastPart(Part):
    """A projector."""

    names = ("loss", "chip", "dense", "hit")
    """`hit` is the share of pixels whose nearest look, of all others, is of the same thing."""

    def __init__(self, settings: Contrast, scene_channels: int) -> None:
        super().__init__()
        self.settings = settings
        self._views = Views(settings.crop, settings.seasons)
        self.chip = projector(scene_channels, settings.width)

    def forward(self, loom: Loom, batch: Batch, draw: Draw) -> Loss:
        settings = self.settings
        first, second = self._views(loom.layers, batch, draw.random("views"))
        hiding = hide(settings.ways, (1.0, 1.0), loom.layers, second.batch, draw.random("hide"))
        seen = (first.batch, visible(second.batch, hiding))
        features = [loom(each, calendar=False) for each in seen]
        chip, _ = self._compared(*self._chips(features, batch))
        dense, hit = self._compared(*self._pixels(features, (first, second), draw))
        total = settings.chip * chip + settings.dense * dense
        terms = {"loss": total, "chip": chip, "dense": dense, "hit": hit}
        return Loss(total, {name: terms[name].detach() for name in self.names})

    def _chips(self, features: list[Features], batch: Batch) -> tuple[Tensor, Tensor]:
        """(2, N, D) projected vectors of chips that both views saw, and (N,) their things."""
        seen = seen_by_all(features)
        things = torch.zeros(len(seen), dtype=torch.int64, device=seen.device)
        if batch.label is not None and batch.label[0].numel() == 1:
            things = batch.label.flatten().long()
        return torch.stack([self.chip(each.scene()[seen]) for each in features]), things[seen]

    def _pixels(
        self, features: list[Features], views: tuple[View, View], draw: Draw
    ) -> tuple[Tensor, Tensor]:
        """(2, N, F) pixels that both views saw, `pixels` of them at most, and (N,)."""
        settings, (first, second) = self.settings, views
        found = shared_pixels(features, views, settings.pixels, draw.random("pixels"))
        things = torch.zeros_like(found.places)
        if first.batch.label is not None:
            things = first.shared(first.batch.label, second).flatten()[found.places].long()
        return torch.stack([found.first, found.second]), things

    def _compared(self, looks: Tensor, things: Tensor) -> tuple[Tensor, Tensor]:
        """() the loss of looks (2, N, D) at things (N,), and () how many are nearest to their own.

        A thing without a name, 0 or `IGNORE`, is a thing of its own.
        """
        count = looks.shape[1]
        if not count:
            return looks.sum(), looks.new_tensor(torch.nan)
        nameless = (things == UNLABELLED) | (things == IGNORE)
        own = 256 + torch.arange(count, device=things.device)
        named = torch.where(nameless, own, things).repeat(2)
        with torch.autocast(looks.device.type, enabled=False):
            flat = F.normalize(looks.float().flatten(0, 1), dim=1)
            logits = flat @ flat.T / self.settings.temperature
        itself = torch.eye(2 * count, dtype=torch.bool, device=logits.device)
        logits = logits.masked_fill(itself, _APART)
        same = (named[:, None] == named) & ~itself
        likely = F.log_softmax(logits, dim=1)
        loss = -(likely * same).sum(dim=1) / same.sum(dim=1)
        nearest = named[logits.argmax(dim=1)]
        return loss.mean(), (nearest == named).float().mean()
