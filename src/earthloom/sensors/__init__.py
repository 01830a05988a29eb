"""What each instrument's bands measure, as tables: one TOML file an instrument, no code.

`load_sensor("sentinel-2-l2a")` reads `sentinel-2-l2a.toml` beside this file, or a file of that name
in the folder of the project, so that a user adds an instrument without touching the package.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path

from earthloom.errors import DataError, choices
from earthloom.sensors.model import (
    HIDES,
    KINDS,
    Band,
    Kind,
    Meaning,
    OffsetRule,
    Provider,
    Quality,
    Sensor,
    State,
)

__all__ = [
    "HIDES",
    "KINDS",
    "Band",
    "Kind",
    "Meaning",
    "OffsetRule",
    "Provider",
    "Quality",
    "Sensor",
    "State",
    "known_sensors",
    "load_sensor",
    "parse_sensor",
]

TABLES = Path(__file__).parent


def known_sensors(folder: Path | None = None) -> list[str]:
    """Names of all sensor tables, those of a project's folder included."""
    files = [*TABLES.glob("*.toml"), *(folder.glob("*.sensor.toml") if folder else ())]
    return sorted(file.name.removesuffix(".toml").removesuffix(".sensor") for file in files)


def load_sensor(name: str, folder: Path | None = None) -> Sensor:
    """Reads a sensor's table; `NAME.sensor.toml` in `folder` goes before the built-in one."""
    own = folder / f"{name}.sensor.toml" if folder else None
    file = own if own and own.exists() else TABLES / f"{name}.toml"
    if not file.exists():
        raise DataError(f"unknown sensor '{name}'; known are: {choices(known_sensors(folder))}")
    return parse_sensor(tomllib.loads(file.read_text(encoding="utf-8")), file.name)


def parse_sensor(table: Mapping[str, object], file: str) -> Sensor:
    """A table's content as a `Sensor`; DataError names the file and what is wrong in it."""
    try:
        return _sensor(dict(table))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"the sensor table {file} is not valid: {error!r}") from error


def _sensor(table: dict) -> Sensor:  # type: ignore[type-arg]
    defaults = table.get("band_defaults", {})
    return Sensor(
        name=table["name"],
        title=table["title"],
        source=table["source"],
        bands=tuple(_band({**defaults, **band}) for band in table["bands"]),
        quality=_quality(table["quality"]) if "quality" in table else None,
        offset_rules=tuple(OffsetRule(**rule) for rule in table.get("offset_rules", [])),
        providers=tuple(
            Provider(name, tuple(each.get("collections", ())), each.get("assets", {}))
            for name, each in table.get("providers", {}).items()
        ),
    )


def _band(fields: dict) -> Band:  # type: ignore[type-arg]
    limits = fields.pop("valid_range", None)
    return Band(**fields, valid_range=tuple(limits) if limits else None)


def _quality(table: dict) -> Quality:  # type: ignore[type-arg]
    states = tuple(
        State(**{**state, "values": tuple(state.get("values", (1,)))}) for state in table["states"]
    )
    return Quality(table["band"], table["gsd"], states, frozenset(table.get("hides", HIDES)))
