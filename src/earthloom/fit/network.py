"""Training by gradient descent, with Lightning, on chips that are read as they are needed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import lightning as L
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.chips.loader import Loader, Loading
from earthloom.chips.sampling import Cycled, Sampler
from earthloom.encoders.base import Encoder
from earthloom.encoders.unet import UNet
from earthloom.errors import LabelError, choices
from earthloom.fit.augment import Augment
from earthloom.fit.model import Member, Model
from earthloom.fit.statistics import statistics_of
from earthloom.sample import Samples, chips_of
from earthloom.sample.batch import Batch
from earthloom.sample.needs import Needs
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
    labels = _label_counts(samples, task)
    counts = labels.sum(axis=0)
    statistics = statistics_of(samples)
    labelled = np.flatnonzero(labels.any(axis=1))
    members = []
    for number in range(choice.members):
        member_seed = seed * 1000 + number
        torch.manual_seed(member_seed)
        encoder = UNet(
            tuple(samples.specs.values()),
            statistics,
            width=choice.width,
            levels=choice.levels,
            norm=choice.norm,
        )
        head = ConvHead(encoder.channels, len(task.codes))
        augment = Augment(samples.specs, member_seed, crop=_crop(choice, samples))
        _train(
            _Training(encoder, head, task, _class_weights(counts), choice, augment),
            _batches(samples, labelled, encoder, choice, member_seed),
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
        augment: Augment,
    ) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self.task, self.choice, self.augment = task, choice, augment
        self.register_buffer("class_weights", class_weights)

    def training_step(self, batch: Batch, index: int) -> Tensor:
        # A step is an epoch to the augmentation: a chip that comes again is turned anew.
        batch = self.augment(batch, self.global_step)
        assert batch.label is not None
        logits = self.head(self.encoder(batch).pixels)
        weights = self.get_buffer("class_weights")
        return self.task.loss(logits, batch.label, weights, batch.weight)

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


class _Watch(L.Callback):
    """Tells a progress bar of every step."""

    def __init__(self, tick: Any) -> None:
        self._tick = tick

    def on_train_batch_end(self, trainer: L.Trainer, *_: Any) -> None:
        self._tick(trainer.global_step)


def _batches(
    samples: Samples,
    labelled: NDArray[np.int64],
    encoder: Encoder,
    choice: NetworkModel,
    seed: int,
) -> Loader:
    """As many batches as there are steps, of chips that hold labels."""
    order = Sampler(Cycled(labelled, choice.steps * choice.batch), seed)
    return Loader(samples, order, Loading(choice.batch, workers=1), Needs(encoder.layers))


def _crop(choice: NetworkModel, samples: Samples) -> int | None:
    """Pixels of the piece that a step trains on, whole ones of every layer; None where chips are
    not larger."""
    if choice.crop is None or choice.crop >= min(samples[0].shape):
        return None
    step = math.lcm(*(spec.factor for spec in samples.specs.values()))
    return max(choice.crop // step, 1) * step


def _train(module: _Training, batches: Loader, choice: NetworkModel, tick: Any) -> None:
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
    try:
        trainer.fit(module, batches)
    finally:
        batches.close()
    module.cpu()


def _label_counts(samples: Samples, task: PixelClasses) -> NDArray[np.int64]:
    """(n, K) labelled pixels of each class in each chip; LabelError with fewer than two classes."""
    counts = np.zeros((len(samples), 256), np.int64)
    for row, chip in zip(counts, chips_of(samples)):
        if chip.usable_label is not None:
            row += np.bincount(chip.usable_label.ravel(), minlength=256)
    counts = counts[:, list(task.codes)]
    totals = counts.sum(axis=0)
    present = [name for name, count in zip(task.names, totals, strict=True) if count]
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
