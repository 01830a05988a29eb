"""The page's pictures, as inline SVG: the same table, the same bytes."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from earthloom.bench.statistics import Ranking
from earthloom.bench.table import TAGS, Leaderboard, Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK, SOFT, GRID, ACCENT = "#22303c", "#6b7a86", "#d9dfe4", "#0b6e8a"

COLOURS = (
    "#0b6e8a", "#c8553d", "#588157", "#7b5ea7", "#b8860b", "#3a5a98", "#a23b72", "#4a7c7e",
    "#8d6e63", "#5c6b73",
)  # fmt: skip
"""Of competitors, in the order of the table; drawn again with other marks beyond."""

MARKS = ("o", "s", "^", "D", "v", "P")


def ranks_picture(ranking: Ranking) -> str:
    """Mean ranks on a line; bars join competitors that do not differ (Demsar 2006)."""
    count = len(ranking.names)
    order = np.argsort(ranking.mean_ranks, kind="stable")
    half = -(-count // 2)
    with _figure(7.6, 1.15 + 0.23 * half + 0.11 * len(ranking.cliques)) as (figure, axes):
        low, high = 1.0, float(max(count, 2))
        top = 0.0
        axes.plot([low, high], [top, top], color=INK, linewidth=1.2)
        for tick in range(1, int(high) + 1):
            axes.plot([tick, tick], [top, top + 0.12], color=INK, linewidth=1)
            axes.text(tick, top + 0.2, str(tick), ha="center", va="bottom", fontsize=8, color=SOFT)
        for number, (first, last) in enumerate(ranking.cliques):
            y = top - 0.22 - 0.16 * number
            ends = ranking.mean_ranks[order[[first, last]]]
            axes.plot(ends + np.array([-0.04, 0.04]), [y, y], color=ACCENT, linewidth=4)
        start = top - 0.45 - 0.16 * len(ranking.cliques)
        margin = 0.04 * (high - low)
        for position, at in enumerate(order):
            left = position < half
            level = start - 0.34 * (position if left else count - 1 - position)
            x = float(ranking.mean_ranks[at])
            end = low - margin if left else high + margin
            axes.plot([x, x, end], [top, level, level], color=INK, linewidth=0.8)
            text = f"{ranking.names[at]}  {x:.2f}" if left else f"{x:.2f}  {ranking.names[at]}"
            side = "right" if left else "left"
            axes.text(end, level, f" {text} ", ha=side, va="center", fontsize=8.5, color=INK)
        width = ranking.critical_difference
        if np.isfinite(width):
            shown = min(width, high - low)
            y = top + 0.75
            axes.plot([low, low + shown], [y, y], color=SOFT, linewidth=1.6)
            words = f"critical difference {width:.2f}"
            if width > high - low:
                words += ", more than the line is long"
            axes.text(low, y + 0.1, words, fontsize=8, color=SOFT, va="bottom")
        axes.set_xlim(low - 0.75 * (high - low), high + 0.75 * (high - low))
        axes.axis("off")
        return _svg(figure, "ranks")


def capability_picture(lines: Sequence[Line]) -> str:
    """Scores by capability group: a row a competitor, a column a group."""
    groups = [
        (tag, value)
        for tag in TAGS
        for value in sorted({v for line in lines for t, v in line.groups if t == tag})
    ]
    values = np.array([[line.groups.get(group, np.nan) for group in groups] for line in lines])
    with _figure(1.2 + 0.62 * len(groups) + 2.2, 1.5 + 0.3 * len(lines)) as (figure, axes):
        shown = np.ma.masked_invalid(values)
        axes.imshow(shown, cmap="YlGnBu", vmin=0, vmax=1, aspect="auto")
        for row, col in np.ndindex(*values.shape):
            value = values[row, col]
            text = f"{value:.2f}" if np.isfinite(value) else "–"
            dark = np.isfinite(value) and value > 0.6
            axes.text(
                col, row, text, ha="center", va="center", fontsize=7.5,
                color="white" if dark else INK,
            )  # fmt: skip
        axes.set_yticks(range(len(lines)), [line.name for line in lines], fontsize=8)
        labels = [value for _, value in groups]
        axes.set_xticks(range(len(groups)), labels, fontsize=8, rotation=35, ha="right")
        _bracket(axes, groups)
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return _svg(figure, "capabilities")


def efficiency_picture(board: Leaderboard) -> str:
    """Score over the number of labels, a line a competitor."""
    with _figure(7.2, _height(len(board.lines))) as (figure, axes):
        for number, line in enumerate(board.lines):
            curve = board.curves[line.name]
            if len(curve) < 2:
                continue
            x, y = zip(*curve, strict=True)
            colour, mark = _style(number)
            axes.plot(
                x, y, color=colour, marker=mark, markersize=4, linewidth=1.4, label=line.name,
                linestyle="--" if line.missing else "-",
            )  # fmt: skip
        labels = [x for curve in board.curves.values() for x, _ in curve]
        _scores_over(axes, labels, "labels learned from (geometric mean over datasets)")
        return _svg(figure, "efficiency")


def cost_picture(lines: Sequence[Line]) -> str:
    """Score against seconds of fitting; the upper left is best."""
    with _figure(7.2, _height(len(lines))) as (figure, axes):
        for number, line in enumerate(lines):
            colour, mark = _style(number)
            low, high = line.score.value - line.score.low, line.score.high - line.score.value
            axes.errorbar(
                [line.fit_s], [line.score.value], yerr=[[max(low, 0)], [max(high, 0)]],
                color=colour, marker=mark, markersize=5.5, linewidth=1, capsize=2, label=line.name,
                linestyle="none", markerfacecolor="white" if line.missing else colour,
            )  # fmt: skip
        seconds = [line.fit_s for line in lines]
        _scores_over(axes, seconds, "seconds to search and fit (geometric mean over datasets)")
        return _svg(figure, "cost")


def has_curves(board: Leaderboard) -> bool:
    """Whether there are two budgets to draw a line through."""
    return any(len(curve) > 1 for curve in board.curves.values())


def _bracket(axes: "Axes", groups: Sequence[tuple[str, str]]) -> None:
    """Names of the tags over their columns."""
    for tag in dict.fromkeys(tag for tag, _ in groups):
        columns = [at for at, (name, _) in enumerate(groups) if name == tag]
        left, right = columns[0] - 0.42, columns[-1] + 0.42
        axes.plot([left, right], [-0.62, -0.62], color=SOFT, linewidth=1, clip_on=False)
        axes.text(
            (left + right) / 2, -0.75, tag, ha="center", va="bottom", fontsize=8, color=SOFT
        )  # fmt: skip


def _scores_over(axes: "Axes", values: Sequence[float], words: str) -> None:
    """Axes of scores over `values` on a logarithmic axis, with the legend beside them."""
    _log_axis(axes, values)
    axes.set_xlabel(words, fontsize=8.5)
    axes.set_ylabel("normalised score", fontsize=8.5)
    axes.grid(color=GRID, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=8, colors=SOFT)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set_color(GRID)
    axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False)


def _height(entries: int) -> float:
    """Inches of a picture whose legend has so many entries beside it."""
    return max(3.4, 0.18 * entries + 0.5)


def _log_axis(axes: "Axes", values: Sequence[float]) -> None:
    """A logarithmic axis with ticks at 1, 2 and 5 of each decade that values lie in, or at decades
    alone where there are many."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_xscale("log")
    known = [value for value in values if np.isfinite(value) and value > 0]
    if not known:
        return
    low, high = min(known) / 1.3, max(known) * 1.3
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    steps = (1, 2, 5) if last - first <= 3 else (1,)
    ticks = [step * 10.0**decade for decade in range(first, last + 1) for step in steps]
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))


def _style(number: int) -> tuple[str, str]:
    return COLOURS[number % len(COLOURS)], MARKS[number // len(COLOURS) % len(MARKS)]


@contextmanager
def _figure(width: float, height: float) -> Iterator[tuple["Figure", "Axes"]]:
    """A figure that is closed again. Text stays text, in the page's own letters."""
    import matplotlib
    from matplotlib.figure import Figure

    settings: Any = {
        "svg.fonttype": "none",
        "svg.hashsalt": "earthloom",
        "font.family": "sans-serif",
    }
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=(width, height))
        yield figure, figure.subplots()


def _svg(figure: "Figure", name: str) -> str:
    """The SVG element alone, with ids of its own so that pictures on one page do not mix."""
    stream = io.StringIO()
    figure.savefig(
        stream, format="svg", bbox_inches="tight", transparent=True, metadata={"Date": None}
    )
    text = stream.getvalue()
    body = text[text.index("<svg") :]
    body = re.sub(r'id="([^"]+)"', rf'id="{name}-\1"', body)
    body = re.sub(r'(xlink:href="#|url\(#)', rf"\g<1>{name}-", body)
    return body.replace("<svg ", f'<svg role="img" aria-label="{name}" ', 1)
