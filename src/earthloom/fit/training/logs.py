"""What was seen of a training, as tables, for TensorBoard, and as JSON."""

from __future__ import annotations

import csv
import importlib.util
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from earthloom.fit.training.result import Entry, Validation
from earthloom.stages import canonical_json, disk_errors, write_atomic

HISTORY = "history.json"
TRAINING, VALIDATION = "training.csv", "validation.csv"
EVENTS = "tensorboard"
"""Folder of what TensorBoard shows."""


class Log(Protocol):
    """Takes what is seen, as it is seen."""

    def entry(self, entry: Entry, samples_per_second: float) -> None:
        """Takes an entry of the history."""
        ...

    def validation(self, validation: Validation) -> None:
        """Takes a validation."""
        ...

    def history(self, entries: Sequence[Entry], validations: Sequence[Validation]) -> None:
        """Takes all of them, at a checkpoint and at the end."""
        ...

    def close(self) -> None: ...


class NoLog:
    """Nobody looks."""

    def entry(self, entry: Entry, samples_per_second: float) -> None: ...

    def validation(self, validation: Validation) -> None: ...

    def history(self, entries: Sequence[Entry], validations: Sequence[Validation]) -> None: ...

    def close(self) -> None: ...


class FolderLog:
    """Tables and JSON in a folder, and events for TensorBoard where that is installed.

    The history holds no times, so that the same training gives the same bytes.
    """

    def __init__(self, folder: Path, done: int) -> None:
        """`done` steps stand: what a killed run wrote of later ones is taken back."""
        self._folder = folder
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            for name in (TRAINING, VALIDATION):
                _cut(folder / name, done)
        self._events = _events(folder / EVENTS, done)

    def entry(self, entry: Entry, samples_per_second: float) -> None:
        row = asdict(entry) | {"samples_per_second": round(samples_per_second, 3)}
        self._add(TRAINING, row)
        self._show("train", row)

    def validation(self, validation: Validation) -> None:
        row = {"step": validation.step, **validation.metrics}
        self._add(VALIDATION, row)
        self._show("validation", row)

    def history(self, entries: Sequence[Entry], validations: Sequence[Validation]) -> None:
        value = {
            "training": [_finite(asdict(each)) for each in entries],
            "validation": [validation_json(each) for each in validations],
        }
        write_atomic(self._folder / HISTORY, canonical_json(value))
        if self._events is not None:
            self._events.flush()

    def close(self) -> None:
        if self._events is not None:
            self._events.close()

    def _add(self, name: str, row: Mapping[str, float]) -> None:
        path = self._folder / name
        with disk_errors(path), path.open("a", encoding="utf-8", newline="") as stream:
            writer = csv.DictWriter(stream, list(row), lineterminator="\n")
            if not stream.tell():
                writer.writeheader()
            writer.writerow(row)

    def _show(self, prefix: str, row: Mapping[str, float]) -> None:
        if self._events is None:
            return
        for name, value in row.items():
            if name != "step":
                self._events.add_scalar(f"{prefix}/{name}", value, row["step"])


def validation_json(validation: Validation) -> dict[str, Any]:
    """A validation as JSON values."""
    metrics = _finite(validation.metrics)
    return {"step": validation.step, "metrics": metrics, "best": validation.best}


def validation_from_json(value: Mapping[str, Any]) -> Validation:
    """From what `validation_json` made."""
    metrics = {
        name: float("nan") if metric is None else float(metric)
        for name, metric in value["metrics"].items()
    }
    return Validation(int(value["step"]), metrics, bool(value["best"]))


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    """None for what is not a number or infinite, which JSON does not know."""
    return {name: value if math.isfinite(value) else None for name, value in values.items()}


def _cut(path: Path, done: int) -> None:
    """Leaves the header and the whole rows of steps up to `done`."""
    if not path.exists():
        return
    header, *rows = csv.reader(io.StringIO(path.read_text(encoding="utf-8")))
    kept = [row for row in rows if len(row) == len(header) and int(row[0]) <= done]
    if not kept:
        path.unlink()
        return
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *kept])
    write_atomic(path, text.getvalue())


def _events(folder: Path, done: int) -> Any:
    """A writer for TensorBoard; None where that is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        return None
    from torch.utils.tensorboard import SummaryWriter

    return SummaryWriter(str(folder), purge_step=done + 1 if done else None)
