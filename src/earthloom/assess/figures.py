"""A report's charts, as SVG in data addresses: same figures, same bytes, whatever the machine."""

import io
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from earthloom.assess.words import IntervalFigures, grouped

BLUE, ORANGE, GREEN, INK, GREY = "#0072b2", "#d55e00", "#009e73", "#1c2126", "#6b737b"
"""Colours that people with any kind of colour vision can tell apart (Okabe and Ito 2008)."""

WIDTH = 5.0
"""Inches: 480 CSS pixels, so that text stays readable on a telephone and two fit side by side."""

_FONTS = "system-ui, 'Segoe UI', Roboto, 'Helvetica Neue', 'Liberation Sans', Arial, sans-serif"

_STYLE: dict[Any, Any] = {
    # Text stays text, in the reader's own font; DejaVu comes with matplotlib and is wider than
    # those, so what fits in it fits in them.
    "svg.fonttype": "none",
    "svg.hashsalt": "earthloom",
    "font.family": ["sans-serif"],
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9.0,
    "axes.edgecolor": "#9aa1a8",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 9.5,
    "grid.color": "#dfe3e6",
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "text.color": INK,
    "xtick.color": "#9aa1a8",
    "xtick.labelcolor": INK,
    "ytick.color": "#9aa1a8",
    "ytick.labelcolor": INK,
}


@dataclass(frozen=True)
class Picture:
    """An image of a report."""

    address: str
    """A data address: the image itself."""
    alt: str
    """What it shows, for those who cannot see it."""
    width: int
    height: int
    """In CSS pixels, at its natural size."""
    text_heavy: bool = False
    """It holds too much text to be shown much smaller than its natural size."""


@dataclass(frozen=True)
class Captioned:
    """A picture with a few words below it."""

    picture: Picture
    caption: str


@dataclass(frozen=True)
class ClassBar:
    """A class's area as a chart shows it, in hectares."""

    name: str
    colour: str
    estimate: IntervalFigures | None
    mapped: float
    true: float | None


@dataclass(frozen=True)
class Dots:
    """One row of a chart of accuracies per thing named, in shares of one."""

    label: str
    colour: str
    marker: str
    intervals: Mapping[str, IntervalFigures]


@contextmanager
def styled() -> Iterator[None]:
    """Matplotlib's settings for every picture of a report, whatever the user's own are."""
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        for name, value in _STYLE.items():
            matplotlib.rcParams[name] = value
        yield


def picture_of(figure: Figure, alt: str, text_heavy: bool = False) -> Picture:
    """A figure as an SVG picture."""
    stream = io.BytesIO()
    metadata = {"Date": None, "Creator": None, "Format": None, "Type": None}
    FigureCanvasSVG(figure).print_svg(stream, metadata=metadata)
    svg = stream.getvalue().decode("utf-8")
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"'DejaVu Sans'(, '[^']+')*(, sans-serif)?", _FONTS, svg)
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.DOTALL)
    address = "data:image/svg+xml;charset=utf-8," + quote(svg, safe=" ='()/:;,+.-")
    width, height = figure.get_size_inches()
    return Picture(address, alt, round(width * 96), round(height * 96), text_heavy)


def area_chart(bars: Sequence[ClassBar]) -> Picture:
    """Areas of the classes: estimate with its interval, what the map counts, and the truth."""
    with styled():
        figure, axes = _rows_figure([bar.name for bar in bars], room_above=0.62)
        places = np.arange(len(bars))
        for place, bar in zip(places, bars):
            drawn = bar.estimate["value"] if bar.estimate else bar.mapped
            axes.barh(place, drawn or 0, 0.62, color=bar.colour, edgecolor=INK, linewidth=0.6)
            if bar.estimate is not None:
                _interval(axes, bar.estimate, float(place), INK, "none")
        estimated = [bar for bar in bars if bar.estimate is not None]
        if estimated:
            mapped = [bar.mapped for bar in bars]
            axes.plot(mapped, places, "D", color="white", mec=INK, ms=5.5, label="map's own count")
        true = [(bar.true, place) for bar, place in zip(bars, places) if bar.true is not None]
        if true:
            halo = [withStroke(linewidth=4, foreground="white")]
            axes.plot(
                *zip(*true), "x", color=INK, ms=6.5, mew=1.8, label="truth", path_effects=halo
            )
        axes.set_xlim(left=0)
        _hectare_axis(axes)
        if estimated:
            _legend_above(figure, axes, "bar: estimate with 95 % interval")
        alt = "Bar chart of the area of each class: " + "; ".join(map(_bar_words, bars)) + "."
        return picture_of(figure, alt)


def accuracy_chart(rows: Sequence[Dots], names: Sequence[str], alt: str) -> Picture:
    """Accuracies of each class, or of each way of predicting, as dots with their intervals."""
    with styled():
        figure, axes = _rows_figure(names, room_above=0.5, height_each=0.36)
        offsets = np.linspace(-0.2, 0.2, len(rows)) if len(rows) > 1 else np.zeros(1)
        for row, offset in zip(rows, offsets):
            for place, name in enumerate(names):
                interval = row.intervals.get(name)
                if interval is not None and interval["value"] is not None:
                    in_percent = {k: v and 100 * v for k, v in interval.items()}
                    _interval(axes, in_percent, place + offset, row.colour, row.marker)
            axes.plot([], [], row.marker, color=row.colour, ms=6, label=row.label)
        axes.set_xlim(-2, 102)
        axes.set_xlabel("per cent")
        _legend_above(figure, axes, None)
        return picture_of(figure, alt)


def confusion_chart(
    cells: NDArray[np.float64], names: Sequence[str], title: str, in_percent: bool, alt: str
) -> Picture:
    """A confusion matrix: rows are the map's classes, columns the reference's.

    Colour is the share of the row, so that a rare class is as readable as a common one.
    """
    with styled():
        count = len(names)
        wide = max(WIDTH, 2.25 + 0.4 * count)
        labels = [_wrapped(name, 15) for name in names]
        longest = max(len(line) for label in labels for line in label.split("\n"))
        left, top, low, right = 1.55, 0.5 + 0.075 * longest, 0.42, 0.6
        side = wide - left - right
        high = top + low + min(side, 0.62 * count)
        figure = Figure(figsize=(wide, high))
        axes = figure.add_axes((left / wide, low / high, side / wide, 1 - (top + low) / high))
        rows = cells.sum(axis=1, keepdims=True)
        shares = np.divide(cells, rows, out=np.zeros_like(cells), where=rows > 0)
        axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1.15, edgecolors="white", linewidth=1.5)
        axes.invert_yaxis()
        for row, col in np.ndindex(count, count):
            text = _cell(float(cells[row, col]), in_percent)
            bold = "bold" if row == col else "normal"
            colour = "white" if shares[row, col] > 0.68 else INK if cells[row, col] else "#a4abb2"
            axes.text(
                col + 0.5, row + 0.5, text, ha="center", va="center", color=colour,
                fontsize=8.5 if count <= 12 else 7.5, fontweight=bold,
            )  # fmt: skip
        axes.set_xticks(np.arange(count) + 0.5, labels)
        axes.set_yticks(np.arange(count) + 0.5, [_wrapped(name, 17) for name in names])
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        for text_above in axes.get_xticklabels():
            text_above.set(rotation=60, ha="left", va="bottom", rotation_mode="anchor")
        axes.spines[:].set_visible(False)
        figure.text(0.02, 1 - 0.2 / high, title, fontsize=9.5, color=INK)
        figure.text(0.02, 0.14 / high, "rows: the map · columns: the reference", color=GREY)
        return picture_of(figure, alt, text_heavy=True)


def months_chart(
    steps: Sequence[str], mean: Sequence[float], seen: Sequence[float], alt: str
) -> Picture:
    """Clear observations of each time step: how many a pixel had, and how many pixels had one."""
    with styled():
        figure = Figure(figsize=(WIDTH, 2.9))
        upper = figure.add_axes((0.1, 0.6, 0.88, 0.31))
        lower = figure.add_axes((0.1, 0.12, 0.88, 0.31))
        places = np.arange(len(steps))
        upper.bar(places, mean, 0.72, color=BLUE)
        upper.set_title("clear observations of a pixel, on average", fontsize=8.5, color=GREY)
        upper.set_ylim(0, max([*mean, 0.1]) * 1.15)
        lower.bar(places, 100 * np.asarray(seen), 0.72, color=GREEN)
        lower.set_title("pixels seen at least once, per cent", fontsize=8.5, color=GREY)
        lower.set_ylim(0, 105)
        lower.set_yticks([0, 50, 100])
        every = -(-len(steps) // 12)
        for axes in (upper, lower):
            axes.set_xlim(-0.6, len(steps) - 0.4)
            axes.grid(axis="y")
            axes.set_axisbelow(True)
            axes.tick_params(length=0)
            axes.set_xticks(places[::every], ["" for _ in places[::every]])
        lower.set_xticks(places[::every], list(steps[::every]))
        return picture_of(figure, alt)


def _rows_figure(
    names: Sequence[str], room_above: float, height_each: float = 0.34
) -> tuple[Figure, Axes]:
    """A figure with one row a name, the first on top, and room for a legend above."""
    wrapped = [_wrapped(name, 22) for name in names]
    lines = max(label.count("\n") for label in wrapped) + 1
    each = max(height_each, 0.15 * lines + 0.08)
    low = 0.5
    high = room_above + low + each * len(names)
    left = 0.18 + 0.083 * max(len(line) for label in wrapped for line in label.split("\n"))
    figure = Figure(figsize=(WIDTH, high))
    axes = figure.add_axes(
        (left / WIDTH, low / high, 1 - (left + 0.22) / WIDTH, each * len(names) / high)
    )
    axes.set_yticks(np.arange(len(names)), wrapped)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    return figure, axes


def _interval(
    axes: Axes, interval: Mapping[str, float | None], place: float, colour: str, marker: str
) -> ErrorbarContainer:
    """A mark with its interval at a row."""
    value = interval["value"] or 0.0
    low, high = (interval[key] for key in ("low", "high"))
    spread = [
        [max(value - (value if low is None else low), 0)],
        [max((value if high is None else high) - value, 0)],
    ]
    return axes.errorbar(
        [value], [place], xerr=spread, fmt=marker, color=colour, ms=6, capsize=3, elinewidth=1.4,
        capthick=1.4, zorder=3,
    )  # fmt: skip


def _hectare_axis(axes: Axes) -> None:
    """Labels in hectares, or in thousands of them where they would be long."""
    axes.xaxis.set_major_locator(MaxNLocator(5))
    thousands = axes.get_xlim()[1] >= 100_000
    unit = 1000 if thousands else 1
    small = axes.get_xlim()[1] < 5
    axes.xaxis.set_major_formatter(
        FuncFormatter(lambda value, _: grouped(value / unit, 1 if small else 0))
    )
    axes.set_xlabel("thousand hectares" if thousands else "hectares")


def _legend_above(figure: Figure, axes: Axes, first: str | None) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if first is not None:
        handles.insert(0, Line2D([], [], color=INK, marker="|", ms=7, lw=1.4))
        labels.insert(0, first)
    columns = 2 if len(labels) > 2 else max(len(labels), 1)
    figure.legend(
        handles, labels, loc="upper left", bbox_to_anchor=(0.0, 1.0), ncols=columns,
        handletextpad=0.4, columnspacing=1.4, borderaxespad=0.3,
    )  # fmt: skip


def _wrapped(name: str, width: int) -> str:
    return "\n".join(textwrap.wrap(name, width)) or name


def _cell(value: float, in_percent: bool) -> str:
    """A matrix cell; a share that would round to nothing says so."""
    if value == 0:
        return "0"
    if not in_percent:
        return grouped(value) if value < 100_000 else f"{grouped(value / 1000)}k"
    return f"{100 * value:.1f}" if value >= 0.0005 else "<0.1"


def _bar_words(bar: ClassBar) -> str:
    if bar.estimate is None or bar.estimate["value"] is None:
        return f"{bar.name} {bar.mapped:.0f} hectares by the map's own count"
    return f"{bar.name} {bar.estimate['value']:.0f} hectares"
