"""A fitted model as the fastest function from windows to planes of pixels, by a plan."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol, final

import torch
from torch import Tensor

from earthloom.errors import ContractError
from earthloom.fit.flat import FlatModel, each_tensor, in_pieces, tensors_of
from earthloom.fit.lanes import Lanes, Pending
from earthloom.fit.model import Model
from earthloom.fit.plan import Plan, is_network
from earthloom.sample import LayerSpec
from earthloom.sample.batch import Batch
from earthloom.tasks.base import Task


class Predicting(Protocol):
    """What maps ask of a model: a `Predictor`, or an `earthloom.fit.exported.Exported`."""

    @property
    def layers(self) -> tuple[LayerSpec, ...]: ...
    @property
    def task(self) -> Task[Any]: ...
    @property
    def threshold(self) -> float | None: ...
    @property
    def radius(self) -> int: ...
    @property
    def alignment(self) -> int: ...
    @property
    def is_local(self) -> bool: ...
    @property
    def needs_moments(self) -> bool: ...
    @property
    def planes(self) -> int:
        """Planes P of a prediction: one a class, or those of `earthloom.tasks.planes`."""
        ...

    @property
    def lanes(self) -> int:
        """How many batches are evaluated side by side."""
        ...

    @property
    def ahead(self) -> int:
        """How many batches to begin before the first result is asked for, so that none waits."""
        ...

    def check(self, specs: Mapping[str, LayerSpec]) -> None:
        """ContractError if the layers on offer are not those that the model was made for."""
        ...

    def inputs(self) -> dict[str, str | bool | int]:
        """What its bytes hang on beside the model's weights."""
        ...

    def predict(self, batch: Batch) -> Tensor:
        """(B, P, H, W) float32 in memory of the processor, probabilities of classes or numbers in
        their unit, see `Model.pixels`; NaN where nothing was seen. The tensor is the caller's to
        write over."""
        ...

    def begin(self, batch: Batch) -> Pending:
        """The same, made in the background while the caller reads the next windows."""
        ...

    def close(self) -> None: ...


@final
class Predictor:
    """A model under a plan; fulfils `Predicting`.

    On a processor, `lanes` windows are evaluated side by side, each by one thread; their number
    changes nothing but the time. ContractError if the plan is not for such a model.
    """

    def __init__(self, model: Model, plan: Plan, lanes: int = 1) -> None:
        plain = Plan(device=plan.device, batch=plan.batch)
        if not is_network(model) and plan != plain:
            raise ContractError(
                f"a model without a network is evaluated in fp32 as it stands, not by {plan}"
            )
        self.model, self.plan = model, plan
        self._run = _compiled(model, plan) if plan.compiled else _eager(model, plan)
        self._lanes = Lanes(lanes) if plan.kind == "cpu" else None
        self._gpu = None if plan.kind == "cpu" else _Gpu(plan.device)

    @property
    def layers(self) -> tuple[LayerSpec, ...]:
        return self.model.layers

    @property
    def task(self) -> Task[Any]:
        return self.model.task

    @property
    def threshold(self) -> float | None:
        return self.model.threshold

    @property
    def radius(self) -> int:
        return self.model.radius

    @property
    def alignment(self) -> int:
        return math.lcm(*(member.encoder.alignment for member in self.model.members))

    @property
    def is_local(self) -> bool:
        return self.model.is_local

    @property
    def needs_moments(self) -> bool:
        return self.model.needs_moments

    @property
    def planes(self) -> int:
        return len(self.model.planes)

    @property
    def lanes(self) -> int:
        return 1 if self._lanes is None else self._lanes.count

    @property
    def ahead(self) -> int:
        return 2 * self.lanes

    def check(self, specs: Mapping[str, LayerSpec]) -> None:
        for member in self.model.members:
            member.encoder.check(specs)

    def inputs(self) -> dict[str, str | bool | int]:
        return self.plan.inputs()

    def predict(self, batch: Batch) -> Tensor:
        return self.begin(batch).result()

    def begin(self, batch: Batch) -> Pending:
        pieces = in_pieces(batch, self.plan.batch)
        if self._gpu is not None:
            return Pending(tuple(self._gpu.begin(self.here, p, n) for p, n in pieces))
        assert self._lanes is not None
        return self._lanes.begin([partial(self._first, p, n) for p, n in pieces])

    def here(self, batch: Batch) -> Tensor:
        """All windows at once, by the calling thread, on the device that they lie on."""
        with self.plan.scope():
            return self._run(batch).float()

    def close(self) -> None:
        if self._lanes is not None:
            self._lanes.close()

    def _first(self, batch: Batch, count: int) -> Tensor:
        return self.here(batch)[:count]


def _eager(model: Model, plan: Plan) -> Callable[[Batch], Tensor]:
    return replace(model, members=_placed(FlatModel(model), plan).members()).pixels


def _compiled(model: Model, plan: Plan) -> Callable[[Batch], Tensor]:
    """The network compiled for windows of one shape; on a GPU replayed as one graph."""
    flat = _placed(FlatModel(model), plan)
    mode = "reduce-overhead" if plan.kind == "cuda" else "default"
    function = torch.compile(flat, dynamic=False, mode=mode)

    def run(batch: Batch) -> Tensor:
        shares: Tensor = function(*tensors_of(model.layers, batch))
        return shares

    return run


def _placed(flat: FlatModel, plan: Plan) -> FlatModel:
    """A network on the plan's device, in its layout."""
    flat = flat.to(plan.device)
    if plan.channels_last:
        flat = flat.to(memory_format=torch.channels_last)
    return flat


@dataclass
class _Gpu:
    """Copies to and from a GPU beside its work.

    Windows go over on a stream of their own, from pinned memory, while those before them are
    evaluated. Results come back on the stream of the evaluation, as a replayed graph writes each
    result over the one before.
    """

    device: str

    def __post_init__(self) -> None:
        self.copies = torch.cuda.Stream(self.device)  # type: ignore[no-untyped-call]

    def begin(
        self, run: Callable[[Batch], Tensor], batch: Batch, count: int
    ) -> Callable[[], Tensor]:
        """Puts one piece in line; the function that is returned waits for its first windows."""
        work = torch.cuda.current_stream(torch.device(self.device))
        with torch.cuda.stream(self.copies):
            there = each_tensor(
                batch, lambda tensor: tensor.pin_memory().to(self.device, non_blocking=True)
            )
        work.wait_stream(self.copies)
        each_tensor(there, lambda tensor: _used_on(tensor, work))
        torch.compiler.cudagraph_mark_step_begin()  # type: ignore[no-untyped-call]
        shares = run(there)
        back = torch.empty(shares.shape, dtype=torch.float32, pin_memory=True)
        back.copy_(shares, non_blocking=True)
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        done.record(work)

        def wait() -> Tensor:
            done.synchronize()
            return back[:count]

        return wait


def _used_on(tensor: Tensor, stream: torch.cuda.Stream) -> Tensor:
    """Keeps a tensor's memory until the stream is through with it."""
    tensor.record_stream(stream)
    return tensor
