"""Charts of predicted against true numbers."""

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from earthloom.assess.figures import BLUE, INK, ORANGE, WIDTH, Picture, picture_of, styled
from earthloom.assess.value_words import number

_MOST = 1500
"""Dots of a chart, so that a report stays small."""
_BINS = 40


def scatter_chart(pairs: NDArray[np.float32], quantity: str, unit: str) -> Picture:
    """Map (upwards) against reference (rightwards), (n, 2), with the line of perfect maps."""
    shown = pairs[:: max(-(-len(pairs) // _MOST), 1)].astype(np.float64)
    low, high = float(pairs.min()), float(pairs.max())
    margin = 0.04 * max(high - low, 1e-9)
    ends = (low - margin, high + margin)
    with styled():
        figure = Figure(figsize=(WIDTH, 4.4))
        axes = figure.add_axes((0.16, 0.13, 0.8, 0.84))
        axes.plot(ends, ends, color=INK, lw=1)
        axes.plot(shown[:, 1], shown[:, 0], "o", color=BLUE, ms=3, mew=0, alpha=0.5)
        axes.set_xlim(*ends)
        axes.set_ylim(*ends)
        axes.set_xlabel(f"reference {quantity}, {unit}")
        axes.set_ylabel(f"mapped {quantity}, {unit}")
        axes.grid()
        axes.set_axisbelow(True)
        correlation = _correlation(pairs)
        alt = f"Scatter plot of map against reference; their correlation is {correlation:.2f}."
        return picture_of(figure, alt)


def residual_chart(pairs: NDArray[np.float32], unit: str) -> Picture:
    """Histogram of map less reference, (n, 2) map and reference."""
    residuals = pairs[:, 0].astype(np.float64) - pairs[:, 1]
    reach = float(np.percentile(np.abs(residuals), 99)) or 1.0
    within = np.clip(residuals, -reach, reach)
    with styled():
        figure = Figure(figsize=(WIDTH, 4.4))
        axes = figure.add_axes((0.16, 0.13, 0.8, 0.84))
        axes.hist(within, bins=_BINS, range=(-reach, reach), color=BLUE)
        axes.axvline(0, color=INK, lw=1)
        axes.axvline(float(residuals.mean()), color=ORANGE, lw=1.5, ls="--")
        axes.set_xlabel(f"map less reference, {unit}")
        axes.set_ylabel("pixels")
        axes.grid(axis="y")
        axes.set_axisbelow(True)
        alt = (
            f"Histogram of map less reference: mean {number(float(residuals.mean()))} {unit}, half "
            f"of them within {number(float(np.median(np.abs(residuals))))} {unit}."
        )
        return picture_of(figure, alt)


def _correlation(pairs: NDArray[np.float32]) -> float:
    if len(pairs) < 2 or (pairs.std(axis=0) == 0).any():
        return float("nan")
    return float(np.asarray(np.corrcoef(pairs.T))[0, 1])
