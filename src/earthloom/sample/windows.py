"""Large images of many sizes as chips of one size, so that no part of them is lost."""

import bisect
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

from earthloom.errors import ContractError
from earthloom.sample.chip import Chip, LayerSpec
from earthloom.sample.column import Column
from earthloom.sample.fitted import cut_chip
from earthloom.sample.moving import LEAST_SEEN
from earthloom.sample.place import Shape2d, Window
from earthloom.sample.samples import Samples, chips_of


class Windows:
    """Samples cut into windows that cover each of them; a `Samples`.

    Windows of one image share its group, and are named after it with their first row and column.
    The last of a row or column is moved back to the image's edge; an image smaller than a window is
    padded as by `Fitted`. The image that was read last is kept: windows in their order read each
    image once, and any other order is best taken from a store that was written in it.
    """

    def __init__(
        self,
        samples: Samples,
        size: int,
        overlap: int = 0,
        shapes: Sequence[Shape2d] | None = None,
        least_seen: float = LEAST_SEEN,
    ) -> None:
        """`shapes` are those of the samples; without them every sample is read once to know it.

        `overlap` is how many rows and columns neighbours share, so that things at an edge are whole
        in one of them. ContractError for sizes that do not fit the layers.
        """
        self._step = math.lcm(*(spec.factor for spec in samples.specs.values()))
        if size < 1 or overlap < 0 or overlap >= size or size % self._step or overlap % self._step:
            raise ContractError(
                f"windows of {size} pixels with an overlap of {overlap} cannot be cut; both are "
                f"multiples of {self._step}, and the overlap is smaller"
            )
        known = [chip.shape for chip in chips_of(samples)] if shapes is None else shapes
        if len(known) != len(samples):
            raise ContractError(f"{len(known)} shapes are given for {len(samples)} samples")
        self.samples, self.size, self.least_seen = samples, size, least_seen
        self._stride = size - overlap
        self._corners = [self._grid(shape) for shape in known]
        self._ends = list(accumulate(len(rows) * len(cols) for rows, cols in self._corners))
        self._last: tuple[int, Chip] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_last": None}  # a copy in another process reads for itself

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        return self.samples.specs

    @property
    def groups(self) -> Sequence[str]:
        groups = self.samples.groups
        return Column(len(self), lambda index: groups[self.image_of(index)])

    @property
    def shape(self) -> Shape2d:
        """Of every chip."""
        return Shape2d(self.size, self.size)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def image_of(self, index: int) -> int:
        """The number of the sample that a window is of."""
        return bisect.bisect_right(self._ends, index)

    def __getitem__(self, index: int) -> Chip:
        if not 0 <= index < len(self):
            raise IndexError(f"window {index} of {len(self)}")
        image = self.image_of(index)
        rows, cols = self._corners[image]
        at = index - (self._ends[image] - len(rows) * len(cols))
        row, col = rows[at // len(cols)], cols[at % len(cols)]
        chip = self._chip(image)
        part = cut_chip(chip, Window(row, col, self.shape), self.least_seen)
        return replace(part, id=f"{chip.id}_{row}_{col}")

    def _chip(self, image: int) -> Chip:
        # Threads may put back each other's chip: then one is read again, and nothing is wrong.
        last = self._last
        if last is None or last[0] != image:
            last = self._last = (image, self.samples[image])
        return last[1]

    def _grid(self, shape: Shape2d) -> tuple[list[int], list[int]]:
        """First rows and first columns of an image's windows."""
        rows, cols = (self._starts(side) for side in shape)
        return rows, cols

    def _starts(self, side: int) -> list[int]:
        last = max(side - self.size, 0)
        return [*range(0, last, self._stride), last]
