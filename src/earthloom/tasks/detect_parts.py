"""Parts of a detector that stand between our pyramids and torchvision's two stages."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from earthloom.encoders import Features
from earthloom.encoders.base import Level

CELLS = 4.0
"""How many pixels of its level the least thing of a level is wide (Lin et al. 2017, Focal Loss)."""
PER_OCTAVE = 1.5
"""Sizes of anchors between a size and twice the size."""


@dataclass(frozen=True)
class Grid:
    """A level on which things are looked for."""

    stride: int
    """Pixels of the base grid, both ways, that one of its pixels stands for."""
    sizes: tuple[float, ...]
    """Roots of the areas of its anchors, in pixels of the base grid, rising."""


def grids_for(levels: Sequence[Level], sizes: Sequence[float]) -> tuple[Grid, ...]:
    """The levels that suit things of some sizes (roots of areas), the finest first.

    Each has as many anchors as the others, so that one head serves all. Levels that are coarser
    than the encoder's are made of its coarsest.
    """
    small, large = max(min(sizes), 1.0), max(*sizes, 1.0)
    strides = [level.stride for level in levels]
    while strides[-1] * 2 <= large / CELLS:
        strides.append(strides[-1] * 2)
    first = max((s for s in strides if s <= small / CELLS), default=strides[0])
    last = max((s for s in strides if s <= large / CELLS), default=first)
    used = [s for s in strides if first <= s <= max(first, last)]
    each = max(math.ceil((math.log2(large / small) * PER_OCTAVE + 1) / len(used)), 1)
    steps = np.geomspace(small, large, len(used) * each)
    if len(steps) == 1:
        steps = np.array([math.sqrt(small * large)])
    rounded = [round(float(size), 2) for size in steps]
    return tuple(
        Grid(stride, tuple(rounded[at * each : (at + 1) * each])) for at, stride in enumerate(used)
    )


class Ladder(nn.Module):
    """A feature pyramid (Lin et al. 2017) over an encoder's levels and coarser ones made of them.

    Normalised by groups (Wu and He 2018), so that it can be trained from nothing in small batches.
    """

    def __init__(self, given: Sequence[Level], strides: Sequence[int], width: int) -> None:
        super().__init__()
        from torchvision.ops import FeaturePyramidNetwork

        self.kept = [at for at, level in enumerate(given) if level.stride >= strides[0]]
        channels = [given[at].channels for at in self.kept]
        steps: list[nn.Module] = []
        have, stride = given[-1].channels, given[-1].stride
        while stride < strides[-1]:
            stride *= 2
            steps.append(_halved(have, width))
            have = width
            if stride >= strides[0]:
                channels.append(width)
        self.steps = nn.ModuleList(steps)
        self.used = len(strides)
        self.lead = len(channels)
        norm = partial(nn.GroupNorm, 8)
        self.pyramid = FeaturePyramidNetwork(channels, width, norm_layer=norm)

    def forward(self, levels: Sequence[Tensor]) -> dict[str, Tensor]:
        """(B, width, h, w) of each grid by its number, the finest first."""
        made = list(levels)
        for step in self.steps:
            made.append(step(made[-1]))
        chosen = [made[at] for at in self.kept] + made[len(levels) :]
        chosen = chosen[len(chosen) - self.lead :]
        pyramid = self.pyramid({str(at): level for at, level in enumerate(chosen)})
        return {str(at): pyramid[str(at)] for at in range(self.used)}


class Anchors(nn.Module):
    """Boxes of a few sizes and shapes about the middle of every pixel of every grid.

    torchvision's own take each level's stride from the image's size, which is wrong for images that
    are no multiple of it.
    """

    def __init__(self, grids: Sequence[Grid], ratios: Sequence[float]) -> None:
        super().__init__()
        self.strides = [grid.stride for grid in grids]
        for at, grid in enumerate(grids):
            self.register_buffer(f"cells_{at}", _cells(grid.sizes, ratios), persistent=False)

    def forward(self, images: Any, features: Sequence[Tensor]) -> list[Tensor]:
        """(A, 4) anchors of each image, in the order of torchvision's heads."""
        return [self.of(features)] * len(images.image_sizes)

    def of(self, features: Sequence[Tensor]) -> Tensor:
        """(A, 4) anchors of an image whose levels have these sizes."""
        made = []
        for at, (level, stride) in enumerate(zip(features, self.strides, strict=True)):
            cells = self.get_buffer(f"cells_{at}")
            rows, cols = level.shape[-2:]
            y, x = torch.meshgrid(
                (torch.arange(rows, device=cells.device) + 0.5) * stride,
                (torch.arange(cols, device=cells.device) + 0.5) * stride,
                indexing="ij",
            )
            middles = torch.stack([x, y, x, y], dim=-1).reshape(-1, 1, 4)
            made.append((middles + cells).reshape(-1, 4))
        return torch.cat(made)


class Pool(nn.Module):
    """Features of a box (He et al. 2017, RoIAlign), from the grid whose anchors are of its size.

    As torchvision's, which knows only strides that are powers of two, and one size of all things.
    """

    def __init__(self, grids: Sequence[Grid], size: int) -> None:
        super().__init__()
        self.size = size
        self.strides = [grid.stride for grid in grids]
        self.borders = borders_of(grids)

    def forward(
        self, features: Mapping[str, Tensor], boxes: Sequence[Tensor], shapes: Sequence[Any]
    ) -> Tensor:
        """(N, width, size, size) of the boxes of all images, one image after the other."""
        from torchvision.ops import roi_align

        levels = list(features.values())
        numbers = [torch.full_like(each[:, :1], at) for at, each in enumerate(boxes)]
        rois = torch.cat([torch.cat([n, b], dim=1) for n, b in zip(numbers, boxes, strict=True)])
        chosen = grid_of(rois[:, 1:], self.borders)
        shape = (len(rois), levels[0].shape[1], self.size, self.size)
        pooled = levels[0].new_zeros(shape)
        for at, (level, stride) in enumerate(zip(levels, self.strides, strict=True)):
            there = torch.nonzero(chosen == at)[:, 0]
            own = roi_align(level, rois[there].to(level.dtype), self.size, 1 / stride, 2, True)
            pooled = pooled.index_add(0, there, own)
        return pooled


def borders_of(grids: Sequence[Grid]) -> list[float]:
    """Sizes (roots of areas) at which one grid's things end and the next one's begin."""
    return [math.sqrt(a.sizes[-1] * b.sizes[0]) for a, b in pairwise(grids)]


def grid_of(boxes: Tensor, borders: Sequence[float]) -> Tensor:
    """(N,) number of the grid that boxes (N, 4) are of by their size."""
    sizes = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(dim=1).sqrt()
    return torch.bucketize(sizes, torch.tensor(borders, device=sizes.device, dtype=sizes.dtype))


def levels_of(features: Features) -> tuple[Tensor, ...]:
    """The images that a detector starts from: the encoder's pyramid, else its pixels alone."""
    return features.pyramid or (features.pixels,)


def _halved(given: int, made: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(given, made, 3, stride=2, padding=1, bias=False),
        nn.GroupNorm(8, made),
        nn.ReLU(inplace=True),
    )


def _cells(sizes: Sequence[float], ratios: Sequence[float]) -> Tensor:
    """(A, 4) boxes about 0 of areas `sizes` squared and height over width `ratios`."""
    made = []
    for ratio in ratios:
        for size in sizes:
            half = size / math.sqrt(ratio) / 2, size * math.sqrt(ratio) / 2
            made.append((-half[0], -half[1], half[0], half[1]))
    return torch.tensor(made, dtype=torch.float32)
