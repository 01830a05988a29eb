"""Training by gradient descent, with Lightning."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset

from earthloom.encoders.base import Encoder
from earthloom.encoders.unet import UNet
from earthloom.errors import LabelError, choices
from earthloom.fit.augment import cropped, turned
from earthloom.fit.model import Member, Model
from earthloom.fit.statistics import statistics_of
from earthloom.sample import UNLABELLED, Chip, Samples, chips_of
from earthloom.sample.batch import Batch, collate
from earthloom.tasks import Head, PixelClasses
from earthloom.tasks.heads import ConvHead

if TYPE_CHECKING:
    from earthloom.progress import Tick
    from earthloom.project import NetworkModel


def fit_network(
    samples: Samples, task: PixelClasses, choice: NetworkModel, seed: int, tick: Tick
) -> Model:
    """Trains the chosen network from scratch on all labelled pixels of the samples.

    Each of the model's members starts from a seed of its own. LabelError if fewer than two classes
    are labelled.
    """
    counts = _label_counts(samples, task)
    statistics = statistics_of(samples)
    chips = [chip for chip in chips_of(samples) if chip.label is not None and chip.label.any()]
    members = []
    for number in range(choice.members):
        member_seed = seed * 1000 + number
        torch.manual_seed(member_seed)
        encoder = UNet(
            tuple(samples.specs.values()), statistics, width=choice.width, levels=choice.levels
        )
        head = ConvHead(encoder.channels, len(task.codes))
        _train(
            _Training(encoder, head, task, _class_weights(counts), choice),
            _Draws(chips, choice, member_seed),
            choice,
            lambda step, first=number * choice.steps: tick(
                first + step, choice.members * choice.steps
            ),
        )
        members.append(Member(encoder.eval(), head.eval()))
    record = {
        "labels": {name: int(count) for name, count in zip(task.names, counts, strict=True)},
        "settings": choice.as_inputs(),
        "seed": seed,
    }
    return Model(tuple(members), task, threshold=None, record=record)


class _Training(L.LightningModule):
    """One member under training."""

    def __init__(
        self,
        encoder: Encoder,
        head: Head,
        task: PixelClasses,
        class_weights: Tensor,
        choice: NetworkModel,
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.task, self.choice = task, choice
        self.register_buffer("class_weights", class_weights)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        assert batch.label is not None
        logits = self.head(self.encoder(batch).pixels)
        return self.task.loss(logits, batch.label, self.get_buffer("class_weights"))

    def configure_optimizers(self) -> Any:
        optimiser = torch.optim.AdamW(
            self.parameters(), lr=self.choice.learning_rate, weight_decay=0.01
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, max_lr=self.choice.learning_rate, total_steps=self.choice.steps
        )
        return {
            "optimizer": optimiser,
            "lr_scheduler": {"scheduler": schedule, "interval": "step"},
        }


class _Draws(IterableDataset[Batch]):
    """Batches without end: chips drawn at random, cropped and turned, all from one seed."""

    def __init__(self, chips: list[Chip], choice: NetworkModel, seed: int) -> None:
        self.chips, self.choice, self.seed = chips, choice, seed

    def __iter__(self) -> Iterator[Batch]:
        for step in range(self.choice.steps):
            random = np.random.default_rng([self.seed, step])
            drawn = random.choice(len(self.chips), self.choice.batch)
            yield collate([self._prepared(self.chips[index], random) for index in drawn])

    def _prepared(self, chip: Chip, random: np.random.Generator) -> Chip:
        if self.choice.crop is not None and self.choice.crop < chip.shape.rows:
            chip = cropped(chip, self.choice.crop, random)
        return turned(chip, random)


class _Watch(L.Callback):
    """Tells a progress bar of every step."""

    def __init__(self, tick: Any) -> None:
        self._tick = tick

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self._tick(trainer.global_step)


def _train(module: _Training, draws: _Draws, choice: NetworkModel, tick: Any) -> None:
    trainer = L.Trainer(
        max_steps=choice.steps,
        accelerator="auto",
        devices=1,
        deterministic=True,
        gradient_clip_val=1.0,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[_Watch(tick)],
    )
    trainer.fit(module, DataLoader(draws, batch_size=None))
    module.cpu()


def _label_counts(samples: Samples, task: PixelClasses) -> NDArray[np.int64]:
    """(K,) labelled pixels of each class; LabelError if fewer than two classes have any."""
    totals = np.zeros(256, np.int64)
    for chip in chips_of(samples):
        if chip.label is not None:
            totals += np.bincount(chip.label.ravel(), minlength=256)
    totals[UNLABELLED] = 0
    counts = totals[list(task.codes)]
    present = [name for name, count in zip(task.names, counts, strict=True) if count]
    if len(present) < 2:
        raise LabelError(
            f"a model needs labels of two classes or more; the training chips have labels of: "
            f"{choices(present)}; the project's classes are: {choices(task.names)}"
        )
    return counts


def _class_weights(counts: NDArray[np.int64]) -> Tensor:
    """(K,) weights that fall with the root of a class's count: between equal pixels and equal
    classes. A class without labels has none to weigh."""
    present = counts > 0
    weights = np.where(present, 1 / np.sqrt(np.maximum(counts, 1)), 0)
    return torch.tensor(weights / weights[present].mean(), dtype=torch.float32)
