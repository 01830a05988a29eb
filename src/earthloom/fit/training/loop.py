"""The loop: steps, validations, checkpoints, until there is a reason to stop."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from earthloom.chips.sampling import Rule
from earthloom.encoders import Encoder
from earthloom.errors import LabelError
from earthloom.fit.features import encoder_digest
from earthloom.fit.training.feed import augment_of, training_batches, validation_batches
from earthloom.fit.training.groups import trains
from earthloom.fit.training.judge import Judge
from earthloom.fit.training.kept import digest_of
from earthloom.fit.training.learner import Learner
from earthloom.fit.training.quiet import Interrupts, deterministic, own_random
from earthloom.fit.training.result import Trained
from earthloom.fit.training.run import Run, fabric_for
from earthloom.fit.training.settings import Training
from earthloom.sample import Samples
from earthloom.stages import canonical_json
from earthloom.tasks.base import Task
from earthloom.tasks.heads import Head

if TYPE_CHECKING:
    from earthloom.progress import Tick


def train(
    encoder: Encoder,
    head: Head,
    task: Task[Any],
    samples: Samples,
    training: Training,
    validation: Samples | None = None,
    tick: Tick | None = None,
    rule: Rule | None = None,
) -> Trained:
    """Trains what of an encoder and a head has `requires_grad`, in place, for a fitted task.

    What comes back has the weights of the best validation or, without validation samples, the last
    ones; their running average where `training.ema` is given. Where `training.folder` holds a
    checkpoint of the same job, training goes on from there, with the same numbers as if it had
    never stopped. `rule` says which chips are drawn; without one, all that have an answer, each as
    often as the others.

    LabelError where there is nothing to learn from, ContractError where the samples are not what
    the encoder was made for, TrainingError where the loss is not a number any more.
    """
    if not (trains(encoder) or trains(head)):
        raise LabelError("neither the encoder nor the head has a parameter that is trained")
    fabric = fabric_for(training)
    job = job_of(encoder, head, task, samples, validation, training)
    learner = Learner(encoder, head, task)
    batches = training_batches(samples, encoder, training, rule)
    judge = None
    if validation is not None and len(validation):
        looked_at = validation_batches(validation, encoder, training)
        judge = Judge(looked_at, task, training.watch)
    augment = augment_of(samples, batches, encoder, training)
    with own_random(training.seed, fabric.device), deterministic(), Interrupts() as interrupts:
        run = Run(learner, batches, training, fabric, job, augment, judge)
        try:
            run.go(interrupts, tick)
        finally:
            run.close()
    return run.result()


def job_of(
    encoder: Encoder,
    head: Head,
    task: Task[Any],
    samples: Samples,
    validation: Samples | None,
    training: Training,
) -> str:
    """Digest of all that decides the result, but of the pixels only where samples have a digest."""
    weights = hashlib.sha256()
    for name, value in sorted(head.state_dict().items()):
        weights.update(name.encode() + value.detach().cpu().contiguous().numpy().tobytes())
    card = {
        "training": training.card(),
        "encoder": encoder_digest(encoder),
        "head": [head.name, head.config(), weights.hexdigest()],
        "trained": [name for name, value in encoder.named_parameters() if value.requires_grad],
        "task": [task.name, task.config()],
        "samples": _card_of(samples),
        "validation": None if validation is None else _card_of(validation),
    }
    return hashlib.sha256(canonical_json(_plain(card)).encode()).hexdigest()


def _card_of(samples: Samples) -> list[Any]:
    specs = [spec.to_json() for spec in samples.specs.values()]
    return [len(samples), specs, digest_of(samples)]


def _plain(value: Any) -> Any:
    """JSON values without NaN or infinity, which have no canonical form."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
