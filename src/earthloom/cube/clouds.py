"""Cloud detectors: what hides the ground, told from the pixels themselves.

A product's own quality band misses clouds, and some products have none. A detector looks at the
measured values instead. It is named in a project's mask rule; a package of its own adds one through
the entry point group `earthloom.masks`, as a class that is made without arguments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from earthloom.cube.mask import MaskRule, inner
from earthloom.errors import DataError, ProjectError, choices
from earthloom.sensors import Band, Sensor
from earthloom.sensors.model import KindName

Floats = NDArray[np.float32]

GROUP = "earthloom.masks"
"""The entry point group of detectors of other packages."""


@dataclass(frozen=True)
class SpectralWindow:
    """A part of the spectrum that a test asks for, in nm."""

    name: str
    low: float
    middle: float
    high: float
    kind: KindName = "reflectance"
    """What a band must measure there."""


BLUE = SpectralWindow("blue", 440, 485, 520)
GREEN = SpectralWindow("green", 520, 560, 600)
RED = SpectralWindow("red", 620, 660, 690)
NEAR = SpectralWindow("near infrared", 770, 850, 900)
SHORT = SpectralWindow("short-wave infrared at 1.6 um", 1550, 1620, 1750)
LONG = SpectralWindow("short-wave infrared at 2.2 um", 2080, 2200, 2350)
THERMAL_11 = SpectralWindow("thermal infrared at 11 um", 10_300, 10_900, 11_800, "temperature")
THERMAL_12 = SpectralWindow("thermal infrared at 12 um", 11_800, 12_000, 12_600, "temperature")


class CloudDetector(Protocol):
    """Tells clouds from pixels. What it says of a pixel hangs on that pixel alone, or on
    neighbours within `margin` pixels, so that every tiling gives the same."""

    @property
    def margin(self) -> int:
        """Pixels around a window that the detector must see as well; 0 where each stands alone."""
        ...

    @property
    def needs(self) -> tuple[SpectralWindow, ...]:
        """Parts of the spectrum without which it cannot work."""
        ...

    @property
    def uses(self) -> tuple[SpectralWindow, ...]:
        """Parts that it looks at as well where there is a band."""
        ...

    def probability(
        self, pixels: Floats, bands: Sequence[str], wavelengths_nm: Sequence[float | None]
    ) -> Floats:
        """How probable it is that the ground is hidden, (H, W), 0 to 1; NaN where it cannot say.

        `pixels` (C, H, W) are physical values, NaN where nothing was measured: reflectance, and
        kelvin for thermal bands. `bands` names them and `wavelengths_nm` gives their centres.
        DataError if a band that is needed is not there.
        """
        ...


@dataclass(frozen=True)
class PotentialClouds:
    """The pixel-wise part of Fmask (Zhu and Woodcock 2012): bright, white, and not too warm.

    A pixel that passes the tests of potential clouds (their equations 1 to 4) has the probability
    that its lack of colour gives it (equation 15), over water that of its brightness (equation
    11); any other has 0. The paper goes on to the statistics of the whole scene and to shadows;
    that is left out, since a tile must not hang on what lies beside it. Made for reflectance at
    the top of the atmosphere; on surface reflectance the thinnest clouds are missed. Bright roofs
    and bare sand may pass for clouds.
    """

    margin: int = 0
    needs: tuple[SpectralWindow, ...] = (BLUE, GREEN, RED, NEAR, SHORT, LONG)
    uses: tuple[SpectralWindow, ...] = (THERMAL_11,)

    def probability(
        self, pixels: Floats, bands: Sequence[str], wavelengths_nm: Sequence[float | None]
    ) -> Floats:
        """See `CloudDetector`."""
        blue, green, red, near, short, long = (
            pixels[place] for place in _places(self.needs, bands, wavelengths_nm)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            ndvi = (near - red) / (near + red)
            ndsi = (green - short) / (green + short)
            mean = (blue + green + red) / 3
            whiteness = sum(np.abs(band - mean) for band in (blue, green, red)) / mean
            rock = near / short > 0.75
        passed = (long > 0.03) & (ndsi < 0.8) & (ndvi < 0.8)
        passed &= (whiteness < 0.7) & (blue - 0.5 * red - 0.08 > 0) & rock
        thermal = _place(THERMAL_11, wavelengths_nm)
        if thermal is not None:
            passed &= ~(pixels[thermal] >= _WARM_K)
        water = ((ndvi < 0.01) & (near < 0.11)) | ((ndvi < 0.1) & (near < 0.05))
        colour = np.maximum(np.maximum(np.abs(ndvi), np.abs(ndsi)), whiteness)
        probable = np.where(water, np.clip(short, 0, 0.11) / 0.11, np.clip(1 - colour, 0, 1))
        missing = np.isnan(blue + green + red + near + short + long)
        return np.where(missing, np.nan, np.where(passed, probable, 0)).astype(np.float32)


_WARM_K = 300.15
"""27 degrees Celsius: what is warmer is no cloud (Zhu and Woodcock 2012, equation 1)."""


@dataclass(frozen=True)
class ColdClouds:
    """Clouds by their cold, by day and by night: two tests of thermal infrared.

    The gross test: the colder, the surer, from 273 K to 267 K (the thresholds that Ackerman et
    al. 1998 give for open water). The test of thin cirrus, where there is a band at 12 um as well:
    the difference of brightness temperatures at 11 and 12 um is greater than clear air explains
    (Saunders and Kriebel 1988, their table for a view straight down). Warm, low clouds pass both,
    and ground below freezing passes for a cloud: this is for lands and seasons without frost.
    """

    margin: int = 0
    needs: tuple[SpectralWindow, ...] = (THERMAL_11,)
    uses: tuple[SpectralWindow, ...] = (THERMAL_12,)

    def probability(
        self, pixels: Floats, bands: Sequence[str], wavelengths_nm: Sequence[float | None]
    ) -> Floats:
        """See `CloudDetector`; thermal bands are brightness temperatures."""
        (first,) = _places(self.needs, bands, wavelengths_nm)
        at_11 = pixels[first]
        # NaN stays NaN: a pixel without a temperature has no probability.
        cold = np.clip((_CLEAR_K - at_11) / (_CLEAR_K - _COLD_K), 0, 1)
        second = _place(THERMAL_12, wavelengths_nm)
        if second is None:
            return np.asarray(cold, np.float32)
        difference = at_11 - pixels[second]
        explained = np.interp(at_11, _THIN_CIRRUS_K, _THIN_CIRRUS_DIFFERENCE_K)
        cirrus = difference > explained
        return np.where(np.isnan(cold), np.nan, np.where(cirrus, 1, cold)).astype(np.float32)


_CLEAR_K, _COLD_K = 273.0, 267.0
_THIN_CIRRUS_K = (260.0, 270.0, 280.0, 290.0, 300.0, 310.0)
_THIN_CIRRUS_DIFFERENCE_K = (0.55, 0.58, 1.30, 3.06, 5.77, 9.41)

BUILT_IN: Mapping[str, type[CloudDetector]] = {
    "potential-clouds": PotentialClouds,
    "cold-clouds": ColdClouds,
}


def known_detectors() -> list[str]:
    """Names of all detectors: those built in, and those of other packages."""
    return sorted({*BUILT_IN, *(entry.name for entry in entry_points(group=GROUP))})


@cache
def load_detector(name: str) -> CloudDetector:
    """The detector of that name; ProjectError if there is none, or it does not load."""
    if name in BUILT_IN:
        return BUILT_IN[name]()
    found = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    if not found:
        raise ProjectError(f"unknown mask hook '{name}'; known are: {choices(known_detectors())}")
    try:
        detector: CloudDetector = found[0].load()()
    except Exception as error:  # whatever the other package raises, the user must hear of
        raise ProjectError(f"the mask hook '{name}' does not load: {error!r}") from error
    return detector


def hook_margin(rule: MaskRule) -> int:
    """Pixels around a window that the rule's detector must see as well."""
    return 0 if rule.hook is None else load_detector(rule.hook).margin


def hook_bands(rule: MaskRule, sensor: Sensor) -> tuple[Band, ...]:
    """The bands of a sensor that the rule's detector looks at, in the sensor's order; they may lie
    in several layers of a cube. DataError if the sensor lacks one that is needed."""
    if rule.hook is None:
        return ()
    detector = load_detector(rule.hook)
    names = [band.name for band in sensor.bands]
    chosen = set()
    for window in (*detector.needs, *detector.uses):
        # A thermal band in radiance, say, would be taken for one in kelvin.
        fitting = [b.wavelength_nm if b.kind == window.kind else None for b in sensor.bands]
        if window in detector.needs:
            chosen |= set(_places((window,), names, fitting))
        elif (place := _place(window, fitting)) is not None:
            chosen.add(place)
    return tuple(band for place, band in enumerate(sensor.bands) if place in chosen)


def hidden_by_hook(
    rule: MaskRule,
    pixels: Floats,
    bands: Sequence[str],
    wavelengths_nm: Sequence[float | None],
    margin: int = 0,
) -> NDArray[np.bool_]:
    """(H, W): True where the rule's detector hides a pixel; nowhere if the rule names none.

    `pixels` (C, H + 2 margin, W + 2 margin) as a detector takes them. Where it cannot say, nothing
    is hidden: what was not measured is NaN already. DataError if the detector needs a wider margin,
    or answers in another shape.
    """
    if rule.hook is None:
        return inner(np.zeros(pixels.shape[1:], np.bool_), margin)
    detector = load_detector(rule.hook)
    if detector.margin > margin:
        raise DataError(
            f"the mask hook '{rule.hook}' needs {detector.margin} pixels around a window; "
            f"it was given {margin}"
        )
    probable = detector.probability(pixels, bands, wavelengths_nm)
    if probable.shape != pixels.shape[1:]:
        raise DataError(
            f"the mask hook '{rule.hook}' answered with shape {probable.shape}; "
            f"expected {pixels.shape[1:]}"
        )
    return inner(probable >= rule.least_probability, margin)


def _places(
    wanted: Sequence[SpectralWindow],
    bands: Sequence[str],
    wavelengths_nm: Sequence[float | None],
) -> list[int]:
    """Which band lies in each window; DataError if one is not there."""
    found = [_place(window, wavelengths_nm) for window in wanted]
    missing = [window.name for window, place in zip(wanted, found) if place is None]
    if missing:
        raise DataError(
            f"a cloud detector needs {choices(missing)}, which none of the bands "
            f"{choices(bands)} measures"
        )
    return [place for place in found if place is not None]


def _place(window: SpectralWindow, wavelengths_nm: Sequence[float | None]) -> int | None:
    """The band nearest to a window's middle; None if none lies in it."""
    away = {
        place: abs(wavelength - window.middle)
        for place, wavelength in enumerate(wavelengths_nm)
        if wavelength is not None and window.low <= wavelength <= window.high
    }
    return min(away, key=lambda place: away[place], default=None)
