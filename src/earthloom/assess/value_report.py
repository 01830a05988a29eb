"""The report on a map of numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from matplotlib import colormaps
from numpy.typing import NDArray
from rasterio.enums import Resampling

from earthloom.archive import Scene
from earthloom.assess.figures import Picture
from earthloom.assess.page import Context, Titles, how_made, render, scene_context
from earthloom.assess.pictures import png, shape_within, thinned
from earthloom.assess.value_figures import residual_chart, scatter_chart
from earthloom.assess.value_words import folds_answer, number, sample_answer, unchecked_answer
from earthloom.chips.labels import RasterValues, VectorValues
from earthloom.cube import Cube
from earthloom.grid import Area
from earthloom.maps import VALUE
from earthloom.project import FoldsAssessment, Project
from earthloom.stages import write_atomic

REPORT = "report.html"

_MOST = 420
"""Pixels, both ways, of a place's pictures."""
_LEAST = 300
"""CSS pixels that the longer side of a picture has."""
_RAMP = "viridis"
"""Colours that all kinds of colour vision see alike."""
_WAYS = {"model": "this model", "forest": "a random forest", "mean": "the mean of the labels"}

Image = NDArray[np.float32]


@dataclass(frozen=True)
class ValuePlace:
    """A mapped place as a report shows it."""

    area: Area
    cube: Cube
    map_folder: Path
    """With `value.tif`."""
    labels: RasterValues | VectorValues | None
    scenes: Sequence[Scene]


@dataclass(frozen=True)
class ValueReportInputs:
    """What a report on maps of numbers is made from."""

    project: Project
    figures: Mapping[str, Any]
    """As `accuracy.json` holds them."""
    pairs: NDArray[np.float32]
    """(n, 2) map and reference of some pixels; none where nothing was compared yet."""
    places: Sequence[ValuePlace]
    record: Mapping[str, Any]
    """Of the model that is fitted on every label."""
    failed: Mapping[str, str]
    """Why scenes did not load, by their ids."""


@dataclass(frozen=True)
class Panel:
    """A picture of numbers with the colours' ends."""

    picture: Picture
    caption: str
    ramp: str
    """A data address: the colours from low to high."""
    low: str
    high: str


def write_value_report(path: Path, inputs: ValueReportInputs) -> None:
    """Writes the report. The same inputs give the same bytes: it holds no time, host or folder."""
    figures, project = inputs.figures, inputs.project
    by_folds = isinstance(project.assess, FoldsAssessment)
    unit = figures["unit"]
    ways = [way for way in _WAYS if way in figures]
    context: Context = {
        "answer": _answer(inputs, by_folds),
        "figures": figures,
        "unit": unit,
        "quantity": figures["quantity"],
        "by_folds": by_folds,
        "split": by_folds and project.assess.by == "split",  # type: ignore[union-attr]
        "ways": [{"key": way, "name": _WAYS[way]} for way in ways],
        "charts": _charts(inputs) if len(inputs.pairs) else [],
        "leaks": {name: found for name, found in figures.get("leaks", {}).items() if found},
        "places": [_place_view(place, inputs) for place in inputs.places],
        "made": how_made(project, inputs.record),
        "number": number,
    }
    scenes = [scene for place in inputs.places for scene in place.scenes]
    context |= scene_context(scenes, inputs.failed)
    what = f"{figures['quantity'].capitalize()} in {unit}"
    how = "tested on labels left out in turn" if by_folds else "compared with a sample of the map"
    titles = Titles("Map report", f"{what}: {project.name}", f"{project.model.name}, {how}")
    write_atomic(path, render("values.html.j2", titles, project, context))


def _answer(inputs: ValueReportInputs, by_folds: bool) -> list[str]:
    if by_folds:
        others = {way: _WAYS[way] for way in ("forest", "mean") if way in inputs.figures}
        return folds_answer(inputs.figures, others)
    if "model" in inputs.figures:
        return sample_answer(inputs.figures)
    return unchecked_answer(inputs.figures)


def _charts(inputs: ValueReportInputs) -> list[Context]:
    unit = inputs.figures["unit"]
    scatter = scatter_chart(inputs.pairs, inputs.figures["quantity"], unit)
    residuals = residual_chart(inputs.pairs, unit)
    return [
        {
            "picture": scatter,
            "caption": "Map against reference. On the line the map is right; above it, it says too "
            "much.",
        },
        {
            "picture": residuals,
            "caption": "How far the map is off, map less reference. The dashed line is the mean "
            "error.",
        },
    ]


def _place_view(place: ValuePlace, inputs: ValueReportInputs) -> Context:
    """The map, the width of its interval, and the labels, where there are many."""
    name, unit = place.area.name, inputs.figures["unit"]
    bands = _read(place.map_folder / VALUE)
    low, high = _limits(bands[0])
    panels = [_panel(bands[0], low, high, f"{inputs.figures['quantity']}, {unit}", name)]
    text = ""
    if len(bands) == 3:
        width = bands[2] - bands[1]
        middle = float(np.nanmedian(width)) if np.isfinite(width).any() else 0.0
        least, most = _limits(width)
        # One correction of all pixels leaves nothing but rounding to show.
        text = f"The interval is {number(middle)} {unit} wide everywhere."
    if len(bands) == 3 and most - least > 1e-3 * middle:
        text = f"At half of the pixels the interval is narrower than {number(middle)} {unit}."
        panels.append(_panel(width, least, most, f"width of the interval, {unit}", name))
    if isinstance(place.labels, RasterValues):
        labels = thinned(place.labels.onto(place.area.box), bands[0].shape)
        panels.append(_panel(labels, low, high, f"labels, {unit}", name))
    return {"name": name, "text": text, "panels": panels}


def _read(path: Path) -> list[Image]:
    with rasterio.open(path) as source:
        shape = shape_within(source.height, source.width, _MOST)
        return [
            source.read(band, out_shape=shape, resampling=Resampling.nearest).astype(np.float32)
            for band in source.indexes
        ]


def _limits(values: Image) -> tuple[float, float]:
    """The 2nd and 98th percentile, so that a few extremes do not take all colours."""
    known = values[np.isfinite(values)]
    if not known.size:
        return 0.0, 1.0
    low, high = (float(each) for each in np.percentile(known, (2, 98)))
    return (low, high) if high > low else (low, low + 1.0)


def _panel(values: Image, low: float, high: float, caption: str, place: str) -> Panel:
    image = coloured_values(values, low, high)
    known = values[np.isfinite(values)]
    told = f"from {number(low)} to {number(high)}, mean {number(float(known.mean()))}"
    alt = f"Map of {place}, {caption}: " + (told if known.size else "nothing known") + "."
    ramp = coloured_values(np.linspace(low, high, 128, dtype=np.float32)[None], low, high)
    larger = max(-(-_LEAST // max(image.shape[:2])), 1)
    picture = Picture(png(image), alt, image.shape[1] * larger, image.shape[0] * larger)
    return Panel(picture, caption, png(ramp), number(low), number(high))


def coloured_values(values: Image, low: float, high: float) -> NDArray[np.uint8]:
    """(h, w, 4) red, green, blue and opacity; what is not known is transparent."""
    share = np.clip((values - low) / (high - low), 0, 1)
    image = np.rint(colormaps[_RAMP](np.nan_to_num(share)) * 255).astype(np.uint8)
    image[..., 3] = np.where(np.isfinite(values), 255, 0)
    return np.asarray(image, np.uint8)
