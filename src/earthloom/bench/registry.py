"""What a bench file may name: encoders, ways of fitting them, and the tasks of datasets."""

from collections.abc import Callable, Mapping
from functools import cache

from earthloom.encoders import Encoder, Statistics
from earthloom.encoders.catalogue import CATALOGUE
from earthloom.encoders.change_features import ChangeFeatures
from earthloom.encoders.time_features import TimeFeatures
from earthloom.fit.adaptation import Adaptation
from earthloom.fit.shallow import SHALLOW
from earthloom.fit.training.adapt import BitFit, Full, HeadOnly, Partial
from earthloom.sample import LayerSpec, Samples

Layers = tuple[LayerSpec, ...]
MakeEncoder = Callable[[Layers, Mapping[str, Statistics], Samples, int], Encoder]
"""Layers, their statistics over the training samples, those samples, and a seed."""

MakeAdaptation = Callable[[], Adaptation]


def _time_features(
    layers: Layers, statistics: Mapping[str, Statistics], samples: Samples, seed: int
) -> Encoder:
    return TimeFeatures(layers, statistics, radius=1)


def _change_features(
    layers: Layers, statistics: Mapping[str, Statistics], samples: Samples, seed: int
) -> Encoder:
    return ChangeFeatures(layers, statistics)


OWN_ENCODERS: Mapping[str, MakeEncoder] = {
    "time-features": _time_features,
    "change-features": _change_features,
}
"""Made here; the others stand in `earthloom.encoders.catalogue`."""


@cache
def encoders() -> Mapping[str, MakeEncoder]:
    """All encoders by name."""
    return dict(OWN_ENCODERS) | {name: entry.make for name, entry in CATALOGUE.items()}


@cache
def adaptations() -> Mapping[str, MakeAdaptation]:
    """All ways of fitting by name, with their defaults."""
    shallow: dict[str, MakeAdaptation] = dict(SHALLOW.items())
    trained: dict[str, MakeAdaptation] = {
        each.name: each for each in (Full, HeadOnly, Partial, BitFit)
    }
    return shallow | trained


def encoder_names() -> list[str]:
    """Names that may stand under `encoders`."""
    return sorted(encoders())


def adaptation_names() -> list[str]:
    """Names that may stand under `adaptations`."""
    return sorted(adaptations())
