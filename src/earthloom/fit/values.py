"""Fitting a map of numbers, with what a project file says of the model.

Every such model gives an interval. One that is fitted without gradient descent is fitted anew
without each of a few parts of the groups of chips, and the interval is as wide as it takes to hold
the asked share of what those had not seen (cross-validated split conformal prediction: Lei et al.
2018, Barber et al. 2021). A network learns the interval's ends as quantiles, which the groups that
are set aside for it correct (conformalised quantile regression, Romano et al. 2019).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from earthloom.chips.folds import deal_groups
from earthloom.chips.sampling import Cycled
from earthloom.encoders import Encoder, Features
from earthloom.encoders.unet import UNet
from earthloom.errors import LabelError
from earthloom.fit.frozen import shallow_of
from earthloom.fit.intervals import with_held_out_intervals
from earthloom.fit.model import Member, Model
from earthloom.fit.network import training_of
from earthloom.fit.shallow import Rows, Shallow, gather
from earthloom.fit.shallow.rows import folds_of
from earthloom.fit.statistics import statistics_of
from earthloom.fit.training.loop import train
from earthloom.sample import Samples, Subset
from earthloom.sample.batch import Batch
from earthloom.sample.target import PixelValues
from earthloom.tasks.base import Task
from earthloom.tasks.heads import ConvHead
from earthloom.tasks.pixel_values import PixelValueTask
from earthloom.tasks.value_criteria import Quantiles, Squared

if TYPE_CHECKING:
    from earthloom.progress import Tick
    from earthloom.project import BoostedModel, ForestModel, LoomModel, NetworkModel, RidgeModel

PARTS = 5
"""Parts that groups of chips are dealt to; one at a time is set aside for the interval."""


def fit_values(
    samples: Samples,
    task: PixelValueTask,
    choice: RidgeModel | ForestModel | BoostedModel | LoomModel | NetworkModel,
    seed: int,
    tick: Tick,
) -> Model:
    """A model of the samples' known pixels. LabelError where too few are known for the interval, or
    where they are all the same."""
    if choice.name == "unet":
        return _network(samples, replace(task, criterion=_quantiles(task)), choice, seed, tick)
    encoder, adaptation = shallow_of(samples, choice)
    task = replace(task, criterion=Squared()).fitted(samples)
    rows = gather(encoder, samples, task, seed, adaptation.most, tick=tick).counted()
    _check_spread(rows, task)
    model = adaptation.fit_rows(rows, encoder, task, seed)
    corrected = task.corrected(_held_out_answers(rows, adaptation, encoder, task, seed))
    known = task.scale.in_unit(rows.answers)
    record = {
        "pixels": len(rows),
        "values": {"mean": float(known.mean()), "least": float(known.min()),
                   "greatest": float(known.max()), "unit": task.unit},
        "settings": choice.as_inputs(),
        "seed": seed,
        "solution": model.record["solution"],
        "interval": _interval(corrected),
    }  # fmt: skip
    return replace(model, task=corrected, record=record)


def _check_spread(rows: Rows, task: PixelValueTask) -> None:
    least, greatest = float(rows.answers.min()), float(rows.answers.max())
    if least == greatest:
        value = float(task.scale.in_unit(rows.answers[:1]))
        raise LabelError(
            f"all {len(rows)} labelled pixels have the same {task.quantity}, {value:g} "
            f"{task.unit}; a model needs values that differ"
        )


def _held_out_answers(
    rows: Rows, adaptation: Shallow, encoder: Encoder, task: PixelValueTask, seed: int
) -> Iterator[tuple[Tensor, Batch]]:
    """Answers to rows by models that were not fitted on their groups."""
    folds: NDArray[np.intp] = folds_of(rows, PARTS, seed)
    for number in np.unique(folds):
        aside = torch.from_numpy(folds == number)
        kept, held = rows.at(~aside), rows.at(aside)
        if not len(kept):
            continue
        (member,) = adaptation.fit_rows(kept, encoder, task, seed).members
        # Rows are an image one pixel wide.
        pixels = held.features.T[None, :, :, None]
        seen = torch.ones((1, len(held), 1), dtype=torch.bool)
        with torch.inference_mode():
            answer = task.answer(member.head, Features(pixels, seen))
        truth = task.scale.in_unit(held.answers)[:, None].numpy().astype(np.float32)
        target = PixelValues(truth, task.unit)
        weight = None if held.repeats is None else held.repeats.float()[None, :, None]
        yield answer, Batch((f"part {number}",), {}, None, targets=(target,), weight=weight)


def _network(
    samples: Samples, task: PixelValueTask, choice: NetworkModel, seed: int, tick: Tick
) -> Model:
    """Networks of quantiles, corrected by a part of the groups where there are enough."""
    groups, numbers = sorted(set(samples.groups)), range(len(samples))
    part = dict(zip(groups, deal_groups(groups, PARTS, seed).tolist(), strict=True))
    aside = {group for group in groups if len(groups) >= PARTS and part[group] == 0}
    held = [n for n in numbers if samples.groups[n] in aside]
    kept = Subset(samples, [n for n in numbers if samples.groups[n] not in aside])
    task = task.fitted(kept)
    statistics = statistics_of(kept)
    members = []
    for number in range(choice.members):
        training = training_of(choice, seed * 1000 + number)
        torch.manual_seed(training.seed)
        encoder: Encoder = UNet(
            tuple(samples.specs.values()), statistics,
            width=choice.width, levels=choice.levels, norm=choice.norm,
        )  # fmt: skip
        trained = train(
            encoder, ConvHead(encoder.channels, task.outputs), task, kept, training,
            tick=_Part(tick, number * choice.steps, choice.members * choice.steps),
            rule=Cycled(np.arange(len(kept)), training.drawn),
        )  # fmt: skip
        members.append(Member(trained.encoder, trained.head))
    model = Model(tuple(members), task, threshold=None, record={})
    if held:
        model = with_held_out_intervals(model, Subset(samples, held))
    record = {
        "chips": len(kept),
        "chips set aside for the interval": len(held),
        "settings": choice.as_inputs(),
        "seed": seed,
        "interval": _interval(model.task),
    }
    return replace(model, record=record)


class _Part:
    """Progress of one member, as a part of all."""

    def __init__(self, tick: Tick, first: int, total: int) -> None:
        self._tick, self._first, self._total = tick, first, total

    def __call__(self, done: int, total: int, detail: str = "") -> None:
        self._tick(self._first + done, self._total, detail)


def _quantiles(task: PixelValueTask) -> Quantiles:
    return Quantiles.of_interval(task.level)


def _interval(task: Task[Any]) -> dict[str, float | None]:
    """Level, and standard deviations by which held-out truths moved the ends."""
    assert isinstance(task, PixelValueTask)
    return {"level": task.level, "correction": task.correction}
