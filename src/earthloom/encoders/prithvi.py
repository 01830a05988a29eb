"""Prithvi-EO-2.0 (Szwarcman et al. 2024), in the layout of its published files.

A masked autoencoder over patches in space and time, of which the encoder is kept. Own code on the
blocks of timm: its own library is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from earthloom.encoders.base import Features, Statistics
from earthloom.encoders.compose import moves
from earthloom.encoders.plain import CELL, Plain, as_image
from earthloom.encoders.planes import days_of, share_in_cells
from earthloom.encoders.published import (
    Layout,
    Taken,
    ordered,
    published_image,
    seen_each_date,
)
from earthloom.errors import ContractError, choices
from earthloom.sample import LayerSpec, Place, Shape2d
from earthloom.sample.batch import Batch

_MEAN = (1087.0, 1342.0, 1433.0, 2734.0, 1958.0, 1363.0)
_STD = (2248.0, 2179.0, 2178.0, 1850.0, 1242.0, 1049.0)
"""Of blue, green, red, narrow near infrared and two shortwave infrared bands, as published: of
reflectance times 10000."""
_BANDS: Mapping[str, tuple[str, ...]] = {
    "hls-s30": ("B02", "B03", "B04", "B8A", "B11", "B12"),
    "hls-l30": ("B02", "B03", "B04", "B05", "B06", "B07"),
    "sentinel-2-l2a": ("B02", "B03", "B04", "B8A", "B11", "B12"),
    "landsat-oli-c2-l2": ("blue", "green", "red", "nir08", "swir16", "swir22"),
}
"""It was trained on the first two; the others are the same bands before harmonisation."""
_TAKEN: Mapping[str, Taken] = {
    sensor: Taken(bands, "1", tuple(e / 1e4 for e in _MEAN), tuple(e / 1e4 for e in _STD))
    for sensor, bands in _BANDS.items()
}
_IMAGE = 224
"""Pixels along the side of the images that it was published for."""

SIZES: Mapping[str, Mapping[str, int | bool]] = {
    "300M": {"width": 1024, "depth": 24, "heads": 16, "patch": 16},
    "600M": {"width": 1280, "depth": 32, "heads": 16, "patch": 14},
    "300M-TL": {"width": 1024, "depth": 24, "heads": 16, "patch": 16, "dated": True},
    "600M-TL": {"width": 1280, "depth": 32, "heads": 16, "patch": 14, "dated": True},
}
"""Arguments of the published ones; those with TL know times, and places if `located` as well."""


@final
class Prithvi(Plain):
    """Prithvi-EO-2.0: a transformer over patches of six bands on several dates.

    Bands: blue, green, red, narrow near infrared, and two shortwave infrared ones of one sensor
    (HLS, Sentinel-2, Landsat 8 and 9), in any number of layers; they are put in this order. Unit:
    reflectance. Statistics: the published ones, not those of the training pixels. Dates: any
    number, the same in all layers. A patch of which nothing was seen on a date is no token, as in
    its training, where most patches were left out. `Features.pixels` are the tokens after the last
    block, averaged over dates by what was seen of them; `Features.pyramid` those after four of the
    blocks; `Features.vector` is the token of the whole.
    """

    name = "prithvi"
    layout = Layout(
        "encoder.",
        ("decoder.", "pos_embed", "location_embed_dec", "temporal_embed_dec", "mask_token"),
    )

    def __init__(
        self,
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        width: int = 1024,
        depth: int = 24,
        heads: int = 16,
        patch: int = 16,
        dated: bool = False,
        located: bool = False,
    ) -> None:
        """Published are those of `SIZES`. `dated`: year and day of the year are added to tokens.
        `located`: so are the latitude and longitude of a chip's centre; a model that knows where it
        is may do well on a split for the wrong reason. ContractError for bands that it does not
        take, or lacks, for layers of different dates, and a width that is no multiple of 16."""
        super().__init__(layers, statistics)
        self._order = ordered(self.name, layers, _TAKEN)
        _same_dates(layers)
        if width % 16 or width % heads:
            raise ContractError(
                f"prithvi's width is {width}; valid are multiples of 16 and of its {heads} heads"
            )
        self.width, self.depth, self.heads, self.patch = width, depth, heads, patch
        self.dated, self.located = dated, located
        self.net = _Network(width, depth, heads, patch, dated, located)

    def config(self) -> dict[str, Any]:
        return {
            "width": self.width,
            "depth": self.depth,
            "heads": self.heads,
            "patch": self.patch,
            "dated": self.dated,
            "located": self.located,
        }

    def read_weights(self, file: Path) -> None:
        """Takes the encoder out of a published file, `.pt` or safetensors; the decoder and the
        fixed positions in it are passed over. DataError if a weight is missing, unexpected or of
        another shape. Of a TL file, an encoder without times or places leaves their weight out."""
        given = self._state(file)
        unused = [
            key
            for key, used in (
                ("temporal_embed_enc", self.dated),
                ("location_embed_enc", self.located),
            )
            if not used
        ]
        kept = {
            name: tensor
            for name, tensor in given.items()
            if not any(name.removeprefix("encoder.").startswith(key) for key in unused)
        }
        self._take(kept, file)

    def forward(self, batch: Batch) -> Features:
        image, cells = self._for_net(published_image(self, batch, self._order))
        share = share_in_cells(seen_each_date(self, batch), CELL)
        states = self.net(image.transpose(1, 2), share > 0, self._extras(batch), self.taps)
        weight = _weights(share)[:, :, None]
        levels = []
        for state in states:
            tokens = state[:, 1:].reshape(-1, cells.rows * cells.cols, self.width)
            flat = as_image(tokens, cells)
            each = flat.reshape(*image.shape[:2], *flat.shape[1:])
            levels.append((each * weight).sum(dim=1))
        return self._features(batch, levels, states[-1][:, 0].float())

    def _extras(self, batch: Batch) -> Tensor | None:
        """(B, T or 1, F) what times and places add to every token of a date; None for neither."""
        parts = []
        if self.dated:
            codes = time_codes(days_of(self.layers, batch), self.width)
            parts.append(self.net.temporal_embed_enc["scale"] * codes)
        if self.located:
            if not batch.places:
                raise ContractError("prithvi with located needs chips with their places")
            scale = self.net.location_embed_enc["scale"]
            codes = place_codes(batch.places, self.width).to(scale.device)
            parts.append(scale * codes[:, None])
        return sum(parts[1:], parts[0]) if parts else None


class _Network(nn.Module):
    """The encoder with the names of the published files."""

    def __init__(
        self, width: int, depth: int, heads: int, patch: int, dated: bool, located: bool
    ) -> None:
        from timm.models.vision_transformer import Block

        super().__init__()
        step = (1, patch, patch)
        self.side = _IMAGE // patch
        project = nn.Conv3d(len(_MEAN), width, kernel_size=step, stride=step)
        nn.init.xavier_uniform_(project.weight.flatten(1))
        self.patch_embed = nn.ModuleDict({"proj": project})
        self.cls_token = nn.Parameter(torch.randn(1, 1, width) * 0.02)
        self.blocks = nn.ModuleList(
            Block(width, heads, 4.0, qkv_bias=True, norm_layer=nn.LayerNorm) for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        # They begin small, as in its training.
        if dated:
            self.temporal_embed_enc = nn.ParameterDict({"scale": torch.full((1,), 0.1)})
        if located:
            self.location_embed_enc = nn.ParameterDict({"scale": torch.full((1,), 0.1)})

    def forward(
        self, image: Tensor, seen: Tensor, extras: Tensor | None, taps: tuple[int, ...]
    ) -> list[Tensor]:
        """Tokens (B, 1 + T h w, F) after some blocks, that of the whole first; normalised after the
        last block alone, as published.

        Of an image (B, C, T, H, W), of which `seen` (B, T, h, w) patches are tokens: nothing
        attends to the others. `extras` (B, T or 1, F) are added to the tokens of a date.
        """
        tokens = self.patch_embed["proj"](image).flatten(3).permute(0, 2, 3, 1)
        cells = Shape2d(*seen.shape[-2:])
        places = positions(seen.shape[1], cells, self.side, tokens.shape[-1]).to(tokens)
        tokens = tokens + places
        if extras is not None:
            tokens = tokens + extras[:, :, None]
        whole = self.cls_token.expand(len(image), -1, -1)
        state = torch.cat([whole, tokens.flatten(1, 2)], dim=1)
        attended = F.pad(seen.flatten(1), (1, 0), value=True)[:, None, None]
        found = []
        for at, block in enumerate(self.blocks):
            state = block(state, attn_mask=attended)
            if at in taps:
                found.append(self.norm(state) if at == len(self.blocks) - 1 else state)
        return found


def positions(times: int, cells: Shape2d, side: int, width: int) -> Tensor:
    """(T, h w, F) float32: 6/16 of the features tell of the column, 6/16 of the row, 4/16 of the
    date, by sines and cosines.

    They are those of `side` x `side` patches, bicubic between its corners for windows of another
    size, as published.
    """
    part = width // 16
    along = torch.arange(side, dtype=torch.float64)
    across = waves(along, 6 * part)
    columns = across[None].expand(side, -1, -1)
    rows = across[:, None].expand(-1, side, -1)
    grid = torch.cat([columns, rows], dim=-1).movedim(-1, 0)
    if cells != (side, side):
        size = tuple(cells)
        grid = F.interpolate(grid[None], size=size, mode="bicubic", align_corners=True)[0]
    flat = grid.flatten(1).mT.expand(times, -1, -1)
    dates = waves(torch.arange(times, dtype=torch.float64), 4 * part)
    return torch.cat([flat, dates[:, None].expand(-1, flat.shape[1], -1)], dim=-1).float()


def waves(values: Tensor, width: int) -> Tensor:
    """(..., F): sines, then cosines, of wavelengths from 2 pi to 20000 pi (Vaswani et al. 2017)."""
    rate = 10000.0 ** (-torch.arange(width // 2, dtype=torch.float64) / (width / 2))
    angle = values.double()[..., None] * rate.to(values.device)
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def time_codes(days: Tensor, width: int) -> Tensor:
    """(B, T, F) float32 of days since 1970-01-01 (B, T): half tells of the year, half of the day of
    the year, from 1 on; 0 where a chip has no date."""
    each = days.cpu().numpy().astype("datetime64[D]")
    years = each.astype("datetime64[Y]")
    day = (each - years).astype(np.int64) + 1
    halves = (
        waves(torch.from_numpy(values).to(days.device), width // 2)
        for values in (years.astype(np.int64) + 1970, day)
    )
    return torch.cat(list(halves), dim=-1).float() * (days != 0)[..., None]


def place_codes(places: tuple[Place | None, ...], width: int) -> Tensor:
    """(B, F) float32: half tells of the latitude, half of the longitude of a place's centre, in
    degrees; 0 where a chip has no place."""
    from pyproj import Transformer

    codes = []
    for place in places:
        if place is None:
            codes.append(torch.zeros(width))
            continue
        a, b, c, d, e, f = place.transform
        col, row = place.shape.cols / 2, place.shape.rows / 2
        at = (a * col + b * row + c, d * col + e * row + f)
        lon, lat = Transformer.from_crs(place.crs, "EPSG:4326", always_xy=True).transform(*at)
        codes.append(waves(torch.tensor([lat, lon]), width // 2).flatten().float())
    return torch.stack(codes)


def _weights(share: Tensor) -> Tensor:
    """(B, T, h, w) that add up to 1 over dates: by what was seen, alike where nothing was."""
    total = share.sum(dim=1, keepdim=True)
    return torch.where(total > 0, share / total.clamp_min(1e-6), 1 / share.shape[1])


def _same_dates(layers: tuple[LayerSpec, ...]) -> None:
    counts = {layer.key: len(layer.dates) for layer in layers}
    if len(set(counts.values())) != 1 or not all(moves(layer) for layer in layers):
        listed = choices(f"{key} has {count}" for key, count in counts.items())
        raise ContractError(f"prithvi takes layers of the same dates, but {listed}")
