"""Architectures of TorchGeo behind the contract of encoders (Stewart et al. 2022).

Weights are random from torch's seed, or those that a saved model has, or those of a published file.
Each adapter states what it takes, and refuses the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from earthloom.encoders.base import Features, Statistics
from earthloom.encoders.plain import CELL, Plain
from earthloom.encoders.planes import bands_of
from earthloom.encoders.published import Layout, one_date
from earthloom.errors import ContractError, choices
from earthloom.sample import LayerSpec, Shape2d
from earthloom.sample.batch import Batch

if TYPE_CHECKING:
    from torchgeo.models import DOFA

GRID = 14
"""Patches along the side of the images that DOFA and Copernicus-FM were published for."""
_RADAR_UM: Mapping[str, float] = dict.fromkeys(
    ("sentinel-1-grd", "sentinel-1-grd-db", "sentinel-1-rtc"), 5.405
)
"""What DOFA was given in the place of a radar's wavelength, by sensor: its frequency in GHz."""


@final
class Dofa(Plain):
    """DOFA (Xiong et al. 2024): a transformer whose first layer follows from the wavelengths.

    Bands: any, in any order, of one date; optical ones by their wavelength, and Sentinel-1. Units:
    as the layer has them. Statistics: each band by its own mean and spread of the training pixels;
    what was not seen is 0, and adds nothing to its patch. `Features.pixels` are the tokens after
    the last block, `Features.pyramid` those after four of the blocks.
    """

    name = "dofa"
    layout = Layout("", ("head.",), ("fc_norm.",))

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

    def config(self) -> dict[str, Any]:
        return {"width": self.width, "depth": self.depth, "heads": self.heads}

    def read_weights(self, file: Path) -> None:
        """Takes TorchGeo's file of this size; what it has of the decoder is passed over. DataError
        if a weight is missing, unexpected or of another shape."""
        self._take(self._state(file), file)

    def forward(self, batch: Batch) -> Features:
        image, cells = self._for_net(flat_bands(self, batch))
        levels, _ = self._through(self._embedded(image, cells), self.net.fc_norm, cells)
        return self._features(batch, levels, None)

    def _embedded(self, image: Tensor, cells: Shape2d) -> Tensor:
        """(B, 1 + rows cols, F): tokens with their places, that of the whole image first."""
        microns = torch.tensor(self._microns, dtype=torch.float32, device=image.device)
        tokens, _ = self.net.patch_embed(image, microns)
        whole = self.net.cls_token.expand(image.shape[0], -1, -1)
        return torch.cat([whole, tokens], dim=1) + places_on(self.net.pos_embed, cells, GRID)


def flat_bands(encoder: Plain, batch: Batch) -> Tensor:
    """(B, C, H, W): the bands of all layers, which have one date, see `bands_of`."""
    return torch.cat([each[:, 0] for each in bands_of(encoder, batch)], dim=1)


def places_on(embedding: Tensor, cells: Shape2d, side: int) -> Tensor:
    """(1, 1 + rows cols, F) of embeddings (1, 1 + side side, F) of places on a square."""
    from timm.layers.pos_embed import resample_abs_pos_embed

    places: Tensor = resample_abs_pos_embed(
        embedding, list(cells), [side, side], num_prefix_tokens=1
    )
    return places


def _dofa(width: int, depth: int, heads: int) -> DOFA:
    from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
    from torchgeo.models import DOFA

    net = DOFA(
        img_size=GRID * CELL,
        patch_size=CELL,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        num_classes=0,
    )
    # TorchGeo leaves the fixed places at 0, as its weights bring them.
    with torch.no_grad():
        net.pos_embed[0, 1:] = build_sincos2d_pos_embed([GRID, GRID], width)
    return net


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
