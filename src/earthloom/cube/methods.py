"""Ways to make one image of the observations of a time step, by name: pure functions of arrays.

`METHODS` names them; `find_method` also knows families, such as `p25` for any percentile. An
observation counts where all its bands are there. The order of the dates and dates that show nothing
play no part in any of them.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

import earthloom.cube.choose as choose
from earthloom.cube.harmonic import YEAR, Waves, fit_harmonics
from earthloom.cube.kernels import median_f32, seen_in
from earthloom.cube.percentiles import percentiles
from earthloom.errors import DataError, choices
from earthloom.sensors import Band

Need = Literal["days", "target day", "red and nir"]
"""What a method asks for beside pixels."""

Composite = tuple[NDArray[np.float32], NDArray[np.uint8]]
"""An image (C, H, W), NaN where there is no result, and how many observations each pixel had
(H, W), 255 for more."""


@dataclass(frozen=True)
class Observations:
    """What is known of a time step."""

    pixels: NDArray[np.float32]
    """(N, C, H, W) in physical units, NaN where not seen."""
    bands: tuple[Band, ...]
    days: NDArray[np.int32] | None = None
    """(N,) since 1970-01-01."""
    target_day: int | None = None
    """The day that an image should show best, since 1970-01-01; the time step's middle."""
    distance_m: NDArray[np.float32] | None = None
    """(N, H, W): metres to the next pixel that is hidden in the same observation."""


@dataclass(frozen=True)
class Method:
    """A way to make one image of several."""

    name: str
    title: str
    source: str
    """Who wrote of it first."""
    reduce: Callable[[Observations], Composite]
    bands: Callable[[Sequence[Band]], tuple[Band, ...]] = tuple
    """The bands that leave it, by those that enter: by default the same."""
    needs: frozenset[Need] = frozenset()
    least: int = 1
    """Observations below which a pixel has no result."""

    def __call__(self, observations: Observations) -> Composite:
        """Checks what the method needs, then does it; DataError if something is not there."""
        if "days" in self.needs and observations.days is None:
            raise DataError(f"the composite '{self.name}' needs the days of the observations")
        if "target day" in self.needs and observations.target_day is None:
            raise DataError(f"the composite '{self.name}' needs the day that it aims at")
        if "red and nir" in self.needs:
            require_red_and_nir(observations.bands)
        return self.reduce(observations)


def role(bands: Sequence[Band], *names: str) -> int | None:
    """Position of the first band with one of some common names, in the order of the names."""
    common = [band.common_name for band in bands]
    return next((common.index(name) for name in names if name in common), None)


def require_red_and_nir(bands: Sequence[Band]) -> tuple[int, int]:
    """Positions of red and near infrared; DataError if one is not among the bands."""
    red, nir = role(bands, "red"), role(bands, "nir", "nir08")
    if red is None or nir is None:
        given = choices(f"{band.name} ({band.common_name})" for band in bands)
        raise DataError(f"maximum NDVI needs a red and a nir band; there are: {given}")
    return red, nir


Kernel = Callable[[NDArray[np.float32], NDArray[np.bool_], NDArray[np.float32]], None]
"""Fills an image (C, P) from a stack (N, C, P) and what was seen of it (N, P)."""


def _pixelwise(pixels: NDArray[np.float32], kernel: Kernel) -> Composite:
    """Runs a loop over pixels."""
    number, bands, rows, cols = pixels.shape
    seen = seen_in(pixels).reshape(number, rows * cols)
    image = np.empty((bands, rows * cols), np.float32)
    kernel(
        np.ascontiguousarray(pixels, np.float32).reshape(number, bands, rows * cols), seen, image
    )
    return image.reshape(bands, rows, cols), _count(seen).reshape(rows, cols)


def _count(seen: NDArray[np.bool_]) -> NDArray[np.uint8]:
    counted: NDArray[np.uint8] = np.minimum(seen.sum(axis=0), 255).astype(np.uint8)
    return counted


def medoid(observations: Observations) -> Composite:
    """The observation with the least sum of distances to the others: all bands of one date, and the
    date that is least unlike the others."""
    return _pixelwise(observations.pixels, choose.medoid)


def nearest_to_median(observations: Observations) -> Composite:
    """The observation that is nearest to the median of each band; faster where there are many."""
    target, _ = median_f32(observations.pixels)

    def kernel(
        stack: NDArray[np.float32], seen: NDArray[np.bool_], image: NDArray[np.float32]
    ) -> None:
        choose.nearest_to(stack, seen, target.reshape(image.shape), image)

    return _pixelwise(observations.pixels, kernel)


def geometric_median(
    observations: Observations, tolerance: float = 1e-5, most: int = 200
) -> Composite:
    """The spectrum with the least sum of distances to all observations; it keeps the relations
    between bands, as the median of each band does not.

    `tolerance`: the length of the last step as a share of the mean distance; `most` steps.
    """

    def kernel(
        stack: NDArray[np.float32], seen: NDArray[np.bool_], image: NDArray[np.float32]
    ) -> None:
        choose.geometric_median(stack, seen, tolerance, most, image)

    return _pixelwise(observations.pixels, kernel)


def _with_score(pixels: NDArray[np.float32], score: NDArray[np.float32]) -> Composite:
    def kernel(
        stack: NDArray[np.float32], seen: NDArray[np.bool_], image: NDArray[np.float32]
    ) -> None:
        choose.greatest(stack, seen, score.reshape(seen.shape), image)

    return _pixelwise(pixels, kernel)


def maximum_ndvi(observations: Observations) -> Composite:
    """The observation with the greatest NDVI; one whose red and nir sum to 0 or less comes last."""
    red, nir = require_red_and_nir(observations.bands)
    low, high = observations.pixels[:, red], observations.pixels[:, nir]
    total = low + high
    with np.errstate(invalid="ignore", divide="ignore"):
        ndvi = np.where(total > 0, (high - low) / total, np.float32(-1e9))
    return _with_score(observations.pixels, ndvi)


@dataclass(frozen=True)
class BestPixel:
    """What makes an observation the best: weights of scores, each between 0 and 1."""

    day: float = 0.5
    distance: float = 0.3
    """Plays no part where no distances are given."""
    haze: float = 0.2
    """Plays no part where there are not both a blue and a red band of reflectance."""
    spread_days: float = 30.0
    """A date so far from the target has a score of 0.61, one twice as far 0.14."""
    far_m: float = 1500.0
    """So far from what is hidden, distance no longer matters."""

    def score(self, observations: Observations) -> NDArray[np.float32]:
        """(N, H, W), the greater the better."""
        pixels, days = observations.pixels, observations.days
        assert days is not None
        assert observations.target_day is not None
        # A day of the year counts, whatever the year.
        apart = np.abs(days.astype(np.float32) - observations.target_day) % YEAR
        apart = np.minimum(apart, YEAR - apart)
        score = np.empty((len(pixels), *pixels.shape[2:]), np.float32)
        score[:] = self.day * np.exp(-0.5 * (apart / self.spread_days) ** 2)[:, None, None]
        if observations.distance_m is not None:
            # Logistic, steep in the middle, as Griffiths et al. have it.
            near = np.minimum(observations.distance_m, self.far_m) / self.far_m
            score += self.distance / (1 + np.exp(-10 * (near - np.float32(0.5))))
        blue, red = role(observations.bands, "blue"), role(observations.bands, "red")
        reflectance = all(b.kind == "reflectance" for b in observations.bands)
        if blue is not None and red is not None and reflectance:
            # Haze brightens blue more than red: Zhang et al. 2002, Zhu and Woodcock 2012.
            haze = pixels[:, blue] - 0.5 * pixels[:, red] - np.float32(0.08)
            score += self.haze / (1 + np.exp(np.clip(haze / np.float32(0.02), -30, 30)))
        return score


def best_pixel(observations: Observations, weights: BestPixel = BestPixel()) -> Composite:
    """The observation with the best sum of scores: near the target day, far from clouds, clear."""
    return _with_score(observations.pixels, weights.score(observations))


def percentile(observations: Observations, percent: float) -> Composite:
    """One percentile of each band, linear between observations."""
    images, count = percentiles(observations.pixels, (percent,))
    return images[0], count


def _extreme(observations: Observations, reduce: np.ufunc, start: float) -> Composite:
    seen = seen_in(observations.pixels)
    image = reduce.reduce(np.where(seen[:, None], observations.pixels, np.float32(start)), axis=0)
    image[:, ~seen.any(axis=0)] = np.nan
    return image, _count(seen)


def count(observations: Observations) -> Composite:
    """How many observations there were, as an image of one band; 0 is a result, not a gap."""
    counted = seen_in(observations.pixels).sum(axis=0)
    return counted[None].astype(np.float32), np.minimum(counted, 255).astype(np.uint8)


def harmonic(observations: Observations, waves: Waves) -> Composite:
    """Mean, cosines, sines and the error of a fit of waves to the year, band by band."""
    assert observations.days is not None
    fit = fit_harmonics(observations.pixels, observations.days, waves)
    parts = np.concatenate([fit.coefficients, fit.rmse[None]])
    _, _, rows, cols = parts.shape
    return np.ascontiguousarray(parts.swapaxes(0, 1)).reshape(-1, rows, cols), fit.count


def _harmonic_bands(bands: Sequence[Band], waves: Waves) -> tuple[Band, ...]:
    """The unit is one of its own, since a wave of backscatter may be negative, and its logarithm
    makes no sense; only the mean is still at a wavelength."""
    return tuple(
        Band(
            name=f"{band.name}_{term}",
            kind="quantity",
            unit=f"waves of {band.unit}",
            gsd=band.gsd,
            wavelength_nm=band.wavelength_nm if term == "mean" else None,
        )
        for band in bands
        for term in (*waves.terms, "rmse")
    )


def _count_band(bands: Sequence[Band]) -> tuple[Band, ...]:
    return (Band("count", "quantity", "1", max((band.gsd for band in bands), default=1.0)),)


def _harmonic_method(waves: Waves) -> Method:
    name = f"harmonic{'' if waves.harmonics == 1 else f'-{waves.harmonics}'}"
    return Method(
        name + ("-robust" if waves.robust else ""),
        f"{waves.harmonics} harmonic{'s' * (waves.harmonics > 1)} of the year"
        + (", outliers without weight" if waves.robust else ""),
        "Zhu and Woodcock 2014",
        partial(harmonic, waves=waves),
        bands=partial(_harmonic_bands, waves=waves),
        needs=frozenset({"days"}),
        least=len(waves.terms) + 1,
    )


def _percentile_method(percent: float) -> Method:
    return Method(
        f"p{percent:g}",
        f"percentile {percent:g} of each band",
        "Hyndman and Fan 1996",
        partial(percentile, percent=percent),
    )


_LISTED = (
    Method("medoid", "the date least unlike the others", "Flood 2013", medoid),
    Method("nearest-median", "the date nearest to the median", "Flood 2013", nearest_to_median),
    Method("geomedian", "geometric median", "Roberts et al. 2017", geometric_median),
    Method(
        "best-pixel",
        "the best date by season, clouds around and haze",
        "Griffiths et al. 2013",
        best_pixel,
        needs=frozenset({"days", "target day"}),
    ),
    Method(
        "max-ndvi",
        "the date of the greatest NDVI",
        "Holben 1986",
        maximum_ndvi,
        needs=frozenset({"red and nir"}),
    ),
    Method("max", "maximum of each band", "", partial(_extreme, reduce=np.maximum, start=-np.inf)),
    Method("min", "minimum of each band", "", partial(_extreme, reduce=np.minimum, start=np.inf)),
    Method("count", "clear observations", "", count, bands=_count_band, least=0),
    *(_harmonic_method(Waves(k, robust=robust)) for k in (1, 2) for robust in (False, True)),
    *(_percentile_method(percent) for percent in (10, 25, 50, 75, 90)),
)

METHODS: Mapping[str, Method] = MappingProxyType({method.name: method for method in _LISTED})
"""The named methods; percentiles stand for all others, see `find_method`."""

_PERCENTILE = re.compile(r"p(\d{1,3}(?:\.\d+)?)")


def find_method(name: str) -> Method:
    """The method of that name, `p0` to `p100` among them; DataError if there is none."""
    if name in METHODS:
        return METHODS[name]
    matched = _PERCENTILE.fullmatch(name)
    if matched and float(matched[1]) <= 100:
        return _percentile_method(float(matched[1]))
    known = (each for each in METHODS if not _PERCENTILE.fullmatch(each))
    raise DataError(f"there is no composite '{name}'; there are: {choices(known)}, p0 to p100")
