"""The registry of published datasets: one TOML table each, checked when it is read."""

import re
import tomllib
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from earthloom.datasets.model import Entry
from earthloom.errors import DataError, choices
from earthloom.sensors import known_sensors, load_sensor

TABLES = Path(__file__).parent / "tables"

_VALID = TypeAdapter(Entry)

_NO_KEY = ("unexpected_keyword_argument", "extra_forbidden")

_MEMBERS = ("str", "float", "int", "bool", "tuple")
"""What pydantic adds to the place of a value that may be of several types."""


def known_datasets(folder: Path | None = None) -> list[str]:
    """Names of all entries, those in a folder of one's own (`NAME.dataset.toml`) included."""
    files = [*TABLES.glob("*.toml"), *(folder.glob("*.dataset.toml") if folder else ())]
    return sorted({file.name.removesuffix(".toml").removesuffix(".dataset") for file in files})


def load_entry(name: str, folder: Path | None = None) -> Entry:
    """An entry by name; `NAME.dataset.toml` in `folder` goes before the built-in one.

    DataError for a name that is not known, or a table that is not valid: file, line, key, and what
    would be.
    """
    own = folder / f"{name}.dataset.toml" if folder else None
    file = own if own and own.exists() else TABLES / f"{name}.toml"
    if not file.exists():
        raise DataError(f"unknown dataset '{name}'; known are: {choices(known_datasets(folder))}")
    entry = parse_entry(file.read_text(encoding="utf-8"), file.name)
    if entry.name != name:
        raise DataError(f"{file.name}, line 1: name: '{entry.name}' must be '{name}', as the file")
    return entry


def parse_entry(text: str, file: str) -> Entry:
    """A table's text as an `Entry`; errors as `load_entry`."""
    try:
        entry = _VALID.validate_python(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise DataError(f"{file} is not TOML: {error}") from error
    except ValidationError as error:
        found = error.errors(include_url=False)
        # A key that is misspelt is missing as well: the misspelt one has a line.
        first = next((each for each in found if each["type"] in _NO_KEY), found[0])
        loc = first["loc"]
        while loc and str(loc[-1]).partition("[")[0] in _MEMBERS:
            loc = loc[:-1]
        what = _words(first["type"], first["msg"], first["input"])
        raise _wrong(text, file, loc, what) from error
    for loc, what in _mistakes(entry):
        raise _wrong(text, file, loc, what)
    return entry


def _words(kind: str, message: str, given: object) -> str:
    if kind == "missing":
        return "this key is missing"
    if kind in _NO_KEY:
        return "there is no such key"
    return f"{given!r}: {message[:1].lower()}{message[1:]}"


def _mistakes(entry: Entry) -> list[tuple[tuple[str | int, ...], str]]:
    """What types alone do not say: each mistake's place and its words."""
    found: list[tuple[tuple[str | int, ...], str]] = []
    classed = entry.task not in ("scene-value", "pixel-value")
    if classed and not entry.classes:
        found.append((("classes",), f"the task '{entry.task}' needs classes"))
    if not classed and not entry.unit:
        found.append((("unit",), f"the task '{entry.task}' needs the unit of its values"))
    for key in ("values", "colours"):
        listed = getattr(entry, key)
        if listed and len(listed) != len(entry.classes):
            what = f"{len(listed)} given for {len(entry.classes)} classes"
            found.append(((key,), what))
    double = sorted({name for name in entry.classes if entry.classes.count(name) > 1})
    if double:
        found.append((("classes",), f"named twice: {choices(double)}"))
    if not entry.layers:
        found.append((("layers",), "there must be one at least"))
    for at, layer in enumerate(entry.layers):
        if layer.range[0] >= layer.range[1] or not layer.range[0] < layer.peak <= layer.range[1]:
            what = f"{layer.range} must rise, and hold the peak {layer.peak:g}"
            found.append((("layers", at, "range"), what))
        waves = len(layer.wavelengths_nm)
        if waves and (waves != len(layer.bands) or layer.sensor in known_sensors()):
            what = f"{waves} given for {len(layer.bands)} bands; a known sensor has its own"
            found.append((("layers", at, "wavelengths_nm"), what))
        if layer.sensor not in known_sensors():
            continue
        bands = load_sensor(layer.sensor).by_name
        unknown = [name for name in layer.bands if name not in bands]
        if unknown:
            what = f"{layer.sensor} has no band '{unknown[0]}'; its bands are: {choices(bands)}"
            found.append((("layers", at, "bands"), what))
        elif {bands[name].unit for name in layer.bands} != {layer.unit}:
            what = f"'{layer.unit}' is not the unit of {layer.sensor}: {bands[layer.bands[0]].unit}"
            found.append((("layers", at, "unit"), what))
    return found


def _wrong(text: str, file: str, loc: tuple[str | int, ...], what: str) -> DataError:
    place = ".".join(map(str, loc)) or "the table"
    return DataError(f"{file}, line {_line(text, loc)}: {place}: {what}")


def _line(text: str, loc: tuple[str | int, ...]) -> int:
    """The line (from 1) of the deepest part of a place that the text has."""
    lines = text.splitlines()
    names = [part for part in loc if isinstance(part, str)]
    numbers = [part for part in loc if isinstance(part, int)]
    start, head = 1, ""
    if names and numbers and len(loc) > 1 and isinstance(loc[1], int):
        heads = [n for n, line in enumerate(lines, 1) if line.strip() == f"[[{names[0]}]]"]
        if len(heads) > numbers[0]:
            start, head = heads[numbers[0]], names.pop(0)
    elif len(names) > 1:
        heads = [n for n, line in enumerate(lines, 1) if line.strip() == f"[{names[0]}]"]
        if heads:
            start, head = heads[0], names.pop(0)
    for number, line in enumerate(lines[start - 1 :], start):
        if number > start and head and line.startswith("["):
            break
        if names and re.match(rf'\s*"?{names[0]}"?\s*=|\[+{names[0]}\b', line):
            return number
    return start
