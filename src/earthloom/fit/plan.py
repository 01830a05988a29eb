"""How a model is evaluated: on what device, in what number format, in what layout, compiled or not.

All of it changes the last digits of a prediction, some of it more. A plan is therefore data, and
its `inputs` belong to the inputs of every map that is made with it.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch

from earthloom.errors import ProjectError, choices
from earthloom.fit.model import Model

DEVICES = ("cpu", "cuda")


@dataclass(frozen=True)
class Precision:
    """A number format that networks can be evaluated in."""

    name: str
    autocast: torch.dtype | None
    """What convolutions and matrix products are computed in; None for float32 throughout."""
    tf32: bool
    """Whether a GPU may round the factors of float32 products to 10 bits of mantissa."""
    devices: tuple[str, ...]
    tolerance: float
    """Most that a probability may differ from that of the plainest plan. A plan beyond it is not
    chosen."""


PRECISIONS = {
    each.name: each
    for each in (
        Precision("fp32", None, False, ("cpu", "cuda"), 1e-3),
        Precision("tf32", None, True, ("cuda",), 1e-2),
        Precision("bf16", torch.bfloat16, False, ("cpu", "cuda"), 1e-1),
        Precision("fp16", torch.float16, False, ("cuda",), 2e-2),
    )
}
"""By `Precision.name`, plainest first."""


@dataclass(frozen=True)
class Plan:
    """One way of evaluating a model. ProjectError if its parts do not go together."""

    device: str = "cpu"
    """`cpu`, `cuda`, or one GPU of several as `cuda:1`."""
    precision: str = "fp32"
    """One of `PRECISIONS`."""
    channels_last: bool = False
    """Whether a pixel's channels lie side by side in memory."""
    compiled: bool = False
    """Whether torch compiles the network, on a GPU as CUDA graphs."""
    batch: int = 1
    """Windows that are evaluated at a time, always as many: a smaller rest is filled up."""

    def __post_init__(self) -> None:
        if self.kind not in DEVICES:
            raise ProjectError(
                f"device '{self.device}' is not known; choose from: {choices(DEVICES)}"
            )
        fitting = [p.name for p in PRECISIONS.values() if self.kind in p.devices]
        if self.precision not in fitting:
            raise ProjectError(
                f"precision '{self.precision}' cannot be had on device '{self.kind}'; "
                f"choose from: {choices(fitting)}"
            )
        if self.batch < 1:
            raise ProjectError(f"a batch has one window or more, not {self.batch}")

    @property
    def kind(self) -> str:
        """The device without its number."""
        return self.device.split(":")[0]

    def inputs(self) -> dict[str, str | bool | int]:
        """What a map's bytes hang on, beside the model and the pixels: all of the plan.

        The batch too, as libraries choose their ways by the size of what they are given. Which
        windows make up a batch, and how many lanes there are, changes nothing.
        """
        return {**asdict(self), "device": self.kind}

    def to_json(self) -> dict[str, Any]:
        """The plan as JSON values, to keep beside a map."""
        return asdict(self)

    @staticmethod
    def from_json(value: dict[str, Any]) -> "Plan":
        """A plan from what `to_json` made."""
        return Plan(**value)

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Evaluation without gradients in this plan's number format, for the calling thread."""
        precision = PRECISIONS[self.precision]
        with torch.inference_mode(), _gpu_numbers(self.kind == "cuda", precision.tf32):
            if precision.autocast is None:
                yield
                return
            with torch.autocast(self.kind, precision.autocast, cache_enabled=False):
                yield


def is_network(model: Model) -> bool:
    """Whether all its encoders learnt by gradient descent.

    The others are features and statistics in closed form: they lose digits that count in a coarser
    number format, and have no convolutions that a layout or a compiler would speed up.
    """
    encoders = [member.encoder for member in model.members]
    return all(any(True for _ in encoder.parameters()) for encoder in encoders)


@contextmanager
def _gpu_numbers(on_gpu: bool, tf32: bool) -> Iterator[None]:
    """On a GPU: products rounded as asked, and always the same algorithm for the same shapes."""
    if not on_gpu:
        yield
        return
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = tf32
    try:
        with torch.backends.cudnn.flags(
            enabled=True, benchmark=False, deterministic=True, allow_tf32=tf32
        ):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
