"""The work of making a map: its parts, each done alone, on whatever worker."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from earthloom.maps.clip import Clip
from earthloom.maps.part_work import PartWork, turn
from earthloom.maps.parts import Finish, PartFile, Sums
from earthloom.maps.predict import ahead, predict_part
from earthloom.maps.sources import ModelSource, PixelSource
from earthloom.maps.tiling import Layout, Part
from earthloom.memory import give_back_memory
from earthloom.sample import Moments, Place


@dataclass(frozen=True)
class MapWork(PartWork):
    """Predicting the parts of a map; see `PartWork` for the fields that have no words here."""

    model: ModelSource
    pixels: PixelSource
    layout: Layout
    finish: Finish
    folder: Path
    batch: int
    moments: Moments | None = None
    place: Place | None = None

    @property
    def clip(self) -> Clip | None:
        """See `PartWork`."""
        return self.finish.clip

    def make(self, part: Part, path: Path) -> int:
        """Predicts a part and writes its file; returns how many pixels were predicted."""
        predictor = self.model.open()
        pixels = self.pixels_of(part)
        with ahead(pixels.batches()) as batches, turn:
            file = PartFile(part, predictor.planes, self.finish)
            _fill(file, predict_part(predictor, self.layout, part, batches))
        file.write(path)
        rows, cols = part.whole.shape
        return rows * cols


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
