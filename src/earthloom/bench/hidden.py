"""Batches with half of their bands and dates hidden: what a model is worth when inputs fail."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.encoders import Encoder
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch, LayerBatch

LEAST_DATES = 3
"""Fewer dates are not hidden: with one of two gone, there is no change to tell."""


def hide_half(batch: Batch, encoder: Encoder, seed: int) -> Batch:
    """The batch without half of each chip's bands and dates, rounded down; which follows from the
    seed and the chip's id.

    A hidden band holds the training pixels' mean and is not `measured`; a hidden date is not valid
    and not `dated`. Layers of a single band keep it, layers of fewer than three dates keep those.
    """
    layers: dict[str, LayerBatch] = dict(batch.layers)
    for spec in encoder.layers:
        mean = encoder.mean_of(spec)
        layers[spec.key] = _hidden(batch.layers[spec.key], spec, mean, batch.ids, seed)
    return replace(batch, layers=layers)


def hidden_parts(specs: Mapping[str, LayerSpec]) -> bool:
    """Whether anything of such layers would be hidden at all."""
    return any(len(s.bands) > 1 or len(s.dates) >= LEAST_DATES for s in specs.values())


def _hidden(
    layer: LayerBatch, spec: LayerSpec, mean: Tensor, ids: Sequence[str], seed: int
) -> LayerBatch:
    dates, bands = layer.pixels.shape[1:3]
    lost_dates = dates // 2 if dates >= LEAST_DATES else 0
    drawn = [
        _draw(f"{seed} {spec.key} {each}", dates, lost_dates, bands, bands // 2) for each in ids
    ]
    kept_dates = torch.from_numpy(np.stack([each[0] for each in drawn]))
    kept_bands = torch.from_numpy(np.stack([each[1] for each in drawn]))
    valid = layer.valid & kept_dates[:, :, None, None]
    pixels = torch.where(kept_bands[:, None, :, None, None], layer.pixels, mean.to(layer.pixels))
    pixels = torch.where(valid[:, :, None], pixels, torch.nan)
    dated = kept_dates if layer.dated is None else layer.dated & kept_dates
    measured = kept_bands if layer.measured is None else layer.measured & kept_bands
    return LayerBatch(pixels, valid, layer.days, dated, measured)


def _draw(
    text: str, dates: int, lost_dates: int, bands: int, lost_bands: int
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(T,) dates and (C,) bands that are kept."""
    key = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8])
    random = np.random.default_rng(key)
    kept_dates, kept_bands = np.ones(dates, np.bool_), np.ones(bands, np.bool_)
    kept_dates[random.permutation(dates)[:lost_dates]] = False
    kept_bands[random.permutation(bands)[:lost_bands]] = False
    return kept_dates, kept_bands
