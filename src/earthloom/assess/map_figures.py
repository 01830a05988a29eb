"""Pictures of an area with coordinates, a scale bar and an arrow to the north."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Geod, Transformer

from earthloom.assess.extent import crs_of
from earthloom.assess.figures import INK, Picture, picture_of, styled
from earthloom.assess.pictures import Raster

_EARTH = Geod(ellps="WGS84")
_LEFT, _RIGHT, _TOP, _BELOW = 0.36, 0.1, 0.1, 0.68
"""Inches around a map: latitudes on its left, longitudes, scale bar and arrow below."""


def map_picture(image: Raster, wide: float, alt: str) -> Picture:
    """A coloured image (h, w, 4) `wide` inches across, with its surroundings."""
    with styled():
        figure, axes = _map_axes(image.box, wide, extra=0.0)
        _show(axes, image.values)
        return picture_of(figure, alt)


def field_picture(field: Raster, limits: tuple[float, float], label: str, alt: str) -> Picture:
    """A map of figures (h, w), NaN where there are none, with a colour bar.

    Colours are those of `cividis`, which all kinds of colour vision see alike.
    """
    with styled():
        figure, axes = _map_axes(field.box, wide=5.0, extra=0.58)
        low, high = limits
        drawn = _show(
            axes, np.ma.masked_invalid(field.values), Normalize(low, max(high, low + 1e-9))
        )
        width, height = figure.get_size_inches()
        place = (_LEFT / width, 0.44 / height, 1 - (_LEFT + _RIGHT) / width, 0.12 / height)
        bar = figure.colorbar(drawn, cax=figure.add_axes(place), orientation="horizontal")
        bar.outline.set_visible(False)
        bar.ax.xaxis.set_major_locator(MaxNLocator(5, integer=high > 5))
        bar.set_label(label, fontsize=8.5, labelpad=2)
        bar.ax.tick_params(labelsize=8.5, length=2, pad=2)
        return picture_of(figure, alt)


def _show(axes: Axes, values: NDArray[np.generic], norm: Normalize | None = None) -> AxesImage:
    rows, cols = values.shape[:2]
    # Without interpolation, SVG keeps the pixels as they are and the reader's screen scales them.
    return axes.imshow(
        values, norm=norm, cmap="cividis", interpolation="none", extent=(0, cols, rows, 0)
    )


def _map_axes(box: GeoBox, wide: float, extra: float) -> tuple[Figure, Axes]:
    """Axes in pixels of a box, framed, with degrees along two edges."""
    rows, cols = box.shape.y, box.shape.x
    inner = wide - _LEFT - _RIGHT
    # A long, narrow area is drawn smaller, not off the page.
    inner_high = min(inner * rows / cols, 1.35 * wide)
    inner_wide = inner_high * cols / rows
    high = inner_high + _TOP + _BELOW + extra
    figure = Figure(figsize=(wide, high))
    axes = figure.add_axes(
        (_LEFT / wide, (_BELOW + extra) / high, inner_wide / wide, inner_high / high)
    )
    axes.set_xlim(0, cols)
    axes.set_ylim(rows, 0)
    axes.spines[:].set_visible(True)
    _degrees(axes, box)
    _scale_bar(figure, box, inner_wide, (_LEFT / wide, (0.1 + extra) / high))
    _north_arrow(figure, box, ((_LEFT + inner_wide - 0.14) / wide, (0.2 + extra) / high))
    return figure, axes


def _degrees(axes: Axes, box: GeoBox) -> None:
    """Round longitudes along the lower edge and latitudes along the left one."""
    rows, cols = box.shape.y, box.shape.x
    along_x, along_y = np.linspace(0, cols, 65), np.linspace(0, rows, 65)
    longitudes, _ = _lonlat(box, along_x, np.full(65, float(rows)))
    _, latitudes = _lonlat(box, np.zeros(65), along_y)
    places, labels = _round_ticks(longitudes, along_x, "E", "W")
    axes.set_xticks(places, labels)
    places, labels = _round_ticks(latitudes[::-1], along_y[::-1], "N", "S")
    axes.set_yticks(places, labels, rotation=90, va="center")
    axes.tick_params(length=3, pad=2, labelsize=8.5)


def _round_ticks(
    degrees: NDArray[np.float64], places: NDArray[np.float64], plus: str, minus: str
) -> tuple[list[float], list[str]]:
    """Where round degrees lie along an edge whose degrees grow, and their labels."""
    low, high = float(degrees[0]), float(degrees[-1])
    ticks = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)
    margin = 0.06 * (high - low)
    inside = [float(tick) for tick in ticks if low + margin <= tick <= high - margin]
    step = float(ticks[1] - ticks[0])
    decimals = max(0, -math.floor(math.log10(step) + 1e-9))
    labels = [f"{abs(t):.{decimals}f}° {plus if t >= 0 else minus}" for t in inside]
    return [float(np.interp(tick, degrees, places)) for tick in inside], labels


def _scale_bar(figure: Figure, box: GeoBox, wide: float, place: tuple[float, float]) -> None:
    """A bar of a round length, at most two fifths of the map's width, below its left corner."""
    rows, cols = box.shape.y, box.shape.x
    longitudes, latitudes = _lonlat(box, np.array([0.0, cols]), np.full(2, rows / 2))
    _, _, metres = _EARTH.inv(longitudes[0], latitudes[0], longitudes[1], latitudes[1])
    length = _round_below(0.4 * metres)
    figure_wide, figure_high = figure.get_size_inches()
    share = length / metres * wide / figure_wide
    x, y = place
    for part, colour in ((0, INK), (1, "white")):
        figure.add_artist(
            _rectangle(figure, (x + part * share / 2, y), share / 2, 0.055 / figure_high, colour)
        )
    label = f"{length / 1000:g} km" if length >= 1000 else f"{length:g} m"
    figure.text(
        x + share + 0.06 / figure_wide, y + 0.027 / figure_high, label, va="center", fontsize=8.5
    )


def _north_arrow(figure: Figure, box: GeoBox, place: tuple[float, float]) -> None:
    """An arrow towards true north at the map's middle, below its right corner."""
    rows, cols = box.shape.y, box.shape.x
    longitudes, latitudes = _lonlat(box, np.array([cols / 2]), np.array([rows / 2]))
    back = Transformer.from_crs(4326, crs_of(box), always_xy=True)
    x, y = back.transform(longitudes[0], latitudes[0] + 1e-3)
    a, b, c, d, e, f = tuple(~box.affine)[:6]
    col, row = a * x + b * y + c, d * x + e * y + f
    east, north = col - cols / 2, rows / 2 - row
    norm = math.hypot(east, north)
    width, height = figure.get_size_inches()
    dx, dy = 0.14 * east / norm / width, 0.14 * north / norm / height
    figure.add_artist(_arrow(figure, place, (dx, dy)))
    figure.text(place[0] - 0.16 / width, place[1], "N", ha="center", va="center", fontsize=9.5)


def _rectangle(
    figure: Figure, corner: tuple[float, float], width: float, height: float, colour: str
) -> Rectangle:
    return Rectangle(
        corner, width, height, facecolor=colour, edgecolor=INK, linewidth=0.8,
        transform=figure.transFigure,
    )  # fmt: skip


def _arrow(
    figure: Figure, place: tuple[float, float], towards: tuple[float, float]
) -> FancyArrowPatch:
    (x, y), (dx, dy) = place, towards
    return FancyArrowPatch(
        (x - dx, y - dy), (x + dx, y + dy), arrowstyle="-|>", mutation_scale=11, color=INK,
        linewidth=1.2, shrinkA=0, shrinkB=0, transform=figure.transFigure,
    )  # fmt: skip


def _lonlat(
    box: GeoBox, cols: NDArray[np.float64], rows: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitudes and latitudes of places in a box's pixels."""
    a, b, c, d, e, f = tuple(box.affine)[:6]
    x, y = a * cols + b * rows + c, d * cols + e * rows + f
    forth = Transformer.from_crs(crs_of(box), 4326, always_xy=True)
    longitudes, latitudes = forth.transform(x, y)
    return np.asarray(longitudes), np.asarray(latitudes)


def _round_below(length: float) -> float:
    """The largest of 1, 2 and 5 times a power of ten that is not longer."""
    power = 10.0 ** math.floor(math.log10(length))
    return max(step * power for step in (1, 2, 5) if step * power <= length)
