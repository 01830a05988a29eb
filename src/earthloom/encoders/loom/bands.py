"""What a band is, as numbers that a network can be made of: any sensor's, by its physics alone.

A band has a kind, a wavelength and a width, a polarisation, a ground sampling distance. They come
from the layer's specification, and from the sensor's table where there is one. Names of bands have
no say, but that they tell which indices are normalised differences: two bands that measure the same
have the same numbers.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from earthloom.errors import ContractError, choices
from earthloom.sample import LayerSpec, Measure
from earthloom.sensors import Sensor, known_sensors, load_sensor

KINDS = ("optical", "thermal", "radar", "height", "index", "quantity", "position in time")
"""What is measured; the last is the band that the encoder adds itself."""
POLARISATIONS = ("VV", "VH", "HH", "HV")

_KIND_OF: Mapping[str, str] = {
    "reflectance": "optical",
    "radiance": "optical",
    "counts": "optical",
    "backscatter": "radar",
    "temperature": "thermal",
    "elevation": "height",
    "index": "index",
    "angle": "quantity",
    "quantity": "quantity",
}
"""Of the kinds in sensors' tables."""
_KIND_OF_UNIT: Mapping[str, str] = {
    "linear power": "radar",
    "dB": "radar",
    "m": "height",
    "K": "thermal",
    "1": "index",
}
"""Of bands without a table and without a wavelength."""

_LIGHT_NM_GHZ = 299_792_458.0
"""Wavelength in nm times frequency in GHz."""
_USUAL_GHZ = 5.405
"""C band: of a radar whose table does not say."""
_USUAL_WIDTH = 0.05
"""Width over wavelength, of bands whose width nobody says."""
_WAVES = 6
"""The wavelength is told by waves over its logarithm. The longest is 4 decades, about from the
ultraviolet to a radar; the shortest an eighth of a decade, so that 665 and 705 nm, 6% apart, lie a
fifth of a wave from each other."""
_LONGEST_DECADES = 4.0
_CENTRE_NM = 1000.0

_DIFFERENCES = ("nd", "nbr", "gnd", "mnd")
"""What names of normalised differences of two bands begin with."""

CODE = len(KINDS) + len(POLARISATIONS) + 2 * _WAVES + 5
"""Numbers K that tell of a band."""


@dataclass(frozen=True)
class BandFacts:
    """What is known of a band."""

    kind: str
    """One of `KINDS`."""
    gsd: float
    """Metres between its pixels."""
    wavelength_nm: float | None = None
    """None where none is known; a radar's follows from its frequency."""
    relative_width: float = _USUAL_WIDTH
    """Width over wavelength."""
    polarisation: str | None = None
    """One of `POLARISATIONS`, or None."""
    difference: bool = False
    """Whether it is a normalised difference of two bands, such as NDVI: of other indices, such as
    EVI, the same land has other values."""

    def code(self) -> list[float]:
        """K numbers about between -1 and 1."""
        kind = [float(self.kind == each) for each in KINDS]
        polarisation = [float(self.polarisation == each) for each in POLARISATIONS]
        gsd = math.log10(self.gsd / 10)
        width = math.log10(self.relative_width / _USUAL_WIDTH)
        rest = [width, gsd, math.sin(2 * gsd), float(self.difference)]
        return [*kind, *polarisation, *_waves(self.wavelength_nm), *rest]


def facts_of(spec: LayerSpec) -> tuple[BandFacts, ...]:
    """Of each band of a layer; ContractError for a map of classes, whose values are no measures."""
    sensor = _table(spec.sensor)
    measures = spec.measures or (Measure(),) * len(spec.bands)
    every = zip(spec.bands, spec.wavelengths_nm, measures, strict=True)
    if sensor is None:
        return tuple(_facts_alone(spec, *each) for each in every)
    return tuple(_facts(spec, sensor, band, nm) for band, nm, _ in every)


def codes_of(facts: Sequence[BandFacts]) -> Tensor:
    """(C, K) float32."""
    return torch.tensor([each.code() for each in facts])


def _facts(spec: LayerSpec, sensor: Sensor, band: str, nm: float | None) -> BandFacts:
    """Of a band of a sensor that the package has a table of."""
    known = sensor.by_name.get(band)
    if known is None:
        return _facts_alone(spec, band, nm, Measure())
    if known.kind == "class":
        raise ContractError(
            f"band {band} of layer {spec.key} holds classes, which loom does not take; valid are "
            f"bands that measure: {choices(_KIND_OF)}"
        )
    measure = Measure(known.width_nm, known.frequency_ghz, known.polarisation)
    kind = _KIND_OF[known.kind]
    return _measured(kind, spec.gsd, known.wavelength_nm or nm, measure, band)


def _facts_alone(spec: LayerSpec, band: str, nm: float | None, measure: Measure) -> BandFacts:
    """Of a band that no table of the package knows: by what the layer says of it."""
    kind = _kind(spec.unit, nm)
    if measure.frequency_ghz is not None:
        kind = "radar"
    polarisation = measure.polarisation or band.upper()
    return _measured(kind, spec.gsd, nm, replace(measure, polarisation=polarisation), band)


def _measured(kind: str, gsd: float, nm: float | None, measure: Measure, name: str) -> BandFacts:
    width = measure.width_nm / nm if measure.width_nm and nm else _USUAL_WIDTH
    if kind == "radar":
        nm = _LIGHT_NM_GHZ / (measure.frequency_ghz or _USUAL_GHZ)
    named = measure.polarisation
    difference = kind == "index" and name.lower().startswith(_DIFFERENCES)
    return BandFacts(kind, gsd, nm, width, named if named in POLARISATIONS else None, difference)


def _kind(unit: str, nm: float | None) -> str:
    """Of a band that no table knows."""
    if nm is not None and unit != "K":
        return "optical"
    return _KIND_OF_UNIT.get(unit, "quantity")


def _table(name: str) -> Sensor | None:
    """A sensor's table; None for one that has none, such as a project's own."""
    return load_sensor(name) if name in known_sensors() else None


def _waves(nm: float | None) -> list[float]:
    """Whether there is a wavelength, and sines and cosines of its logarithm; 0 without any."""
    if nm is None:
        return [0.0] * (2 * _WAVES + 1)
    decades = math.log10(nm / _CENTRE_NM)
    angles = [2 * math.pi * decades / _LONGEST_DECADES * 2**wave for wave in range(_WAVES)]
    return [1.0, *(math.sin(angle) for angle in angles), *(math.cos(angle) for angle in angles)]
