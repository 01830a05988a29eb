"""Architectures of TorchGeo behind the contract of encoders (Stewart et al. 2022).

Weights are random from torch's seed, or those that a saved model has. Each adapter states what it
takes, and refuses the rest.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from earthloom.encoders.base import Encoder, Features, Level, Statistics, base_shape, seen_in
from earthloom.encoders.planes import bands_of, cells_of, padded, share_in_cells
from earthloom.errors import ContractError, choices
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch

if TYPE_CHECKING:
    from torchgeo.models import DOFA

_PATCH = 16
_GRID = 14
"""Patches along the side of the images that DOFA was published for."""
_TAPS = 4
_RADAR_UM: Mapping[str, float] = dict.fromkeys(
    ("sentinel-1-grd", "sentinel-1-grd-db", "sentinel-1-rtc"), 5.405
)
"""What DOFA was given in the place of a radar's wavelength, by sensor: its frequency in GHz."""


@final
class Dofa(Encoder):
    """DOFA (Xiong et al. 2024): a transformer whose first layer follows from the wavelengths.

    Bands: any, in any order, of one date; optical ones by their wavelength, and Sentinel-1. Units:
    as the layer has them. Statistics: each band by its own mean and spread of the training pixels;
    what was not seen is 0, and adds nothing to its patch. `Features.pixels` are the tokens after
    the last block, `Features.pyramid` those after four of the blocks.
    """

    name = "dofa"

    def __init__(
        self,
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
    ) -> None:
        """`width`, `depth` and `heads` of the transformer: 384, 12 and 6 are the published small
        one, 768, 12 and 12 the base. ContractError for several dates, or bands without a
        wavelength."""
        super().__init__(layers, statistics)
        one_date(self.name, layers)
        self._microns = [nm for layer in layers for nm in _microns(layer)]
        self.width, self.depth, self.heads = width, depth, heads
        self.net = _dofa(width, depth, heads)
        self._taps = sorted({-(-depth * (tap + 1) // _TAPS) - 1 for tap in range(_TAPS)})

    @property
    def radius(self) -> int:
        return 2 * _PATCH

    @property
    def stride(self) -> int:
        return _PATCH

    @property
    def alignment(self) -> int:
        return math.lcm(_PATCH, *(layer.factor for layer in self.layers))

    @property
    def is_local(self) -> bool:
        return False

    @property
    def channels(self) -> int:
        return self.width

    @property
    def pyramid(self) -> tuple[Level, ...]:
        return (Level(self.width, _PATCH),) * len(self._taps)

    def config(self) -> dict[str, Any]:
        return {"width": self.width, "depth": self.depth, "heads": self.heads}

    def forward(self, batch: Batch) -> Features:
        shape, seen = base_shape(self.layers, batch), seen_in(self.layers, batch)
        image = padded(torch.cat([each[:, 0] for each in bands_of(self, batch)], dim=1), _PATCH)
        rows, cols = image.shape[-2] // _PATCH, image.shape[-1] // _PATCH
        state = self._embedded(image, rows, cols)
        levels = []
        for at, block in enumerate(self.net.blocks):
            state = block(state)
            if at in self._taps:
                tokens = self.net.fc_norm(state[:, 1:]).float()
                levels.append(tokens.mT.reshape(tokens.shape[0], -1, rows, cols))
        inside = cells_of(shape.rows, shape.cols, _PATCH)
        return Features(
            levels[-1][..., : inside.rows, : inside.cols],
            share_in_cells(seen, _PATCH) > 0,
            tuple(levels),
            stride=_PATCH,
            shape=shape,
        )

    def _embedded(self, image: Tensor, rows: int, cols: int) -> Tensor:
        """(B, 1 + rows cols, F): tokens with their places, that of the whole image first."""
        from timm.layers.pos_embed import resample_abs_pos_embed

        microns = torch.tensor(self._microns, dtype=torch.float32, device=image.device)
        tokens, _ = self.net.patch_embed(image, microns)
        places = resample_abs_pos_embed(
            self.net.pos_embed, [rows, cols], [_GRID, _GRID], num_prefix_tokens=1
        )
        whole = self.net.cls_token.expand(image.shape[0], -1, -1)
        embedded: Tensor = torch.cat([whole, tokens], dim=1) + places
        return embedded


def _dofa(width: int, depth: int, heads: int) -> DOFA:
    from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
    from torchgeo.models import DOFA

    net = DOFA(
        img_size=_GRID * _PATCH,
        patch_size=_PATCH,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        num_classes=0,
    )
    # TorchGeo leaves the fixed places at 0, as its weights bring them.
    with torch.no_grad():
        net.pos_embed[0, 1:] = build_sincos2d_pos_embed([_GRID, _GRID], width)
    return net


def one_date(name: str, layers: tuple[LayerSpec, ...]) -> None:
    """ContractError if a layer has several dates."""
    for layer in layers:
        if len(layer.dates) != 1:
            raise ContractError(
                f"{name} takes one date; layer {layer.key} has {len(layer.dates)}; "
                "choose dates mean, max or attention, which show it one after the other"
            )


def _microns(layer: LayerSpec) -> list[float]:
    """The wavelength of every band in micrometres, or what DOFA takes in its place."""
    if layer.sensor in _RADAR_UM:
        return [_RADAR_UM[layer.sensor]] * len(layer.bands)
    unknown = [
        band for band, nm in zip(layer.bands, layer.wavelengths_nm, strict=True) if nm is None
    ]
    if unknown:
        raise ContractError(
            f"dofa tells bands by their wavelength, and layer {layer.key} has none for "
            f"{choices(unknown)}; valid are optical bands, and the sensors {choices(_RADAR_UM)}"
        )
    return [nm / 1000 for nm in layer.wavelengths_nm if nm is not None]
