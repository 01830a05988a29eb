"""What every task has in common: a loss, an answer, and a score, with a head between."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, Self, TypeVar

from torch import Tensor

from earthloom.encoders import Features
from earthloom.sample import Chip, Samples
from earthloom.sample.batch import Batch
from earthloom.tasks.heads import Head

Answer = TypeVar("Answer")
"""What a task says of a batch. Of pixels: (B, P, H, W) float32 on the base grid, NaN where nothing
was seen. Of whole chips: (B, P) float32. Of things: a tuple of one entry a chip."""


class Score(ABC, Generic[Answer]):
    """How good answers are, over any number of batches."""

    @abstractmethod
    def update(self, answer: Answer, batch: Batch) -> None:
        """Takes the answers to a batch that carries its labels or targets."""

    @abstractmethod
    def compute(self) -> Mapping[str, float]:
        """Metrics of all that was seen, by name; NaN where there was nothing to measure. Lower-case
        names in the field's words: `accuracy`, `macro_f1`, `r2`, `map_50`."""


class Task(ABC, Generic[Answer]):
    """What is predicted. A frozen dataclass without weights; those stand in encoders and heads.

    Codes, names and units come with the task, so that a model says what its numbers mean.
    """

    name: ClassVar[str]
    """As the registry of datasets calls it: `pixel-class`, `scene-value`."""
    main: ClassVar[str]
    """The metric of `Score.compute` that decides between models; higher is better."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Numbers that a head gives for each pixel, chip or thing."""

    @abstractmethod
    def fitted(self, samples: Samples) -> Self:
        """The same task with what its loss must know of the training data: counts of classes, the
        spread of values. LabelError where the samples hold nothing to learn from."""

    @abstractmethod
    def loss(self, head: Head, features: Features, batch: Batch) -> Tensor:
        """() mean loss over what is labelled; 0, with a gradient, where nothing is."""

    @abstractmethod
    def answer(self, head: Head, features: Features) -> Answer:
        """The answer to each chip of a batch."""

    @abstractmethod
    def score(self) -> Score[Answer]:
        """A score that has seen nothing yet."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """Arguments, as JSON values, from which `from_config` makes the same task again."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        """The task that `config` was asked of."""


def raw_pixels(head: Head, features: Features) -> Tensor:
    """(B, P, H, W): what a `DenseHead` gives for every pixel, on the base grid."""
    return features.on_base_grid(head(features.pixels).float())


def raw_scenes(head: Head, features: Features) -> Tensor:
    """(B, P): what a `DenseHead` gives for every chip as a whole."""
    raw: Tensor = head(features.scene()[:, :, None, None]).float()
    return raw[:, :, 0, 0]


def chip_weights(batch: Batch) -> Tensor | None:
    """(B,) how much each chip counts as a whole: the mean of its weights; None for 1 each."""
    return None if batch.weight is None else batch.weight.mean(dim=(-2, -1))


def weights_at(batch: Batch, at: Tensor) -> Tensor | None:
    """(N,) how much each of the N chips counts as a whole where `at` (B,) bool is True, on its
    device; None for 1 each."""
    each = chip_weights(batch)
    return None if each is None else each.to(at.device)[at]


def is_counted(chip: Chip) -> bool:
    """Whether a chip as a whole counts at all."""
    return chip.weight is None or bool(chip.weight.any())
