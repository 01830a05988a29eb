"""A sensor's table as TOML says it, checked key by key and made a `Sensor`."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, fields
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from earthloom.errors import DataError, choices
from earthloom.sensors.model import (
    HIDES,
    Band,
    ClassValue,
    Meaning,
    OffsetRule,
    Provider,
    Quality,
    Sensor,
    State,
)

Table = Mapping[str, Any]
T = TypeVar("T")

TOP = ("name", "title", "source", "platforms", "band_defaults", "bands", "quality")
TOP_KEYS = (*TOP, "classes", "offset_rules", "providers")
QUALITY_KEYS = ("band", "gsd", "states", "hides", "index")
PROVIDER_KEYS = ("collections", "assets", "every")


def sensor_of_table(table: Table, file: str) -> Sensor:
    """A table's content as a `Sensor`; DataError names the file, the key and the valid choices."""
    try:
        return _sensor(table)
    except ValueError as error:
        raise DataError(f"the sensor table {file} is not valid: {error}") from error


def _sensor(table: Table) -> Sensor:
    _known(table, TOP_KEYS, "")
    bands = _bands(table)
    quality = _quality(table["quality"]) if "quality" in table else None
    names = {band.name for band in bands} | ({quality.band} if quality else set())
    rules = [
        _make(OffsetRule, rule, f"offset_rules[{at}]")
        for at, rule in _tables(table.get("offset_rules", ()), "offset_rules")
    ]
    classes = [
        _make(ClassValue, each, f"classes[{at}]")
        for at, each in _tables(table.get("classes", ()), "classes")
    ]
    providers = _mapping(table.get("providers", {}), "providers")
    return Sensor(
        name=_text(table, "name"),
        title=_text(table, "title"),
        source=_text(table, "source"),
        bands=bands,
        quality=quality,
        offset_rules=tuple(rules),
        providers=tuple(_provider(name, each, names) for name, each in providers.items()),
        platforms=_texts(table.get("platforms", ()), "platforms"),
        classes=tuple(classes),
    )


def _bands(table: Table) -> tuple[Band, ...]:
    if "bands" not in table:
        raise ValueError("it has no [[bands]]")
    defaults = _mapping(table.get("band_defaults", {}), "band_defaults")
    _known(defaults, [field.name for field in fields(Band)], "band_defaults")
    bands = []
    for at, each in _tables(table["bands"], "bands"):
        where = f"band '{each['name']}'" if "name" in each else f"bands[{at}]"
        band = _make(Band, {**defaults, **each}, where)
        if (band.transform == "brightness") != (band.constants is not None):
            raise ValueError(f"{where}: the transform 'brightness' and 'constants' go together")
        bands.append(band)
    names = [band.name for band in bands]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two bands have the name '{twice[0]}'")
    if not bands:
        raise ValueError("it has no [[bands]]")
    return tuple(bands)


def _quality(value: object) -> Quality:
    table = _mapping(value, "quality")
    _known(table, QUALITY_KEYS, "quality")
    _needed(table, ("band", "gsd", "states"), "quality")
    states = []
    for at, each in _tables(table["states"], "quality.states"):
        where = f"quality.states[{at}]"
        if "values" not in each and "bit" not in each:
            raise ValueError(f"{where}: it needs 'values', 'bit', or both")
        states.append(_make(State, {"values": [1], **each}, where))
    hides = table.get("hides", HIDES)
    _check(hides, frozenset[Meaning], "quality.hides")
    _check(table["band"], str, "quality.band")
    _check(table["gsd"], float, "quality.gsd")
    index = table.get("index", 1)
    _check(index, int, "quality.index")
    return Quality(table["band"], table["gsd"], tuple(states), frozenset(hides), index)


def _provider(name: str, value: object, bands: set[str]) -> Provider:
    where = f"providers.{name}"
    table = _mapping(value, where)
    _known(table, PROVIDER_KEYS, where)
    assets = _mapping(table.get("assets", {}), f"{where}.assets")
    _known(assets, sorted(bands), f"{where}.assets", "band")
    for band, asset in assets.items():
        _check(asset, str, f"{where}.assets.{band}")
    every = table.get("every")
    _check(every, str | None, f"{where}.every")
    collections = _texts(table.get("collections", ()), f"{where}.collections")
    return Provider(name, collections, dict(assets), every)


def _make(kind: type[T], table: Table, where: str) -> T:
    """A dataclass from a table: keys and values are checked against its fields."""
    known = {field.name: field for field in fields(kind)}  # type: ignore[arg-type]
    _known(table, list(known), where)
    _needed(table, [n for n, f in known.items() if f.default is MISSING], where)
    hints = get_type_hints(kind)
    for name, value in table.items():
        _check(value, hints[name], f"{where}: {name}")
    frozen = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    return kind(**frozen)


def _check(value: object, hint: Any, where: str) -> None:
    """ValueError unless a TOML value fits a type of the model."""
    kind, inner = get_origin(hint), get_args(hint)
    if kind is Literal:
        if value not in inner:
            raise ValueError(f"{where}: '{value}' is not valid; valid: {choices(inner)}")
    elif kind in (UnionType, Union):
        rest = [each for each in inner if each is not NoneType]
        if value is None and len(rest) < len(inner):
            return
        if len(rest) == 1:
            _check(value, rest[0], where)
        elif not isinstance(value, str | float | int):
            raise ValueError(f"{where}: '{value}' must be text, a number, true or false")
    elif kind in (tuple, frozenset):
        _check_list(value, inner, where)
    elif hint is float:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError(f"{where}: '{value}' must be a number")
    elif not isinstance(value, hint) or (isinstance(value, bool) and hint is not bool):
        word = {str: "text", int: "a whole number", bool: "true or false"}.get(hint, str(hint))
        raise ValueError(f"{where}: '{value}' must be {word}")


def _check_list(value: object, inner: tuple[Any, ...], where: str) -> None:
    if not isinstance(value, list | tuple | frozenset):
        raise ValueError(f"{where}: '{value}' must be a list")
    some_length = len(inner) == 1 or inner[-1] is Ellipsis
    if not some_length and len(value) != len(inner):
        raise ValueError(f"{where}: '{value}' must have {len(inner)} values")
    for each in value:
        _check(each, inner[0], where)


def _known(table: Table, valid: Sequence[str], where: str, word: str = "key") -> None:
    for key in table:
        if key not in valid:
            place = f"{where}: " if where else ""
            raise ValueError(f"{place}there is no {word} '{key}'; valid: {choices(valid)}")


def _needed(table: Table, keys: Sequence[str], where: str) -> None:
    missing = [key for key in keys if key not in table]
    if missing:
        raise ValueError(f"{where}: it lacks {choices(missing)}")


def _text(table: Table, key: str) -> str:
    _needed(table, (key,), "top")
    _check(table[key], str, key)
    if not table[key].strip():
        raise ValueError(f"{key}: it must not be empty")
    return str(table[key])


def _texts(value: object, where: str) -> tuple[str, ...]:
    _check(value, tuple[str, ...], where)
    return tuple(value)  # type: ignore[arg-type]


def _mapping(value: object, where: str) -> Table:
    if not isinstance(value, Mapping):
        raise ValueError(f"{where}: '{value}' must be a table")
    return value


def _tables(value: object, where: str) -> Iterator[tuple[int, Table]]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where}: '{value}' must be a list of tables")
    for at, each in enumerate(value):
        yield at, _mapping(each, f"{where}[{at}]")
