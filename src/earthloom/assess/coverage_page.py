"""The page on coverage: where and when a cube is blind, in words, maps and a calendar."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from earthloom.assess.coverage_figures import Panel, calendar_figure, gap_figure, panels_figure
from earthloom.assess.figures import Picture
from earthloom.assess.map_figures import field_picture
from earthloom.assess.page import MONTHS, Context, Failure, Titles, render_page
from earthloom.assess.pictures import Raster
from earthloom.assess.words import grouped, is_month, percent, without_folders
from earthloom.cube.blind import RARELY, BlindPlace, blind_places
from earthloom.cube.coverage import Coverage
from earthloom.stages import write_atomic

PAGE = "coverage.html"
_MOST_PANELS = 24
"""Small maps of a layer; more months than this are shown as the twelve of the calendar."""
_MOST_PLACES = 8
"""Blind places of a layer that are listed one by one."""
_SPECK = 0.01
"""Part of the largest blind place's area below which one is not listed."""


@dataclass(frozen=True)
class PlaceRow:
    """A blind place in the table."""

    kind: str
    area_ha: float
    share: float
    place: str
    """Degrees of a point within."""


def write_coverage_page(
    coverages: Sequence[Coverage], out: Path, title: str, simulated: bool = False
) -> None:
    """Writes a page that is complete in itself; the same coverage gives the same bytes.

    `coverages` are the layers of one cube as `coverage_of` gives them, at least one.
    """
    context: Context = {
        "answer": coverage_answer(coverages),
        "layers": [_layer_context(each) for each in coverages],
        "failures": _listed([each.failed for each in coverages]),
        "superseded": _listed([each.superseded for each in coverages]),
        "thresholds": coverages[0].assessment,
        "rarely": RARELY,
    }
    titles = Titles("Coverage", title, _subtitle(coverages))
    write_atomic(out, render_page("coverage.html.j2", titles, simulated, context))


def coverage_answer(coverages: Sequence[Coverage]) -> list[str]:
    """What a page, or a report's section, says first: one sentence of verdict a sensor, by its
    blindest layer, then where that layer is blindest and for how long."""
    sentences = []
    for sensor in dict.fromkeys(each.sensor for each in coverages):
        worst = min((c for c in coverages if c.sensor == sensor), key=_blindness)
        sentences.append(verdict_sentence(worst))
    worst = min(coverages, key=_blindness)
    return [*sentences, f"{_never_words(worst)} {_gap_words(worst)}"]


def coverage_context(coverages: Sequence[Coverage], page: str) -> Context:
    """What a report's short section on coverage needs: `{{ coverage_section(coverage) }}` of
    `coverage_part.html.j2`; `page` is the address of the page, from the report."""
    return {"sentences": coverage_answer(coverages), "page": page}


def verdict_sentence(coverage: Coverage) -> str:
    """Whether a layer's coverage is high or low, and why, in plain words."""
    found = coverage.assessment
    steps = len(coverage.steps)
    good = round(found.temporal * steps)
    word = _step_word(coverage)
    return (
        f"Coverage by {coverage.sensor} is {found.verdict}: "
        f"{percent(found.spatial, 0)} of the area was seen clearly in at least "
        f"{percent(found.spatial_threshold, 0)} of the {steps} {word}s, and in {good} of the "
        f"{steps} {word}s at least {percent(found.temporal_threshold, 0)} of the area was seen."
    )


def _never_words(coverage: Coverage) -> str:
    if coverage.never == 0:
        return f"Every part of the area was seen clearly by {coverage.sensor} at least once."
    return f"{percent(coverage.never)} of the area was never seen clearly by {coverage.sensor}."


def _gap_words(coverage: Coverage) -> str:
    half, most = coverage.gap_reached(0.5), coverage.gap_reached(1.0)
    if most == 0:
        return f"It has no gap: every {_step_word(coverage)} shows the whole area."
    if half == most:
        return f"The longest time without a clear view is {_days(most)}."
    if half == 0:
        return (
            f"At least half of the area was seen in every {_step_word(coverage)}; the longest time "
            f"that any pixel was without a clear view is {_days(most)}."
        )
    return (
        f"Half of the area was without a clear view for at most {_days(half)} on end; "
        f"the longest such gap of any pixel is {_days(most)}."
    )


def _blindness(coverage: Coverage) -> tuple[float, float]:
    """The less the blinder."""
    found = coverage.assessment
    return min(found.spatial, found.temporal), coverage.mean


# -- a layer -----------------------------------------------------------------------------------


def _layer_context(coverage: Coverage) -> Context:
    panels, label = _panels(coverage)
    places = blind_places(coverage)
    return {
        "title": f"{coverage.sensor} at {coverage.gsd:g} m",
        "verdict": coverage.assessment.verdict,
        "sentences": [_shares_words(coverage), _observed_words(coverage)],
        "maps": panels_figure(panels, label, _panels_words(panels)),
        "calendar": calendar_figure(coverage, _calendar_words(coverage)),
        "gaps": gap_figure(coverage, f"Longest gaps of pixels. {_gap_words(coverage)}"),
        "gap_words": f"{_never_words(coverage)} {_gap_words(coverage)}",
        "gap_map": _gap_map(coverage),
        "places": [_row(place) for place in _worth_listing(places)],
        "place_words": _places_words(places),
        "step_word": _step_word(coverage),
    }


def _panels(coverage: Coverage) -> tuple[list[Panel], str]:
    """The small maps and what their colours mean."""
    calendar = all(map(is_month, coverage.months))
    label = f"clear observations of a pixel in {'a month' if calendar else 'a time step'}"
    if calendar and len(coverage.months) > _MOST_PANELS:
        return _by_month_of_year(coverage), label + ", mean of the years"
    one_year = len({month[:4] for month in coverage.months}) == 1
    titles = [_month_words(each, one_year) if calendar else each for each in coverage.months]
    panels = map(Panel, titles, coverage.counts, coverage.months_seen)
    return list(panels), label


def _by_month_of_year(coverage: Coverage) -> list[Panel]:
    """The mean of all Januaries, of all Februaries, and so on."""
    panels = []
    for number, name in enumerate(MONTHS, start=1):
        chosen = [k for k, month in enumerate(coverage.months) if int(month[5:]) == number]
        if chosen:
            seen = sum(coverage.months_seen[k] for k in chosen) / len(chosen)
            panels.append(Panel(name, coverage.counts[chosen].mean(axis=0), seen))
    return panels


def _gap_map(coverage: Coverage) -> Picture | None:
    """Where the gaps are long; None where they are alike everywhere."""
    if len(coverage.gaps) < 2:
        return None
    alt = f"Map of the longest gap of each pixel. {_gap_words(coverage)}"
    limits = (0.0, float(coverage.gap_reached(1.0)))
    return field_picture(Raster(coverage.gap, coverage.box), limits, "longest gap, days", alt)


def _row(place: BlindPlace) -> PlaceRow:
    kind = "never seen" if place.kind == "never" else "rarely seen"
    point = place.outline.representative_point()
    north = f"{abs(point.y):.4f}° {'N' if point.y >= 0 else 'S'}"
    east = f"{abs(point.x):.4f}° {'E' if point.x >= 0 else 'W'}"
    return PlaceRow(kind, place.area_ha, place.share, f"{north}, {east}")


# -- words -------------------------------------------------------------------------------------


def _subtitle(coverages: Sequence[Coverage]) -> str:
    steps = [step for each in coverages for step in each.steps]
    first, last = min(step.start for step in steps), max(step.end for step in steps)
    layers = ", ".join(f"{each.sensor} at {each.gsd:g} m" for each in coverages)
    return f"{first} to {last} · {layers}"


def _observed_words(coverage: Coverage) -> str:
    middle = coverage.observed(0.5)
    words = (
        f"{grouped(coverage.scenes)} scenes loaded"
        + (f", {len(coverage.failed)} did not" if coverage.failed else "")
        + f". A pixel has {coverage.mean:.1f} clear observations on average; half of all have at "
        f"least {middle}."
    )
    return words


def _worth_listing(places: Sequence[BlindPlace]) -> list[BlindPlace]:
    """The first of them, without specks."""
    largest = max((place.area_ha for place in places), default=0.0)
    kept = [place for place in places if place.area_ha >= _SPECK * largest]
    return kept[:_MOST_PLACES]


def _shares_words(coverage: Coverage) -> str:
    found = coverage.assessment
    return (
        f"Spatial coverage is {percent(found.spatial)}, for which high begins at "
        f"{percent(found.spatial_threshold, 0)}; temporal coverage is {percent(found.temporal)}, "
        f"for which it begins at {percent(found.temporal_threshold, 0)}."
    )


def _places_words(places: Sequence[BlindPlace]) -> str:
    never = [place for place in places if place.kind == "never"]
    rarely = len(places) - len(never)
    if not places:
        return f"No place was seen in {percent(RARELY, 0)} of the time steps or fewer."
    told = []
    if never:
        area = sum(place.area_ha for place in never)
        told.append(f"{_counted(len(never), 'place')} ({grouped(area, 1)} ha) never seen")
    if rarely:
        told.append(
            f"{_counted(rarely, 'place')} seen in {percent(RARELY, 0)} of the time steps or fewer"
        )
    words = "There " + ("is " if len(places) == 1 else "are ") + " and ".join(told) + "."
    listed = len(_worth_listing(places))
    if listed < len(places):
        words += f" The table lists the largest {listed} of them."
    return words


def _panels_words(panels: Sequence[Panel]) -> str:
    told = ", ".join(f"{panel.title} {percent(panel.seen, 0)}" for panel in panels)
    return f"Small maps of clear observations. Share of the area that was seen: {told}."


def _calendar_words(coverage: Coverage) -> str:
    told = ", ".join(f"{step.start} {percent(step.seen, 0)}" for step in coverage.steps[:36])
    return f"Share of the area seen clearly by {_step_word(coverage)}: {told}."


def _month_words(month: str, one_year: bool) -> str:
    name = MONTHS[int(month[5:]) - 1]
    return name if one_year else f"{name} {month[:4]}"


def _step_word(coverage: Coverage) -> str:
    if all(step.start == step.end for step in coverage.steps):
        return "date"
    monthly = all(is_month(step.label) for step in coverage.steps)
    return "month" if monthly else "time step"


def _days(count: int) -> str:
    return _counted(count, "day")


def _counted(count: int, word: str) -> str:
    return f"{grouped(count)} {word}" + ("" if count == 1 else "s")


def _listed(reasons: Sequence[Mapping[str, str]]) -> list[Failure]:
    """Scenes with their reasons, those of several layers once."""
    merged = {scene: why for each in reasons for scene, why in each.items()}
    return [Failure(scene, without_folders(why)) for scene, why in sorted(merged.items())]
