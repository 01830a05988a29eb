"""How good the weights are on samples that they are not trained on."""

from collections.abc import Mapping
from typing import Any

import torch

from earthloom.chips.loader import Loader
from earthloom.fit.training.learner import Learner
from earthloom.fit.training.settings import Watch
from earthloom.tasks.base import Task

LOSS = "loss"


class Judge:
    """Looks at the validation samples, and says whether they were never better answered."""

    def __init__(self, batches: Loader, task: Task[Any], watch: Watch) -> None:
        self._batches, self._task, self._watch = batches, task, watch
        self.best = float("-inf")
        """What decides, higher is better: the main metric, or the loss with its sign turned."""
        self.since = 0
        """Validations since the best one."""

    def metrics(self, learner: Learner, device: torch.device, autocast: Any) -> dict[str, float]:
        """The task's score over all validation chips; the mean loss of a chip where that decides.

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
                    if self._watch == "loss":
                        loss = self._task.loss(learner.head, features, batch)
                        total += float(loss) * len(batch.ids)
                        seen += len(batch.ids)
                        continue
                    answer = self._task.answer(learner.head, features)
                score.update(answer, batch)
        if self._watch == "loss":
            return {LOSS: total / max(seen, 1)}
        return dict(score.compute())

    def is_best(self, metrics: Mapping[str, float]) -> bool:
        """Whether these are better than all before; never where they are not a number."""
        value = -metrics[LOSS] if self._watch == "loss" else metrics[self._task.main]
        if value > self.best:
            self.best, self.since = value, 0
            return True
        self.since += 1
        return False

    def close(self) -> None:
        """Ends what reads ahead."""
        self._batches.close()
