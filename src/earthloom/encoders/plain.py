"""Plain transformers over patches: one resolution, read after several of their blocks."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from earthloom.encoders.base import Encoder, Features, Level, base_shape, seen_in
from earthloom.encoders.planes import cells_of, padded, share_in_cells
from earthloom.encoders.published import Layout, load_published, read_state
from earthloom.sample import Shape2d
from earthloom.sample.batch import Batch

CELL = 16
"""Pixels of the base grid, both ways, that a token stands for."""
_TAPS = 4
"""Blocks that it is read after; evenly spaced, the last one among them (Li et al. 2022)."""


class Plain(Encoder, ABC):
    """An encoder whose `net` has `blocks` over tokens of `CELL` x `CELL` pixels.

    A network whose patches are smaller, such as 14 x 14, is shown the image resampled, bilinear, so
    that a patch lies on a cell: its features then fit every decoder, as those of others do.
    """

    net: Any
    """A module of a library's own class."""
    patch: int = CELL
    """Pixels of the network's own input that a token stands for."""
    width: int
    depth: int
    layout = Layout()
    """Of the published files of weights."""

    @property
    def taps(self) -> tuple[int, ...]:
        """Numbers of the blocks that it is read after."""
        return tuple(sorted({-(-self.depth * (tap + 1) // _TAPS) - 1 for tap in range(_TAPS)}))

    @property
    def radius(self) -> int:
        return 2 * CELL

    @property
    def stride(self) -> int:
        return CELL

    @property
    def alignment(self) -> int:
        return math.lcm(CELL, *(layer.factor for layer in self.layers))

    @property
    def is_local(self) -> bool:
        return False

    @property
    def channels(self) -> int:
        return self.width

    @property
    def pyramid(self) -> tuple[Level, ...]:
        return (Level(self.width, CELL),) * len(self.taps)

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        return tuple(self.net.blocks)

    @abstractmethod
    def read_weights(self, file: Path) -> None:
        """Takes the published weights; DataError that says what does not fit."""

    def _take(self, given: dict[str, Tensor], file: Path) -> None:
        load_published(self.net, given, self.layout, file)

    def _state(self, file: Path) -> dict[str, Tensor]:
        return read_state(file)

    def _for_net(self, image: Tensor) -> tuple[Tensor, Shape2d]:
        """(..., C, H, W) padded to whole cells, in the network's own pixels; and the cells."""
        image = padded(image, CELL)
        cells = Shape2d(image.shape[-2] // CELL, image.shape[-1] // CELL)
        if self.patch == CELL:
            return image, cells
        size = (cells.rows * self.patch, cells.cols * self.patch)
        flat = image.flatten(0, -4) if image.ndim > 4 else image
        resized = F.interpolate(flat, size=size, mode="bilinear")
        return resized.reshape(*image.shape[:-2], *size), cells

    def _through(
        self, state: Tensor, norm: nn.Module, cells: Shape2d
    ) -> tuple[list[Tensor], Tensor]:
        """Levels (B, F, h, w), normalised, after the blocks that are read, and the last tokens
        (B, 1 + h w, F); of tokens of which the first is that of the whole."""
        levels = []
        for at, block in enumerate(self.blocks):
            state = block(state)
            if at in self.taps:
                levels.append(as_image(norm(state[:, 1:]), cells))
        return levels, state

    def _features(self, batch: Batch, levels: list[Tensor], vector: Tensor | None) -> Features:
        """Of levels (B, F, h, w) over the padded window."""
        shape = base_shape(self.layers, batch)
        inside = cells_of(shape.rows, shape.cols, CELL)
        return Features(
            levels[-1][..., : inside.rows, : inside.cols],
            share_in_cells(seen_in(self.layers, batch), CELL) > 0,
            tuple(levels),
            vector,
            CELL,
            shape,
        )


def as_image(tokens: Tensor, cells: Shape2d) -> Tensor:
    """(B, F, h, w) float32 of tokens (B, h w, F)."""
    return tokens.float().mT.reshape(tokens.shape[0], -1, cells.rows, cells.cols)
