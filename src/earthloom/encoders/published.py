"""Published encoders: bands by name in an order of their own, statistics and weights of their own.

An adapter states which bands of which sensors it takes, and with which statistics; what a chip has
is put in that order. Files of weights are read by name, and every name that is too many or too few
is an error.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from earthloom.encoders.base import Encoder, base_shape, mask_on_base_grid, on_base_grid
from earthloom.errors import ContractError, DataError, choices
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch

_LEAST_POWER = 1e-5
"""Backscatter below -50 dB is noise of the instrument."""
_SHOWN = 3
"""Names that an error lists."""


@dataclass(frozen=True)
class Taken:
    """The bands of a sensor that an encoder takes."""

    bands: tuple[str, ...]
    """As the sensor's table names them, in the encoder's order."""
    unit: str
    """That the layers must have."""
    mean: tuple[float, ...]
    """Of each band in the layers' unit; of linear power, in decibels."""
    std: tuple[float, ...]


@dataclass(frozen=True)
class Ordered:
    """Bands of layers in the order of an encoder."""

    taken: Taken
    positions: tuple[int, ...]
    """Of each band of the encoder, among the bands of all layers, one after the other."""


def ordered(name: str, layers: tuple[LayerSpec, ...], offers: Mapping[str, Taken]) -> Ordered:
    """Where the bands of an encoder lie in its layers, which are all of one sensor of `offers`.

    ContractError for another sensor, another unit, and bands too many or too few.
    """
    sensors = tuple(dict.fromkeys(layer.sensor for layer in layers))
    if len(sensors) != 1 or sensors[0] not in offers:
        raise ContractError(
            f"{name} takes the layers of one sensor, but got those of {choices(sensors)}; valid "
            f"are: {choices(offers)}"
        )
    taken = offers[sensors[0]]
    for layer in layers:
        if layer.unit != taken.unit:
            raise ContractError(
                f"{name} takes bands of {layer.sensor} in the unit {taken.unit}, but layer "
                f"{layer.key} has {layer.unit}"
            )
    found = [band.upper() for layer in layers for band in layer.bands]
    if sorted(found) != sorted(band.upper() for band in taken.bands):
        raise ContractError(
            f"{name} takes the bands {choices(taken.bands)} of {sensors[0]}, but got "
            f"{choices(band for layer in layers for band in layer.bands)}"
        )
    return Ordered(taken, tuple(found.index(band.upper()) for band in taken.bands))


def one_date(name: str, layers: tuple[LayerSpec, ...]) -> None:
    """ContractError if a layer has several dates."""
    for layer in layers:
        if len(layer.dates) != 1:
            raise ContractError(
                f"{name} takes one date; layer {layer.key} has {len(layer.dates)}; "
                "choose dates mean, max or attention, which show it one after the other"
            )


def published_image(
    encoder: Encoder, batch: Batch, order: Ordered, fill_with_mean: bool = False
) -> Tensor:
    """(B, T, C, H, W) float32 in the encoder's order, on the base grid, in the published standard
    deviations from the published mean.

    Where not valid, and in bands that were left out, it is 0, or with `fill_with_mean` the mean of
    the training pixels: for encoders whose 0 is no reflectance at all.
    """
    shape = base_shape(encoder.layers, batch)
    known = dict(zip(order.positions, zip(order.taken.mean, order.taken.std), strict=True))
    planes: list[Tensor] = []
    for spec in encoder.layers:
        layer, first = batch.layers[spec.key], sum(each.shape[2] for each in planes)
        values, usual = layer.pixels, encoder.mean_of(spec)
        if spec.unit == "linear power":
            values, usual = (10 * e.clamp_min(_LEAST_POWER).log10() for e in (values, usual))
        numbers = values.new_tensor([known[first + at] for at in range(len(spec.bands))])
        mean, std = numbers[:, :, None, None].unbind(dim=1)
        valid = layer.valid[:, :, None]
        if layer.measured is not None:
            valid = valid & layer.measured[:, None, :, None, None]
        fill = (usual - mean) / std if fill_with_mean else torch.zeros_like(mean)
        planes.append(on_base_grid(torch.where(valid, (values - mean) / std, fill), shape))
    return torch.cat(planes, dim=2)[:, :, list(order.positions)]


def seen_each_date(encoder: Encoder, batch: Batch) -> Tensor:
    """(B, T, H, W) bool: where any layer was seen on a date; all layers have the same dates."""
    shape = base_shape(encoder.layers, batch)
    masks = [mask_on_base_grid(batch.layers[e.key].valid, shape) for e in encoder.layers]
    return torch.stack(masks).any(dim=0)


@dataclass(frozen=True)
class Layout:
    """How a file of weights names what an encoder needs."""

    prefix: str = ""
    """Before each name; names without it are taken as they are."""
    dropped: tuple[str, ...] = ()
    """Beginnings of names that the file has and the encoder has no use for: a decoder, a head."""
    may_lack: tuple[str, ...] = ()
    """Beginnings of names that the file need not have: they keep the values that they have."""


def read_state(file: Path) -> dict[str, Tensor]:
    """Tensors by name, of a safetensors file, or of one of torch (`.pt`, `.pth`).

    Of the latter, nothing but tensors is read: what else may stand in a pickle is refused. Those
    that are in groups have the group's name and a dot before their own.
    DataError if it cannot be read, or holds anything else.
    """
    try:
        if file.suffix == ".safetensors":
            return load_file(file)
        given: Any = torch.load(file, map_location="cpu", weights_only=True)
    # A broken or refused archive gives rise to errors of many kinds in torch.
    except Exception as error:
        why = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"no weights can be read from {file}: {why}; valid are safetensors, and files of torch "
            "that hold tensors alone"
        ) from error
    found = dict(_named("", given))
    if not all(name and isinstance(tensor, Tensor) for name, tensor in found.items()):
        raise DataError(
            f"{file} holds other things than tensors by name: {choices(list(found)[:_SHOWN])}"
        )
    return found


def _named(name: str, given: Any) -> Iterator[tuple[str, Any]]:
    """Names, those of groups before a dot, with what has no names of its own."""
    if not isinstance(given, dict):
        yield name, given
        return
    for key, value in given.items():
        yield from _named(f"{name}.{key}" if name else str(key), value)


def load_published(net: nn.Module, given: Mapping[str, Tensor], layout: Layout, file: Path) -> None:
    """Puts the tensors of a file into a network, all or none.

    DataError that names what is missing, what is unexpected, and what has another shape.
    """
    named = {name.removeprefix(layout.prefix): tensor for name, tensor in given.items()}
    chosen = {e: tensor for e, tensor in named.items() if not e.startswith(layout.dropped)}
    state = net.state_dict()
    missing = [e for e in state if e not in chosen and not e.startswith(layout.may_lack)]
    unexpected = [e for e in chosen if e not in state]
    if missing or unexpected:
        raise DataError(
            f"{file} does not fit this encoder: {len(missing)} weights are missing "
            f"({choices(missing[:_SHOWN])}) and {len(unexpected)} are unexpected "
            f"({choices(unexpected[:_SHOWN])})"
        )
    for name, tensor in chosen.items():
        if tensor.shape != state[name].shape:
            raise DataError(
                f"{file}: {name} has the shape {tuple(tensor.shape)}; this encoder needs "
                f"{tuple(state[name].shape)}"
            )
    net.load_state_dict(chosen, strict=False)
