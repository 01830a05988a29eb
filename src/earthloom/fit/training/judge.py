"""How good the weights are on samples that they are not trained on."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from earthloom.chips.loader import Loader
from earthloom.fit.training.learner import Learner
from earthloom.fit.training.settings import Watch
from earthloom.sample.batch import Batch
from earthloom.sample.target import says_anything
from earthloom.tasks.base import Task

LOSS = "loss"
Rank = tuple[float, float]
"""What decides, then what decides between equals; higher is better."""
NO_RANK: Rank = (-math.inf, -math.inf)
"""Of a look that says nothing."""


class Judge:
    """Looks at the validation samples, and says whether they were never better answered.

    Of few samples the main metric takes few values, and it is often perfect, or still 0, in look
    after look: between equals the loss decides. It also decides among looks whose metric is not a
    number, such as R2 of one sample. A look whose loss is not a number either says nothing, and no
    patience is lost over it.
    """

    def __init__(self, batches: Loader, task: Task[Any], watch: Watch) -> None:
        self._batches, self._task, self._watch = batches, task, watch
        self.best = NO_RANK
        self.since = 0
        """Validations since the best one."""

    @property
    def informed(self) -> bool:
        """Whether any look said anything."""
        return self.best != NO_RANK

    def look(self, learner: Learner, device: torch.device, autocast: Any) -> dict[str, float]:
        """The task's score over all validation chips, where it is watched, and `loss`, the mean
        over those that have an answer, NaN where none has.

        `autocast` makes the context that the network computes in.
        """
        score, total, seen = self._task.score(), 0.0, 0
        learner.eval()
        self._batches.set_epoch(0)
        # Not inference_mode: what a network keeps of it, such as a grid, must serve training too.
        with torch.no_grad():
            for batch in self._batches:
                batch = batch.to(device)
                with autocast():
                    features = learner.encoder(batch)
                    loss = self._task.loss(learner.head, features, batch)
                    known = _answered(batch)
                    # The loss of chips of which nothing is known is 0, which is not good.
                    total += float(loss) * known if known else 0.0
                    seen += known
                    if self._watch == "loss":
                        continue
                    answer = self._task.answer(learner.head, features)
                score.update(answer, batch)
        metrics = {} if self._watch == "loss" else dict(score.compute())
        return metrics | {LOSS: total / seen if seen else math.nan}

    def is_best(self, metrics: Mapping[str, float]) -> bool:
        """Whether these are better than all before."""
        rank = self._rank(metrics)
        if rank == NO_RANK:
            return False
        if rank > self.best:
            self.best, self.since = rank, 0
            return True
        self.since += 1
        return False

    def close(self) -> None:
        """Ends what reads ahead."""
        self._batches.close()

    def _rank(self, metrics: Mapping[str, float]) -> Rank:
        loss = _number(-metrics[LOSS])
        return (loss if self._watch == "loss" else _number(metrics[self._task.main]), loss)


def _number(value: float) -> float:
    """Itself; lower than all others where it is not a number."""
    return -math.inf if math.isnan(value) else value


def _answered(batch: Batch) -> int:
    """How many chips of a batch have an answer."""
    count, label = len(batch.ids), batch.usable_label
    labelled = [False] * count if label is None else label.flatten(1).any(dim=1).tolist()
    targets = batch.targets or (None,) * count
    return sum(
        has_class or says_anything(target)
        for has_class, target in zip(labelled, targets, strict=True)
    )
