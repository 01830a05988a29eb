"""An image worked on piece by piece, so that what is in between stays in a processor's cache."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from earthloom.sample import Shape2d

_PIXELS = {"cpu": 2**13, "cuda": 2**20}
"""Pixels of a piece, about, by the kind of device. On a processor 8192 pixels of 32 channels are
1 MiB; on a GPU a piece is large enough to fill it, and bounds the memory."""


@dataclass(frozen=True)
class Piece:
    """Some rows of the base grid of some samples."""

    samples: slice
    first: int
    last: int
    """The row behind the last one."""

    def of(self, image: Tensor, factor: int = 1) -> Tensor:
        """(b, ..., h, W): its part of an image (B, ..., H, W) whose pixels are `factor` wide."""
        first, last = self.first // factor, -(-self.last // factor)
        chosen = image[self.samples]
        return chosen if last - first == image.shape[-2] else chosen[..., first:last, :]

    def enlarged(self, image: Tensor, factor: int, shape: Shape2d) -> Tensor:
        """(b, C, h, W): its part of an image (B, C, ...) made `factor` times as large, bilinear.

        Rows beyond the piece have their say, so that pieces fit together. What lies beyond the
        `shape` of the base grid is cut off.
        """
        chosen = image[self.samples]
        top, bottom = self.first // factor, -(-self.last // factor)
        above, below = int(top > 0), int(bottom < image.shape[-2])
        part = chosen[..., top - above : bottom + below, :]
        large = F.interpolate(part, scale_factor=float(factor), mode="bilinear")
        start = above * factor
        return large[..., start : start + self.last - self.first, : shape.cols]


def pieces_of(count: int, shape: Shape2d, step: int, device: torch.device) -> list[Piece]:
    """Pieces of `count` samples, whose first rows are multiples of `step`.

    One piece while gradients are recorded, which keeps what is in between anyhow, and while a graph
    is traced, whose sizes may change.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return [Piece(slice(None), 0, shape.rows)]
    most = _PIXELS.get(device.type, _PIXELS["cuda"])
    rows = max(most // shape.cols // step, 1) * step
    starts = range(0, shape.rows, rows)
    if len(starts) == 1 and device.type != "cpu":
        each = max(most // (shape.rows * shape.cols), 1)
        groups = [slice(at, at + each) for at in range(0, count, each)]
        return [Piece(group, 0, shape.rows) for group in groups]
    return [
        Piece(slice(at, at + 1), start, min(start + rows, shape.rows))
        for at in range(count)
        for start in starts
    ]


class Whole:
    """An image (B, C, H, W), or (B, H, W, C) with channels `last`, that is put together of pieces.

    float32. Where it has several pieces, each is copied to its place while it is still in the
    cache.
    """

    def __init__(
        self, pieces: Sequence[Piece], count: int, shape: Shape2d, last: bool = False
    ) -> None:
        self._single, self._count, self._shape, self._last = len(pieces) == 1, count, shape, last
        self.image: Tensor | None = None

    def put(self, piece: Piece, part: Tensor) -> None:
        """A piece (b, C, n), or (b, n, C)."""
        if self._single:
            sizes = self._sizes(len(part), self._shape.rows, part.shape[2 if self._last else 1])
            self.image = part.reshape(sizes).contiguous().float()
            return
        self._part(piece, part.shape[2 if self._last else 1], part.device).copy_(part)

    def made(self) -> Tensor:
        """The image, when all pieces are there."""
        assert self.image is not None
        return self.image

    def _part(self, piece: Piece, channels: int, device: torch.device) -> Tensor:
        if self.image is None:
            sizes = self._sizes(self._count, self._shape.rows, channels)
            self.image = torch.empty(sizes, device=device)
        chosen = self.image[piece.samples]
        if self._last:
            return chosen[:, piece.first : piece.last].flatten(1, 2)
        return chosen[:, :, piece.first : piece.last].flatten(2)

    def _sizes(self, count: int, rows: int, channels: int) -> tuple[int, int, int, int]:
        if self._last:
            return count, rows, self._shape.cols, channels
        return count, channels, rows, self._shape.cols
