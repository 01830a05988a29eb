"""Intervals that hold their level, by samples that a model was not fitted on."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from torch import Tensor

from earthloom.errors import ContractError
from earthloom.fit.model import Model
from earthloom.sample import Samples, chips_of
from earthloom.sample.batch import Batch, collate
from earthloom.tasks.base import Task
from earthloom.tasks.values import ValueTask


def with_held_out_intervals(model: Model, held_out: Samples) -> Model:
    """The same model with its intervals corrected, see `ValueTask.corrected`.

    With an `identity` link a model of several members keeps the promise too; with another it does
    so about, as each member's interval is moved before they are averaged. ContractError for a model
    that predicts no values, LabelError where too few truths are known.
    """
    task: Task[Any] = model.task
    if not isinstance(task, ValueTask):
        raise ContractError(
            f"intervals are corrected for the tasks scene-value and pixel-value, not for "
            f"'{task.name}'"
        )
    return replace(model, task=task.corrected(_answers(model, held_out)))


def _answers(model: Model, samples: Samples) -> Iterator[tuple[Tensor, Batch]]:
    for chip in chips_of(samples):
        batch = collate([chip])
        yield model.answer(batch), batch
