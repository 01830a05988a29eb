"""The report on a map: one HTML file that a minister can read and a reviewer can check."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio

from earthloom.archive import Scene
from earthloom.assess.coverage_page import PAGE as COVERAGE_PAGE
from earthloom.assess.coverage_page import coverage_context, write_coverage_page
from earthloom.assess.extent import crs_of, degrees_of, inside, outline_on
from earthloom.assess.figures import (
    BLUE,
    ORANGE,
    Captioned,
    ClassBar,
    Dots,
    accuracy_chart,
    area_chart,
    confusion_chart,
    months_chart,
)
from earthloom.assess.map_figures import field_picture, map_picture
from earthloom.assess.observations import LayerCounts, clearest_step, layer_counts
from earthloom.assess.page import MONTHS, Context, Fact, Titles, how_made, render, scene_context
from earthloom.assess.pictures import (
    Raster,
    coloured,
    read_codes,
    read_confidence,
    true_colour,
    true_colour_of,
)
from earthloom.assess.words import answer, is_month, no_accuracy, percent, without_folders
from earthloom.cube import Cube
from earthloom.cube.coverage import coverage_of
from earthloom.grid import Area
from earthloom.maps import CLASS_NODATA, MAP, PROBABILITY
from earthloom.maps.make import read_summary
from earthloom.project import Project, SampleAssessment, SimulatedArchive
from earthloom.stages import MANIFEST, write_atomic

_MOST = 1000
"""Pixels, both ways, of the map's picture."""
_SMALL_SHARE = 0.5
"""Share of the map that points could be drawn from, below which a reader should know of it."""


@dataclass(frozen=True)
class ReportInputs:
    """What a report on a map is made from."""

    project: Project
    figures: Mapping[str, Any]
    """As `accuracy_json` gives them, with `points` and `eligible_share`; without
    `overall_accuracy` where the sample has no reference yet."""
    map_folder: Path
    """With `map.tif` and `probability.tif`."""
    cube: Cube
    area: Area
    model_record: Mapping[str, Any]
    scenes: Sequence[Scene]
    failed: Mapping[str, str]
    """Why scenes did not load, by their ids."""


@dataclass(frozen=True)
class AccuracyRow:
    """A class's accuracies in the table."""

    name: str
    colour: str
    points: int
    users: Mapping[str, float | None]
    producers: Mapping[str, float | None]


def write_report(path: Path, inputs: ReportInputs) -> None:
    """Writes the report. The same inputs give the same bytes: it holds no time, host or folder."""
    figures, area = inputs.figures, inputs.area
    known = "overall_accuracy" in figures
    codes = read_codes(inputs.map_folder / MAP, _MOST)
    bars = _bars(inputs)
    mapped = {bar.name: bar.mapped for bar in bars}
    layers = layer_counts(inputs.cube, area)
    context: Context = {
        "answer": answer(figures) if known else no_accuracy(mapped, figures["points"]),
        "names": figures["classes"],
        "points": figures["points"],
        "map": _map_context(inputs, codes, bars),
        "view": _view(inputs.cube, area, layers),
        "confidence": _confidence(inputs.map_folder),
        "areas": {"picture": area_chart(bars), "bars": bars, "caption": _area_caption(bars)},
        "accuracy": _accuracy_context(inputs) if known else None,
        "truth": _truth_context(figures, bars) if known and "truth" in figures else None,
        "observations": [_observed(counts) for counts in layers],
        "made": _made(inputs),
    }
    context |= scene_context(inputs.scenes, inputs.failed)
    coverages = coverage_of(inputs.cube, inputs.cube.path.parent, area)
    simulated = isinstance(inputs.project.archive, SimulatedArchive)
    title = f"Coverage of {area.name}"
    write_coverage_page(coverages, path.with_name(COVERAGE_PAGE), title, simulated)
    context["coverage"] = coverage_context(coverages, COVERAGE_PAGE)
    titles = Titles("Map report", f"Map of {area.name}", _subtitle(inputs))
    write_atomic(path, render("report.html.j2", titles, inputs.project, context))


# -- the map -------------------------------------------------------------------------------------


def _map_context(inputs: ReportInputs, codes: Raster, bars: Sequence[ClassBar]) -> Context:
    image = Raster(coloured(codes.values, inputs.project.classes), codes.box)
    total = sum(bar.mapped for bar in bars)
    ranked = [
        {"name": bar.name, "colour": bar.colour, "share": bar.mapped / total}
        for bar in sorted(bars, key=lambda bar: -bar.mapped)
    ]
    unmapped = _unmapped(codes, inputs.area)
    caption = "The map, in the colours of the legend."
    if unmapped >= 0.001:
        caption += (
            f" About {percent(unmapped)} of the area was never seen clearly and is left blank: "
            "where nothing was seen, the map says nothing."
        )
    listed = ", ".join(f"{bar.name} {percent(bar.mapped / total, 0)}" for bar in bars)
    picture = map_picture(image, 5.7, f"Map of {inputs.area.name}. By area: {listed}.")
    return {"picture": picture, "caption": caption, "legend": ranked}


def _view(cube: Cube, area: Area, layers: Sequence[LayerCounts]) -> Captioned | None:
    """What the satellite saw, in the time step that has most of the area; None without colours."""
    look = true_colour_of(cube)
    if look is None:
        return None
    step = clearest_step(layers, look.spec)
    (image,) = true_colour(cube, look, (step,), most=700)
    label = _step_words(look.spec.dates[step])
    raster = Raster(image, area.box.zoom_to(image.shape[:2]))
    alt = f"Satellite image of the area in true colour, {label}."
    caption = f"What the satellite saw, in true colour: {look.spec.sensor}, {label}."
    return Captioned(map_picture(raster, 5.0, alt), caption)


def _confidence(map_folder: Path) -> Captioned:
    confidence = read_confidence(map_folder / PROBABILITY, 700)
    # Steps of a fiftieth are finer than the eye sees, and make the picture a fraction as large.
    steps = np.round(confidence.values.astype(np.float32) * 50) / 50
    mean = float(np.nanmean(steps)) if not np.isnan(steps).all() else 0.0
    alt = f"Map of how sure the model is of its class; {percent(mean, 0)} on average."
    raster = Raster(steps, confidence.box)
    picture = field_picture(raster, (0.0, 1.0), "probability of the most probable class", alt)
    caption = (
        "How sure the model is: the probability that it gives to the most probable class. It is "
        "the model’s own opinion, not its accuracy; dark places deserve a second look."
    )
    return Captioned(picture, caption)


def _unmapped(codes: Raster, area: Area) -> float:
    """Share of the area, at the picture's size, that the map leaves blank."""
    within = inside(outline_on(area, codes.box), codes.box)
    return float((codes.values[within] == CLASS_NODATA).mean()) if within.any() else 0.0


# -- areas and accuracies --------------------------------------------------------------------------


def _bars(inputs: ReportInputs) -> list[ClassBar]:
    """The classes by area, the largest first."""
    figures, classes = inputs.figures, inputs.project.classes
    mapped = figures.get("mapped_area_ha") or _counted_ha(inputs)
    estimates = figures.get("area_ha", {})
    true = figures.get("truth", {}).get("area_ha", {})
    bars = [
        ClassBar(
            each.name, each.colour, estimates.get(each.name), mapped[each.name], true.get(each.name)
        )
        for each in classes
    ]
    return sorted(
        bars, key=lambda bar: -(bar.estimate["value"] or 0 if bar.estimate else bar.mapped)
    )


def _counted_ha(inputs: ReportInputs) -> dict[str, float]:
    """Hectares of each class as the map counts them."""
    pixels = read_summary(inputs.map_folder / MAP)
    with rasterio.open(inputs.map_folder / MAP) as source:
        hectares = abs(source.transform.a * source.transform.e) / 10_000
    return {each.name: pixels.get(each.code, 0) * hectares for each in inputs.project.classes}


def _area_caption(bars: Sequence[ClassBar]) -> str:
    if bars[0].estimate is None:
        return "Area of each class as the map counts it."
    caption = (
        "Area of each class: the bar is the estimate from the sample, the line its 95 % interval, "
        "the diamond what the map itself counts"
    )
    return caption + (", the cross the truth." if bars[0].true is not None else ".")


def _accuracy_context(inputs: ReportInputs) -> Context:
    figures, classes = inputs.figures, inputs.project.classes
    names = list(figures["classes"])
    counts = np.asarray(figures["sample_counts"], np.float64)
    shares = np.asarray(figures["area_shares"], np.float64)
    users, producers = figures["users_accuracy"], figures["producers_accuracy"]
    rows = [
        AccuracyRow(c.name, c.colour, int(counts[i].sum()), users[c.name], producers[c.name])
        for i, c in enumerate(classes)
    ]
    alt = "User’s and producer’s accuracy of each class: " + "; ".join(
        f"{row.name} {percent(row.users['value'], 0)} and {percent(row.producers['value'], 0)}"
        for row in rows
    )
    tested = {row.name: row.users for row in rows if row.points}
    dots = [
        Dots("user’s accuracy", BLUE, "o", tested),
        Dots("producer’s accuracy", ORANGE, "s", producers),
    ]
    right = f"{int(np.trace(counts))} of {int(counts.sum())} points are right."
    return {
        "overall": figures["overall_accuracy"],
        "rows": rows,
        "cautions": _cautions(inputs, rows),
        "picture": accuracy_chart(dots, names, alt + "."),
        "counts": confusion_chart(
            counts, names, "Sample points", False, f"Confusion matrix of sample points: {right}"
        ),
        "shares": confusion_chart(
            shares, names, "Per cent of the area", True,
            f"Confusion matrix as shares of the area: {percent(float(np.trace(shares)))} is right.",
        ),
        "count_cells": figures["sample_counts"],
    }  # fmt: skip


def _cautions(inputs: ReportInputs, rows: Sequence[AccuracyRow]) -> list[str]:
    """What a reader must know before he believes the accuracies."""
    assess, share = inputs.project.assess, inputs.figures.get("eligible_share", 1.0)
    if not isinstance(assess, SampleAssessment):
        return []
    cautions = []
    apart = f"within {assess.apart_m:g} m of training labels, where none are drawn"
    if share < _SMALL_SHARE:
        cautions.append(
            f"Points could be drawn from only {percent(share)} of the map: the rest lies {apart}. "
            "The figures hold for the whole map only if the rest is like that part."
        )
    untested = [row.name for row in rows if row.points == 0 and row.users["value"] is not None]
    if untested:
        cautions.append(
            f"Not tested: {', '.join(untested)}. All that the map shows of this lies {apart}, or "
            "it shows none; in the figures it counts as right."
        )
    few = [f"{row.name} ({row.points})" for row in rows if 0 < row.points < assess.min_per_class]
    if few:
        cautions.append(
            f"Of these classes fewer than the wanted {assess.min_per_class} points could be drawn, "
            f"so their figures are less sure than they look: {', '.join(few)}."
        )
    return cautions


def _truth_context(figures: Mapping[str, Any], bars: Sequence[ClassBar]) -> Context:
    truth, overall = figures["truth"], figures["overall_accuracy"]
    inside = truth["area_within_interval"]
    return {
        "overall": truth["overall_accuracy"],
        "overall_inside": overall["low"] <= truth["overall_accuracy"] <= overall["high"],
        "inside": sum(inside.values()),
        "rows": [{"bar": bar, "inside": inside[bar.name]} for bar in bars],
    }


# -- observations and provenance -------------------------------------------------------------------


def _observed(counts: LayerCounts) -> Context:
    spec = counts.spec
    title = f"{spec.sensor} at {spec.gsd:g} m"
    steps = [_short(step, spec.dates) for step in spec.dates]
    told = ", ".join(f"{_step_words(d)} {m:.1f}" for d, m in zip(spec.dates, counts.mean))
    raster = Raster(counts.total, counts.box)
    return {
        "title": title,
        "summary": _seen_words(counts),
        "step_word": "month" if is_month(spec.dates[0]) else "date",
        "map": field_picture(
            raster, (0.0, float(counts.most)), "clear observations",
            f"Map of clear observations, {title}: {counts.least} to {counts.most}.",
        ),
        "steps": months_chart(
            steps, counts.mean, counts.seen, f"Mean clear observations of a pixel: {told}."
        ),
    }  # fmt: skip


def _seen_words(counts: LayerCounts) -> str:
    if counts.least == counts.most:
        return f"Every pixel was seen clearly {counts.most} times in the whole period."
    words = (
        f"Half of all pixels were seen clearly at least {counts.median} times in the whole period; "
        f"the fewest observations of a pixel are {counts.least}, the most {counts.most}."
    )
    return words + (f" {percent(counts.never)} were never seen." if counts.never else "")


def _step_words(step: str) -> str:
    """`2023-05` as `May 2023`; a date's number, or the whole period, as it is."""
    if is_month(step):
        return f"{MONTHS[int(step[5:]) - 1]} {step[:4]}"
    return "whole period" if step == "period" else f"date {step}"


def _short(step: str, steps: Sequence[str]) -> str:
    """A step's label on an axis: months of one year without the year."""
    words = _step_words(step)
    if not is_month(step):
        return words
    one_year = len({each[:4] for each in steps}) == 1
    return words[:3] if one_year else f"{words[:3]} {words[-2:]}"


def _subtitle(inputs: ReportInputs) -> str:
    dates = inputs.project.dates
    west, south, east, north = degrees_of(inputs.area)
    place = f"{south:.3f} to {north:.3f} degrees north, {west:.3f} to {east:.3f} degrees east"
    return f"{dates.start} to {dates.end} · {place}" if dates else place


def _made(inputs: ReportInputs) -> list[Fact]:
    project, box = inputs.project, inputs.area.box
    facts = how_made(project, inputs.model_record)
    crs = crs_of(box)
    code = crs.to_epsg()
    named = crs.name + (f" (EPSG:{code})" if code else "")
    grid = f"{box.shape.x} × {box.shape.y} pixels of {abs(box.affine.a):g} m in {named}"
    facts.insert(2, Fact("Grid", grid))
    if isinstance(project.assess, SampleAssessment):
        facts.insert(-2, Fact("Sample", _sample_words(inputs, project.assess)))
    manifest = inputs.map_folder / MANIFEST
    if manifest.exists():
        outputs = json.loads(manifest.read_text(encoding="utf-8"))["outputs"]
        facts.append(Fact("SHA-256 of map.tif", outputs[MAP]["sha256"]))
    return facts


def _sample_words(inputs: ReportInputs, assess: SampleAssessment) -> str:
    figures = inputs.figures
    words = (
        f"{figures['points']} points, stratified by the map’s classes, in proportion to their "
        f"area but at least {assess.min_per_class} each, none nearer than {assess.apart_m:g} m to "
        "a training label"
    )
    if "eligible_share" in figures:
        words += f"; {percent(figures['eligible_share'])} of the mapped area could be drawn"
    if assess.reference is not None:
        words += f"; reference: {without_folders(assess.reference)}"
    return words
