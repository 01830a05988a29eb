"""Features of a pixel's time series that need no training: filled bands, indices, statistics.

Any set of layers will do: several sensors, 10 m beside 20 m, dates with gaps, a static layer. What
a band is follows from the layer's unit and wavelengths, never from its name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from earthloom.encoders.base import (
    Encoder,
    Features,
    Statistics,
    base_shape,
    mask_on_base_grid,
    on_base_grid,
    seen_in,
)
from earthloom.sample import LayerSpec, Shape2d
from earthloom.sample.batch import Batch, LayerBatch

_WINDOWS_NM = {
    "green": (525.0, 600.0),
    "red": (620.0, 690.0),
    "red edge": (695.0, 725.0),
    "nir": (770.0, 900.0),
    "swir 1": (1550.0, 1750.0),
    "swir 2": (2050.0, 2400.0),
}
"""Where the bands of the usual indices lie, in nanometres."""

_DIFFERENCES = (
    ("nir", "red"),  # NDVI, Rouse et al. 1974
    ("green", "nir"),  # NDWI, McFeeters 1996
    ("green", "swir 1"),  # MNDWI, Xu 2006
    ("nir", "swir 1"),  # NDMI, Gao 1996
    ("nir", "swir 2"),  # NBR, Key and Benson 2006
    ("swir 1", "swir 2"),  # NDTI, van Deventer et al. 1997
    ("nir", "red edge"),  # NDRE, Barnes et al. 2000
)
"""Normalised differences (a - b) / (a + b); each is made where a layer has both bands."""

_DARKEST = 0.01
"""Least sum of two reflectances in a normalised difference; below it, noise decides."""

_LEAST_POWER = 1e-5
"""Backscatter below -50 dB is noise of the instrument."""


@dataclass(frozen=True)
class _Series:
    """Bands of one sensor on the base grid."""

    values: Tensor
    """(B, T, C, H, W) float32 in the scale that `to_scale` gives; without gaps."""
    wavelengths_nm: tuple[float | None, ...]


@final
class TimeFeatures(Encoder):
    """Per-pixel features of a series of dates, computed in torch without a learned weight.

    Every band of every date (gaps filled by linear interpolation in time), normalised differences
    of reflectances, statistics over time, and the share of dates seen. A layer that a pixel never
    saw has the mean of the training pixels there, and a share of 0.
    """

    name = "time-features"

    def __init__(
        self,
        layers: tuple[LayerSpec, ...],
        statistics: Mapping[str, Statistics],
        radius: int = 0,
        only_bands: bool = False,
    ) -> None:
        """`radius`: the mean over the (2 radius + 1)^2 pixels around each is a feature as well,
        for each feature. `only_bands`: the filled bands and nothing else, what a plain baseline
        works on."""
        super().__init__(layers, statistics)
        self.reach, self.only_bands = radius, only_bands

    @property
    def radius(self) -> int:
        # Bilinear resampling looks at one more pixel of the coarser layer.
        coarsest = max(layer.factor for layer in self.layers)
        if coarsest == 1:
            return self.reach
        return (-(-self.reach // coarsest) + 1) * coarsest

    @property
    def channels(self) -> int:
        count = 0
        for group in _by_series(self.layers):
            times = len(group[0].dates)
            bands = sum(len(layer.bands) for layer in group)
            if self.only_bands:
                count += times * bands
                continue
            bands += len(_differences(_wavelengths(group)))
            count += (times + (_STATISTICS if times > 1 else 0)) * bands + len(group)
        return count * (2 if self.reach else 1)

    def config(self) -> dict[str, Any]:
        return {"radius": self.reach, "only_bands": self.only_bands}

    def forward(self, batch: Batch) -> Features:
        shape = base_shape(self.layers, batch)
        parts: list[Tensor] = []
        for group in _by_series(self.layers):
            series = self._series(group, batch, shape)
            if self.only_bands:
                parts.append(series.values.flatten(1, 2))
                continue
            values = torch.cat([series.values, *_differences_of(series)], dim=2)
            parts += [values.flatten(1, 2), *over_time(values)]
            parts += [_share_seen(layer, batch, shape) for layer in group]
        pixels = torch.cat(parts, dim=1)
        if self.reach:
            pixels = torch.cat([pixels, mean_around(pixels, self.reach)], dim=1)
        return Features(pixels, seen_in(self.layers, batch))

    def _series(self, group: Sequence[LayerSpec], batch: Batch, shape: Shape2d) -> _Series:
        filled = [
            on_base_grid(self._filled(layer, batch.layers[layer.key]), shape) for layer in group
        ]
        return _Series(torch.cat(filled, dim=2), _wavelengths(group))

    def _filled(self, spec: LayerSpec, layer: LayerBatch) -> Tensor:
        """(B, T, C, h, w) of one layer at its own resolution, without gaps."""
        mean = to_scale(spec, self.mean_of(spec))
        return fill_in_time(to_scale(spec, layer.pixels), layer.valid, layer.days, mean)


_STATISTICS = 4
"""Number of features that `over_time` makes of a band."""


def to_scale(spec: LayerSpec, values: Tensor) -> Tensor:
    """Physical values (..., C, H, W) on a scale whose steps matter about the same everywhere.

    Backscatter in linear power becomes dB; reflectance, indices and metres stay as they are.
    """
    if spec.unit == "linear power":
        return 10.0 * torch.log10(values.clamp(min=_LEAST_POWER))
    return values


def fill_in_time(pixels: Tensor, valid: Tensor, days: Tensor, mean: Tensor) -> Tensor:
    """Gaps filled by linear interpolation between the valid dates around, the ends held.

    pixels (B, T, C, H, W), valid (B, T, H, W), days (B, T); `mean` (C, 1, 1) stands where a pixel
    has no valid date at all. Returns pixels of the same shape, finite everywhere.
    """
    if bool(valid.all()):
        return pixels
    shown = valid[:, :, None]
    known = torch.where(shown, pixels, mean)
    when = days.to(pixels.dtype)[:, :, None, None, None].expand_as(shown)
    before, day_before, any_before = _last_valid(known, when, shown)
    after, day_after, any_after = (
        part.flip(1) for part in _last_valid(known.flip(1), when.flip(1), shown.flip(1))
    )
    share = (when - day_before) / (day_after - day_before).clamp(min=1.0)
    between = before + share * (after - before)
    held = torch.where(any_before, before, after)
    return torch.where(any_before & any_after, between, held)


def over_time(values: Tensor) -> list[Tensor]:
    """Mean, standard deviation, minimum and maximum over T of (B, T, C, H, W), each (B, C, H, W).

    Nothing for a single date.
    """
    if values.shape[1] == 1:
        return []
    mean = values.mean(dim=1)
    # Written out, as torch's own is ten times slower along a dimension that is not the last.
    std = (values - mean[:, None]).square_().mean(dim=1).sqrt_()
    return [mean, std, values.amin(dim=1), values.amax(dim=1)]


def mean_around(pixels: Tensor, radius: int) -> Tensor:
    """Mean over the (2 radius + 1)^2 pixels around each of (B, F, H, W), fewer at the edges."""
    total = _sum_along(_sum_along(pixels, radius, dim=-1), radius, dim=-2)
    one = torch.ones_like(pixels[:1, :1])
    return total.div_(_sum_along(_sum_along(one, radius, dim=-1), radius, dim=-2))


def _sum_along(pixels: Tensor, radius: int, dim: int) -> Tensor:
    """Sum over the 2 radius + 1 neighbours along a dimension; shifted additions beat a pooling."""
    total, size = pixels.clone(), pixels.shape[dim]
    for shift in range(1, min(radius, size - 1) + 1):
        rest = size - shift
        total.narrow(dim, 0, rest).add_(pixels.narrow(dim, shift, rest))
        total.narrow(dim, shift, rest).add_(pixels.narrow(dim, 0, rest))
    return total


def _last_valid(known: Tensor, when: Tensor, shown: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """At each date the last valid value so far, its day, and whether there was one."""
    values, dates, found = [known[:, 0]], [when[:, 0]], [shown[:, 0]]
    for time in range(1, known.shape[1]):
        now = shown[:, time]
        values.append(torch.where(now, known[:, time], values[-1]))
        dates.append(torch.where(now, when[:, time], dates[-1]))
        found.append(now | found[-1])
    return torch.stack(values, 1), torch.stack(dates, 1), torch.stack(found, 1)


def _by_series(layers: Sequence[LayerSpec]) -> list[list[LayerSpec]]:
    """Layers of one sensor and the same dates belong together, whatever their resolution."""
    groups: dict[tuple[str, tuple[str, ...]], list[LayerSpec]] = {}
    for layer in layers:
        groups.setdefault((layer.sensor, layer.dates), []).append(layer)
    return list(groups.values())


def _wavelengths(group: Sequence[LayerSpec]) -> tuple[float | None, ...]:
    return tuple(nm for layer in group for nm in layer.wavelengths_nm)


def _differences(wavelengths_nm: Sequence[float | None]) -> list[tuple[int, int]]:
    """Positions of the two bands of each normalised difference that the wavelengths allow."""
    found = {name: _band_in(window, wavelengths_nm) for name, window in _WINDOWS_NM.items()}
    pairs = [(found[first], found[second]) for first, second in _DIFFERENCES]
    return [(first, second) for first, second in pairs if first is not None and second is not None]


def _band_in(window: tuple[float, float], wavelengths_nm: Sequence[float | None]) -> int | None:
    """Position of the band nearest to the middle of a window, None if none lies in it."""
    low, high = window
    inside = [i for i, nm in enumerate(wavelengths_nm) if nm is not None and low <= nm <= high]
    middle = (low + high) / 2
    return min(inside, key=lambda i: abs((wavelengths_nm[i] or 0.0) - middle), default=None)


def _differences_of(series: _Series) -> list[Tensor]:
    """Normalised differences, each (B, T, 1, H, W) within -1 to 1."""
    made = []
    for first, second in _differences(series.wavelengths_nm):
        a, b = series.values[:, :, first], series.values[:, :, second]
        made.append(((a - b) / (a + b).clamp(min=_DARKEST)).clamp(-1.0, 1.0)[:, :, None])
    return made


def _share_seen(layer: LayerSpec, batch: Batch, shape: Shape2d) -> Tensor:
    """(B, 1, H, W): which share of a layer's dates is valid."""
    valid = batch.layers[layer.key].valid
    return mask_on_base_grid(valid.float().mean(dim=1, keepdim=True), shape)
