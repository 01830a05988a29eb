"""Decoders: the pyramid of an encoder to dense features.

The decoders themselves are those of segmentation_models_pytorch (Iakubovskii 2019); what is here
makes the images of any pyramid fit them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earthloom.encoders.base import Level
from earthloom.encoders.planes import resampled
from earthloom.encoders.unet import Norm
from earthloom.errors import ContractError, choices

_COARSEST = 32
"""Pixels of the base grid that a decoder's coarsest image is made of; windows are padded to it."""


class Decoder(nn.Module, ABC):
    """Images of several strides to one."""

    stride: int
    """Pixels of the base grid that one of its own pixels stands for."""
    channels: int
    """Features F that it gives."""

    @abstractmethod
    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        """(B, F_i, h_i, w_i) of each `Level`, all of the same window, to (B, F, h, w), which covers
        that window, and perhaps more at the right and the bottom."""


@final
class Hypercolumn(Decoder):
    """All levels side by side at a fine stride (Hariharan et al. 2015); nothing is learned."""

    def __init__(self, levels: Sequence[Level], stride: int = 4) -> None:
        super().__init__()
        self._strides = [level.stride for level in levels]
        self.stride = stride
        self.channels = sum(level.channels for level in levels)
        _check_strides(levels, stride)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        pairs = zip(levels, self._strides, strict=True)
        fine = [resampled(image, stride, self.stride) for image, stride in pairs]
        rows = max(image.shape[-2] for image in fine)
        cols = max(image.shape[-1] for image in fine)
        return torch.cat([_extended(image, rows, cols) for image in fine], dim=1)


@dataclass(frozen=True)
class Recipe:
    """How a decoder of the library is made and fed."""

    strides: tuple[int, ...]
    """Of the images that it takes, after one of the base grid itself, which has no channels."""
    stride: int
    """Of what it gives."""
    width: int
    """Its width where none is asked for."""
    make: Callable[[list[int], int], nn.Module]
    """From the channels of each image, that of the base grid first, and the width."""
    deepest: bool = False
    """Whether its last image is the pyramid's last level, whatever its stride."""


@final
class LibraryDecoder(Decoder):
    """One of the decoders of segmentation_models_pytorch over any pyramid."""

    def __init__(
        self, name: str, levels: Sequence[Level], width: int | None = None, norm: Norm = "group"
    ) -> None:
        """`width`: channels of what it gives; None for the recipe's own. `norm`: over what it
        normalises, see `earthloom.encoders.unet.Norm`. ContractError for an unknown name, or a
        pyramid whose strides and the decoder's are no multiples of each other."""
        super().__init__()
        if name not in RECIPES:
            raise ContractError(f"there is no decoder '{name}'; valid are: {choices(DECODERS)}")
        recipe = RECIPES[name]
        self.stride, self.channels = recipe.stride, width or recipe.width
        self._wanted, self._strides = recipe.strides, [level.stride for level in levels]
        self._rungs = _rungs(levels, recipe)
        _check_strides(levels, *recipe.strides)
        channels = [0] + [0 if at is None else levels[at].channels for at in self._rungs]
        self.body = recipe.make(channels, self.channels)
        if norm == "group":
            _normalise_by_groups(self.body)

    def forward(self, levels: Sequence[Tensor]) -> Tensor:
        rows = _multiple(levels[0].shape[-2] * self._strides[0])
        cols = _multiple(levels[0].shape[-1] * self._strides[0])
        images = [levels[0].new_zeros(levels[0].shape[0], 0, rows, cols)]
        for at, wanted in zip(self._rungs, self._wanted, strict=True):
            if at is None:
                images.append(images[0][..., ::wanted, ::wanted])
                continue
            stride = self._strides[at]
            whole = _extended(levels[at], rows // stride, cols // stride)
            images.append(resampled(whole, stride, wanted))
        made: Tensor = self.body(images)
        return made


def _rungs(levels: Sequence[Level], recipe: Recipe) -> list[int | None]:
    """Which level each of a decoder's images is made of; None for no image at stride 2.

    The level of the nearest stride, the deepest of those; levels that are all of one stride are
    spread over the images in their order, as in Ranftl et al. (2021).
    """
    strides = [level.stride for level in levels]
    alike = len(set(strides)) == 1
    rungs: list[int | None] = []
    coarse = [stride for stride in recipe.strides if stride > 2]
    for wanted in recipe.strides:
        if wanted == 2:
            rungs.append(strides.index(2) if 2 in strides and not alike else None)
        elif alike:
            step = coarse.index(wanted) / (len(coarse) - 1)
            rungs.append(round(step * (len(levels) - 1)))
        else:
            far = [max(stride, wanted) // min(stride, wanted) for stride in strides]
            rungs.append(max(at for at in range(len(far)) if far[at] == min(far)))
    if recipe.deepest:
        rungs[-1] = len(levels) - 1
    return rungs


def _check_strides(levels: Sequence[Level], *wanted: int) -> None:
    for level in levels:
        for stride in (*wanted, _COARSEST):
            if level.stride % stride and stride % level.stride:
                raise ContractError(
                    f"a level of stride {level.stride} does not fit a decoder's stride {stride}; "
                    "valid are multiples of each other: 1, 2, 4, 8, 16, 32"
                )


def _multiple(side: int) -> int:
    return side + -side % _COARSEST


def _extended(image: Tensor, rows: int, cols: int) -> Tensor:
    """(B, F, rows, cols): the image with its last row and column repeated."""
    more = (0, cols - image.shape[-1], 0, rows - image.shape[-2])
    return F.pad(image, more, mode="replicate") if any(more) else image


def _normalise_by_groups(module: nn.Module) -> None:
    """Puts group normalisation (Wu and He 2018) in place of batch normalisation, which needs large
    batches, and fails on an image of one pixel."""
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            # A group of few channels of a single pixel would be levelled.
            channels = child.num_features
            fits = (g for g in (8, 4, 2) if channels % g == 0 and channels // g >= 4)
            setattr(module, name, nn.GroupNorm(next(fits, 1), channels))
        else:
            _normalise_by_groups(child)


def _unet(channels: list[int], width: int) -> nn.Module:
    from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder

    widths = [width * 2**step for step in range(4, -1, -1)]
    made: nn.Module = UnetDecoder(channels, widths, n_blocks=5)
    return made


def _fpn(channels: list[int], width: int) -> nn.Module:
    from segmentation_models_pytorch.decoders.fpn.decoder import FPNDecoder

    if width % 32:
        raise ContractError(f"the width of decoder fpn is {width}; valid are multiples of 32")
    made: nn.Module = FPNDecoder(channels, pyramid_channels=2 * width, segmentation_channels=width)
    return made


def _upernet(channels: list[int], width: int) -> nn.Module:
    from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder

    made: nn.Module = UPerNetDecoder(channels, decoder_channels=width)
    return made


def _deeplab(channels: list[int], width: int) -> nn.Module:
    from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder

    # Rates of the paper for images of stride 16.
    made: nn.Module = DeepLabV3PlusDecoder(
        channels,
        encoder_depth=4,
        out_channels=width,
        atrous_rates=(6, 12, 18),
        output_stride=16,
        aspp_separable=True,
        aspp_dropout=0.1,
    )
    return made


def _segformer(channels: list[int], width: int) -> nn.Module:
    from segmentation_models_pytorch.decoders.segformer.decoder import SegformerDecoder

    made: nn.Module = SegformerDecoder(channels, segmentation_channels=width)
    return made


RECIPES: Mapping[str, Recipe] = {
    # Ronneberger et al. 2015
    "unet": Recipe((2, 4, 8, 16, 32), 1, 16, _unet),
    # Kirillov et al. 2019, after Lin et al. 2017
    "fpn": Recipe((2, 4, 8, 16, 32), 4, 128, _fpn),
    # Xiao et al. 2018
    "upernet": Recipe((2, 4, 8, 16, 32), 4, 128, _upernet),
    # Chen et al. 2018
    "deeplabv3+": Recipe((2, 4, 8, 16), 4, 128, _deeplab, deepest=True),
    # Xie et al. 2021
    "segformer": Recipe((2, 4, 8, 16, 32), 4, 128, _segformer),
}

DECODERS = ("hypercolumn", *RECIPES)
"""Names that `make_decoder` takes."""


def make_decoder(
    name: str, levels: Sequence[Level], width: int | None = None, norm: Norm = "group"
) -> Decoder:
    """A decoder over these levels; ContractError for an unknown name or an empty pyramid."""
    if not levels:
        raise ContractError(
            f"a decoder ({name}) needs an encoder with a pyramid, and this one has none; "
            "choose one of timm's, or leave the decoder out"
        )
    if name == "hypercolumn":
        return Hypercolumn(levels)
    return LibraryDecoder(name, levels, width, norm)
