"""A pretraining from a TOML file, checked once."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from importlib.resources import files
from pathlib import Path
from typing import Any

from earthloom.errors import ContractError, ProjectError, choices
from earthloom.pretrain.objective import Objective
from earthloom.pretrain.registry import OBJECTIVES, SCHEDULES, chosen, made
from earthloom.pretrain.settings import Pretraining
from earthloom.pretrain.several import Sum
from earthloom.pretrain.sources import SOURCES

_TABLES = ("data", "objectives", "schedule")

RECIPES = ("loom-tiny",)
"""Files that `recipe_of` knows."""

EXAMPLE = """\
folder = "pretrained"        # logs, checkpoint, weights.safetensors; relative to this file
size = "tiny"                # or small, base
steps = 2000
batch = 8                    # chips at once, on each device
learning_rate = 1e-3
precision = "fp32"           # bf16 pays on GPUs
seed = 0

[schedule]
name = "cosine"
warm_up = 0.05

[[data]]
name = "simulated"           # chips of the simulated Earth, made while it trains
chips = 20000
side = 96                    # pixels of 10 m

# [[data]]                   # and chips of your own, without labels
# name = "store"
# folders = ["chips/train"]
# weight = 0.5               # a batch in three comes from here

[[objectives]]
name = "masked"              # what is hidden, from what is left
weight = 1.0

[[objectives]]
name = "joint"               # two views of a chip have the same features
weight = 0.3
classes = 11                 # soft labels: the simulated land-cover map; 0 for none
"""


def load_config(file: Path) -> Pretraining:
    """The settings that a file says; paths in it are relative to its folder.

    ProjectError names what is not valid, and the valid choices.
    """
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProjectError(f"{file} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(f"{file} is not TOML: {error}") from error
    try:
        return parse_config(table, file.parent)
    except (ProjectError, ContractError) as error:
        raise ProjectError(f"{file}: {error}") from error


def recipe_of(name: str) -> str:
    """The file of one of `RECIPES`, as text."""
    return files("earthloom.pretrain").joinpath(f"recipes/{name}.toml").read_text("utf-8")


def parse_config(table: Mapping[str, Any], base: Path) -> Pretraining:
    """The settings that a table says; paths are relative to `base`."""
    known = [f.name for f in fields(Pretraining) if f.name not in ("sources", "objective")]
    for name in table:
        if name not in (*known, *_TABLES):
            valid = choices((*known, *_TABLES))
            raise ProjectError(f"'{name}' is not known; valid are: {valid}")
    own: dict[str, Any] = {n: v for n, v in table.items() if n not in _TABLES}
    for name in ("folder", "start"):
        if isinstance(own.get(name), str):
            own[name] = str(base / own[name])
    if "schedule" in table:
        own["schedule"] = chosen(SCHEDULES, table["schedule"], "schedule")
    data = [_placed(each, base) for each in _listed(table, "data")]
    own["sources"] = tuple(chosen(SOURCES, each, "data") for each in data)
    own["objective"] = _objective(_listed(table, "objectives"))
    return _settings(own)


def _settings(values: Mapping[str, Any]) -> Pretraining:
    """`made`, of which some values are settings already."""
    ready = {n: values[n] for n in ("schedule", "sources", "objective") if n in values}
    plain = {n: v for n, v in values.items() if n not in ready}
    return made(Pretraining, plain, "settings", ready)


def _objective(tables: list[Mapping[str, Any]]) -> Sum:
    weights, objectives = [], []
    for number, table in enumerate(tables, start=1):
        weight = table.get("weight", 1.0)
        if isinstance(weight, bool) or not isinstance(weight, int | float):
            raise ProjectError(f"objectives: weight is {weight!r}; valid is a number above 0")
        weights.append(float(weight))
        rest = {name: value for name, value in table.items() if name != "weight"}
        found: Objective = chosen(OBJECTIVES, rest, f"objective {number}")
        objectives.append(found)
    return Sum(tuple(objectives), tuple(weights))


def _listed(table: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = table.get(name)
    if not isinstance(found, list) or not all(isinstance(each, Mapping) for each in found):
        raise ProjectError(f"there is no [[{name}]]; valid is one or more of such tables")
    return found


def _placed(table: Mapping[str, Any], base: Path) -> Mapping[str, Any]:
    """With folders that are relative to the file's own."""
    if not isinstance(table.get("folders"), list):
        return table
    return {**table, "folders": [str(base / str(folder)) for folder in table["folders"]]}
