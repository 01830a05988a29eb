"""Computes the canopy reflectance table that the simulated Earth ships with.

Needs `prosail` (GPL-3, J. Gomez-Dans): a tool of this script, no dependency of Earthloom.

    python -m venv prosail-env && prosail-env/bin/pip install prosail
    prosail-env/bin/python tools/make_canopy_table.py src/earthloom/world/data/canopy.npz

Models: leaf optics PROSPECT-D (Feret et al. 2017), canopy 4SAIL (Verhoef et al. 2007).
A canopy over a Lambertian soil of reflectance `s` reflects

    R(s) = R0 + T * s / (1 - s * Rd)

(Verhoef & Bach 2007): R0 over black soil, T the two-way transmittance, Rd the canopy's reflectance
from below. The three are stored per node, so that any soil can be put beneath afterwards; T is
fitted at s = 0.2, which leaves an error below 0.002 for soils up to 0.5 (printed when run).

Band averages use Gaussian responses at Sentinel-2A's central wavelengths and widths (ESA, S2 MSI
spectral responses, v3.1): an approximation of the measured responses.
"""

from __future__ import annotations

import itertools
import sys
from dataclasses import dataclass

import numpy as np
import prosail
from numpy.typing import NDArray
from prosail.spectral_library import get_spectra

Spectra = NDArray[np.float64]

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


def band_weights() -> Spectra:
    """(band, wavelength), rows sum to one."""
    sigma = WIDTH[:, None] / 2.3548
    weight = np.exp(-0.5 * ((WAVELENGTH[None] - CENTRE[:, None]) / sigma) ** 2)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float64)


@dataclass(frozen=True)
class Canopy:
    """A canopy under a sun; units as in the axes above."""

    zenith: float
    lai: float
    chlorophyll: float
    water: float
    brown: float

    def reflectance(self, soil: float, factor: str) -> Spectra:
        """Reflectance (wavelength,) over a grey soil.

        `factor` is the model's: "SDR" for sunlight seen from above, "BHR" for diffuse light.
        """
        spectrum: Spectra = prosail.run_prosail(
            STRUCTURE,
            self.chlorophyll,
            0.22 * self.chlorophyll,
            self.brown,
            self.water,
            DRY_MATTER,
            self.lai,
            LEAF_ANGLE,
            HOTSPOT,
            self.zenith,
            0.0,
            0.0,
            prospect_version="D",
            typelidf=2,
            rsoil0=np.full(WAVELENGTH.size, soil),
            factor=factor,
        )
        return spectrum


def node(canopy: Canopy, weights: Spectra) -> tuple[Spectra, float]:
    """R0, T, Rd per band, (3, band), and the largest error of the formula over soils to 0.5."""
    black = canopy.reflectance(0.0, "SDR")
    # 4SAIL's reflectance from below is that from above: its layer is the same both ways.
    below = canopy.reflectance(0.0, "BHR")
    through = (canopy.reflectance(0.2, "SDR") - black) * (1 - 0.2 * below) / 0.2
    r0, t, rd = weights @ black, weights @ through, weights @ below
    error = 0.0
    for soil in (0.05, 0.5):
        exact = weights @ canopy.reflectance(soil, "SDR")
        error = max(error, float(np.abs(r0 + t * soil / (1 - soil * rd) - exact).max()))
    return np.stack([r0, t, rd]), error


def main(path: str) -> None:
    weights = band_weights()
    axes = (ZENITH, LAI, CHLOROPHYLL, WATER, BROWN)
    table = np.empty((*map(len, axes), 3, len(BANDS)), np.float32)
    worst = 0.0
    index: tuple[int, ...]
    for index in itertools.product(*(range(len(axis)) for axis in axes)):
        state = tuple(axis[i] for axis, i in zip(axes, index, strict=True))
        table[index], error = node(Canopy(*state), weights)
        worst = max(worst, error)
    soil = get_spectra().soil
    soils = np.stack([weights @ soil.rsoil1, weights @ soil.rsoil2]).astype(np.float32)
    np.savez_compressed(
        path,
        table=table,
        zenith=ZENITH,
        lai=LAI,
        chlorophyll=CHLOROPHYLL,
        water=WATER,
        brown=BROWN,
        bands=np.array(BANDS),
        soils=soils,
    )
    print(f"{table.size} values, formula within {worst:.4f} of the model; soils dry/wet:\n{soils}")


if __name__ == "__main__":
    main(sys.argv[1])
