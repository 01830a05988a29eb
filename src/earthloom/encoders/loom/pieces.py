"""An image worked on piece by piece, so that what is in between stays in a processor's cache."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import FunctionCtx

from earthloom.sample import Shape2d

_PIXELS = {"cpu": 2**14, "cuda": 2**20}
"""Pixels of a piece, about, by the kind of device, on a processor for each thread: 16384 of them
with 32 channels are 1 MiB in bfloat16. On a GPU a piece is large enough to fill it, and bounds the
memory."""


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
        chosen = self.samples_of(image)
        return chosen if last - first == image.shape[-2] else chosen[..., first:last, :]

    def enlarged(self, image: Tensor, factor: int, shape: Shape2d) -> Tensor:
        """(b, C, h, W): its part of an image (B, C, ...) made `factor` times as large, bilinear.

        Rows beyond the piece have their say, so that pieces fit together. What lies beyond the
        `shape` of the base grid is cut off.
        """
        chosen = self.samples_of(image)
        top, bottom = self.first // factor, -(-self.last // factor)
        above, below = int(top > 0), int(bottom < image.shape[-2])
        part = chosen[..., top - above : bottom + below, :]
        large = F.interpolate(part, scale_factor=float(factor), mode="bilinear")
        start = above * factor
        return large[..., start : start + self.last - self.first, : shape.cols]

    def coarser(self, factor: int) -> Piece:
        """The same one on a grid whose cells are `factor` wide."""
        return Piece(self.samples, self.first // factor, -(-self.last // factor))

    def samples_of(self, image: Tensor) -> Tensor:
        """(b, ...) of (B, ...)."""
        # To take all would be a copy on the way back.
        return image if self.samples == slice(None) else image[self.samples]


def pieces_of(
    count: int, shape: Shape2d, step: int, device: torch.device, many: bool
) -> list[Piece]:
    """Pieces of `count` samples, whose first rows are multiples of `step`; half as large where
    there are `many` windows of the year, as more is made of each pixel.

    One piece while gradients are recorded, which keeps what is in between anyhow, and while a graph
    is traced, whose sizes may change.
    """
    if torch.is_grad_enabled() or torch.compiler.is_compiling():
        return [Piece(slice(None), 0, shape.rows)]
    most = _PIXELS.get(device.type, _PIXELS["cuda"]) // (2 if many else 1)
    if device.type == "cpu":
        most *= torch.get_num_threads()
    rows = max(most // shape.cols // step, 1) * step
    starts = range(0, shape.rows, rows)
    if len(starts) == 1:
        each = max(most // (shape.rows * shape.cols), 1)
        groups = [slice(at, at + each) for at in range(0, count, each)]
        return [Piece(group, 0, shape.rows) for group in groups]
    return [
        Piece(slice(at, at + 1), start, min(start + rows, shape.rows))
        for at in range(count)
        for start in starts
    ]


def turned_round(values: Tensor) -> Tensor:
    """(B, N, C) of (B, C, N), by a product with the identity: a processor does that in a quarter of
    the time of a copy."""
    if values.shape[2] == 1:
        return values.mT
    if not torch.is_grad_enabled():
        return _turned_round(values)
    turned: Tensor = _TurnedRound.apply(values)
    return turned


def _turned_round(values: Tensor) -> Tensor:
    same = torch.eye(values.shape[1], device=values.device, dtype=values.dtype)
    return torch.bmm(values.mT, same.expand(len(values), -1, -1))


class _TurnedRound(torch.autograd.Function):
    """The way back is turned round, too: what comes before works on neighbours in memory."""

    @staticmethod
    def forward(ctx: FunctionCtx, values: Tensor) -> Tensor:
        return _turned_round(values)

    @staticmethod
    def backward(ctx: FunctionCtx, turned: Tensor) -> Tensor:
        same = torch.eye(turned.shape[2], device=turned.device, dtype=turned.dtype)
        return torch.bmm(same.expand(len(turned), -1, -1), turned.mT)


class Enlarged:
    """An image made larger, bilinear, of which pieces are asked for; `Piece.enlarged` for images
    whose channels come last.

    By products with the weights, which all cores share; those that are 0 cost less than it takes to
    find the others, up to images of some thousand pixels. In float32 and with the channels first
    these products take longer.
    """

    def __init__(self, image: Tensor, factor: int, shape: Shape2d) -> None:
        """Of an image (B, h, w, C), `factor` times as large both ways and cut to `shape`."""
        self._factor = factor
        self._rows, cols = (_bilinear(side, factor, image) for side in shape)
        count, rows = image.shape[:2]
        wide = torch.bmm(cols.expand(count * rows, -1, -1), image.flatten(0, 1))
        self._wide = wide.reshape(count, rows, -1)
        self._channels = image.shape[-1]

    def of(self, piece: Piece) -> Tensor:
        """(b, n, C) of the pixels of a piece."""
        near = slice(max(piece.first // self._factor - 1, 0), piece.last // self._factor + 1)
        weights = self._rows[piece.first : piece.last, near]
        wide = piece.samples_of(self._wide)[:, near]
        large = torch.bmm(weights.expand(len(wide), -1, -1), wide)
        return large.reshape(len(wide), -1, self._channels)


def _bilinear(side: int, factor: int, like: Tensor) -> Tensor:
    """(side, ceil(side / factor)) what cells have to do with pixels."""
    cells = torch.arange(-(-side // factor), device=like.device)
    middles = (torch.arange(side, device=like.device) + 0.5) / factor - 0.5
    apart = middles.clamp(0, len(cells) - 1)[:, None] - cells
    return (1 - apart.abs()).clamp_min(0).to(like.dtype)


class Whole:
    """An image (B, C, H, W) that is put together of pieces.

    Where it has several pieces, each is copied to its place while it is still in the cache.
    """

    def __init__(
        self,
        pieces: Sequence[Piece],
        sizes: tuple[int, int, int, int],
        dtype: torch.dtype = torch.float32,
        channels_last: bool = False,
    ) -> None:
        """`channels_last`: how it lies in memory, as most of its parts do."""
        self._single, self._dtype = len(pieces) == 1, dtype
        self._sizes, self._last = sizes, channels_last
        self._parts: dict[int, Tensor] = {}
        self._image: Tensor | None = None

    def put(self, piece: Piece, part: Tensor, first: int = 0) -> None:
        """A piece (b, c, ...), whose channels come from `first` on."""
        if self._single:
            self._parts[first] = part
            return
        if self._image is None:
            form = torch.channels_last if self._last else torch.contiguous_format
            self._image = torch.empty(
                self._sizes, device=part.device, dtype=self._dtype, memory_format=form
            )
        channels = slice(first, first + part.shape[1])
        run = self._image[piece.samples, channels, piece.first : piece.last]
        run.copy_(part.reshape(run.shape))

    def made(self) -> Tensor:
        """The image, when all pieces are there."""
        if self._image is not None:
            return self._image
        parts = [self._parts[first].flatten(2) for first in sorted(self._parts)]
        if len(parts) == 1:
            whole = parts[0]
        elif self._last:
            whole = torch.cat([part.mT for part in parts], dim=2).mT
        else:
            whole = torch.cat(parts, dim=1)
        return whole.reshape(self._sizes).to(self._dtype)


class Averaged(Whole):
    """A whole (B, C, H, W) whose mean over what was `seen` (B, H, W) is taken on the way, of pieces
    that are still in the cache."""

    def __init__(
        self, pieces: Sequence[Piece], seen: Tensor, channels: int, channels_last: bool
    ) -> None:
        sizes = len(seen), channels, *seen.shape[1:]
        super().__init__(pieces, sizes, channels_last=channels_last)
        self._seen = seen
        self._total = torch.zeros(len(seen), channels, device=seen.device)

    def put(self, piece: Piece, part: Tensor, first: int = 0) -> None:
        """A piece (b, c, n), whose channels come from `first` on."""
        super().put(piece, part, first)
        weight = piece.of(self._seen).flatten(1)[..., None].to(part.dtype)
        channels = slice(first, first + part.shape[1])
        self._total[piece.samples, channels] += torch.bmm(part, weight)[..., 0]

    def mean(self) -> Tensor:
        """(B, C); 0 where nothing was seen."""
        return self._total / self._seen.flatten(1).sum(dim=1, keepdim=True).clamp_min(1)
