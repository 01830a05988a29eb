"""Objectives and sources by name, as a configuration asks for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from earthloom.errors import ProjectError, choices
from earthloom.fit.training.schedule import Constant, Cosine, OneCycle, Schedule
from earthloom.pretrain.contrast import Contrast
from earthloom.pretrain.joint import Joint
from earthloom.pretrain.masked import Masked
from earthloom.pretrain.objective import Objective

OBJECTIVES: Mapping[str, type[Objective]] = MappingProxyType(
    {each.name: each for each in (Masked, Contrast, Joint)}
)
"""A new one is a file with a frozen dataclass, and an entry here."""
SCHEDULES: Mapping[str, type[Schedule]] = MappingProxyType(
    {"cosine": Cosine, "one-cycle": OneCycle, "constant": Constant}
)

_T = TypeVar("_T")


def chosen(kinds: Mapping[str, type[_T]], table: Mapping[str, Any], where: str) -> _T:
    """The settings that a table says, by its `name`; ProjectError names what is not valid."""
    name = table.get("name")
    if name not in kinds:
        raise ProjectError(f"{where}: name is {name!r}; valid are: {choices(kinds)}")
    return made(kinds[str(name)], {k: v for k, v in table.items() if k != "name"}, where)


def made(
    kind: type[_T],
    table: Mapping[str, Any],
    where: str,
    ready: Mapping[str, object] = MappingProxyType({}),
) -> _T:
    """A frozen dataclass of a table; ProjectError for a wrong name or a value of a wrong type.

    `ready` are values that need no look.
    """
    known: dict[str, Field[Any]] = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    types = get_type_hints(kind)
    values = dict(ready)
    for name, value in table.items():
        if name not in known:
            raise ProjectError(f"{where}: '{name}' is not known; valid are: {choices(known)}")
        values[name] = _value(value, types[name], f"{where}: {name}")
    missing = [name for name, each in known.items() if _must(each) and name not in values]
    if missing:
        raise ProjectError(f"{where}: {choices(missing)} is not given")
    return kind(**values)


def _must(each: Field[Any]) -> bool:
    return each.default is MISSING and each.default_factory is MISSING


def _value(value: Any, wanted: Any, where: str) -> Any:
    """A value of TOML as the type of a field."""
    if get_origin(wanted) is tuple and isinstance(value, list):
        return tuple(_value(each, get_args(wanted)[0], where) for each in value)
    accepted = [each for each in (get_args(wanted) or (wanted,)) if isinstance(each, type)]
    if Path in accepted and isinstance(value, str):
        return Path(value)
    if float in accepted and type(value) is int:
        return float(value)
    literals = [each for each in get_args(wanted) if isinstance(each, str)]
    if value in literals or (type(value) in accepted and not literals):
        return value
    valid = choices(literals or [each.__name__ for each in accepted if each is not type(None)])
    raise ProjectError(f"{where} is {value!r}; valid is: {valid}")
