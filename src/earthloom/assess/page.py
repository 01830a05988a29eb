"""What all reports share: the page itself, the scenes behind it, and how it was made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jinja2

import earthloom
from earthloom.archive import Scene
from earthloom.assess.observations import scenes_by_month
from earthloom.assess.templating import environment_of
from earthloom.assess.words import (
    grouped,
    hectares,
    percent,
    range_hectares,
    range_percent,
    without_folders,
)
from earthloom.project import Project, SensorChoice, SimulatedArchive

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

Context = dict[str, Any]
"""What a template sees by name."""


@dataclass(frozen=True)
class Fact:
    """One line of how a map was made."""

    term: str
    text: str


@dataclass(frozen=True)
class Failure:
    """A scene that did not load."""

    scene: str
    reason: str


@dataclass(frozen=True)
class Titles:
    """The head of a page."""

    kind: str
    title: str
    subtitle: str


def render(template: str, titles: Titles, project: Project, context: Context) -> str:
    """A report of a project as HTML."""
    return render_page(template, titles, isinstance(project.archive, SimulatedArchive), context)


def render_page(template: str, titles: Titles, simulated: bool, context: Context) -> str:
    """A page as HTML; `simulated` puts a warning on top that nothing in it is real."""
    head = {
        "version": earthloom.__version__,
        "kind": titles.kind,
        "title": titles.title,
        "subtitle": titles.subtitle,
        "simulated": simulated,
    }
    return _environment().get_template(template).render(head | context)


def scene_context(scenes: Sequence[Scene], failed: Mapping[str, str]) -> Context:
    """The section on scenes; `failed` may name scenes of other areas, which are left out."""
    listed = {scene.id for scene in scenes}
    return {
        "scene_count": len(listed),
        "scene_rows": scenes_by_month(scenes, failed),
        "failures": [
            Failure(scene, without_folders(reason))
            for scene, reason in sorted(failed.items())
            if scene in listed
        ],
    }


def how_made(project: Project, record: Mapping[str, Any]) -> list[Fact]:
    """The project's settings and the model's record."""
    facts = [Fact("Project", project.name)]
    if project.dates is not None:
        facts.append(Fact("Period", f"{project.dates.start} to {project.dates.end}"))
    facts += [Fact(f"Sensor {c.name}", _sensor_words(project, c)) for c in project.sensors]
    settings = project.model.as_inputs()
    facts.append(Fact("Model", f"{settings.pop('name')}: {_words(settings)}"))
    facts += [
        Fact(_TERMS.get(key, key.replace("_", " ").capitalize()), _words(value))
        for key, value in record.items()
        if key not in ("settings", "seed")
    ]
    facts.append(Fact("Seed", str(project.seed)))
    facts.append(Fact("Software", f"Earthloom {earthloom.__version__}"))
    return facts


_TERMS = {"labels": "Labelled pixels", "pixels": "Pixels fitted on", "solution": "Fit"}


@cache
def _environment() -> jinja2.Environment:
    filters = (grouped, hectares, percent, range_hectares, range_percent)
    environment = environment_of("earthloom.assess", {each.__name__: each for each in filters})
    environment.globals["months"] = MONTHS
    return environment


def _sensor_words(project: Project, choice: SensorChoice) -> str:
    sensor = project.sensor(choice.name)
    bands = choice.bands or tuple(band.name for band in sensor.bands)
    steps = {"month": "one composite a month", "date": "each date", "period": "one composite"}
    parts = [sensor.title, f"bands {', '.join(bands)}"]
    if sensor.static:
        return "; ".join(parts)
    default = sensor.bands[0].policy.composite
    parts.append(f"{steps[choice.every]} ({choice.by or default} of clear observations)")
    if choice.max_cloud < 100:
        parts.append(f"scenes with at most {choice.max_cloud:g} % cloud")
    return "; ".join(parts)


def _words(value: Any) -> str:
    """A JSON value as a person reads it."""
    if isinstance(value, Mapping):
        return ", ".join(f"{k.replace('_', ' ')} {_words(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int) and not isinstance(value, bool):
        return grouped(value)
    return str(value)
