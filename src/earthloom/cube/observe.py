"""All observations of a time step of a layer, on a window of its grid."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.errors import RasterioError

from earthloom.archive import Scene
from earthloom.cube.clouds import hidden_by_hook, hook_bands, hook_margin
from earthloom.cube.harmonise import SceneContext, shifted_box
from earthloom.cube.mask import inner, margin_pixels, unseen
from earthloom.cube.mosaic import Acquisition
from earthloom.cube.notes import SceneNotes
from earthloom.cube.plan import LayerPlan, Step
from earthloom.cube.read import Reader, to_physical
from earthloom.errors import ArchiveError, DataError
from earthloom.grid import window_box
from earthloom.sample import Shape2d, Window

Floats = NDArray[np.float32]
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, eq=False)
class Stack:
    """N observations of the same ground, in the order of their times.

    Whole numbers are kept as they are stored where every file lies on the layer's own grid, since
    they are half as large as physical ones and faster to sort; physical = stored * scale + offset.
    """

    stored: NDArray[Any]
    """(N, C, H, W) uint16, or float32 that is physical already."""
    seen: NDArray[np.bool_]
    """(N, H, W): where the ground was seen clearly in every band."""
    scale: Floats
    """(N, C)."""
    offset: Floats
    """(N, C)."""
    days: NDArray[np.int32]
    """(N,) since 1970-01-01."""

    def physical(self) -> Floats:
        """(N, C, H, W) in the layer's unit, NaN where not seen."""
        pixels: Floats = self.stored
        if self.stored.dtype != np.float32:
            pixels = self.stored * self.scale[..., None, None] + self.offset[..., None, None]
        for observation, seen in zip(pixels, self.seen):
            observation[:, ~seen] = np.nan
        return pixels


@dataclass
class Failures:
    """Scenes that did not load: the first reason of each."""

    reasons: dict[str, str] = field(default_factory=dict)

    def add(self, scene: Scene, reason: str) -> None:
        self.reasons.setdefault(scene.id, reason)


def read_stack(
    reader: Reader, plan: LayerPlan, step: Step, box: GeoBox, failures: Failures
) -> Stack:
    """Every acquisition of a time step on a grid; a scene that does not load is left out and
    counted. Where scenes of one acquisition overlap, the first that saw a pixel counts."""
    looks = step.acquisitions
    raw = _all_raw(reader, plan, looks, box)
    bands = len(plan.bands)
    stored = np.empty((len(looks), bands, *box.shape), np.uint16 if raw else np.float32)
    seen = np.zeros((len(looks), *box.shape), np.bool_)
    scale, offset = np.ones((len(looks), bands)), np.zeros((len(looks), bands))
    for number, look in enumerate(looks):
        for scene in look.scenes:
            pixels, clear = stored[number], seen[number]
            first = not clear.any()
            if not first:
                pixels, clear = np.empty_like(pixels), np.empty_like(clear)
            try:
                _read_scene(reader, plan, scene, box, pixels, clear)
            except (ArchiveError, DataError) as error:
                clear[:] = False
                failures.add(scene, _without_root(str(error), reader.root))
            if not first:
                _fill(stored[number], seen[number], pixels, clear)
        if raw:
            assets = [look.scenes[0].bands[band.name] for band in plan.bands]
            scale[number] = [asset.scale for asset in assets]
            offset[number] = [asset.offset for asset in assets]
    days = np.array([day_number(look) for look in looks], np.int32)
    return Stack(stored, seen, scale.astype(np.float32), offset.astype(np.float32), days)


def read_scene(reader: Reader, plan: LayerPlan, scene: Scene, box: GeoBox) -> Floats:
    """One scene in physical units, (C, H, W), NaN where it was not seen clearly; DataError if it
    does not load."""
    pixels = np.empty((len(plan.bands), *box.shape), np.float32)
    seen = np.empty(box.shape, np.bool_)
    _read_scene(reader, plan, scene, box, pixels, seen)
    pixels[:, ~seen] = np.nan
    return pixels


def day_number(look: Acquisition) -> int:
    """Days since 1970-01-01."""
    return (look.day - _EPOCH).days


def read_elevation(reader: Reader, plan: LayerPlan, box: GeoBox) -> Floats:
    """Heights on a grid, (H, W) in metres, NaN where there is none; of a plan that has some."""
    heights = np.full(box.shape, np.nan, np.float32)
    for scene in plan.elevation:
        for asset in scene.bands.values():
            found = reader.physical(asset, box)
            heights = np.where(np.isnan(heights), found, heights)
    return heights


def _all_raw(reader: Reader, plan: LayerPlan, looks: Sequence[Acquisition], box: GeoBox) -> bool:
    """Whether stored numbers can be kept: all are uint16 on the layer's own grid, nothing is done
    to them but scaling, and scenes of one acquisition are scaled alike. A file that does not open
    is left to the reading, which says why."""
    if plan.method != "median" or plan.chain.steps or plan.mask_rule.hook or not looks:
        return False
    scenes = [scene for look in looks for scene in look.scenes]
    names = [band.name for band in plan.bands]
    if any(name not in scene.bands for scene in scenes for name in names):
        return False
    try:
        return all(
            _is_raw(reader, plan, scene, name, box) for scene in scenes for name in names
        ) and all(_alike(look, names) for look in looks)
    except (ArchiveError, DataError, RasterioError):
        return False


def _is_raw(reader: Reader, plan: LayerPlan, scene: Scene, band: str, box: GeoBox) -> bool:
    note = plan.notes.get(scene.id, SceneNotes())
    asset = scene.bands[band]
    plain = note.moved is None and not note.repaired and asset.transform == "linear"
    return plain and reader.dtype(asset) == "uint16" and reader.is_own_grid(asset, box)


def _alike(look: Acquisition, bands: Sequence[str]) -> bool:
    scaled = {
        tuple((scene.bands[band].scale, scene.bands[band].offset) for band in bands)
        for scene in look.scenes
    }
    return len(scaled) == 1


def _read_scene(
    reader: Reader,
    plan: LayerPlan,
    scene: Scene,
    box: GeoBox,
    stored: NDArray[Any],
    seen: NDArray[np.bool_],
) -> None:
    """Fills a scene's bands (C, H, W) and where it was seen clearly (H, W)."""
    _require_assets(plan, scene)
    note = plan.notes.get(scene.id, SceneNotes())
    if note.moved is not None:
        box = shifted_box(box, note.moved)
    if not plan.chain.steps and plan.mask_rule.hook is None:
        _read_bands(reader, plan, scene, box, note, stored, seen)
        seen &= _clear(reader, plan, scene, box)
        return
    beside = hook_margin(plan.mask_rule)
    margin = plan.chain.needs_margin(plan.pixel_m)
    wide = padded(box, margin)
    pixels = np.empty((len(stored), *wide.shape), np.float32)
    clear = np.empty(wide.shape, np.bool_)
    _read_bands(reader, plan, scene, wide, note, pixels, clear)
    clear &= _clear(reader, plan, scene, wide)
    if plan.mask_rule.hook is not None:
        clear &= ~_detected(reader, plan, scene, padded(wide, beside), note, beside)
    pixels[:, ~clear] = np.nan
    changed = plan.chain.apply(pixels, context_of(reader, plan, scene, wide))
    rows, cols = box.shape
    stored[:] = changed[:, margin : margin + rows, margin : margin + cols]
    seen[:] = ~np.isnan(stored).any(axis=0)


def _require_assets(plan: LayerPlan, scene: Scene) -> None:
    missing = [band.name for band in plan.bands if band.name not in scene.bands]
    if missing:
        raise DataError(f"has no asset for {', '.join(missing)}")
    quality = plan.sensor.quality
    if quality is not None and scene.quality is None:
        raise DataError(f"has no quality band {quality.band}")


def _read_bands(
    reader: Reader,
    plan: LayerPlan,
    scene: Scene,
    box: GeoBox,
    note: SceneNotes,
    stored: NDArray[Any],
    seen: NDArray[np.bool_],
) -> None:
    """Fills the bands, and where all of them have something."""
    seen[:] = True
    for number, band in enumerate(plan.bands):
        asset = scene.bands[band.name]
        if note.repaired and note.offset is not None:
            asset = replace(asset, offset=note.offset)
        values = reader.stored(asset, box, band.policy.continuous, out=stored[number])
        if stored.dtype == np.float32:
            stored[number] = to_physical(values, asset)
            seen &= ~np.isnan(stored[number])
        else:
            if not np.shares_memory(stored[number], values.values):
                stored[number] = values.values
            seen &= values.there


def _clear(reader: Reader, plan: LayerPlan, scene: Scene, box: GeoBox) -> NDArray[np.bool_]:
    """Where the product's quality band shows the ground, (H, W); everywhere if it has none."""
    quality, rule = plan.sensor.quality, plan.mask_rule
    if quality is None:
        return np.ones(box.shape, np.bool_)
    assert scene.quality is not None  # `_require_assets` has looked
    margin = margin_pixels(rule, plan.pixel_m)
    flags = reader.stored(scene.quality, padded(box, margin), continuous=False)
    there, numbers = flags.there, flags.values
    if numbers.dtype.kind == "f":
        numbers = np.where(there, numbers, 0).astype(np.int64)
    return ~inner(unseen(numbers, there, quality, rule, plan.pixel_m), margin)


def _detected(
    reader: Reader, plan: LayerPlan, scene: Scene, box: GeoBox, note: SceneNotes, margin: int
) -> NDArray[np.bool_]:
    """Where the rule's detector finds the ground hidden, without the grid's margin.

    It sees all bands that it asks for, also those of other layers of the sensor.
    """
    bands = hook_bands(plan.mask_rule, plan.sensor)
    asked = replace(plan, reads=tuple(band.name for band in bands))
    _require_assets(asked, scene)
    pixels = np.empty((len(bands), *box.shape), np.float32)
    _read_bands(reader, asked, scene, box, note, pixels, np.empty(box.shape, np.bool_))
    wavelengths = [band.wavelength_nm for band in bands]
    names = [band.name for band in bands]
    return hidden_by_hook(plan.mask_rule, pixels, names, wavelengths, margin)


def context_of(reader: Reader, plan: LayerPlan, scene: Scene, box: GeoBox) -> SceneContext:
    """What the steps of a plan's chain know of a scene on a grid."""
    note = plan.notes.get(scene.id, SceneNotes())
    margin = plan.chain.elevation_margin(plan.pixel_m)
    return SceneContext(
        bands=plan.bands,
        pixel_m=plan.pixel_m,
        platform=scene.platform,
        angles=scene.angles,
        elevation=read_elevation(reader, plan, padded(box, margin)) if margin else None,
        elevation_margin=margin,
        terrain_c=note.terrain_c,
    )


def padded(box: GeoBox, margin: int) -> GeoBox:
    """A grid with so many pixels more on each side."""
    if margin == 0:
        return box
    shape = Shape2d(box.shape.y + 2 * margin, box.shape.x + 2 * margin)
    return window_box(box, Window(-margin, -margin, shape))


def _fill(
    pixels: NDArray[Any],
    seen: NDArray[np.bool_],
    other: NDArray[Any],
    other_seen: NDArray[np.bool_],
) -> None:
    """Puts what another scene of the same acquisition saw where nothing was seen yet."""
    new = other_seen & ~seen
    pixels[:, new] = other[:, new]
    seen |= other_seen


def _without_root(reason: str, root: str) -> str:
    """The result must not depend on where the archive lies."""
    return reason.replace(str(Path(root).absolute()), "").replace(f"{root}/", "")
