"""What a cube will hold: its layers, their time steps, and the scenes of each."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox

from earthloom.archive import Scene
from earthloom.cube.clouds import hook_bands
from earthloom.cube.harmonise import Chain, make_chain
from earthloom.cube.mask import MaskRule
from earthloom.cube.methods import find_method
from earthloom.cube.mosaic import Acquisition, acquisitions
from earthloom.cube.notes import SceneNotes
from earthloom.cube.periods import Period, periods
from earthloom.cube.seasons import season_periods, seasons_of
from earthloom.errors import DataError, ProjectError, choices
from earthloom.grid import coarser, gsd_metres, middle_of, nested_factor, outline_of
from earthloom.project import Dates, Project, SensorChoice
from earthloom.sample import LayerSpec, Measure
from earthloom.sensors import Band, Meaning, Sensor, measures_of

PLAIN = ("median", "mean", "newest")
"""Composites that every kind of band can have and that leave its bands as they are."""


@dataclass(frozen=True)
class Step:
    """One time step of a layer."""

    label: str
    start: date
    end: date
    """The last day, included."""
    scenes: tuple[Scene, ...]
    middle: tuple[float, float] | None = None
    """Longitude and latitude of the area's middle; tiles that lie nearest to it go first."""
    zone: str = ""
    """The digits of the grid's UTM zone, whose tiles go before all others."""

    @cached_property
    def acquisitions(self) -> tuple[Acquisition, ...]:
        """The scenes by looks at the ground, in the order of their times."""
        return acquisitions(self.scenes, self.middle, self.zone)


@dataclass(frozen=True)
class LayerPlan:
    """One layer of a cube, before its pixels are read."""

    spec: LayerSpec
    sensor: Sensor
    box: GeoBox
    method: str
    """How the observations of a time step become one: one of `PLAIN`, or of `methods`."""
    steps: tuple[Step, ...]
    reads: tuple[str, ...] = ()
    """Bands that are read, where what leaves is not those: an index, a fit of waves."""
    indices: tuple[str, ...] = ()
    """Spectral indices that are put behind the bands."""
    rule: MaskRule | None = None
    """What hides the ground; by default what the sensor's table says."""
    chain: Chain = Chain(None, ())
    """What makes scenes comparable."""
    elevation: tuple[Scene, ...] = ()
    """Scenes of the elevation that a step of the chain needs."""
    notes: Mapping[str, SceneNotes] = field(default_factory=dict)
    """What was found out about scenes beforehand, by id."""

    @property
    def bands(self) -> tuple[Band, ...]:
        """The bands that are read."""
        return tuple(self.sensor.band(name) for name in self.reads or self.spec.bands)

    @property
    def composited(self) -> tuple[Band, ...]:
        """The bands that leave the composite; indices are made of them."""
        return self.bands if self.method in PLAIN else find_method(self.method).bands(self.bands)

    @property
    def pixel_m(self) -> float:
        """Width of a pixel in metres."""
        return self.spec.gsd

    @property
    def mask_rule(self) -> MaskRule:
        """What hides the ground."""
        hides = self.sensor.quality.hides if self.sensor.quality else frozenset[Meaning]()
        return self.rule or MaskRule(hide=hides)


def base_gsd(project: Project, box: GeoBox) -> float:
    """Metres between pixels of the base grid; those of its band where the grid is the archive's."""
    return gsd_metres(box) if project.grid.crs != "native" else native_gsd(project)


def native_gsd(project: Project) -> float:
    """Metres between pixels of the band whose pixels are the base grid."""
    sensor = project.sensor(project.sensors[0].name)
    return sensor.band(project.grid.like or _bands(project.sensors[0], sensor)[0].name).gsd


def layer_factors(project: Project, base: float) -> list[int]:
    """The factors of all layers of a project over a base grid of so many metres."""
    chosen = ((choice, project.sensor(choice.name)) for choice in project.sensors)
    return sorted({_factor(band, base) for c, sensor in chosen for band in _bands(c, sensor)})


def common_multiple(project: Project, base: float) -> int:
    """Of how many base pixels every window must be a multiple, so that all layers fit in it."""
    return math.lcm(*layer_factors(project, base))


def plan_layers(
    project: Project,
    box: GeoBox,
    scenes: Sequence[Scene],
    notes: Mapping[str, SceneNotes] = MappingProxyType({}),
) -> list[LayerPlan]:
    """The layers of a cube on a base grid; DataError if no scene has a band that is asked for."""
    base = base_gsd(project, box)
    plans = []
    for choice in project.sensors:
        sensor = project.sensor(choice.name)
        chosen = tuple(scene for scene in scenes if scene.sensor == sensor.name)
        layers: dict[int, list[Band]] = defaultdict(list)
        for band in _bands(choice, sensor):
            _require(band, sensor, chosen)
            layers[_factor(band, base)].append(band)
        steps = _steps(choice, sensor, chosen, project.dates, notes)
        if not sensor.static:
            middle, zone = middle_of(outline_of(box)), _utm_zone(box)
            steps = tuple(replace(step, middle=middle, zone=zone) for step in steps)
        for factor, bands in sorted(layers.items()):
            plan = _layer(choice, sensor, bands, steps, base * factor, factor)
            changed = _treatment(project, choice, scenes) | {"notes": notes}
            plans.append(replace(plan, box=coarser(box, factor), **changed))
    _require_indices(project, plans)
    return plans


def _utm_zone(box: GeoBox) -> str:
    """The digits of a grid's UTM zone; empty in another CRS."""
    code = (box.crs.epsg if box.crs is not None else None) or 0
    is_utm = code // 100 in (326, 327) and 1 <= code % 100 <= 60
    return f"{code % 100:02d}" if is_utm else ""


def plan_look(
    project: Project,
    choice: SensorChoice,
    scenes: Sequence[Scene],
    box: GeoBox,
    bands: tuple[Band, ...],
    gsd: float,
) -> LayerPlan:
    """How single scenes of a sensor are read on a grid of pixels of `gsd` metres: treated as in the
    cube, without time steps. `scenes` are those of all sensors."""
    plan = _layer(choice, project.sensor(choice.name), bands, (), gsd, 1)
    return replace(plan, box=box, **_treatment(project, choice, scenes))


def _layer(
    choice: SensorChoice,
    sensor: Sensor,
    bands: Sequence[Band],
    steps: tuple[Step, ...],
    gsd: float,
    factor: int,
) -> LayerPlan:
    """A layer whose grid and treatment are still to be said."""
    name = choice.by or bands[0].policy.composite
    left = tuple(bands) if name in PLAIN else find_method(name).bands(bands)
    indices = _computable(choice.indices, left)
    spec = LayerSpec(
        sensor=sensor.name,
        gsd=gsd,
        bands=(*(band.name for band in left), *indices),
        unit=_unit(left),
        dates=tuple(step.label for step in steps),
        wavelengths_nm=(*(band.wavelength_nm for band in left), *(None for _ in indices)),
        factor=factor,
        measures=_measures(sensor, left, indices),
    )
    reads = tuple(band.name for band in bands)
    return LayerPlan(spec, sensor, _NOWHERE, name, steps, reads, indices)


def _measures(sensor: Sensor, bands: Sequence[Band], indices: Sequence[str]) -> tuple[Measure, ...]:
    own = measures_of(sensor, bands)
    return (*own, *(Measure() for _ in indices)) if own else ()


def _unit(bands: Sequence[Band]) -> str:
    """The unit of a layer; band by band where they differ."""
    units = [band.unit for band in bands]
    return units[0] if len(set(units)) == 1 else ", ".join(units)


_NOWHERE = GeoBox((0, 0), Affine.identity(), None)


def _computable(names: Sequence[str], bands: Sequence[Band]) -> tuple[str, ...]:
    """The indices that these bands can make."""
    if not names:
        return ()
    from earthloom.cube.indices import as_bands, possible

    known = [band.name for band in as_bands(names, bands[0].gsd)]
    allowed = set(possible(bands))
    return tuple(name for name in known if name in allowed)


def _treatment(project: Project, choice: SensorChoice, scenes: Sequence[Scene]) -> dict[str, Any]:
    """How scenes of a sensor are masked and harmonised."""
    sensor, mask = project.sensor(choice.name), choice.mask
    table = sensor.quality.hides if sensor.quality else frozenset[Meaning]()
    rule = MaskRule(
        hide=table if mask.hide is None else frozenset(mask.hide),
        dilate_m=mask.dilate_m,
        hook=mask.detector,
        least_probability=mask.least_probability,
    )
    hook_bands(rule, sensor)  # a detector that cannot work is told of before anything is read
    chain = make_chain(choice.harmonise)
    elevation: tuple[Scene, ...] = ()
    if chain.elevation_margin(1.0):
        heights = {c.name for c in project.sensors if project.sensor(c.name).static}
        elevation = tuple(scene for scene in scenes if scene.sensor in heights)
        if not elevation:
            raise ProjectError(
                f"{choice.name}: the harmonise step 'topography' needs an elevation sensor, such "
                "as cop-dem-glo-30, among the project's sensors"
            )
    return {"rule": rule, "chain": chain, "elevation": elevation}


def _require_indices(project: Project, plans: Sequence[LayerPlan]) -> None:
    """An index that no layer of its sensor can make is a mistake."""
    for choice in project.sensors:
        if not choice.indices:
            continue
        from earthloom.cube.indices import compute

        own = [plan for plan in plans if plan.spec.sensor == choice.name]
        bands = [band for plan in own for band in plan.bands]
        made = {name for plan in own for name in plan.indices}
        for name in choice.indices:
            if name not in made:
                # Says which bands are missing; if none is, they lie on different grids.
                compute([name], np.zeros((len(bands), 1, 1), np.float32), bands)
                raise DataError(
                    f"the index {name} needs bands of {choice.name} that differ in resolution; "
                    "choose bands of one resolution"
                )


def _bands(choice: SensorChoice, sensor: Sensor) -> list[Band]:
    return [sensor.band(name) for name in choice.bands] or list(sensor.bands)


def _factor(band: Band, base: float) -> int:
    """Base pixels that a pixel of the band's layer is wide.

    Elevation is a smooth surface, and comes on another grid anyway: it is read onto the base grid.
    """
    return 1 if band.policy.static else nested_factor(band.gsd, base)


def _require(band: Band, sensor: Sensor, scenes: Sequence[Scene]) -> None:
    """A band that some scenes lack is a gap; one that all lack is a mistake."""
    if scenes and not any(band.name in scene.bands for scene in scenes):
        held = sorted({name for scene in scenes for name in scene.bands})
        raise DataError(
            f"no scene of {sensor.name} has an asset for band {band.name}; "
            f"the archive has: {choices(held)}"
        )


def _steps(
    choice: SensorChoice,
    sensor: Sensor,
    scenes: tuple[Scene, ...],
    dates: Dates | None,
    notes: Mapping[str, SceneNotes],
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
    spans = (
        _phenology(scenes, dates, notes)
        if choice.every == "phenology"
        else periods(dates.start, dates.end, choice.every)
    )
    return tuple(
        Step(
            label=span.label,
            start=span.start,
            end=span.end,
            scenes=tuple(scene for scene in scenes if span.start <= scene.day <= span.end),
        )
        for span in spans
    )


def _phenology(
    scenes: Sequence[Scene], dates: Dates, notes: Mapping[str, SceneNotes]
) -> list[Period]:
    """The stages of the vegetation, by the mean NDVI of the area as far as it was seen."""
    noted = ((scene.day, notes[scene.id].greenness) for scene in scenes if scene.id in notes)
    green = [((day - date(1970, 1, 1)).days, value) for day, value in noted if value is not None]
    days, values = [day for day, _ in green], np.array([value for _, value in green])
    return season_periods(dates.start, dates.end, seasons_of(values, days).seasons)
