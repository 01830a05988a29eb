"""A first project file, with a word on every choice."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from urllib.parse import urlsplit

from earthloom.errors import ProjectError, choices
from earthloom.initialise.subject import SUBJECTS, Subject, SubjectKind, as_scalar, split
from earthloom.project import Project, load_project
from earthloom.sensors import known_sensors
from earthloom.stages import write_atomic

SIMULATED = "simulated"
"""What stands for the built-in simulated Earth."""

_FIRST = {
    "task": "What the map shows: class (one of several classes) or value (a number)",
    "archive": "Archive: a STAC API's address, a catalog.json, a .parquet, or simulated",
}
_QUESTIONS = {
    "sensors": "Sensors, with commas between, of: {known}\nSensors",
    "area": "Area: a vector file, or west,south,east,north in degrees",
    "start": "First day",
    "end": "Last day",
}
_DEFAULTS = {"sensors": "sentinel-2-l2a", "area": "area.geojson"}
_SIMULATED_DEFAULTS = {
    "sensors": "sentinel-2-l2a,sentinel-1-rtc,cop-dem-glo-30",
    "area": "archive/area.geojson",
}

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

{subject}"""


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
    subject: Subject


def gather(given: Mapping[str, str], ask: Callable[[str, str], str]) -> Answers:
    """Answers from what is given by the names of questions, as text with commas between; `ask`
    (question, default) gives the others. ProjectError for a day, task or classes that are none, and
    for what the task does not take."""
    kind = _kind(given.get("task") or ask(_FIRST["task"], "class"), given)
    source = given.get("archive") or ask(_FIRST["archive"], SIMULATED)
    simulated = source == SIMULATED
    year = 2023 if simulated else date.today().year - 1
    defaults = {
        "start": f"{year}-01-01",
        "end": f"{year}-12-31",
        **(_SIMULATED_DEFAULTS if simulated else _DEFAULTS),
        **kind.defaults,
        **(kind.simulated if simulated else {}),
    }
    said: dict[str, str] = {}
    for key, question in {**_QUESTIONS, **kind.questions}.items():
        words = question.format(known=choices(known_sensors()))
        said[key] = given.get(key) or ask(words, defaults[key].format(**said))
    return Answers(
        archive=source,
        sensors=split(said["sensors"]),
        area=said["area"],
        start=_day(said["start"]),
        end=_day(said["end"]),
        labels=said["labels"],
        subject=kind.made({**given, **said}),
    )


def _kind(task: str, given: Mapping[str, str]) -> SubjectKind:
    """What a task asks for; ProjectError for one that is not known, or that another's keys are
    given for."""
    name = task.strip().removeprefix("pixel-")
    if name not in SUBJECTS:
        raise ProjectError(f"unknown task '{task}'; known are: {choices(SUBJECTS)}")
    kind = SUBJECTS[name]
    others = {key for each in SUBJECTS.values() for key in each.keys} - kind.keys
    wrong = sorted(others & set(given))
    if wrong:
        raise ProjectError(
            f"'{wrong[0]}' has no place in a map of the task '{name}', which takes: "
            f"{choices(kind.keys)}"
        )
    return kind


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
        subject=answers.subject.text(answers.labels),
    )


def to_fill_in(project: Project) -> list[str]:
    """Files that a project names, that are not there and that no stage makes, with what they must
    hold."""
    wanted: list[tuple[str, str]] = []
    if isinstance(project.area, str) and project.area != "archive":
        wanted.append((project.area, "the outline of what is mapped"))
    if project.labels.path:
        column = f"with a column '{project.labels.column}', or a raster"
        wanted.append((project.labels.path, f"points or polygons {column}"))
    made = project.path(project.archive.path) if project.archive.kind == "simulated" else None
    return [
        f"{name}: {words}"
        for name, words in wanted
        if not project.path(name).exists()
        and (made is None or made not in project.path(name).parents)
    ]


def archive_lines(source: str) -> list[str]:
    """The archive's section for what a person calls it; ProjectError names the valid ways."""
    if source == SIMULATED:
        return ["kind: simulated", "path: archive"]
    address = source.startswith(("http://", "https://"))
    if source.endswith(".parquet") and not address:
        return ["kind: geoparquet", f"path: {as_scalar(source)}"]
    if source.endswith(".json"):
        return ["kind: catalog", f"path: {as_scalar(source)}"]
    if not address:
        raise ProjectError(
            f"'{source}' is no archive; valid: the address of a STAC API, a catalog.json, "
            "a .parquet of STAC items, simulated; a folder of files needs a pattern: see "
            "docs/project-file.md"
        )
    lines = ["kind: api", f"url: {as_scalar(source)}"]
    if urlsplit(source).hostname == "planetarycomputer.microsoft.com":
        lines.append("sign: {kind: planetary-computer}   # its files want a token, free for all")
    return lines


def _name(text: str) -> str:
    """A project's name of a folder's or file's name, whose other letters become hyphens."""
    kept = "".join(each if each.isascii() and each.isalnum() else "-" for each in text)
    return kept.strip("-") or "map"


def _area(text: str) -> str:
    try:
        bounds = [float(part) for part in split(text)]
    except ValueError:
        return as_scalar(text)
    return str(bounds)


def _sensor_lines(name: str) -> str:
    lines = f"  - name: {as_scalar(name)}"
    return lines + "\n    every: month         # clear observations of a month become one"
