"""Ways of fitting by gradient descent, each an `Adaptation`."""

from __future__ import annotations

import copy
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice, product
from pathlib import Path
from typing import Any, ClassVar, Self, final

import torch

from earthloom.encoders import Encoder
from earthloom.errors import ContractError
from earthloom.fit.model import Member, Model
from earthloom.fit.training.defaults import Part, defaults_for
from earthloom.fit.training.groups import depths
from earthloom.fit.training.heads import FirstThatServes, HeadChoice
from earthloom.fit.training.kept import digest_of, kept_features
from earthloom.fit.training.loop import train
from earthloom.fit.training.memory import memory_of, within_memory
from earthloom.fit.training.result import Trained
from earthloom.fit.training.run import fabric_for
from earthloom.fit.training.settings import Training
from earthloom.sample import Samples
from earthloom.tasks.base import Task
from earthloom.tasks.heads import Head

RATES = (1.0, 1 / 3, 3.0, 0.1, 10.0)
"""Learning rates that are tried, as multiples of the default, which comes first."""
DECAYS = (1.0, 0.75)
"""Layer-wise decays of the rate that are tried where an encoder is trained."""


@dataclass(frozen=True)
class ByGradient(ABC):
    """What all of them have in common."""

    name: ClassVar[str]
    part: ClassVar[Part] = "network"
    trains_encoder: ClassVar[bool] = True
    training: Training | None = None
    """None for the defaults of the task; its seed is that of `fit` in any case."""
    heads: HeadChoice = field(default_factory=FirstThatServes)
    rate: float = 1.0
    """What the learning rate is multiplied by."""
    memory: int | None = None
    """Bytes that a training may take; None for most of a GPU's, and for any number elsewhere."""
    layer_decay: float | None = None
    """In the place of that of the training; None leaves it."""

    def serves(self, task: Task[Any]) -> bool:
        """Whether its heads fit such a task."""
        return self.heads.serves(task)

    def candidates(self, budget: int) -> Sequence[Self]:
        """Learning rates around the default, then the same with slower deep layers."""
        decays = DECAYS if self.trains_encoder else DECAYS[:1]
        made = [
            replace(self, rate=self.rate * rate, layer_decay=decay if decay != 1.0 else None)
            for decay, rate in product(decays, RATES)
        ]
        return list(islice(made, budget))

    def fit(
        self,
        encoder: Encoder,
        train: Samples,
        task: Task[Any],
        seed: int,
        validation: Samples | None = None,
    ) -> Model:
        """A model of the training samples, see `Adaptation.fit`; the caller's encoder stays as it
        is."""
        encoder.check(train.specs)
        task = task.fitted(train)
        own = copy.deepcopy(encoder)
        self.choose(own.requires_grad_(False))
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            head = self.heads.make(own, task)
        training = self._bounded(own, head, task, train, self.settings(task, seed))
        trained = self.trained(own, head, task, train, training, validation)
        return _model(self.name, own, trained, task, training)

    def settings(self, task: Task[Any], seed: int) -> Training:
        """How it trains."""
        training = self.training or defaults_for(task, self.part)
        decay = training.layer_decay if self.layer_decay is None else self.layer_decay
        return replace(
            training,
            learning_rate=training.learning_rate * self.rate,
            layer_decay=decay,
            seed=seed,
        )

    def _bounded(
        self, encoder: Encoder, head: Head, task: Task[Any], samples: Samples, training: Training
    ) -> Training:
        """With no more chips at once than memory holds."""
        device = fabric_for(training).device
        budget = memory_of(device) if self.memory is None else self.memory
        if budget is None:
            return training
        return within_memory(encoder, head, task, samples, training, budget, device)

    @abstractmethod
    def choose(self, encoder: Encoder) -> None:
        """Turns `requires_grad` on for what is trained of an encoder that is all frozen."""

    def trained(
        self,
        encoder: Encoder,
        head: Head,
        task: Task[Any],
        samples: Samples,
        training: Training,
        validation: Samples | None,
    ) -> Trained:
        """Runs the training."""
        return train(encoder, head, task, samples, training, validation)


@final
@dataclass(frozen=True)
class Full(ByGradient):
    """Encoder and head are trained."""

    name: ClassVar[str] = "full"

    def choose(self, encoder: Encoder) -> None:
        encoder.requires_grad_(True)


@final
@dataclass(frozen=True)
class HeadOnly(ByGradient):
    """The encoder is frozen. Without augmentation its features are computed once and kept."""

    name: ClassVar[str] = "head"
    part: ClassVar[Part] = "head"
    trains_encoder: ClassVar[bool] = False
    features: Path | None = None
    """Folder of the features of samples that have a digest; None for one that is gone in the end,
    which those of other samples go to in any case."""

    def choose(self, encoder: Encoder) -> None:
        """Nothing."""

    def trained(
        self,
        encoder: Encoder,
        head: Head,
        task: Task[Any],
        samples: Samples,
        training: Training,
        validation: Samples | None,
    ) -> Trained:
        if training.changes.any or training.crop is not None:
            return train(encoder, head, task, samples, training, validation)
        parts = {"train": samples}
        if validation is not None:
            parts["validation"] = validation
        with tempfile.TemporaryDirectory() as gone:
            # Features of chips without a digest could be taken for those of others.
            named = all(digest_of(each) for each in parts.values())
            folder = self.features if self.features and named else Path(gone)
            pyramid = self.heads.needs_pyramid(task)
            looked_up, answers = kept_features(encoder, parts, folder, pyramid)
            return train(
                looked_up, head, task, answers["train"], training, answers.get("validation")
            )


@final
@dataclass(frozen=True)
class Partial(ByGradient):
    """The head and the last blocks of the encoder are trained, with what follows them."""

    name: ClassVar[str] = "partial"
    last: int = 1
    """How many blocks."""

    def choose(self, encoder: Encoder) -> None:
        count = len(encoder.blocks)
        if not 1 <= self.last <= count:
            valid = f"1 to {count}" if count else "none, for it does not state its blocks"
            raise ContractError(
                f"the last {self.last} blocks of the encoder {encoder.name} are to be trained; "
                f"valid: {valid}"
            )
        deep = depths(encoder)
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_(deep[name] <= self.last)


@final
@dataclass(frozen=True)
class BitFit(ByGradient):
    """The head, and biases and norms of the encoder, are trained (Ben Zaken et al. 2022)."""

    name: ClassVar[str] = "bitfit"

    def choose(self, encoder: Encoder) -> None:
        for parameter in encoder.parameters():
            parameter.requires_grad_(parameter.ndim <= 1)


def _model(
    name: str, encoder: Encoder, trained: Trained, task: Task[Any], training: Training
) -> Model:
    record = {
        "adaptation": name,
        "settings": training.card(),
        "steps": trained.steps,
        "best_step": trained.best_step,
        "stopped": trained.stopped,
        "seed": training.seed,
    }
    for part in (encoder, trained.head):
        part.requires_grad_(True).eval()
    return Model((Member(encoder.cpu(), trained.head),), task, threshold=None, record=record)
