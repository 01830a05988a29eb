"""CROMA (Fuller et al. 2023), as TorchGeo has it: radar, optical, or both."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from earthloom.encoders.base import Encoder, Features, Level, Statistics, base_shape, seen_in
from earthloom.encoders.planes import bands_of, cells_of, padded, present_in, share_in_cells
from earthloom.encoders.published import Layout, load_published, one_date, read_state
from earthloom.errors import ContractError, choices
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch

_PATCH = 8
_HEADS = 16
_BANDS: Mapping[str, tuple[str, ...]] = {
    "optical": ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"),
    "sar": ("vv", "vh"),
}
"""What CROMA takes, in its order."""
_PARTS = ("s1_encoder", "s1_GAP_FFN", "s2_encoder", "s2_GAP_FFN", "joint_encoder")
"""Of the published file."""
_SENSORS: Mapping[str, str] = {
    "sentinel-2-l1c": "optical",
    "sentinel-2-l2a": "optical",
    "sentinel-1-rtc": "sar",
    "sentinel-1-grd-db": "sar",
}
_UNITS: Mapping[str, str] = {"optical": "1", "sar": "linear power"}


@final
class Croma(Encoder):
    """CROMA (Fuller et al. 2023): a transformer for each of radar and optical, and one for both.

    Bands: the twelve of Sentinel-2 without cirrus, the two of Sentinel-1, or both, of one date, in
    any number of layers; they are put in CROMA's order. Units: reflectance, and linear power, which
    becomes decibels. Statistics: two standard deviations around the mean of the training pixels
    become 0 to 1, and what is beyond is cut, as in the paper. `Features.pixels` are the tokens of
    both; a chip that lacks a sensor has those of the other's own transformer. `Features.vector`
    are the vectors of each sensor, 0 where it is missing.
    """

    name = "croma"

    def __init__(
        self,
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        width: int = 768,
        depth: int = 12,
    ) -> None:
        """`width`, a multiple of 16, and `depth` of the transformers: 768 and 12 are the published
        base. ContractError for bands that CROMA does not take, or lacks."""
        from torchgeo.models import CROMA

        super().__init__(layers, statistics)
        one_date(self.name, layers)
        self._parts = {kind: of for kind in _BANDS if (of := _positions(layers, kind))}
        if not self._parts:
            raise ContractError(
                f"croma takes none of the layers {choices(layer.key for layer in layers)}; "
                f"valid are those of {choices(_SENSORS)}"
            )
        if width % _HEADS or depth % 2:
            raise ContractError(
                f"croma's width is {width} and its depth {depth}; valid are multiples of "
                f"{_HEADS}, and even numbers"
            )
        self.width, self.depth = width, depth
        # The places of tokens are made for every window anew.
        net = CROMA(tuple(self._parts), width, depth, _HEADS, image_size=_PATCH)
        del net.attn_bias
        self.net = net

    @property
    def radius(self) -> int:
        return 4 * _PATCH

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
        return (Level(self.width, _PATCH),)

    @property
    def scene_channels(self) -> int:
        return self.width * len(self._parts)

    def config(self) -> dict[str, Any]:
        return {"width": self.width, "depth": self.depth}

    def read_weights(self, file: Path) -> None:
        """Takes the published file of this size; what it has for a sensor that the layers lack is
        passed over. DataError if a weight is missing, unexpected or of another shape."""
        own = {name.split(".")[0] for name in self.net.state_dict()}
        layout = Layout("", tuple(f"{part}." for part in _PARTS if part not in own))
        load_published(self.net, read_state(file), layout, file)

    def forward(self, batch: Batch) -> Features:
        shape, seen = base_shape(self.layers, batch), seen_in(self.layers, batch)
        bands = torch.cat([each[:, 0] for each in bands_of(self, batch)], dim=1)
        image = padded((bands / 4 + 0.5).clamp(0, 1), _PATCH)
        rows, cols = image.shape[-2] // _PATCH, image.shape[-1] // _PATCH
        bias = places_of(rows, cols).to(image)
        tokens, vectors, present = [], [], []
        for kind, positions in self._parts.items():
            encode, pool = self._networks(kind)
            tokens.append(encode(image[:, list(positions)], bias))
            there = present_in(batch, [e for e in self.layers if _SENSORS[e.sensor] == kind])
            vectors.append(torch.where(there[:, None], pool(tokens[-1].mean(dim=1)), 0.0))
            present.append(there)
        made = tokens[0] if len(tokens) == 1 else self._both(tokens, present, bias)
        level = made.float().mT.reshape(made.shape[0], -1, rows, cols)
        inside = cells_of(shape.rows, shape.cols, _PATCH)
        return Features(
            level[..., : inside.rows, : inside.cols],
            share_in_cells(seen, _PATCH) > 0,
            (level,),
            torch.cat(vectors, dim=1).float(),
            _PATCH,
            shape,
        )

    def _networks(self, kind: str) -> tuple[Any, Any]:
        """The transformer of a kind of images, and what makes a vector of its mean."""
        if kind == "sar":
            return self.net.s1_encoder, self.net.s1_GAP_FFN
        return self.net.s2_encoder, self.net.s2_GAP_FFN

    def _both(self, tokens: list[Tensor], present: list[Tensor], bias: Tensor) -> Tensor:
        """(B, N, F) of optical and radar together, or of the one that a chip has."""
        optical, radar = tokens
        has_optical, has_radar = (each[:, None, None] for each in present)
        joint: Tensor = self.net.joint_encoder(
            x=radar, context=optical, relative_position_bias=bias
        )
        alone = torch.where(has_optical, optical, radar)
        return torch.where(has_optical & has_radar, joint, alone)


def places_of(rows: int, cols: int) -> Tensor:
    """(1, G, N, N): the farther two tokens are, the less they attend to each other (ALiBi in two
    dimensions); G heads with slopes of their own, N = rows cols."""
    row, col = torch.meshgrid(torch.arange(rows), torch.arange(cols), indexing="ij")
    at = torch.stack([row.flatten(), col.flatten()], dim=-1).float()
    slopes = 2.0 ** (-8 * (torch.arange(_HEADS) + 1) / _HEADS)
    far = torch.linalg.vector_norm(at[:, None] - at, dim=-1)
    places: Tensor = -(slopes[:, None, None] * far)[None]
    return places


def _positions(layers: tuple[LayerSpec, ...], kind: str) -> tuple[int, ...]:
    """Where CROMA's bands of a kind lie among those of all layers; none without such a layer."""
    places: dict[str, int] = {}
    at = 0
    for layer in layers:
        if layer.sensor not in _SENSORS:
            raise ContractError(
                f"croma does not take layer {layer.key}; valid are those of {choices(_SENSORS)}"
            )
        if _SENSORS[layer.sensor] == kind:
            if layer.unit != _UNITS[kind]:
                raise ContractError(
                    f"croma takes {kind} bands in the unit {_UNITS[kind]}, but layer {layer.key} "
                    f"has {layer.unit}"
                )
            names = (band.lower() if kind == "sar" else band for band in layer.bands)
            places |= {name: at + number for number, name in enumerate(names)}
        at += len(layer.bands)
    if places and set(places) != set(_BANDS[kind]):
        raise ContractError(
            f"croma takes the {kind} bands {choices(_BANDS[kind])}, but got {choices(places)}"
        )
    return tuple(places[name] for name in _BANDS[kind]) if places else ()
