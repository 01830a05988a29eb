"""An encoder with a pyramid and a decoder over it: dense features of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

from torch import nn

from earthloom.encoders.base import Encoder, Features, Level, Statistics, base_shape, seen_in
from earthloom.encoders.compose import build, config_of
from earthloom.encoders.decoders import make_decoder
from earthloom.encoders.planes import cells_of, resampled, share_in_cells
from earthloom.encoders.unet import Norm
from earthloom.errors import ContractError
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch


@final
class Decoded(Encoder):
    """What a decoder makes of an encoder's pyramid, on the base grid or a declared stride.

    `Features.vector` is what the inner encoder says of a whole chip, which no decoder betters.
    """

    name = "decoded"

    def __init__(
        self,
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        encoder: Mapping[str, Any],
        decoder: str = "unet",
        width: int | None = None,
        norm: Norm = "group",
        stride: int | None = 1,
    ) -> None:
        """`encoder`: name and config of one with a pyramid. `decoder`: one of
        `earthloom.encoders.decoders.DECODERS`; `width`: its features, None for its own choice.
        `norm`: over what the decoder normalises. `stride`: pixels of the base grid that a feature
        stands for, None for the decoder's own, which is cheaper. ContractError for what does not
        fit."""
        super().__init__(layers, statistics)
        self.encoder = build(encoder, layers, statistics)
        self.decoder = make_decoder(decoder, self.encoder.pyramid, width, norm)
        self._decoder, self._width, self._norm = decoder, width, norm
        own = self.decoder.stride
        self._stride = own if stride is None else stride
        if self._stride < 1 or (own % self._stride and self._stride % own):
            raise ContractError(
                f"stride {stride} does not fit decoder {decoder}, whose own is {own}; "
                "valid are its divisors and multiples"
            )
        self.needs_moments = self.encoder.needs_moments

    @property
    def radius(self) -> int:
        return self.encoder.radius + max(level.stride for level in self.pyramid)

    @property
    def stride(self) -> int:
        return self._stride

    @property
    def alignment(self) -> int:
        return math.lcm(self.encoder.alignment, self.decoder.stride, self._stride)

    @property
    def is_local(self) -> bool:
        return False

    @property
    def channels(self) -> int:
        return self.decoder.channels

    @property
    def pyramid(self) -> tuple[Level, ...]:
        return self.encoder.pyramid

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        """Those of the inner encoder, which is one where it states none, then the decoder."""
        return (*(self.encoder.blocks or (self.encoder,)), self.decoder)

    @property
    def scene_channels(self) -> int:
        return self.encoder.scene_channels

    def config(self) -> dict[str, Any]:
        return {
            "encoder": config_of(self.encoder),
            "decoder": self._decoder,
            "width": self._width,
            "norm": self._norm,
            "stride": self._stride,
        }

    def forward(self, batch: Batch) -> Features:
        shape = base_shape(self.layers, batch)
        inner = self.encoder(batch)
        made = resampled(self.decoder(inner.pyramid), self.decoder.stride, self._stride)
        rows, cols = cells_of(shape.rows, shape.cols, self._stride)
        return Features(
            made[..., :rows, :cols].float(),
            share_in_cells(seen_in(self.layers, batch), self._stride) > 0,
            inner.pyramid,
            inner.scene(),
            self._stride,
            shape,
        )
