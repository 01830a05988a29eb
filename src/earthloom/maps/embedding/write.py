"""Fields, written by the engine of all maps: part by part, blended, resumed where it ended."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earthloom.cube import Cube
from earthloom.encoders import Encoder
from earthloom.errors import ContractError, DataError
from earthloom.fit.features import encoder_digest
from earthloom.grid import Area, outline_of, place_of
from earthloom.maps import ITEM
from earthloom.maps.clip import clip_of
from earthloom.maps.embedding.field import EMBEDDING, MADE_OF, Field, open_field
from earthloom.maps.embedding.item import About, write_raster_item
from earthloom.maps.embedding.projection import DIMENSIONS, Projection, principal_axes
from earthloom.maps.embedding.source import FieldPredictor, SavedEncoder
from earthloom.maps.make import WORK, MapSettings, do_work, part_for
from earthloom.maps.outputs import UnitFeatures
from earthloom.maps.parts import Finish
from earthloom.maps.sources import Reach, SavedCube
from earthloom.maps.tiling import Layout, layout_of, tiling_for
from earthloom.maps.work import MapWork
from earthloom.progress import Tick
from earthloom.sample import Chip, Moments, Shape2d, Window
from earthloom.sample.batch import collate
from earthloom.stages import digest_of, job_of
from earthloom.workers import Workers

PROJECTION = "projection.safetensors"
SAMPLED_WINDOWS = 48
"""Windows, at most, whose pixels the axes are fitted to."""
SAMPLED_PIXELS = 20_000


@dataclass(frozen=True)
class FieldInputs:
    """What a field is made of."""

    item_id: str
    """Of the STAC Item."""
    area: Area
    cube: Cube
    encoder: Encoder
    dates: tuple[date, date]
    """First and last day of the observations."""
    scenes: Sequence[str]
    provenance: Mapping[str, Any]
    """Digests of inputs, versions and seed, for the Item."""
    moments: Moments | None = None
    """Of the area, where the encoder compares with it."""


def fit_projection(
    inputs: FieldInputs,
    settings: MapSettings,
    seed: int = 0,
    dimensions: int = DIMENSIONS,
    most: int = SAMPLED_PIXELS,
) -> Projection:
    """The principal axes of the scene's own features, or features as they are where they are no
    more than `dimensions`.

    Fitted to `most` pixels, at most, of windows that the seed draws from the area. For fields that
    are to be compared, fit once and give the projection to each. DataError where too little was
    seen.
    """
    encoder = inputs.encoder
    encoder.check(inputs.cube.specs)
    if encoder.channels <= dimensions:
        return Projection.none(encoder.channels)
    predictor = FieldPredictor(encoder, Projection.none(encoder.channels), settings.plan)
    try:
        rows = _sampled(inputs, predictor, _layout(inputs, settings), seed, most)
    finally:
        predictor.close()
    return principal_axes(rows, dimensions)


def write_field(
    inputs: FieldInputs,
    settings: MapSettings,
    folder: Path,
    tick: Tick,
    projection: Projection | None = None,
    seed: int = 0,
    workers: Workers | None = None,
) -> Field:
    """Writes a field into a folder: the COG, its Item, and the projection, by default that of
    `fit_projection`.

    A pixel outside the area, or that no layer ever saw, is nodata in all bands. Parts that an
    interrupted run left are not made again. ContractError for a cube that is not what the encoder
    was made for, or a projection of another number of features.
    """
    encoder, area, cube = inputs.encoder, inputs.area, inputs.cube
    encoder.check(cube.specs)
    projection = projection or fit_projection(inputs, settings, seed)
    if projection.features != encoder.channels:
        raise ContractError(
            f"the projection takes {projection.features} features; the encoder {encoder.name} "
            f"gives {encoder.channels}"
        )
    folder = folder.absolute()
    made_of = digest_of([encoder_digest(encoder), projection.digest])
    output = UnitFeatures(tuple(f"e{n:02d}" for n in range(projection.dimensions)), file=EMBEDDING)
    work = folder / WORK / f"embedding.{(job_of(folder) or 'once')[:16]}.{made_of[:16]}"
    source = SavedEncoder.save(encoder, projection, work / "encoder", made_of, settings.plan)
    map_work = MapWork(
        model=source,
        pixels=SavedCube(
            cube.path.absolute(), cube.shape, tuple(layer.key for layer in encoder.layers)
        ),
        layout=_layout(inputs, settings, part_for(cube, (output,), settings.part)),
        finish=Finish((output,), clip_of(area.outline, area.box)),
        folder=work,
        batch=settings.plan.batch,
        moments=inputs.moments,
        place=place_of(area.box),
    )
    do_work(map_work, area, folder, tick, workers)
    projection.write(folder / PROJECTION)
    _write_item(inputs, output, made_of, folder)
    shutil.rmtree((folder / WORK).rename(folder / f"{WORK}.partial"), ignore_errors=True)
    return open_field(folder)


def _write_item(inputs: FieldInputs, output: UnitFeatures, made_of: str, folder: Path) -> None:
    area = inputs.area
    about = About(
        inputs.item_id,
        "Embedding field: directions of length one",
        area.outline or outline_of(area.box),
        inputs.dates,
        {
            "earthloom:provenance": dict(inputs.provenance),
            "earthloom:scenes": list(inputs.scenes),
            MADE_OF: made_of,
        },
    )
    write_raster_item(folder / ITEM, about, area.box, (output,))


def _layout(inputs: FieldInputs, settings: MapSettings, part: int | None = None) -> Layout:
    encoder, box = inputs.encoder, inputs.area.box
    reach = Reach(encoder.layers, encoder.radius, encoder.alignment, encoder.is_local)
    tiling = tiling_for(reach, settings.window, settings.overlap, settings.exact)
    return layout_of(Shape2d(box.shape.y, box.shape.x), tiling, part or settings.part)


def _sampled(
    inputs: FieldInputs, predictor: FieldPredictor, layout: Layout, seed: int, most: int
) -> NDArray[np.float32]:
    """(N, F) features of pixels that were seen inside the area, N at most `most`."""
    random = np.random.default_rng(seed)
    clip = clip_of(inputs.area.outline, inputs.area.box)
    windows = list(dict.fromkeys(w for part in layout.parts() for w in layout.windows(part)))
    each = -(-most // min(len(windows), SAMPLED_WINDOWS))
    found: list[NDArray[np.float32]] = []
    for at in random.permutation(len(windows)):
        if len(found) == SAMPLED_WINDOWS:
            break
        features = _features(inputs, predictor, windows[at])
        seen = ~np.isnan(features[0])
        if clip is not None:
            seen &= ~clip.outside(windows[at])
        here = np.flatnonzero(seen)
        if len(here):
            some = np.sort(random.permutation(here)[:each])
            found.append(features.reshape(len(features), -1)[:, some].T)
    if not found:
        raise DataError(f"nothing was seen in the area {inputs.area.name}; no field can be made")
    return np.concatenate(found)[:most]


def _features(
    inputs: FieldInputs, predictor: FieldPredictor, window: Window
) -> NDArray[np.float32]:
    """(F, H, W) of a window; NaN where nothing was seen."""
    read = inputs.cube.window(window)
    layers = {spec.key: read[spec.key] for spec in inputs.encoder.layers}
    place = place_of(inputs.area.box).window(window)
    chip = Chip("sampled", window.shape, layers, place=place, moments=inputs.moments)
    features: NDArray[np.float32] = predictor.begin(collate([chip])).result()[0].numpy()
    return features
