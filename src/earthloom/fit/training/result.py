"""What comes out of a training."""

from collections.abc import Mapping
from dataclasses import dataclass

from earthloom.encoders import Encoder
from earthloom.tasks.heads import Head


@dataclass(frozen=True)
class Entry:
    """What was seen of the training, every few steps."""

    step: int
    """Steps that were done."""
    loss: float
    """Mean over the steps since the entry before."""
    learning_rate: float
    """Of the head, in the last of these steps."""
    gradient_norm: float
    """In the last of these steps, before it was clipped."""


@dataclass(frozen=True)
class Validation:
    """What the validation samples said."""

    step: int
    """Steps that were done."""
    metrics: Mapping[str, float]
    """Those of the task's score, and `loss`: its mean over the chips that have an answer."""
    best: bool
    """Whether this was the best one so far."""


@dataclass(frozen=True)
class Trained:
    """A trained encoder and head, in evaluation mode on the processor."""

    encoder: Encoder
    head: Head
    history: tuple[Entry, ...]
    validations: tuple[Validation, ...]
    steps: int
    """Steps that were done."""
    stopped: str
    """Why: `all steps done`, or what ended it early."""
    best_step: int
    """The step whose weights these are."""
