"""What a chip's answer may be beside class codes of pixels, which stand in `Chip.label`."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from earthloom.errors import ContractError

Ring = NDArray[np.float32]
"""(M, 2) x and y of a polygon's corners, in pixels of the base grid; not closed."""


@dataclass(frozen=True)
class SceneClasses:
    """Classes of a whole chip: one, or all that it shows; none at all is an answer too."""

    codes: tuple[int, ...]
    """Class codes from 1 on, rising, each once."""

    def __post_init__(self) -> None:
        if any(code < 1 for code in self.codes) or any(a >= b for a, b in pairwise(self.codes)):
            raise ContractError(f"classes of a scene must rise from 1 on, but are {self.codes}")


@dataclass(frozen=True)
class SceneValue:
    """A number for a whole chip, such as a yield."""

    value: float
    """NaN where it is not known."""
    unit: str


@dataclass(frozen=True)
class PixelValues:
    """A number for every pixel, such as a height."""

    values: NDArray[np.float32]
    """(H, W) on the base grid; NaN where it is not known."""
    unit: str

    def __post_init__(self) -> None:
        _expect(self.values.ndim == 2, f"pixel values must be (H, W), not {self.values.shape}")


@dataclass(frozen=True)
class Boxes:
    """Boxes around things, upright or turned."""

    corners: NDArray[np.float32]
    """(N, 4, 2) x (to the right) and y (down) of the four corners in pixels of the base grid, from
    the upper left corner of the image: edges, so that the whole image is 0, 0 to W, H. The corners
    follow each other around the box; those of an upright one begin at its upper left."""
    codes: NDArray[np.uint8]
    """(N,) class codes."""

    def __post_init__(self) -> None:
        count = len(self.codes)
        _expect(
            self.corners.shape == (count, 4, 2) and self.codes.shape == (count,),
            f"corners {self.corners.shape} and codes {self.codes.shape} of boxes must be "
            "(N, 4, 2) and (N,)",
        )

    @staticmethod
    def upright(bounds: NDArray[np.float32], codes: NDArray[np.uint8]) -> "Boxes":
        """Boxes from left, top, right, bottom (N, 4)."""
        left, top, right, bottom = np.asarray(bounds, np.float32).reshape(-1, 4).T
        x = np.stack([left, right, right, left], axis=-1)
        y = np.stack([top, top, bottom, bottom], axis=-1)
        return Boxes(np.stack([x, y], axis=-1), codes)

    @property
    def are_upright(self) -> NDArray[np.bool_]:
        """(N,) whether the edges of each run along rows and columns."""
        edges = np.roll(self.corners, -1, axis=1) - self.corners == 0
        # Edge by edge, x and y stand still in turns.
        along_x, along_y = edges[:, 0, 1] & edges[:, 2, 1], edges[:, 0, 0] & edges[:, 2, 0]
        first = along_x & edges[:, 1, 0] & edges[:, 3, 0]
        return np.asarray(first | (along_y & edges[:, 1, 1] & edges[:, 3, 1]))

    @property
    def bounds(self) -> NDArray[np.float32]:
        """(N, 4) left, top, right, bottom of the upright boxes around these."""
        return np.concatenate([self.corners.min(axis=1), self.corners.max(axis=1)], axis=1)


@dataclass(frozen=True)
class Instances:
    """Things with an outline each: as polygons, or as an image of their numbers, or both."""

    codes: NDArray[np.uint8]
    """(K,) class codes."""
    polygons: tuple[tuple[Ring, ...], ...] | None = None
    """K things of one or more rings each; parts of a thing add up, there are no holes."""
    ids: NDArray[np.int32] | None = None
    """(H, W) number of the thing from 1 to K, 0 where there is none."""

    def __post_init__(self) -> None:
        count = len(self.codes)
        _expect(
            self.polygons is not None or self.ids is not None,
            "instances need polygons, or an image of their numbers",
        )
        if self.polygons is not None:
            _expect(
                len(self.polygons) == count,
                f"{len(self.polygons)} polygons do not fit {count} class codes",
            )
        if self.ids is not None:
            most = int(self.ids.max(initial=0))
            _expect(self.ids.ndim == 2, f"numbers of things must be (H, W), not {self.ids.shape}")
            _expect(most <= count, f"thing number {most} has no class; there are {count} codes")


@dataclass(frozen=True)
class Counts:
    """How many things of each class a chip shows."""

    codes: NDArray[np.uint8]
    """(K,) class codes."""
    numbers: NDArray[np.float32]
    """(K,) counts; not whole where they are estimates."""

    def __post_init__(self) -> None:
        _expect(
            self.codes.shape == self.numbers.shape and self.codes.ndim == 1,
            f"codes {self.codes.shape} and numbers {self.numbers.shape} of counts must be (K,)",
        )


Target = SceneClasses | SceneValue | PixelValues | Boxes | Instances | Counts


def says_anything(target: Target | None) -> bool:
    """A chip without things is an answer; a number that is not known is none."""
    match target:
        case None:
            return False
        case SceneValue(value=value):
            return not math.isnan(value)
        case PixelValues(values=values):
            return not bool(np.isnan(values).all())
        case _:
            return True


def shape_of(target: Target) -> tuple[int, int] | None:
    """Rows and columns of the pixels that an answer speaks of; None if of no single pixels."""
    match target:
        case PixelValues(values=plane) | Instances(ids=np.ndarray() as plane):
            rows, cols = plane.shape
            return rows, cols
        case _:
            return None


def counts_of(target: Boxes | Instances) -> Counts:
    """How many things of each class there are, in the order of the codes."""
    codes, numbers = np.unique(target.codes, return_counts=True)
    return Counts(codes.astype(np.uint8), numbers.astype(np.float32))


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ContractError(otherwise)
