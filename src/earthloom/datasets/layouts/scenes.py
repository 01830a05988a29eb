"""Folders of images, one folder a class: `train/Forest/a.jpg`."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from earthloom.datasets.imagery import Imagery, folders_in, images_in
from earthloom.datasets.layouts.items import (
    MISSING,
    Item,
    codes_of,
    image_samples,
    missing_folder,
    size_or_reason,
    without_suffix,
)
from earthloom.datasets.samples import LabelledSamples
from earthloom.errors import DataError, LabelError, choices
from earthloom.sample.target import SceneClasses

SPLITS = frozenset({"train", "training", "val", "valid", "validation", "dev", "test", "testing"})
"""Names of folders that are splits and no classes."""


def read_scenes(
    folder: Path, imagery: Imagery, split: str = "", classes: Sequence[str] = ()
) -> LabelledSamples:
    """Images whose folder is their class; `split` is a folder between, or a list `SPLIT.txt`.

    Classes are the folders in the order of their names, or `classes`, of which each folder must be
    one. Hidden folders are none. Broken images, and those that a list names in vain, are counted
    and left out.
    """
    listed = folder / f"{split}.txt" if split and not (folder / split).is_dir() else None
    if listed is not None and not listed.is_file():
        raise missing_folder(folder / split)
    root = folder / split if split and listed is None else folder
    found = [path.name for path in folders_in(root)]
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
    images = [path for name in found for path in images_in(root / name, deep=True)]
    codes, skipped, items = codes_of(names), Counter[str](), list[Item]()
    for image in images if listed is None else _listed(images, root, listed, skipped):
        if size_or_reason(image, skipped, imagery):
            place = image.relative_to(root)
            id_ = place.with_suffix("").as_posix()
            items.append(Item(image, id_, id_, SceneClasses((codes[place.parts[0]],))))
    return image_samples(folder, "scene-class", names, imagery, items, skipped)


def _listed(images: Sequence[Path], root: Path, file: Path, skipped: Counter[str]) -> list[Path]:
    """The images that a list names, by their path below the root or by the end of it."""
    named: dict[str, list[Path]] = {}
    for image in images:
        parts = image.relative_to(root).with_suffix("").parts
        for at in range(len(parts)):
            named.setdefault("/".join(parts[at:]), []).append(image)
    found = []
    for line in filter(str.strip, file.read_text(encoding="utf-8-sig").splitlines()):
        name = without_suffix(line)
        same = named.get(name, [])
        if len(same) > 1:
            raise LabelError(
                f"{file}: '{name}' may be {same[0].relative_to(root)} or "
                f"{same[1].relative_to(root)}"
            )
        skipped[MISSING] += not same
        found += same
    return found
