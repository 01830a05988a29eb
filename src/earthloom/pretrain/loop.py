"""Pretraining from its settings to a file of weights with its card."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from earthloom.encoders.loom import Loom, load_loom, save_weights
from earthloom.energy import Meter, metered
from earthloom.errors import ContractError
from earthloom.fit.training.quiet import Interrupts, deterministic, own_random, quiet_lightning
from earthloom.pretrain.card import card_of
from earthloom.pretrain.collapse import Look
from earthloom.pretrain.even import even_out, measure_slots
from earthloom.pretrain.feed import Feed, first_chips
from earthloom.pretrain.job import job_of
from earthloom.pretrain.learner import Learner, faces_of, flat_statistics
from earthloom.pretrain.logs import Note
from earthloom.pretrain.run import Run, Tick
from earthloom.pretrain.settings import Pretraining
from earthloom.sample import Samples

if TYPE_CHECKING:
    from lightning.fabric import Fabric

WEIGHTS = "weights.safetensors"


@dataclass(frozen=True)
class Pretrained:
    """What comes out of a pretraining."""

    loom: Loom
    """For the layers of the first source, in evaluation mode on the processor."""
    weights: Path
    """The file that `earthloom.encoders.loom.load_loom` reads."""
    notes: tuple[Note, ...]
    looks: tuple[tuple[int, Look], ...]
    """Steps that were done, and what was seen of the features then."""
    card: dict[str, Any]
    first: bool
    """Whether this process is the first of those that trained together, which wrote the file."""


def pretrain(settings: Pretraining, tick: Tick | None = None) -> Pretrained:
    """Pretrains a Loom and writes its weights in bfloat16, with a card, to the folder.

    Where the folder holds a checkpoint of the same settings and chips, it goes on from there, on a
    processor with the same losses as if it had never stopped. With several devices this process is
    one of them, and the others are started by Lightning; all return the same.

    ContractError where sources do not fit, TrainingError where the loss is not a number any more.
    """
    fabric = _fabric(settings)
    fabric.launch()
    opened = tuple(source.open() for source in settings.sources)
    with (
        own_random(settings.seed, fabric.device),
        deterministic(),
        Interrupts() as interrupts,
        metered() as meter,
    ):
        learner = _learner(settings, opened)
        with _running(settings, opened, learner, fabric, meter) as run:
            run.go(interrupts, tick)
            device = str(fabric.device.type)
            card = card_of(settings, run.history, run.kwh, run.seconds, device, run.step)
            learner = run.finish()
            even_out(learner.every_face, opened, settings.sources)
            loom = learner.loom
    file = settings.folder / WEIGHTS
    if fabric.is_global_zero:
        save_weights(loom, file, card=card)
    fabric.barrier()
    notes, looks = tuple(run.history.notes), tuple(run.history.looks)
    return Pretrained(loom, file, notes, looks, card, fabric.is_global_zero)


@contextmanager
def _running(
    settings: Pretraining,
    opened: tuple[Samples, ...],
    learner: Learner,
    fabric: Fabric,
    meter: Meter,
) -> Iterator[Run]:
    feed = Feed(opened, settings, fabric.world_size)
    probe = first_chips(opened[0], settings)
    job = job_of(settings, opened, fabric.world_size)
    run = Run(learner, feed, partial(iter, probe), settings, fabric, meter, job)
    try:
        yield run
    finally:
        run.close()
        probe.close()


def _learner(settings: Pretraining, opened: tuple[Samples, ...]) -> Learner:
    """A Loom with a face for each source, and what its objective needs."""
    layers = tuple(opened[0].specs.values())
    if settings.start is None:
        loom = Loom(layers, flat_statistics(layers), settings.size)
    else:
        loom = load_loom(layers, flat_statistics(layers), settings.start)
        if loom.size != settings.size:
            raise ContractError(
                f"size is '{settings.size}', but {settings.start} holds a loom of '{loom.size}'"
            )
    faces = faces_of(loom, opened)
    # What slots that are hidden are filled with is told to the network, too.
    measure_slots(faces, opened, settings.sources)
    return Learner(faces, settings.objective.part(loom))


def _fabric(settings: Pretraining) -> Fabric:
    # Slow to import; those who only read weights do not wait for it.
    from lightning.fabric import Fabric
    from lightning.fabric.strategies.ddp import DDPStrategy

    precision: Any = {"fp32": "32-true", "bf16": "bf16-mixed"}[settings.precision]
    # Parameters of soft labels have no gradient in a batch without labels.
    strategy: Any = DDPStrategy(find_unused_parameters=True) if settings.devices > 1 else "auto"
    with quiet_lightning():
        return Fabric(
            accelerator=settings.accelerator,
            devices=settings.devices,
            strategy=strategy,
            precision=precision,
        )
