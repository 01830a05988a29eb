"""The encoders that a config, a saved model or a bench file may name.

Those of this package, those that a program registers, and those that other installed packages offer
as entry points of the group `earthloom.encoders`. What a model's card says never makes anything be
imported that was not installed or registered under that name.
"""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar

from earthloom.encoders.base import Encoder
from earthloom.encoders.change_features import ChangeFeatures
from earthloom.encoders.location import Location
from earthloom.encoders.networks import NETWORKS
from earthloom.encoders.time_features import TimeFeatures
from earthloom.encoders.unet import UNet
from earthloom.errors import ContractError, choices

GROUP = "earthloom.encoders"
"""Of the entry points under which other packages offer encoders."""

BUILT_IN: Mapping[str, type[Encoder]] = {
    ChangeFeatures.name: ChangeFeatures,
    Location.name: Location,
    TimeFeatures.name: TimeFeatures,
    UNet.name: UNet,
    **NETWORKS,
}
"""By `Encoder.name`."""

E = TypeVar("E", bound=Encoder)

_registered: dict[str, type[Encoder]] = {}


def register(encoder: type[E]) -> type[E]:
    """Makes an encoder of one's own known by its `name` in this process; the class itself.

    It may stand over the class as a decorator. The same class again, as from a notebook's cell that
    is run twice, takes the place of the first. ContractError where it is no encoder, has no name,
    or another class has it.
    """
    _check(encoder, "to register")
    name = encoder.name
    other = BUILT_IN.get(name) or _registered.get(name)
    if other is not None and _path(other) != _path(encoder):
        raise ContractError(
            f"the name '{name}' of {_path(encoder)} is that of the encoder {_path(other)}; taken "
            f"are: {choices(ENCODERS)}"
        )
    _registered[name] = encoder
    return encoder


def others() -> Mapping[str, str]:
    """Where encoders come from that are not of this package, by name; none is loaded for it."""
    offered = {name: point.value for name, point in _points().items()}
    return offered | {name: _path(encoder) for name, encoder in _registered.items()}


class _Encoders(Mapping[str, type[Encoder]]):
    """Looks where it is asked: an encoder of another package is loaded when it is first used."""

    def __getitem__(self, name: str) -> type[Encoder]:
        """KeyError for an unknown name, ContractError for an encoder that does not load."""
        found = BUILT_IN.get(name) or _registered.get(name)
        return _loaded(_points()[name]) if found is None else found

    def __iter__(self) -> Iterator[str]:
        return iter(sorted({*BUILT_IN, *others()}))

    def __len__(self) -> int:
        return len({*BUILT_IN, *others()})

    def __contains__(self, name: object) -> bool:
        return name in BUILT_IN or name in _registered or name in _points()


ENCODERS: Mapping[str, type[Encoder]] = _Encoders()
"""By `Encoder.name`. Those of this package go first, so that no other package can take their name;
then those that were registered."""


@cache
def _points() -> Mapping[str, EntryPoint]:
    return {each.name: each for each in entry_points(group=GROUP) if each.name not in BUILT_IN}


def _loaded(point: EntryPoint) -> type[Encoder]:
    try:
        encoder = point.load()
    except Exception as error:  # whatever the other package raises, the user must hear of
        raise ContractError(
            f"the encoder '{point.name}' ({point.value}) does not load: {error!r}"
        ) from error
    _check(encoder, f"of the entry point '{point.name}'")
    if encoder.name != point.name:
        raise ContractError(
            f"the encoder of the entry point '{point.name}' calls itself '{encoder.name}'; a saved "
            "model would not be found again: the names must be the same"
        )
    checked: type[Encoder] = encoder
    return checked


def _check(encoder: object, what: str) -> None:
    if not (isinstance(encoder, type) and issubclass(encoder, Encoder)):
        raise ContractError(f"{encoder!r} {what} is no class made of earthloom.encoders.Encoder")
    if not isinstance(getattr(encoder, "name", None), str):
        raise ContractError(f"the encoder {_path(encoder)} {what} has no 'name', a text")


def _path(encoder: type) -> str:
    return f"{encoder.__module__}:{encoder.__qualname__}"
