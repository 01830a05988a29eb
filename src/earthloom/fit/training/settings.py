"""Everything that a training is told, checked once."""

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from earthloom.errors import ContractError
from earthloom.fit.training.schedule import OneCycle, Schedule, schedule_card

Precision = Literal["fp32", "bf16"]
"""What the network computes in; with `bf16` its weights stay float32 (autocast)."""
Watch = Literal["main", "loss"]
"""What of a validation decides: the task's `main` metric (higher is better), or its loss."""


@dataclass(frozen=True)
class Changes:
    """What may happen to a chip in each step, see `Augment`."""

    flips: bool = True
    turns: bool = True
    scale: tuple[float, float] = (1.0, 1.0)
    drop_dates: float = 0.0
    drop_bands: float = 0.0
    """What hidden bands hold is the mean that the encoder normalises by."""
    brightness: float = 0.0

    @property
    def any(self) -> bool:
        """Whether anything may happen at all."""
        return self != NO_CHANGES


NO_CHANGES = Changes(flips=False, turns=False)


@dataclass(frozen=True)
class Training:
    """How to train. The defaults suit a small network from scratch; `defaults_for` has those of
    each task."""

    steps: int = 300
    """Steps of the optimiser."""
    batch: int = 16
    """Chips that are in memory at once."""
    accumulation: int = 1
    """Batches whose gradients make one step. The loss of a step is the mean over its batches."""
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    """Decoupled (Loshchilov and Hutter 2019); none on norms and biases."""
    schedule: Schedule = field(default_factory=OneCycle)
    layer_decay: float = 1.0
    """What the learning rate is multiplied by with each step of depth, away from the head. An
    encoder that does not state its blocks is one step deep."""
    changes: Changes = field(default_factory=Changes)
    """Augmentation."""
    crop: int | None = None
    """Pixels of the base grid, both ways, of the piece that a step trains on; None for all."""
    precision: Precision = "fp32"
    clip: float | None = 1.0
    """Greatest norm of a step's gradient; None for any."""
    ema: float | None = None
    """Decay of the running average of the weights, of which the result is made; None for none."""
    validate_every: int = 100
    """Steps between two looks at the validation samples."""
    patience: int | None = None
    """Validations without a better one after which training stops; None for never."""
    watch: Watch = "main"
    seed: int = 0
    workers: int = 1
    """Threads that read chips ahead; they change nothing but the time."""
    log_every: int = 10
    """Steps between two entries of the history."""
    checkpoint_every: int | None = None
    """Steps between two checkpoints; None for one at the end, or where the run is interrupted."""
    folder: Path | None = None
    """Where logs and checkpoints go; None for neither."""

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "accumulation", "validate_every", "log_every"):
            _at_least_one(name, getattr(self, name))
        for name in ("patience", "checkpoint_every", "crop"):
            if getattr(self, name) is not None:
                _at_least_one(name, getattr(self, name))
        _between("learning_rate", self.learning_rate, 0, float("inf"))
        _between("layer_decay", self.layer_decay, 0, 1.0 + 1e-9)
        if self.clip is not None:
            _between("clip", self.clip, 0, float("inf"))
        if self.ema is not None:
            _between("ema", self.ema, 0, 1)
        if self.weight_decay < 0:
            raise ContractError(f"weight_decay is {self.weight_decay}; valid are 0 and above")

    @property
    def drawn(self) -> int:
        """Chips that are drawn in all, one that comes again counted again."""
        return self.steps * self.accumulation * self.batch

    def card(self) -> dict[str, Any]:
        """What decides the result, as JSON values: not where it is logged, nor how often."""
        left_out = {"workers", "log_every", "checkpoint_every", "folder", "schedule", "changes"}
        kept = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in left_out}
        made = {"schedule": schedule_card(self.schedule), "changes": asdict(self.changes)}
        return kept | made


def _at_least_one(name: str, value: int) -> None:
    if value < 1:
        raise ContractError(f"{name} is {value}; valid are 1 and above")


def _between(name: str, value: float, low: float, high: float) -> None:
    if not low < value < high:
        raise ContractError(f"{name} is {value}; valid is above {low:g} and below {high:g}")
