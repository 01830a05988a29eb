"""A first project file, with a word on every choice."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import cycle
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from earthloom.errors import ProjectError, choices
from earthloom.project import Project, load_project
from earthloom.sensors import known_sensors
from earthloom.stages import write_atomic
from earthloom.world import CLASSES

PALETTE = ("#1d5b36", "#e8c96b", "#2f74b5", "#c0392b", "#8e6bbf", "#d98c3f", "#7fb069", "#7f7f7f")
"""Colours of classes, in turn; a legend wants others, which is one line each."""

SIMULATED = "simulated"
"""What stands for the built-in simulated Earth."""

_QUESTIONS = {
    "archive": "Archive: a STAC API's address, a catalog.json, a .parquet, or simulated",
    "sensors": "Sensors, with commas between, of: {known}\nSensors",
    "area": "Area: a vector file, or west,south,east,north in degrees",
    "start": "First day",
    "end": "Last day",
    "labels": "Labels: a vector file with a column 'class', or a raster of codes",
    "classes": "Classes, with commas between",
}
_DEFAULTS = {
    "sensors": "sentinel-2-l2a",
    "area": "area.geojson",
    "labels": "labels.gpkg",
    "classes": "forest,cropland,grassland,built-up,water",
}
_SIMULATED_DEFAULTS = {
    "sensors": "sentinel-2-l2a,sentinel-1-rtc,cop-dem-glo-30",
    "area": "archive/area.geojson",
    "labels": "archive/labels.gpkg",
    "classes": ",".join(each.name for each in sorted(CLASSES, key=lambda each: each.code)),
}

_PLAIN = re.compile(r"[A-Za-z./](?:[A-Za-z0-9_ ./-]*[A-Za-z0-9_/-])?")
"""Text that needs no quotes in YAML, unless it stands for something else, such as `null`."""

_TEXT = """\
# What is mapped, from what, and how it is assessed. Every key: docs/project-file.md
# Run it with:  earthloom run {file}
name: {name}
seed: 0                  # of everything random: the same seed gives the same map

archive:
{archive}
area: {area}   # a vector file, or [west, south, east, north] in degrees
dates: {{start: {start}, end: {end}}}   # both days included
grid: {{crs: auto, resolution: {resolution}}}   # metres; auto is the area's UTM zone

sensors:                 # all: docs/reference/sensors.md
{sensors}

classes:                 # code 0 is nodata
{classes}
labels:
  path: {labels}   # points or polygons with a class, or a raster of codes
  column: class          # the vector file's column of class names or codes

chips: {{size: 60}}        # pixels of the grid
model: {{name: ridge}}     # or: forest, unet

assess:
  method: sample         # a probability sample of the map, written out for you to label
"""


@dataclass(frozen=True)
class Answers:
    """What a project file is made of."""

    archive: str
    """A STAC API's address, a `catalog.json`, a `.parquet` of items, or `simulated`."""
    sensors: tuple[str, ...]
    area: str
    """A vector file, or west,south,east,north in degrees."""
    start: date
    end: date
    labels: str
    classes: tuple[str, ...]
    """Names, in the order of their codes from 1."""


def gather(given: Mapping[str, str], ask: Callable[[str, str], str]) -> Answers:
    """Answers from what is given by the names of `Answers`, as text with commas between; `ask`
    (question, default) gives the others. ProjectError for a day or classes that are none."""
    source = given.get("archive") or ask(_QUESTIONS["archive"], SIMULATED)
    defaults = _SIMULATED_DEFAULTS if source == SIMULATED else _DEFAULTS
    year = 2023 if source == SIMULATED else date.today().year - 1
    defaults = {"start": f"{year}-01-01", "end": f"{year}-12-31", **defaults}
    said = {
        key: given.get(key) or ask(question.format(known=choices(known_sensors())), defaults[key])
        for key, question in _QUESTIONS.items()
        if key != "archive"
    }
    return Answers(
        archive=source,
        sensors=split(said["sensors"]),
        area=said["area"],
        start=_day(said["start"]),
        end=_day(said["end"]),
        labels=said["labels"],
        classes=parse_classes(said["classes"]),
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ProjectError(f"'{text}' is not a day as YYYY-MM-DD") from None


def write_project(file: Path, answers: Answers, force: bool = False) -> Project:
    """Writes a project file with comments and reads it back; returns the project.

    ProjectError if the file is there and `force` is not set, or if an answer is not valid, in which
    case nothing is left behind.
    """
    if file.exists() and not force:
        raise ProjectError(f"{file} exists; name another file, or overwrite it with --force")
    if file.is_dir() or not file.parent.is_dir():
        raise ProjectError(f"{file} cannot be written: {file.parent} is no folder to write it to")
    text = project_text(file, answers)
    draft = file.with_name(f".{file.name}.draft")
    try:
        write_atomic(draft, text)
        load_project(draft)
    except ProjectError as error:
        words = str(error).replace(str(draft), file.name)
        raise ProjectError(f"the answers do not make a project: {words}") from error
    finally:
        draft.unlink(missing_ok=True)
    write_atomic(file, text)
    return load_project(file)


def project_text(file: Path, answers: Answers) -> str:
    """The project file as text."""
    name = file.resolve().parent.name if file.stem == "project" else file.stem
    return _TEXT.format(
        file=file.name,
        name=_name(name),
        archive="\n".join(f"  {line}" for line in archive_lines(answers.archive)),
        area=_area(answers.area),
        start=answers.start,
        end=answers.end,
        resolution=10,
        sensors="\n".join(_sensor_lines(name) for name in answers.sensors),
        classes="\n".join(_class_lines(answers.classes)),
        labels=_scalar(answers.labels),
    )


def archive_lines(source: str) -> list[str]:
    """The archive's section for what a person calls it; ProjectError names the valid ways."""
    if source == SIMULATED:
        return ["kind: simulated", "path: archive"]
    address = source.startswith(("http://", "https://"))
    if source.endswith(".parquet") and not address:
        return ["kind: geoparquet", f"path: {_scalar(source)}"]
    if source.endswith(".json"):
        return ["kind: catalog", f"path: {_scalar(source)}"]
    if not address:
        raise ProjectError(
            f"'{source}' is no archive; valid: the address of a STAC API, a catalog.json, "
            "a .parquet of STAC items, simulated; a folder of files needs a pattern: see "
            "docs/project-file.md"
        )
    lines = ["kind: api", f"url: {_scalar(source)}"]
    if urlsplit(source).hostname == "planetarycomputer.microsoft.com":
        lines.append("sign: {kind: planetary-computer}   # its files want a token, free for all")
    return lines


def parse_classes(text: str) -> tuple[str, ...]:
    """Names between commas; ProjectError for fewer than two."""
    names = split(text)
    if len(names) < 2:
        raise ProjectError(f"a map needs two classes or more; given: {choices(names)}")
    return names


def split(text: str) -> tuple[str, ...]:
    """Words between commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _name(text: str) -> str:
    """A project's name of a folder's or file's name, whose other letters become hyphens."""
    kept = "".join(each if each.isascii() and each.isalnum() else "-" for each in text)
    return kept.strip("-") or "map"


def _area(text: str) -> str:
    try:
        bounds = [float(part) for part in split(text)]
    except ValueError:
        return _scalar(text)
    return str(bounds)


def _sensor_lines(name: str) -> str:
    lines = f"  - name: {_scalar(name)}"
    return lines + "\n    every: month         # clear observations of a month become one"


def _class_lines(names: Sequence[str]) -> list[str]:
    known = {each.name: each.colour for each in CLASSES}
    return [
        f'  - {{code: {code}, name: {_scalar(name)}, colour: "{known.get(name, colour)}"}}'
        for code, (name, colour) in enumerate(zip(names, cycle(PALETTE)), start=1)
    ]


def _scalar(text: str) -> str:
    """Text as YAML reads it back, quoted where it must be; on one line, inside braces too."""
    if _PLAIN.fullmatch(text) and yaml.safe_load(text) == text:
        return text
    escapes = {'"': '\\"', "\\": "\\\\"}
    shown = (
        escapes.get(each) or (each if each.isprintable() else f"\\U{ord(each):08x}")
        for each in text
    )
    return '"' + "".join(shown) + '"'
