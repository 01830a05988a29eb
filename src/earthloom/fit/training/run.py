"""A training that stands between two steps."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from earthloom.chips.loader import Loader
from earthloom.errors import TrainingError
from earthloom.fit.augment import Augment
from earthloom.fit.training.average import Average
from earthloom.fit.training.checkpoint import (
    Checkpoint,
    load_checkpoint,
    load_optimiser,
    load_random,
    optimiser_tensors,
    random_tensors,
    save_checkpoint,
    sweep,
)
from earthloom.fit.training.groups import parameter_groups
from earthloom.fit.training.judge import Judge
from earthloom.fit.training.learner import Learner
from earthloom.fit.training.logs import (
    FolderLog,
    Log,
    NoLog,
    validation_from_json,
    validation_json,
)
from earthloom.fit.training.quiet import Interrupts, quiet_lightning
from earthloom.fit.training.result import Entry, Trained, Validation
from earthloom.fit.training.settings import Precision, Training
from earthloom.sample.batch import Batch

if TYPE_CHECKING:
    from lightning.fabric import Fabric

    from earthloom.progress import Tick

ALL_DONE = "all steps done"
NOTHING_KNOWN = "; no look at the validation chips gave a number"
_PRECISION: dict[Precision, str] = {"fp32": "32-true", "bf16": "bf16-mixed"}
_FUSED = ("cpu", "cuda", "mps")
"""Devices on which torch does a step of AdamW for all parameters at once."""


def fabric_for(training: Training) -> Fabric:
    """What Lightning finds to train on."""
    # Slow to import; those who only read models do not wait for it.
    from lightning.fabric import Fabric

    with quiet_lightning():
        precision: Any = _PRECISION[training.precision]
        return Fabric(accelerator="auto", devices=1, precision=precision)


class Run:
    """Weights, optimiser, average, best state, and how far the batches have come."""

    def __init__(
        self,
        learner: Learner,
        batches: Loader,
        training: Training,
        fabric: Fabric,
        job: str,
        augment: Augment | None,
        judge: Judge | None,
    ) -> None:
        """Goes on from the checkpoint of the same job where the training's folder holds one."""
        self._learner = learner.to(fabric.device)
        self._batches, self._training, self._fabric = batches, training, fabric
        self._job, self._augment, self._judge = job, augment, judge
        self._trained = learner.trained()
        self._optimiser = _optimiser(learner, training, fabric.device)
        self._average = None if training.ema is None else Average(self._trained, training.ema)
        self._best: dict[str, Tensor] | None = None
        self._best_step, self._step, self._stopped = 0, 0, ""
        self._losses: list[Tensor] = []
        self._entries: list[Entry] = []
        self._validations: list[Validation] = []
        self._resume()
        self._log: Log = NoLog()
        if training.folder is not None:
            self._log = FolderLog(training.folder, self._step)

    def go(self, interrupts: Interrupts, tick: Tick | None) -> None:
        """Steps until there is a reason to stop; KeyboardInterrupt, with a checkpoint, where the
        user asks for it."""
        training, since = self._training, time.perf_counter()
        batches = iter(self._batches)
        self._learner.learn()
        while not self._stopped:
            norm = self._do_step(batches)
            done = self._step
            if done % training.log_every == 0 or done == training.steps:
                since = self._note(norm, since)
            if self._judge is not None and _is_due(done, training.validate_every, training.steps):
                since = self._validate(self._judge, norm, since)
            if done == training.steps:
                self._stopped = self._stopped or ALL_DONE + self._unjudged()
            if tick is not None:
                tick(done, training.steps)
            if interrupts.asked and not self._stopped:
                self._check_losses()
                self._save()
                raise KeyboardInterrupt
            every = training.checkpoint_every
            if self._stopped or (every is not None and done % every == 0):
                self._check_losses()
                self._save()

    def result(self) -> Trained:
        """The best state, or the last one, on the processor."""
        learner = self._learner
        learner.put(self._best or self._candidate())
        learner.cpu().eval()
        return Trained(
            learner.encoder,
            learner.head,
            tuple(self._entries),
            tuple(self._validations),
            self._step,
            self._stopped,
            self._best_step or self._step,
        )

    def close(self) -> None:
        """Ends what reads ahead, and the logs."""
        self._batches.close()
        if self._judge is not None:
            self._judge.close()
        self._log.close()

    def _do_step(self, batches: Iterator[Batch]) -> Tensor:
        """One step of the optimiser; the norm of its gradient."""
        training, share = self._training, 1 / self._training.accumulation
        self._set_rates()
        total = None
        for _ in range(training.accumulation):
            batch = next(batches).to(self._fabric.device)
            if self._augment is not None:
                # A step is an epoch to the augmentation: a chip that comes again is turned anew.
                batch = self._augment(batch, self._step)
            with self._fabric.autocast():
                loss = self._learner(batch) * share
            self._fabric.backward(loss)
            total = loss.detach() if total is None else total + loss.detach()
        assert total is not None
        most = math.inf if training.clip is None else training.clip
        norm = torch.nn.utils.clip_grad_norm_(self._trained.values(), most)
        self._optimiser.step()
        self._optimiser.zero_grad()
        if self._average is not None:
            self._average.update(self._trained)
        self._losses.append(total)
        self._step += 1
        return norm

    def _set_rates(self) -> None:
        step, steps, schedule = self._step, self._training.steps, self._training.schedule
        momentum = schedule.momentum(step, steps)
        for group in self._optimiser.param_groups:
            group["lr"] = self._rate(step) * group["lr_scale"]
            group["betas"] = (momentum, 0.999)

    def _rate(self, step: int) -> float:
        training = self._training
        return training.learning_rate * training.schedule.factor(step, training.steps)

    def _note(self, norm: Tensor, since: float) -> float:
        """Writes an entry of the steps since the one before; the time at which it stands."""
        losses = self._check_losses()
        if not losses:
            return since
        now = time.perf_counter()
        seen = len(losses) * self._training.batch * self._training.accumulation
        entry = Entry(
            self._step, sum(losses) / len(losses), self._rate(self._step - 1), float(norm)
        )
        self._entries.append(entry)
        self._log.entry(entry, seen / max(now - since, 1e-9))
        self._losses = []
        return now

    def _check_losses(self) -> list[float]:
        """The losses since the last entry; TrainingError where one is not a number."""
        if not self._losses:
            return []
        # One look for many steps: each look waits until a GPU has done all of them.
        losses: list[float] = torch.stack(self._losses).tolist()
        for step, loss in enumerate(losses, start=self._step - len(losses)):
            if not math.isfinite(loss):
                raise TrainingError(
                    f"the loss became {loss} in step {step + 1} of {self._training.steps}, at a "
                    f"learning rate of {self._rate(step):.3g}; try a smaller learning_rate than "
                    f"{self._training.learning_rate:g}"
                )
        return losses

    def _validate(self, judge: Judge, norm: Tensor, since: float) -> float:
        """Looks at the validation samples, with the average where there is one."""
        self._check_losses()
        began = time.perf_counter()
        now = {name: value.detach().clone() for name, value in self._trained.items()}
        candidate = self._candidate()
        self._learner.put(candidate)
        metrics = judge.look(self._learner, self._fabric.device, self._fabric.autocast)
        better = judge.is_best(metrics)
        if better:
            self._best, self._best_step = candidate, self._step
        self._learner.put(now)
        self._learner.learn()
        found = Validation(self._step, metrics, better)
        self._validations.append(found)
        self._log.validation(found)
        patience = self._training.patience
        if patience is not None and judge.since >= patience:
            self._stopped = f"no better validation in {judge.since} looks"
        return since + time.perf_counter() - began

    def _unjudged(self) -> str:
        """What to say where validation samples were given, and said nothing."""
        judge = self._judge
        return "" if judge is None or judge.informed else NOTHING_KNOWN

    def _candidate(self) -> dict[str, Tensor]:
        """A copy of what would be the result now."""
        kept = {name: value.detach().clone() for name, value in self._learner.kept().items()}
        if self._average is not None:
            kept |= {name: value.clone() for name, value in self._average.values.items()}
        return kept

    def _save(self) -> None:
        folder = self._training.folder
        if folder is None:
            return
        self._log.history(self._entries, self._validations)
        save_checkpoint(Checkpoint(self._job, self._tensors(), self._state()), folder)

    def _tensors(self) -> dict[str, dict[str, Tensor]]:
        losses = {"losses": torch.stack(self._losses)} if self._losses else {}
        return {
            "model": self._learner.kept(),
            "optimiser": optimiser_tensors(self._optimiser),
            "average": {} if self._average is None else self._average.values,
            "best": self._best or {},
            "random": random_tensors(self._fabric.device),
            "since": losses,
        }

    def _state(self) -> dict[str, Any]:
        judge = self._judge
        return {
            "step": self._step,
            "stopped": self._stopped,
            "loader": self._batches.state_dict(),
            "averaged": 0 if self._average is None else self._average.taken,
            "best": [None, None] if judge is None else [_json(value) for value in judge.best],
            "since": 0 if judge is None else judge.since,
            "best_step": self._best_step,
            "entries": [asdict(entry) for entry in self._entries],
            "validations": [validation_json(each) for each in self._validations],
        }

    def _resume(self) -> None:
        folder: Path | None = self._training.folder
        if folder is None:
            return
        sweep(folder)
        found = load_checkpoint(folder)
        if found is None or found.job != self._job:
            return
        state, tensors = found.state, found.tensors
        self._learner.put(dict(tensors.get("model", {})))
        load_optimiser(self._optimiser, tensors.get("optimiser", {}))
        if self._average is not None:
            self._average.load(tensors["average"], state["averaged"])
        device = self._fabric.device
        if "best" in tensors:
            self._best = {name: value.to(device) for name, value in tensors["best"].items()}
        self._losses = [each.to(device) for each in tensors.get("since", {}).get("losses", [])]
        self._step, self._stopped = state["step"], state["stopped"]
        self._best_step = state["best_step"]
        if self._judge is not None:
            first, second = (-math.inf if value is None else value for value in state["best"])
            self._judge.best = (first, second)
            self._judge.since = state["since"]
        self._entries = [Entry(**each) for each in state["entries"]]
        self._validations = [validation_from_json(each) for each in state["validations"]]
        self._batches.load_state_dict(state["loader"])
        load_random(tensors["random"], device)


def _json(value: float) -> float | None:
    """None for what is infinite, which JSON does not know."""
    return value if math.isfinite(value) else None


def _is_due(done: int, every: int, steps: int) -> bool:
    return done % every == 0 or done == steps


def _optimiser(learner: Learner, training: Training, device: torch.device) -> torch.optim.AdamW:
    groups = [
        {
            "params": list(group.parameters),
            "lr_scale": group.lr_scale,
            "weight_decay": training.weight_decay if group.decays else 0.0,
        }
        for group in parameter_groups(learner.encoder, learner.head, training.layer_decay)
    ]
    return torch.optim.AdamW(groups, lr=training.learning_rate, fused=device.type in _FUSED)
