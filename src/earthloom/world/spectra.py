"""Reflectance of the ground's materials in Sentinel-2's bands: soils, stone, roofs, water."""

import csv
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
"""Sentinel-2's bands of 10 and 20 m in the order of every band axis here."""

WAVELENGTH = np.array([492.4, 559.8, 664.6, 704.1, 740.5, 782.8, 832.8, 864.7, 1613.7, 2202.4])
"""Central wavelengths of Sentinel-2A, nm (ESA, S2 MSI spectral responses)."""

WIDTH = np.array([66.0, 36.0, 31.0, 15.0, 15.0, 20.0, 106.0, 21.0, 91.0, 175.0])
"""Full widths at half maximum, nm (as above)."""

# Absorption of pure water, 1/m: Pope & Fry (1997) to 705 nm, Kou et al. (1993) beyond; rounded.
_WATER_ABSORPTION = np.array([0.015, 0.062, 0.43, 0.70, 2.5, 2.4, 3.4, 4.6, 670.0, 2200.0])
# Backscattering of pure water at 500 nm, 1/m (Morel 1974), falling with the 4.3rd power.
_WATER_BACKSCATTERING = 0.0013

# Suspended matter (g/m3), chlorophyll (mg/m3), dissolved matter's absorption at 440 nm (1/m).
_WATERS = {
    "clear water": (2.5, 3.0, 0.5),
    "turbid water": (14.0, 9.0, 0.8),
    "flood water": (60.0, 4.0, 1.4),
}


@cache
def materials() -> dict[str, Doubles]:
    """Reflectance (band,) of each material, of water too."""
    text = files("earthloom.world").joinpath("data/spectra.csv").read_text("utf-8")
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    table = {
        row["material"]: np.array([float(row[band]) for band in BANDS])
        for row in csv.DictReader(lines)
    }
    return table | {name: water_reflectance(*amounts) for name, amounts in _WATERS.items()}


def water_reflectance(sediment: float, chlorophyll: float, dissolved: float) -> Doubles:
    """Reflectance (band,) of deep inland water, unit 1.

    Irradiance reflectance 0.33 * bb / (a + bb) below the surface (Morel & Prieur 1977), taken
    through the surface with 0.54, and 0.006 of sky glint. Specific absorption and scattering
    after Bukata et al. (1995), approximate. `sediment` in g/m3, `chlorophyll` in mg/m3, `dissolved`
    is the absorption of dissolved organic matter at 440 nm in 1/m.
    """
    absorption = (
        _WATER_ABSORPTION
        + dissolved * np.exp(-0.015 * (WAVELENGTH - 440))
        + chlorophyll
        * (
            0.02 * np.exp(-(((WAVELENGTH - 460) / 60) ** 2))
            + 0.014 * np.exp(-(((WAVELENGTH - 672) / 14) ** 2))
        )
        + sediment * 0.02 * np.exp(-0.011 * (WAVELENGTH - 440))
    )
    scattering = (
        _WATER_BACKSCATTERING * (WAVELENGTH / 500) ** -4.3
        + sediment * 0.0115 * (WAVELENGTH / 560) ** -0.7
        + chlorophyll * 0.0008
    )
    below = 0.33 * scattering / (absorption + scattering)
    return np.asarray(0.54 * below / (1 - 0.48 * below) + 0.006, dtype=np.float64)
