"""What each instrument's bands measure, as tables: one TOML file an instrument, no code.

`load_sensor("sentinel-2-l2a")` reads `sentinel-2-l2a.toml` beside this file, or a file of that name
in the folder of the project, so that a user adds an instrument without touching the package.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

from earthloom.errors import DataError, choices
from earthloom.sample import Measure
from earthloom.sensors.describe import describe_sensor, list_sensors
from earthloom.sensors.model import (
    HIDES,
    KINDS,
    Band,
    ClassValue,
    Kind,
    KindName,
    Meaning,
    OffsetRule,
    Provider,
    Quality,
    Sensor,
    State,
    Transform,
    to_physical,
    to_stored,
)
from earthloom.sensors.table import sensor_of_table

__all__ = [
    "HIDES",
    "KINDS",
    "Band",
    "ClassValue",
    "Kind",
    "KindName",
    "Meaning",
    "OffsetRule",
    "Provider",
    "Quality",
    "Sensor",
    "State",
    "Transform",
    "describe_sensor",
    "known_sensors",
    "list_sensors",
    "load_sensor",
    "measures_of",
    "parse_sensor",
    "to_physical",
    "to_stored",
]

TABLES = Path(__file__).parent


def known_sensors(folder: Path | None = None) -> list[str]:
    """Names of all sensor tables, those of a project's folder included."""
    files = [*TABLES.glob("*.toml"), *(folder.glob("*.sensor.toml") if folder else ())]
    return sorted({file.name.removesuffix(".toml").removesuffix(".sensor") for file in files})


def load_sensor(name: str, folder: Path | None = None) -> Sensor:
    """Reads a sensor's table; `NAME.sensor.toml` in `folder` goes before the built-in one."""
    own = folder / f"{name}.sensor.toml" if folder else None
    file = own if own and own.exists() else TABLES / f"{name}.toml"
    if not file.exists():
        raise DataError(f"unknown sensor '{name}'; known are: {choices(known_sensors(folder))}")
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"the sensor table {file.name} is not TOML: {error}") from error
    sensor = parse_sensor(table, file.name)
    if sensor.name != name:
        raise DataError(
            f"the sensor table {file.name} is not valid: name: '{sensor.name}' must be '{name}', "
            "as the file"
        )
    return sensor


def measures_of(sensor: Sensor, bands: Sequence[Band]) -> tuple[Measure, ...]:
    """What a chip's layer must say of bands of a sensor, since no table of the package does; none
    where one does."""
    if (TABLES / f"{sensor.name}.toml").exists():
        return ()
    return tuple(Measure(each.width_nm, each.frequency_ghz, each.polarisation) for each in bands)


def parse_sensor(table: Mapping[str, object], file: str) -> Sensor:
    """A table's content as a `Sensor`; DataError names the file and what is wrong in it."""
    return sensor_of_table(table, file)
