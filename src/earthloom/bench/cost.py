"""What a model costs: numbers kept, operations, seconds, joules."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from earthloom.energy import metered
from earthloom.fit.model import Model
from earthloom.sample.batch import Batch


@dataclass
class Spent:
    """Seconds and energy of a block; filled in when it ends."""

    seconds: float = 0.0
    joules: float = 0.0
    how: str = ""


@contextmanager
def spent() -> Iterator[Spent]:
    """Measures a block; energy as `earthloom.energy` can: counters, or an estimate."""
    found = Spent()
    began = time.perf_counter()
    with metered() as meter:
        yield found
    found.seconds = time.perf_counter() - began
    use = meter.use()
    found.joules = use.kwh * 3.6e6
    found.how = "estimated" if use.estimated else "measured"


def numbers_in(module: nn.Module) -> int:
    """Floating-point numbers that a module keeps: weights, and what was fitted without gradient."""
    return sum(each.numel() for each in module.state_dict().values() if each.is_floating_point())


def size_of(model: Model, trains_encoder: bool) -> tuple[int, int]:
    """Numbers kept, and those of them that the fit made or changed."""
    heads = sum(numbers_in(member.head) for member in model.members)
    encoders = sum(numbers_in(member.encoder) for member in model.members)
    return heads + encoders, heads + encoders if trains_encoder else heads


def flops_of(model: Model, batch: Batch) -> float:
    """Operations of an answer to one chip of the batch; multiplying and adding are two."""
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        model.answer(batch)
    return counter.get_total_flops() / len(batch.ids)
