"""TorchGeo's readers (Stewart et al. 2022) as chips: bands, units, mask, place and dates.

What a reader returns are plain tensors; the registry says what they mean. TorchGeo is imported when
a dataset of it is opened.
"""

import datetime
import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from earthloom.datasets.imagery import SUFFIXES, opened
from earthloom.datasets.model import Entry, EntryLayer
from earthloom.datasets.samples import LabelledSamples, ReadReport
from earthloom.errors import DataError, choices
from earthloom.sample import Chip, Layer, LayerSpec, Place, Shape2d
from earthloom.sample.target import Boxes, PixelValues, SceneClasses, SceneValue, Target

_LABELLED = ("pixel-class", "change")


class Dataset(Protocol):
    """What of TorchGeo's readers is used."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class TorchGeoItems:
    """A TorchGeo reader's samples; a `Reader`."""

    entry: Entry
    dataset: Dataset
    _paths: Sequence[Sequence[str]] = field(default=())
    """What the reader keeps of each sample's files, if it does."""

    @cached_property
    def order(self) -> Sequence[int]:
        """Where the reader has each sample: by the files' names, since some readers list them as
        the file system does, which differs from machine to machine."""
        count = range(len(self.dataset))
        return sorted(count, key=lambda at: list(self._paths[at])) if self._paths else count

    @cached_property
    def specs(self) -> Mapping[str, LayerSpec]:
        return {layer.spec.key: layer.spec for layer in self.entry.layers}

    @cached_property
    def groups(self) -> Sequence[str]:
        return [self._id(index) for index in range(len(self))]

    def __len__(self) -> int:
        return len(self.dataset)

    def chip(self, index: int) -> Chip:
        sample = self._sample(index)
        days = self._days(index)
        layers = [_layer(each, sample, days, self.entry.name) for each in self.entry.layers]
        shape = Shape2d(*layers[0].valid.shape[-2:])
        label = None
        if self.entry.task in _LABELLED and self.entry.source.target in sample:
            label = _label(self.entry, _array(sample[self.entry.source.target]), shape)
        by_key = {layer.spec.key: layer for layer in layers}
        name = self._id(index)
        target = self._answer(sample)  # here, as the file would have to be read again for it
        return Chip(name, shape, by_key, label, name, self._place(index, shape), target=target)

    def target(self, index: int) -> Target | None:
        task, name = self.entry.task, self.entry.source.target
        if task in _LABELLED:
            return None
        known = getattr(self.dataset, "targets", None)  # image folders know it without reading
        if task == "scene-class" and known:
            return self._answer({name: known[self.order[index]]})
        return self._answer(self._sample(index))

    def _answer(self, sample: Mapping[str, Any]) -> Target | None:
        name = self.entry.source.target
        if self.entry.task in _LABELLED or name not in sample:
            return None  # or a split whose answers are not published
        return _target(self.entry, _array(sample[name]), sample)

    def _sample(self, index: int) -> Mapping[str, Any]:
        try:
            return self.dataset[self.order[index]]
        except (OSError, ValueError, RuntimeError, KeyError, IndexError) as error:
            words = " ".join(str(error).split())
            raise DataError(
                f"{self.entry.name}: sample {self._id(index)} cannot be read: {words}"
            ) from error

    def _id(self, index: int) -> str:
        paths = self._paths[self.order[index]] if self._paths else ()
        return f"{index:06d}_{Path(paths[0]).stem}" if paths else f"{index:06d}"

    def _days(self, index: int) -> tuple[int, ...]:
        """Days since 1970-01-01 that the paths tell, each once and in their order."""
        if not self.entry.source.dates or not self._paths:
            return ()
        text = " ".join(self._paths[self.order[index]])
        found = dict.fromkeys(re.findall(self.entry.source.dates, text))
        start = datetime.date(1970, 1, 1)
        return tuple((datetime.date.fromisoformat(each) - start).days for each in found)

    def _place(self, index: int, shape: Shape2d) -> Place | None:
        """Where a georeferenced image of the chip's size lies."""
        for path in self._paths[self.order[index]] if self._paths else ():
            for file in _tiffs(Path(path)):
                with opened(file) as source:
                    if source.crs is None or source.shape != tuple(shape):
                        continue
                    a, b, c, d, e, f = tuple(source.transform)[:6]
                    return Place(source.crs.to_string(), (a, b, c, d, e, f), shape)
        return None


def open_torchgeo(entry: Entry, folder: Path, split: str) -> LabelledSamples:
    """A dataset through its TorchGeo reader; DataError without TorchGeo, or where it finds none."""
    module = _torchgeo()
    reader = getattr(module, entry.source.reader)
    arguments: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in entry.source.arguments.items()
    }
    if entry.source.split_key:
        arguments[entry.source.split_key] = entry.splits[split]
    try:
        dataset = reader(root=str(folder), **arguments)
    except module.DatasetNotFoundError as error:
        raise DataError(
            f"TorchGeo's {entry.source.reader} finds no {entry.name} in {folder}; "
            "it must lie there as published"
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError, IndexError) as error:
        words = " ".join(str(error).split())
        raise DataError(f"{entry.name} in {folder} cannot be read: {words}") from error
    if not len(dataset):
        raise DataError(f"{entry.name} in {folder} has no sample in the split '{split}'")
    _same_classes(entry, dataset)
    items = TorchGeoItems(entry, dataset, _paths_of(dataset))
    report = ReadReport(len(dataset))
    return LabelledSamples(entry.name, entry.task, entry.classes, items, report)


def _torchgeo() -> ModuleType:
    try:
        module = importlib.import_module("torchgeo.datasets")
    except ImportError as error:
        raise DataError("this dataset is read by TorchGeo: pip install torchgeo") from error
    return module


def _same_classes(entry: Entry, dataset: Dataset) -> None:
    """Image folders number the classes that are there: a missing one would shift all after it."""
    numbers = getattr(dataset, "class_to_idx", None)
    if not isinstance(numbers, dict):
        return
    found = sorted(numbers, key=lambda name: numbers[name])
    if [name.casefold() for name in found] != [name.casefold() for name in entry.classes]:
        raise DataError(
            f"{entry.name}: the folders of classes are {choices(found)}; "
            f"published are {choices(entry.classes)}"
        )


def _layer(each: EntryLayer, sample: Mapping[str, Any], days: Sequence[int], name: str) -> Layer:
    numbers = _array(sample[each.key]).astype(np.float64)
    numbers = numbers[None] if numbers.ndim == 3 else numbers
    last = each.first + len(each.bands)
    if numbers.ndim != 4 or numbers.shape[0] != len(each.dates) or numbers.shape[1] < last:
        raise DataError(
            f"{name}: the reader gives {numbers.shape} for layer {each.spec.key}, but "
            f"{len(each.dates)} date(s) and bands {each.first} to {last - 1} are expected"
        )
    numbers = numbers[:, each.first : last]
    valid = np.asarray(np.isfinite(numbers).all(axis=1))
    if each.nodata is not None:
        valid &= ~(numbers == each.nodata).all(axis=1)
    pixels = each.physical(numbers)
    pixels[np.broadcast_to(~valid[:, None], pixels.shape)] = np.nan
    known = len(days) == len(each.dates)
    stamps = np.array(days if known else [0] * len(each.dates), np.int32)
    return Layer(each.spec, pixels, valid, stamps)


def _label(entry: Entry, values: NDArray[Any], shape: Shape2d) -> NDArray[np.uint8]:
    values = values[0] if values.ndim == 3 and len(values) == 1 else values
    if values.shape != tuple(shape):
        raise DataError(
            f"{entry.name}: the mask has the shape {values.shape}, the image {tuple(shape)}"
        )
    found, positions = np.unique(values, return_inverse=True)
    codes = np.array([entry.code(int(value)) for value in found], np.uint8)
    return codes[positions].reshape(values.shape)


def _target(entry: Entry, values: NDArray[Any], sample: Mapping[str, Any]) -> Target:
    if entry.task == "scene-class":
        return SceneClasses((entry.code(int(values)),))
    if entry.task == "scene-labels":
        return SceneClasses(tuple(entry.code(int(at)) for at in np.flatnonzero(values)))
    if entry.task == "scene-value":
        return SceneValue(float(values), entry.unit)
    if entry.task == "pixel-value":
        flat = values[0] if values.ndim == 3 and len(values) == 1 else values
        return PixelValues(flat.astype(np.float32), entry.unit)
    if entry.task == "boxes":
        codes = [entry.code(int(value)) for value in _array(sample["label"])]
        return Boxes.upright(values.astype(np.float32), np.array(codes, np.uint8))
    raise DataError(f"{entry.name}: TorchGeo's answers of the task '{entry.task}' are not read")


def _array(value: Any) -> NDArray[Any]:
    return np.asarray(value.numpy() if hasattr(value, "numpy") else value)


def _paths_of(dataset: Dataset) -> Sequence[Sequence[str]]:
    """The strings that a reader keeps for each sample, where it keeps a list of them."""
    for name in ("imgs", "files", "folders", "image_fns"):
        kept = getattr(dataset, name, None)
        if isinstance(kept, list) and len(kept) == len(dataset):
            return [list(_strings(each)) for each in kept]
    return ()


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str | Path):
        yield str(value)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _strings(each)


def _tiffs(path: Path) -> list[Path]:
    """An image itself, or those in a folder."""
    if path.is_dir():
        return sorted(each for each in path.iterdir() if each.suffix.lower() in (".tif", ".tiff"))
    return [path] if path.suffix.lower() in SUFFIXES and path.is_file() else []
