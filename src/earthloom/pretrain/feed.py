"""Batches of a pretraining, from one source or several, in one order that the seed decides."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earthloom.chips.loader import Loader, Loading
from earthloom.chips.sampling import Grid, Sampler
from earthloom.fit.training.kept import digest_of
from earthloom.pretrain.settings import Pretraining
from earthloom.sample import Samples
from earthloom.sample.batch import Batch
from earthloom.stages import canonical_json


@dataclass(frozen=True)
class Fed:
    """A batch, and where it is from."""

    source: int
    batch: Batch


class Feed:
    """As many batches as there are steps; it goes on where it stood.

    All ranks take a batch from the same source at the same time, each other chips of it.
    """

    def __init__(self, opened: tuple[Samples, ...], settings: Pretraining, world: int) -> None:
        """`world`: how many ranks there are."""
        self._turns = turns_of(settings)
        self._taken = 0
        self._labelled = [source.labels for source in settings.sources]
        self._loaders = []
        for number, (source, samples) in enumerate(zip(settings.sources, opened, strict=True)):
            batches = int((self._turns == number).sum())
            size = settings.batch * source.times
            rule = source.rule(samples, batches * size * world)
            loading = Loading(size, workers=settings.workers)
            self._loaders.append(Loader(samples, Sampler(rule, settings.seed), loading))

    def __iter__(self) -> Iterator[Fed]:
        iterators = [iter(loader) for loader in self._loaders]
        for source in self._turns[self._taken :]:
            self._taken += 1
            batch = next(iterators[source])
            if not self._labelled[source]:
                batch = replace(batch, label=None, weight=None, targets=())
            yield Fed(int(source), batch)

    @property
    def taken(self) -> int:
        """Batches that were handed out on this rank."""
        return self._taken

    def state_dict(self) -> dict[str, Any]:
        """Where it stands, after the batch that was handed out last."""
        return {"taken": self._taken, "loaders": [each.state_dict() for each in self._loaders]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on from there."""
        self._taken = state["taken"]
        for loader, own in zip(self._loaders, state["loaders"], strict=True):
            loader.load_state_dict(own)

    def close(self) -> None:
        """Ends the workers."""
        for loader in self._loaders:
            loader.close()


def turns_of(settings: Pretraining) -> NDArray[np.int64]:
    """(batches,) which source each batch of a pretraining comes from."""
    count = settings.steps * settings.accumulation
    weights = np.array([source.weight for source in settings.sources], np.float64)
    random = np.random.default_rng([settings.seed, 1])
    bounds = np.cumsum(weights / weights.sum())
    turns = np.searchsorted(bounds, random.random(count), "right")
    return np.minimum(turns, len(weights) - 1).astype(np.int64)


def chips_drawn(settings: Pretraining, steps: int, world: int) -> list[int]:
    """Chips of each source that so many steps take, on all ranks."""
    turns = turns_of(settings)[: steps * settings.accumulation]
    batches = np.bincount(turns, minlength=len(settings.sources))
    return [
        int(count) * source.times * settings.batch * world
        for count, source in zip(batches, settings.sources, strict=True)
    ]


def first_chips(samples: Samples, settings: Pretraining) -> Loader:
    """The chips whose features are looked at, in order."""
    rows = np.arange(min(settings.look_chips, len(samples)))
    loading = Loading(settings.batch, workers=0, even=False, ranks=(0, 1))
    return Loader(samples, Sampler(Grid(rows), seed=0), loading)


def samples_digest(opened: tuple[Samples, ...]) -> str:
    """Of what the chips are; of their pixels only where samples have a digest."""
    cards = [
        [len(each), [spec.to_json() for spec in each.specs.values()], digest_of(each)]
        for each in opened
    ]
    return hashlib.sha256(canonical_json(cards).encode()).hexdigest()
