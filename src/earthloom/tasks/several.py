"""Several tasks over one encoder, each with a head of its own."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Self, final

import torch
from torch import Tensor, nn

from earthloom.encoders import Features
from earthloom.errors import ContractError, LabelError, choices
from earthloom.sample import Samples
from earthloom.sample.batch import Batch
from earthloom.tasks.base import Score, Task
from earthloom.tasks.heads import Head

_KEY = re.compile(r"[a-z][a-z0-9_]*")
_LIMIT = 3.0
"""Of a learnt log variance, both ways. A likelihood can be below 0, and its weight would grow for
ever."""


class Heads(Head):
    """A head for each of several tasks, and what the weights of their losses are learnt as."""

    name = "several"

    def __init__(self, parts: Mapping[str, Head | Mapping[str, Any]]) -> None:
        """`parts` by the key of their task: heads, or what makes them, as `config` gives it."""
        super().__init__()
        made = {key: p if isinstance(p, Head) else _head_of(p) for key, p in parts.items()}
        # Under names of their own: a ModuleDict cannot hold `values`.
        self.parts = nn.ModuleDict({f"of_{key}": head for key, head in made.items()})
        self.log_variances = nn.ParameterDict(
            {f"of_{key}": nn.Parameter(torch.zeros(())) for key in made}
        )

    def __getitem__(self, key: str) -> Head:
        """The head of a task."""
        part = self.parts[f"of_{key}"]
        assert isinstance(part, Head)
        return part

    def log_variance(self, key: str) -> Tensor:
        """() the learnt log variance of a task's loss, within limits."""
        variance: Tensor = _LIMIT * torch.tanh(self.log_variances[f"of_{key}"] / _LIMIT)
        return variance

    def config(self) -> dict[str, Any]:
        keys = [name.removeprefix("of_") for name in self.parts]
        return {"parts": {key: {"name": self[key].name} | self[key].config() for key in keys}}


def _head_of(config: Mapping[str, Any]) -> Head:
    # The registry holds `Heads` as well.
    from earthloom.tasks.registry import HEADS

    rest = dict(config)
    return HEADS[rest.pop("name")](**rest)


@final
@dataclass(frozen=True)
class SeveralTasks(Task[Mapping[str, Any]]):
    """Tasks by key; an answer is a mapping of their answers.

    Each task learns from the chips whose label or target is of its kind. The losses are summed up
    with fixed weights, or with weights that are learnt: exp(-s) / 2 of a loss plus s / 2, s the log
    variance of its errors (Kendall, Gal and Cipolla 2018). ContractError for weights that do not
    fit the tasks.
    """

    tasks: tuple[tuple[str, Task[Any]], ...]
    """Key and task; keys are lower-case words, since scores are named after them."""
    weights: tuple[float, ...] | None = None
    """One a task, in their order; None for learnt ones."""

    name = "several"
    main = "mean"

    def __post_init__(self) -> None:
        keys = [key for key, _ in self.tasks]
        wrong = [key for key in keys if not _KEY.fullmatch(key)]
        if wrong or not keys or len(set(keys)) < len(keys):
            raise ContractError(
                "keys of tasks are lower-case words of letters, digits and _, each once, but are: "
                f"{choices(keys)}"
            )
        if self.weights is None:
            return
        if len(self.weights) != len(keys) or min(self.weights) < 0 or not any(self.weights):
            raise ContractError(
                f"{len(keys)} tasks take as many weights of 0 and above, not all 0; given are: "
                f"{choices(f'{weight:g}' for weight in self.weights)}"
            )

    @property
    def outputs(self) -> int:
        return sum(task.outputs for _, task in self.tasks)

    def heads(self, make: Callable[[Task[Any]], Head]) -> Heads:
        """A head for all, from heads that `make` gives for each task."""
        return Heads({key: make(task) for key, task in self.tasks})

    def fitted(self, samples: Samples) -> Self:
        """LabelError if there is nothing to learn from for any one of the tasks."""
        fitted = []
        for key, task in self.tasks:
            try:
                fitted.append((key, task.fitted(samples)))
            except LabelError as error:
                raise LabelError(f"task '{key}': {error}") from error
        return type(self)(tuple(fitted), self.weights)

    def loss(self, head: Head, features: Features, batch: Batch) -> Tensor:
        heads = _several(head)
        losses = {key: task.loss(heads[key], features, batch) for key, task in self.tasks}
        if self.weights is not None:
            weighted = [w * each for w, each in zip(self.weights, losses.values(), strict=True)]
            return torch.stack(weighted).sum()
        learnt = []
        for key, each in losses.items():
            spread = heads.log_variance(key)
            # A loss of 0 is one of nothing; it must not change the task's weight.
            weighed = 0.5 * (torch.exp(-spread) * each + spread)
            learnt.append(torch.where(each == 0, each + 0.0 * spread, weighed))
        return torch.stack(learnt).sum()

    def answer(self, head: Head, features: Features) -> Mapping[str, Any]:
        heads = _several(head)
        return {key: task.answer(heads[key], features) for key, task in self.tasks}

    def score(self) -> SeveralScore:
        return SeveralScore(self)

    def config(self) -> dict[str, Any]:
        tasks = [[key, {"name": task.name} | task.config()] for key, task in self.tasks]
        return {"tasks": tasks, "weights": self.weights}

    @classmethod
    def from_config(cls, config: Mapping[str, Any]) -> Self:
        weights = config["weights"]
        tasks = tuple((key, _task_of(value)) for key, value in config["tasks"])
        return cls(tasks, None if weights is None else tuple(weights))


def _task_of(config: Mapping[str, Any]) -> Task[Any]:
    # The registry holds `SeveralTasks` as well.
    from earthloom.tasks.registry import TASKS

    rest = dict(config)
    return TASKS[rest.pop("name")].from_config(rest)


def _several(head: Head) -> Heads:
    if not isinstance(head, Heads):
        raise ContractError(f"several tasks take a head of several heads, not '{head.name}'")
    return head


@final
class SeveralScore(Score[Mapping[str, Any]]):
    """The metrics of each task behind its key and `_`, and `mean`, the mean of the tasks' main
    metrics, without those that could not be measured."""

    def __init__(self, task: SeveralTasks) -> None:
        self._scores = {key: (each.main, each.score()) for key, each in task.tasks}

    def update(self, answer: Mapping[str, Any], batch: Batch) -> None:
        for key, (_, score) in self._scores.items():
            score.update(answer[key], batch)

    def compute(self) -> Mapping[str, float]:
        found: dict[str, float] = {}
        mains = []
        for key, (main, score) in self._scores.items():
            metrics = score.compute()
            mains.append(metrics[main])
            found |= {f"{key}_{name}": value for name, value in metrics.items()}
        measured = [value for value in mains if not math.isnan(value)]
        return found | {"mean": sum(measured) / len(measured) if measured else math.nan}
