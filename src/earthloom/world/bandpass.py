"""Bands of other instruments, as weighted sums of Sentinel-2's bands.

The weights were fitted on spectra of 1 nm by `tools/make_bandpass_table.py`, which names its
sources; the file keeps the relative residual of each.
"""

import csv
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from earthloom.world.spectra import BANDS, WAVELENGTH

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]

MSI = "msi"
"""Sentinel-2's own instrument."""


@dataclass(frozen=True, eq=False)
class Instrument:
    """The reflective bands of an instrument."""

    name: str
    bands: tuple[str, ...]
    centre: Doubles
    """(band,) nm."""
    weights: Doubles
    """(band, 10) of `BANDS`."""

    def look(self, surface: Floats) -> Floats:
        """Its bands (band, rows, cols) of the reflectance (10, rows, cols) in Sentinel-2's."""
        mixed = np.tensordot(self.weights.astype(np.float32), surface, axes=1)
        return np.asarray(mixed, dtype=np.float32)


@cache
def instruments() -> dict[str, Instrument]:
    """All instruments by name: `msi` as it is, `oli` of Landsat 8 and 9, `modis`."""
    text = files("earthloom.world").joinpath("data/bandpass.csv").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    rows: dict[str, list[dict[str, str]]] = {}
    for row in csv.DictReader(lines):
        rows.setdefault(row["instrument"], []).append(row)
    found = {MSI: Instrument(MSI, BANDS, WAVELENGTH, np.eye(len(BANDS)))}
    for name, listed in rows.items():
        found[name] = Instrument(
            name,
            tuple(row["band"] for row in listed),
            np.array([float(row["centre"]) for row in listed]),
            np.array([[float(row[band]) for band in BANDS] for row in listed]),
        )
    return found
