"""What a cube will hold: its layers, their time steps, and the scenes of each."""

import calendar
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from odc.geo.geobox import GeoBox

from earthloom.archive import Scene
from earthloom.errors import DataError, choices
from earthloom.grid import coarser
from earthloom.project import Dates, Project, SensorChoice
from earthloom.sample import LayerSpec
from earthloom.sensors import Band, Sensor

Method = Literal["median", "mean", "newest"]


@dataclass(frozen=True)
class Step:
    """One time step of a layer."""

    label: str
    start: date
    end: date
    """The last day, included."""
    scenes: tuple[Scene, ...]


@dataclass(frozen=True)
class LayerPlan:
    """One layer of a cube, before its pixels are read."""

    spec: LayerSpec
    sensor: Sensor
    box: GeoBox
    method: Method
    steps: tuple[Step, ...]


def base_gsd(project: Project) -> float:
    """Metres between pixels of the base grid; nominal where the grid is in degrees."""
    if project.grid.crs != "native":
        return project.grid.resolution
    sensor = project.sensor(project.sensors[0].name)
    return sensor.band(project.grid.like or _bands(project.sensors[0], sensor)[0].name).gsd


def layer_factors(project: Project) -> list[int]:
    """The factors of all layers that the project's sensors will have."""
    base = base_gsd(project)
    chosen = ((choice, project.sensor(choice.name)) for choice in project.sensors)
    return sorted({_factor(band, base) for c, sensor in chosen for band in _bands(c, sensor)})


def common_multiple(project: Project) -> int:
    """Of how many base pixels every window must be a multiple, so that all layers fit in it."""
    return math.lcm(*layer_factors(project))


def plan_layers(project: Project, box: GeoBox, scenes: Sequence[Scene]) -> list[LayerPlan]:
    """The layers of a cube on a base grid; DataError if no scene has a band that is asked for."""
    plans = []
    base = base_gsd(project)
    for choice in project.sensors:
        sensor = project.sensor(choice.name)
        chosen = tuple(scene for scene in scenes if scene.sensor == sensor.name)
        layers: dict[int, list[Band]] = defaultdict(list)
        for band in _bands(choice, sensor):
            _require(band, sensor, chosen)
            layers[_factor(band, base)].append(band)
        steps = _steps(choice, sensor, chosen, project.dates)
        for factor, bands in sorted(layers.items()):
            spec = LayerSpec(
                sensor=sensor.name,
                gsd=base * factor,
                bands=tuple(band.name for band in bands),
                unit=bands[0].unit,
                dates=tuple(step.label for step in steps),
                wavelengths_nm=tuple(band.wavelength_nm for band in bands),
                factor=factor,
            )
            method = choice.by or bands[0].policy.composite
            plans.append(LayerPlan(spec, sensor, coarser(box, factor), method, steps))
    return plans


def _bands(choice: SensorChoice, sensor: Sensor) -> list[Band]:
    return [sensor.band(name) for name in choice.bands] or list(sensor.bands)


def _factor(band: Band, base: float) -> int:
    """Base pixels that a pixel of the band's layer is wide.

    Elevation is a smooth surface, and comes on another grid anyway: it is read onto the base grid.
    """
    return 1 if band.policy.static else max(1, round(band.gsd / base))


def _require(band: Band, sensor: Sensor, scenes: Sequence[Scene]) -> None:
    """A band that some scenes lack is a gap; one that all lack is a mistake."""
    if scenes and not any(band.name in scene.bands for scene in scenes):
        held = sorted({name for scene in scenes for name in scene.bands})
        raise DataError(
            f"no scene of {sensor.name} has an asset for band {band.name}; "
            f"the archive has: {choices(held)}"
        )


def _steps(
    choice: SensorChoice, sensor: Sensor, scenes: tuple[Scene, ...], dates: Dates | None
) -> tuple[Step, ...]:
    if sensor.static:
        day = scenes[0].day if scenes else date(1970, 1, 1)
        return (Step("static", day, day, scenes),)
    if choice.every == "date":
        days = sorted({scene.day for scene in scenes})
        return tuple(
            Step(str(number), day, day, tuple(s for s in scenes if s.day == day))
            for number, day in enumerate(days, start=1)
        )
    if dates is None:
        raise DataError(
            f"{sensor.name} is composited every {choice.every}, which needs 'dates' in the "
            "project file; or set 'every: date'"
        )
    spans = [(dates.start, dates.end)] if choice.every == "period" else _months(dates)
    return tuple(
        Step(
            label="period" if choice.every == "period" else f"{start:%Y-%m}",
            start=start,
            end=end,
            scenes=tuple(scene for scene in scenes if start <= scene.day <= end),
        )
        for start, end in spans
    )


def _months(dates: Dates) -> list[tuple[date, date]]:
    """First and last day of each calendar month of a period, cut to it."""
    spans = []
    year, month = dates.start.year, dates.start.month
    while (year, month) <= (dates.end.year, dates.end.month):
        last = calendar.monthrange(year, month)[1]
        start, end = date(year, month, 1), date(year, month, last)
        spans.append((max(start, dates.start), min(end, dates.end)))
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)
    return spans
