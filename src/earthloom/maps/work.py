"""The work of making a map: its parts, each done alone, on whatever worker."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from threading import Lock

from earthloom.maps.parts import Finish, PartFile, Sums, is_whole
from earthloom.maps.predict import PartPixels, ahead, predict_part
from earthloom.maps.sources import ModelSource, PixelSource
from earthloom.maps.tiling import Layout, Part
from earthloom.memory import give_back_memory
from earthloom.sample import Moments, Window

_turn = Lock()
"""One part at a time has the model of this process. The next one reads its first windows meanwhile,
and the last one writes its file, so that the model never waits and little memory is taken twice."""


@dataclass(frozen=True)
class MapWork:
    """All that a worker needs, wherever it runs; small, since it is sent to each of them."""

    model: ModelSource
    pixels: PixelSource
    layout: Layout
    finish: Finish
    folder: Path
    """Of the parts' files; all workers see it."""
    batch: int
    """Windows, at most, that the model is given at a time."""
    moments: Moments | None = None
    """Of the area, where the model compares with it."""

    def units(self) -> list[Part]:
        """The parts of which anything is mapped, row by row."""
        parts = self.layout.parts()
        wanted = self._wanted([part.whole for part in parts])
        return [part for part in parts if part.whole in wanted]

    def do(self, part: Part) -> int:
        """Predicts a part and writes its file, unless it is there; returns how many pixels were
        predicted."""
        path = self.path_of(part)
        if is_whole(path):
            return 0
        predictor = self.model.open()
        wanted = self._wanted(self.layout.windows(part))
        pixels = PartPixels(self.pixels.open(), self.layout, part, self.batch, wanted, self.moments)
        with ahead(pixels.batches()) as batches, _turn:
            file = PartFile(part, predictor.planes, self.finish)
            _fill(file, predict_part(predictor, self.layout, part, batches))
        file.write(path)
        rows, cols = part.whole.shape
        return rows * cols

    def path_of(self, part: Part) -> Path:
        """The file of a part."""
        return self.folder / f"{part.name}.npz"

    def _wanted(self, windows: Sequence[Window]) -> frozenset[Window]:
        """Those windows of which anything is mapped."""
        clip = self.finish.clip
        if clip is None:
            return frozenset(windows)
        return frozenset(compress(windows, clip.meets(windows)))


def _fill(file: PartFile, strips: Iterator[tuple[int, Sums]]) -> None:
    """Finishes each strip in a thread while the next one is predicted."""
    with ThreadPoolExecutor(1) as thread:
        before: Future[None] | None = None
        for row, sums in strips:
            if before is not None:
                before.result()
            before = thread.submit(file.add, row, sums)
            give_back_memory()
        if before is not None:
            before.result()
