"""Looks at every scene before the cube is made: does its offset fit, where does it lie, how does
light fall on its slopes, how green is the land.

Two looks are enough for any area: a thumbnail of all of it, read from overviews, and a window of
full resolution in its middle.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

import numpy as np
import rasterio
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox

from earthloom.archive import Scene
from earthloom.cube.harmonise import (
    Align,
    Displacement,
    OffsetFinding,
    SceneStatistics,
    Shift,
    Topography,
    check_offsets,
    displacement,
    fit_c,
    scene_statistics,
)
from earthloom.cube.kernels import median_f32
from earthloom.cube.methods import role
from earthloom.cube.notes import SceneNotes, notes_from_json, notes_to_json
from earthloom.cube.observe import context_of, read_scene
from earthloom.cube.plan import LayerPlan, base_gsd, plan_look
from earthloom.cube.read import GDAL_OPTIONS, Reader
from earthloom.errors import DataError
from earthloom.grid import coarser, nested_factor, window_box
from earthloom.progress import Tick
from earthloom.project import Project, SensorChoice
from earthloom.sample import Shape2d, Window
from earthloom.sensors import Band
from earthloom.workers import Threads

THUMBNAIL = 256
"""Pixels, at most, of a thumbnail's longer side."""
SAMPLE = 1024
"""Pixels, at most, of the sides of the window of full resolution."""
CLEAREST = 7
"""Scenes, those that saw the most, whose median is what all of a sensor are laid on."""
_ROUNDS = 2
"""Times that a reference is made: the first is blurred by the very shifts that are looked for."""
_LEAST_OF_REFERENCE = 3
"""Scenes that were laid on each other, at least, of which a sharper reference is made."""
_SHARPEST = ("nir", "red", "nir08", "green")
"""Common names of bands to compare places by, best first: edges of fields and water are clear."""

Floats = NDArray[np.float32]
Result = TypeVar("Result")


@dataclass(frozen=True)
class Inspection:
    """What came out of it."""

    notes: Mapping[str, SceneNotes]
    offsets: tuple[OffsetFinding, ...]
    """Scenes whose offset looks wrong."""


def inspection_to_json(inspection: Inspection) -> dict[str, Any]:
    """An inspection as JSON values."""
    offsets = [asdict(finding) for finding in inspection.offsets]
    return {"notes": notes_to_json(inspection.notes), "offsets": offsets}


def inspection_from_json(value: Mapping[str, Any]) -> Inspection:
    """An inspection from what `inspection_to_json` made."""
    offsets = tuple(OffsetFinding(**each) for each in value["offsets"])
    return Inspection(notes_from_json(value["notes"]), offsets)


def needs_inspection(project: Project, choice: SensorChoice) -> bool:
    """Whether a sensor's scenes are to be looked at beforehand."""
    asked = {"align", "topography"} & {*choice.harmonise}
    has_rules = bool(project.sensor(choice.name).offset_rules)
    return has_rules or bool(asked) or choice.every == "phenology"


def inspect_scenes(
    reader: Reader, project: Project, box: GeoBox, scenes: Sequence[Scene], tick: Tick
) -> Inspection:
    """Looks at all scenes of an area. One that does not load has no notes; the cube counts it."""
    notes: dict[str, SceneNotes] = {}
    offsets: list[OffsetFinding] = []
    chosen = [choice for choice in project.sensors if needs_inspection(project, choice)]
    for number, choice in enumerate(chosen, start=1):
        own = [scene for scene in scenes if scene.sensor == choice.name]
        look = _Looks(reader, project, choice, own, tuple(scenes), box)
        found, wrong = look.inspect()
        notes |= found
        offsets += wrong
        tick(number, len(chosen), choice.name)
    return Inspection(notes, tuple(offsets))


@dataclass(frozen=True)
class _Looks:
    """The scenes of one sensor over one area."""

    reader: Reader
    project: Project
    choice: SensorChoice
    scenes: Sequence[Scene]
    all_scenes: tuple[Scene, ...]
    box: GeoBox

    def inspect(self) -> tuple[dict[str, SceneNotes], list[OffsetFinding]]:
        statistics, greenness = self._thumbnails()
        wrong = check_offsets(statistics) if self._has_offsets else []
        moved = self._shifts() if "align" in self.choice.harmonise else {}
        slopes = self._slopes() if "topography" in self.choice.harmonise else {}
        offsets = {finding.scene: finding.found for finding in wrong}
        notes = {
            scene.id: SceneNotes(
                moved=moved.get(scene.id),
                terrain_c=slopes.get(scene.id),
                greenness=greenness.get(scene.id),
                offset=offsets.get(scene.id),
                repaired=scene.id in offsets and self.choice.wrong_offsets == "repair",
            )
            for scene in self.scenes
        }
        return notes, wrong

    @property
    def _has_offsets(self) -> bool:
        return bool(self.project.sensor(self.choice.name).offset_rules)

    def _thumbnails(self) -> tuple[dict[str, SceneStatistics], dict[str, float]]:
        """Statistics of each scene, and its mean NDVI where its bands tell."""
        if not (self._has_offsets or self.choice.every == "phenology"):
            return {}, {}
        shrink = max(-(-max(self.box.shape) // THUMBNAIL), 1)
        plan = _plain(self._plan(coarser(self.box, shrink), self._chosen_bands(), shrink))
        images = self._each(lambda scene: read_scene(self.reader, plan, scene, plan.box))
        statistics: dict[str, SceneStatistics] = {}
        greenness: dict[str, float] = {}
        for scene in self.scenes:
            if scene.id not in images:
                continue
            image = images[scene.id]
            offset = scene.bands[plan.bands[0].name].offset
            seen = np.asarray(~np.isnan(image).any(axis=0), np.bool_)
            statistics[scene.id] = scene_statistics(image, seen, plan.bands, offset)
            green = _greenness(image, plan.bands)
            if green is not None:
                greenness[scene.id] = green
        return statistics, greenness

    def _shifts(self) -> dict[str, Displacement]:
        """How each scene lies beside the median of the clearest; none where it cannot be told."""
        bands = self._chosen_bands()
        place = role(bands, *_SHARPEST)
        band = bands[place if place is not None else 0]
        plan = _plain(self._sample_plan((band,)))
        align = plan.chain.align
        assert align is not None  # the project names the step
        images = self._each(lambda scene: read_scene(self.reader, plan, scene, plan.box))
        if not images:
            return {}
        order = sorted(images, key=lambda scene: (np.isnan(images[scene]).sum(), scene))
        clearest = order[:CLEAREST]
        steady = [images[scene] for scene in clearest]
        found: dict[str, Displacement] = {}
        for _ in range(_ROUNDS):
            reference, _seen = median_f32(np.stack(steady))
            found = self._laid_on(reference, images, align, plan.box)
            own = {name for name in clearest if name in found}
            if len(own) < _LEAST_OF_REFERENCE:
                break
            steady = self._moved(plan, {name: found[name] for name in sorted(own)})
        return found

    def _laid_on(
        self, reference: Floats, images: Mapping[str, Floats], align: Align, box: GeoBox
    ) -> dict[str, Displacement]:
        """How each image lies beside a reference, where that can be told."""

        def look(scene: Scene) -> Shift | None:
            return align.shift(images[scene.id], reference) if scene.id in images else None

        return {scene: displacement(shift, box) for scene, shift in self._each(look).items()}

    def _moved(self, plan: LayerPlan, places: Mapping[str, Displacement]) -> list[Floats]:
        """Scenes as they are once they are moved, in the order of their ids."""
        notes = {name: SceneNotes(moved=moved) for name, moved in places.items()}
        placed = replace(plan, notes=notes)

        def look(scene: Scene) -> Floats | None:
            return read_scene(self.reader, placed, scene, plan.box) if scene.id in places else None

        images = self._each(look)
        return [images[scene] for scene in sorted(images)]

    def _slopes(self) -> dict[str, dict[str, float]]:
        """c of each band of each scene, from the middle of the area."""
        plan = self._sample_plan(self._chosen_bands())
        topography = next(s for s in plan.chain.steps if isinstance(s, Topography))

        def fit(scene: Scene) -> dict[str, float]:
            image = read_scene(self.reader, _plain(plan), scene, plan.box)
            sums = topography.sums(image, context_of(self.reader, plan, scene, plan.box))
            names = [band.name for band in plan.bands if band.kind == "reflectance"]
            return dict(zip(names, fit_c(sums), strict=True))

        return self._each(fit)

    def _chosen_bands(self) -> tuple[Band, ...]:
        sensor = self.project.sensor(self.choice.name)
        return tuple(sensor.band(name) for name in self.choice.bands) or sensor.bands

    def _sample_plan(self, bands: tuple[Band, ...]) -> LayerPlan:
        """The middle of the area in the resolution of the finest of some bands."""
        factor = nested_factor(min(band.gsd for band in bands), base_gsd(self.project, self.box))
        box = coarser(self.box, factor)
        rows, cols = min(box.shape.y, SAMPLE), min(box.shape.x, SAMPLE)
        corner = ((box.shape.y - rows) // 2, (box.shape.x - cols) // 2)
        return self._plan(window_box(box, Window(*corner, Shape2d(rows, cols))), bands, factor)

    def _plan(self, box: GeoBox, bands: tuple[Band, ...], factor: int) -> LayerPlan:
        gsd = base_gsd(self.project, self.box) * factor
        return plan_look(self.project, self.choice, self.all_scenes, box, bands, gsd)

    def _each(self, look: Callable[[Scene], Result | None]) -> dict[str, Result]:
        """What a look at each scene gives, by scene; those that do not load are left out."""

        def safely(scene: Scene) -> Result | None:
            with rasterio.Env(**GDAL_OPTIONS):
                try:
                    return look(scene)
                except DataError:
                    return None  # the cube will meet the same error, and count it

        results = Threads().run(safely, list(self.scenes))
        return {scene.id: result for scene, result in results if result is not None}


def _plain(plan: LayerPlan) -> LayerPlan:
    """The same without the steps that change an image."""
    return replace(plan, chain=replace(plan.chain, steps=()))


def _greenness(image: Floats, bands: Sequence[Band]) -> float | None:
    """Mean NDVI of what was seen of an image (C, H, W); None where bands or pixels lack."""
    red, nir = role(bands, "red"), role(bands, "nir", "nir08")
    if red is None or nir is None:
        return None
    with np.errstate(invalid="ignore", divide="ignore"):
        ndvi = (image[nir] - image[red]) / (image[nir] + image[red])
    usable = ndvi[np.isfinite(ndvi)]
    return float(np.clip(usable, -1, 1).mean()) if usable.size else None
