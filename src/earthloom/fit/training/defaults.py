"""How to train for each task, where nobody says otherwise; see `defaults.toml`."""

import tomllib
from dataclasses import replace
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from earthloom.fit.training.settings import Changes, Training
from earthloom.tasks.base import Task

Part = Literal["network", "head"]
"""What is trained: all weights, or a head on frozen features."""
_CHANGES = ("flips", "turns", "scale", "drop_dates", "drop_bands", "brightness")
ALL = "all"


def defaults_for(task: Task[Any], part: Part = "network") -> Training:
    """The settings of a task by its name; those of all tasks where it has none of its own."""
    table = _table()[part]
    row: dict[str, Any] = table[ALL] | table.get(task.name, {})
    changes = {name: row.pop(name) for name in _CHANGES if name in row}
    # TOML has no word for nothing.
    row["ema"] = row.get("ema") or None
    return replace(Training(**row), changes=Changes(**changes))


@cache
def _table() -> dict[Part, dict[str, dict[str, Any]]]:
    text = files(__package__).joinpath("defaults.toml").read_text(encoding="utf-8")
    table: dict[Part, dict[str, dict[str, Any]]] = {
        "network": tomllib.loads(text)["network"],
        "head": tomllib.loads(text)["head"],
    }
    return table
