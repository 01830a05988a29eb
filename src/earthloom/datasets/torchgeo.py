"""TorchGeo's readers (Stewart et al. 2022) as chips: bands, units, mask, place and dates.

What a reader returns are plain tensors; the registry says what they mean. TorchGeo is imported when
a dataset of it is opened.
"""

import datetime
import importlib
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from earthloom.datasets.arrays import label_of, layer_of
from earthloom.datasets.imagery import SUFFIXES, opened
from earthloom.datasets.model import Entry
from earthloom.datasets.samples import LabelledSamples, ReadReport
from earthloom.datasets.torchgeo_grid import on_grid
from earthloom.errors import DataError, choices
from earthloom.sample import Chip, LayerSpec, Place, Shape2d
from earthloom.sample.target import Boxes, PixelValues, SceneClasses, SceneValue, Target

_KEPT = (
    "imgs",
    "files",
    "folders",
    "image_fns",
    "images",
    "sample_paths",
    "source",
    "fpaths",
    "metadata",
)
"""What TorchGeo's readers call their lists of files."""

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
        days = self._days(index, sample)
        what = f"{self.entry.name}: sample {self._id(index)}"
        layers = [
            layer_of(each, _array(sample[each.key]), days, what) for each in self.entry.layers
        ]
        shape = Shape2d(*layers[0].valid.shape[-2:])
        label = None
        if self.entry.task in _LABELLED and self.entry.source.target in sample:
            label = label_of(self.entry, _plane(sample[self.entry.source.target]), shape, what)
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

    def _days(self, index: int, sample: Mapping[str, Any]) -> tuple[int, ...]:
        """Days since 1970-01-01 that the sample tells in seconds, or its paths do, each once and
        in their order."""
        if "time" in sample:
            seconds = np.atleast_1d(_array(sample["time"])).astype(np.float64)
            return tuple((seconds // 86_400).astype(int).tolist())
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
    dataset = _dataset(entry, reader, folder, split)
    if issubclass(reader, module.GeoDataset):
        return on_grid(entry, dataset, folder)
    if not len(dataset):
        raise DataError(f"{entry.name} in {folder} has no sample in the split '{split}'")
    _same_classes(entry, dataset)
    images = entry.source.images and str(folder / entry.source.images)
    paths = _paths_of(dataset, images.replace("SPLIT", entry.splits[split]))
    items = TorchGeoItems(entry, dataset, paths)
    report = ReadReport(len(dataset))
    return LabelledSamples(entry.name, entry.task, entry.classes, items, report)


def _dataset(entry: Entry, reader: Callable[..., Any], folder: Path, split: str) -> Any:
    """What TorchGeo's reader gives, with the labels of another where the entry names one."""
    module = _torchgeo()
    arguments: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in entry.source.arguments.items()
    }
    if entry.source.split_key:
        arguments[entry.source.split_key] = entry.splits[split]
    try:
        images = _opened(reader, folder, arguments)
        if not entry.source.labels:
            return images
        labels = _opened(getattr(module, entry.source.labels), folder, {})
        return module.IntersectionDataset(images, labels)
    except module.DatasetNotFoundError as error:
        raise DataError(
            f"TorchGeo's {entry.source.reader} finds no {entry.name} in {folder}; "
            "it must lie there as published"
        ) from error
    except (OSError, ValueError, RuntimeError, KeyError, IndexError) as error:
        words = " ".join(str(error).split())
        raise DataError(f"{entry.name} in {folder} cannot be read: {words}") from error


def _opened(reader: Callable[..., Any], folder: Path, arguments: Mapping[str, Any]) -> Any:
    """A reader of a folder, which rasters call their paths."""
    known = inspect.signature(reader).parameters
    return reader(**{"paths" if "paths" in known else "root": str(folder)}, **arguments)


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


def _target(entry: Entry, values: NDArray[Any], sample: Mapping[str, Any]) -> Target:
    if entry.task == "scene-class":
        return SceneClasses((entry.code(int(values)),))
    if entry.task == "scene-labels":
        return SceneClasses(tuple(entry.code(int(at)) for at in np.flatnonzero(values)))
    if entry.task == "scene-value":
        return SceneValue(float(values), entry.unit)
    if entry.task == "pixel-value":
        return PixelValues(_plane(values).astype(np.float32), entry.unit)
    if entry.task == "boxes":
        # Where there is one class, a reader may say of what a box is by having it.
        listed = _array(sample["label"]) if "label" in sample else entry.values[:1] * len(values)
        codes = [entry.code(int(value)) for value in listed]
        return Boxes.upright(values.astype(np.float32), np.array(codes, np.uint8))
    raise DataError(f"{entry.name}: TorchGeo's answers of the task '{entry.task}' are not read")


def _plane(value: Any) -> NDArray[Any]:
    """(H, W) of an image of one band, with an axis of bands or without."""
    values = _array(value)
    return values[0] if values.ndim == 3 and len(values) == 1 else values


def _array(value: Any) -> NDArray[Any]:
    return np.asarray(value.numpy() if hasattr(value, "numpy") else value)


def _paths_of(dataset: Dataset, pattern: str = "") -> Sequence[Sequence[str]]:
    """The strings that a reader keeps for each sample, where it keeps a list of them; and the
    first put into a `pattern`."""
    for name in _KEPT:
        kept: Any = getattr(dataset, name, None)
        if hasattr(kept, "iloc"):  # a table, of whose columns the first counts, or a column
            kept = (kept.iloc[:, 0] if kept.ndim == 2 else kept).tolist()
        if isinstance(kept, list) and len(kept) == len(dataset):
            paths = [list(_strings(each)) for each in kept]
            if pattern and all(paths):
                return [[*each, pattern.replace("{}", each[0])] for each in paths]
            return paths
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
