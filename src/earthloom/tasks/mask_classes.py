"""Classes of pixels by masks: a head that says which segments a chip has, and where each lies."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earthloom.encoders import Features
from earthloom.errors import ContractError
from earthloom.tasks.classes import IGNORED
from earthloom.tasks.heads import Head

_CELLS = 16
"""Cells of a chip, both ways, at most, that queries look at."""
_NOTHING = 0.1
"""How much a query counts that stands for nothing, against one that stands for a segment."""
_FOCAL, _DICE = 20.0, 1.0
"""Weights of the two losses of a mask against that of its class; all of Cheng et al. (2021)."""
_ALPHA, _GAMMA = 0.25, 2.0
"""Of the focal loss (Lin et al. 2017)."""
_LEAST = 1e-6
"""Share of any class at a pixel, so that its logarithm is a number."""


@dataclass(frozen=True)
class PixelTruth:
    """What is known of the pixels of a batch, on the base grid."""

    index: Tensor
    """(B, H, W) int64 class index; `IGNORED` without a label, or where nothing was seen."""
    class_weights: Tensor
    """(K,) how much each class weighs."""
    counts: Tensor | None = None
    """(B, H, W) how much each pixel counts; None for 1."""


class OwnLossHead(Head, ABC):
    """A head of classes of pixels that is not taught pixel by pixel, and has a loss of its own.

    `forward` gives logits (B, K, h, w) as every other head of classes does.
    """

    @abstractmethod
    def loss(self, features: Features, truth: PixelTruth) -> Tensor:
        """() mean loss over the chips with a label; 0, with a gradient, where none has one."""


@final
class MaskHead(OwnLossHead):
    """Mask classification: MaskFormer (Cheng, Schwing and Kirillov 2021), small.

    Each of some learnt queries looks at the chip, in a transformer decoder, and gives a class, or
    none, and a vector; the products of that vector with those of the pixels are a mask. A class is
    as likely at a pixel as the masks of its queries say together, and `forward` gives the
    logarithms of these shares (B, K, h, w), which sum to one.

    Queries look at the means of features in 16 x 16 cells at most, without their places: what a
    class looks like does not depend on where in a window it lies. So what a pixel is called depends
    on the whole window, whatever the encoder's radius. Shares order classes well, but are no
    frequencies: no part of the loss asks for that.
    """

    name = "masks"
    is_local = False

    def __init__(
        self,
        channels: int,
        classes: int,
        queries: int = 16,
        width: int = 64,
        layers: int = 3,
        heads: int = 4,
    ) -> None:
        """`channels`: those of the encoder's pixels. `width`: of queries and masks, a multiple of
        `heads`. ContractError for fewer queries than classes."""
        super().__init__()
        if queries < classes:
            raise ContractError(
                f"{queries} queries cannot stand for {classes} classes; valid are {classes} and "
                "above"
            )
        if width % heads:
            raise ContractError(f"a width of {width} is no multiple of {heads} attention heads")
        self._made = {"channels": channels, "classes": classes, "queries": queries}
        self._made |= {"width": width, "layers": layers, "heads": heads}
        self.queries = nn.Parameter(torch.randn(queries, width))
        self.memory = nn.Sequential(nn.Conv2d(channels, width, 1), nn.GroupNorm(1, width))
        self.layers = nn.ModuleList(_layer(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.of_class = nn.Linear(width, classes + 1)
        self.of_mask = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.last = nn.Linear(width, width)
        self.pixels = nn.Conv2d(channels, width, 1)

    def config(self) -> dict[str, Any]:
        return dict(self._made)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, F, h, w) features to (B, K, h, w) float32 logarithms of the shares of classes."""
        classes, masks = self._said(pixels)[-1]
        shares = torch.einsum(
            "bqk,bqhw->bkhw", classes.softmax(dim=-1)[..., :-1], masks.sigmoid()
        ).clamp(min=_LEAST)
        return (shares / shares.sum(dim=1, keepdim=True)).log().float()

    def loss(self, features: Features, truth: PixelTruth) -> Tensor:
        """The mean over chips, of what the queries say after every layer of the decoder.

        In each chip the segments of the classes that it shows are given to the queries that suit
        them best (Hungarian method, as Carion et al. 2020); all others are to stand for nothing.
        Only pixels with a label play a part in masks.
        """
        said = self._said(features.pixels)
        known = truth.index != IGNORED
        if truth.counts is not None:
            known = known & (truth.counts > 0)
        labelled = known.flatten(1).any(dim=1).nonzero()[:, 0].tolist()
        if not labelled:
            return sum((each.sum() for pair in said for each in pair), said[0][0].sum()) * 0.0
        losses = []
        for classes, masks in said:
            on_grid = features.on_base_grid(masks.float())
            for chip in labelled:
                segments = _segments(truth, known[chip], chip)
                masked = on_grid[chip][:, known[chip]]
                losses.append(_chip_loss(classes[chip].float(), masked, segments))
        return torch.stack(losses).mean()

    def _said(self, pixels: Tensor) -> list[tuple[Tensor, Tensor]]:
        """After each layer: (B, Q, K + 1) logits of classes, nothing the last one, and (B, Q, h, w)
        logits of masks."""
        rows, cols = (min(side, _CELLS) for side in pixels.shape[-2:])
        cells = self.memory(F.adaptive_avg_pool2d(pixels, (rows, cols)))
        memory = cells.flatten(2).transpose(1, 2)
        places = self.pixels(pixels)
        state = self.queries.expand(len(pixels), -1, -1)
        said = []
        for layer in self.layers:
            state = layer(state, memory)
            done = self.norm(state)
            # Products of long vectors would begin far from where a sigmoid learns.
            vectors = self.last(self.of_mask(done)) / done.shape[-1] ** 0.5
            said.append((self.of_class(done), torch.einsum("bqd,bdhw->bqhw", vectors, places)))
        return said


@dataclass(frozen=True)
class _Segments:
    """The segments of one chip: N classes, M known pixels."""

    classes: Tensor
    """(N,) int64."""
    masks: Tensor
    """(N, M) float, 1 where a pixel is of the class."""
    weights: Tensor
    """(K + 1,) how much each class weighs, and nothing."""
    counts: Tensor
    """(M,) how much each pixel counts, 1 on average."""


def _segments(truth: PixelTruth, known: Tensor, chip: int) -> _Segments:
    index = truth.index[chip][known]
    classes: Tensor = index.unique()  # type: ignore[no-untyped-call]
    weights = truth.class_weights
    counts = torch.ones_like(index, dtype=weights.dtype)
    if truth.counts is not None:
        counts = truth.counts[chip][known].to(weights.dtype)
    return _Segments(
        classes,
        (index == classes[:, None]).to(weights.dtype),
        torch.cat([weights, weights.new_full((1,), _NOTHING)]),
        counts / counts.mean(),
    )


def _chip_loss(classes: Tensor, masks: Tensor, segments: _Segments) -> Tensor:
    """() of one chip: logits of classes (Q, K + 1) and of masks at known pixels (Q, M)."""
    rows, cols = matched(classes, masks, segments)
    wanted = torch.full((len(classes),), classes.shape[1] - 1, device=classes.device)
    wanted[rows] = segments.classes[cols]
    of_class = F.cross_entropy(classes, wanted, segments.weights)
    truth = segments.masks[cols]
    focal = _focal(masks[rows], truth, segments.counts).mean()
    dice = _dice(masks[rows].sigmoid(), truth, segments.counts).mean()
    return of_class + _FOCAL * focal + _DICE * dice


@torch.no_grad()
def matched(classes: Tensor, masks: Tensor, segments: _Segments) -> tuple[Tensor, Tensor]:
    """Queries and the segments that are given to them, so that the sum of costs is least.

    A cost is that of the loss, with the probability of the class in the place of its logarithm.
    """
    from scipy.optimize import linear_sum_assignment

    shares = classes.softmax(dim=-1)[:, segments.classes]
    focal = _focal_of_pairs(masks, segments.masks, segments.counts)
    dice = _dice(masks.sigmoid()[:, None], segments.masks[None], segments.counts)
    cost = (_FOCAL * focal + _DICE * dice - shares).cpu().numpy()
    rows, cols = linear_sum_assignment(np.nan_to_num(cost, nan=1e6))
    device = classes.device
    return torch.from_numpy(rows).to(device), torch.from_numpy(cols).to(device)


def _focal_parts(logits: Tensor) -> tuple[Tensor, Tensor]:
    """The focal loss of each logit where the truth is 1, and where it is 0."""
    share = logits.sigmoid()
    there = _ALPHA * (1 - share) ** _GAMMA * F.softplus(-logits)
    absent = (1 - _ALPHA) * share**_GAMMA * F.softplus(logits)
    return there, absent


def _focal(logits: Tensor, truth: Tensor, counts: Tensor) -> Tensor:
    """(N,) of masks (N, M) against the truth of the same row."""
    there, absent = _focal_parts(logits)
    return ((there * truth + absent * (1 - truth)) * counts).mean(dim=-1)


def _focal_of_pairs(logits: Tensor, truth: Tensor, counts: Tensor) -> Tensor:
    """(Q, N) of every mask (Q, M) against every truth (N, M)."""
    there, absent = _focal_parts(logits)
    weighed = counts / len(counts)
    return (there * weighed) @ truth.T + (absent * weighed) @ (1 - truth).T


def _dice(shares: Tensor, truth: Tensor, counts: Tensor) -> Tensor:
    """One less the Dice coefficient over the last axis, smoothed by one pixel."""
    both = 2 * (shares * truth) @ counts
    return 1 - (both + 1) / (shares @ counts + truth @ counts + 1)


def _layer(width: int, heads: int) -> nn.Module:
    return nn.TransformerDecoderLayer(
        width, heads, 2 * width, dropout=0.0, batch_first=True, norm_first=True
    )
