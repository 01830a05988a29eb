"""What a bench file may name: encoders, ways of fitting them, and the tasks of datasets."""

import inspect
from collections.abc import Callable, Mapping
from functools import cache

from earthloom.bench.flat import make_flat
from earthloom.encoders import Encoder, Statistics
from earthloom.encoders.catalogue import CATALOGUE
from earthloom.encoders.change_features import ChangeFeatures
from earthloom.encoders.random_conv import RandomConv
from earthloom.encoders.time_features import TimeFeatures
from earthloom.errors import ContractError
from earthloom.fit.adaptation import Adaptation
from earthloom.fit.shallow import SHALLOW
from earthloom.fit.training.adapt import BitFit, Full, HeadOnly, LayerWise, LoRA, Partial
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


def _random_conv(
    layers: Layers, statistics: Mapping[str, Statistics], samples: Samples, seed: int
) -> Encoder:
    """Filters of a single pixel for chips that are narrower than a filter of three."""
    if min(samples[0].shape) >= _FILTER:
        return CATALOGUE["random-conv"].make(layers, statistics, samples, seed)
    return RandomConv(layers, statistics, size=1, window=1, seed=seed).draw(samples).eval()


def _of_images(name: str) -> MakeEncoder:
    """A network for images, which refuses smaller chips in words."""

    def make(
        layers: Layers, statistics: Mapping[str, Statistics], samples: Samples, seed: int
    ) -> Encoder:
        rows, cols = samples[0].shape
        if min(rows, cols) < LEAST_SIDE[name]:
            raise ContractError(
                f"{name} does not serve chips of {rows} x {cols} pixels: it is for images of "
                f"{LEAST_SIDE[name]} x {LEAST_SIDE[name]} and more"
            )
        return CATALOGUE[name].make(layers, statistics, samples, seed)

    return make


_FILTER = 3
"""Side of a filter of random convolutions."""

LEAST_SIDE: Mapping[str, int] = {
    "unet-untrained": 16,
    "resnet18-untrained": 32,
    "vit-tiny-untrained": 32,
    "dofa-untrained": 32,
}
"""Pixels, both ways, under which a network for images is not asked: it would see its padding."""

OWN_ENCODERS: Mapping[str, MakeEncoder] = {
    "flat": make_flat,
    "time-features": _time_features,
    "change-features": _change_features,
    "random-conv": _random_conv,
    **{name: _of_images(name) for name in LEAST_SIDE},
}
"""Made here, or made here with a check; the others stand in `earthloom.encoders.catalogue`."""


_NOTES: Mapping[str, str] = {
    "flat": "all numbers of a small chip side by side, standardised",
    "time-features": "bands, indices, statistics over time and of the surroundings",
    "change-features": "two dates compared with the whole place",
}
"""What those are that are made here alone, in a line."""


def encoder_notes() -> Mapping[str, str]:
    """What each encoder is, in a line."""
    return {name: entry.note for name, entry in CATALOGUE.items()} | dict(_NOTES)


def adaptation_notes() -> Mapping[str, str]:
    """What each way of fitting is: the first sentences of its docstring."""
    found = {name: inspect.getdoc(make) or "" for name, make in adaptations().items()}
    return {name: " ".join(text.split("\n\n")[0].split()) for name, text in found.items()}


def encoders() -> Mapping[str, MakeEncoder]:
    """All encoders by name."""
    return {name: entry.make for name, entry in CATALOGUE.items()} | dict(OWN_ENCODERS)


@cache
def adaptations() -> Mapping[str, MakeAdaptation]:
    """All ways of fitting by name, with their defaults."""
    shallow: dict[str, MakeAdaptation] = dict(SHALLOW.items())
    trained: dict[str, MakeAdaptation] = {
        each.name: each for each in (Full, HeadOnly, Partial, LayerWise, LoRA, BitFit)
    }
    return shallow | trained


def encoder_names() -> list[str]:
    """Names that may stand under `encoders`."""
    return sorted(encoders())


def adaptation_names() -> list[str]:
    """Names that may stand under `adaptations`."""
    return sorted(adaptations())
