"""Training on features that are computed once, in the place of an encoder that does not change."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from earthloom.encoders import Encoder, Features
from earthloom.fit.features import FeatureCache, encoder_digest, features_of
from earthloom.sample import Chip, Samples, chips_of
from earthloom.sample.batch import Batch
from earthloom.sample.samples import Listed


class KeptFeatures(Encoder):
    """Gives the features of chips by their ids, which are those that `answers_of` gives them."""

    name = "kept-features"
    _here: Tensor

    def __init__(self, digest: str, channels: int, caches: Mapping[str, FeatureCache]) -> None:
        """`digest` is that of the encoder, `caches` are by the name of their part."""
        super().__init__((), {})
        self._digest, self._channels, self._caches = digest, channels, caches
        self.register_buffer("_here", torch.empty(0), persistent=False)

    @property
    def radius(self) -> int:
        return 0

    @property
    def channels(self) -> int:
        return self._channels

    def config(self) -> dict[str, Any]:
        return {"encoder": self._digest, "channels": self._channels}

    def forward(self, batch: Batch) -> Features:
        part = batch.ids[0].split(":", 1)[0]
        found = self._caches[part].of([int(name.split(":", 1)[1]) for name in batch.ids])
        device = self._here.device
        return Features(
            found.pixels.to(device),
            found.seen.to(device),
            tuple(level.to(device) for level in found.pyramid),
            None if found.vector is None else found.vector.to(device),
            found.stride,
            found.shape,
        )


@runtime_checkable
class Digested(Protocol):
    """Samples that say what they are; a store does."""

    @property
    def digest(self) -> str: ...


def digest_of(samples: Samples) -> str | None:
    """What tells these chips from all others; None where samples do not say it."""
    return samples.digest if isinstance(samples, Digested) else None


def kept_features(
    encoder: Encoder, parts: Mapping[str, Samples], folder: Path, pyramid: bool
) -> tuple[KeptFeatures, dict[str, Listed]]:
    """An encoder that only looks up, and the chips that it knows, by the name of their part.

    `pyramid` keeps that of the encoder as well, which is large.
    """
    caches, answers = {}, {}
    for part, samples in parts.items():
        digest = digest_of(samples) or ""
        caches[part] = features_of(encoder, samples, digest, folder / part, pyramid=pyramid)
        chips = enumerate(chips_of(samples))
        answers[part] = Listed([_without_pixels(chip, f"{part}:{row}") for row, chip in chips])
    return KeptFeatures(encoder_digest(encoder), encoder.channels, caches), answers


def _without_pixels(chip: Chip, name: str) -> Chip:
    return replace(chip, id=name, layers={}, place=None, moments=None)
