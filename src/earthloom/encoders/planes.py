"""Layers of a chip as images side by side: what networks over images take in.

A band's values are standardised, and every date of every layer goes with a mask channel, so that a
missing observation is told from an average one.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from earthloom.encoders.base import Encoder, Features, base_shape, mask_on_base_grid, on_base_grid
from earthloom.sample import LayerSpec, Shape2d
from earthloom.sample.batch import Batch, LayerBatch

_LEAST_POWER = 1e-5
"""Backscatter below -50 dB is noise of the instrument."""
_SPREAD_DB = 5.0
"""Usual standard deviation of backscatter over land."""


def plane_channels(layers: Sequence[LayerSpec]) -> int:
    """Channels C of what `image_of` makes."""
    return sum(len(layer.dates) * (len(layer.bands) + 1) for layer in layers)


def bands_of(encoder: Encoder, batch: Batch) -> list[Tensor]:
    """Each layer (B, T, C, H, W) on the base grid in standard deviations, 0 where not valid and in
    bands that were left out."""
    shape, bands = base_shape(encoder.layers, batch), []
    for spec in encoder.layers:
        layer = batch.layers[spec.key]
        values = _standardised(encoder, spec, layer)
        if layer.measured is not None:
            values = torch.where(layer.measured[:, None, :, None, None], values, 0.0)
        bands.append(on_base_grid(values, shape))
    return bands


def _standardised(encoder: Encoder, spec: LayerSpec, layer: LayerBatch) -> Tensor:
    """(B, T, C, H, W): `Encoder.normalised`; of backscatter, whose power is skewed, the dB above
    the mean in steps of its usual spread."""
    if spec.unit != "linear power":
        return encoder.normalised(spec, layer)
    mean = encoder.mean_of(spec).clamp_min(_LEAST_POWER)
    decibels = 10 * torch.log10(layer.pixels.clamp_min(_LEAST_POWER) / mean)
    return torch.where(layer.valid[:, :, None], decibels / _SPREAD_DB, 0.0)


def masks_of(encoder: Encoder, batch: Batch) -> list[Tensor]:
    """Of each layer (B, T, H, W) float32 on the base grid: the share of its bands that was seen."""
    shape, masks = base_shape(encoder.layers, batch), []
    for spec in encoder.layers:
        layer = batch.layers[spec.key]
        mask = mask_on_base_grid(layer.valid, shape).float()
        if layer.measured is not None:
            mask = mask * layer.measured.float().mean(dim=1)[:, None, None, None]
        masks.append(mask)
    return masks


def image_of(encoder: Encoder, batch: Batch) -> Tensor:
    """(B, C, H, W) float32: of every layer and date the bands, then the mask."""
    pairs = zip(bands_of(encoder, batch), masks_of(encoder, batch), strict=True)
    planes = [torch.cat([bands, mask[:, :, None]], dim=2).flatten(1, 2) for bands, mask in pairs]
    return torch.cat(planes, dim=1)


def padded(image: Tensor, multiple: int) -> Tensor:
    """(..., H, W) made longer at the right and the bottom, up to a multiple, with zeros: what was
    not seen, as every mask says there."""
    rows, cols = image.shape[-2:]
    return F.pad(image, (0, -cols % multiple, 0, -rows % multiple))


def cells_of(rows: int, cols: int, stride: int) -> Shape2d:
    """Cells of `stride` pixels that cover an image, the last ones perhaps in part."""
    return Shape2d(-(-rows // stride), -(-cols // stride))


def share_in_cells(mask: Tensor, stride: int) -> Tensor:
    """(..., H, W) bool to (..., h, w) float32: the share of each cell that is True."""
    if stride == 1:
        return mask.float()
    leading = mask.shape[:-2]
    flat = padded(mask.float(), stride).flatten(0, -3)[:, None]
    pooled = F.avg_pool2d(flat, stride)
    return pooled.reshape(*leading, *pooled.shape[-2:])


def resampled(image: Tensor, stride: int, to: int) -> Tensor:
    """(B, F, h, w) from cells of `stride` pixels to cells of `to`; one is a multiple of the other.

    Bilinear to finer cells, means to coarser ones.
    """
    if to < stride:
        return F.interpolate(image, scale_factor=stride // to, mode="bilinear")
    if to > stride:
        return F.avg_pool2d(padded(image, to // stride), to // stride)
    return image


def rows_of(batch: Batch, layers: Sequence[LayerSpec], rows: Tensor) -> Batch:
    """Some of the chips of a batch, with some layers, by their positions `rows` (b,) int64: what an
    encoder looks at, without labels."""
    chosen = {}
    for spec in layers:
        layer = batch.layers[spec.key]
        chosen[spec.key] = LayerBatch(
            layer.pixels[rows],
            layer.valid[rows],
            layer.days[rows],
            None if layer.dated is None else layer.dated[rows],
            None if layer.measured is None else layer.measured[rows],
        )
    at = rows.tolist()
    return Batch(
        tuple(batch.ids[row] for row in at),
        chosen,
        label=None,
        mean=None if batch.mean is None else batch.mean[rows],
        covariance=None if batch.covariance is None else batch.covariance[rows],
        places=tuple(batch.places[row] for row in at) if batch.places else (),
    )


def only_layers(batch: Batch, layers: Sequence[LayerSpec]) -> Batch:
    """The same chips with some of their layers."""
    return replace(batch, layers={spec.key: batch.layers[spec.key] for spec in layers})


def spread(features: Features, rows: Tensor, count: int) -> Features:
    """Features of some chips as those of `count`, at `rows`; elsewhere 0 and not seen."""

    def placed(tensor: Tensor) -> Tensor:
        return tensor.new_zeros(count, *tensor.shape[1:]).index_copy(0, rows, tensor)

    return Features(
        placed(features.pixels),
        placed(features.seen),
        tuple(placed(level) for level in features.pyramid),
        None if features.vector is None else placed(features.vector),
        features.stride,
        features.shape,
    )


def days_of(layers: Sequence[LayerSpec], batch: Batch) -> Tensor:
    """(B, T) days since 1970-01-01 of the first of the layers that saw anything on a date; 0 where
    none did. So a layer under clouds is as one that is missing; `layers` have the same dates."""
    days = torch.zeros_like(batch.layers[layers[0].key].days)
    for spec in layers:
        layer = batch.layers[spec.key]
        seen = layer.valid.flatten(2).any(dim=2)
        days = torch.where((days == 0) & seen, layer.days, days)
    return days


def present_in(batch: Batch, layers: Sequence[LayerSpec]) -> Tensor:
    """(B,) bool: chips of which any pixel of any of the layers was seen."""
    return torch.stack([batch.layers[spec.key].valid.flatten(1).any(dim=1) for spec in layers]).any(
        dim=0
    )
