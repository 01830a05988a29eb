"""Panopticon (Waldmann et al. 2025), as TorchGeo has it: attention over any bands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor, nn

from earthloom.encoders.base import Features, Statistics
from earthloom.encoders.loom.bands import facts_of
from earthloom.encoders.plain import Plain
from earthloom.encoders.published import Layout, one_date
from earthloom.encoders.torchgeo import flat_bands, places_on
from earthloom.errors import ContractError, choices
from earthloom.sample import LayerSpec, Shape2d
from earthloom.sample.batch import Batch

_PATCH = 14
_GRID = 16
"""Patches along the side of the images that it is made for here."""
_RADAR: Mapping[str, float] = {"VV": -1.0, "VH": -2.0, "HH": -3.0, "HV": -4.0}
"""Its numbers of a radar's bands, by polarisation, of an orbit that is not known; from the order of
its embeddings in TorchGeo."""
_BAND_HEADS = 16


@final
class Panopticon(Plain):
    """Panopticon: each band is cut into patches by itself, and a patch attends to its bands.

    Bands: any, in any order, of one date; optical and thermal ones by their wavelength, radar by
    its polarisation. Units: as the layer has them. Statistics: each band by its own mean and spread
    of the training pixels. A band that a chip lacks, or of which nothing was seen, is left out of
    the attention; elsewhere what was not seen is 0, the mean. Its patches of 14 pixels are made to
    stand for 16, see `Plain`. `Features.pixels` are the tokens after the last block,
    `Features.pyramid` those after four of the blocks, `Features.vector` is the token of the whole.
    """

    name = "panopticon"
    patch = _PATCH
    layout = Layout("", ("mask_token", "head."))

    def __init__(
        self,
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        width: int = 768,
        depth: int = 12,
        heads: int = 12,
        band_width: int = 2304,
    ) -> None:
        """`width`, `depth` and `heads` of the transformer, and `band_width` of the attention over
        bands, a multiple of 16: 768, 12, 12 and 2304 are the published base. ContractError for
        several dates, and bands without a wavelength or a polarisation."""
        super().__init__(layers, statistics)
        one_date(self.name, layers)
        if band_width % _BAND_HEADS:
            raise ContractError(
                f"panopticon's band_width is {band_width}; valid are multiples of {_BAND_HEADS}"
            )
        self._numbers = [number for layer in layers for number in _numbers(layer)]
        self.width, self.depth, self.heads, self.band_width = width, depth, heads, band_width
        self.net = _panopticon(width, depth, heads, band_width)

    def config(self) -> dict[str, Any]:
        return {
            "width": self.width,
            "depth": self.depth,
            "heads": self.heads,
            "band_width": self.band_width,
        }

    def read_weights(self, file: Path) -> None:
        """Takes the published file; its places, of images of another size, are interpolated.
        DataError if a weight is missing, unexpected or of another shape."""
        given = self._state(file)
        places = given.get("pos_embed")
        if places is not None and places.ndim == 3:
            side = round((places.shape[1] - 1) ** 0.5)
            given = given | {"pos_embed": places_on(places, Shape2d(_GRID, _GRID), side)}
        self._take(given, file)

    def forward(self, batch: Batch) -> Features:
        image, cells = self._for_net(flat_bands(self, batch))
        net = self.net
        numbers = torch.tensor(self._numbers, device=image.device).expand(len(image), -1)
        # What numbers bands writes into them.
        given = {"imgs": image, "chn_ids": numbers.clone(), "spec_masks": self._lacking(batch)}
        tokens = net.patch_embed(given)
        whole = net.cls_token.expand(len(image), -1, -1)
        state = torch.cat([whole, tokens], dim=1) + places_on(net.pos_embed, cells, _GRID)
        levels, state = self._through(state, net.norm, cells)
        return self._features(batch, levels, net.norm(state)[:, 0].float())

    def _lacking(self, batch: Batch) -> Tensor:
        """(B, C) bool: bands that are not attended to; none of them where a chip has nothing."""
        known = []
        for spec in self.layers:
            layer = batch.layers[spec.key]
            seen = layer.valid.flatten(1).any(dim=1)[:, None].expand(-1, len(spec.bands))
            known.append(seen if layer.measured is None else seen & layer.measured)
        lacking = ~torch.cat(known, dim=1)
        return lacking & ~lacking.all(dim=1, keepdim=True)


def _panopticon(width: int, depth: int, heads: int, band_width: int) -> Any:
    """A transformer of timm, as DINOv2 has it, under the first layers of Panopticon."""
    from timm.models.vision_transformer import VisionTransformer
    from torchgeo.models.panopticon import PanopticonPE

    net = VisionTransformer(
        img_size=_GRID * _PATCH,
        patch_size=_PATCH,
        embed_dim=width,
        depth=depth,
        num_heads=heads,
        init_values=1e-5,
        num_classes=0,
    )
    embed: nn.Module = PanopticonPE(
        band_width,
        width,
        _PATCH,
        {"attn_cfg": {"num_heads": _BAND_HEADS}},
        _GRID * _PATCH,
    )
    net.patch_embed = embed
    return net


def _numbers(layer: LayerSpec) -> list[float]:
    """The wavelength of every band in nm, or the number of a radar's polarisation."""
    found = []
    for band, facts in zip(layer.bands, facts_of(layer), strict=True):
        number = facts.wavelength_nm if facts.kind in ("optical", "thermal") else None
        if facts.kind == "radar":
            number = _RADAR.get(facts.polarisation or "")
        if number is None:
            raise ContractError(
                f"panopticon tells bands by their wavelength, or by the polarisations "
                f"{choices(_RADAR)}, and band {band} of layer {layer.key} has neither"
            )
        found.append(number)
    return found
