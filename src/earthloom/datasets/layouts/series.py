"""Tables of labelled pixel series, see `earthloom.chips.series`."""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from earthloom.chips.series import SeriesSamples, read_table
from earthloom.datasets.imagery import Imagery
from earthloom.datasets.layouts.items import codes_of
from earthloom.datasets.layouts.series_rows import classes_of_rows, series_of_rows
from earthloom.datasets.layouts.tables import read_table as read_rows
from earthloom.datasets.samples import LabelledSamples, ReadReport
from earthloom.errors import DataError, LabelError, choices
from earthloom.sample import Chip, LayerSpec
from earthloom.sample.target import Target


@dataclass(frozen=True)
class SeriesItems:
    """Series whose class is the label of their only pixel; a `Reader`."""

    series: SeriesSamples

    @property
    def specs(self) -> Mapping[str, LayerSpec]:
        return self.series.specs

    @property
    def groups(self) -> Sequence[str]:
        return self.series.groups

    def __len__(self) -> int:
        return len(self.series)

    def chip(self, index: int) -> Chip:
        return self.series[index]

    def target(self, index: int) -> Target | None:
        return None


def read_npz(
    folder: Path,
    imagery: Imagery,
    table: str,
    classes: Sequence[str] = (),
    block: float = 1.0,
) -> LabelledSamples:
    """The series of `folder/table`; of its bands those that the imagery names.

    A `.npz` holds physical values, which `scale` multiplies; another table a row a date, see
    `series_of_rows`. Where the imagery names all of the sensor's bands, the table may lack some.

    Classes are those of the table in the order of the alphabet, or `classes`; groups are blocks of
    `block` degrees.
    """
    file = folder / table
    if file.suffix.lower() != ".npz":
        return _of_rows(file, imagery, classes, block)
    names = tuple(classes) or _names(file)
    whole = imagery.spec.bands == tuple(band.name for band in imagery.sensor.bands)
    bands = () if whole else imagery.spec.bands
    series = read_table(file, imagery.sensor, bands, codes_of(names), block)
    if imagery.scale is not None:
        series = replace(series, pixels=series.pixels * np.float32(imagery.scale))
    report = ReadReport(len(series))
    return LabelledSamples(file.stem, "series-class", names, SeriesItems(series), report)


def _of_rows(file: Path, imagery: Imagery, classes: Sequence[str], block: float) -> LabelledSamples:
    rows = read_rows(file)
    names = tuple(classes) or classes_of_rows(rows, file)
    series = series_of_rows(rows, file, imagery, codes_of(names), block)
    times = f"{len(series.spec.dates)} dates at most"
    report = ReadReport(len(series), read=(f"series of {choices(series.spec.bands)}, {times}",))
    return LabelledSamples(file.stem, "series-class", names, SeriesItems(series), report)


def _names(file: Path) -> tuple[str, ...]:
    """The classes of a table; none where it has no `y`, which `read_table` then names."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            given = set(archive["y"].tolist()) if "y" in archive.files else set()
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"cannot read the table of series {file}: {error}") from error
    wrong = sorted(str(each) for each in given if not isinstance(each, str))
    if wrong:
        raise LabelError(
            f"{file}: y must hold names of classes as text, but holds {wrong[0]}; "
            "write y.astype(str)"
        )
    return tuple(sorted(given))
