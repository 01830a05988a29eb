"""A registered dataset from a folder on disk, whatever reads it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from earthloom.datasets.layouts import read_layout
from earthloom.datasets.model import Entry
from earthloom.datasets.own import OWN
from earthloom.datasets.registry import load_entry
from earthloom.datasets.samples import Expected, LabelledSamples, check_scale
from earthloom.datasets.torchgeo import open_torchgeo
from earthloom.errors import DataError, choices


def open_dataset(
    name: str,
    folder: str | Path,
    split: str | None = None,
    tables: Path | None = None,
    check: bool = True,
) -> LabelledSamples:
    """The samples of a split of a registered dataset, which lies in `folder` as published.

    Without `split`, the first of the entry's. `tables` is a folder of entries of one's own. With
    `check`, some chips are read to see whether the numbers look like their unit. DataError for an
    unknown name or split, for files that are not there, and for values of another scale.
    """
    entry = load_entry(name, tables)
    chosen = next(iter(entry.splits)) if split is None else split
    if chosen not in entry.splits:
        raise DataError(f"{name} has no split '{chosen}'; published are: {choices(entry.splits)}")
    place = Path(folder)
    if not place.is_dir():
        raise DataError(f"there is no folder {place}")
    samples = _read(entry, place, chosen)
    if check:
        expected = {
            each.spec.key: Expected(each.range, each.peak, each.trough) for each in entry.layers
        }
        check_scale(samples, expected)
    return samples


def _read(entry: Entry, folder: Path, split: str) -> LabelledSamples:
    if entry.source.kind == "torchgeo":
        return open_torchgeo(entry, folder, split)
    if entry.source.kind == "own":
        return OWN[entry.source.reader](entry, folder, split)
    options: dict[str, Any] = dict(entry.source.arguments)
    if entry.source.split_key:
        options[entry.source.split_key] = entry.splits[split]
    layer = entry.layers[0]
    samples = read_layout(
        entry.source.reader, folder, layer.sensor, layer.bands, layer.gsd, check=False, **options
    )
    if samples.classes != entry.classes:
        raise DataError(
            f"{entry.name} in {folder} has the classes {choices(samples.classes)}; "
            f"published are: {choices(entry.classes)}"
        )
    return replace(samples, name=entry.name, task=entry.task)
