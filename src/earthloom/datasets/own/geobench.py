"""GEO-Bench (Lacoste et al. 2023): a file of HDF5 a sample, an array in it a band.

What the bands are, and some labels, stand in the files as pickles as well; those are not read.
"""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from earthloom.datasets.arrays import ArrayItems, Arrays
from earthloom.datasets.model import Entry
from earthloom.datasets.own.files import day_of, json_of, listed_in
from earthloom.datasets.own.hdf5 import arrays_in
from earthloom.datasets.own.series import samples_of
from earthloom.datasets.samples import LabelledSamples
from earthloom.errors import DataError, LabelError, choices
from earthloom.sample.target import SceneClasses

_DATE = re.compile(r"_(\d{4}-\d{2}-\d{2})\b")


@dataclass(frozen=True)
class GeoBenchFiles:
    """The samples of a split."""

    entry: Entry
    files: tuple[Path, ...]

    def load(self, index: int) -> Arrays:
        """The entry's bands, in the order of their names in the file, and the label if it is
        there."""
        file = self.files[index]
        arrays = arrays_in(file)
        names = _names(arrays, self.entry, file)
        numbers = np.stack([arrays[name] for name in names])
        days = [day_of(found[1]) for found in _DATE.finditer(names[0])]
        if self.entry.task != "pixel-class":
            return Arrays((numbers,), (days,))
        label = next((name for name in arrays if re.match(r"label(_|$)", name)), None)
        if label is None:
            raise LabelError(f"{file} has no array 'label'; it has: {choices(arrays)}")
        return Arrays((numbers,), (days,), arrays[label])


def read_geobench(entry: Entry, folder: Path, split: str) -> LabelledSamples:
    """A dataset of GEO-Bench: `default_partition.json`, and `ID.hdf5` for each sample, in the
    folder or in one of the dataset's name in it. Classes of whole samples stand in
    `label_map.json` (a class' samples) or `label_stats.json` (a sample's classes)."""
    name = str(entry.source.arguments["folder"])
    root = folder / name if (folder / name).is_dir() else folder
    listed = json_of(root / "default_partition.json")
    wanted = entry.splits[split]
    if not isinstance(listed, dict) or wanted not in listed:
        raise DataError(f"{root / 'default_partition.json'} has no split '{wanted}'")
    answers, skipped, ids = _answers(entry, root), Counter[str](), list[str]()
    for sample in map(str, listed[wanted]):
        if not (root / f"{sample}.hdf5").is_file():
            skipped["without a file"] += 1
        elif entry.task != "pixel-class" and sample not in answers:
            skipped["without a label"] += 1
        else:
            ids.append(sample)
    files = GeoBenchFiles(entry, tuple(root / f"{sample}.hdf5" for sample in ids))
    known = tuple(answers[sample] for sample in ids) if answers else ()
    items = ArrayItems(entry, tuple(ids), tuple(ids), files.load, known)
    return samples_of(entry, folder, items, skipped)


def _names(found: Mapping[str, object], entry: Entry, file: Path) -> list[str]:
    """The arrays that hold the entry's bands: `01 - Coastal aerosol`, or with a date after it."""
    by_name = {_DATE.sub("", name): name for name in found}
    wanted = listed_in(entry, "arrays")
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise DataError(f"{file} has no array '{missing[0]}'; it has: {choices(found)}")
    return [by_name[name] for name in wanted]


def _answers(entry: Entry, root: Path) -> dict[str, SceneClasses]:
    """The classes of samples by name; none in tasks of pixels."""
    if entry.task == "pixel-class":
        return {}
    if entry.task == "scene-labels":
        vectors = json_of(root / "label_stats.json")
        return {name: _set_in(entry, vector, name) for name, vector in vectors.items()}
    by_class: Mapping[str, list[str]] = json_of(root / "label_map.json")
    codes = {name: code for code, name in enumerate(entry.classes, start=1)}
    codes |= {str(number): code for number, code in entry.codes.items()}
    unknown = [name for name in by_class if name not in codes]
    if unknown:
        file = root / "label_map.json"
        raise LabelError(f"{file} has the class '{unknown[0]}'; known: {choices(entry.classes)}")
    return {
        sample: SceneClasses((codes[name],))
        for name, listed in by_class.items()
        for sample in listed
    }


def _set_in(entry: Entry, vector: list[float], name: str) -> SceneClasses:
    if len(vector) != len(entry.classes):
        raise LabelError(f"{name} has {len(vector)} labels, not {len(entry.classes)}")
    return SceneClasses(tuple(int(at) + 1 for at in np.flatnonzero(np.asarray(vector) > 0)))
