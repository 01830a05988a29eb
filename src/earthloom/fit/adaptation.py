"""The one door to all ways of fitting: an encoder, samples and a task in, a model out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from earthloom.encoders import Encoder
from earthloom.fit.model import Model
from earthloom.sample import Samples
from earthloom.tasks.base import Task


class Adaptation(Protocol):
    """A way to make a model of an encoder, with its settings; a frozen dataclass."""

    @property
    def name(self) -> str:
        """As results name it: `linear`, `knn`, `full`."""
        ...

    @property
    def trains_encoder(self) -> bool:
        """Whether the encoder's own weights change; the caller's encoder never does."""
        ...

    def serves(self, task: Task[Any]) -> bool:
        """Whether it can fit such a task."""
        ...

    def candidates(self, budget: int) -> Sequence[Adaptation]:
        """Settings worth a try, `budget` at most, the default first; always the same ones."""
        ...

    def fit(
        self,
        encoder: Encoder,
        train: Samples,
        task: Task[Any],
        seed: int,
        validation: Samples | None = None,
    ) -> Model:
        """A model of the training samples; the same seed gives the same model on one machine.

        `validation` may decide when to stop, and nothing else. LabelError where there is nothing to
        learn from, ContractError where the samples are not what the encoder was made for.
        """
        ...
