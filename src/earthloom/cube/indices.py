"""Spectral indices by their names in the catalogue Awesome Spectral Indices (Montero et al. 2023).

The catalogue, which spyndex brings along, writes formulas with letters for bands of any platform:
`N` is near infrared, `RE1` the first red edge. A band has a letter by its STAC common name, or by
its wavelength where it has none. Formulas take reflectance as a ratio, temperature in kelvin and
backscatter in linear power.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import DataError, choices
from earthloom.sensors import Band

_ALSO = {"N": "nir08", "T": "lwir11"}
"""Common names that stand for a letter where its own is not there, as on Landsat 8."""

_UNITS = {"S2REP": "nm"}
"""Units of the indices that are no plain numbers."""

CROPS = ("NDVI", "EVI", "SAVI", "CIG", "NDREI", "NDMI", "NDTI", "MNDWI")
"""Indices that tell crops and their management apart: greenness, chlorophyll by green and red edge,
canopy water, residue and tillage, flooding."""


@dataclass(frozen=True)
class Indices:
    """Indices of some pixels."""

    pixels: NDArray[np.float32]
    """(..., I, H, W); NaN where a band that counts was not seen or the formula has no value."""
    undefined: tuple[int, ...]
    """(I,): pixels that were seen but at which the formula has no value, such as x / 0."""


def compute(
    names: Sequence[str], pixels: NDArray[np.float32], bands: Sequence[Band]
) -> NDArray[np.float32]:
    """Indices (..., I, H, W) from bands (..., C, H, W), as `compute_counted` makes them."""
    return compute_counted(names, pixels, bands).pixels


def compute_counted(
    names: Sequence[str], pixels: NDArray[np.float32], bands: Sequence[Band]
) -> Indices:
    """Indices of pixels (..., C, H, W) in physical units, whose C bands are given in their order.

    Constants of a formula have the catalogue's defaults. DataError for an index that the catalogue
    does not have, or one that needs a band that is not there.
    """
    letters = letters_of(bands)
    images, undefined = [], []
    for name in names:
        missing = [part for part in _bands_in(name) if part not in letters]
        if missing:
            raise DataError(
                f"the index {name} needs {choices(_described(part) for part in missing)}; "
                f"there are: {choices(f'{k} ({bands[i].name})' for k, i in letters.items())}"
            )
        used = [letters[part] for part in _bands_in(name)]
        image = _evaluate(name, pixels, letters, bands)
        seen = ~np.isnan(pixels[..., used, :, :]).any(axis=-3)
        image[~np.isfinite(image) | ~seen] = np.nan
        images.append(image)
        undefined.append(int((np.isnan(image) & seen).sum()))
    return Indices(np.stack(images, axis=-3), tuple(undefined))


def as_bands(names: Sequence[str], gsd: float) -> tuple[Band, ...]:
    """What indices are as bands of a layer; DataError for one that the catalogue does not have."""
    return tuple(Band(_known(name), "index", _UNITS.get(name, "1"), gsd) for name in names)


def possible(bands: Sequence[Band]) -> tuple[str, ...]:
    """All indices of the catalogue that bands allow, by name."""
    letters = letters_of(bands)
    return tuple(
        name
        for name in _catalogue().indices
        if not _without_value(name) and all(part in letters for part in _bands_in(name))
    )


def letters_of(bands: Sequence[Band]) -> dict[str, int]:
    """The position of the band that each letter of the catalogue stands for, such as `N`."""
    found: dict[str, int] = {}
    for letter, described in _catalogue().bands.items():
        names = (described.common_name, _ALSO.get(letter))
        thermal = described.min_wavelength > 5000
        of_kind = [
            place
            for place, band in enumerate(bands)
            if band.kind == ("temperature" if thermal else "reflectance")
        ]
        place = next(
            (i for name in names if name for i in of_kind if bands[i].common_name == name),
            None,
        )
        if place is None:
            low, high = float(described.min_wavelength), float(described.max_wavelength)
            place = _nearest(bands, of_kind, low, high)
        if place is not None:
            found[letter] = place
    for place, band in enumerate(bands):
        if band.kind == "backscatter" and band.polarisation:
            found.setdefault(band.polarisation, place)
    return found


def _nearest(bands: Sequence[Band], places: Sequence[int], low: float, high: float) -> int | None:
    """The band without a common name that is nearest to the middle of a range of wavelengths."""
    inside = {
        place: abs(nm - (low + high) / 2)
        for place in places
        if bands[place].common_name is None
        and (nm := bands[place].wavelength_nm) is not None
        and low <= nm <= high
    }
    return min(inside, key=lambda place: inside[place], default=None)


def _evaluate(
    name: str, pixels: NDArray[np.float32], letters: Mapping[str, int], bands: Sequence[Band]
) -> NDArray[np.float32]:
    """A formula over pixels (..., C, H, W): (..., H, W), with infinities."""

    def image(letter: str) -> NDArray[np.float32]:
        return pixels[..., letters[letter], :, :]

    values: dict[str, Any] = {}
    for part in _catalogue().indices[name].bands:
        if part in letters:
            values[part] = image(part)
        elif part.startswith("lambda"):
            values[part] = _wavelength(name, bands[letters[part.removeprefix("lambda")]])
        elif _is_kernel(part):
            first, second = (image(k) if k in letters else _constant(name, k) for k in part[1:])
            width = (image("N") + image("R")) / 2
            with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
                values[part] = np.exp(-((first - second) ** 2) / (2 * width**2)) + 0 * width
        else:
            values[part] = _constant(name, part)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        made: NDArray[np.float32] = _catalogue().computeIndex(name, params=values)
    return np.array(made, np.float32)


def _bands_in(name: str) -> tuple[str, ...]:
    """The letters that an index needs. A kernel index (Camps-Valls et al. 2021) is of the width
    (N + R) / 2, for which kNDVI is tanh(NDVI^2), and so needs both."""
    needed: dict[str, None] = {}
    for part in _catalogue().indices[_known(name)].bands:
        if part.startswith("lambda"):
            needed[part.removeprefix("lambda")] = None
        elif _is_kernel(part):
            constants = _catalogue().constants
            needed |= dict.fromkeys(k for k in part[1:] + "NR" if k not in constants)
        elif part not in _catalogue().constants:
            needed[part] = None
    return tuple(needed)


def _is_kernel(part: str) -> bool:
    """Whether a formula's part is a kernel of two others, such as `kNR`."""
    return len(part) == 3 and part[0] == "k" and part[1:].isupper()


def _constant(name: str, part: str) -> float:
    value = _catalogue().constants[part].default
    if value is None:
        raise DataError(f"the index {name} needs {_described(part)}, which no band has")
    return float(value)


def _without_value(name: str) -> bool:
    """Whether an index needs a constant for which there is no default."""
    constants = _catalogue().constants
    return any(
        part in constants and not part.startswith("lambda") and constants[part].default is None
        for part in _catalogue().indices[name].bands
    )


def _wavelength(name: str, band: Band) -> float:
    if band.wavelength_nm is None:
        raise DataError(f"the index {name} needs the wavelength of band {band.name}")
    return band.wavelength_nm


def _described(part: str) -> str:
    """A letter with what it stands for."""
    catalogue = _catalogue()
    if part in catalogue.bands:
        return f"{part} ({catalogue.bands[part].long_name})"
    if part in catalogue.constants:
        return f"{part} ({catalogue.constants[part].description})"
    return f"{part} (radar)"


def _known(name: str) -> str:
    known = list(_catalogue().indices)
    if name in known:
        return name
    folded = {each.casefold(): each for each in known}
    near = get_close_matches(name.casefold(), folded, n=5, cutoff=0.5)
    raise DataError(
        f"the catalogue has no index '{name}'; near to it are: {choices(folded[k] for k in near)}"
    )


@cache
def _catalogue() -> Any:
    """The module spyndex; loaded late, as it takes a web client along that nothing here uses."""
    import spyndex

    return spyndex
