"""Folders of images, one folder a class: `train/Forest/a.jpg`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from earthloom.datasets.imagery import Imagery, images_in
from earthloom.datasets.layouts.items import Item, codes_of, image_samples, size_or_reason
from earthloom.datasets.samples import LabelledSamples
from earthloom.errors import DataError, LabelError, choices
from earthloom.sample.target import SceneClasses

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})
"""Names of folders that are splits and no classes."""


def read_scenes(
    folder: Path, imagery: Imagery, split: str = "", classes: Sequence[str] = ()
) -> LabelledSamples:
    """Images whose folder is their class; `split` is a folder between, if there is one.

    Classes are the folders in the order of their names, or `classes`, of which each folder must be
    one. Broken images are counted and left out.
    """
    root = folder / split if split else folder
    if not root.is_dir():
        raise DataError(f"there is no folder {root}")
    found = sorted(path.name for path in root.iterdir() if path.is_dir())
    if found and {name.casefold() for name in found} <= SPLITS and not classes:
        raise DataError(f"{root} holds the splits {choices(found)}; name one as 'split'")
    names = tuple(classes) or tuple(found)
    if not names:
        raise DataError(f"{root} holds no folder of a class")
    unknown = [name for name in found if name not in names]
    if unknown:
        raise LabelError(
            f"the folder {root / unknown[0]} is of no class; classes are: {choices(names)}"
        )
    codes, skipped, items = codes_of(names), Counter[str](), list[Item]()
    for name in found:
        for image in images_in(root / name, deep=True):
            if size_or_reason(image, skipped):
                id_ = image.relative_to(root).with_suffix("").as_posix()
                items.append(Item(image, id_, id_, SceneClasses((codes[name],))))
    return image_samples(folder, "scene-class", names, imagery, items, skipped)
