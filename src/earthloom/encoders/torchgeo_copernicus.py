"""Copernicus-FM (Wang et al. 2025), as TorchGeo has it: bands by their wavelength and width."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from earthloom.encoders.base import Features, Statistics
from earthloom.encoders.loom.bands import facts_of
from earthloom.encoders.plain import CELL, Plain
from earthloom.encoders.planes import days_of
from earthloom.encoders.published import Layout, one_date
from earthloom.encoders.torchgeo import GRID, flat_bands, places_on
from earthloom.errors import ContractError
from earthloom.sample import LayerSpec, Shape2d
from earthloom.sample.batch import Batch

if TYPE_CHECKING:
    from torchgeo.models import CopernicusFM

_SENTINEL_2: Mapping[str, tuple[float, float]] = {
    "B01": (440, 20),
    "B02": (490, 65),
    "B03": (560, 35),
    "B04": (665, 30),
    "B05": (705, 15),
    "B06": (740, 15),
    "B07": (783, 20),
    "B08": (842, 115),
    "B8A": (860, 20),
    "B09": (940, 20),
    "B10": (1370, 30),
    "B11": (1610, 90),
    "B12": (2190, 180),
}
"""Wavelength and width of each band in nm, as the authors gave them to it."""
_RADAR = (50_000_000.0, 1_000_000_000.0)
"""What they gave for both bands of Sentinel-1."""
_LEAST_KM2 = 0.001
"""Area of the smallest patch that it tells from others."""


@final
class Copernicus(Plain):
    """Copernicus-FM: a transformer whose first layer follows from wavelengths and widths.

    Bands: any, in any order, of one date; optical and thermal ones by their wavelength and width,
    and radar. Units: as the layer has them. Statistics: each band by its own mean and spread of the
    training pixels; what was not seen is 0, and adds nothing to its patch. The date and the area of
    a patch are told to it, the place is not: its token for an unknown place stands there.
    `Features.pixels` are the tokens after the last block, `Features.pyramid` those after four of
    the blocks. Its second way in, by a language model's code of a variable's name, is left out.
    """

    name = "copernicus-fm"
    layout = Layout("", ("patch_embed_variable.", "head."), ("fc_norm.",))

    def __init__(
        self,
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
    ) -> None:
        """`width`, `depth` and `heads` of the transformer: 768, 12 and 12 are the published base.
        ContractError for several dates, and bands that are neither light, heat nor radar."""
        super().__init__(layers, statistics)
        one_date(self.name, layers)
        self._bands = [band for layer in layers for band in _nanometres(layer)]
        metres = min(layer.gsd / layer.factor for layer in layers) * CELL
        self._area = max(metres**2 / 1e6, _LEAST_KM2)
        self.width, self.depth, self.heads = width, depth, heads
        self.net = _copernicus(width, depth, heads)

    def config(self) -> dict[str, Any]:
        return {"width": self.width, "depth": self.depth, "heads": self.heads}

    def read_weights(self, file: Path) -> None:
        """Takes TorchGeo's file of this size; its layer for variables by name is passed over.
        DataError if a weight is missing, unexpected or of another shape."""
        self._take(self._state(file), file)

    def forward(self, batch: Batch) -> Features:
        image, cells = self._for_net(flat_bands(self, batch))
        state = self._embedded(image, cells, days_of(self.layers, batch)[:, 0])
        levels, _ = self._through(state, self.net.fc_norm, cells)
        return self._features(batch, levels, None)

    def _embedded(self, image: Tensor, cells: Shape2d, days: Tensor) -> Tensor:
        """(B, 1 + rows cols, F): tokens with their places on the image, their area and date (B,);
        that of the whole image first."""
        net = self.net
        waves, widths = torch.tensor(self._bands, device=image.device).unbind(dim=1)
        tokens = net.patch_embed_spectral(image, wavelengths=waves, bandwidths=widths)
        area = net.get_area_pos_embed(waves.new_full((1,), self._area), self.width)
        known = net.get_time_pos_embed(days.float(), self.width)
        date = torch.where((days != 0)[:, None, None], known, net.time_token)
        about = net.coord_fc(net.coord_token) + net.scale_fc(area) + net.time_fc(date)
        whole = net.cls_token.expand(image.shape[0], -1, -1)
        places = places_on(net.pos_embed, cells, GRID)
        embedded: Tensor = torch.cat([whole, tokens], dim=1) + places + about
        return embedded


def _copernicus(width: int, depth: int, heads: int) -> CopernicusFM:
    from timm.layers.pos_embed_sincos import build_sincos2d_pos_embed
    from torchgeo.models import CopernicusFM

    net = CopernicusFM(GRID * CELL, CELL, embed_dim=width, depth=depth, num_heads=heads)
    del net.patch_embed_variable
    # They stand for what is unknown; area is not, and dates seldom are.
    net.scale_token.requires_grad_(False)
    net.time_token.requires_grad_(False)
    # TorchGeo leaves the fixed places at 0, as its weights bring them.
    with torch.no_grad():
        net.coord_token.normal_(std=0.02)
        net.pos_embed[0, 1:] = build_sincos2d_pos_embed([GRID, GRID], width)
    return net


def _nanometres(layer: LayerSpec) -> list[tuple[float, float]]:
    """Wavelength and width of every band in nm."""
    if layer.sensor in ("sentinel-2-l1c", "sentinel-2-l2a"):
        return [_SENTINEL_2[band] for band in layer.bands]
    found = []
    for band, facts in zip(layer.bands, facts_of(layer), strict=True):
        if facts.kind == "radar":
            found.append(_RADAR)
        elif facts.kind in ("optical", "thermal") and facts.wavelength_nm is not None:
            nm = facts.wavelength_nm
            found.append((nm, nm * facts.relative_width))
        else:
            raise ContractError(
                f"copernicus-fm tells bands by their wavelength, and band {band} of layer "
                f"{layer.key} has none; valid are bands of light, heat and radar"
            )
    return found
