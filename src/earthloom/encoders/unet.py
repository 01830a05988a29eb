"""A U-Net over the layers of a chip, for any number of dates."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earthloom.encoders.base import (
    Encoder,
    Features,
    Statistics,
    base_shape,
    mask_on_base_grid,
    on_base_grid,
    seen_in,
)
from earthloom.sample import LayerSpec, Shape2d
from earthloom.sample.batch import Batch

Norm = Literal["group", "batch"]
"""Over what a U-Net normalises. `group` (Wu and He 2018): over groups of channels of the image at
hand, which no batch disturbs. `batch` (Ioffe and Szegedy 2015): by what training saw, so that a
trained network says the same of a pixel whatever image its surroundings lie in."""

_NORMS: Mapping[Norm, Callable[[int], nn.Module]] = {
    "group": lambda channels: nn.GroupNorm(min(8, channels), channels),
    "batch": nn.BatchNorm2d,
}


class _Block(nn.Sequential):
    """Two 3 x 3 convolutions, each normalised."""

    def __init__(self, given: int, made: int, norm: Norm) -> None:
        super().__init__(
            nn.Conv2d(given, made, 3, padding=1, bias=False),
            _NORMS[norm](made),
            nn.ReLU(inplace=True),
            nn.Conv2d(made, made, 3, padding=1, bias=False),
            _NORMS[norm](made),
            nn.ReLU(inplace=True),
        )


class UNetBody(nn.Module):
    """The U-Net of Ronneberger et al. (2015): (B, C, H, W) to (B, width, H, W).

    Any height and width: the image is padded to a multiple of 2 ** levels and cut again.
    """

    def __init__(self, channels: int, width: int, levels: int, norm: Norm = "group") -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels + 1)]
        self.levels = levels
        self.stem = nn.Conv2d(channels, width, 1)
        self.down = nn.ModuleList(
            _Block(widths[max(level - 1, 0)], widths[level], norm) for level in range(levels + 1)
        )
        self.up = nn.ModuleList(
            _Block(widths[level + 1] + widths[level], widths[level], norm)
            for level in reversed(range(levels))
        )

    @property
    def radius(self) -> int:
        """Pixels that a prediction depends on, each way: 2 a block at each level, down and up."""
        # 6 * 2**L - 4 for the convolutions, 2**L - 1 for where a pixel lies in a pooled cell.
        return int(7 * 2**self.levels - 5)

    def forward(self, pixels: Tensor) -> Tensor:
        rows, cols = pixels.shape[-2:]
        multiple = 2**self.levels
        pixels = F.pad(pixels, (0, -cols % multiple, 0, -rows % multiple), mode="replicate")
        state = self.stem(pixels)
        kept = []
        for level, block in enumerate(self.down):
            state = block(state)
            if level < self.levels:
                kept.append(state)
                state = F.max_pool2d(state, 2)
        for block, beside in zip(self.up, reversed(kept), strict=True):
            state = F.interpolate(state, scale_factor=2, mode="nearest")
            state = block(torch.cat([state, beside], dim=1))
        cut: Tensor = state[..., :rows, :cols]
        return cut


class UNet(Encoder):
    """All dates and bands of all layers side by side, under a U-Net."""

    name = "unet"

    def __init__(
        self,
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        width: int,
        levels: int,
        norm: Norm = "group",
    ) -> None:
        super().__init__(layers, statistics)
        self.width, self.levels, self.norm = width, levels, norm
        # A mask channel a date tells a missing observation from an average one.
        given = sum(len(layer.dates) * (len(layer.bands) + 1) for layer in layers)
        self.body = UNetBody(given, width, levels, norm)

    @property
    def radius(self) -> int:
        # Bilinear resampling looks at one more pixel of the coarsest layer.
        coarsest = max(layer.factor for layer in self.layers)
        return self.body.radius + (coarsest if coarsest > 1 else 0)

    @property
    def alignment(self) -> int:
        return int(2**self.levels)

    @property
    def is_local(self) -> bool:
        return self.norm == "batch"

    @property
    def channels(self) -> int:
        return self.width

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """Each two convolutions: on the way down, then on the way up."""
        return (*self.body.down, *self.body.up)

    def config(self) -> dict[str, Any]:
        return {"width": self.width, "levels": self.levels, "norm": self.norm}

    def forward(self, batch: Batch) -> Features:
        shape, seen = base_shape(self.layers, batch), seen_in(self.layers, batch)
        planes = []
        for pixels, valid in _planes(self, batch, shape):
            joined = torch.cat([pixels, valid[:, :, None].to(pixels.dtype)], dim=2)
            planes.append(joined.flatten(1, 2))
        # Float as all features are, also where autocast has the network work in bfloat16.
        return Features(self.body(torch.cat(planes, dim=1)).float(), seen)


def _planes(encoder: Encoder, batch: Batch, shape: Shape2d) -> Iterator[tuple[Tensor, Tensor]]:
    """Each layer on the base grid: normalised (B, T, C, H, W), and its mask (B, T, H, W)."""
    for spec in encoder.layers:
        layer = batch.layers[spec.key]
        pixels = on_base_grid(encoder.normalised(spec, layer), shape)
        yield pixels, mask_on_base_grid(layer.valid, shape)
