"""What is trained: encoder and head as one module whose answer is the loss."""

from typing import Any

import torch
from torch import Tensor, nn

from earthloom.encoders import Encoder
from earthloom.fit.training.groups import set_mode, trains
from earthloom.sample.batch import Batch
from earthloom.tasks.base import Task
from earthloom.tasks.heads import Head


class Learner(nn.Module):
    """An encoder and a head under a task's loss."""

    def __init__(self, encoder: Encoder, head: Head, task: Task[Any]) -> None:
        super().__init__()
        self.encoder, self.head = encoder, head
        self._task = task
        self._encoder_learns = trains(encoder)

    def forward(self, batch: Batch) -> Tensor:
        """() the loss of a batch."""
        with torch.set_grad_enabled(self._encoder_learns):
            features = self.encoder(batch)
        return self._task.loss(self.head, features, batch)

    def learn(self) -> None:
        """Training mode, but for what is frozen."""
        set_mode(self.encoder)
        set_mode(self.head)

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that change."""
        return {n: p for n, p in self.named_parameters() if p.requires_grad}

    def kept(self) -> dict[str, Tensor]:
        """All that training changes, and that a checkpoint must hold: what is learnt, and buffers,
        such as running means."""
        saved = self.state_dict(keep_vars=True)
        buffers = {name: value for name, value in self.named_buffers() if name in saved}
        return {**self.trained(), **buffers}

    @torch.no_grad()
    def put(self, values: dict[str, Tensor]) -> None:
        """Overwrites what `kept` gives, or a part of it."""
        own = self.kept()
        for name, value in values.items():
            own[name].copy_(value)
