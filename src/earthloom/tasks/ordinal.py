"""Pixels or whole chips are of one of several classes that stand in an order: low, middle, high."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.encoders import Features
from earthloom.sample import IGNORE, UNLABELLED, Samples
from earthloom.sample.batch import Batch
from earthloom.tasks.base import Score, Task, raw_pixels, raw_scenes, weights_at
from earthloom.tasks.class_scores import ClassTally
from earthloom.tasks.class_weights import ClassWeighting, Unweighted
from earthloom.tasks.classes import (
    IGNORED,
    check_classes,
    check_counts,
    check_fit,
    class_arguments,
    class_config,
    class_weights,
    colours_from,
    indices_of,
    scene_indices,
    seen_scenes,
)
from earthloom.tasks.heads import Head
from earthloom.tasks.losses import Labelled
from earthloom.tasks.ordinal_links import Cumulative, Link, link_from
from earthloom.tasks.pixel_classes import PixelScore, label_counts, labelled_pixels
from earthloom.tasks.scene_classes import SceneScore, count_scenes, scenes_where_seen


@final
@dataclass(frozen=True)
class PixelOrdinal(Task[Tensor]):
    """The task of telling every pixel's class, where classes stand in an order.

    `codes` are from the lowest to the highest class. An error by two classes is worse than one by
    one: in the loss, in the score, and in `decide_by_median`. The answer is the probability of each
    class (B, K, H, W), NaN where nothing was seen.
    """

    name: ClassVar[str] = "pixel-ordinal"
    main: ClassVar[str] = "quadratic_kappa"
    codes: tuple[int, ...]
    names: tuple[str, ...]
    colours: tuple[tuple[int, int, int], ...]
    link: Link = Cumulative()
    weighting: ClassWeighting = Unweighted()
    counts: tuple[int, ...] | None = None
    """(K,) labelled pixels of each class in the training samples; None before `fitted`."""

    def __post_init__(self) -> None:
        check_classes(self.codes, self.names, highest=IGNORE - 1)
        check_fit(self.counts, len(self.codes))

    @property
    def outputs(self) -> int:
        return len(self.codes) - 1

    def indices(self, codes: Tensor) -> Tensor:
        """Class codes (any shape, int64) to ranks from 0; `IGNORED` where there is no class."""
        return indices_of(codes, self.codes)

    def fitted(self, samples: Samples) -> Self:
        counts = label_counts(samples, self.codes).sum(axis=0)
        check_counts(self.names, counts)
        return replace(self, counts=tuple(int(count) for count in counts))

    def loss(self, head: Head, features: Features, batch: Batch) -> Tensor:
        raw = raw_pixels(head, features)
        found = labelled_pixels(raw, self.codes, batch, features.on_base_grid(features.seen))
        if found is None:
            return raw.sum() * 0.0
        flat, truth, counts = found
        weights = class_weights(self.weighting, self.counts, raw, len(self.codes))
        return self.link.loss(Labelled(flat, truth, weights, counts))

    def answer(self, head: Head, features: Features) -> Tensor:
        shares = self.link.probabilities(raw_pixels(head, features))
        return torch.where(features.on_base_grid(features.seen)[:, None], shares, torch.nan)

    def score(self) -> Score[Tensor]:
        return OrdinalScore(PixelScore, self.codes, self.names)

    def config(self) -> dict[str, Any]:
        own = {"link": self.link.config(), "colours": [list(c) for c in self.colours]}
        return class_config(self) | own

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        link = link_from(config["link"])
        return cls(colours=colours_from(config), link=link, **class_arguments(config))


@final
@dataclass(frozen=True)
class SceneOrdinal(Task[Tensor]):
    """The task of telling the one class of a whole chip, where classes stand in an order.

    `codes` are from the lowest to the highest class; the target is `SceneClasses` of one code. The
    answer is the probability of each class (B, K), NaN for chips of which nothing was seen. A chip
    counts as much as the mean of its `Chip.weight`.
    """

    name: ClassVar[str] = "scene-ordinal"
    main: ClassVar[str] = "quadratic_kappa"
    codes: tuple[int, ...]
    names: tuple[str, ...]
    link: Link = Cumulative()
    weighting: ClassWeighting = Unweighted()
    counts: tuple[int, ...] | None = None
    """(K,) training chips of each class; None before `fitted`."""

    def __post_init__(self) -> None:
        check_classes(self.codes, self.names)
        check_fit(self.counts, len(self.codes))

    @property
    def outputs(self) -> int:
        return len(self.codes) - 1

    def fitted(self, samples: Samples) -> Self:
        return replace(self, counts=count_scenes(samples, self.codes, self.names))

    def loss(self, head: Head, features: Features, batch: Batch) -> Tensor:
        raw = raw_scenes(head, features)
        truth = scene_indices(batch, self.codes, raw.device)
        at = (truth != IGNORED) & seen_scenes(features)
        if not at.any():
            return raw.sum() * 0.0
        weights = class_weights(self.weighting, self.counts, raw, len(self.codes))
        return self.link.loss(Labelled(raw[at], truth[at], weights, weights_at(batch, at)))

    def answer(self, head: Head, features: Features) -> Tensor:
        return scenes_where_seen(self.link.probabilities(raw_scenes(head, features)), features)

    def score(self) -> Score[Tensor]:
        return OrdinalScore(SceneScore, self.codes, self.names)

    def config(self) -> dict[str, Any]:
        return class_config(self) | {"link": self.link.config()}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        return cls(link=link_from(config["link"]), **class_arguments(config))


@final
class OrdinalScore(Score[Tensor]):
    """The metrics of `ClassTally`, and `mae`, the mean number of classes that an answer is away
    from the truth, and `quadratic_kappa` (Cohen 1968).

    The class that is told is the median of the probabilities.
    """

    def __init__(
        self,
        kind: type[PixelScore] | type[SceneScore],
        codes: tuple[int, ...],
        names: tuple[str, ...],
    ) -> None:
        self._tally = ClassTally(names, median_class)
        self._inner = kind(codes, self._tally)

    def update(self, answer: Tensor, batch: Batch) -> None:
        self._inner.update(answer, batch)

    def compute(self) -> Mapping[str, float]:
        found = self._tally.confusion
        own = {"mae": found.mean_steps, "quadratic_kappa": found.quadratic_kappa}
        return self._tally.metrics() | own


def median_class(shares: NDArray[np.float64]) -> NDArray[np.int64]:
    """(N,) index of the class at which probabilities (N, K), added up, reach one half.

    Of all answers it is, on average, the fewest classes from the truth.
    """
    below = shares.cumsum(axis=1)[:, :-1] < 0.5
    told: NDArray[np.int64] = below.sum(axis=1)
    return told


def decide_by_median(
    probabilities: NDArray[np.float32], codes: tuple[int, ...]
) -> NDArray[np.uint8]:
    """Class codes (H, W) from probabilities (K, H, W) of classes in their order; `UNLABELLED` where
    they are NaN. What `earthloom.tasks.decide` is for classes without an order."""
    rows = probabilities.reshape(len(codes), -1).T.astype(np.float64)
    chosen: NDArray[np.uint8] = np.asarray(codes, np.uint8)[median_class(np.nan_to_num(rows))]
    chosen[np.isnan(rows[:, 0])] = UNLABELLED
    return chosen.reshape(probabilities.shape[1:])
