"""Computes how bands of other instruments follow from Sentinel-2's ten bands of 10 and 20 m.

Needs `prosail` (GPL-3, J. Gomez-Dans): a tool of this script, no dependency of Earthloom.

    python -m venv prosail-env && prosail-env/bin/pip install prosail
    PYTHONPATH=src prosail-env/bin/python tools/make_bandpass_table.py src/earthloom/world/data

The simulated Earth knows its spectra in Sentinel-2's bands alone. Here spectra of 1 nm are made:
canopies of PROSPECT-D (Feret et al. 2017) and 4SAIL (Verhoef et al. 2007) over dry and wet soils,
and the materials and waters of the world's own table, interpolated. Each is averaged over the bands
of all instruments, and each other band is fitted as a weighted sum of the ten, with errors taken
relative to the band's reflectance (so that water counts as much as sand). The sum has no constant,
so that black stays black. The residual is printed and stands in the table.

Band averages use Gaussian responses at the bands' centres and widths: OLI after Barsi et al.
(2014), MODIS after Vermote, Roger & Ray (2015), Sentinel-2A after ESA.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import prosail
from numpy.typing import NDArray
from prosail.spectral_library import get_spectra

from earthloom.world.spectra import materials

Spectra = NDArray[np.float64]

WAVELENGTH = np.arange(400.0, 2501.0)
SENTINEL2 = ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12")
CENTRE = np.array([492.4, 559.8, 664.6, 704.1, 740.5, 782.8, 832.8, 864.7, 1613.7, 2202.4])
WIDTH = np.array([66.0, 36.0, 31.0, 15.0, 15.0, 20.0, 106.0, 21.0, 91.0, 175.0])

OTHERS = (
    ("oli", "coastal", 442.96, 15.98),
    ("oli", "blue", 482.04, 60.04),
    ("oli", "green", 561.41, 57.33),
    ("oli", "red", 654.59, 37.47),
    ("oli", "nir08", 864.67, 28.25),
    ("oli", "swir16", 1608.86, 84.72),
    ("oli", "swir22", 2200.73, 186.66),
    ("modis", "sur_refl_b01", 645.0, 50.0),
    ("modis", "sur_refl_b02", 858.5, 35.0),
    ("modis", "sur_refl_b03", 469.0, 20.0),
    ("modis", "sur_refl_b04", 555.0, 20.0),
    ("modis", "sur_refl_b05", 1240.0, 20.0),
    ("modis", "sur_refl_b06", 1640.0, 24.0),
    ("modis", "sur_refl_b07", 2130.0, 50.0),
)

CANOPIES = 4000
RIDGE = 3e-3


def weights(centre: Spectra, width: Spectra) -> Spectra:
    """(band, wavelength), rows sum to one."""
    sigma = width[:, None] / 2.3548
    weight = np.exp(-0.5 * ((WAVELENGTH[None] - centre[:, None]) / sigma) ** 2)
    return np.asarray(weight / weight.sum(axis=1, keepdims=True), dtype=np.float64)


def canopies(rng: np.random.Generator) -> Spectra:
    """(CANOPIES, wavelength) reflectance of canopies over mixed soils, seen from above."""
    soil = get_spectra().soil
    out = np.empty((CANOPIES, WAVELENGTH.size))
    for row in out:
        wet = rng.uniform(0, 1)
        ground = rng.uniform(0.6, 1.2) * ((1 - wet) * soil.rsoil1 + wet * soil.rsoil2)
        chlorophyll = rng.uniform(4, 60)
        row[:] = prosail.run_prosail(
            1.5,
            chlorophyll,
            0.22 * chlorophyll,
            rng.choice([0.0, rng.uniform(0, 1.6)]),
            rng.uniform(0.003, 0.024),
            0.007,
            rng.uniform(0, 1) ** 2 * 8,
            57.0,
            0.05,
            rng.uniform(30, 70),
            0.0,
            0.0,
            prospect_version="D",
            typelidf=2,
            rsoil0=ground,
            factor="SDR",
        )
    return out


def own_materials() -> Spectra:
    """(material, wavelength): the world's table and waters, a line through the values of each."""
    table = np.stack(list(materials().values()))
    return np.stack([np.interp(WAVELENGTH, CENTRE, row) for row in table])


def fit(known: Spectra, wanted: Spectra) -> tuple[Spectra, float]:
    """Weights (10,) and the relative residual (root mean square)."""
    trust = 1 / (wanted + 0.02)
    left = known * trust[:, None]
    scale = RIDGE * np.sqrt((left**2).mean())
    rows = np.vstack([left, scale * np.sqrt(len(left)) * np.eye(left.shape[1])])
    right = np.concatenate([wanted * trust, np.zeros(left.shape[1])])
    found, *_ = np.linalg.lstsq(rows, right, rcond=None)
    error = (known @ found - wanted) * trust
    return found, float(np.sqrt((error**2).mean()))


def main(folder: str) -> None:
    rng = np.random.default_rng(0)
    others = np.repeat(own_materials(), 60, axis=0)
    others = others * rng.uniform(0.7, 1.3, (len(others), 1))
    spectra = np.vstack([canopies(rng), others])
    known = spectra @ weights(CENTRE, WIDTH).T
    with (Path(folder) / "bandpass.csv").open("w", newline="", encoding="utf-8") as file:
        file.write("# Weights of Sentinel-2's bands in bands of other instruments;")
        file.write(" tools/make_bandpass_table.py.\n")
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["instrument", "band", "centre", "width", "residual", *SENTINEL2])
        for instrument, band, centre, width in OTHERS:
            wanted = spectra @ weights(np.array([centre]), np.array([width]))[0]
            found, error = fit(known, wanted)
            writer.writerow(
                [instrument, band, centre, width, f"{error:.4f}", *(f"{w:.5f}" for w in found)]
            )
            print(instrument, band, f"{error:.4f}", np.round(found, 3))


if __name__ == "__main__":
    main(sys.argv[1])
