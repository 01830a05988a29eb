"""Networks trained from scratch, with what a project file says of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from earthloom.chips.sampling import Cycled
from earthloom.encoders import Encoder
from earthloom.encoders.unet import UNet
from earthloom.fit.model import Member, Model
from earthloom.fit.statistics import statistics_of
from earthloom.fit.training.loop import train
from earthloom.fit.training.settings import Training
from earthloom.sample import Samples
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
    labels = task.label_counts(samples)
    counts = labels.sum(axis=0)
    task = task.counted(counts)
    statistics = statistics_of(samples)
    labelled = np.flatnonzero(labels.any(axis=1))
    members = []
    for number in range(choice.members):
        training = training_of(choice, seed * 1000 + number)
        torch.manual_seed(training.seed)
        encoder: Encoder = UNet(
            tuple(samples.specs.values()),
            statistics,
            width=choice.width,
            levels=choice.levels,
            norm=choice.norm,
        )
        head: Head = ConvHead(encoder.channels, task.outputs)
        trained = train(
            encoder,
            head,
            task,
            samples,
            training,
            tick=_Part(tick, number * choice.steps, choice.members * choice.steps),
            rule=Cycled(labelled, training.drawn),
        )
        members.append(Member(trained.encoder, trained.head))
    record = {
        "labels": {name: int(count) for name, count in zip(task.names, counts, strict=True)},
        "settings": choice.as_inputs(),
        "seed": seed,
    }
    return Model(tuple(members), task, threshold=None, record=record)


def training_of(choice: NetworkModel, seed: int) -> Training:
    """What a project file says of a network's training."""
    return Training(
        steps=choice.steps,
        batch=choice.batch,
        learning_rate=choice.learning_rate,
        crop=choice.crop,
        seed=seed,
    )


class _Part:
    """Progress of one member, as a part of all."""

    def __init__(self, tick: Tick, first: int, total: int) -> None:
        self._tick, self._first, self._total = tick, first, total

    def __call__(self, done: int, total: int, detail: str = "") -> None:
        self._tick(self._first + done, self._total, detail)
