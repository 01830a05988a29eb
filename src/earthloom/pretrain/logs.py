"""What was seen of a pretraining, as tables and for TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from earthloom.fit.training.logs import TRAINING, FolderLog
from earthloom.pretrain.collapse import Look

STEPS, LOOKS = TRAINING, "features.csv"
"""Files: of the losses, and of the looks at features."""


@dataclass(frozen=True)
class Note:
    """What was seen of some steps."""

    step: int
    """Steps that were done."""
    loss: float
    """Mean over the steps since the note before, and over ranks."""
    seen: Mapping[str, float]
    """The same, of each part; the mean over the batches that say something of it."""
    learning_rate: float
    gradient_norm: float
    """In the last of these steps, before it was clipped."""

    def row(self) -> dict[str, float]:
        """As a table has it."""
        own = {"step": self.step, "loss": self.loss, **self.seen}
        return own | {"learning_rate": self.learning_rate, "gradient_norm": self.gradient_norm}

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return asdict(self)


@final
class PretrainLog(FolderLog):
    """Tables and events of the same kinds as those of a training."""

    def __init__(self, folder: Path, done: int, looks: Sequence[tuple[int, Look]]) -> None:
        """`done` steps stand, with these looks: what a killed run wrote of later ones is taken
        back."""
        super().__init__(folder, done)
        (folder / LOOKS).unlink(missing_ok=True)
        for step, look in looks:
            self._add(LOOKS, {"step": step, **asdict(look)})

    def note(self, note: Note, samples_per_second: float, kwh: float) -> None:
        """Takes a note, with what depends on the machine."""
        row = note.row() | {"samples_per_second": round(samples_per_second, 3), "kwh": kwh}
        self._add(STEPS, row)
        self._show("pretrain", row)

    def look(self, step: int, look: Look) -> None:
        """Takes a look at the features."""
        row = {"step": step, **asdict(look)}
        self._add(LOOKS, row)
        self._show("features", row)
