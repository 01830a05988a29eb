"""Fewer chips at once where memory is short: a step stays a step, in more batches."""

import copy
import math
from dataclasses import replace
from typing import Any

import torch

from earthloom.encoders import Encoder
from earthloom.errors import ProjectError
from earthloom.fit.budget import MARGIN, gpu_peak, torch_peak
from earthloom.fit.training.feed import training_batches
from earthloom.fit.training.learner import Learner
from earthloom.fit.training.settings import Training
from earthloom.sample import Samples, Subset
from earthloom.sample.batch import Batch
from earthloom.tasks.base import Task
from earthloom.tasks.heads import Head

SHARE = 0.8
"""Of a GPU's whole memory that a training may take; what is free now would not be the same
tomorrow."""
_MOMENTS = 2
"""Tensors that AdamW keeps for each parameter."""


def memory_of(device: torch.device) -> int | None:
    """Bytes that a training may take on a device; None where nobody counts them."""
    if device.type != "cuda":
        return None
    return int(SHARE * torch.cuda.get_device_properties(device).total_memory)


def within_memory(
    encoder: Encoder,
    head: Head,
    task: Task[Any],
    samples: Samples,
    training: Training,
    budget: int,
    device: torch.device,
) -> Training:
    """The same training with as many chips a batch as fit into `budget` bytes.

    A step sees as many chips as before, in more batches: `accumulation` grows by what `batch`
    shrinks by. What is measured is a forward and backward pass of one chip, then of more, at their
    whole size. ProjectError if not even one fits.
    """
    learner = Learner(copy.deepcopy(encoder), copy.deepcopy(head), task).to(device)
    learner.learn()
    kept = _MOMENTS * sum(value.nbytes for value in learner.trained().values())
    fits = 0
    for count in (n for n in range(1, training.batch + 1) if training.batch % n == 0):
        batch = _some(samples, encoder, count).to(device)
        if MARGIN * (_peak(learner, batch, device) + kept) > budget:
            break
        fits = count
    if not fits:
        raise ProjectError(
            f"training does not fit into {budget / 1e6:.1f} MB even with one chip a batch; give it "
            "more memory, smaller chips or a smaller network"
        )
    return replace(
        training, batch=fits, accumulation=training.accumulation * (training.batch // fits)
    )


def _some(samples: Samples, encoder: Encoder, count: int) -> Batch:
    """The first chips, the first one again where there are too few."""
    rows = [row % len(samples) for row in range(count)]
    settings = Training(steps=1, batch=count, workers=0)
    return next(iter(training_batches(Subset(samples, rows), encoder, settings, None)))


def _peak(learner: Learner, batch: Batch, device: torch.device) -> float:
    """Bytes; infinite where they are not there."""

    def run() -> None:
        learner.zero_grad()
        learner(batch).backward()

    if device.type != "cuda":
        return torch_peak(run)
    try:
        return gpu_peak(run, str(device))
    except torch.OutOfMemoryError:
        return math.inf
