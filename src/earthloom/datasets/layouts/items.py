"""Image files with an answer each, known before pixels are read."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from earthloom.chips.label_vocabulary import Vocabulary
from earthloom.datasets.imagery import Imagery, size_of
from earthloom.datasets.samples import LabelledSamples, ReadReport
from earthloom.errors import DataError, LabelError, choices
from earthloom.sample import Chip, LayerSpec, Shape2d
from earthloom.sample.target import Target

MISSING = "without an image"
BROKEN = "whose image cannot be read"
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


def size_or_reason(image: Path, skipped: Counter[str]) -> Shape2d | None:
    """An image's size; None, and the reason counted, if it is missing or broken."""
    if not image.is_file():
        skipped[MISSING] += 1
        return None
    size = size_of(image)
    if size is None:
        skipped[BROKEN] += 1
    return size


def image_samples(
    where: Path,
    task: str,
    classes: Sequence[str],
    imagery: Imagery,
    items: Iterable[Item],
    skipped: Counter[str],
) -> LabelledSamples:
    """The samples of a layout; DataError if none is left."""
    kept = tuple(items)
    report = ReadReport(len(kept) + sum(skipped.values()), dict(skipped))
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


def vocabulary_of(classes: Sequence[str]) -> Vocabulary:
    """The class names as the label readers take them."""
    codes = codes_of(classes)
    return Vocabulary(codes, choices(f"{code} {name}" for name, code in codes.items()), 0)
