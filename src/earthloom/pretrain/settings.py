"""Everything that a pretraining is told, checked once."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from earthloom.encoders.loom import SIZES
from earthloom.errors import ContractError, choices
from earthloom.fit.training.schedule import Cosine, Schedule, schedule_card
from earthloom.fit.training.settings import Precision
from earthloom.pretrain.objective import Objective
from earthloom.pretrain.several import Sum
from earthloom.pretrain.sources import Source

_LOGGED = (
    "workers",
    "log_every",
    "look_every",
    "look_chips",
    "checkpoint_every",
    "folder",
    "note",
)
"""What decides nothing of the weights."""
_COUNTS = ("steps", "batch", "accumulation", "log_every", "look_every", "look_chips", "devices")


@dataclass(frozen=True)
class Pretraining:
    """How to pretrain a Loom."""

    folder: Path
    """Where logs, checkpoints and the weights go."""
    sources: tuple[Source, ...]
    """A batch comes from one of them, drawn by their weights."""
    objective: Sum
    size: str = "tiny"
    """One of `earthloom.encoders.loom.SIZES`."""
    start: Path | None = None
    """Weights to start from, as `save_weights` writes them; None for random ones."""
    steps: int = 10_000
    """Steps of the optimiser."""
    batch: int = 16
    """Chips that are in memory at once, on each device."""
    accumulation: int = 1
    """Batches whose gradients make one step."""
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    """Decoupled (Loshchilov and Hutter 2019); none on norms and biases."""
    schedule: Schedule = field(default_factory=Cosine)
    precision: Precision = "fp32"
    """`bf16` computes in bfloat16, and keeps the weights in float32."""
    clip: float = 1.0
    """Greatest norm of a step's gradient."""
    ema: float | None = 0.999
    """Decay of the running average of the weights, of which the result is made; None for none."""
    seed: int = 0
    accelerator: str = "auto"
    """As Lightning calls it: `cpu`, `cuda`, `auto`."""
    devices: int = 1
    """Processes that train together (DDP), one a device."""
    workers: int = 1
    """Threads that make or read chips ahead; they change nothing but the time."""
    log_every: int = 20
    """Steps between two entries of the log."""
    look_every: int = 200
    """Steps between two looks at the features, for collapse."""
    look_chips: int = 64
    """Chips that are looked at: the first ones of the first source."""
    checkpoint_every: int = 200
    """Steps between two checkpoints; there is one at the end, too."""
    note: str = ""
    """What else the card is to say, of what was left out, say."""

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise ContractError(f"size is '{self.size}'; valid are: {choices(SIZES)}")
        if self.precision not in ("fp32", "bf16"):
            raise ContractError(f"precision is '{self.precision}'; valid are: fp32, bf16")
        if not self.sources:
            raise ContractError("there is no source of chips; valid is one or more")
        for name in (*_COUNTS, "checkpoint_every"):
            if getattr(self, name) < 1:
                raise ContractError(f"{name} is {getattr(self, name)}; valid are 1 and above")
        for name in ("learning_rate", "clip"):
            if not getattr(self, name) > 0:
                raise ContractError(f"{name} is {getattr(self, name)}; valid is above 0")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ContractError(f"ema is {self.ema}; valid is above 0 and below 1")

    def card(self) -> dict[str, Any]:
        """What decides the weights, as JSON values: not where it is logged, nor how often."""
        own = {"sources", "objective", "schedule", "start", *_LOGGED}
        kept = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in own}
        return {
            **kept,
            "schedule": schedule_card(self.schedule),
            "sources": [table_of(each) for each in self.sources],
            "objectives": [
                {**table_of(each), "weight": weight}
                for each, weight in zip(
                    self.objective.objectives, self.objective.weights, strict=True
                )
            ],
        }


def table_of(settings: Source | Objective) -> dict[str, Any]:
    """Settings and their name as JSON values, without what names a place of this machine."""
    values: dict[str, Any] = asdict(settings)  # type: ignore[call-overload]
    plain = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in values.items()
        if name not in ("folders", "what")
    }
    return {"name": settings.name, **plain}
