"""Weights of a Loom in a file, and a Loom of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from earthloom.encoders.base import Statistics
from earthloom.encoders.loom.encoder import Loom
from earthloom.errors import DataError
from earthloom.sample import LayerSpec

_SIZE = "size"


def save_weights(loom: Loom, file: Path, dtype: torch.dtype = torch.bfloat16) -> None:
    """Writes what a Loom has learnt, its layers and statistics apart, and its size."""
    tensors = {name: each.to(dtype).contiguous() for name, each in _learnt(loom).items()}
    save_file(tensors, file, metadata={_SIZE: loom.size})


def load_loom(
    layers: tuple[LayerSpec, ...], statistics: Mapping[str, Statistics], weights: Path | None
) -> Loom:
    """A Loom for any layers with the weights that `save_weights` wrote, in evaluation mode.

    Numbers are float32 afterwards, whatever the file has. Without a file it is a tiny one with
    random weights, from torch's seed. DataError if the file cannot be read or is not of a Loom.
    """
    if weights is None:
        return Loom(layers, statistics).eval()
    size, tensors = _read(weights)
    loom = Loom(layers, statistics, size)
    own = _learnt(loom)
    wrong = [n for n in {**own, **tensors} if _shape(own, n) != _shape(tensors, n)]
    if wrong:
        raise DataError(
            f"{weights} is not of a loom of size {size}: {wrong[0]} has the shape "
            f"{_shape(tensors, wrong[0])} and must have {_shape(own, wrong[0])}"
        )
    loom.load_state_dict(tensors, strict=False)
    return loom.eval()


def _learnt(loom: Loom) -> dict[str, Tensor]:
    return {name: parameter.detach() for name, parameter in loom.named_parameters()}


def _read(file: Path) -> tuple[str, dict[str, Tensor]]:
    try:
        with safe_open(file, framework="pt") as opened:
            size = (opened.metadata() or {}).get(_SIZE, "")
            tensors = {name: opened.get_tensor(name).float() for name in opened.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise DataError(
            f"no weights can be read from {file}: {error}; valid is a safetensors file"
        ) from error
    return size, tensors


def _shape(tensors: Mapping[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(tensors[name].shape) if name in tensors else None
