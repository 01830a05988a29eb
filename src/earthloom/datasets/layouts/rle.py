"""Run-length masks of COCO (Lin et al. 2014) as polygons.

Runs of 0 and 1 in turns, down the columns; as a list of numbers, or as text of five bits a letter,
in which each run after the third is the difference to the last but one.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from rasterio.features import shapes
from shapely.geometry import shape

from earthloom.sample import Shape2d
from earthloom.sample.target import Ring


def rings_of_runs(runs: Mapping[str, Any], size: Shape2d) -> list[Ring]:
    """The outline of `{"size": [rows, columns], "counts": ...}`, along the edges of pixels.

    A hole is cut away by parts that meet above and below it. ValueError for runs that do not fill
    an image of `size`.
    """
    counts = runs["counts"]
    numbers = _numbers(counts) if isinstance(counts, str) else [int(each) for each in counts]
    if tuple(runs["size"]) != tuple(size):
        raise ValueError(f"the mask has {tuple(runs['size'])} pixels, its image {tuple(size)}")
    if min(numbers, default=0) < 0 or sum(numbers) != size.rows * size.cols:
        raise ValueError(f"the runs are of {sum(numbers)} pixels, not {size.rows * size.cols}")
    mask = np.repeat(np.arange(len(numbers)) % 2, numbers).astype(np.uint8)
    return _outline(mask.reshape(size.cols, size.rows).T)


def _numbers(text: str) -> list[int]:
    """The runs that a text says; ValueError if it breaks off."""
    found: list[int] = []
    value = shift = 0
    for letter in text.encode("ascii"):
        bits = letter - 48
        if not 0 <= bits < 64:
            raise ValueError(f"the letter '{chr(letter)}' is none of a run-length mask")
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        found.append(value + found[-2] if len(found) > 2 else value)
        value = shift = 0
    if shift:
        raise ValueError("the run-length mask breaks off")
    return found


def _outline(mask: NDArray[np.uint8]) -> list[Ring]:
    """The outlines of what is 1 in a mask (H, W)."""
    whole = [shape(each) for each, _ in shapes(mask, mask=mask.astype(bool))]
    areas = [each for each in whole if isinstance(each, shapely.Polygon)]
    parts = [part for each in areas for part in _without_holes(each)]
    return [np.array(part.exterior.coords[:-1], np.float32) for part in parts]


def _without_holes(area: shapely.Polygon) -> list[shapely.Polygon]:
    """Polygons without holes that make up one along the edges of pixels.

    It is cut along the left edge of a hole, which so becomes a bay of the part on the right.
    """
    if not area.interiors:
        return [area]
    left, bottom, right, top = area.bounds
    cut = area.interiors[0].bounds[0]
    halves = (shapely.box(left, bottom, cut, top), shapely.box(cut, bottom, right, top))
    found = [
        part
        for half in halves
        for part in shapely.get_parts(shapely.intersection(area, half))
        if isinstance(part, shapely.Polygon)
    ]
    return [piece for part in found for piece in _without_holes(part)]
