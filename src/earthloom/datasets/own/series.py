"""Readers of series of dates: PASTIS, CropHarvest."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from earthloom.datasets.arrays import ArrayItems, Arrays
from earthloom.datasets.model import Entry
from earthloom.datasets.own.files import day_of, features_of, inside
from earthloom.datasets.own.hdf5 import arrays_in
from earthloom.datasets.samples import LabelledSamples, ReadReport
from earthloom.errors import DataError, choices
from earthloom.sample.place import block_of

_STEP, _STEPS = 30, 12
"""Days of a time step of CropHarvest, and how many there are."""


@dataclass(frozen=True)
class PastisFiles:
    """Patches of PASTIS: their numbers, and the dates of each."""

    folder: Path
    patches: tuple[str, ...]
    days: tuple[tuple[int, ...], ...]

    def load(self, index: int) -> Arrays:
        """Sentinel-2 (T, 10, H, W), and the classes of pixels."""
        patch = self.patches[index]
        image = _npy(self.folder / "DATA_S2" / f"S2_{patch}.npy")
        target = _npy(self.folder / "ANNOTATIONS" / f"TARGET_{patch}.npy")
        return Arrays((image,), (self.days[index],), target[0])


def read_pastis(entry: Entry, folder: Path, split: str) -> LabelledSamples:
    """PASTIS (Garnot, Landrieu 2021): `metadata.geojson`, `DATA_S2/S2_ID.npy`,
    `ANNOTATIONS/TARGET_ID.npy`, in the folder or in `PASTIS` or `PASTIS-R` in it.

    A split is some of the five published folds, which are also the groups: they lie apart.
    """
    root = inside(folder, "PASTIS-R", "PASTIS")
    wanted = {int(fold) for fold in entry.splits[split].split(",")}
    rows, skipped = list[tuple[str, str, tuple[int, ...]]](), Counter[str]()
    for each in features_of(root / "metadata.geojson"):
        try:
            patch, fold = str(each["ID_PATCH"]), int(each["Fold"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{root / 'metadata.geojson'} is not of PASTIS: {error!r}") from error
        if fold not in wanted:
            continue
        if (root / "DATA_S2" / f"S2_{patch}.npy").is_file():
            rows.append((patch, f"fold-{fold}", _dates(each.get("dates-S2"))))
        else:
            skipped["without an image"] += 1
    rows.sort()
    files = PastisFiles(root, tuple(row[0] for row in rows), tuple(row[2] for row in rows))
    items = ArrayItems(entry, files.patches, tuple(row[1] for row in rows), files.load)
    return samples_of(entry, folder, items, skipped)


@dataclass(frozen=True)
class CropHarvestFiles:
    """Series of CropHarvest, and what is known of each."""

    entry: Entry
    files: tuple[Path, ...]
    crop: tuple[int, ...]
    ends: tuple[int, ...]
    """Day on which each series ends."""

    def load(self, index: int) -> Arrays:
        """A series' columns by layer: those of the entry, one after another."""
        arrays = arrays_in(self.files[index])
        if "array" not in arrays:
            raise DataError(f"{self.files[index]} has no 'array'; it has: {choices(arrays)}")
        table = arrays["array"]
        if table.shape != (_STEPS, 18):
            raise DataError(f"{self.files[index]} has {table.shape} numbers, not {(_STEPS, 18)}")
        first = self.ends[index] - _STEPS * _STEP
        days = [first + step * _STEP + _STEP // 2 for step in range(_STEPS)]
        numbers, dates, column = list[NDArray[Any]](), list[list[int]](), 0
        for layer in self.entry.layers:
            steps = len(layer.dates)
            part = table[:steps, column : column + len(layer.bands)]
            numbers.append(part[..., None, None])
            dates.append(days if steps == _STEPS else [days[_STEPS // 2]])
            column += len(layer.bands)
        return Arrays(tuple(numbers), tuple(dates), np.array([[self.crop[index]]]))


def read_cropharvest(entry: Entry, folder: Path, split: str) -> LabelledSamples:
    """CropHarvest (Tseng et al. 2021): `features/arrays/INDEX_DATASET.h5` with 12 months of 18
    numbers, and `labels.geojson`. The class is whether there is a crop.

    A month is 30 days; the last ends on the label's `export_end_date`. Groups are blocks of one
    degree.
    """
    known = _crop_labels(folder / "labels.geojson")
    rows, skipped = list[tuple[Path, int, int, str]](), Counter[str]()
    for file in sorted((folder / "features" / "arrays").glob("*.h5")):
        index, _, dataset = file.stem.partition("_")
        each = known.get((dataset, index))
        if each is None:
            skipped["without a label"] += 1
            continue
        end = each.get("export_end_date")
        group = block_of(float(each["lon"]), float(each["lat"]), 1.0)
        rows.append((file, int(each["is_crop"]), day_of(end) if end else 0, group))
    files = CropHarvestFiles(
        entry,
        tuple(row[0] for row in rows),
        tuple(row[1] for row in rows),
        tuple(row[2] for row in rows),
    )
    ids = tuple(file.stem for file in files.files)
    items = ArrayItems(entry, ids, tuple(row[3] for row in rows), files.load)
    return samples_of(entry, folder, items, skipped)


def samples_of(
    entry: Entry, folder: Path, items: ArrayItems, skipped: Counter[str]
) -> LabelledSamples:
    """The samples of a dataset; DataError if there are none."""
    report = ReadReport(len(items) + sum(skipped.values()), dict(skipped))
    if not len(items):
        raise DataError(f"there is no {entry.name} in {folder}: {report.sentence()}")
    return LabelledSamples(entry.name, entry.task, entry.classes, items, report)


def _dates(found: Any) -> tuple[int, ...]:
    """Days of dates that PASTIS numbers from 0 on: an object, or the text of one."""
    known = json.loads(found) if isinstance(found, str) else found
    if not isinstance(known, Mapping):
        return ()
    return tuple(day_of(known[key]) for key in sorted(known, key=int))


def _crop_labels(file: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """What `labels.geojson` says, by dataset and index."""
    found = {}
    for each in features_of(file):
        if not {"dataset", "index", "is_crop", "lat", "lon"} <= set(each):
            raise DataError(f"{file} is not of CropHarvest: a feature has {sorted(each)}")
        found[str(each["dataset"]), str(each["index"])] = each
    return found


def _npy(file: Path) -> NDArray[Any]:
    try:
        return np.asarray(np.load(file, allow_pickle=False))
    except (OSError, ValueError, EOFError) as error:
        words = " ".join(str(error).split())
        raise DataError(f"the array {file} cannot be read: {words}") from error
