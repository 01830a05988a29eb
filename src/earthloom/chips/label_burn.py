"""Labels on a grid of pixels, and how several of them become one."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from rasterio.features import rasterize
from shapely.geometry.base import BaseGeometry

from earthloom.chips.label_vocabulary import IGNORE
from earthloom.sample import UNLABELLED


@dataclass(frozen=True)
class Burned:
    """Labels of the pixels of a grid."""

    code: NDArray[np.uint8]
    """(H, W) class codes, `UNLABELLED` where nothing is said or where labels disagree, `IGNORE`
    where a label says that the pixel is of no use."""
    weight: NDArray[np.float32]
    """(H, W) the greatest weight of the labels of a pixel; 0 where it has no class."""
    disputed: NDArray[np.bool_]
    """(H, W) True where labels disagree on the class."""

    def merged(self, other: "Burned") -> "Burned":
        """Both together: what they call differently is not labelled, and `IGNORE` wins."""
        either = np.where(self.code == UNLABELLED, other.code, self.code)
        apart = (self.code != other.code) & (self.code > 0) & (other.code > 0)
        ignored = (self.code == IGNORE) | (other.code == IGNORE)
        return _burned(
            either, np.maximum(self.weight, other.weight),
            self.disputed | other.disputed | apart, ignored,
        )  # fmt: skip

    def with_background(self, code: int) -> "Burned":
        """The same, with a class for the pixels of which nothing is said; `UNLABELLED` for none."""
        if code == UNLABELLED:
            return self
        bare = (self.code == UNLABELLED) & ~self.disputed
        return Burned(
            np.where(bare, code, self.code).astype(np.uint8),
            np.where(bare, 1.0, self.weight).astype(np.float32),
            self.disputed,
        )


def nothing(shape: tuple[int, int]) -> Burned:
    """A grid (rows, columns) without labels."""
    return Burned(np.zeros(shape, np.uint8), np.zeros(shape, np.float32), np.zeros(shape, np.bool_))


def burn_pixels(
    pixel: NDArray[np.int64],
    code: NDArray[np.uint8],
    weight: NDArray[np.float32],
    shape: tuple[int, int],
) -> Burned:
    """Labels of single pixels, by their positions (N,) in the flat grid, in one pass."""
    size = shape[0] * shape[1]
    ignored = np.zeros(size, np.bool_)
    ignored[pixel[code == IGNORE]] = True
    classes = code != IGNORE
    least, most = np.full(size, IGNORE, np.uint8), np.zeros(size, np.uint8)
    np.minimum.at(least, pixel[classes], code[classes])
    np.maximum.at(most, pixel[classes], code[classes])
    greatest = np.zeros(size, np.float32)
    np.maximum.at(greatest, pixel, weight)
    flat = (most, greatest, (most > least) & (most > 0), ignored)
    return _burned(*(each.reshape(shape) for each in flat))  # type: ignore[arg-type]


def burn_shapes(
    shapes: Sequence[BaseGeometry],
    code: NDArray[np.uint8],
    weight: NDArray[np.float32],
    box: GeoBox,
    all_touched: bool,
) -> Burned:
    """Labels of lines or polygons in the grid's CRS: pixels whose centre they hold, or that they
    touch."""
    classes = code != IGNORE
    rising = np.argsort(code, kind="stable")
    rising = rising[classes[rising]]
    # The last one burned stays: the greatest code that lies on a pixel, and the least one.
    most = _burn(((shapes[i], int(code[i])) for i in rising.tolist()), box, all_touched, np.uint8)
    least = _burn(
        ((shapes[i], int(code[i])) for i in rising[::-1].tolist()), box, all_touched, np.uint8
    )
    unused = np.flatnonzero(~classes)
    ignored = _burn(((shapes[i], 1) for i in unused.tolist()), box, all_touched, np.uint8)
    if len(weight) and weight.min() == weight.max():
        same = np.full(most.shape, weight[0], np.float32)
        return _burned(most.astype(np.uint8), same, most != least, ignored == 1)
    order = np.argsort(weight, kind="stable")
    pairs = ((shapes[i], float(weight[i])) for i in order.tolist())
    greatest = _burn(pairs, box, all_touched, np.float32)
    return _burned(most.astype(np.uint8), greatest.astype(np.float32), most != least, ignored == 1)


def _burn(
    pairs: Iterable[tuple[BaseGeometry, float]],
    box: GeoBox,
    all_touched: bool,
    dtype: type[np.generic],
) -> NDArray[np.generic]:
    shape, listed = (box.shape.y, box.shape.x), list(pairs)
    if not listed:
        return np.zeros(shape, dtype)
    burned: NDArray[np.generic] = rasterize(
        listed, out_shape=shape, transform=box.affine, fill=0, all_touched=all_touched, dtype=dtype
    )
    return burned


def _burned(
    code: NDArray[np.uint8],
    weight: NDArray[np.float32],
    disputed: NDArray[np.bool_],
    ignored: NDArray[np.bool_],
) -> Burned:
    disputed = disputed & ~ignored
    code = np.where(ignored, IGNORE, np.where(disputed, UNLABELLED, code)).astype(np.uint8)
    classed = (code != UNLABELLED) & (code != IGNORE)
    return Burned(code, np.where(classed, weight, 0.0).astype(np.float32), disputed)
