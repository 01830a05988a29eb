"""Computes the canopy reflectance table that the simulated Earth ships with.

Needs `prosail` (GPL-3, J. Gomez-Dans), which is a tool of this script and no dependency of Earthloom:

    python -m venv /tmp/prosail && /tmp/prosail/bin/pip install prosail
    /tmp/prosail/bin/python tools/make_canopy_table.py src/earthloom/world/data/canopy.npz

Models: leaf optics PROSPECT-D (Feret et al. 2017), canopy 4SAIL (Verhoef et al. 2007).
A canopy over a Lambertian soil of reflectance `s` reflects

    R(s) = R0 + T * s / (1 - s * Rd)

(Verhoef & Bach 2007): R0 over black soil, T the two-way transmittance, Rd the canopy's reflectance
from below. The three are stored per node, so that any soil can be put beneath afterwards; T is
fitted at s = 0.2, which leaves an error below 0.003 for soils up to 0.5 (printed when run).

Band averages use Gaussian responses at Sentinel-2A's central wavelengths and widths (ESA, S2 MSI
spectral responses, v3.1): an approximation of the measured responses.
"""

from __future__ import annotations

import itertools
import sys

import numpy as np
import prosail
from prosail.spectral_library import get_spectra

BANDS = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
CENTRE = np.array([492.4, 559.8, 664.6, 704.1, 740.5, 782.8, 832.8, 864.7, 1613.7, 2202.4])
WIDTH = np.array([66.0, 36.0, 31.0, 15.0, 15.0, 20.0, 106.0, 21.0, 91.0, 175.0])
WAVELENGTH = np.arange(400.0, 2501.0)

# Axes of the table. Brown is PROSPECT's relative content of brown pigments.
ZENITH = (30.0, 50.0, 70.0)  # degrees
LAI = (0.0, 0.25, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 6.5, 8.0)  # m2/m2
CHLOROPHYLL = (4.0, 15.0, 30.0, 45.0, 60.0)  # ug/cm2
WATER = (0.003, 0.011, 0.024)  # cm
BROWN = (0.0, 0.3, 0.8, 1.6)

STRUCTURE, DRY_MATTER, LEAF_ANGLE, HOTSPOT = 1.5, 0.007, 57.0, 0.05


def band_weights() -> np.ndarray:
    """(band, wavelength), rows sum to one."""
    sigma = WIDTH[:, None] / 2.3548
    weight = np.exp(-0.5 * ((WAVELENGTH[None] - CENTRE[:, None]) / sigma) ** 2)
    return weight / weight.sum(axis=1, keepdims=True)


def canopy(lai: float, cab: float, cw: float, brown: float, zenith: float, soil: float) -> np.ndarray:
    """Bidirectional reflectance at nadir over a grey soil, (wavelength,)."""
    return prosail.run_prosail(
        STRUCTURE, cab, 0.22 * cab, brown, cw, DRY_MATTER, lai, LEAF_ANGLE, HOTSPOT,
        zenith, 0.0, 0.0, prospect_version="D", typelidf=2,
        rsoil0=np.full(WAVELENGTH.size, soil), factor="SDR",
    )


def diffuse_from_below(lai: float, cab: float, cw: float, brown: float, zenith: float) -> np.ndarray:
    """Canopy reflectance for diffuse light, (wavelength,): 4SAIL's rdd."""
    terms = prosail.run_prosail(
        STRUCTURE, cab, 0.22 * cab, brown, cw, DRY_MATTER, lai, LEAF_ANGLE, HOTSPOT,
        zenith, 0.0, 0.0, prospect_version="D", typelidf=2,
        rsoil0=np.zeros(WAVELENGTH.size), factor="BHR",
    )
    return terms


def node(state: tuple[float, ...], weights: np.ndarray) -> tuple[np.ndarray, float]:
    """R0, T, Rd per band, (3, band), and the largest error of the formula over soils to 0.5."""
    zenith, lai, cab, cw, brown = state
    black = canopy(lai, cab, cw, brown, zenith, 0.0)
    below = diffuse_from_below(lai, cab, cw, brown, zenith)
    through = (canopy(lai, cab, cw, brown, zenith, 0.2) - black) * (1 - 0.2 * below) / 0.2
    r0, t, rd = weights @ black, weights @ through, weights @ below
    error = 0.0
    for soil in (0.05, 0.5):
        exact = weights @ canopy(lai, cab, cw, brown, zenith, soil)
        error = max(error, float(np.abs(r0 + t * soil / (1 - soil * rd) - exact).max()))
    return np.stack([r0, t, rd]), error


def main(path: str) -> None:
    weights = band_weights()
    axes = (ZENITH, LAI, CHLOROPHYLL, WATER, BROWN)
    table = np.empty((*map(len, axes), 3, len(BANDS)), np.float32)
    worst = 0.0
    for index in itertools.product(*(range(len(axis)) for axis in axes)):
        state = tuple(axis[i] for axis, i in zip(axes, index, strict=True))
        table[index], error = node(state, weights)
        worst = max(worst, error)
    soil = get_spectra().soil
    soils = np.stack([weights @ soil.rsoil1, weights @ soil.rsoil2]).astype(np.float32)
    np.savez_compressed(
        path, table=table, zenith=ZENITH, lai=LAI, chlorophyll=CHLOROPHYLL, water=WATER,
        brown=BROWN, bands=np.array(BANDS), soils=soils,
    )
    print(f"{table.size} values, formula within {worst:.4f} of the model; soils dry/wet:\n{soils}")


if __name__ == "__main__":
    main(sys.argv[1])
