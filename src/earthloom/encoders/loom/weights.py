"""Weights of a Loom in a file, and a Loom of them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from earthloom.encoders.base import Statistics
from earthloom.encoders.loom.encoder import Loom
from earthloom.errors import ContractError, DataError, choices
from earthloom.sample import LayerSpec
from earthloom.stages import disk_errors, file_digest

_SIZE, _CARD = "size", "card"
SHIPPED = ("loom-tiny",)
"""Weights that come with the package."""


@cache
def shipped_weights(name: str = "loom-tiny") -> Path:
    """The file of weights that come with the package; nothing is downloaded.

    ContractError for a name that there is none of, DataError where the file is not there or not
    what it was when it was written.
    """
    if name not in SHIPPED:
        raise ContractError(
            f"no weights '{name}' come with the package; valid are: {choices(SHIPPED)}"
        )
    file = Path(__file__).with_name(f"{name}.safetensors")
    try:
        expected = _checksum_of(file).read_text("utf-8").split()[0]
        found = file_digest(file)
    except (OSError, IndexError) as error:
        raise DataError(f"the weights {file} that come with the package cannot be read") from error
    if found != expected:
        raise DataError(
            f"the weights {file} have the checksum {found}; valid is {expected}: install the "
            "package again"
        )
    return file


def write_checksum(file: Path) -> None:
    """Writes the checksum of a file beside it, as `sha256sum --check` reads it."""
    with disk_errors(file):
        _checksum_of(file).write_text(f"{file_digest(file)}  {file.name}\n", "utf-8")


def _checksum_of(file: Path) -> Path:
    return file.with_suffix(".sha256")


def save_weights(
    loom: Loom,
    file: Path,
    dtype: torch.dtype = torch.bfloat16,
    card: Mapping[str, Any] | None = None,
) -> None:
    """Writes what a Loom has learnt, its layers and statistics apart, and its size.

    `card` holds JSON values that say where the weights come from; see `read_card`. The file is
    there whole or not at all.
    """
    tensors = {name: each.to(dtype).contiguous() for name, each in _learnt(loom).items()}
    metadata = {_SIZE: loom.size}
    if card is not None:
        metadata[_CARD] = json.dumps(card, sort_keys=True, ensure_ascii=False)
    partial = file.with_name(f"{file.name}.partial")
    with disk_errors(file):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            save_file(tensors, partial, metadata=metadata)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)


def read_card(file: Path) -> Mapping[str, Any]:
    """Where the weights of a file come from, as `save_weights` was told; empty where it was not."""
    try:
        with safe_open(file, framework="pt") as opened:
            card: Mapping[str, Any] = json.loads((opened.metadata() or {}).get(_CARD, "{}"))
    except (OSError, SafetensorError, ValueError) as error:
        raise DataError(
            f"no card can be read from {file}: {error}; valid is a safetensors file"
        ) from error
    return card


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
    # The random weights that are written over are not to move anybody's random numbers.
    with torch.random.fork_rng(devices=[]):
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
    """Parameters, and what was measured of the pretraining's chips."""
    measured = {f"spread.{name}": each for name, each in loom.spread.named_buffers()}
    return {name: each.detach() for name, each in loom.named_parameters()} | measured


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
