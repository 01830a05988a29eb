"""Encoders ready to be compared: each is made of the training samples and a seed alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch

from earthloom.encoders.base import Encoder, Statistics
from earthloom.encoders.compose import Config, dated, encoders_for
from earthloom.encoders.loom import load_loom, shipped_weights
from earthloom.encoders.random_conv import RandomConv
from earthloom.encoders.registry import others
from earthloom.errors import ContractError, choices
from earthloom.sample import LayerSpec, Samples

Make = Callable[[tuple[LayerSpec, ...], Mapping[str, Statistics], Samples, int], Encoder]
"""Layers, their statistics, the training samples and a seed, to an encoder."""


@dataclass(frozen=True)
class Entry:
    """An encoder of the catalogue."""

    make: Make
    note: str
    """What it is, in a line."""


def _untrained(config: Config, dates: str = "stack") -> Make:
    """Makes an encoder with random weights; layers with several dates as `dates` says."""

    def make(
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        samples: Samples,
        seed: int,
    ) -> Encoder:
        several = any(len(layer.dates) > 1 for layer in layers)
        # A seed of its own, so that nothing else that is random has a say in it.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            chosen = dated(config, dates) if several else config
            (encoder,) = encoders_for(chosen, layers, statistics)
        return encoder.eval()

    return make


def _random_conv(
    layers: tuple[LayerSpec, ...],
    statistics: Mapping[str, Statistics],
    samples: Samples,
    seed: int,
) -> Encoder:
    return RandomConv(layers, statistics, seed=seed).draw(samples).eval()


def _loom(
    layers: tuple[LayerSpec, ...],
    statistics: Mapping[str, Statistics],
    samples: Samples,
    seed: int,
) -> Encoder:
    return load_loom(layers, statistics, shipped_weights()).acquaint(samples)


def _dense(config: Config) -> Config:
    return {"name": "decoded", "encoder": dict(config), "decoder": "hypercolumn", "stride": None}


_RESNET = {"name": "timm", "architecture": "resnet18"}
_VIT = {"name": "timm", "architecture": "vit_tiny_patch16_224"}
_DOFA = {"name": "dofa"}

OWN: Mapping[str, Entry] = {
    "raw": Entry(_untrained({"name": "raw"}), "the bands themselves, standardised, with masks"),
    "random-conv": Entry(
        _random_conv, "random convolutional features from training patches (MOSAIKS)"
    ),
    "loom": Entry(_loom, "the any-sensor encoder, with the weights that come with the package"),
    "loom-untrained": Entry(
        _untrained({"name": "loom"}), "the any-sensor encoder, tiny, random weights"
    ),
    "resnet18-untrained": Entry(
        _untrained(_dense(_RESNET)), "ResNet-18 of timm, random weights, all stages at 4 px"
    ),
    "vit-tiny-untrained": Entry(
        _untrained(_dense(_VIT)), "ViT-Tiny of timm, random weights, four blocks at 4 px"
    ),
    "unet-untrained": Entry(
        _untrained({"name": "unet", "width": 16, "levels": 4}), "our U-Net, random weights"
    ),
    "dofa-untrained": Entry(
        _untrained(_dense(_DOFA), dates="mean"),
        "DOFA small of TorchGeo, random weights, by wavelength; dates averaged",
    ),
}
"""Those of this package."""


class _Catalogue(Mapping[str, Entry]):
    """And those of others, as their constructor makes them of layers and statistics alone."""

    def __getitem__(self, name: str) -> Entry:
        return OWN[name] if name in OWN else _of_others(name, others()[name])

    def __iter__(self) -> Iterator[str]:
        yield from OWN
        yield from (name for name in others() if name not in OWN)

    def __len__(self) -> int:
        return len({*OWN, *others()})


def _of_others(name: str, source: str) -> Entry:
    return Entry(_untrained({"name": name}), f"as {source} makes it")


CATALOGUE: Mapping[str, Entry] = _Catalogue()
"""By the name that a table of results has."""


def catalogued(
    name: str,
    layers: tuple[LayerSpec, ...],
    statistics: Mapping[str, Statistics],
    samples: Samples,
    seed: int,
) -> Encoder:
    """The encoder of this name, in evaluation mode; the same for the same seed and samples.

    ContractError for an unknown name, and for layers that the encoder does not take.
    """
    if name not in CATALOGUE:
        raise ContractError(
            f"the catalogue has no encoder '{name}'; valid are: {choices(CATALOGUE)}"
        )
    return CATALOGUE[name].make(layers, statistics, samples, seed)
