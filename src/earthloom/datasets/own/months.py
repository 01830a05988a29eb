"""BioMassters (Nascetti et al. 2023): a year of monthly images, and biomass by pixel."""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from earthloom.datasets.arrays import ArrayItems, Arrays
from earthloom.datasets.imagery import opened
from earthloom.datasets.model import Entry
from earthloom.datasets.own.series import samples_of
from earthloom.datasets.samples import LabelledSamples
from earthloom.errors import DataError
from earthloom.sample.target import PixelValues

_MONTHS = 12
_COLUMNS = ("filename", "chip_id", "satellite", "split", "corresponding_agbm")


@dataclass(frozen=True)
class MonthlyFiles:
    """The files of chips: of each sensor by month, and of the answer."""

    entry: Entry
    images: Path
    months: tuple[Mapping[str, Mapping[int, str]], ...]
    """For each chip, by `S1` and `S2`, the file of each month there is."""
    answers: tuple[Path | None, ...]

    def load(self, index: int) -> Arrays:
        """Every layer (12, C, H, W), not finite in months without an image."""
        kinds = {kind: self._year(files) for kind, files in self.months[index].items()}
        numbers = tuple(kinds[layer.key] for layer in self.entry.layers)
        return Arrays(numbers, ((),) * len(numbers), target=self._answer(index))

    def _year(self, files: Mapping[int, str]) -> NDArray[np.float32]:
        read = {month: _read(self.images / name) for month, name in files.items()}
        first = next(iter(read.values()))
        year = np.full((_MONTHS, *first.shape), np.nan, np.float32)
        for month, image in read.items():
            if image.shape != first.shape:
                raise DataError(f"{self.images / files[month]} has {image.shape} numbers")
            year[month] = image
        return year

    def _answer(self, index: int) -> PixelValues | None:
        file = self.answers[index]
        return PixelValues(_read(file)[0], self.entry.unit) if file else None


def read_biomassters(entry: Entry, folder: Path, split: str) -> LabelledSamples:
    """`biomassters_features_metadata.csv`, `SPLIT_features/CHIP_S1_00.tif` (00 is September), and
    `train_agbm/CHIP_agbm.tif`. Chips that lack a sensor or the answer are counted."""
    part = entry.splits[split]
    table = _table(folder / "biomassters_features_metadata.csv")
    chips, months, answers = list[str](), list[Mapping[str, Mapping[int, str]]](), list[Path]()
    skipped = Counter[str]()
    for chip, rows in table[table["split"] == part].groupby("chip_id", sort=True):
        names = [str(name) for name in rows["filename"]]
        found = _by_month(name for name in names if (folder / f"{part}_features" / name).is_file())
        answer = folder / "train_agbm" / str(rows["corresponding_agbm"].iloc[0])
        if not {layer.key for layer in entry.layers} <= set(found):
            skipped["without one of the sensors"] += 1
        elif part == "train" and not answer.is_file():
            skipped["without an answer"] += 1
        else:
            chips.append(str(chip))
            months.append(found)
            answers.append(answer)
    known = tuple(answer if part == "train" else None for answer in answers)
    files = MonthlyFiles(entry, folder / f"{part}_features", tuple(months), known)
    items = ArrayItems(entry, tuple(chips), tuple(chips), files.load)
    return samples_of(entry, folder, items, skipped)


def _by_month(names: Iterable[str]) -> dict[str, dict[int, str]]:
    """Files named `CHIP_S1_00.tif` by sensor and month."""
    found: dict[str, dict[int, str]] = {}
    for name in sorted(names):
        _, kind, month = Path(name).stem.split("_")
        found.setdefault(kind, {})[int(month)] = name
    return found


def _table(file: Path) -> pd.DataFrame:
    try:
        table = pd.read_csv(file)
    except (OSError, ValueError) as error:
        words = " ".join(str(error).split())
        raise DataError(f"the table {file} cannot be read: {words}") from error
    missing = [name for name in _COLUMNS if name not in table.columns]
    if missing:
        raise DataError(f"the table {file} has no column '{missing[0]}'")
    return table


def _read(file: Path) -> NDArray[np.float32]:
    with opened(file) as source:
        return np.asarray(source.read(), np.float32)
