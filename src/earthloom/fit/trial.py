"""Choosing a plan: what the machine offers, timed where there is a choice."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from earthloom.errors import ProjectError, choices
from earthloom.fit.flat import in_pieces
from earthloom.fit.model import Model
from earthloom.fit.plan import DEVICES, PRECISIONS, Plan, is_network
from earthloom.fit.predictor import Predictor
from earthloom.sample.batch import Batch

AUTO = "auto"
LAYOUTS = {"contiguous": False, "channels-last": True}
COMPILING = (AUTO, "yes", "no")

FASTER = 0.95
"""A plan is taken in place of a plainer one if it takes at most this share of its time."""

_ROUNDS = 3
"""Times that the plans are timed in turn; the shortest time of each counts."""

_WORTH_COMPILING_S = 600.0
"""Compiling takes a minute or so; below so many seconds of work it is not tried."""

_BF16_FLAGS = ("amx_bf16", "avx512_bf16", "bf16")
"""What a processor needs, one of them, to be fast in bf16; without, torch emulates it slowly. The
last is what Linux calls it on Arm."""


@dataclass(frozen=True)
class Wish:
    """What a user asks for; `auto` leaves it to the machine. ProjectError if it is not known."""

    device: str = AUTO
    precision: str = AUTO
    layout: str = AUTO
    compiled: str = AUTO
    batch: int | None = None

    def __post_init__(self) -> None:
        _check("precision", self.precision, (AUTO, *PRECISIONS))
        _check("layout", self.layout, (AUTO, *LAYOUTS))
        _check("compiled", self.compiled, COMPILING)
        _check("device", self.device.split(":")[0], (AUTO, *DEVICES))


@dataclass(frozen=True)
class Trial:
    """A plan that was tried."""

    plan: Plan
    seconds: float
    """For one window, by one lane."""
    difference: float
    """Most that a probability differed from the plainest plan's."""


@dataclass(frozen=True)
class Chosen:
    """A plan, and why it is this one. Keep the plan, and give its `inputs` to the map's stage."""

    plan: Plan
    trials: tuple[Trial, ...]
    """Empty where there was nothing to choose."""
    notes: tuple[str, ...]
    """Why something was not tried or not taken, one line each."""


def choose_plan(
    model: Model,
    wish: Wish,
    example: Batch,
    windows: int = 0,
    flags: frozenset[str] | None = None,
) -> Chosen:
    """The fastest plan that a wish leaves open, by a short trial on the windows of `example`.

    Where nothing is left open nothing is timed. A faster plan is not taken if its probabilities
    differ from the plainest by more than its precision's tolerance. `windows` is how many are to be
    predicted, 0 if not known: compiling must pay for itself. `flags` are the processor's, for
    tests. The trial's outcome may differ from machine to machine and, where two plans are about as
    fast, from time to time: choose once, keep the plan, and use it for all of a map.
    """
    device = _device(wish.device)
    batch = wish.batch or 1
    if not is_network(model):
        note = "no network in the model: evaluated in fp32 as it stands"
        return Chosen(Plan(device=device, batch=batch), (), (note,))
    precisions, notes = _precisions(wish, device, _processor_flags() if flags is None else flags)
    layouts = list(LAYOUTS.values()) if wish.layout == AUTO else [LAYOUTS[wish.layout]]
    plans = [Plan(device, p, c, False, batch) for p, c in product(precisions, layouts)]
    trials = tuple(_tried(model, plans, example)) if len(plans) > 1 else ()
    best, refused = _fastest(trials) if trials else (plans[0], [])
    notes += refused
    if wish.compiled == "no":
        return Chosen(best, trials, tuple(notes))
    return _perhaps_compiled(model, wish, example, windows, Chosen(best, trials, tuple(notes)))


def seconds_of(run: Callable[[], object], repeats: int = 3) -> float:
    """Shortest of a few runs, after one that warms up."""
    run()
    return min(_timed(run) for _ in range(repeats))


def largest_difference(first: Tensor, second: Tensor) -> float:
    """Most that probabilities differ; infinite where one is NaN and the other is not."""
    if not torch.equal(first.isnan(), second.isnan()):
        return float("inf")
    return float((first - second).abs().nan_to_num(0.0).max())


def _perhaps_compiled(
    model: Model, wish: Wish, example: Batch, windows: int, eager: Chosen
) -> Chosen:
    """The same plan compiled, if that works here and, unless it was asked for, if it pays."""
    if wish.compiled == AUTO and not windows:
        note = "not compiled: nobody said how many windows there are"
        return replace(eager, notes=(*eager.notes, note))
    timed = {trial.plan: trial for trial in eager.trials}
    if eager.plan not in timed:
        timed |= {trial.plan: trial for trial in _tried(model, [eager.plan], example)}
    before = timed[eager.plan]
    work = windows * before.seconds
    if wish.compiled == AUTO and work < _WORTH_COMPILING_S:
        note = f"not compiled: {work:.0f} s of work, less than {_WORTH_COMPILING_S:.0f} s"
        return replace(eager, notes=(*eager.notes, note))
    start = time.perf_counter()
    try:
        (after,) = _tried(model, [replace(eager.plan, compiled=True)], example)
    except (RuntimeError, OSError) as error:
        # RuntimeError is what torch raises where it finds no compiler, or one that fails.
        note = f"not compiled: {str(error).strip().splitlines()[0]}"
        return replace(eager, notes=(*eager.notes, note))
    cost = time.perf_counter() - start
    trials = (*eager.trials, after)
    if after.difference > PRECISIONS[after.plan.precision].tolerance:
        note = f"not compiled: a probability differed by {after.difference:.3g}"
        return Chosen(eager.plan, trials, (*eager.notes, note))
    saved = windows * (before.seconds - after.seconds)
    if wish.compiled == AUTO and saved < cost:
        note = f"not compiled: it would save {saved:.0f} s and costs {cost:.0f} s"
        return Chosen(eager.plan, trials, (*eager.notes, note))
    return Chosen(after.plan, trials, eager.notes)


def _tried(model: Model, plans: Sequence[Plan], example: Batch) -> list[Trial]:
    """Each plan on the first windows of the example, against the plainest.

    They are timed in turn, so that what else the machine does meanwhile strikes all alike.
    """
    ((windows, count),) = in_pieces(example, plans[0].batch)[:1]
    plain = model.pixels(windows)
    with ExitStack() as open_ones:
        predictors = [open_ones.enter_context(closing(Predictor(model, plan))) for plan in plans]
        # These first runs also warm each of them up, and are not timed.
        far = [largest_difference(each.predict(windows), plain) for each in predictors]
        rounds = [
            [_timed(partial(each.predict, windows)) for each in predictors] for _ in range(_ROUNDS)
        ]
    seconds = np.min(rounds, axis=0)
    return [
        Trial(plan, float(took) / count, difference)
        for plan, took, difference in zip(plans, seconds, far, strict=True)
    ]


def _timed(run: Callable[[], object]) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _fastest(trials: Sequence[Trial]) -> tuple[Plan, list[str]]:
    """The plainest plan, unless one that is close to it is clearly faster."""
    best, notes = trials[0], []
    for trial in trials[1:]:
        if trial.seconds > FASTER * best.seconds:
            continue
        tolerance = PRECISIONS[trial.plan.precision].tolerance
        if trial.difference > tolerance:
            notes.append(
                f"{trial.plan.precision} not taken: a probability differed by "
                f"{trial.difference:.3g}, more than {tolerance:g}"
            )
            continue
        best = trial
    return best.plan, notes


def _precisions(wish: Wish, device: str, flags: frozenset[str]) -> tuple[list[str], list[str]]:
    """Names of the precisions to try, plainest first, and why others are not."""
    if wish.precision != AUTO:
        return [wish.precision], []
    if device.startswith("cuda"):
        half = "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
        return ["fp32", half], []
    if not flags.intersection(_BF16_FLAGS):
        return ["fp32"], [f"bf16 not tried: the processor has none of {choices(_BF16_FLAGS)}"]
    return ["fp32", "bf16"], []


def _processor_flags() -> frozenset[str]:
    """What the processor can do, as Linux lists it; empty elsewhere."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    listed = [line.split(":", 1)[1] for line in lines if line.startswith(("flags", "Features"))]
    return frozenset(listed[0].split()) if listed else frozenset()


def _device(wanted: str) -> str:
    if wanted == AUTO:
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise ProjectError(f"device '{wanted}' is not there: torch finds no GPU; choose 'cpu'")
    return wanted


def _check(what: str, value: str, valid: Sequence[str]) -> None:
    if value not in valid:
        raise ProjectError(f"{what} '{value}' is not known; choose from: {choices(valid)}")
