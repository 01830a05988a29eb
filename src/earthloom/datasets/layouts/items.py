"""Image files with an answer each, known before pixels are read."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from earthloom.datasets.imagery import SUFFIXES, Imagery, folders_in, opened
from earthloom.datasets.samples import LabelledSamples, ReadReport
from earthloom.errors import DataError, LabelError, choices
from earthloom.sample import Chip, LayerSpec, Shape2d
from earthloom.sample.target import Target

MISSING = "without an image"
BROKEN = "whose image cannot be read"
OTHER_SIZE = "of another size than their labels say"
BAD_LABEL = "whose labels cannot be read"


@dataclass(frozen=True)
class Item:
    """One image and its answer."""

    image: Path
    id: str
    group: str
    target: Target


@dataclass(frozen=True)
class ImageItems:
    """Images with answers; a `Reader`."""

    imagery: Imagery
    items: tuple[Item, ...]

    @cached_property
    def specs(self) -> Mapping[str, LayerSpec]:
        return {self.imagery.spec.key: self.imagery.spec}

    @property
    def groups(self) -> Sequence[str]:
        return [item.group for item in self.items]

    def __len__(self) -> int:
        return len(self.items)

    def chip(self, index: int) -> Chip:
        item = self.items[index]
        layer, place = self.imagery.read(item.image)
        shape = Shape2d(*layer.valid.shape[-2:])
        layers = {layer.spec.key: layer}
        return Chip(item.id, shape, layers, group=item.group, place=place)

    def target(self, index: int) -> Target | None:
        return self.items[index].target

    def file(self, index: int) -> Path | None:
        return self.items[index].image

    def seen_as(self, imagery: Imagery) -> "ImageItems":
        return replace(self, imagery=imagery)


def size_or_reason(image: Path, skipped: Counter[str], imagery: Imagery) -> Shape2d | None:
    """An image's size; None, and the reason counted, if it is missing, broken, or lacks bands."""
    if not image.is_file():
        skipped[MISSING] += 1
        return None
    try:
        with opened(image) as source:
            if imagery.found_in(source):
                return Shape2d(*source.shape)
            few = source.count < len(imagery.spec.bands)
            reason = f"without the bands {choices(imagery.spec.bands)}"
            skipped[reason if few else f"with {imagery.lack_of(source)}"] += 1
    except DataError:
        skipped[BROKEN] += 1
    return None


def image_samples(
    where: Path,
    task: str,
    classes: Sequence[str],
    imagery: Imagery,
    items: Iterable[Item],
    skipped: Counter[str],
    changed: Mapping[str, int] | None = None,
    read: Sequence[str] = (),
) -> LabelledSamples:
    """The samples of a layout; DataError if none is left."""
    kept = tuple(items)
    found = len(kept) + sum(skipped.values())
    report = ReadReport(found, dict(skipped), dict(+Counter(changed or {})), tuple(read))
    if not kept:
        raise DataError(f"{where} has no sample that can be read: {report.sentence()}")
    return LabelledSamples(where.name, task, tuple(classes), ImageItems(imagery, kept), report)


def codes_of(classes: Sequence[str]) -> dict[str, int]:
    """Class codes by name, from 1 in their order; LabelError for too many or a double."""
    double = [name for name in classes if list(classes).count(name) > 1]
    if double:
        raise LabelError(f"the class '{double[0]}' is named twice: {choices(classes)}")
    if len(classes) > 254:
        raise LabelError(f"there are {len(classes)} classes; 254 are the most")
    return {name: code for code, name in enumerate(classes, start=1)}


def missing_folder(folder: Path) -> DataError:
    """The error for a folder that is not there, with those that are."""
    above = folder
    while not above.is_dir():
        above = above.parent
    there = choices(path.name for path in folders_in(above))
    return DataError(f"there is no folder {folder}; the folders in {above} are: {there}")


def named_in(file: Path) -> list[str]:
    """The names that a list of a split holds, a line each, without folders and suffixes of images.

    What stands behind a space is not of the name, unless it ends with a suffix.
    """
    lines = file.read_text(encoding="utf-8-sig").splitlines()
    return [name_of(line) for line in lines if line.strip()]


def name_of(line: str) -> str:
    """The name of an image in a line of a list: `images/a b.tif` is `a b`, `a  1` is `a`."""
    return without_suffix(line).rpartition("/")[2]


def without_suffix(line: str) -> str:
    """The path of an image in a line of a list, without its suffix and what follows a space."""
    text = line.strip().replace("\\", "/").removeprefix("./")
    for suffix in (*SUFFIXES, ".xml", ".txt"):
        if text.lower().endswith(suffix):
            return text[: -len(suffix)]
    return without_suffix(text.split()[0]) if len(text.split()) > 1 else text


def numbers_of(parts: Sequence[str], file: Path, at: int) -> list[float]:
    """The finite numbers in a line of a file; LabelError with the line for anything else."""
    try:
        found = [float(part) for part in parts]
    except ValueError as error:
        raise LabelError(f"{file}, line {at}: {error}") from error
    if not np.isfinite(found).all():
        raise LabelError(f"{file}, line {at}: not all of {choices(parts)} are finite")
    return found
