"""A pretraining that stands between two steps."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from earthloom.energy import Meter
from earthloom.errors import TrainingError
from earthloom.fit.training.average import Average
from earthloom.fit.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_optimiser,
    optimiser_tensors,
    save_checkpoint,
    sweep,
)
from earthloom.fit.training.quiet import Interrupts
from earthloom.pretrain.collapse import Look, look_at
from earthloom.pretrain.feed import Fed, Feed, chips_drawn
from earthloom.pretrain.learner import Given, Learner
from earthloom.pretrain.logs import Note, PretrainLog
from earthloom.pretrain.objective import Draw
from earthloom.pretrain.settings import Pretraining
from earthloom.sample.batch import Batch

if TYPE_CHECKING:
    from lightning.fabric import Fabric

_FUSED = ("cpu", "cuda", "mps")
"""Devices on which torch does a step of AdamW for all parameters at once."""

Tick = Callable[[int, int], None]
"""Is told how many steps of how many are done."""


@dataclass
class History:
    """What was seen so far."""

    notes: list[Note] = field(default_factory=list)
    looks: list[tuple[int, Look]] = field(default_factory=list)
    kwh: float = 0.0
    """By runs that were stopped."""
    seconds: float = 0.0
    """By runs that were stopped."""


class Run:
    """Weights, optimiser, average, and how far the batches have come."""

    def __init__(
        self,
        learner: Learner,
        feed: Feed,
        probe: Callable[[], Iterator[Batch]],
        settings: Pretraining,
        fabric: Fabric,
        meter: Meter,
        job: str,
    ) -> None:
        """Goes on from the checkpoint of the same job where the folder holds one."""
        self._learner, self._feed, self._probe = learner, feed, probe
        self._settings, self._fabric, self._meter, self._job = settings, fabric, meter, job
        learner.to(fabric.device)
        self._trained = learner.trained()
        self._average = None if settings.ema is None else Average(self._trained, settings.ema)
        optimiser = torch.optim.AdamW(
            learner.groups(settings.weight_decay),
            lr=settings.learning_rate,
            fused=fabric.device.type in _FUSED,
        )
        self._step, self._began = 0, time.perf_counter()
        self._losses: list[Tensor] = []
        self.history = History()
        self._resume(optimiser)
        self._module, self._optimiser = fabric.setup(learner, optimiser)
        self._log: PretrainLog | None = None
        if fabric.is_global_zero:
            self._log = PretrainLog(settings.folder, self._step, self.history.looks)

    @property
    def step(self) -> int:
        """Steps that are done."""
        return self._step

    @property
    def kwh(self) -> float:
        """Of all runs of this pretraining, on this machine."""
        return self.history.kwh + self._meter.use().kwh

    @property
    def seconds(self) -> float:
        """Of all runs."""
        return self.history.seconds + time.perf_counter() - self._began

    def go(self, interrupts: Interrupts, tick: Tick | None) -> None:
        """All steps that are left; KeyboardInterrupt, with a checkpoint, where the user asks."""
        settings, since = self._settings, time.perf_counter()
        batches = iter(self._feed)
        self._module.train()
        while self._step < settings.steps:
            norm = self._do_step(batches)
            last = self._step == settings.steps
            if last or self._step % settings.log_every == 0:
                since = self._note(norm, since)
            if last or self._step % settings.look_every == 0:
                since += self._look()
            if tick is not None and self._fabric.is_global_zero:
                tick(self._step, settings.steps)
            asked = self._any_rank(interrupts.asked)
            if last or asked or self._step % settings.checkpoint_every == 0:
                self._check()
                self._save()
            if asked and not last:
                raise KeyboardInterrupt

    def finish(self) -> Learner:
        """The learner with the average of its weights, where there is one, on the processor."""
        if self._average is not None:
            self._learner.put(self._average.values)
        self._learner.cpu().eval()
        return self._learner

    def close(self) -> None:
        """Ends what reads ahead, and the logs."""
        self._feed.close()
        if self._log is not None:
            self._log.close()

    def _do_step(self, batches: Iterator[Fed]) -> Tensor:
        """One step of the optimiser; the norm of its gradient."""
        settings = self._settings
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate(self._step)
        rows = []
        for number in range(settings.accumulation):
            draw = Draw(settings.seed, self._feed.taken, self._fabric.global_rank)
            fed = next(batches)
            held = number + 1 < settings.accumulation
            with self._fabric.no_backward_sync(self._module, enabled=held):
                given = Given(fed.batch.to(self._fabric.device), fed.source, draw)
                loss, seen = self._module(given)
                self._fabric.backward(loss / settings.accumulation)
            rows.append(torch.cat([loss.detach().float()[None], seen]))
        norm = torch.nn.utils.clip_grad_norm_(self._trained.values(), settings.clip)
        self._optimiser.step()
        self._optimiser.zero_grad()
        if self._average is not None:
            self._average.update(self._trained)
        self._losses.append(self._of_all_ranks(torch.stack(rows)))
        self._step += 1
        return norm

    def _rate(self, step: int) -> float:
        settings = self._settings
        return settings.learning_rate * settings.schedule.factor(step, settings.steps)

    def _note(self, norm: Tensor, since: float) -> float:
        """Writes what was seen of the steps since the note before; the time now."""
        settings = self._settings
        steps = len(self._losses)
        means = self._check().tolist()
        now = time.perf_counter()
        names = self._learner.part.names
        seen = dict(zip(names, means[1:], strict=True))
        note = Note(self._step, means[0], seen, self._rate(self._step - 1), float(norm))
        self.history.notes.append(note)
        before, after = (
            sum(chips_drawn(settings, at, self._fabric.world_size))
            for at in (self._step - steps, self._step)
        )
        if self._log is not None:
            self._log.note(note, (after - before) / max(now - since, 1e-9), self.kwh)
        self._losses = []
        return now

    def _check(self) -> Tensor:
        """(1 + N,) means over the steps since the last note; TrainingError where a loss is not a
        number."""
        if not self._losses:
            return torch.zeros(1 + len(self._learner.part.names))
        rows = torch.cat(self._losses)
        wrong = (~torch.isfinite(rows[:, 0])).nonzero()
        if len(wrong):
            step = self._step - len(self._losses) + int(wrong[0]) // len(self._losses[0])
            raise TrainingError(
                f"the loss became {rows[int(wrong[0]), 0].item()} in step {step + 1} of "
                f"{self._settings.steps}, at a learning rate of {self._rate(step):.3g}; try a "
                f"smaller learning_rate than {self._settings.learning_rate:g}"
            )
        return torch.nanmean(rows, dim=0).cpu()

    def _of_all_ranks(self, rows: Tensor) -> Tensor:
        """(ranks * n, 1 + N) of rows (n, 1 + N)."""
        if self._fabric.world_size == 1:
            return rows
        every = self._fabric.all_gather(rows)
        assert isinstance(every, Tensor)
        return every.reshape(-1, rows.shape[1])

    def _look(self) -> float:
        """Looks at the features; the seconds that it took."""
        began = time.perf_counter()
        if self._log is not None:
            settings = self._settings
            look = look_at(self._learner.loom, self._probe(), self._fabric.device, settings.seed)
            self.history.looks.append((self._step, look))
            self._log.look(self._step, look)
        self._module.train()
        return time.perf_counter() - began

    def _any_rank(self, asked: bool) -> bool:
        """Whether any rank was asked to stop: all stop after the same step."""
        if self._fabric.world_size == 1:
            return asked
        flags = self._fabric.all_gather(torch.tensor(asked, device=self._fabric.device))
        assert isinstance(flags, Tensor)
        return bool(flags.any())

    def _save(self) -> None:
        if self._log is None:
            return
        losses = {"losses": torch.stack(self._losses)} if self._losses else {}
        tensors = {
            "model": {name: value.detach() for name, value in self._trained.items()},
            "optimiser": optimiser_tensors(self._optimiser),
            "average": {} if self._average is None else self._average.values,
            "since": losses,
        }
        history = self.history
        state = {
            "step": self._step,
            "feed": self._feed.state_dict(),
            "averaged": 0 if self._average is None else self._average.taken,
            "notes": [_json(note.to_json()) for note in history.notes],
            "looks": [[step, _json(vars(look))] for step, look in history.looks],
            "kwh": self.kwh,
            "seconds": self.seconds,
            "device": self._fabric.device.type,
        }
        save_checkpoint(Checkpoint(self._job, tensors, state), self._settings.folder)

    def _resume(self, optimiser: torch.optim.Optimizer) -> None:
        if self._fabric.is_global_zero:
            sweep(self._settings.folder)
        found = load_checkpoint(self._settings.folder)
        if found is None or found.job != self._job:
            return
        state, tensors = found.state, found.tensors
        self._learner.put(tensors["model"])
        load_optimiser(optimiser, tensors["optimiser"])
        if self._average is not None:
            self._average.load(tensors["average"], state["averaged"])
        device = self._fabric.device
        self._losses = [each.to(device) for each in tensors.get("since", {}).get("losses", [])]
        self._step = state["step"]
        self._feed.load_state_dict(state["feed"])
        self.history = history_of(state)


def history_of(state: Mapping[str, Any]) -> History:
    """What the state of a checkpoint says was seen until then."""
    notes = [Note(**_numbers(each)) for each in state["notes"]]
    looks = [(int(step), Look(**_numbers(each))) for step, each in state["looks"]]
    return History(notes, looks, state["kwh"], state["seconds"])


def _json(value: Any) -> Any:
    """None for what is not a number, which JSON does not know."""
    if isinstance(value, dict):
        return {name: _json(each) for name, each in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _numbers(value: Any) -> Any:
    """The inverse of `_json`."""
    if isinstance(value, dict):
        return {name: _numbers(each) for name, each in value.items()}
    return math.nan if value is None else value
