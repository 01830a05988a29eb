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
from earthloom.fit.lora import add_low_rank, merge_low_rank
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


@dataclass(frozen=True)
class ByGradient(ABC):
    """What all of them have in common."""

    name: ClassVar[str]
    part: ClassVar[Part] = "network"
    trains_encoder: ClassVar[bool] = True
    decays: ClassVar[tuple[float, ...]] = (0.75,)
    """Layer-wise decays of the rate that are tried beside its own."""
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
        """Learning rates around the default, then the same with another decay by depth."""
        others = (decay for decay in self.decays if decay != self.layer_decay)
        made = [
            replace(self, rate=self.rate * rate, layer_decay=decay)
            for decay, rate in product((self.layer_decay, *others), RATES)
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
        own, head = self.start(encoder, task, seed)
        training = self.bounded(own, head, task, train, self.settings(task, seed))
        trained = self.trained(own, head, task, train, training, validation)
        return self.model(own, trained, task, training)

    def start(self, encoder: Encoder, task: Task[Any], seed: int) -> tuple[Encoder, Head]:
        """A copy of the encoder, of which what is trained has `requires_grad`, and a new head."""
        own = copy.deepcopy(encoder).requires_grad_(False)
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            head = self.heads.make(own, task)
            self.choose(own)
        return own, head

    def card(self) -> dict[str, Any]:
        """What its record says beside the settings of the training, as JSON values."""
        return {}

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

    def bounded(
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

    def model(
        self, encoder: Encoder, trained: Trained, task: Task[Any], training: Training
    ) -> Model:
        """What was trained as a model with its record."""
        record = {
            "adaptation": self.name,
            **self.card(),
            "settings": training.card(),
            "steps": trained.steps,
            "best_step": trained.best_step,
            "stopped": trained.stopped,
            "seed": training.seed,
        }
        for part in (encoder, trained.head):
            part.requires_grad_(True).eval()
        return Model((Member(encoder.cpu(), trained.head),), task, threshold=None, record=record)


@final
@dataclass(frozen=True)
class Full(ByGradient):
    """Encoder and head are trained."""

    name: ClassVar[str] = "full"

    def choose(self, encoder: Encoder) -> None:
        encoder.requires_grad_(True)


@final
@dataclass(frozen=True)
class LayerWise(ByGradient):
    """Encoder and head are trained, the more slowly the deeper a parameter lies.

    Rates that fall with depth are by Howard and Ruder (2018); Clark et al. (2020), "ELECTRA", and
    Bao et al. (2022), "BEiT", fine-tune with them. ContractError for an encoder that does not state
    its blocks, for which there is no depth to go by.
    """

    name: ClassVar[str] = "layer-wise"
    decays: ClassVar[tuple[float, ...]] = (0.75, 0.9)
    layer_decay: float | None = 0.75
    """What the rate is multiplied by with each block, away from the head."""

    def choose(self, encoder: Encoder) -> None:
        if not encoder.blocks:
            raise ContractError(
                f"the encoder {encoder.name} does not state its blocks, so that no rate can fall "
                "with their depth; valid are encoders with blocks, or another way of fitting: full"
            )
        encoder.requires_grad_(True)


@final
@dataclass(frozen=True)
class HeadOnly(ByGradient):
    """The encoder is frozen. Without augmentation its features are computed once and kept."""

    name: ClassVar[str] = "head"
    part: ClassVar[Part] = "head"
    trains_encoder: ClassVar[bool] = False
    decays: ClassVar[tuple[float, ...]] = ()
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

    def card(self) -> dict[str, Any]:
        return {"last": self.last}


@final
@dataclass(frozen=True)
class BitFit(ByGradient):
    """The head, and biases and norms of the encoder, are trained (Ben Zaken et al. 2022)."""

    name: ClassVar[str] = "bitfit"

    def choose(self, encoder: Encoder) -> None:
        for parameter in encoder.parameters():
            parameter.requires_grad_(parameter.ndim <= 1)


@final
@dataclass(frozen=True)
class LoRA(ByGradient):
    """The head, and changes of low rank to the encoder's matrices, are trained (Hu et al. 2022).

    See `earthloom.fit.lora`. In the end the changes are added to the matrices, so that the model is
    a plain one. ContractError where no matrix of the encoder is meant.
    """

    name: ClassVar[str] = "lora"
    rank: int = 8
    """Of a change; that of the matrix where it is lower."""
    alpha: float = 16.0
    """A change counts `alpha / rank`, so that the rate that suits one rank suits others too."""
    layers: tuple[str, ...] = ("*",)
    """Patterns of names of modules, as in a shell: `*.qkv`."""

    def choose(self, encoder: Encoder) -> None:
        add_low_rank(encoder, self.rank, self.alpha, self.layers)

    def card(self) -> dict[str, Any]:
        return {"rank": self.rank, "alpha": self.alpha, "layers": list(self.layers)}

    def trained(
        self,
        encoder: Encoder,
        head: Head,
        task: Task[Any],
        samples: Samples,
        training: Training,
        validation: Samples | None,
    ) -> Trained:
        found = train(encoder, head, task, samples, training, validation)
        merge_low_rank(encoder)
        return found
