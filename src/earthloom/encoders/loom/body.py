"""What the surroundings of a pixel say: a U-shaped network with most of its weights at coarse
strides.

Images are (B, H, W, C): normalisation and products over channels then work on neighbours in memory.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Stage:
    """The blocks of one resolution."""

    width: int
    """Channels."""
    blocks: int
    kernel: int = 3
    """Side of the depthwise filters, odd."""


class Block(nn.Module):
    """A depthwise filter and a network over channels, added (ConvNeXt: Liu et al. 2022)."""

    def __init__(self, width: int, kernel: int, ratio: int) -> None:
        super().__init__()
        self.filter = nn.Conv2d(width, width, kernel, padding=kernel // 2, groups=width)
        self.norm = nn.LayerNorm(width)
        self.wide = nn.Linear(width, ratio * width)
        self.narrow = nn.Linear(ratio * width, width)

    def forward(self, image: Tensor) -> Tensor:
        found = self.filter(image.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        added: Tensor = image + self.narrow(F.gelu(self.wide(self.norm(found))))
        return added


class Down(nn.Module):
    """Cells of `step` by `step` pixels to one, normalised before."""

    def __init__(self, given: int, made: int, step: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(given)
        self.step = step
        self.join = nn.Linear(given * step**2, made)

    def forward(self, image: Tensor) -> Tensor:
        joined: Tensor = self.join(cells(self.norm(image), self.step))
        return joined


class Up(nn.Module):
    """A coarse image added to a finer one, on the finer grid (Lin et al. 2017, FPN)."""

    def __init__(self, coarse: int, fine: int, made: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(fine)
        self.coarse, self.fine = nn.Linear(coarse, made), nn.Linear(fine, made)

    def forward(self, coarse: Tensor, fine: Tensor) -> Tensor:
        large = F.interpolate(self.coarse(coarse).permute(0, 3, 1, 2), scale_factor=2.0)
        rows, cols = fine.shape[1:3]
        inside = large.permute(0, 2, 3, 1)[:, :rows, :cols]
        added: Tensor = inside + self.fine(self.norm(fine))
        return added


def cells(image: Tensor, step: int) -> Tensor:
    """(B, H, W, C) to (B, ceil(H / step), ceil(W / step), step * step * C); 0 beyond the edge."""
    beyond = (0, 0, 0, -image.shape[2] % step, 0, -image.shape[1] % step)
    image = F.pad(image, beyond) if any(beyond) else image
    count, rows, cols, width = image.shape
    parts = image.reshape(count, rows // step, step, cols // step, step, width)
    return parts.transpose(2, 3).flatten(3)


class Body(nn.Module):
    """From pixels at stride 1 to the stages of the way down, and one image at the first stride."""

    def __init__(
        self, given: int, stages: Sequence[Stage], first: int, ratio: int, made: int
    ) -> None:
        """`given`: channels of the pixels. `first`: stride of the first stage; each further one has
        twice that. `made`: channels of the way up."""
        super().__init__()
        self.first = first
        widths = [stage.width for stage in stages]
        self.patches = nn.Conv2d(given, widths[0], first, stride=first)
        self.down = nn.ModuleList(Down(fine, coarse, 2) for fine, coarse in pairwise(widths))
        self.stages = nn.ModuleList(
            nn.Sequential(*(Block(each.width, each.kernel, ratio) for _ in range(each.blocks)))
            for each in stages
        )
        coarse = [made] * (len(widths) - 2) + [widths[-1]]
        self.up = nn.ModuleList(
            Up(above, width, made) for above, width in zip(coarse, widths[:-1], strict=True)
        )

    def weight(self, mixing: Tensor | None) -> Tensor:
        """(C_0, C, first, first) that `patched` filters pixels (B, C, H, W) with.

        With `mixing` (given, C), the pixels are what multiplied with it gives the `given` channels.
        """
        weight = self.patches.weight
        if mixing is None:
            return weight
        return torch.einsum("ogij,gc->ocij", weight, mixing)

    def patched(self, pixels: Tensor, weight: Tensor) -> Tensor:
        """(B, h, w, C_0) of pixels (B, H, W, C), each cell by itself; 0 beyond the edge."""
        rows, cols = pixels.shape[1:3]
        beyond = (0, 0, 0, -cols % self.first, 0, -rows % self.first)
        whole = F.pad(pixels, beyond) if any(beyond) else pixels
        image = whole.permute(0, 3, 1, 2)
        return F.conv2d(image, weight, self.patches.bias, stride=self.first).permute(0, 2, 3, 1)

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Stages (B, h, w, C_i), finest first, and (B, h_1, w_1, made), of what `patched` gave."""
        found = []
        for number, stage in enumerate(self.stages):
            image = stage(image if number == 0 else self.down[number - 1](image))
            found.append(image)
        for up, fine in zip(reversed(self.up), reversed(found[:-1]), strict=True):
            image = up(image, fine)
        return found, image


def reach_of(stages: Sequence[Stage], first: int) -> int:
    """Pixels that the body looks beyond a pixel, each way, enlargement to pixels included."""
    reach = first
    for number, stage in enumerate(stages):
        reach += first * 2**number * stage.blocks * (stage.kernel // 2)
    # A pixel may lie at the far end of its coarsest cell.
    return int(reach + first * 2 ** (len(stages) - 1) - 1)


class Head(nn.Module):
    """What pixels say and what their surroundings say, to features of the pixels."""

    def __init__(self, given: int, coarse: int, hidden: int, made: int) -> None:
        super().__init__()
        self.fine = nn.Linear(given, hidden, bias=False)
        self.coarse = nn.Linear(coarse, hidden)
        self.last = nn.Linear(hidden, made, bias=False)
        self.straight = nn.Linear(given, made, bias=False)

    def weights(self, mixing: Tensor | None) -> tuple[Tensor, Tensor]:
        """(hidden, C) and (made, C) that pixels are multiplied with; `mixing` as for `Body`."""
        fine, straight = self.fine.weight, self.straight.weight
        return (fine, straight) if mixing is None else (fine @ mixing, straight @ mixing)

    def forward(self, pixels: Tensor, around: Tensor, weights: tuple[Tensor, Tensor]) -> Tensor:
        """(B, N, made) of pixels (B, N, C) and their surroundings (B, N, hidden).

        The surroundings are lost where no gradients are recorded.
        """
        if pixels.shape[1] == 1 < len(pixels):
            # Many samples of a pixel are as one of many pixels, and one product for all.
            made = self.forward(pixels.transpose(0, 1), around.transpose(0, 1), weights)
            return made.transpose(0, 1)
        fine, straight, last = (
            each.to(pixels.dtype).T.expand(len(pixels), -1, -1)
            for each in (*weights, self.last.weight)
        )
        around = around.to(pixels.dtype)
        place = None if torch.is_grad_enabled() else around
        met = torch.baddbmm(around, pixels, fine, out=place).relu_()
        return torch.bmm(met, last).baddbmm_(pixels, straight)

    @torch.no_grad()
    def turn(self, matrix: Tensor) -> None:
        """Multiplies the features with a matrix (made, made)."""
        for layer in (self.last, self.straight):
            layer.weight.copy_((matrix @ layer.weight.double()).to(layer.weight.dtype))
