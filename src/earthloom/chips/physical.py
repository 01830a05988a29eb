"""Stored numbers of a block to physical units in a chip, with what is valid, in one pass."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from earthloom.archive import Asset
from earthloom.cube.compiled import compiled
from earthloom.cube.read import Stored, to_physical
from earthloom.sample import Shape2d

_WHOLE = ("uint8", "int16", "uint16")
_COMPILED = (*_WHOLE, "float32")
"""Numbers that a float32 holds exactly; others, and curved transforms, take the way of
`Reader.physical`."""


class Overlap(NamedTuple):
    """The part of a window that lies in one block."""

    row: int
    col: int
    """In the block, of the part's first pixel."""
    to_row: int
    to_col: int
    """In the window."""
    shape: Shape2d


@dataclass(frozen=True)
class Units:
    """How the stored numbers of a layer's bands become physical ones."""

    assets: tuple[Asset, ...]
    nodata: NDArray[np.float64]
    """(C,): the number that stands for nothing; NaN where there is none."""
    scale: NDArray[np.float32]
    offset: NDArray[np.float32]
    linear: bool

    @staticmethod
    def of(assets: tuple[Asset, ...], nodata: list[float | None]) -> "Units":
        """Of one band or more, each with the nodata of its file."""
        return Units(
            assets,
            np.array([np.nan if each is None else each for each in nodata], np.float64),
            np.array([asset.scale for asset in assets], np.float32),
            np.array([asset.offset for asset in assets], np.float32),
            all(asset.transform == "linear" for asset in assets),
        )


def pour(
    stored: NDArray[Any],
    units: Units,
    part: Overlap,
    pixels: NDArray[np.float32],
    valid: NDArray[np.bool_],
) -> None:
    """Fills a part of `pixels` (C, H, W) and `valid` (H, W) from a block (C, h, w).

    A pixel is valid where every band has a number; elsewhere all its bands are NaN.
    """
    if not (units.linear and stored.dtype.name in _COMPILED):
        pour_slowly(stored, units, part, pixels, valid)
        return
    flat = (part.row, part.col, part.to_row, part.to_col, *part.shape)
    if stored.dtype.name in _WHOLE:
        limits = np.iinfo(stored.dtype)
        with np.errstate(invalid="ignore"):
            told = (units.nodata >= limits.min) & (units.nodata <= limits.max)
            told &= units.nodata == np.rint(units.nodata)
        nothing = np.where(told, units.nodata, 0).astype(stored.dtype)
        _pour_whole(stored, nothing, told, units.scale, units.offset, flat, pixels, valid)
    else:
        nothing = units.nodata.astype(np.float32)
        _pour_floats(stored, nothing, units.scale, units.offset, flat, pixels, valid)


def pour_slowly(
    stored: NDArray[Any],
    units: Units,
    part: Overlap,
    pixels: NDArray[np.float32],
    valid: NDArray[np.bool_],
) -> None:
    """As `pour`, of any numbers and by any transform, in numpy."""
    rows, cols = part.shape
    source = stored[:, part.row : part.row + rows, part.col : part.col + cols]
    target = pixels[:, part.to_row : part.to_row + rows, part.to_col : part.to_col + cols]
    for band, asset in enumerate(units.assets):
        nodata = float(units.nodata[band])
        target[band] = to_physical(Stored(source[band], nodata), asset)
    there = np.isfinite(target).all(axis=0)
    target[:, ~there] = np.nan
    valid[part.to_row : part.to_row + rows, part.to_col : part.to_col + cols] = there


@compiled
def _pour_whole(
    stored: NDArray[Any],
    nodata: NDArray[Any],
    told: NDArray[np.bool_],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    part: tuple[int, int, int, int, int, int],
    pixels: NDArray[np.float32],
    valid: NDArray[np.bool_],
) -> None:
    """Whole numbers, whose products are finite; `told` says which bands have a nodata."""
    row, col, to_row, to_col, rows, cols = part
    # Loops over numbers of one width each run several pixels at a time.
    lost = np.empty(cols, stored.dtype)
    for y in range(rows):
        lost[:] = 0
        for band in range(len(scale)):
            # Parts of rows of whole arrays are known to lie without gaps; views of parts are not.
            source = stored[band, row + y, col : col + cols]
            target = pixels[band, to_row + y, to_col : to_col + cols]
            by, plus, nothing = scale[band], offset[band], nodata[band]
            for x in range(cols):
                target[x] = np.float32(source[x]) * by + plus
            if told[band]:
                for x in range(cols):
                    lost[x] |= source[x] == nothing
        there, count = valid[to_row + y, to_col : to_col + cols], 0
        for x in range(cols):
            there[x] = lost[x] == 0
            count += lost[x]
        if count:
            _hide(pixels, to_row + y, to_col, there)


@compiled
def _pour_floats(
    stored: NDArray[np.float32],
    nodata: NDArray[np.float32],
    scale: NDArray[np.float32],
    offset: NDArray[np.float32],
    part: tuple[int, int, int, int, int, int],
    pixels: NDArray[np.float32],
    valid: NDArray[np.bool_],
) -> None:
    row, col, to_row, to_col, rows, cols = part
    greatest = np.float32(3.4028234663852886e38)
    for y in range(rows):
        there = valid[to_row + y, to_col : to_col + cols]
        there[:] = True
        for band in range(len(scale)):
            source = stored[band, row + y, col : col + cols]
            target = pixels[band, to_row + y, to_col : to_col + cols]
            by, plus, nothing = scale[band], offset[band], nodata[band]
            for x in range(cols):
                number = source[x]
                physical = number * by + plus
                target[x] = physical
                # A NaN or an infinity is not below the greatest number.
                there[x] &= (number != nothing) & (abs(physical) <= greatest)
        _hide(pixels, to_row + y, to_col, there)


@compiled
def _hide(pixels: NDArray[np.float32], y: int, first: int, there: NDArray[np.bool_]) -> None:
    """NaN in a part of a row, from column `first` on, of every band where something is missing."""
    for x in range(len(there)):
        if not there[x]:
            pixels[:, y, first + x] = np.nan
