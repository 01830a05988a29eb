"""What image files tell of themselves: how wide their pixels are, what their bands are called."""

from dataclasses import replace
from pathlib import Path
from typing import Protocol, runtime_checkable

from rasterio.io import DatasetReader

from earthloom.datasets.imagery import Imagery, metres_of, opened
from earthloom.datasets.samples import LabelledSamples, Reader

_ALIKE = 0.1
"""Pixels that are so much wider or narrower than nominal ones, by share, are those."""


@runtime_checkable
class OfFiles(Reader, Protocol):
    """A reader whose pixels are those of image files."""

    @property
    def imagery(self) -> Imagery: ...

    def file(self, index: int) -> Path | None:
        """The image of a sample."""
        ...

    def seen_as(self, imagery: Imagery) -> Reader:
        """The same files, and other words for what they hold."""
        ...


def as_told(samples: LabelledSamples, gsd: float | None) -> LabelledSamples:
    """Samples with what their first file tells, and notes of that in their report.

    With `gsd` None, the ground sampling distance is that of the file, if it has a place.
    """
    reader = samples.reader
    file = reader.file(0) if isinstance(reader, OfFiles) and len(samples) else None
    if file is None or not isinstance(reader, OfFiles):
        return samples
    with opened(file) as source:
        bands = _bands(source, reader.imagery)
        found = _gsd(source, reader.imagery) if gsd is None else reader.imagery.spec.gsd
    notes = [*samples.report.read, *filter(None, [bands])]
    if found != reader.imagery.spec.gsd:
        notes.append(f"{found:g} m a pixel, as the files say")
        imagery = replace(reader.imagery, spec=replace(reader.imagery.spec, gsd=found))
        reader = reader.seen_as(imagery)
    return replace(samples, reader=reader, report=replace(samples.report, read=tuple(notes)))


def _bands(source: DatasetReader, imagery: Imagery) -> str:
    named = imagery.named_in(source)
    if named:
        return "" if named == imagery.indexes else "bands by their names in the files"
    more = imagery.surplus(source)
    return f"the first {max(imagery.indexes)} of {source.count} bands" if more else ""


def _gsd(source: DatasetReader, imagery: Imagery) -> float:
    """Metres; a nominal distance of the sensor where the file's is about that."""
    metres = metres_of(source)
    if metres is None:
        return imagery.spec.gsd
    nominal = [imagery.spec.gsd, *(band.gsd for band in imagery.sensor.bands)]
    near = [each for each in nominal if abs(metres / each - 1) < _ALIKE]
    return near[0] if near else float(f"{metres:.2g}")
