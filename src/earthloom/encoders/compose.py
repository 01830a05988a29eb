"""Encoders made of encoders: how they nest in a config, and how they are made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from earthloom.encoders.base import Encoder, Statistics
from earthloom.errors import ContractError, choices
from earthloom.sample import LayerSpec

Config = Mapping[str, Any]
"""An encoder's `config` with its `name`, as JSON values; those of inner encoders nest in it."""


def config_of(encoder: Encoder) -> dict[str, Any]:
    """Name and config of an encoder, from which `build` makes the same one again."""
    return {"name": encoder.name} | encoder.config()


def build(
    config: Config, layers: tuple[LayerSpec, ...], statistics: Mapping[str, Statistics]
) -> Encoder:
    """The encoder that a config names, for these layers; its weights are new.

    ContractError for a name that is not registered, or arguments that it does not take.
    """
    # The registry knows every encoder, those that nest others among them, which import this.
    from earthloom.encoders.registry import ENCODERS

    arguments = dict(config)
    name = arguments.pop("name", None)
    if name not in ENCODERS:
        raise ContractError(f"there is no encoder '{name}'; valid are: {choices(sorted(ENCODERS))}")
    try:
        return ENCODERS[name](layers, statistics, **arguments)
    except TypeError as error:
        raise ContractError(f"encoder {name} cannot be made of {arguments}: {error}") from error


def dated(config: Config, dates: str) -> Config:
    """A config in which an encoder's dates are fused in the way asked for.

    `stack`: side by side, as channels. `mean`, `max`, `attention`: one encoder for every date, and
    what it makes of them fused, see `earthloom.encoders.dated`.
    """
    from earthloom.encoders.dates import DATES

    if dates == "stack":
        return config
    if dates not in DATES:
        raise ContractError(f"dates is '{dates}'; valid are: {choices(('stack', *DATES))}")
    return {"name": "dated", "encoder": dict(config), "dates": dates}


def moves(layer: LayerSpec) -> bool:
    """Whether a layer changes in time, as elevation does not."""
    return layer.dates != ("static",)


Groups = tuple[tuple[str, ...], ...]
"""Keys of the layers that go together."""


def _one_group(layers: tuple[LayerSpec, ...]) -> Groups:
    return (tuple(layer.key for layer in layers),)


def _each_alone(layers: tuple[LayerSpec, ...]) -> Groups:
    return tuple((layer.key,) for layer in layers)


def _by_sensor(layers: tuple[LayerSpec, ...]) -> Groups:
    sensors = dict.fromkeys(layer.sensor for layer in layers)
    return tuple(tuple(e.key for e in layers if e.sensor == sensor) for sensor in sensors)


def _by_sensor_on_the_ground(layers: tuple[LayerSpec, ...]) -> Groups:
    """What does not change in time, such as elevation, goes with each sensor: alone it has no say,
    as it sees nothing happen."""
    static = [layer for layer in layers if not moves(layer)]
    moving = tuple(layer for layer in layers if moves(layer))
    if not moving:
        return _one_group(layers)
    still = tuple(layer.key for layer in static)
    return tuple((*keys, *still) for keys in _by_sensor(moving))


GROUPS: Mapping[str, Callable[[tuple[LayerSpec, ...]], Groups]] = {
    "input": _one_group,
    "feature": _each_alone,
    "hybrid": _by_sensor,
    "decision": _by_sensor_on_the_ground,
}
"""Which layers are stacked before an encoder sees them, by the way of fusion."""


def encoders_for(
    config: Config,
    layers: tuple[LayerSpec, ...],
    statistics: Mapping[str, Statistics],
    fusion: str = "input",
    dates: str = "stack",
) -> tuple[Encoder, ...]:
    """Encoders over all layers, with sensors and dates fused in the ways asked for.

    `fusion` of sensors: `input` stacks all layers on the base grid; `feature` has one encoder a
    layer, and gates their features on what was seen; `hybrid` stacks the layers of a sensor, and
    fuses sensors as `feature`; `decision` gives one encoder a sensor, each of which is to be a
    member of a model of its own head, whose answers are averaged. All others give one encoder.
    Elevation and the like go with every sensor in `decision`. `dates`: see `dated`. ContractError
    for an unknown way.
    """
    if fusion not in GROUPS:
        raise ContractError(f"fusion is '{fusion}'; valid are: {choices(GROUPS)}")
    inner = dated(config, dates)
    moving = {layer.key for layer in layers if moves(layer)}
    branches: list[dict[str, Any]] = [
        {"keys": list(keys), "encoder": inner if moving & set(keys) else dict(config)}
        for keys in GROUPS[fusion](layers)
    ]
    if len(branches) == 1:
        return (build(branches[0]["encoder"], layers, statistics),)
    if fusion == "decision":
        members = [{"name": "some-layers"} | branch for branch in branches]
        return tuple(build(member, layers, statistics) for member in members)
    return (build({"name": "fused", "branches": branches}, layers, statistics),)
