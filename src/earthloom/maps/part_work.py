"""Work on the parts of a map, each done alone, on whatever worker."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from itertools import compress
from pathlib import Path
from threading import Lock

from earthloom.maps.clip import Clip
from earthloom.maps.parts import is_whole
from earthloom.maps.predict import PartPixels
from earthloom.maps.sources import PixelSource
from earthloom.maps.tiling import Layout, Part
from earthloom.sample import Moments, Place, Window

turn = Lock()
"""One part at a time has the model of this process. The next one reads its first windows meanwhile,
and the last one writes its file, so that the model never waits and little memory is taken twice."""


class PartWork(ABC):
    """All that a worker needs, wherever it runs; small, since it is sent to each of them.

    A subclass is a frozen dataclass with these fields and what it does with a part's pixels.
    """

    pixels: PixelSource
    layout: Layout
    folder: Path
    """Of the parts' files; all workers see it."""
    batch: int
    """Windows, at most, that the model is given at a time."""
    moments: Moments | None
    """Of the area, where the model compares with it."""
    place: Place | None
    """Of the area's base grid, for encoders that look at where a chip is."""

    @property
    @abstractmethod
    def clip(self) -> Clip | None:
        """What is mapped of the layout; None for all of it."""

    @abstractmethod
    def make(self, part: Part, path: Path) -> int:
        """Does a part and writes its file; returns how much was done."""

    def units(self) -> list[Part]:
        """The parts of which anything is mapped, row by row."""
        parts = self.layout.parts()
        wanted = self._wanted([part.whole for part in parts])
        return [part for part in parts if part.whole in wanted]

    def do(self, part: Part) -> int:
        """Does a part, unless its file is there; returns how much was done, see `make`."""
        path = self.path_of(part)
        return 0 if is_whole(path) else self.make(part, path)

    def path_of(self, part: Part) -> Path:
        """The file of a part."""
        return self.folder / f"{part.name}.npz"

    def pixels_of(self, part: Part) -> PartPixels:
        """The pixels of a part's windows of which anything is mapped."""
        wanted = self._wanted(self.layout.windows(part))
        opened = self.pixels.open()
        return PartPixels(opened, self.layout, part, self.batch, wanted, self.moments, self.place)

    def _wanted(self, windows: Sequence[Window]) -> frozenset[Window]:
        """Those windows of which anything is mapped."""
        clip = self.clip
        if clip is None:
            return frozenset(windows)
        return frozenset(compress(windows, clip.meets(windows)))
