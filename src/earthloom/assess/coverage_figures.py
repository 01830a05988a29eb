"""Pictures of coverage: maps of counts by month, a calendar of clear shares, and gaps."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, date2num
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from earthloom.assess.figures import BLUE, GREEN, GREY, INK, ORANGE, Picture, picture_of, styled
from earthloom.cube.coverage import Coverage

BLIND = "#000000"
"""Of what was not seen once: darker than any colour of the map."""
OUTSIDE = "#e3e6e9"
"""Of what lies outside the area."""
WIDE = 9.6
"""Inches of the pictures that fill the page."""


@dataclass(frozen=True)
class Panel:
    """One of several small maps."""

    title: str
    counts: NDArray[np.float32]
    """(h, w) clear observations of a pixel; NaN outside the area."""
    seen: float
    """Share of the panel's pixels inside the area that were seen."""


def panels_figure(panels: Sequence[Panel], label: str, alt: str) -> Picture:
    """Small maps side by side, all in the same colours.

    `cividis` is perceptually uniform and looks alike to all kinds of colour vision. What was not
    seen once is black, what lies outside the area is light grey.
    """
    with styled():
        columns = _columns(len(panels))
        rows = -(-len(panels) // columns)
        high, wide = panels[0].counts.shape
        gap, over, under = 0.12, 0.36, 0.86
        side = (WIDE - gap * (columns - 1)) / columns
        # A long, narrow area is drawn smaller, not off the page.
        side = min(side, 3.4, 2.6 * max(wide / high, 0.1))
        tall = side * high / wide
        figure = Figure(figsize=(WIDE, rows * (tall + over) + under))
        inches = figure.get_figheight()
        most = max(float(np.nanmax(panel.counts, initial=1)) for panel in panels)
        norm = Normalize(0, max(np.ceil(most), 1))
        for place, panel in enumerate(panels):
            row, column = divmod(place, columns)
            left = column * (side + gap) / WIDE
            low = 1 - (row + 1) * (tall + over) / inches
            axes = figure.add_axes((left, low, side / WIDE, tall / inches))
            _draw(axes, panel, norm)
        _key(figure, norm, label)
        return picture_of(figure, alt, text_heavy=True)


def calendar_figure(coverage: Coverage, alt: str) -> Picture:
    """Along the calendar: the clear share of each time step, and its scenes with those failing."""
    with styled():
        figure = Figure(figsize=(WIDE, 3.3))
        upper = figure.add_axes((0.05, 0.56, 0.94, 0.34))
        lower = figure.add_axes((0.05, 0.1, 0.94, 0.28))
        starts, widths = _bars(coverage)
        shares = [100 * step.seen for step in coverage.steps]
        threshold = 100 * coverage.assessment.temporal_threshold
        enough = [share >= threshold for share in shares]
        colours = [GREEN if good else "white" for good in enough]
        edges = ["white" if good else GREEN for good in enough]
        upper.bar(starts, shares, widths, align="edge", color=colours, edgecolor=edges)
        upper.axhline(threshold, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
        upper.set_ylim(0, 105)
        upper.set_yticks([0, 50, 100])
        title = f"pixels seen clearly, per cent · filled: at least {threshold:.0f} % (dashed line)"
        upper.set_title(title, fontsize=8.5, color=GREY)
        loaded = [len(step.scenes) for step in coverage.steps]
        failed = [len(step.failed) for step in coverage.steps]
        lower.bar(starts, loaded, widths, align="edge", color=BLUE, edgecolor="white")
        bad = [place for place, count in enumerate(failed) if count]
        lower.bar(
            [starts[k] for k in bad], [failed[k] for k in bad], [widths[k] for k in bad],
            [loaded[k] for k in bad], align="edge", color="white", edgecolor=ORANGE, hatch="/////",
        )  # fmt: skip
        lower.set_ylim(0, max(*(a + b for a, b in zip(loaded, failed)), 1) * 1.15)
        lower.yaxis.set_major_locator(MaxNLocator(3, integer=True))
        title = "scenes that show the area" + (" · hatched: did not load" if any(failed) else "")
        lower.set_title(title, fontsize=8.5, color=GREY)
        for axes in (upper, lower):
            _calendar_axis(axes, coverage)
        upper.tick_params(labelbottom=False)
        return picture_of(figure, alt, text_heavy=True)


def gap_figure(coverage: Coverage, alt: str) -> Picture:
    """How large a part of the area has a gap longer than so many days."""
    with styled():
        figure = Figure(figsize=(5.0, 2.6))
        axes = figure.add_axes((0.12, 0.2, 0.84, 0.72))
        values = np.array([value for value, _ in coverage.gaps])
        numbers = np.array([number for _, number in coverage.gaps])
        longer = 100 * (1 - np.cumsum(numbers) / numbers.sum())
        axes.step(
            [0, *values, coverage.days], [100, *longer, 0], where="post", color=BLUE, linewidth=1.8
        )
        axes.fill_between(
            [0, *values, coverage.days], [100, *longer, 0], step="post", color=BLUE, alpha=0.15
        )
        axes.set_xlim(0, max(1.08 * coverage.gap_reached(1.0), 10))
        axes.set_ylim(0, 103)
        axes.grid()
        axes.set_axisbelow(True)
        axes.tick_params(length=0)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("days without a clear view, at the longest")
        axes.set_ylabel("per cent of the area")
        return picture_of(figure, alt)


def _draw(axes: Axes, panel: Panel, norm: Normalize) -> None:
    """One small map with its name and its share above."""
    colours = _colours()
    image = colours(norm(np.nan_to_num(panel.counts)))
    image[panel.counts == 0] = matplotlib.colors.to_rgba(BLIND)
    image[np.isnan(panel.counts)] = matplotlib.colors.to_rgba(OUTSIDE)
    axes.imshow(image, interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    axes.set_title(panel.title, fontsize=9, pad=4)
    axes.set_title(f"{100 * panel.seen:.0f} % seen", fontsize=8, color=GREY, loc="right", pad=4)


def _colours() -> ListedColormap:
    """`cividis` without its darkest fifth, so that black stands apart."""
    return ListedColormap(matplotlib.colormaps["cividis"](np.linspace(0.2, 1, 256)))


def _key(figure: Figure, norm: Normalize, label: str) -> None:
    """The colour bar, and what black and grey mean, below the maps."""
    inches = figure.get_figheight()
    axes = figure.add_axes((0.01, 0.46 / inches, 0.4, 0.13 / inches))
    scale = matplotlib.cm.ScalarMappable(norm, _colours())
    bar = figure.colorbar(scale, cax=axes, orientation="horizontal")
    bar.outline.set_visible(False)
    bar.ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    bar.ax.tick_params(labelsize=8.5, length=2, pad=2)
    bar.set_label(label, fontsize=8.5, labelpad=2)
    handles = [
        Patch(facecolor=BLIND, edgecolor=INK, label="not seen once"),
        Patch(facecolor=OUTSIDE, edgecolor=GREY, label="outside the area"),
    ]
    figure.legend(
        handles=handles, loc="upper left", bbox_to_anchor=(0.46, 0.68 / inches), ncols=2,
        borderaxespad=0,
    )  # fmt: skip


def _columns(count: int) -> int:
    """How many maps stand in a row: half a year, or a third of it where there are few."""
    if count <= 4:
        return count
    return 4 if count in (7, 8) else 5 if count in (5, 9, 10) else 6


def _bars(coverage: Coverage) -> tuple[list[float], list[float]]:
    """Where the steps' bars begin and how wide they are, in days; single days are widened so
    far that they can be seen."""
    least = coverage.days / 180
    starts, widths = [], []
    for step in coverage.steps:
        length = (step.end - step.start).days + 1
        width = max(length, least)
        starts.append(float(_number(step.start)) - (width - length) / 2)
        widths.append(width)
    return starts, widths


def _calendar_axis(axes: Axes, coverage: Coverage) -> None:
    first = _number(min(step.start for step in coverage.steps))
    room = coverage.days / 90
    axes.set_xlim(first - room, first + coverage.days + room)
    locator = AutoDateLocator(minticks=3, maxticks=13)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0)


def _number(day: date) -> float:
    """A day on matplotlib's axis of dates."""
    return float(date2num(day))
