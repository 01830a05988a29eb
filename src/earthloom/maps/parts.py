"""Parts of a map: each is predicted alone, and leaves one file.

A part predicts the windows that start in it. Its core, which no other part's window reaches, is
finished there and then. Of the frame round the core it keeps the sums, to which `stitch` adds those
of the neighbours; so no window is predicted twice, and it does not matter in which order, where, or
after how many interruptions parts are made.

A part's file is a zip of numpy arrays:

| name | shape | what it is |
|---|---|---|
| `core0`, `core1`, ... | (bands, h, w) | the finished core of each output |
| `top`, `bottom` | (K + 1, rows, W) | sums of what is shared with the parts above and below |
| `left`, `right` | (K + 1, h, cols) | sums beside the core |
"""

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from earthloom.maps.blend import mean_of
from earthloom.maps.clip import Clip
from earthloom.maps.outputs import Output
from earthloom.maps.tiling import Part
from earthloom.sample import Shape2d, Window

Sums = NDArray[np.float32]


@dataclass(frozen=True)
class Finish:
    """How blended sums become numbers in files."""

    outputs: tuple[Output, ...]
    clip: Clip | None

    def numbers(self, row: int, col: int, sums: Sums) -> list[NDArray[Any]]:
        """Each output's numbers of the pixels from a row and a column on, whose sums and weights
        are given; the sums are written over."""
        mean = mean_of(sums)
        if self.clip is not None:
            shape = Shape2d(mean.shape[1], mean.shape[2])
            mean[:, self.clip.outside(Window(row, col, shape))] = np.nan
        return [output.numbers(mean) for output in self.outputs]


class PartFile:
    """Fills a part's arrays strip by strip, and writes them."""

    def __init__(self, part: Part, planes: int, finish: Finish) -> None:
        self._part, self._finish = part, finish
        rows, cols = part.rows, part.cols
        core = rows.after - rows.before, cols.after - cols.before
        self._cores = [
            np.empty((len(output.bands), *core), output.dtype) for output in finish.outputs
        ]
        self._frame = {
            name: np.zeros((planes + 1, *piece.shape), np.float32)
            for name, piece in frame_pieces(part).items()
        }

    def add(self, row: int, sums: Sums) -> None:
        """Takes a strip (K + 1, rows, W) of the part from a row of the map on."""
        rows = self._part.rows
        for name, first, last in (
            ("top", rows.start, rows.before),
            ("core", rows.before, rows.after),
            ("bottom", rows.after, rows.end),
        ):
            here = slice(max(first, row), min(last, row + sums.shape[1]))
            if here.start >= here.stop:
                continue
            strip = sums[:, here.start - row : here.stop - row]
            place = slice(here.start - first, here.stop - first)
            if name == "core":
                self._add_to_core(here.start, place, strip)
            else:
                self._frame[name][:, place] = strip

    def _add_to_core(self, row: int, place: slice, strip: Sums) -> None:
        cols = self._part.cols
        left, right = cols.before - cols.start, cols.after - cols.start
        self._frame["left"][:, place] = strip[..., :left]
        self._frame["right"][:, place] = strip[..., right:]
        if left == right:
            return
        finished = self._finish.numbers(row, cols.before, strip[..., left:right])
        for core, numbers in zip(self._cores, finished, strict=True):
            core[:, place] = numbers

    def write(self, path: Path) -> None:
        """Writes the file whole or not at all, also if another worker writes it at this time."""
        partial = path.with_name(f".{path.name}.{uuid4().hex}")
        cores = {f"core{number}": core for number, core in enumerate(self._cores)}
        try:
            with partial.open("wb") as stream:
                np.savez(stream, **cores, **self._frame)  # type: ignore[arg-type]
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


def is_whole(path: Path) -> bool:
    """Whether a part's file is there, and is not damaged, as by a machine that lost power."""
    try:
        with zipfile.ZipFile(path) as file:
            return file.testzip() is None
    except (FileNotFoundError, zipfile.BadZipFile):
        return False


def read_core(path: Path, number: int) -> NDArray[Any]:
    """The finished core (bands, h, w) of an output."""
    return _member(path, f"core{number}")


def frame_pieces(part: Part) -> dict[str, Window]:
    """Where in the map the pieces of a part's frame lie, by name."""
    rows, cols = part.rows, part.cols
    wide, high = cols.end - cols.start, rows.after - rows.before
    return {
        "top": Window(rows.start, cols.start, Shape2d(rows.before - rows.start, wide)),
        "bottom": Window(rows.after, cols.start, Shape2d(rows.end - rows.after, wide)),
        "left": Window(rows.before, cols.start, Shape2d(high, cols.before - cols.start)),
        "right": Window(rows.before, cols.after, Shape2d(high, cols.end - cols.after)),
    }


def read_piece(path: Path, name: str) -> Sums:
    """The sums and weights (K + 1, h, w) of a piece of a part's frame."""
    return _member(path, name)


def _member(path: Path, name: str) -> NDArray[Any]:
    with np.load(path, allow_pickle=False) as arrays:
        member: NDArray[Any] = arrays[name]
    return member
